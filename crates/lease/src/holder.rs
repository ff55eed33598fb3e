//! One incarnation's right to act: a lease that a majority of voters renews (rule 2, L3, L4, L8, L11).
//!
//! A keepalive asks every voter for a lease that is counted *from the moment it was sent*. Each voter's best
//! acknowledged keepalive bounds the lease as that voter sees it; the bound that a majority grants is the
//! majority-th best of them. What happens to the right is one table, [`TRANSITIONS`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use regent_model::timers::Timers;
use regent_model::{Incarnation, Moment, NodeId};
use serde::{Deserialize, Serialize};

use crate::frame::{Ack, Keepalive};
use crate::mutants::{Condition, Mutants};

/// Until when a lease holds, on the holder's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bounds {
    /// When letting go begins.
    pub release_due: Moment,
    /// When everything must have been let go (L4).
    pub deadline: Moment,
}

impl Bounds {
    fn of(sent: Moment, timers: &Timers, mutants: Mutants) -> Self {
        let late =
            if mutants.off(Condition::L4FinishInTime) { timers.release_budget() } else { Duration::ZERO };
        Self { release_due: sent + timers.release_begins + late, deadline: sent + timers.lease + late }
    }

    fn later(self, other: Self) -> Self {
        Self {
            release_due: self.release_due.max(other.release_due),
            deadline: self.deadline.max(other.deadline),
        }
    }

    /// The earlier of two limits.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        Self {
            release_due: self.release_due.min(other.release_due),
            deadline: self.deadline.min(other.deadline),
        }
    }
}

/// What an incarnation may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Its lease was never valid yet: it asks for one. There is nothing to lapse.
    Seeking,
    /// It may act.
    Valid,
    /// It lets go of what it holds, and renews no more.
    LettingGo,
    /// It holds nothing and never will again (L11).
    Over,
}

/// What happens to a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Occasion {
    /// A majority of the current voters has acknowledged keepalives that are young enough.
    Acknowledged,
    /// The majority's acknowledgements are too old: letting go must begin, to be finished in time.
    ReleaseDue,
    /// There is another reason to let go: no daemon, or the log has ended the incarnation.
    ToldToLetGo,
    /// Everything is shown to be released.
    AllReleased,
}

/// What becomes of a right; whatever is not listed changes nothing.
pub const TRANSITIONS: [(Right, Occasion, Right); 5] = [
    (Right::Seeking, Occasion::Acknowledged, Right::Valid),
    (Right::Seeking, Occasion::ToldToLetGo, Right::LettingGo),
    (Right::Valid, Occasion::ReleaseDue, Right::LettingGo),
    (Right::Valid, Occasion::ToldToLetGo, Right::LettingGo),
    (Right::LettingGo, Occasion::AllReleased, Right::Over),
];

impl Right {
    /// What becomes of this right.
    #[must_use]
    pub fn after(self, occasion: Occasion) -> Self {
        let listed = TRANSITIONS.iter().find(|(from, why, _)| *from == self && *why == occasion);
        listed.map_or(self, |(_, _, to)| *to)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Seeking => "seeking",
            Self::Valid => "valid",
            Self::LettingGo => "letting go",
            Self::Over => "over",
        })
    }
}

/// One incarnation's lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    me: NodeId,
    incarnation: Incarnation,
    right: Right,
    /// The voters of the last view.
    voters: BTreeSet<NodeId>,
    /// The voters under which the lease was last valid. The log changes voters once, and then waits until this
    /// set has followed (L8), so the two always share a voter in any majority.
    judges: BTreeSet<NodeId>,
    last_number: u64,
    /// The keepalives that can still renew the lease.
    sent: BTreeMap<u64, Bounds>,
    /// The best that each peer has acknowledged, whether it votes or not: a learner may become a voter.
    granted: BTreeMap<NodeId, Bounds>,
    mutants: Mutants,
}

impl Holder {
    /// An incarnation that nobody has acknowledged yet.
    #[must_use]
    pub fn new(me: NodeId, incarnation: Incarnation, mutants: Mutants) -> Self {
        Self {
            me,
            incarnation,
            right: Right::Seeking,
            voters: BTreeSet::new(),
            judges: BTreeSet::new(),
            last_number: 0,
            sent: BTreeMap::new(),
            granted: BTreeMap::new(),
            mutants,
        }
    }

    /// Which incarnation this is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// What it may do, as of the last call of [`Holder::look`].
    #[must_use]
    pub fn right(&self) -> Right {
        self.right
    }

    /// Looks at the clock: a lease whose release is due lapses now. Everything that is done at `now` begins with
    /// this, so that a process that was paused finds out before it acts.
    pub fn look(&mut self, now: Moment) -> Right {
        if self.right == Right::Valid && self.ends().is_none_or(|ends| ends.release_due <= now) {
            self.right = self.right.after(Occasion::ReleaseDue);
        }
        self.right
    }

