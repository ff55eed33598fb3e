//! A group that an operator holds: what fails is told, and nothing is done about it until it is resumed.

use std::time::Duration;

use regent_model::Moment;
use regent_model::action::Outcome;
use regent_model::journal::Level;

use super::{Sequencer, Stage, Wish, as_failure};
use crate::io::ResourceWord;

impl Sequencer {
    /// Takes note of whether the group is held. What failed meanwhile is looked at anew when it is not any more.
    pub(crate) fn set_held(&mut self, now: Moment, held: bool) {
        if std::mem::replace(&mut self.held, held) == held || held {
            return;
        }
        for slot in &mut self.slots {
            if slot.spared.take().is_some() {
                slot.left_failed = None;
                slot.recheck = true;
                slot.watch_again(now);
            }
        }
    }

    /// Whether what does not run is not brought up: nobody has ordered that, it only was found so.
    pub(super) fn spares_what_is_down(&self) -> bool {
        self.held && self.ran_before
    }

    /// Something that should run was found down.
    pub(super) fn found_down(
        &mut self,
        slot: usize,
        outcome: Outcome,
        took: Duration,
        wishes: &mut Vec<Wish>,
    ) {
        let why = as_failure(outcome, "it does not run").reason;
        let what = self.described(slot);
        let text = format!("{what} does not run: {why}; it is left as it is, because {} is held", self.group);
        wishes.push(self.tell_slot(Level::Warning, "probe", slot, text, took, ""));
        self.slots[slot].spare(0, why);
        self.stage = Stage::Acquiring { at: slot + 1 };
    }

    /// Whether the failure of a resource is only told, because its group is held.
    pub(super) fn is_spared(&mut self, slot: usize, watch: usize, why: &str, wishes: &mut Vec<Wish>) -> bool {
        if !self.held {
            return false;
        }
        let what = self.described(slot);
        let text = format!("{what} failed; nothing is done about it, because {} is held", self.group);
        wishes.push(self.tell_slot(Level::Error, "failed_held", slot, text, Duration::ZERO, ""));
        self.slots[slot].spare(watch, why.to_owned());
        true
    }
}

impl super::slots::Slot {
    /// It failed by this monitor, and is left as it is until its group is not held any more.
    fn spare(&mut self, watch: usize, why: String) {
        self.word = ResourceWord::Failed;
        self.left_failed = Some(watch);
        self.spared = Some(why);
    }
}
