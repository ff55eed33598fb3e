//! When this node asks the arbiter: when it may (A9 to A11), and the other one is missed.
//!
//! Nothing of it is for safety; what is, is in [`Standing`]. Whoever has groups asks as soon as the other one is silent, so
//! that it is alone before it must let go; whoever has none waits a little, so that in a partition the groups stay.

use std::time::Duration;

use regent_arbiter::standing::Arbiter as Kind;
use regent_arbiter::{Generation, Standing};
use regent_model::NodeId;
use regent_model::state::generations::changes_arbiter;
use regent_model::state::{Proposal, Tenure};

use crate::engine::{Engine, OnDurable};
use crate::format;

impl Engine {
    /// What this node knows of the generation that it is in.
    pub(crate) fn standing(&self) -> Standing {
        let changes = |bytes: &[u8]| {
            // What cannot be read may be one.
            format::read::<Proposal>(bytes, self.me.speaks).map_or(true, |p| changes_arbiter(&self.state, &p))
        };
        Standing {
            me: self.me.id,
            generation: self.consensus.noted().generation,
            entered: self.entered(),
            voters: self.consensus.voters(),
            changing: self.consensus.is_changing(changes),
            settled: self.state.settled,
            // A daemon that was started again on a running machine is not told from one that was not.
            quorum_since_boot: self.current,
        }
    }

    /// Whether the next generation is being noted.
    pub(super) fn is_noting(&self) -> bool {
        self.batches.values().any(|then| matches!(then, OnDurable::Generation(_)))
    }

    /// How much a node has to lose: its groups.
    pub(super) fn weight(&self, node: NodeId) -> usize {
        let owns = |t: &Tenure| matches!(t, Tenure::Owned(o) if o.owner.node == node);
        self.state.groups.values().filter(|g| owns(&g.tenure)).count()
    }

    /// The generation for which this node has begun a contest, in this life or before, that is not over.
    #[must_use]
    pub fn open_contest(&self) -> Option<Generation> {
        let contest = self.asking.memo.of(self.area()?).contest;
        (contest > self.consensus.noted().generation).then_some(contest)
    }

    /// Whom to contest which generation with, if that is to be done now.
    pub(super) fn asks_now(&mut self) -> Option<(NodeId, Generation)> {
        if let Some(own) = self.asks_for_its_own() {
            return Some(own);
        }
        let other = self.other_voter()?;
        let theirs = self.facts.get(&other).map_or(0, |f| f.contest);
        let open = self.open_contest().is_some() || theirs > self.consensus.noted().generation.0;
        // Who has only begun may not know that the other one has gone on without the arbiter meanwhile.
        let knows = self.current || self.facts.contains_key(&other);
        if self.is_noting() || !(open && knows || self.misses(other)) {
            return None;
        }
        if self.now < self.asking.not_before {
            self.asking.look_at = Some(self.asking.not_before);
            return None;
        }
        self.standing().may_ask(Kind::Disk, self.asking.mutants).ok()
    }

    /// Since when the other one of two is silent.
    pub(super) fn watch_silence(&mut self) {
        let Some(other) = self.other_voter().or_else(|| self.other_member()) else { return };
        if self.heard.contains_key(&other) {
            self.asking.silent_since = None;
        } else {
            self.asking.silent_since.get_or_insert(self.now);
        }
    }

    /// The other one of two voters.
    pub(super) fn other_voter(&self) -> Option<NodeId> {
        let voters = self.consensus.voters();
        let mut others = voters.iter().copied().filter(|id| *id != self.me.id);
        others.next().filter(|_| voters.len() == 2)
    }

    /// Whether the other one is missed long enough for this node to go on without it.
    fn misses(&mut self, other: NodeId) -> bool {
        // Who is to stop asks, too: without the other one it could not have its release committed, nor start again.
        if !self.guard.attached || self.leaving {
            return false;
        }
        let living = self.state.living(other);
        let promise = self.own_promises.iter().find(|p| Some(p.about) == living);
        let matured = promise.is_some_and(|p| self.promises.get(p) == Some(&true));
        if matured {
            return true;
        }
        let Some(since) = self.asking.silent_since else { return false };
        let timers = &self.state.config.timers;
        let silent_for = if living.is_none() {
            timers.promise_wait().max(self.state.largest_lease * 2)
        } else if !self.current {
            return false;
        } else if self.weight(self.me.id) > 0 && self.guard.lease_valid {
            Duration::ZERO
        } else if promise.is_none() {
            return false;
        } else if self.weight(other) > 0 {
            // From silence to its maturity a promise takes so long; half of that is left to who has groups.
            timers.promise_begins() / 2 + (timers.promise_wait() - timers.promise_begins()) / 2
        } else {
            Duration::ZERO
        };
        let at = since + silent_for;
        if self.now < at {
            self.asking.look_at = Some(at);
        }
        self.now >= at
    }
}
