//! Evidence before recovery: what can be seen of a failed application is gathered before anything of it is stopped.
//!
//! It stands only in the way of what follows a failure here. What the log asks for meanwhile, and the end of a lease,
//! wait for nothing of it.

use std::time::Duration;

use regent_model::Moment;
use regent_model::action::{How, Op};

use super::monitoring::Asked;
use super::{ANSWER_GRACE, Current, RunNumbers, Sequencer, Stage, Wish};

/// How long after its budget its answer is waited for: the agent ends by itself.
const GRACE: Duration = Duration::from_millis(500);

impl Sequencer {
    /// Asks for the evidence that is due. Where the failure is acted on, the first of it is waited for.
    pub(super) fn gather_evidence(&mut self, now: Moment, numbers: &mut RunNumbers, wishes: &mut Vec<Wish>) {
        for at in 0..self.slots.len() {
            let Some(why) = self.slots[at].evidence_due.take() else { continue };
            let Some(budget) = self.slots[at].diagnose else { continue };
            let id = numbers.next();
            let acts =
                matches!(self.stage, Stage::Mending { .. } | Stage::Releasing { failure: Some(_), .. });
            if acts && self.current.is_none() {
                let give_up = now + budget + GRACE;
                self.current = Some(Current { id, slot: at, op: Op::Monitor, began: now, give_up });
            } else {
                self.notices.insert(id, Asked::as_check(at, now, now + budget + ANSWER_GRACE));
            }
            let mut run = self.order(id, at, Op::Monitor, How::Evidence, budget);
            run.environment.push(("REGENT_FAILURE".to_owned(), why));
            wishes.push(Wish::Run(run));
        }
    }
}
