//! The fence devices that this node operates for the cluster: a level at a time.
//!
//! All devices of a level are told to cut, at the same time. When each has confirmed, and there are several, each is
//! asked again: only devices that are off at one moment have cut a machine with more than one feed. Then, and not
//! before, the level has confirmed, and those that are to bring the machine back give it its power again.

use std::collections::BTreeMap;
use std::sync::Arc;

use regent_model::action::{FenceAsk, FenceFound, FenceRun, RunId};
use regent_model::config::{FenceAction, FenceConfig, FenceKind};
use regent_model::ids::IncarnationOf;
use regent_model::journal::Level;
use regent_model::mutants::{Condition, off};
use regent_model::state::{Change, FenceRequest};
use regent_model::{Moment, NodeName};

use crate::engine::Engine;
use crate::io::PeerMessage;

/// What a level of fence devices is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A proof, which the log has asked for.
    Proof { about: IncarnationOf, attempt: u32 },
    /// To decide between two nodes: the log is not asked, for there is no majority to do so.
    Decision,
}

/// A level of fence devices at work on behalf of this node.
pub(crate) struct FenceWork {
    pub(crate) purpose: Purpose,
    pub(crate) victim: NodeName,
    /// The devices in words.
    pub(crate) words: String,
    /// It cuts off from disks.
    storage: bool,
    devices: Vec<Arc<FenceConfig>>,
    /// All have cut, and each is asked again.
    checks: bool,
    /// What is not answered yet, and by which device.
    open: BTreeMap<RunId, usize>,
    /// One of them found the power on, so that it is given back.
    was_on: bool,
    began: Moment,
}

/// What an answer means for the level.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Waits,
    Check,
    Confirmed,
    Failed(String),
}

impl Purpose {
    fn is_about(self, life: IncarnationOf) -> bool {
        matches!(self, Self::Proof { about, .. } if about == life)
    }
}

impl FenceWork {
    fn hear(&mut self, id: RunId, result: Result<FenceFound, String>) -> Verdict {
        let Some(at) = self.open.remove(&id) else { return Verdict::Waits };
        let several = self.devices.len() > 1;
        match result {
            Ok(found) => self.was_on |= found == FenceFound::Cut,
            Err(_) if several && off(Condition::FenceWholeLevel) => {}
            Err(why) => {
                let device = self.devices.get(at).map_or("", |d| d.name.as_str());
                return Verdict::Failed(if several { format!("{device}: {why}") } else { why });
            }
        }
        match (self.open.is_empty(), several && !self.checks) {
            (false, _) => Verdict::Waits,
            (true, true) => Verdict::Check,
            (true, false) => Verdict::Confirmed,
        }
    }
}

impl Engine {
    pub(crate) fn fence_requested(&mut self, about: IncarnationOf, request: &FenceRequest) {
        self.fence_failed.remove(&about);
        self.fence_refused.remove(&about);
        self.fence_asked.insert(about, self.now);
        // What confirmed an attempt before through other devices is no proof any more: kept, it would hide the others.
        if self.fenced.get(&about).is_some_and(|words| *words != request.words()) {
            self.fenced.remove(&about);
        }
        let purpose = Purpose::Proof { about, attempt: request.attempt };
        if self.fence_work.iter().any(|w| w.purpose == purpose) {
            return;
        }
        // What an attempt before still brings is no answer to this one.
        self.fence_work.retain(|w| !w.purpose.is_about(about));
        if request.by != self.me.id || !self.current || self.has_cut(about, request) {
            return;
        }
        let known = |name: &String| self.state.config.fences.iter().find(|f| f.name == *name).cloned();
        let devices: Option<Vec<_>> = request.devices.iter().map(known).collect();
        let victim = self.state.members.get(&about.node).map(|m| m.name.clone());
        let (Some(devices), Some(victim)) = (devices.filter(|d| !d.is_empty()), victim) else { return };
        // What is asked of them by now must be what was committed, or they would confirm something else.
        if devices.iter().any(|d| d.barrier().as_ref() != request.barriers.get(&d.name)) {
            return;
        }
        self.operate(purpose, victim, request.words(), request.is_storage(), devices);
    }

    /// Has these devices cut `victim`.
    pub(crate) fn operate(
        &mut self,
        purpose: Purpose,
        victim: NodeName,
        words: String,
        storage: bool,
        devices: Vec<Arc<FenceConfig>>,
    ) {
        let (open, began) = (BTreeMap::new(), self.now);
        let mut work =
            FenceWork { purpose, victim, words, storage, devices, checks: false, open, was_on: false, began };
        self.ask_all(&mut work, FenceAsk::Cut);
        self.fence_work.push(work);
    }

