//! Whom this node acknowledges, and whom it has promised to acknowledge no more (L1, L2, L3, L5, L7, L9).
//!
//! The voter is the one writer of both: in the step in which a promise begins, acknowledging has ended. What it
//! knows of an incarnation lives in memory; what it promised lives in the store. A voter that restarted has
//! therefore forgotten its acknowledgements, and counts every incarnation as acknowledged at its start.

use std::collections::BTreeMap;
use std::time::Duration;

use regent_model::ids::IncarnationOf;
use regent_model::proof::Promise;
use regent_model::timers::{CLOCK_RATE_ERROR_PPM, stretch};
use regent_model::{Moment, NodeId, Round};

use crate::frame::{Ack, Keepalive};
use crate::io::{ClusterView, Effect, ToDaemon};
use crate::mutants::{Condition, Mutants};

/// What a voter remembers of one incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Known {
    /// From when its silence counts: when it was last acknowledged, first seen, or forgiven.
    silent_since: Moment,
    /// The lease that was acknowledged last, or the longest that was heard since: how long silence may last.
    lease: Duration,
    /// When no lease can be valid any more that this voter helped to make, on any clock (L3).
    horizon: Moment,
    /// When it was last heard, or first seen.
    heard: Moment,
    /// What the daemon was told of it.
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    Nothing,
    Heard,
    Silent,
}

/// A promise that stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Standing {
    promise: Promise,
    /// When the silence behind it exceeds every lease acknowledged: fixed when acknowledging ended.
    matures: Moment,
    stored: bool,
    matured_told: bool,
    /// When the daemon was last told that the incarnation is heard all the same.
    alive_told: Option<Moment>,
}

impl Standing {
    fn new(promise: Promise, matures: Moment) -> Self {
        Self { promise, matures, stored: false, matured_told: false, alive_told: None }
    }
}

/// One node's vote about the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Voter {
    me: NodeId,
    known: BTreeMap<IncarnationOf, Known>,
    promises: BTreeMap<IncarnationOf, Standing>,
    next_round: Round,
    mutants: Mutants,
}

impl Voter {
    /// A voter that remembers nothing. It must hear no keepalive before [`Voter::restore`] has told it what it
    /// promised in earlier lives.
    #[must_use]
    pub fn new(me: NodeId, mutants: Mutants) -> Self {
        Self { me, known: BTreeMap::new(), promises: BTreeMap::new(), next_round: Round(1), mutants }
    }

    /// The daemon has attached and says which promises are durable and not withdrawn. A promise of ours that is
    /// not among them was either withdrawn meanwhile (its round was stored) or never stored; then it is asked
    /// for again. What was told to the daemon before is told anew by the next [`Voter::tick`].
    pub fn restore(
        &mut self,
        now: Moment,
        view: &ClusterView,
        durable: &[Promise],
        next_round: Round,
        out: &mut Vec<Effect>,
    ) {
        let withdrawn = |p: &Promise| p.round < next_round && !durable.contains(p);
        let gone: Vec<_> = self.promises.values().map(|s| s.promise).filter(withdrawn).collect();
        gone.iter().for_each(|promise| self.forgive(now, promise.about));
        let me = self.me;
        for promise in durable.iter().filter(|p| p.voter == me && !view.has_ended(p.about)) {
            let matures = self.meet(now, view, promise.about).horizon;
            let standing =
                self.promises.entry(promise.about).or_insert_with(|| Standing::new(*promise, matures));
            standing.stored |= standing.promise == *promise;
        }
        self.next_round = self.next_round.max(next_round);
        for standing in self.promises.values_mut() {
            standing.matured_told = false;
            standing.alive_told = None;
        }
        // In the order of their rounds: a store takes no smaller round after a larger one.
        let mut asked: Vec<Promise> =
            self.promises.values().filter(|s| !s.stored).map(|s| s.promise).collect();
        asked.sort_by_key(|promise| promise.round);
        out.extend(asked.into_iter().map(|promise| Effect::Tell(ToDaemon::StorePromise(promise))));
        for (about, known) in &mut self.known {
            match known.told {
                Told::Heard => out.push(Effect::Tell(ToDaemon::PeerHeard(*about))),
                Told::Silent | Told::Nothing => known.told = Told::Nothing,
            }
        }
    }

