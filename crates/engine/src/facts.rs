//! What this node says again and again: that it lives, and how it is.

use std::collections::BTreeSet;
use std::time::Duration;

use regent_lease::FromDaemon;
use regent_model::action::{ADDRESS_LEASES, WATCHDOG};
use regent_model::{Moment, NodeId, NodeName};

use crate::engine::Engine;
use crate::io::{Facts, PeerMessage};

/// How often a guard hears that its daemon lives; it waits ten times as long before it lets go.
const ALIVE_EVERY: Duration = Duration::from_millis(500);

/// How often peers hear how this node is when nothing changes: one of them may have missed it.
const FACTS_EVERY: Duration = Duration::from_secs(1);

/// What was said, and when it is due again.
pub(crate) struct Said {
    /// When something may be due.
    pub(crate) next: Moment,
    alive: Moment,
    facts: Option<(Moment, Facts)>,
}

impl Said {
    pub(crate) fn new(now: Moment) -> Self {
        Self { next: now, alive: Moment(0), facts: None }
    }
}

impl Engine {
    /// How long something unanswered is left before it is said again.
    pub(crate) fn patience(&self) -> Duration {
        (self.state.config.timers.heartbeat * 2).max(Duration::from_millis(50))
    }

    /// What is said again and again.
    pub(crate) fn heartbeat(&mut self) {
        self.said.next = self.now + self.state.config.timers.heartbeat;
        if self.guard.attached && self.now.since(self.said.alive) >= ALIVE_EVERY {
            self.said.alive = self.now;
            self.out.guard.push(FromDaemon::Alive);
        }
        self.look_at_networks();
        self.tell_facts();
        self.repeat_connections();
        self.repeat_promises();
        self.repeat_fence_results();
        self.complain();
        self.watch_lateness();
    }

    /// Tells the peers how this node is: when that has changed, and now and then.
    fn tell_facts(&mut self) {
        let facts = self.own_facts();
        let told = self.said.facts.as_ref();
        if told.is_some_and(|(at, told)| *told == facts && self.now.since(*at) < FACTS_EVERY) {
            return;
        }
        let mark = self.memory.mark();
        self.broadcast(&PeerMessage::Facts { mark, facts: Box::new(facts.clone()) });
        self.said.facts = Some((self.now, facts));
    }

    pub(crate) fn own_facts(&self) -> Facts {
        let (networks, adapters) = self.network_facts();
        Facts {
            networks,
            adapters,
            incarnation: self.guard.incarnation,
            boot: self.guard.boot.clone(),
            lease_valid: self.guard.lease_valid,
            confirmed: self.guard.confirmed,
            voters_durable: self.snapshot_durable_at,
            contest: self.open_contest().map_or(0, |generation| generation.0),
            noted: self.consensus.noted(),
            alone: self.goes_on_alone(),
            resources: self.sequencers.iter().map(|(name, s)| (name.clone(), s.words())).collect(),
            journal_last: self.chronicle.own_last(),
            version: self.me.version.clone(),
            figures: self.figures.clone(),
            kernel_leases: self.has_kernel_leases(),
            watchdog: self.is_watched(),
            troubles: self.troubles.values().cloned().collect(),
            events: self.event_facts(),
        }
    }

    fn has_kernel_leases(&self) -> bool {
        !self.troubles.contains_key(ADDRESS_LEASES)
    }

    /// The nodes on which nothing but the guard ends the leases of service addresses, as they said themselves.
    pub(crate) fn without_kernel_leases(&self) -> BTreeSet<NodeName> {
        self.without(self.has_kernel_leases(), |facts| facts.kernel_leases)
    }

    fn is_watched(&self) -> bool {
        let own = self
            .state
            .members
            .get(&self.me.id)
            .and_then(|me| self.state.config.nodes.iter().find(|n| n.name == me.name));
        own.is_some_and(|node| node.watchdog.is_some()) && !self.troubles.contains_key(WATCHDOG)
    }

    /// The nodes whose watchdog nobody feeds, as they said themselves.
    pub(crate) fn without_watchdog(&self) -> BTreeSet<NodeName> {
        self.without(self.is_watched(), |facts| facts.watchdog)
    }

    /// The members that do not have something, as they said themselves; whether this one has it.
    fn without(&self, own: bool, has: impl Fn(&Facts) -> bool) -> BTreeSet<NodeName> {
        let others = self.facts.iter().filter(|(_, facts)| !has(facts)).map(|(id, _)| *id);
        let me = (!own).then_some(self.me.id);
        others.chain(me).filter_map(|id| Some(self.state.members.get(&id)?.name.clone())).collect()
    }

    /// A peer says how it is; what it knows and this node does not is asked for.
    pub(crate) fn peer_facts(&mut self, from: NodeId, facts: Facts) {
        if let Some(member) = self.state.members.get(&from) {
            let name = member.name.clone();
            self.out.send.extend(self.chronicle.missing(from, &name, facts.journal_last));
        }
        self.facts.insert(from, facts);
    }
}
