//! What may happen next.

use std::collections::BTreeSet;

use regent_lease::holder::Right;
use regent_lease::mutants::{Condition, Mutants};
use regent_lease::{FromDaemon, Guard, Input};
use regent_model::holding::Held;
use regent_model::proof::Promise;
use regent_model::{Incarnation, NodeId};

use crate::log::{A, Agreed, Entry, GROUPS, Owner};
use crate::state::{Datagram, State, act};
use crate::world::World;

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Tick,
    Deliver(Datagram),
    Stored(NodeId, Promise),
    Crash(NodeId),
    Restart(NodeId),
    Apply(NodeId),
    Commit(Entry),
    RepeatWithdrawal(Promise),
    RepeatHeldWithoutLease(Incarnation),
    Acquire(usize),
    Acted(usize, bool),
    /// The machine was too slow to begin with the act in its time.
    TooLate(usize),
    Release(Held),
    GuardDies,
    Reborn,
    Freeze,
    Thaw,
}

pub(crate) struct Actions<'a> {
    pub(crate) world: &'a World,
    pub(crate) mutants: Mutants,
}

impl Actions<'_> {
    pub(crate) fn enabled(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        if state.tick < self.world.ticks {
            actions.push(Action::Tick);
        }
        if state.frozen {
            actions.push(Action::Thaw);
        }
        let arrives = |datagram: &&Datagram| match datagram.to {
            A => !state.frozen,
            _ => state.left.deliveries > 0,
        };
        actions.extend(state.network.iter().filter(arrives).cloned().map(Action::Deliver));
        self.of_nodes(state, &mut actions);
        self.of_a(state, &mut actions);
        self.of_log(state, &mut actions);
        actions
    }

    fn of_nodes(&self, state: &State, actions: &mut Vec<Action>) {
        for (id, node) in &state.nodes {
            match &node.guard {
                Some(_) => {
                    actions.extend(node.storing.iter().map(|promise| Action::Stored(*id, *promise)));
                    if node.applied < state.log.len() && !(*id == A && state.frozen) {
                        actions.push(Action::Apply(*id));
                    }
                    if *id != A && state.left.crashes > 0 {
                        actions.push(Action::Crash(*id));
                    }
                }
                None if *id != A => actions.push(Action::Restart(*id)),
                None => {}
            }
        }
        if state.left.repeats > 0 {
            let withdrawn = &state.agreed().withdrawn;
            let repeated = withdrawn.iter().filter(|p| state.known_to(p.voter).withdrawn.contains(p));
            actions.extend(repeated.map(|promise| Action::RepeatWithdrawal(*promise)));
            let words = state.known_to(A).without_lease.iter();
            actions.extend(words.map(|incarnation| Action::RepeatHeldWithoutLease(*incarnation)));
        }
    }

    fn of_a(&self, state: &State, actions: &mut Vec<Action>) {
        let Some(guard) = state.guard(A).filter(|_| !state.frozen) else { return };
        if state.left.freezes > 0 {
            actions.push(Action::Freeze);
        }
        let known = state.known_to(A);
        if state.left.acquires > 0 {
            actions.extend((0..GROUPS).filter(|group| state.may_acquire(*group)).map(Action::Acquire));
        }
        if let Some(group) = state.acting {
            actions.push(Action::Acted(group, true));
            actions.push(Action::Acted(group, false));
            actions.push(Action::TooLate(group));
        }
        actions.extend(state.releasing.iter().cloned().map(Action::Release));
        if state.left.guard_deaths > 0 {
            actions.push(Action::GuardDies);
        }
        if state.reborn_due && self.world.reports_release {
            actions.push(Action::Reborn);
        }
        // What A's daemon proposes rests on what it knows, which may be old.
        let incarnation = guard.incarnation();
        if known.registered < incarnation && self.world.budget.guard_deaths > 0 {
            self.commit(state, Entry::Registered(incarnation), actions);
        }
        let older = (0..GROUPS).any(|g| known.owned_by(g).is_some_and(|owner| owner < incarnation));
        if older && known.registered == incarnation && state.confirmed.is_some() {
            self.commit(state, Entry::Adopted(incarnation), actions);
        }
        // Its guard knows of the adoption by then, and its lease is valid.
        if known.owns_any() && !older && guard.right() == Right::Valid {
            self.commit(state, Entry::Online(incarnation), actions);
        }
        if self.world.reports_release
            && let Some(over) = state.let_go
        {
            self.commit(state, Entry::Released(over), actions);
        }
        if state.left.forced > 0 && !guard.held().is_empty() {
            self.commit(state, Entry::HeldWithoutLease(incarnation), actions);
        }
    }

    fn of_log(&self, state: &State, actions: &mut Vec<Action>) {
        let agreed = state.agreed();
        for incarnation in self.provably_ended(state, agreed) {
            self.commit(state, Entry::LeaseEnded(incarnation), actions);
        }
        if state.left.withdrawals > 0 {
            for promise in state.alive.difference(&agreed.withdrawn) {
                if !agreed.dead.contains(&promise.about) {
                    self.commit(state, Entry::Withdrawn(*promise), actions);
                }
            }
        }
        let a_lives = !agreed.dead.iter().any(|dead| dead.incarnation >= agreed.registered);
        if state.left.assignments > 0 && a_lives {
            let vacant = (0..GROUPS).find(|group| agreed.owners[*group] == Owner::Nobody);
            let entry = vacant.map(|group| Entry::Assigned(group, agreed.registered));
            entry.into_iter().for_each(|entry| self.commit(state, entry, actions));
        }
        if let Some(voters) = self.next_voters(state, agreed) {
            self.commit(state, Entry::Voters(voters), actions);
        }
        if self.world.removes {
            self.commit(state, Entry::Removed, actions);
        }
        let leases = state.log.iter().filter(|entry| matches!(entry, Entry::Lease(_))).count();
        if let Some(lease) = self.world.leases.get(leases) {
            self.commit(state, Entry::Lease(*lease), actions);
        }
    }

    /// The incarnations of A whose end a majority of the voters has promised (rule 3, L5).
    fn provably_ended(&self, state: &State, agreed: &Agreed) -> Vec<Incarnation> {
        let citable = |promise: &&Promise| {
            agreed.voters.contains(&promise.voter)
                && (!agreed.withdrawn.contains(promise) || self.mutants.off(Condition::L5CitedWithdrawn))
        };
        let lives = 1..=agreed.registered.0;
        lives
            .map(Incarnation)
            .filter(|incarnation| {
                let about = state.matured.iter().filter(citable);
                let about = about.filter(|promise| state.promise_about_a(promise, *incarnation));
                let voters: BTreeSet<NodeId> = about.map(|promise| promise.voter).collect();
                voters.len() > agreed.voters.len() / 2
            })
            .collect()
    }

    /// The next step of the voters (L8): not before every owner has confirmed its lease under the present ones.
    fn next_voters(&self, state: &State, agreed: &Agreed) -> Option<BTreeSet<NodeId>> {
        let at = self.world.voters.iter().position(|voters| *voters == agreed.voters)?;
        let next = if self.mutants.off(Condition::L8OneAtATime) { at + 2 } else { at + 1 };
        let confirmed = state.confirmed.is_some_and(|applied| applied >= agreed.voters_since);
        let may = !agreed.owns_any() || confirmed || self.mutants.off(Condition::L8Barrier);
        self.world.voters.get(next).filter(|_| may).cloned()
    }

    /// Adds the entry if it would change anything.
    fn commit(&self, state: &State, entry: Entry, actions: &mut Vec<Action>) {
        let mut after = state.agreed().clone();
        after.apply(state.log.len(), &entry, self.mutants);
        let said = matches!(entry, Entry::HeldWithoutLease(_));
        if (after != *state.agreed() || said) && !state.log.contains(&entry) {
            actions.push(Action::Commit(entry));
        }
    }

    pub(crate) fn take(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        match action {
            Action::Tick => next.advance(self.world),
            Action::Deliver(datagram) => {
                next.network.remove(datagram);
                let from = match datagram.frame {
                    regent_lease::Frame::Keepalive(keepalive) => {
                        next.left.deliveries -= 1;
                        keepalive.node
                    }
                    regent_lease::Frame::Ack(ack) => ack.voter,
                };
                next.step(self.world, datagram.to, Input::Frame { from, frame: datagram.frame });
            }
            Action::Stored(id, promise) => next.stored(self.world, *id, *promise),
            Action::Crash(id) => {
                next.left.crashes -= 1;
                next.change(*id, |node| node.guard = None);
            }
            Action::Restart(id) => next.start(self.world, self.mutants, *id, Incarnation(1), Vec::new()),
            Action::Apply(id) => next.apply_next(self.world, *id),
            Action::Commit(entry) => self.committed(&mut next, entry),
            Action::RepeatWithdrawal(promise) => {
                next.left.repeats -= 1;
                next.tell(self.world, promise.voter, FromDaemon::PromiseWithdrawn(*promise));
            }
            Action::RepeatHeldWithoutLease(incarnation) => {
                next.left.repeats -= 1;
                let incarnation = *incarnation;
                next.tell(self.world, A, FromDaemon::HeldWithoutLease { incarnation });
            }
            Action::Acquire(group) => {
                next.left.acquires -= 1;
                next.acquire(self.world, *group);
            }
            Action::Acted(group, done) => {
                next.acting = None;
                let result = if *done { Ok(()) } else { Err("it failed".into()) };
                let id = regent_lease::io::ActId(*group as u64);
                next.step(self.world, A, Input::Performed { id, result });
            }
            Action::TooLate(group) => {
                next.acting = None;
                let id = regent_lease::io::ActId(*group as u64);
                next.step(self.world, A, Input::NotBegun { id, act: act(*group) });
            }
            Action::Release(held) => next.release(self.world, held.clone()),
            Action::GuardDies => {
                next.left.guard_deaths -= 1;
                let Some(guard) = next.guard(A) else { return next };
                let (left, incarnation) = (guard.leaves(), guard.incarnation().next());
                next.releasing.clear();
                next.reborn_due = false;
                next.start(self.world, self.mutants, A, incarnation, left);
            }
            Action::Reborn => self.reborn(&mut next),
            Action::Freeze => {
                next.left.freezes -= 1;
                next.frozen = true;
            }
            Action::Thaw => {
                next.frozen = false;
                next.step(self.world, A, Input::Tick);
            }
        }
        next
    }

    fn committed(&self, next: &mut State, entry: &Entry) {
        match entry {
            Entry::Withdrawn(_) => next.left.withdrawals -= 1,
            Entry::HeldWithoutLease(_) => next.left.forced -= 1,
            Entry::Assigned(..) => next.left.assignments -= 1,
            _ => {}
        }
        next.commit(self.mutants, entry.clone());
        if self.world.applies_at_once {
            for id in self.world.nodes.iter().filter(|id| **id != A) {
                if next.guard(*id).is_some() {
                    next.apply_next(self.world, *id);
                }
            }
        }
    }

    fn reborn(&self, next: &mut State) {
        next.reborn_due = false;
        let now = next.now(self.world, A);
        // A mutant may have brought an incarnation back that was over.
        let over = |guard: &&mut Guard| guard.right() == Right::Over;
        let effects = next.change(A, |node| {
            let guard = node.guard.as_mut().filter(over);
            guard.map(|guard| guard.reborn(now, guard.incarnation().next()))
        });
        next.carry_out(self.world, A, effects.unwrap_or_default());
    }
}
