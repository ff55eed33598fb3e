//! When a node may ask for the next generation, and whose messages it hears in which (A9 to A15).
//!
//! A generation is a line of voters that the log of one node goes on in. Within it consensus counts votes as ever;
//! only the step to the next one is the arbiter's: its winner is the one voter with which the next generation begins.
//! In a generation of two voters nothing is committed that not both have stored, so that either's log holds it all.

use std::collections::BTreeSet;
use std::fmt;

use regent_model::NodeId;
use serde::{Deserialize, Serialize};

use crate::contest::Outcome;
use crate::mutants::{Condition, Mutants};

/// How many times an arbiter has decided, and one: what a cluster is founded in is generation 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Generation(pub u64);

impl Generation {
    /// The one that is decided next.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arbiter {
    /// An area of the shared disk.
    Disk,
    /// A fence device: who turned the other one off.
    Fence,
}

/// Why a node does not ask for the next generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotNow {
    /// So many vote: none but two need an arbiter.
    Voters(usize),
    /// It does not vote itself, as far as it knows.
    NoVoter,
    /// A later generation was decided, and its log has not reached it yet.
    LeftBehind(Generation),
    /// A change of voters is on its way: it may be in force elsewhere.
    Changing,
    /// The two have not been settled: somebody may still rest on a lease that one of them alone gave it, or one of
    /// them may come back not knowing that they are two.
    NotSettled,
    /// It was in no quorum with the other since its boot: with a fence device as arbiter, one of two that come up
    /// without each other would turn the other one off, again and again.
    NoQuorumSinceBoot,
}

/// What a node knows of the generation that it is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The node.
    pub me: NodeId,
    /// The last generation that it noted durably.
    pub generation: Generation,
    /// The last generation whose beginning it has applied.
    pub entered: Generation,
    /// Who votes, by what it has applied.
    pub voters: BTreeSet<NodeId>,
    /// Whether it has stored a change of voters that it has not applied.
    pub changing: bool,
    /// Whether it has applied the entry that settles these voters ([`may_settle`]), or they are the founders.
    pub settled: bool,
    /// Whether something that it proposed or took was committed with the other's help since this machine booted.
    pub quorum_since_boot: bool,
}

impl Standing {
    /// With whom to contest which generation.
    ///
    /// # Errors
    /// Why it may not ask. Nothing has changed then.
    pub fn may_ask(&self, arbiter: Arbiter, mutants: Mutants) -> Result<(NodeId, Generation), NotNow> {
        if self.entered < self.generation && !mutants.off(Condition::OnlyVoters) {
            return Err(NotNow::LeftBehind(self.generation));
        }
        if !self.voters.contains(&self.me) && !mutants.off(Condition::OnlyVoters) {
            return Err(NotNow::NoVoter);
        }
        let mut others = self.voters.iter().copied().filter(|voter| *voter != self.me);
        let (Some(other), None) = (others.next(), others.next()) else {
            return Err(NotNow::Voters(self.voters.len()));
        };
        if self.changing && !mutants.off(Condition::NothingChanging) {
            return Err(NotNow::Changing);
        }
        if !self.settled {
            return Err(NotNow::NotSettled);
        }
        let alone_since_boot = arbiter == Arbiter::Fence && !self.quorum_since_boot;
        if alone_since_boot && !mutants.off(Condition::QuorumSinceBoot) {
            return Err(NotNow::NoQuorumSinceBoot);
        }
        Ok((other, self.generation.next()))
    }

    /// Whether this node goes on as the sole voter after this: only if it might ask still, for the voters may have
    /// changed since it did. It notes the generation durably first (A12), then takes its whole log along (A13).
    #[must_use]
    pub fn is_won(&self, outcome: Outcome, arbiter: Arbiter, mutants: Mutants) -> Option<Generation> {
        let (_, next) = self.may_ask(arbiter, mutants).ok()?;
        (outcome == Outcome::Won(next)).then_some(next)
    }

    /// Whether what another node says in `theirs` may be taken: not what is said in an earlier generation (A14). Of a
    /// later one this node takes note durably before it takes anything, and has lost its vote until the log gives it
    /// back.
    #[must_use]
    pub fn hears(&self, theirs: Generation, mutants: Mutants) -> bool {
        theirs >= self.generation || mutants.off(Condition::OldIsRefused)
    }
}

/// What one member says of itself before two voters are settled. Indexes are of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Readiness {
    /// The view under which its lease was last confirmed; nothing if no life of it is registered. Whether it owns
    /// anything does not matter: it may be given something before the two are settled.
    pub lease_confirmed: Option<u64>,
    /// Up to where it remembers who votes when it comes back; nothing if it does not vote.
    pub voters_durable: Option<u64>,
}

/// Whether the leader may settle the voters that changed last at `changed`. `members` is everyone who may own
/// anything, learners too, and both voters: every lease is confirmed under both of them (A10), and both come back
/// knowing that they are two (A11).
#[must_use]
pub fn may_settle(changed: u64, members: &[Readiness], mutants: Mutants) -> bool {
    members.iter().all(|member| {
        let confirmed = member.lease_confirmed.is_none_or(|at| at >= changed);
        let durable = member.voters_durable.is_none_or(|at| at >= changed);
        (confirmed || mutants.off(Condition::LeasesSettled))
            && (durable || mutants.off(Condition::VotersDurable))
    })
}

/// Whether this answer of a fence device decides for the one who asked: the other's power was confirmed to be off, in
/// answer to a request that this very life of the daemon made (A15).
#[must_use]
pub fn fence_decides(asked_in: u64, this_life: u64, confirmed: bool, mutants: Mutants) -> bool {
    confirmed && (asked_in == this_life || mutants.off(Condition::OwnRequest))
}

/// Whether a node that stops may name `other` for the next generation instead of a fence device: only while it sees that
/// one lead. Of two, only one can see that of the other in one generation, and it hears nothing of it from then on (A18).
#[must_use]
pub fn may_hand_over(leader: Option<NodeId>, other: NodeId, mutants: Mutants) -> bool {
    leader == Some(other) || mutants.off(Condition::HandsOverToTheLeader)
}

/// Whether a node takes part in its generation: not while its request to turn the other one off is under way. Otherwise
/// the other could come up again, be in a quorum with it, and ask in its turn, before the first answer is there (A15).
#[must_use]
pub fn takes_part(is_asking: bool, mutants: Mutants) -> bool {
    !is_asking || mutants.off(Condition::NothingWhileAsking)
}
