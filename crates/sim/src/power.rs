//! The power switches: the cluster's fence devices.
//!
//! A device whose name begins with `feed` cuts one feed of a machine, which runs on as long as it has another; every
//! other device cuts the machine as a whole.

use std::sync::Arc;

use regent_engine::Input;
use regent_model::action::{FenceAsk, FenceFound, FenceRun};
use regent_model::config::{FenceConfig, FenceKind};
use regent_model::ids::NodeId;
use regent_model::state::State;

use crate::event::{Event, FenceStep};
use crate::guardian::nanoseconds;
use crate::sim::Sim;
use crate::time::{MS, Ns};

fn is_feed(device: &FenceConfig) -> bool {
    device.name.starts_with("feed")
}

impl Sim {
    /// A fence agent begins.
    pub(crate) fn begin_fence(&mut self, node: NodeId, run: FenceRun) {
        if run.device.kind == FenceKind::Storage {
            return self.begin_at_storage(node, run);
        }
        let run = Arc::new(run);
        let fails = self.rng.chance(self.weather.fences_fail)
            || self.weather.fence_broken.as_ref().is_some_and(|name| *name == run.device.name);
        if fails && !self.rng.chance(self.weather.fences_lie) {
            self.fence_goes_on(node, nanoseconds(run.device.timeout), &run, FenceStep::Failed);
            return;
        }
        let delay = self.fence_delay();
        let step = match run.ask {
            FenceAsk::Check => FenceStep::Looks(FenceFound::WasOff),
            _ if fails => FenceStep::Lies,
            _ => FenceStep::Acts,
        };
        self.fence_goes_on(node, delay, &run, step);
    }

    fn fence_goes_on(&mut self, node: NodeId, delay: Ns, run: &Arc<FenceRun>, step: FenceStep) {
        let Some(daemon) = self.machines.get(&node).and_then(|m| m.daemon.as_ref()).map(|d| d.life) else {
            return;
        };
        self.after(delay, Event::Fence { node, daemon, run: run.clone(), step });
    }

    fn fence_delay(&mut self) -> Ns {
        self.rng.between(5, 30) * MS * self.weather.fence_slow
    }

    /// A fence agent goes on.
    pub(crate) fn fence_step(&mut self, node: NodeId, run: &Arc<FenceRun>, step: FenceStep) {
        // A machine that was taken away is off.
        let victim = self.id(run.victim.as_str()).unwrap_or(NodeId(0));
        match step {
            FenceStep::Acts if run.ask == FenceAsk::Restore => {
                self.give_power(victim, &run.device);
                self.input(node, Input::Fenced { id: run.id, result: Ok(FenceFound::Restored) });
            }
            FenceStep::Acts => {
                let was_on = !self.is_off(victim, &run.device);
                if was_on {
                    self.cut_power(node, victim, &run.device);
                }
                let found = if was_on { FenceFound::Cut } else { FenceFound::WasOff };
                let delay = self.fence_delay();
                self.fence_goes_on(node, delay, run, FenceStep::Looks(found));
            }
            FenceStep::Lies => {
                self.marks.hit("a fence device said that it had done it, and had not");
                let delay = self.fence_delay();
                self.fence_goes_on(node, delay, run, FenceStep::Looks(FenceFound::Cut));
            }
            FenceStep::Looks(found) if self.is_off(victim, &run.device) => {
                let living = |s: &State| s.living(victim).is_some();
                let early = self.judge.truth.as_ref().is_some_and(|(_, state)| living(state));
                self.marks.hit(match early {
                    true => "a fence device confirmed before the lease had ended",
                    false => "a fence device confirmed after the lease had ended",
                });
                self.input(node, Input::Fenced { id: run.id, result: Ok(found) });
            }
            FenceStep::Looks(_) | FenceStep::Failed => {
                let result = Err("the device does not answer".to_owned());
                self.input(node, Input::Fenced { id: run.id, result });
            }
        }
    }

    fn cut_power(&mut self, node: NodeId, victim: NodeId, device: &FenceConfig) {
        let (who, by) = (self.name(victim), self.name(node));
        let feeds = self.config.fences.iter().filter(|f| is_feed(f)).count();
        if is_feed(device)
            && let Some(machine) = self.machines.get_mut(&victim)
        {
            machine.feeds_off.insert(device.name.clone());
            if machine.feeds_off.len() < feeds {
                self.trace.world(self.now, format_args!("{} is off at {who}, for {by}", device.name));
                return;
            }
        }
        self.trace.world(self.now, format_args!("the switch cuts the power of {who}, for {by}"));
        self.power_off(victim);
    }

    /// What the status of a device says, by itself.
    fn is_off(&self, victim: NodeId, device: &FenceConfig) -> bool {
        self.machines.get(&victim).is_none_or(|machine| match is_feed(device) {
            true => machine.feeds_off.contains(&device.name),
            false => !machine.power,
        })
    }

    /// The device switches the machine on again after it was confirmed off.
    fn give_power(&mut self, victim: NodeId, device: &FenceConfig) {
        if let Some(machine) = self.machines.get_mut(&victim) {
            machine.feeds_off.remove(&device.name);
        }
        let delay = self.rng.between(200, 2_500) * MS;
        self.after(delay, Event::PowerOn(victim));
    }
}
