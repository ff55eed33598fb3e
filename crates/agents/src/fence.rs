//! Cutting a node's power by an executable that speaks the fence agent interface, believed only when the
//! device itself then says that the power is off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use regent_model::NodeName;
use regent_model::action::{Failure, FenceAsk, FenceFound, FenceRun, RunId};
use regent_model::config::{FenceConfig, FenceKind, duration_text};
use regent_model::fence_agent::{self, METADATA, Metadata};
use regent_model::journal::Level;

use crate::cgroup::{self, Folder};
use crate::command::{self, Command, Ended, Finished, Program};
use crate::hands::{Inner, failure};
use crate::job::Job;

/// What `status` exits with when the power is off.
const IS_OFF: i32 = 2;
/// Some devices say "off" before it is, or a moment after: asked again with this pause.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often is asked, while waiting, whether it is still wanted.
const WAIT_STEP: Duration = Duration::from_millis(50);
/// Beyond the calls of the agent.
const OVERHEAD: Duration = Duration::from_secs(2);
/// Fence agents run under this folder. No group can have its name.
const FOLDER: &str = ".fence";
/// And those that register this machine at its disks under this one.
const REGISTER_FOLDER: &str = ".register";

/// What the agents have said about themselves, by their files: no cut waits for it.
#[derive(Default)]
pub(crate) struct Known(Mutex<BTreeMap<PathBuf, Metadata>>);

impl Known {
    fn of(&self, device: &FenceConfig) -> Option<Metadata> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&device.agent).cloned()
    }

    fn note(&self, device: &FenceConfig, said: Option<Metadata>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match said {
            Some(said) => known.insert(device.agent.clone(), said),
            None => known.remove(&device.agent),
        };
    }
}

/// How long a request may take.
pub(crate) fn limit(run: &FenceRun) -> Duration {
    let limit = match run.ask {
        FenceAsk::Cut => run.device.limit(&run.victim),
        FenceAsk::Check => run.device.check_limit(),
        // It may have to wait for one before it that is being ended, and is asked whether it worked.
        FenceAsk::Register => run.device.timeout * 3,
        FenceAsk::Restore => run.device.timeout * (run.device.retries + 1),
    };
    limit.saturating_add(OVERHEAD).saturating_mul(10) / 9
}

/// Does what the device is asked for. That the power is off is said only when the device itself confirms it.
pub(crate) fn operate(inner: &Arc<Inner>, run: &FenceRun, job: &Job) -> Result<FenceFound, Failure> {
    let device = Device { inner, run };
    match run.ask {
        FenceAsk::Cut => device.cut(job),
        FenceAsk::Register => device.register(job),
        FenceAsk::Check => device.check(job),
        FenceAsk::Restore => device.restore(job),
    }
}

/// From now on earlier requests to register through this device are wanted no more, also those that wait for their turn.
pub(crate) fn note_register(inner: &Inner, run: &FenceRun) {
    let mut last = inner.register_last.lock().unwrap_or_else(PoisonError::into_inner);
    last.insert(run.device.name.clone(), run.id);
}

/// Asks the device whether `victim` has power. What makes its answer worthless, if anything, in one line.
pub(crate) fn doubt(inner: &Arc<Inner>, device: &Arc<FenceConfig>, victim: &NodeName) -> Option<String> {
    let run = FenceRun {
        id: RunId(0),
        ask: FenceAsk::Check,
        victim: victim.clone(),
        by: victim.clone(),
        device: device.clone(),
    };
    let job = Job::new(format!("looking at {}", device.name), device.timeout + OVERHEAD);
    let shown = format!("the fence device {} cannot tell whether {victim} has power", device.name);
    match (Device { inner, run: &run }).call("status", &job, job.until(device.timeout)) {
        Err(failure) => Some(format!("{shown}: {}", failure.reason)),
        Ok(Finished { ended, .. }) if ended.is_success() || ended.code() == Some(IS_OFF) => None,
        Ok(Finished { ended, output, .. }) => {
            let said = output.lines().last().unwrap_or_default().trim().to_owned();
            let said = if said.is_empty() { said } else { format!(": {said}") };
            Some(format!("{shown}: its status {} (0 would mean on, 2 off){said}", ended.in_words()))
        }
    }
}

/// Waits before a cut, as long as it is still wanted.
fn wait(job: &Job, delay: Duration) -> Result<(), Failure> {
    if !delay.is_zero() {
        note(job, &format!("waiting for {} before the cut", duration_text(delay)));
    }
    let until = Instant::now() + delay;
    loop {
        job.check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(WAIT_STEP));
    }
}

