//! Generations of the cluster, and when an arbiter may decide between its two voters (`docs/arbiter.md`, A9 to A11).
//!
//! The voters themselves are the log's; what follows from their changes is here, for it is the same on every node.

use super::State;
use super::apply::{Changes, void};
use super::{Change, Command, Proposal};

impl State {
    /// The voters or members of the log changed at this entry, and so many vote from there on; with it, this generation
    /// began.
    pub fn voters_changed(&mut self, index: u64, began: Option<u64>, voters: usize) {
        self.alone = voters == 1 && (self.alone || began.is_some());
        self.voters_at = index;
        self.settled = false;
        self.generation = self.generation.max(began.unwrap_or(0));
    }

    pub(super) fn settle(&mut self, changed: u64) -> Changes {
        if changed != self.voters_at {
            return void("the voters have changed since");
        }
        if self.settled {
            return void("the voters are settled already");
        }
        self.settled = true;
        vec![Change::Settled]
    }
}

/// Whether another arbiter would decide once this is applied: until it is, nobody may ask the present one.
#[must_use]
pub fn changes_arbiter(state: &State, proposal: &Proposal) -> bool {
    matches!(&proposal.command, Command::SetConfig(new) if new.config.arbiter != state.config.arbiter)
}