    /// How long a lease of this length, acknowledged now, can last on any clock (L3).
    fn wait(&self, lease: Duration) -> Duration {
        if self.mutants.off(Condition::L3Stretch) {
            lease
        } else if self.mutants.off(Condition::L3BothClocks) {
            lease + lease * CLOCK_RATE_ERROR_PPM / 1_000_000
        } else {
            stretch(lease)
        }
    }

    /// The log was applied further: forgets promises about incarnations that it has ended (they are never
    /// acknowledged again in any case, L9), and takes note of those it has registered.
    pub fn learn(&mut self, now: Moment, view: &ClusterView) {
        self.promises.retain(|about, _| !view.has_ended(*about));
        for about in &view.registered {
            self.meet(now, view, *about);
        }
    }

    /// What is known of `about`. One that is seen for the first time counts as acknowledged just now, with the
    /// largest lease (L1): an earlier life of this voter may have done so.
    fn meet(&mut self, now: Moment, view: &ClusterView, about: IncarnationOf) -> &mut Known {
        let wait = if self.mutants.off(Condition::L1RestartWait) {
            Duration::ZERO
        } else {
            self.wait(view.largest_lease)
        };
        self.known.entry(about).or_insert(Known {
            silent_since: now,
            lease: view.largest_lease,
            horizon: now + wait,
            heard: now,
            told: Told::Nothing,
        })
    }

    /// A keepalive was received at `now`: the acknowledgement to send, unless this voter has promised otherwise.
    pub fn heard(
        &mut self,
        now: Moment,
        view: &ClusterView,
        keepalive: &Keepalive,
        out: &mut Vec<Effect>,
    ) -> Option<Ack> {
        let about = keepalive.about();
        let known = self.meet(now, view, about);
        known.heard = now;
        if known.told != Told::Heard {
            known.told = Told::Heard;
            out.push(Effect::Tell(ToDaemon::PeerHeard(about)));
        }
        let dead = view.has_ended(about) && !self.mutants.off(Condition::L9DeadStayDead);
        if dead || !keepalive.renews || self.refuses(now, keepalive, out) {
            return None;
        }
        self.acknowledge(now, view, keepalive)
    }

    /// Whether a promise stands in the way; that the incarnation lives is told once per lease.
    fn refuses(&mut self, now: Moment, keepalive: &Keepalive, out: &mut Vec<Effect>) -> bool {
        let about = keepalive.about();
        let Some(standing) = self.promises.get_mut(&about) else { return false };
        // Once it is forgiven, it has the time of the lease that it has by now, or a promise would come between any two
        // of its keepalives. When a promise *matures*, the acknowledged leases alone say.
        if let Some(known) = self.known.get_mut(&about) {
            known.lease = known.lease.max(keepalive.lease);
        }
        if standing.alive_told.is_none_or(|told| now.since(told) >= keepalive.lease) {
            standing.alive_told = Some(now);
            out.push(Effect::Tell(ToDaemon::PromisedButAlive(standing.promise)));
        }
        let ends_acks =
            if standing.stored { Condition::L2PromiseEndsAcks } else { Condition::L2StopBeforeStoring };
        if self.mutants.off(Condition::L5OnlyTheLogWithdraws) {
            self.forgive(now, about);
        }
        !self.mutants.off(ends_acks)
    }

    fn acknowledge(&mut self, now: Moment, view: &ClusterView, keepalive: &Keepalive) -> Option<Ack> {
        // L1 rests on this: nobody was ever acknowledged for longer than the largest lease.
        if keepalive.lease > view.largest_lease {
            return None;
        }
        let own_lease = !self.mutants.off(Condition::L3OwnLease);
        let wait = self.wait(if own_lease { keepalive.lease } else { view.timers.lease });
        let known = self.meet(now, view, keepalive.about());
        known.silent_since = now;
        known.lease = keepalive.lease;
        known.horizon = known.horizon.max(now + wait);
        Some(Ack {
            voter: self.me,
            node: keepalive.node,
            incarnation: keepalive.incarnation,
            number: keepalive.number,
        })
    }

