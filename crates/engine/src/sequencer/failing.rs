//! What happens when a resource cannot be brought up, or taken down.

use std::time::Duration;

use regent_model::action::{Failure, Outcome};
use regent_model::journal::Level;

use super::{Sequencer, Stage, Wish};
use crate::io::ResourceWord;

impl Sequencer {
    /// It is tried again here, or everything is taken down.
    pub(super) fn acquire_failed(
        &mut self,
        slot: usize,
        outcome: Outcome,
        took: Duration,
        wishes: &mut Vec<Wish>,
    ) {
        let failure = as_failure(outcome, "it was started and does not run");
        self.slots[slot].word = ResourceWord::Failed;
        let again = self.slots[slot].attempts <= self.slots[slot].limits.retries;
        let what = self.described(slot);
        let next = if again { "; trying again here" } else { "" };
        let text = format!("{what} could not be brought up: {}{next}", failure.reason);
        wishes.push(self.tell_slot(Level::Error, "acquire_failed", slot, text, took, &failure.evidence));
        // Those above were never acquired, unless by somebody before us, or before this was added below them.
        let above = |otherwise| if self.inherits { self.slots.len() } else { otherwise };
        self.stage = if again {
            Stage::Mending { at: above(slot + 1), to: slot }
        } else {
            let failure = Some(format!("{what}: {}", failure.reason));
            Stage::Releasing { at: above(self.highest(slot)), failure }
        };
    }

    /// Nothing goes on, unless a reboot ends it anyway.
    pub(super) fn release_failed(
        &mut self,
        slot: usize,
        outcome: Outcome,
        took: Duration,
        wishes: &mut Vec<Wish>,
    ) {
        let failure = as_failure(outcome, "it was stopped and still runs");
        self.slots[slot].word = ResourceWord::Failed;
        if let (true, Stage::Releasing { at, .. }) = (self.ends_by_reboot, &mut self.stage) {
            *at = slot;
            let text = format!(
                "{} could not be taken down: {}; the reboot will end it",
                self.described(slot),
                failure.reason
            );
            let evidence = &failure.evidence;
            wishes.push(self.tell_slot(Level::Warning, "release_failed", slot, text, took, evidence));
            return;
        }
        self.stage = Stage::Stuck;
        let text = format!("{} could not be taken down: {}", self.described(slot), failure.reason);
        wishes.push(self.tell_slot(
            Level::Error,
            "release_failed",
            slot,
            text.clone(),
            took,
            &failure.evidence,
        ));
        wishes.push(Wish::Stuck(text));
    }
}

/// The failure in an outcome that was not asked for.
pub(super) fn as_failure(outcome: Outcome, otherwise: &str) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Running | Outcome::Stopped => Failure::because(otherwise),
    }
}

/// What is said of an agent that says nothing.
pub(super) fn no_answer() -> Outcome {
    Outcome::Failed(Failure { timed_out: true, ..Failure::because("no answer within the deadline") })
}