    /// Makes the next keepalive. If it renews, the node's own vote acknowledges it in this moment (L7).
    pub fn keepalive(&mut self, now: Moment, timers: &Timers, renews: bool) -> Keepalive {
        self.look(now);
        self.last_number += 1;
        let number = self.last_number;
        if renews {
            self.sent.retain(|_, bounds| bounds.deadline > now);
            self.sent.insert(number, Bounds::of(now, timers, self.mutants));
            self.grant(now, self.me, number);
        }
        Keepalive { node: self.me, incarnation: self.incarnation, number, lease: timers.lease, renews }
    }

    /// A peer has acknowledged a keepalive. Another incarnation's, or one older than its lease, counts nothing.
    pub fn acknowledged(&mut self, now: Moment, ack: Ack) {
        self.look(now);
        if (ack.node, ack.incarnation) == (self.me, self.incarnation) {
            self.grant(now, ack.voter, ack.number);
        }
    }

    fn grant(&mut self, now: Moment, voter: NodeId, number: u64) {
        let Some(bounds) = self.sent.get(&number).copied().filter(|bounds| bounds.deadline > now) else {
            return;
        };
        let best = self.granted.entry(voter).or_insert(bounds);
        *best = best.later(bounds);
        self.settle(now);
    }

    /// The log has other voters. What they acknowledged before counts.
    pub fn set_voters(&mut self, now: Moment, voters: &BTreeSet<NodeId>) {
        self.look(now);
        self.voters.clone_from(voters);
        self.settle(now);
    }

    fn settle(&mut self, now: Moment) {
        if !self.valid_under_current_set(now) {
            return;
        }
        let revived = self.mutants.off(Condition::L11LapseIsFinal);
        self.right = if revived { Right::Valid } else { self.right.after(Occasion::Acknowledged) };
        if self.right == Right::Valid {
            self.judges.clone_from(&self.voters);
        }
    }

    /// Letting go begins, for a reason of the guard's.
    pub fn let_go(&mut self) {
        self.right = self.right.after(Occasion::ToldToLetGo);
    }

    /// Letting go is finished.
    pub fn all_released(&mut self) {
        self.right = self.right.after(Occasion::AllReleased);
    }

    /// When the lease ends, if it ever was valid.
    #[must_use]
    pub fn ends(&self) -> Option<Bounds> {
        self.bounds_under(&self.judges)
    }

    /// Whether a majority of the *current* voters grants the lease at `now` with enough time left to let go (L8).
    #[must_use]
    pub fn valid_under_current_set(&self, now: Moment) -> bool {
        self.bounds_under(&self.voters).is_some_and(|bounds| now < bounds.release_due)
    }

    /// The majority-th best of what these voters have granted.
    fn bounds_under(&self, voters: &BTreeSet<NodeId>) -> Option<Bounds> {
        let granted = || voters.iter().filter_map(|voter| self.granted.get(voter));
        let majority = voters.len() / 2 + 1;
        let release_due = nth_best(granted().map(|b| b.release_due), majority)?;
        let deadline = nth_best(granted().map(|b| b.deadline), majority)?;
        Some(Bounds { release_due, deadline })
    }
}

/// The most voters of which a majority is found without taking memory: a guard looks at every datagram.
const VOTERS_QUICK: usize = 15;

/// The `n`-th largest, counted from 1.
fn nth_best(moments: impl Iterator<Item = Moment>, n: usize) -> Option<Moment> {
    if n > VOTERS_QUICK / 2 + 1 {
        let mut moments: Vec<Moment> = moments.collect();
        moments.sort_unstable_by(|a, b| b.cmp(a));
        return moments.get(n - 1).copied();
    }
    let mut best = [Moment(0); VOTERS_QUICK / 2 + 1];
    let best = &mut best[..n];
    let mut count = 0;
    for moment in moments {
        count += 1;
        // The smallest of the best makes room.
        if let Some(at) = best.iter().position(|known| *known < moment) {
            best[at..].rotate_right(1);
            best[at] = moment;
        }
    }
    (count >= n).then(|| best[n - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_th_best_is_found_among_any_moments() {
        let mut seed = 7_u64;
        for round in 0..2_000 {
            let mut moments: Vec<Moment> = (0..round % 23)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    Moment(seed >> 60)
                })
                .collect();
            for n in 1..=moments.len() + 2 {
                let found = nth_best(moments.iter().copied(), n);
                moments.sort_unstable_by(|a, b| b.cmp(a));
                assert_eq!(found, moments.get(n - 1).copied(), "{n} of {moments:?}");
            }
        }
    }
}
