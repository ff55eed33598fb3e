//! The register: for each generation at most one winner, agreed between two nodes over blocks that each of them
//! writes alone and both read. It is Disk Paxos (Gafni and Lamport) for two processes and one disk.
//!
//! An attempt has a *ballot*. Its node writes that it begins it, then reads the other's slot; takes over whom the
//! highest ballot named so far, or names itself; writes that, and reads the other's slot again. If the other has not
//! begun a higher ballot by then, the winner is decided: whatever the other begins later, it will read who was named.
//! What must hold between writing and reading is A1 to A8 in `docs/arbiter.md`.
//!
//! No time is in it. It decides nothing while the disk does not answer, and may have to be asked again when both ask
//! at once: [`Outcome::Outbid`].

use regent_model::NodeId;

use crate::mutants::{Condition, Mutants};
use crate::record::{AreaId, Ballot, Record};
use crate::slot::Slot;
use crate::standing::Generation;

/// What happens to a contest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Both copies of the record are known to be on the disk, past every cache of it.
    Written,
    /// It is not known whether they are, or will be.
    WriteFailed,
    /// What the slots showed, read from the disk after [`Effect::Read`] was asked for.
    Slots {
        /// Of this node.
        own: Slot,
        /// Of the other one.
        other: Slot,
    },
    /// The slots could not be read.
    ReadFailed,
}

/// What a contest wants done: one thing at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write this record at the place of its life, one copy after the other, each flushed to the disk before the
    /// next; then [`Input::Written`]. If either fails or is not answered in time: [`Input::WriteFailed`].
    Write(Record),
    /// Read both slots; then [`Input::Slots`].
    Read,
    /// It is over.
    Over(Outcome),
}

/// How a contest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// This node is the sole voter of the generation, for good.
    Won(Generation),
    /// The other one is.
    Lost(Generation),
    /// A later generation was asked for: this node was left behind. It is no voter any more that could ask.
    Behind(Generation),
    /// This generation has begun without the arbiter, and the other node has asked meanwhile for this earlier one, which
    /// it passed over: it may be going on in that.
    Parted(Generation),
    /// The other node asked at the same time, with a higher ballot. To be asked again after a while.
    Outbid,
    /// A slot is damaged: the area decides nothing before an operator has made it anew.
    Damaged,
    /// The area does not know what this node wrote there: an older copy of it was put back.
    Forgotten,
    /// A later life wrote to this node's slot: its own state was put back, or another machine has its number.
    Overtaken,
    /// The disk could not be read, and nothing of this node's is under way to it. To be asked again.
    Unread,
    /// A write may still land. This life writes no more (A4): to be asked again by one with a higher number.
    Unsure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Looking,
    Promising,
    PromiseRead,
    Accepting,
    AcceptRead,
    Noting(NodeId),
    Over,
}

/// One node's attempts, in one life of its daemon, to have one generation decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Contest {
    other: NodeId,
    /// What this life wrote last, or will write next.
    mine: Record,
    /// The last write that any life of this node knows to be on the disk.
    remembered: (u64, u64),
    phase: Phase,
    unsure: bool,
    /// Whoever asked for an earlier generation than this contest's, and for a later one than this, ends it.
    shared: Option<Generation>,
    mutants: Mutants,
}

impl Contest {
    /// A contest of `me` with `other` for `generation`, and what to do first. `life` is larger than that of every
    /// daemon of this node that wrote to the area before, `sequence` the number of the last write in this life, 0 for none.
    /// `remembered` is (life, sequence) of the last write that this node durably knows to be on the disk.
    #[must_use]
    pub fn new(
        area: AreaId,
        me: NodeId,
        other: NodeId,
        generation: Generation,
        (life, sequence): (u64, u64),
        remembered: (u64, u64),
    ) -> (Self, Effect) {
        let mine = Record { life, sequence, generation, ..Record::blank(area, me) };
        let contest = Self {
            other,
            mine,
            remembered,
            phase: Phase::Looking,
            unsure: false,
            shared: None,
            mutants: Mutants::none(),
        };
        (contest, Effect::Read)
    }

    /// The same contest for a generation that may have begun without the arbiter, on a person's word. The two had one log
    /// up to `shared`: should the other have asked for one between, it ends with [`Outcome::Parted`].
    #[must_use]
    pub fn unless_parted_since(mut self, shared: Generation) -> Self {
        self.shared = Some(shared);
        self
    }