    /// What the log says about fencing that this node is to do, or has done for itself.
    pub(crate) fn tell_fencing(&mut self, index: u64, change: &Change) {
        match change {
            Change::FenceRequested(about, request) => {
                let who = self.state.name_of(about.node);
                let what = match request.is_storage() {
                    true => format!("cutting {who} off from its disks"),
                    false => format!("cutting the power of {who}"),
                };
                let text = format!("{what} by {} (attempt {})", request.words(), request.attempt);
                self.tell_indexed(index, Level::Notice, "fence_request", text, None);
            }
            Change::Registered(_, device) => {
                let text = format!("{} is registered at its disks, through {device}", self.me.name);
                self.tell_indexed(index, Level::Notice, "registered", text, None);
            }
            _ => {}
        }
    }

    fn ask_all(&mut self, work: &mut FenceWork, ask: FenceAsk) {
        for (at, device) in work.devices.iter().enumerate() {
            let id = self.numbers.next();
            work.open.insert(id, at);
            let (victim, by) = (work.victim.clone(), self.me.name.clone());
            self.out.fence.push(FenceRun { id, ask, victim, by, device: device.clone() });
        }
    }

    pub(crate) fn fence_done(&mut self, id: RunId, result: Result<FenceFound, String>) {
        let Some(result) = self.register_done(id, result) else { return };
        if let Some((device, victim)) = self.fence_restores.remove(&id) {
            return match result {
                Ok(_) => {
                    self.tell(Level::Step, "fence_on", format!("{device} has given {victim} its power again"))
                }
                Err(why) => {
                    let text = format!("{device} has not given {victim} its power again: {why}");
                    self.tell(Level::Warning, "fence_on", text);
                }
            };
        }
        let Some(at) = self.fence_work.iter().position(|w| w.open.contains_key(&id)) else { return };
        let mut work = self.fence_work.remove(at);
        match work.hear(id, result) {
            Verdict::Waits => self.fence_work.push(work),
            Verdict::Check => {
                work.checks = true;
                self.ask_all(&mut work, FenceAsk::Check);
                self.fence_work.push(work);
            }
            Verdict::Confirmed => {
                self.fence_ended(&work, Ok(()));
                self.give_power_back(&work);
            }
            Verdict::Failed(why) => self.fence_ended(&work, Err(why)),
        }
    }

    fn fence_ended(&mut self, work: &FenceWork, result: Result<(), String>) {
        let took = self.now.since(work.began);
        let (who, devices) = (&work.victim, &work.words);
        let confirm = if work.devices.len() > 1 { "confirm" } else { "confirms" };
        let from = if work.storage { " off from its disks" } else { "" };
        let (level, text) = match &result {
            Ok(()) if work.storage => {
                (Level::Notice, format!("{devices} {confirm}: {who} is cut off from its disks"))
            }
            Ok(()) => (Level::Notice, format!("{devices} {confirm}: {who} is off")),
            Err(why) => (Level::Error, format!("{devices} could not cut {who}{from}: {why}")),
        };
        self.write(level, "fence", text, |e| e.took = Some(took));
        let result = result.map(|()| devices.clone());
        match work.purpose {
            Purpose::Decision => self.fence_has_decided(result),
            Purpose::Proof { about, attempt } => {
                self.broadcast(&PeerMessage::Fenced { about, attempt, result: result.clone() });
                self.fence_result(about, attempt, result);
            }
        }
    }

    /// What was off before somebody has switched off on purpose: it stays off. Who was cut off from disks comes back to them
    /// by itself, in another life.
    fn give_power_back(&mut self, work: &FenceWork) {
        let power = |d: &&Arc<FenceConfig>| d.kind == FenceKind::Power && d.action == FenceAction::Reboot;
        for device in work.devices.iter().filter(|d| work.was_on && power(d)) {
            let id = self.numbers.next();
            self.fence_restores.insert(id, (device.name.clone(), work.victim.clone()));
            let (victim, by, device) = (work.victim.clone(), self.me.name.clone(), device.clone());
            self.out.fence.push(FenceRun { id, ask: FenceAsk::Restore, victim, by, device });
        }
    }

    pub(crate) fn fence_result(
        &mut self,
        about: IncarnationOf,
        attempt: u32,
        result: Result<String, String>,
    ) {
        if self.state.fence_requests.get(&about).is_none_or(|r| r.attempt != attempt) {
            return;
        }
        match result {
            Ok(devices) => {
                self.fenced.insert(about, devices);
            }
            Err(why) => {
                self.fence_errors.insert(about, why);
                self.fence_refused.insert(about);
            }
        }
    }