/// What of a device's configuration does not fit what its agent says about itself. Agents that say nothing about
/// themselves are taken as they are.
pub(crate) fn misfits(inner: &Arc<Inner>, device: &Arc<FenceConfig>) -> Vec<String> {
    let Some(victim) = device.nodes.first().cloned() else { return Vec::new() };
    let run =
        FenceRun { id: RunId(0), ask: FenceAsk::Check, by: victim.clone(), victim, device: device.clone() };
    let job = Job::new(format!("asking {} about itself", device.name), device.timeout + OVERHEAD);
    let asked = Device { inner, run: &run };
    let said = asked.call(METADATA, &job, job.until(device.timeout));
    let said = said.is_ok_and(|said| said.ended.is_success()).then(|| {
        // It is longer than what is kept of an output in memory.
        let text = std::fs::read(asked.output_of(METADATA)).unwrap_or_default();
        Metadata::read(&String::from_utf8_lossy(&text))
    });
    let said = said.flatten();
    let doubts = said.as_ref().map_or_else(Vec::new, |metadata| metadata.doubts(device));
    inner.fence_agents.note(device, said);
    doubts
}

fn note(job: &Job, what: &str) {
    job.record(Level::Step, what.into(), Duration::ZERO, String::new());
}

struct Device<'a> {
    inner: &'a Arc<Inner>,
    run: &'a FenceRun,
}

