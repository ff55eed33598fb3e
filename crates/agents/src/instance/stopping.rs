//! Taking an instance down: asked, then forced, then killed, and shown to be down.

use std::time::{Duration, Instant};

use regent_model::action::{Failure, Outcome};
use regent_model::config::InstanceKind;
use regent_model::journal::Level;

use super::{Instance, Seen, commands, gtm, vendor};
use crate::cgroup::Folder;
use crate::hands::failure;
use crate::process;
use crate::slot;

/// At most so much of the time is kept back for forcing and killing.
const KEPT_BACK_MAX: Duration = Duration::from_secs(8);
/// What was asked to stop is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Takes it down with its group, and its control group off the guard's list.
pub(super) fn release(instance: &Instance<'_>) -> Result<Outcome, Failure> {
    let job = instance.context.job;
    let key = slot::key(instance.context.run);
    instance.expect_end();
    if let Some(folder) = Folder::open(&instance.path()).map_err(Failure::because)? {
        if !is_down(instance, &folder)? {
            let kept_back = (job.left() / 3).min(KEPT_BACK_MAX);
            let limit = instance.config.stop_timeout.min(job.left().saturating_sub(kept_back));
            let name = instance.take_host_name(job.until(limit / 2));
            if let Err(why) = name.and_then(|_name| ask(instance, job.until(limit))) {
                job.check()?;
                instance.evidence_before_end(&why.reason, kept_back);
                job.warn(format!("{}; it is forced down", why.reason), why.evidence);
                end_everything(instance, &folder, job.soft_deadline())?;
            }
        }
        kill_the_rest(instance, &folder, job.soft_deadline())?;
        instance.drop_lock();
        job.step("remove its control group", || folder.end(Duration::ZERO, job.soft_deadline()))
            .map_err(Failure::because)?;
        instance.tell(false);
    }
    instance.unwatch();
    instance.context.inner.instances.forget(&key);
    instance.context.let_go(instance.holding())?;
    Ok(Outcome::Stopped)
}

/// Whether there is nothing to stop. What cannot be asked is down where nothing was started and nothing lives.
fn is_down(instance: &Instance<'_>, folder: &Folder) -> Result<bool, Failure> {
    match instance.look() {
        Ok(seen) => Ok(seen == Seen::Down),
        Err(why) => {
            instance.context.job.check()?;
            instance.context.job.warn(why.reason, why.evidence);
            Ok(!instance.is_locked_here() && !folder.is_populated().map_err(Failure::because)?)
        }
    }
}

/// Stops it by hand. It stays held.
///
/// # Errors
/// It is not down: it is left as it is, and still watched.
pub(super) fn stop(instance: &Instance<'_>, folder: &Folder) -> Result<(), Failure> {
    let job = instance.context.job;
    if instance.look()? == Seen::Down {
        instance.step("it is down already", Duration::ZERO, "");
    } else {
        instance.expect_end();
        if let Err(why) = ask(instance, job.until(instance.config.stop_timeout)) {
            if instance.look().is_ok_and(|seen| seen != Seen::Down) {
                instance.unwatch();
                instance.watch(folder)?;
            }
            return Err(why);
        }
    }
    settled(instance, folder)
}

/// Ends it by hand, whatever that ends. It stays held.
///
/// # Errors
/// Something of it could not be ended.
pub(super) fn force(instance: &Instance<'_>, folder: &Folder) -> Result<(), Failure> {
    instance.expect_end();
    end_everything(instance, folder, instance.context.job.soft_deadline())?;
    settled(instance, folder)
}

fn settled(instance: &Instance<'_>, folder: &Folder) -> Result<(), Failure> {
    kill_the_rest(instance, folder, instance.context.job.soft_deadline())?;
    instance.unwatch();
    instance.drop_lock();
    instance.tell(false);
    Ok(())
}

/// Asks it to stop, and waits until it is down.
fn ask(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    let job = instance.context.job;
    let begun = Instant::now();
    match instance.config.kind {
        InstanceKind::Gtm => gtm::stop(instance, until)?,
        InstanceKind::Cache | InstanceKind::Iris => vendor::stop(instance, until)?,
        InstanceKind::Command => commands::stop(instance, until)?,
    }
    loop {
        let seen = instance.look()?;
        if seen == Seen::Down {
            instance.step(format!("{} was seen to be down", instance.name()), begun.elapsed(), "");
            return Ok(());
        }
        job.check()?;
        if Instant::now() >= until {
            let how = match seen {
                Seen::Unwell(why) => why,
                Seen::Up | Seen::Down => "it still runs".into(),
            };
            let reason = format!(
                "{} was asked to stop and is not down after {:.1} s: {how}",
                instance.name(),
                begun.elapsed().as_secs_f64()
            );
            return Err(Failure { timed_out: true, ..failure(reason, instance.last_words()) });
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Forces it down, kills what is left, and looks once more.
///
/// # Errors
/// Something of it still runs.
pub(super) fn end_everything(
    instance: &Instance<'_>,
    folder: &Folder,
    until: Instant,
) -> Result<(), Failure> {
    let forced = match instance.config.kind {
        InstanceKind::Gtm => gtm::force(instance, folder, until),
        InstanceKind::Cache | InstanceKind::Iris => vendor::force(instance, until),
        InstanceKind::Command => commands::force(instance, until),
    };
    if let Err(why) = forced {
        instance.context.job.warn(why.reason, why.evidence);
    }
    kill_the_rest(instance, folder, until)?;
    match instance.look() {
        Ok(Seen::Down) => Ok(()),
        Ok(Seen::Up) => Err(Failure::because(format!("{} was forced down and still runs", instance.name()))),
        Ok(Seen::Unwell(why)) => {
            Err(Failure::because(format!("{} was forced down and is not: {why}", instance.name())))
        }
        // Whatever was started was started in its control group, and nobody lives there any more.
        Err(why) => {
            instance.context.job.warn(format!("{}; its processes are gone", why.reason), why.evidence);
            Ok(())
        }
    }
}

/// Whoever is left in its control group is killed, and the kernel says that nobody is.
fn kill_the_rest(instance: &Instance<'_>, folder: &Folder, until: Instant) -> Result<(), Failure> {
    let left: Vec<String> = folder.all_processes().into_iter().map(process::describe).collect();
    if left.is_empty() {
        return Ok(());
    }
    let begun = Instant::now();
    instance.context.job.now_doing("killing what did not end");
    folder.kill().map_err(Failure::because)?;
    if !folder.wait_empty(until).map_err(Failure::because)? {
        return Err(Failure { timed_out: true, ..Failure::because(folder.survivors()) });
    }
    let what = format!("{} process(es) did not end and were killed", left.len());
    instance.context.job.record(Level::Warning, what, begun.elapsed(), left.join("\n"));
    Ok(())
}

impl Instance<'_> {
    /// What its start command printed last.
    pub(super) fn last_words(&self) -> String {
        crate::output::Output::reopen(&self.output_path("start")).evidence()
    }
}
