//! Promises: from the guard into the store, to every peer, and back when the log withdraws them.

use std::collections::BTreeSet;

use regent_lease::FromDaemon;
use regent_model::NodeId;
use regent_model::journal::Level;
use regent_model::mutants::{Condition, off};
use regent_model::proof::Promise;
use regent_model::state::Command;
use regent_store::Record;

use crate::engine::{Engine, OnDurable};
use crate::io::PeerMessage;

impl Engine {
    /// The guard has stopped to acknowledge (L2): store its promise.
    pub(crate) fn store_promise(&mut self, promise: Promise) {
        assert_eq!(promise.voter, self.me.id, "a guard promises for its own node");
        self.next_round = self.next_round.max(promise.round.next());
        let who = self.state.name_of(promise.about.node);
        self.tell(
            Level::Step,
            "silence",
            format!("{who} is silent: acknowledging it no more, storing the promise"),
        );
        if off(Condition::L1DurablePromise) {
            self.promise_durable(promise);
            return;
        }
        self.persist(vec![Record::Promise(promise)], OnDurable::Promise(promise));
    }

    pub(crate) fn promise_durable(&mut self, promise: Promise) {
        self.own_promises.insert(promise);
        self.out.guard.push(FromDaemon::PromiseStored(promise));
        // The incarnation was heard at once, and the log was faster than the disk.
        if self.state.withdrawn.contains(&promise) {
            self.promise_withdrawn(promise);
            return;
        }
        self.promises.entry(promise).or_insert(false);
        self.broadcast(&PeerMessage::Promised { mark: self.memory.mark(), promise, matured: false });
    }

    /// The silence behind a promise has lasted for a lease.
    pub(crate) fn promise_matured(&mut self, promise: Promise) {
        if !self.own_promises.contains(&promise) {
            // Withdrawn in the moment in which the guard said so.
            return;
        }
        if self.promises.insert(promise, true) != Some(true) {
            let who = self.state.name_of(promise.about.node);
            self.tell(
                Level::Step,
                "promised",
                format!("silence of {who} exceeds the lease: the promise counts"),
            );
        }
        self.broadcast(&PeerMessage::Promised { mark: self.memory.mark(), promise, matured: true });
    }

    pub(crate) fn peer_promised(&mut self, from: NodeId, promise: Promise, matured: bool) {
        if promise.voter != from
            || self.state.is_ended(promise.about)
            || self.state.withdrawn.contains(&promise) && !off(Condition::L5CitedWithdrawn)
        {
            return;
        }
        let known = self.promises.entry(promise).or_insert(false);
        *known |= matured;
    }

    /// A promise stands against an incarnation that lives: the log must withdraw it, or it will never have a
    /// lease with this voter's help.
    pub(crate) fn promised_but_alive(&mut self, promise: Promise) {
        if !self.state.is_ended(promise.about) {
            self.propose(Command::Withdraw(promise));
        }
    }

    /// The log withdrew a promise (L5).
    pub(crate) fn promise_withdrawn(&mut self, promise: Promise) {
        if !off(Condition::L5CitedWithdrawn) {
            self.promises.remove(&promise);
        }
        if promise.voter == self.me.id && self.own_promises.remove(&promise) {
            self.persist(vec![Record::PromiseWithdrawn(promise)], OnDurable::Nothing);
            self.out.guard.push(FromDaemon::PromiseWithdrawn(promise));
        }
    }

    /// Forgets the promises that the state says were withdrawn, where the entries themselves were not seen: it was
    /// taken over whole, or is durable while what followed from it is not.
    pub(crate) fn forget_promises_withdrawn(&mut self) {
        let known: BTreeSet<Promise> = self.promises.keys().chain(&self.own_promises).copied().collect();
        for promise in known.intersection(&self.state.withdrawn.clone()) {
            self.promise_withdrawn(*promise);
        }
    }

    /// Forgets the promises about what is proven to be over: the log remembers for them (L9).
    pub(crate) fn forget_promises_of_the_ended(&mut self) {
        let state = &self.state;
        self.promises.retain(|p, _| !state.is_ended(p.about));
    }

    pub(crate) fn repeat_promises(&mut self) {
        let mine: Vec<(Promise, bool)> =
            self.promises.iter().filter(|(p, _)| p.voter == self.me.id).map(|(p, m)| (*p, *m)).collect();
        let mark = self.memory.mark();
        for (promise, matured) in mine {
            self.broadcast(&PeerMessage::Promised { mark, promise, matured });
        }
    }
}
