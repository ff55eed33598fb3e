//! What the leader knows beside the log: who is heard, who promised what, what fence devices confirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_model::config::LocalTime;
use regent_model::figure::Figures;
use regent_model::ids::{IncarnationOf, NodeId};
use regent_model::proof::Promise;
use regent_model::state::State;

/// Volatile knowledge. It decides what is *proposed*; what is *valid* the log alone decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The voters of the replicated log.
    pub voters: BTreeSet<NodeId>,
    /// The incarnations that are heard, the observer's own included.
    pub heard: BTreeSet<IncarnationOf>,
    /// What the nodes have measured.
    pub figures: BTreeMap<NodeId, Figures>,
    /// How long each of them was heard without a break.
    pub heard_for: BTreeMap<IncarnationOf, Duration>,
    /// The incarnations that were ever heard by this daemon.
    pub met: BTreeSet<IncarnationOf>,
    /// What is left of the settling time, counted from when the leader began to lead; `None` when it is over.
    pub settling: Option<Duration>,
    /// The leader's civil time.
    pub local: Option<LocalTime>,
    /// Promises that are durable, but whose silence has not yet lasted for a lease.
    pub stored: BTreeSet<Promise>,
    /// Promises that may be cited as proof.
    pub matured: BTreeSet<Promise>,
    /// Fence devices that have confirmed.
    pub fenced: BTreeMap<IncarnationOf, String>,
    /// Incarnations whose machine was told to reboot, and may still be doing so.
    pub rebooting: BTreeSet<IncarnationOf>,
    /// Fence requests whose device failed or did not answer in time.
    pub fence_failed: BTreeSet<IncarnationOf>,
    /// Which node has lost which network alone, while others hear each other there.
    pub lost: BTreeSet<(NodeId, usize)>,
}

impl View {
    /// The promises about `about` that the log would accept, one per voter, if they are a majority.
    #[must_use]
    pub fn majority_matured(&self, state: &State, about: IncarnationOf) -> Option<Vec<Promise>> {
        self.majority(state, about, &self.matured)
    }

    /// Whether a majority of voters has stopped acknowledging `about`: it cannot keep its lease.
    #[must_use]
    pub fn majority_suspects(&self, state: &State, about: IncarnationOf) -> bool {
        let all: BTreeSet<Promise> = self.stored.union(&self.matured).copied().collect();
        self.majority(state, about, &all).is_some()
    }

    fn majority(
        &self,
        state: &State,
        about: IncarnationOf,
        from: &BTreeSet<Promise>,
    ) -> Option<Vec<Promise>> {
        let by_voter: BTreeMap<NodeId, Promise> = from
            .iter()
            .filter(|p| state.promise_stands(p, about, &self.voters))
            .map(|p| (p.voter, *p))
            .collect();
        (by_voter.len() > self.voters.len() / 2).then(|| by_voter.into_values().collect())
    }
}
