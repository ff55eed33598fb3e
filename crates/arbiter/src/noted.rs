//! The generation that a node has noted, and what two nodes that noted different ones are to each other.

use regent_model::NodeId;
use serde::{Deserialize, Serialize};

use crate::mutants::{Condition, Mutants};
use crate::standing::Generation;

/// A generation that a node noted durably, and whom the arbiter named for it, or a person: nobody for the founders'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Noted {
    /// Which.
    pub generation: Generation,
    /// Its sole voter when it began.
    pub winner: Option<NodeId>,
    /// The last generation in which both had one log: the one before, unless a person's word passed over some.
    pub shared: Generation,
    /// When the word was given that it began with, in milliseconds since 1970; 0 if the arbiter decided.
    pub word_ms: u64,
}

impl Default for Noted {
    fn default() -> Self {
        Self { generation: Generation(1), winner: None, shared: Generation(0), word_ms: 0 }
    }
}

impl Noted {
    /// What the arbiter decided.
    #[must_use]
    pub fn decided(generation: Generation, winner: NodeId) -> Self {
        let shared = Generation(generation.0.saturating_sub(1));
        Self { generation, winner: Some(winner), shared, word_ms: 0 }
    }

    /// What `me` notes on a person's word after this. The arbiter may have named the other one for the next generation
    /// without anybody knowing: it is passed over, so that the disk can be told. So is everything up to `passed`, which the
    /// disk shows. Who votes alone by now can only have been passed by another word.
    #[must_use]
    pub fn passed_by_word(self, passed: Generation, me: NodeId, shared: Generation, word_ms: u64) -> Self {
        let is_two = shared == self.generation || self.winner != Some(me);
        let open = if is_two { self.generation.next() } else { self.generation };
        Self { generation: open.max(passed).next(), winner: Some(me), shared, word_ms }
    }

    /// Whether this comes after that one. Two people can give their word for one generation at two nodes: the later word
    /// comes after the earlier.
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        let rank = |noted: Self| (noted.generation, noted.word_ms, noted.winner);
        rank(self) > rank(other)
    }

    /// Whether a node that noted this gives up what it has when it hears of one that has gone on without it: `alone` and
    /// `theirs_alone` say who goes on in the present life. Who goes on may own something, and who has only come up owns
    /// nothing; of two that do, or of two that do not, one has to (A17).
    #[must_use]
    pub fn yields(self, alone: bool, theirs: Self, theirs_alone: bool, mutants: Mutants) -> bool {
        let decides = match (alone, theirs_alone) {
            (false, true) => true,
            (true, false) => false,
            _ => theirs.is_after(self),
        };
        self.parts_from(theirs, mutants) && decides
    }

    /// Whether two nodes that noted these have each gone on without the other: what one of them committed the other
    /// has not got, and never will.
    #[must_use]
    pub fn parts_from(self, other: Self, mutants: Mutants) -> bool {
        let (early, late) = if self.is_after(other) { (other, self) } else { (self, other) };
        early.winner != late.winner && early.generation > late.shared && !mutants.off(Condition::PartedGiveUp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Mutants = Mutants::none();
    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn word(generation: u64, winner: NodeId, shared: u64, word_ms: u64) -> Noted {
        Noted {
            generation: Generation(generation),
            winner: Some(winner),
            shared: Generation(shared),
            word_ms,
        }
    }

    fn decided(generation: u64, winner: NodeId) -> Noted {
        Noted::decided(Generation(generation), winner)
    }

    #[test]
    fn what_the_arbiter_decides_never_parts_who_was_left_behind() {
        let chain = [Noted::default(), decided(2, A), decided(3, B), decided(4, B), decided(5, A)];
        for (at, early) in chain.iter().enumerate() {
            for late in &chain[at + 1..] {
                assert!(late.is_after(*early) && !early.is_after(*late));
                assert!(!late.parts_from(*early, ALL) && !early.parts_from(*late, ALL), "{early:?} {late:?}");
            }
        }
    }

    #[test]
    fn a_word_parts_from_whoever_went_on_in_what_it_passed_over_and_from_nobody_else() {
        let by_a = word(4, A, 2, 1_000);
        assert!(!by_a.parts_from(decided(2, B), ALL), "they had that log in common");
        assert!(!by_a.parts_from(by_a, ALL) && !by_a.parts_from(Noted::default(), ALL));
        assert!(by_a.parts_from(decided(3, B), ALL) && decided(3, B).parts_from(by_a, ALL));
        assert!(!by_a.parts_from(decided(3, A), ALL), "one voter has one log");
        // After it they were two again, and the arbiter decided.
        assert!(!decided(5, B).parts_from(by_a, ALL));
    }

    #[test]
    fn of_two_words_for_one_generation_the_later_word_comes_after() {
        let (by_a, by_b) = (word(4, A, 2, 1_000), word(4, B, 2, 2_000));
        assert!(by_b.is_after(by_a) && by_a.parts_from(by_b, ALL) && by_b.parts_from(by_a, ALL));
        assert!(word(6, A, 2, 500).is_after(by_b), "a later generation comes after whatever the clocks said");
        assert!(word(4, B, 2, 1_000).is_after(by_a), "one of them in any case");
    }
}
