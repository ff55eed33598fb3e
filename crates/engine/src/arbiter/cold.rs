//! The sole voter of a generation comes up again: not at once. While it was off the other one may have gone on by a
//! person's word; so it first hears the other one say that it did not, or finds on the disk that nobody did.
//!
//! What was found counts for one life of the guard: a daemon that is started again meanwhile goes on at once.

use std::collections::BTreeSet;

use regent_arbiter::mutants::Condition;
use regent_arbiter::standing::takes_part;
use regent_arbiter::{Generation, Outcome};
use regent_model::NodeId;
use regent_model::ids::Incarnation;
use regent_model::journal::Level;
use regent_store::{Record, Recovered};
use serde::{Deserialize, Serialize};

use crate::consensus::Noted;
use crate::engine::{Engine, OnDurable};

/// Under which key the store keeps it.
const KEY: &str = "alone";

/// Which life of the guard may go on as the sole voter, and of which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cleared {
    generation: Generation,
    incarnation: Incarnation,
}

impl Cleared {
    pub(crate) fn recovered(recovered: &Recovered) -> Option<Self> {
        recovered.meta.get(KEY).map(|bytes| {
            postcard::from_bytes(bytes)
                .unwrap_or_else(|e| panic!("what was stored of going on alone is nothing: {e}"))
        })
    }

    fn record(&self) -> Record {
        let value =
            postcard::to_stdvec(self).unwrap_or_else(|e| panic!("two numbers cannot be encoded: {e}"));
        Record::Meta { key: KEY.to_owned(), value }
    }
}

impl Engine {
    /// The other one of two members.
    pub(super) fn other_member(&self) -> Option<NodeId> {
        let mut others = self.state.members.keys().copied().filter(|id| *id != self.me.id);
        others.next().filter(|_| others.next().is_none())
    }

    /// Whether this node was named for the generation that it noted, and is alone in it still.
    pub(super) fn is_sole_voter(&self) -> bool {
        let alone = self.is_entering() || self.state.alone;
        alone
            && self.consensus.noted().winner == Some(self.me.id)
            && self.counted() == BTreeSet::from([self.me.id])
    }

    /// Whether this node goes on as the sole voter of its generation.
    #[must_use]
    pub fn goes_on_alone(&self) -> bool {
        self.consensus.leads() && self.is_sole_voter()
    }

    /// Whether this node is the sole voter of its generation, and does not know yet that it still may go on.
    #[must_use]
    pub fn is_to_wait(&self) -> bool {
        if self.consensus.leads() || !self.is_sole_voter() || self.other_member().is_none() {
            return false;
        }
        if self.asking.mutants.off(Condition::SoleVoterLooks) {
            return false;
        }
        let generation = self.consensus.noted().generation;
        let wanted = self.guard.incarnation.map(|incarnation| Cleared { generation, incarnation });
        wanted.is_none() || self.asking.cleared != wanted
    }

    /// Works off the log; lets consensus stand still until this node may go on alone.
    pub(crate) fn follow_cold(&mut self) -> bool {
        if self.goes_on_alone() {
            self.clear();
        }
        let waits = self.is_to_wait() || !takes_part(self.fences_other(), self.asking.mutants);
        self.consensus.wait(waits);
        self.drain_log()
    }

    /// This life may go on alone. Should that not be durable, the next daemon only waits once more.
    pub(crate) fn clear(&mut self) {
        let Some(incarnation) = self.guard.incarnation else { return };
        let cleared = Cleared { generation: self.consensus.noted().generation, incarnation };
        if self.asking.cleared != Some(cleared) {
            self.asking.cleared = Some(cleared);
            self.persist(vec![cleared.record()], OnDurable::Nothing);
        }
    }

    /// A peer says which generation it has noted, and whether it goes on in that alone.
    pub(crate) fn peer_generation(&mut self, from: NodeId, theirs: Noted, alone: bool) {
        let mine = self.consensus.noted();
        if !self.state.members.contains_key(&from) {
            return;
        }
        if theirs == mine {
            // It follows this node, and nobody else.
            if self.is_to_wait() && self.other_member() == Some(from) {
                let text = format!("{} knows of no later generation: going on", self.state.name_of(from));
                self.tell(Level::Step, "arbiter", text);
                self.clear();
            }
        } else if theirs.parts_from(mine, self.asking.mutants) {
            if mine.yields(self.goes_on_alone(), theirs, alone, self.asking.mutants) {
                self.give_up(from, theirs);
            }
        } else if theirs.is_after(mine) {
            self.note_generation(theirs);
        }
    }

    /// A peer has gone on without this node, and this node without it: what only this one has is given up. The daemon
    /// ends, the guard lets go, and the node comes back as a new one.
    pub(crate) fn give_up(&mut self, peer: NodeId, theirs: Noted) {
        let (me, peer) = (&self.me.name, self.state.name_of(peer));
        let why = format!(
            "{peer} has gone on without {me} in generation {}, by the word of a person that {me} was off, and {me} in \
             generation {} without {peer}: there is one of the two too many. What {me} decided alone is given up, it owns nothing \
             and takes part in nothing any more",
            theirs.generation,
            self.consensus.noted().generation
        );
        self.tell(Level::Error, "forgotten", why.clone());
        let record = self.memory.forget(&why);
        self.persist(vec![record], OnDurable::Forgotten);
    }

    /// Whether the other one was silent for so long since this daemon began that it would have been heard.
    pub(super) fn has_listened(&mut self) -> bool {
        let Some(since) = self.asking.silent_since else { return false };
        let at = since + self.state.config.timers.promise_wait().max(self.state.largest_lease * 2);
        if self.now < at {
            self.asking.look_at = Some(at);
        }
        self.now >= at
    }

    /// With whom to contest the very generation that this node is the sole voter of: to learn whether it still may go on, or to
    /// have the disk say so too.
    pub(super) fn asks_for_its_own(&mut self) -> Option<(NodeId, Generation)> {
        let (other, area) = (self.other_member()?, self.area()?);
        let generation = self.consensus.noted().generation;
        if !self.is_sole_voter() || self.is_noting() {
            return None;
        }
        let wanted = if self.is_to_wait() {
            self.asking.word.is_some() || self.has_listened()
        } else {
            self.goes_on_alone() && self.asking.memo.of(area).said < generation
        };
        if wanted && self.now < self.asking.not_before {
            self.asking.look_at = Some(self.asking.not_before);
            return None;
        }
        wanted.then_some((other, generation))
    }

    /// The contest for this node's own generation has ended so.
    pub(super) fn own_contest_over(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Won(generation) => {
                self.asking.memo.said = generation;
                let record = self.asking.memo.record();
                self.persist(vec![record], OnDurable::Nothing);
                if self.is_to_wait() {
                    self.clear();
                }
            }
            Outcome::Lost(generation) | Outcome::Behind(generation) | Outcome::Parted(generation)
                if self.is_to_wait() =>
            {
                self.begin_by_word(generation);
            }
            _ => {}
        }
    }
}