    /// A confirmation may be lost on the way: say it until the log has it.
    pub(crate) fn repeat_fence_results(&mut self) {
        let results: Vec<PeerMessage> = self
            .fenced
            .iter()
            .filter_map(|(about, devices)| {
                let request = self.state.fence_requests.get(about)?;
                (request.by == self.me.id && request.words() == *devices).then(|| PeerMessage::Fenced {
                    about: *about,
                    attempt: request.attempt,
                    result: Ok(devices.clone()),
                })
            })
            .collect();
        for message in results {
            self.broadcast(&message);
        }
        let state = &self.state;
        self.fenced.retain(|about, _| state.fence_requests.contains_key(about));
    }
}

#[cfg(test)]
mod tests {
    use regent_model::ids::{Incarnation, NodeId};

    use super::*;
    use crate::answers::tests::lx5;

    fn work(devices: usize) -> FenceWork {
        let device = |at| {
            Arc::new(FenceConfig {
                kind: FenceKind::Power,
                disks: Vec::new(),
                name: format!("feed-{at}"),
                agent: "/usr/sbin/fence_pdu".into(),
                nodes: Vec::new(),
                keys: BTreeMap::new(),
                plugs: BTreeMap::new(),
                options: BTreeMap::new(),
                action: FenceAction::Reboot,
                level: 1,
                timeout: std::time::Duration::from_secs(1),
                retries: 0,
                delay: std::time::Duration::ZERO,
                delays: BTreeMap::new(),
            })
        };
        FenceWork {
            purpose: Purpose::Decision,
            victim: NodeName::new("lx4").unwrap(),
            words: String::new(),
            storage: false,
            devices: (0..devices).map(device).collect(),
            checks: false,
            open: (0..devices).map(|at| (RunId(at as u64), at)).collect(),
            was_on: false,
            began: Moment::default(),
        }
    }

    #[test]
    fn one_device_confirms_alone() {
        let mut one = work(1);
        assert_eq!(one.hear(RunId(0), Ok(FenceFound::Cut)), Verdict::Confirmed);
        assert!(one.was_on);
        let mut off = work(1);
        assert_eq!(off.hear(RunId(0), Ok(FenceFound::WasOff)), Verdict::Confirmed);
        assert!(!off.was_on, "what was off before stays off");
        assert_eq!(work(1).hear(RunId(0), Err("no".into())), Verdict::Failed("no".into()));
    }

    #[test]
    fn several_devices_confirm_when_all_are_off_and_each_was_asked_again() {
        let mut two = work(2);
        assert_eq!(two.hear(RunId(1), Ok(FenceFound::WasOff)), Verdict::Waits);
        assert_eq!(two.hear(RunId(1), Ok(FenceFound::WasOff)), Verdict::Waits, "an answer counts once");
        assert_eq!(two.hear(RunId(0), Ok(FenceFound::Cut)), Verdict::Check);
        two.checks = true;
        two.open = BTreeMap::from([(RunId(5), 0), (RunId(6), 1)]);
        assert_eq!(two.hear(RunId(5), Ok(FenceFound::WasOff)), Verdict::Waits);
        assert_eq!(two.hear(RunId(6), Ok(FenceFound::WasOff)), Verdict::Confirmed);
        assert!(two.was_on);
    }

    #[test]
    fn one_device_that_fails_fails_its_level_also_when_it_is_asked_again() {
        let mut two = work(2);
        assert_eq!(two.hear(RunId(0), Ok(FenceFound::Cut)), Verdict::Waits);
        let failed = Verdict::Failed("feed-1: burnt".into());
        assert_eq!(two.hear(RunId(1), Err("burnt".into())), failed);
        let mut again = work(2);
        again.checks = true;
        assert_eq!(again.hear(RunId(1), Err("burnt".into())), failed);
    }

    #[test]
    fn a_confirmation_of_an_attempt_before_through_other_devices_is_forgotten() {
        let mut engine = lx5();
        let about = IncarnationOf { node: NodeId(1), incarnation: Incarnation(1) };
        let request = |attempt: u32, device: &str| FenceRequest {
            level: 1,
            devices: vec![device.to_owned()],
            by: NodeId(3),
            attempt,
            round: 0,
            barriers: BTreeMap::new(),
        };
        let mut asked = |request: FenceRequest, confirmed: Option<&str>| {
            engine.state.fence_requests.insert(about, request.clone());
            engine.fence_requested(about, &request);
            if let Some(words) = confirmed {
                engine.fence_result(about, request.attempt, Ok(words.to_owned()));
            }
            engine.view().fenced.get(&about).cloned()
        };
        assert_eq!(asked(request(1, "feed"), Some("feed")).as_deref(), Some("feed"));
        // The same level once more: the log takes its words.
        assert_eq!(asked(request(2, "feed"), None).as_deref(), Some("feed"));
        // Another level was asked for before that was committed: the log takes these words no more, and whoever kept
        // them would propose nothing else.
        assert_eq!(asked(request(3, "bmc"), None), None);
        assert_eq!(asked(request(3, "bmc"), Some("bmc")).as_deref(), Some("bmc"));
    }
}
