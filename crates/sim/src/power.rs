//! The power switch: the cluster's fence device.

use regent_engine::Input;
use regent_model::action::FenceRun;
use regent_model::action::RunId;
use regent_model::config::FenceAction;
use regent_model::ids::NodeId;
use regent_model::state::State;

use crate::event::Event;
use crate::guardian::nanoseconds;
use crate::sim::Sim;
use crate::time::{MS, Ns};

/// The fence agent's calls: look, cut, look again. Further steps are answers.
const CUT: u8 = 1;
const CONFIRMED: u8 = 2;
const FAILED: u8 = 3;

impl Sim {
    /// A fence agent begins.
    pub(crate) fn begin_fence(&mut self, node: NodeId, run: &FenceRun) {
        let Some(daemon) = self.machines.get(&node).and_then(|m| m.daemon.as_ref()).map(|d| d.life) else {
            return;
        };
        // A machine that was taken away is off.
        let victim = self.id(run.victim.as_str()).unwrap_or(NodeId(0));
        let id = run.id;
        if self.rng.chance(self.weather.fences_fail) {
            let delay = nanoseconds(run.device.timeout);
            self.after(delay, Event::FenceStep { node, daemon, id, victim, step: FAILED });
        } else {
            let delay = self.fence_delay();
            self.after(delay, Event::FenceStep { node, daemon, id, victim, step: CUT });
        }
    }

    fn fence_delay(&mut self) -> Ns {
        self.rng.between(5, 30) * MS * self.weather.fence_slow
    }

    /// A fence agent goes on.
    pub(crate) fn fence_step(&mut self, node: NodeId, id: RunId, victim: NodeId, step: u8) {
        let daemon = self.machines.get(&node).and_then(|m| m.daemon.as_ref()).map(|d| d.life);
        match step {
            CUT => {
                let was_on = self.machines.get(&victim).is_some_and(|m| m.power);
                if was_on {
                    let (who, by) = (self.name(victim), self.name(node));
                    self.trace.world(self.now, format_args!("the switch cuts the power of {who}, for {by}"));
                    self.power_off(victim);
                    self.fenced_goes_on(victim);
                }
                let delay = self.fence_delay();
                if let Some(daemon) = daemon {
                    self.after(delay, Event::FenceStep { node, daemon, id, victim, step: CONFIRMED });
                }
            }
            CONFIRMED => {
                let living = |s: &State| s.living(victim).is_some();
                let early = self.judge.truth.as_ref().is_some_and(|(_, state)| living(state));
                self.marks.hit(match early {
                    true => "a fence device confirmed before the lease had ended",
                    false => "a fence device confirmed after the lease had ended",
                });
                self.input(node, Input::Fenced { id, result: Ok(()) });
            }
            _ => {
                let result = Err("the device does not answer".to_owned());
                self.input(node, Input::Fenced { id, result });
            }
        }
    }

    /// The device switches the machine on again after it was confirmed off.
    fn fenced_goes_on(&mut self, victim: NodeId) {
        let reboots = self.config.fences.iter().any(|f| f.action == FenceAction::Reboot);
        if reboots {
            let delay = self.rng.between(200, 2_500) * MS;
            self.after(delay, Event::PowerOn(victim));
        }
    }
}
