//! Registering this machine at its disks, where fence devices at the storage decide who may write them.
//!
//! Once in a life and for each device, and only as long as the log has this life living and nobody was asked to cut it off:
//! then the log is told. From that moment the machine may be given groups on those disks, and nothing of the agent is at work
//! any more that could register it once again behind the back of whoever cuts it off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regent_model::Moment;
use regent_model::action::{FenceAsk, FenceFound, FenceRun, Notice, RunId};
use regent_model::config::{Barrier, FenceConfig};
use regent_model::ids::IncarnationOf;
use regent_model::mutants::{Condition, off};
use regent_model::state::Command;

use crate::engine::Engine;

/// When a device that refused is asked again.
const PAUSE: Duration = Duration::from_secs(10);

/// The devices that this life registers through.
#[derive(Default)]
pub(crate) struct Registering {
    life: Option<IncarnationOf>,
    works: BTreeMap<String, Work>,
}

enum Work {
    Asked(RunId, Barrier),
    /// Its agent said so: the log is told until it has it.
    Done(Barrier),
    Failed(Moment),
}

fn topic(device: &str) -> String {
    format!("disks_{device}")
}

impl Engine {
    /// Registers where that is not done yet. The lease of `life` is valid.
    pub(crate) fn follow_registration(&mut self, life: IncarnationOf) {
        if self.registering.life != Some(life) {
            self.registering = Registering { life: Some(life), works: BTreeMap::new() };
        }
        let living = self.state.living(life.node) == Some(life);
        let Some(known) = self.state.lives.get(&life.node).filter(|l| living && !l.cut) else { return };
        let own: Vec<(Arc<FenceConfig>, Barrier)> = self
            .state
            .config
            .fences_of(&self.me.name)
            .filter_map(|device| Some((device.clone(), device.barrier()?)))
            .collect();
        let registered = known.registered.clone();
        self.registering.works.retain(|name, _| own.iter().any(|(device, _)| device.name == *name));
        for (device, barrier) in own {
            match registered.get(&device.name) {
                Some(before) if !off(Condition::RegistersOnce) => {
                    self.registering.works.remove(&device.name);
                    self.judge_registration(&device.name, *before == barrier);
                }
                _ => self.register(life, device, barrier),
            }
        }
    }

    fn register(&mut self, life: IncarnationOf, device: Arc<FenceConfig>, barrier: Barrier) {
        match self.registering.works.get(&device.name) {
            Some(Work::Asked(..)) => {}
            Some(Work::Failed(at)) if self.now.since(*at) < PAUSE => {}
            Some(Work::Done(barrier)) => {
                let (device, barrier) = (device.name.clone(), barrier.clone());
                self.propose(Command::Registered { about: life, device, barrier });
            }
            _ => {
                let id = self.numbers.next();
                let (victim, by) = (self.me.name.clone(), self.me.name.clone());
                self.registering.works.insert(device.name.clone(), Work::Asked(id, barrier));
                self.out.fence.push(FenceRun { id, ask: FenceAsk::Register, victim, by, device });
            }
        }
    }

    /// What a device says to that; anything else is given back.
    pub(crate) fn register_done(
        &mut self,
        id: RunId,
        result: Result<FenceFound, String>,
    ) -> Option<Result<FenceFound, String>> {
        let asked = |work: &Work| matches!(work, Work::Asked(asked, _) if *asked == id);
        let Some((device, work)) = self.registering.works.iter_mut().find(|(_, work)| asked(work)) else {
            return Some(result);
        };
        let device = device.clone();
        match (result, &work) {
            (Ok(_), Work::Asked(_, barrier)) => *work = Work::Done(barrier.clone()),
            (Ok(_), _) => {}
            (Err(why), _) => {
                *work = Work::Failed(self.now);
                let text =
                    format!("this node is not registered at the disks of the fence device {device}: {why}");
                let advice = "no group on them that needs \"storage\" is given to this node until it is; it is tried again \
                              every 10 s"
                    .to_owned();
                self.noticed(Notice::Trouble { topic: topic(&device), text, advice });
            }
        }
        None
    }

    /// Registered it is: as the device is configured, or as it was when it was registered.
    fn judge_registration(&mut self, device: &str, as_configured: bool) {
        let notice = if as_configured {
            let text = format!("this node is registered at the disks of the fence device {device}");
            Notice::Well { topic: topic(device), text }
        } else {
            let text = format!(
                "the fence device {device} was changed after this node had registered at its disks: groups that need it are \
                 given to this node no more, and not taken over from it by it"
            );
            let advice =
                "a node registers once in a life: regent node stop, regent node start on it".to_owned();
            Notice::Trouble { topic: topic(device), text, advice }
        };
        self.noticed(notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::tests::lx5;

    #[test]
    fn a_device_that_refuses_is_told_and_asked_again_and_one_that_has_done_it_is_not() {
        let mut engine = lx5();
        let about = IncarnationOf { node: engine.me.id, incarnation: regent_model::ids::Incarnation(1) };
        let barrier = Barrier { disks: vec!["/dev/sdb".into()], mark: 1 };
        let asked = |engine: &mut Engine, id: u64| {
            let work = Work::Asked(RunId(id), barrier.clone());
            engine.registering.works.insert("san".to_owned(), work);
            engine.registering.life = Some(about);
        };
        asked(&mut engine, 7);
        assert!(engine.register_done(RunId(8), Err("no".into())).is_some(), "not ours");
        assert!(engine.register_done(RunId(7), Err("no reservations".into())).is_none());
        let told: Vec<_> = engine.troubles.values().cloned().collect();
        assert!(told.len() == 1 && told[0].contains("san: no reservations"), "{told:?}");
        assert!(
            engine.register_done(RunId(7), Ok(FenceFound::Registered)).is_some(),
            "an answer counts once"
        );
        asked(&mut engine, 9);
        assert!(engine.register_done(RunId(9), Ok(FenceFound::Registered)).is_none());
        assert!(matches!(engine.registering.works.get("san"), Some(Work::Done(done)) if *done == barrier));
        engine.judge_registration("san", true);
        assert!(engine.troubles.is_empty());
        engine.judge_registration("san", false);
        assert!(engine.troubles.values().any(|t| t.contains("was changed after")));
    }
}