    /// The store holds this promise.
    pub fn stored(&mut self, promise: Promise) {
        if let Some(standing) = self.promises.get_mut(&promise.about) {
            standing.stored |= standing.promise == promise;
        }
    }

    /// The log withdrew this promise (L5). A later one about the same incarnation stands.
    pub fn withdrawn(&mut self, now: Moment, promise: Promise) {
        let Some(standing) = self.promises.get(&promise.about) else { return };
        if standing.promise == promise || self.mutants.off(Condition::L5Round) {
            self.forgive(now, promise.about);
        }
    }

    /// The incarnation may be acknowledged again, and has until the next silence to be heard.
    fn forgive(&mut self, now: Moment, about: IncarnationOf) {
        self.promises.remove(&about);
        if let Some(known) = self.known.get_mut(&about) {
            known.silent_since = now;
        }
    }

    /// Time has passed: begins the promises that silence calls for, and tells what has matured or fallen silent.
    pub fn tick(&mut self, now: Moment, view: &ClusterView, out: &mut Vec<Effect>) {
        self.begin_promises(now, view, out);
        for standing in self.promises.values_mut().filter(|s| s.stored && !s.matured_told && s.matures <= now)
        {
            standing.matured_told = true;
            out.push(Effect::Tell(ToDaemon::PromiseMatured(standing.promise)));
        }
        let silence_told = silence_told(view);
        for (about, known) in &mut self.known {
            let silence = now.since(known.heard);
            if about.node != self.me && known.told != Told::Silent && silence >= silence_told {
                known.told = Told::Silent;
                out.push(Effect::Tell(ToDaemon::PeerSilent { peer: *about, silence }));
            }
        }
        // Whoever is met again counts as acknowledged then, so what can hold no lease need not be remembered.
        self.known.retain(|about, known| {
            view.registered.contains(about) || known.told != Told::Silent || now < known.horizon
        });
    }

    fn begin_promises(&mut self, now: Moment, view: &ClusterView, out: &mut Vec<Effect>) {
        if !view.voters.contains(&self.me) {
            return;
        }
        for (about, known) in &self.known {
            let may_promise = self.may_promise(*about, view) && !self.promises.contains_key(about);
            if may_promise && known.silent_since + promise_begins(view, known.lease) <= now {
                let promise = Promise { voter: self.me, about: *about, round: self.next_round };
                self.next_round = self.next_round.next();
                self.promises.insert(*about, Standing::new(promise, known.horizon));
                out.push(Effect::Tell(ToDaemon::StorePromise(promise)));
            }
        }
    }

    /// About itself a node never promises: its guard acknowledges itself without asking (L7).
    fn may_promise(&self, about: IncarnationOf, view: &ClusterView) -> bool {
        let others = about.node != self.me || self.mutants.off(Condition::L7OwnVote);
        others && view.registered.contains(&about) && !view.has_ended(about)
    }

    /// When [`Voter::tick`] has something to do next, if nothing is heard before.
    #[must_use]
    pub fn next_wake(&self, view: &ClusterView) -> Option<Moment> {
        let votes = view.voters.contains(&self.me);
        let silent = self
            .known
            .iter()
            .filter(|(about, known)| about.node != self.me && known.told != Told::Silent)
            .map(|(_, known)| known.heard + silence_told(view));
        let begins = self
            .known
            .iter()
            .filter(|(about, _)| {
                votes && self.may_promise(**about, view) && !self.promises.contains_key(about)
            })
            .map(|(_, known)| known.silent_since + promise_begins(view, known.lease));
        let matures = self.promises.values().filter(|s| s.stored && !s.matured_told).map(|s| s.matures);
        silent.chain(begins).chain(matures).min()
    }
}

/// The silence after an acknowledged lease of this length after which a promise begins: in proportion, an
/// owner that hears nobody has begun to let go by then.
fn promise_begins(view: &ClusterView, lease: Duration) -> Duration {
    if lease == view.timers.lease {
        return view.timers.promise_begins();
    }
    let ns = view.timers.promise_begins().as_nanos() * lease.as_nanos();
    let ns = ns / view.timers.lease.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// The silence after which a peer is told to be silent.
fn silence_told(view: &ClusterView) -> Duration {
    view.timers.promise_begins() / 2
}