impl Device<'_> {
    /// Cuts the power, unless it is off already, and sees that it is off.
    fn cut(&self, job: &Job) -> Result<FenceFound, Failure> {
        let device = &self.run.device;
        let known = self.inner.fence_agents.of(device);
        if let Some(other) = known.and_then(|metadata| metadata.other_kind(device)) {
            return Err(failure(other, String::new()));
        }
        if device.kind == FenceKind::Storage {
            self.is_there_itself(job)?;
        }
        match self.call("status", job, job.until(device.timeout))? {
            Finished { ended, .. } if ended.code() == Some(IS_OFF) => {
                self.is_there_still(job)?;
                note(job, "the power is off already");
                return Ok(FenceFound::WasOff);
            }
            Finished { ended, .. } if ended.is_success() => {}
            // The cut is tried all the same; it is the confirmation that counts.
            Finished { ended, output, .. } => {
                job.warn(format!("the status before is unknown: status {}", ended.in_words()), output)
            }
        }
        wait(job, device.delay_of(&self.run.victim))?;
        let mut tried = 0;
        loop {
            let until = job.until(device.timeout);
            let result = self.call("off", job, until).and_then(|off| self.confirm(job, &off));
            match result {
                Ok(()) => {
                    self.is_there_still(job)?;
                    return Ok(FenceFound::Cut);
                }
                Err(failure) if tried >= device.retries || job.check().is_err() => return Err(failure),
                Err(failure) => job.warn(format!("tried again: {}", failure.reason), failure.evidence),
            }
            tried += 1;
        }
    }

    /// Whether the power is off, and nothing else.
    fn check(&self, job: &Job) -> Result<FenceFound, Failure> {
        let status = self.call("status", job, job.until(self.run.device.timeout))?;
        if status.ended.code() == Some(IS_OFF) {
            self.is_there_still(job)?;
            return Ok(FenceFound::WasOff);
        }
        let (device, victim) = (&self.run.device.name, &self.run.victim);
        let said = status.ended.in_words();
        Err(failure(format!("{device} does not say that {victim} is off: status {said}"), status.output))
    }

    /// Who is not registered at the disks itself is told nothing of worth about who else is: with no reservation left there,
    /// nobody is registered and everybody writes. Each disk is asked about alone, for agents say "on" of a node that is
    /// registered at one of several.
    fn is_there_itself(&self, job: &Job) -> Result<(), Failure> {
        let (device, by) = (&self.run.device, &self.run.by);
        let until = job.until(device.timeout);
        if device.disks.is_empty() {
            return Err(Failure::because(format!("{} names no disk", device.name)));
        }
        for disk in &device.disks {
            let alone = FenceConfig { disks: vec![disk.clone()], ..FenceConfig::clone(device) };
            let run = FenceRun { device: Arc::new(alone), ..self.run.clone() };
            let status = Device { inner: self.inner, run: &run }.call_about(by, "status", job, until)?;
            if !status.ended.is_success() {
                let (name, disk, said) = (&device.name, disk.display(), status.ended.in_words());
                let reason = format!(
                    "{name} does not say that {by} itself is registered at {disk} (status {said}), so it cannot tell who is not"
                );
                return Err(failure(reason, status.output));
            }
        }
        Ok(())
    }

    /// The same once more when the other one was seen to be off: disks that lost their reservations between the two calls say
    /// so of everybody.
    fn is_there_still(&self, job: &Job) -> Result<(), Failure> {
        if self.run.device.kind == FenceKind::Storage { self.is_there_itself(job) } else { Ok(()) }
    }

    /// Registers the machine of whoever asks at the disks, and sees that it is. Nothing of an earlier try is at work beside
    /// it, or after it: whoever was cut off in between would be registered again.
    fn register(&self, job: &Job) -> Result<FenceFound, Failure> {
        let (device, me) = (&self.run.device, &self.run.by);
        let _one_at_a_time = self.inner.registering.lock().unwrap_or_else(PoisonError::into_inner);
        job.check()?;
        let last = self.inner.register_last.lock().unwrap_or_else(PoisonError::into_inner);
        let superseded = last.get(&device.name) != Some(&self.run.id);
        drop(last);
        if superseded {
            return Err(Failure::because("it was asked for anew meanwhile"));
        }
        let folder = self.inner.cgroups.join(REGISTER_FOLDER).join(folder_name(&device.name));
        cgroup::end(&folder, Duration::ZERO, job.until(device.timeout)).map_err(Failure::because)?;
        let on = self.call_in(&folder, me, "on", job, job.until(device.timeout))?;
        cgroup::end(&folder, Duration::ZERO, job.until(device.timeout)).map_err(Failure::because)?;
        if !on.ended.is_success() {
            let reason = format!("{} did not register {me}: on {}", device.name, on.ended.in_words());
            return Err(failure(reason, on.output));
        }
        self.is_there_itself(job)?;
        Ok(FenceFound::Registered)
    }

    /// Gives the power back.
    fn restore(&self, job: &Job) -> Result<FenceFound, Failure> {
        let mut tried = 0;
        loop {
            let on = self.call("on", job, job.until(self.run.device.timeout))?;
            if on.ended.is_success() {
                return Ok(FenceFound::Restored);
            }
            if tried >= self.run.device.retries || job.check().is_err() {
                let (device, victim) = (&self.run.device.name, &self.run.victim);
                let reason = format!("{device} did not switch {victim} on: {}", on.ended.in_words());
                return Err(failure(reason, on.output));
            }
            tried += 1;
        }
    }

    /// One call of the agent about the victim, as a step.
    fn call(&self, action: &str, job: &Job, until: Instant) -> Result<Finished, Failure> {
        self.call_about(&self.run.victim, action, job, until)
    }

    fn call_about(
        &self,
        node: &NodeName,
        action: &str,
        job: &Job,
        until: Instant,
    ) -> Result<Finished, Failure> {
        let folder = self.inner.cgroups.join(FOLDER).join(folder_name(&self.run.device.name));
        self.call_in(&folder, node, action, job, until)
    }

    fn call_in(
        &self,
        folder: &Path,
        node: &NodeName,
        action: &str,
        job: &Job,
        until: Instant,
    ) -> Result<Finished, Failure> {
        let device = &self.run.device;
        let known = self.inner.fence_agents.of(device);
        let input = fence_agent::input(device, node, action, known.as_ref()).map_err(Failure::because)?;
        let folder = Folder::create(folder).map_err(Failure::because)?;
        let command = Command {
            program: Program::File(&device.agent, &[]),
            environment: &[],
            user: None,
            input: Some(&input),
            hung: rustix::process::Signal::KILL,
        };
        let output = self.output_of(action);
        job.now_doing(&format!("asking {} for {action} of {node}", device.name));
        let mut finished = command::run(&command, &folder, &output, until, job)
            .map_err(|e| Failure::because(format!("fence device {}: {action}: {e}", device.name)))?;
        finished.output = device.without_secrets(finished.output);
        let level = if finished.ended == Ended::TimedOut { Level::Warning } else { Level::Step };
        let what = format!("{}: {action} of {node} {}", device.name, finished.ended.in_words());
        job.record(level, what, finished.took, finished.output.clone());
        Ok(finished)
    }

    /// Where the output of the last such call is.
    fn output_of(&self, action: &str) -> PathBuf {
        let name = folder_name(&self.run.device.name);
        self.inner.run_dir.join("output").join(FOLDER).join(name).join(action)
    }

    /// Waits until the device says that the power is off.
    fn confirm(&self, job: &Job, off: &Finished) -> Result<(), Failure> {
        let until = job.until(self.run.device.timeout);
        let mut pause = PAUSE_FIRST;
        loop {
            let status = self.call("status", job, until)?;
            if status.ended.code() == Some(IS_OFF) {
                if !off.ended.is_success() {
                    job.warn("off did not report success, but the power is off", off.output.clone());
                }
                return Ok(());
            }
            let timed_out = Instant::now() + pause >= until;
            if timed_out || status.ended == Ended::CalledOff || job.check().is_err() {
                let reason = format!(
                    "{} did not confirm that {} is off: off {}, then status {} (2 would mean off)",
                    self.run.device.name,
                    self.run.victim,
                    off.ended.in_words(),
                    status.ended.in_words()
                );
                let evidence = format!("{}\n{}", off.output, status.output).trim().to_owned();
                return Err(Failure { timed_out, ..failure(reason, evidence) });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// A device's name is free text; a folder's is not.
fn folder_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    name.chars().map(safe).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_folder_name_never_leaves_its_folder(name in ".{1,200}") {
            let folder = folder_name(&name);
            prop_assert!(!folder.contains(['/', '.']));
        }
    }
}
