//! The conditions of the arbiter, and switching one of them off, to show that the checkers notice. A build without
//! the feature `mutants` has nothing to switch: there `off` is a constant `false`.

/// The conditions, each at the line that keeps it. Those marked *engine* are kept by whoever runs this crate: the
/// model in its tests has them, and so must the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// A1: the other's slot is read after the own ballot is known to be on the disk.
    WriteThenRead,
    /// A2: what a ballot before may have decided is taken over.
    AdoptAccepted,
    /// A3: a higher ballot of the other stops this one.
    HigherBallotStops,
    /// A4: each life of a daemon writes to a place of its own, so that a write that comes late hides nothing.
    OwnPlace,
    /// A6: a life begins with what earlier lives wrote.
    ReadsOwnSlot,
    /// A7: whoever sees a record of a later generation has lost.
    LaterGenerationEnds,
    /// A8: a block that cannot be read is not taken for one that was never written.
    DamageIsNotBlank,
    /// A8: an area that has forgotten what this node wrote decides nothing.
    ForgottenArea,
    /// A9: only a voter of generation g, by what it has applied, asks for g+1.
    OnlyVoters,
    /// A9: nor while a change of voters is stored and not applied: others may have applied it.
    NothingChanging,
    /// A10: nobody asks before every lease is confirmed under both voters (L8).
    LeasesSettled,
    /// A11: nor before both voters have durably noted that they are two.
    VotersDurable,
    /// A12: the winner notes the generation durably before it does anything as its sole voter (*engine*).
    NotedDurably,
    /// A13: the winner takes its whole log along, what it does not know to be committed too (*engine*).
    WholeLog,
    /// A14: from then on it hears nothing of an earlier generation.
    OldIsRefused,
    /// A15: with a fence device, nobody asks who was not in a quorum with the other since its boot.
    QuorumSinceBoot,
    /// A15: with a fence device, what counts is an answer to a request of this life's own.
    OwnRequest,
    /// A15: from the request to the answer, the asker takes no part in the generation that it wants to end.
    NothingWhileAsking,
    /// A16: a sole voter that comes up looks first whether it still is (*engine*).
    SoleVoterLooks,
    /// A17: of two that have gone on without each other one gives up.
    PartedGiveUp,
    /// A18: with a fence device, who stops names the other one only while it sees that one lead.
    HandsOverToTheLeader,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::WriteThenRead,
        Self::AdoptAccepted,
        Self::HigherBallotStops,
        Self::OwnPlace,
        Self::ReadsOwnSlot,
        Self::LaterGenerationEnds,
        Self::DamageIsNotBlank,
        Self::ForgottenArea,
        Self::OnlyVoters,
        Self::NothingChanging,
        Self::LeasesSettled,
        Self::VotersDurable,
        Self::NotedDurably,
        Self::WholeLog,
        Self::OldIsRefused,
        Self::QuorumSinceBoot,
        Self::OwnRequest,
        Self::NothingWhileAsking,
        Self::SoleVoterLooks,
        Self::PartedGiveUp,
        Self::HandsOverToTheLeader,
    ];
}

/// Which condition is switched off, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mutants {
    #[cfg(any(test, feature = "mutants"))]
    off: Option<Condition>,
}

impl Mutants {
    /// Every condition holds.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            #[cfg(any(test, feature = "mutants"))]
            off: None,
        }
    }

    /// Every condition but this one holds.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub const fn without(condition: Condition) -> Self {
        Self { off: Some(condition) }
    }

    /// Whether this condition is switched off.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub fn off(self, condition: Condition) -> bool {
        self.off == Some(condition)
    }

    /// Whether this condition is switched off: never.
    #[cfg(not(any(test, feature = "mutants")))]
    #[must_use]
    pub const fn off(self, _condition: Condition) -> bool {
        false
    }
}
