//! The replicated log as the model sees it: a list that everyone agrees on. Consensus itself is assumed.

use std::collections::BTreeSet;
use std::time::Duration;

use regent_lease::io::ClusterView;
use regent_lease::mutants::{Condition, Mutants};
use regent_model::ids::IncarnationOf;
use regent_model::proof::Promise;
use regent_model::timers::Timers;
use regent_model::{Incarnation, NodeId};

/// Node A, whose ownership the model watches. B takes over; W and X only vote.
pub(crate) const A: NodeId = NodeId(1);
pub(crate) const B: NodeId = NodeId(2);
pub(crate) const W: NodeId = NodeId(3);
pub(crate) const X: NodeId = NodeId(4);

/// One tick of the model's true time, in nanoseconds of an exact clock.
pub(crate) const TICK: u64 = 1_000_000;

pub(crate) const GROUPS: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// A majority promised: what this incarnation of A owned is B's.
    LeaseEnded(Incarnation),
    /// A said so: what this incarnation of A owned is B's.
    Released(Incarnation),
    Withdrawn(Promise),
    Registered(Incarnation),
    Adopted(Incarnation),
    /// What this incarnation of A has is up under its lease.
    Online(Incarnation),
    HeldWithoutLease(Incarnation),
    /// A group that nobody owns is given to A.
    Assigned(usize, Incarnation),
    Voters(BTreeSet<NodeId>),
    /// A is no member any more, for good.
    Removed,
    /// The lease is this many ticks from now on.
    Lease(u64),
}

/// Who owns a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Nobody,
    A { incarnation: Incarnation, without_lease: bool },
    B,
}

/// What the log says up to some entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Agreed {
    pub(crate) owners: [Owner; GROUPS],
    pub(crate) voters: BTreeSet<NodeId>,
    /// The number of entries up to the last change of the voters.
    pub(crate) voters_since: usize,
    pub(crate) lease: u64,
    pub(crate) largest_lease: u64,
    pub(crate) registered: Incarnation,
    pub(crate) dead: BTreeSet<IncarnationOf>,
    /// The incarnations of A that hold without lease.
    pub(crate) without_lease: BTreeSet<Incarnation>,
    pub(crate) withdrawn: BTreeSet<Promise>,
    /// A is no member any more.
    pub(crate) removed: bool,
}

pub(crate) fn about_a(incarnation: Incarnation) -> IncarnationOf {
    IncarnationOf { node: A, incarnation }
}

impl Agreed {
    pub(crate) fn owned_by(&self, group: usize) -> Option<Incarnation> {
        match self.owners[group] {
            Owner::A { incarnation, .. } => Some(incarnation),
            Owner::Nobody | Owner::B => None,
        }
    }

    pub(crate) fn owns_any(&self) -> bool {
        (0..GROUPS).any(|group| self.owned_by(group).is_some())
    }

    /// Applies one more entry; one whose condition does not hold does nothing.
    pub(crate) fn apply(&mut self, index: usize, entry: &Entry, mutants: Mutants) {
        match entry {
            Entry::LeaseEnded(last) => self.end(*last, mutants.off(Condition::L10NoLeaseProof)),
            Entry::Released(last) => self.end(*last, true),
            Entry::Withdrawn(promise) => drop(self.withdrawn.insert(*promise)),
            Entry::Registered(_) if self.removed => {}
            Entry::Registered(incarnation) => self.registered = *incarnation,
            Entry::Removed if self.may_be_removed(mutants) => self.remove(),
            Entry::Adopted(to) if self.may_get_more(*to, mutants) => self.adopt(*to, mutants),
            Entry::Assigned(group, to) if self.may_get_more(*to, mutants) => {
                self.owners[*group] = Owner::A { incarnation: *to, without_lease: false };
            }
            Entry::Online(of) if self.may_get_more(*of, mutants) => {
                for owner in &mut self.owners {
                    if let Owner::A { incarnation, without_lease } = owner {
                        *without_lease &= incarnation != of;
                    }
                }
            }
            Entry::Adopted(_) | Entry::Assigned(..) | Entry::Online(_) | Entry::Removed => {}
            Entry::HeldWithoutLease(of) => {
                self.without_lease.insert(*of);
                for owner in &mut self.owners {
                    if let Owner::A { incarnation, without_lease } = owner {
                        *without_lease |= *incarnation <= *of;
                    }
                }
            }
            Entry::Voters(voters) => {
                self.voters.clone_from(voters);
                self.voters_since = index + 1;
            }
            Entry::Lease(ticks) => {
                self.lease = *ticks;
                self.largest_lease = self.largest_lease.max(*ticks);
            }
        }
    }

    fn may_get_more(&self, incarnation: Incarnation, mutants: Mutants) -> bool {
        let may = !self.without_lease.contains(&incarnation) || mutants.off(Condition::L10NothingMoreGiven);
        may && !self.removed
    }

    /// It votes no more, its last life is over, and it owns nothing.
    fn may_be_removed(&self, mutants: Mutants) -> bool {
        let over = self.dead.iter().any(|dead| dead.incarnation >= self.registered) && !self.owns_any();
        !self.voters.contains(&A) && (over || mutants.off(Condition::RemovedWhenOver))
    }

    /// What a number that is nobody's any more had is free. What is known of its end stays (L9).
    fn remove(&mut self) {
        self.removed = true;
        for owner in &mut self.owners {
            if matches!(owner, Owner::A { .. }) {
                *owner = Owner::B;
            }
        }
    }

    fn adopt(&mut self, to: Incarnation, mutants: Mutants) {
        for owner in &mut self.owners {
            let before = match *owner {
                Owner::A { without_lease, .. } => Some(without_lease),
                Owner::B => mutants.off(Condition::L6StillCurrent).then_some(false),
                Owner::Nobody => None,
            };
            if let Some(before) = before {
                let without_lease = before && !mutants.off(Condition::L10AdoptedStaysSo);
                *owner = Owner::A { incarnation: to, without_lease };
            }
        }
    }

    fn end(&mut self, last: Incarnation, even_without_lease: bool) {
        self.dead.insert(about_a(last));
        for owner in &mut self.owners {
            if let Owner::A { incarnation, without_lease } = *owner
                && incarnation <= last
                && (even_without_lease || !without_lease)
            {
                *owner = Owner::B;
            }
        }
    }

    pub(crate) fn view(
        &self,
        me: NodeId,
        applied: usize,
        everyone: &BTreeSet<NodeId>,
        timers: Timers,
    ) -> ClusterView {
        let scale = |ticks: u64| Duration::from_nanos(ticks * TICK);
        let living = about_a(self.registered);
        let view = ClusterView {
            applied: applied as u64,
            voters: self.voters.clone(),
            peers: everyone
                .iter()
                .copied()
                .filter(|node| *node != me && !(self.removed && *node == A))
                .collect(),
            timers: Timers {
                lease: scale(self.lease),
                release_begins: timers.release_begins.min(scale(self.lease - 1)),
                ..timers
            },
            largest_lease: scale(self.largest_lease),
            registered: BTreeSet::from([living]),
            dead: self.dead.clone(),
        };
        let registered =
            if self.removed || view.has_ended(living) { BTreeSet::new() } else { view.registered.clone() };
        ClusterView { registered, ..view }
    }
}