    /// The same contest with a condition switched off.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub fn with_mutants(mut self, mutants: Mutants) -> Self {
        self.mutants = mutants;
        self
    }

    /// The number of the last write of this life, for [`Contest::new`]; once it is [`Input::Written`], with the life's
    /// number, what the node should durably remember.
    #[must_use]
    pub fn written(&self) -> (u64, u64) {
        self.mine.written()
    }

    /// Whether a write may still be under way: then this life writes no more to the area (A4).
    #[must_use]
    pub fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// Something happened; what to do next. Once it is over, nothing.
    pub fn step(&mut self, input: Input) -> Option<Effect> {
        self.unsure |= input == Input::WriteFailed;
        match (self.phase, input) {
            (Phase::Over, _) => None,
            (Phase::Noting(_), Input::Written | Input::WriteFailed) => {
                // It is decided, whether the note of it is on the disk or not.
                let Phase::Noting(winner) = self.phase else { return None };
                Some(self.over(self.outcome(winner)))
            }
            (_, Input::WriteFailed) => Some(self.over(Outcome::Unsure)),
            (_, Input::ReadFailed) => Some(self.over(Outcome::Unread)),
            (Phase::Promising, Input::Written) => Some(self.read(Phase::PromiseRead)),
            (Phase::Accepting, Input::Written) => Some(self.read(Phase::AcceptRead)),
            (Phase::Looking | Phase::PromiseRead | Phase::AcceptRead, Input::Slots { own, other }) => {
                Some(self.judge(&own, &other))
            }
            (_, Input::Written | Input::Slots { .. }) => None,
        }
    }

    fn outcome(&self, winner: NodeId) -> Outcome {
        let generation = self.mine.generation;
        if winner == self.mine.node { Outcome::Won(generation) } else { Outcome::Lost(generation) }
    }

    fn over(&mut self, outcome: Outcome) -> Effect {
        self.phase = Phase::Over;
        Effect::Over(outcome)
    }

    fn read(&mut self, phase: Phase) -> Effect {
        self.phase = phase;
        Effect::Read
    }

    fn write(&mut self, phase: Phase) -> Effect {
        self.phase = phase;
        self.mine.sequence += 1;
        Effect::Write(self.mine)
    }

    /// Looks at what was read, and goes on.
    fn judge(&mut self, own: &Slot, other: &Slot) -> Effect {
        let (Some(own), Some(other)) = (own.newest(self.mutants), other.newest(self.mutants)) else {
            return self.over(Outcome::Damaged);
        };
        if own.written() < self.remembered && !self.mutants.off(Condition::ForgottenArea) {
            return self.over(Outcome::Forgotten);
        }
        if own.written() > self.mine.written() {
            return self.over(Outcome::Overtaken);
        }
        let generation = self.mine.generation;
        let latest = own.generation.max(other.generation);
        if latest > generation && !self.mutants.off(Condition::LaterGenerationEnds) {
            return self.over(Outcome::Behind(latest));
        }
        // In a generation of two nobody names a third.
        let is_one_of_us = |winner| winner == self.mine.node || winner == self.other;
        let of_this = [own, other].into_iter().filter(|record| record.generation == generation);
        if !of_this.flat_map(|record| record.named()).all(is_one_of_us) {
            return self.over(Outcome::Damaged);
        }
        if self.shared.is_some_and(|shared| shared < other.generation && other.generation < generation) {
            return self.over(Outcome::Parted(other.generation));
        }
        let other = Some(other).filter(|record| record.generation == generation);
        match self.phase {
            Phase::PromiseRead => self.name_winner(other),
            Phase::AcceptRead => self.decide(other),
            _ => self.begin(own, other),
        }
    }

    /// Begins a ballot that is higher than all that were begun.
    fn begin(&mut self, own: Record, other: Option<Record>) -> Effect {
        if own.generation == self.mine.generation && !self.mutants.off(Condition::ReadsOwnSlot) {
            let Record { promised, accepted, decided, .. } = own;
            self.mine = Record { promised, accepted, decided, ..self.mine };
        }
        if let Some(winner) = self.mine.decided.or(other.and_then(|record| record.decided)) {
            return self.over(self.outcome(winner));
        }
        let begun = self.mine.promised.round.max(other.map_or(0, |record| record.promised.round));
        // No node has begun so many: this was never written by one.
        let Some(round) = begun.checked_add(1) else { return self.over(Outcome::Damaged) };
        self.mine.promised = Ballot { round, node: self.mine.node };
        if self.mutants.off(Condition::WriteThenRead) {
            // What was read before counts as read after.
            return self.name_winner(other);
        }
        self.write(Phase::Promising)
    }

    /// The ballot is on the disk, and this is what the other one says: names the winner.
    fn name_winner(&mut self, other: Option<Record>) -> Effect {
        if let Some(end) = self.ended_by(other) {
            return end;
        }
        let named = other.and_then(|record| record.accepted).max(self.mine.accepted);
        let named = named.filter(|_| !self.mutants.off(Condition::AdoptAccepted));
        let winner = named.map_or(self.mine.node, |(_, winner)| winner);
        self.mine.accepted = Some((self.mine.promised, winner));
        self.write(Phase::Accepting)
    }

    /// The winner's name is on the disk, and this is what the other one says: it is decided.
    fn decide(&mut self, other: Option<Record>) -> Effect {
        if let Some(end) = self.ended_by(other) {
            return end;
        }
        let winner = self.mine.accepted.map_or(self.mine.node, |(_, winner)| winner);
        self.mine.decided = Some(winner);
        self.write(Phase::Noting(winner))
    }

    /// Whether the other one has decided, or begun a higher ballot.
    fn ended_by(&mut self, other: Option<Record>) -> Option<Effect> {
        let other = other?;
        if let Some(winner) = other.decided {
            return Some(self.over(self.outcome(winner)));
        }
        let outbid = other.promised > self.mine.promised && !self.mutants.off(Condition::HigherBallotStops);
        outbid.then(|| self.over(Outcome::Outbid))
    }

    /// Whom this contest is with.
    #[must_use]
    pub fn other(&self) -> NodeId {
        self.other
    }
}
