//! Of two nodes between which the fence devices decide, one that stops in order names the other one for the next
//! generation, so that it is not missed, and not turned off (A18).
//!
//! Nothing is committed without it in the present generation, and it takes part in that no more once it has noted the next
//! one; so what it says decides as well as a device would. Only who sees the other one lead says so: the two can never name each
//! other.

use regent_arbiter::standing::{Arbiter as Kind, may_hand_over};
use regent_model::NodeId;
use regent_model::journal::Level;
use regent_model::state::NodeMode;

use crate::consensus::Noted;
use crate::engine::Engine;

impl Engine {
    /// Names the other one before this node leaves. Whether leaving waits for that.
    pub(crate) fn hands_over_first(&mut self) -> bool {
        if self.arbiter_kind() != Some(Kind::Fence) {
            return false;
        }
        if self.fences_other() || self.is_noting() {
            return true;
        }
        let noted = self.consensus.noted();
        if let Some(winner) = noted.winner.filter(|winner| *winner != self.me.id && self.is_entering()) {
            let knows =
                self.facts.get(&winner).is_some_and(|facts| facts.noted.generation >= noted.generation);
            return self.heard.contains_key(&winner) && !knows;
        }
        let Some(other) = self.other_voter().filter(|other| self.heard.contains_key(other)) else {
            return false;
        };
        // What it asks is not whether this node was in a quorum: it turns nobody off.
        let Ok((_, next)) = self.standing().may_ask(Kind::Disk, self.asking.mutants) else { return false };
        if may_hand_over(self.consensus.leader(), other, self.asking.mutants) {
            let name = self.state.name_of(other);
            let text = format!(
                "this node leaves in order: {name} goes on alone in generation {next}, and does not miss it"
            );
            self.tell(Level::Step, "arbiter", text);
            self.note_generation(Noted::decided(next, other));
        } else if self.consensus.leads() && !self.is_stopping(other) {
            self.consensus.transfer(other);
        }
        true
    }

    fn is_stopping(&self, node: NodeId) -> bool {
        self.state.lives.get(&node).is_some_and(|life| matches!(life.mode, NodeMode::Stopping(_)))
    }
}
