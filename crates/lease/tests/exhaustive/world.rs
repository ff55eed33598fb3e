//! A world: which nodes there are, which timers hold, and how much of what may happen in it. The search visits
//! every order of it all.

use std::collections::BTreeSet;
use std::time::Duration;

use regent_model::timers::Timers;
use regent_model::{Incarnation, NodeId};

use crate::log::{A, Agreed, B, GROUPS, Owner, TICK, W};

/// How often something may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// A keepalive of A arrives.
    pub(crate) deliveries: u8,
    /// A voter loses what its guard and daemon had in memory.
    pub(crate) crashes: u8,
    /// A's guard process dies and the next one starts, in the same boot.
    pub(crate) guard_deaths: u8,
    /// The log withdraws a promise.
    pub(crate) withdrawals: u8,
    /// A daemon that restarted repeats what it told its guard before, of a withdrawal or of holding without lease.
    pub(crate) repeats: u8,
    /// A's groups are held without lease.
    pub(crate) forced: u8,
    /// The second group is given to A.
    pub(crate) assignments: u8,
    /// A's daemon asks its guard to acquire.
    pub(crate) acquires: u8,
    /// Everything on A stands still for a while, but for its kernel.
    pub(crate) freezes: u8,
}

/// What happens in a world, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) nodes: BTreeSet<NodeId>,
    pub(crate) ticks: u64,
    /// In ticks.
    pub(crate) heartbeat: u64,
    /// In ticks.
    pub(crate) release_begins: u64,
    /// In ticks.
    pub(crate) lease: u64,
    /// The longest that a keepalive travels, in ticks. A longer one would bring nothing that still counts.
    pub(crate) delay: u64,
    /// The longest that an acknowledgement travels; nothing if it arrives at once.
    pub(crate) ack_delay: Option<u64>,
    /// Whether a store takes no time.
    pub(crate) stores_at_once: bool,
    /// Whether every daemon but A's applies what is committed at once.
    pub(crate) applies_at_once: bool,
    /// Whether A acquires the first group as soon as its lease is valid; if not, at any time or never.
    pub(crate) acquires_at_once: bool,
    /// Per run, how many millionths each node's clock gains, in the order of `nodes`.
    pub(crate) rates: Vec<Vec<i64>>,
    /// The voters that the log goes through.
    pub(crate) voters: Vec<BTreeSet<NodeId>>,
    /// Whether A is removed for good when it votes no more.
    pub(crate) removes: bool,
    /// The leases that the log goes through, in ticks, after the first.
    pub(crate) leases: Vec<u64>,
    /// Who owns the first group at the beginning.
    pub(crate) owner: Owner,
    /// The incarnation that A begins with. A later one than the first has found the group of the first, held
    /// without lease.
    pub(crate) life: Incarnation,
    /// Whether A's acquisitions are acts that take time.
    pub(crate) acts: bool,
    /// Whether A's daemon tells the log that everything was let go.
    pub(crate) reports_release: bool,
    /// Whether what is held are addresses, which A's kernel answers for no longer than their leases last.
    pub(crate) addresses: bool,
    pub(crate) budget: Budget,
}

impl World {
    /// Three voters, A owns the group, A's clock is the slowest and the others' the fastest allowed.
    pub(crate) fn plain(name: &'static str) -> Self {
        Self {
            name,
            nodes: BTreeSet::from([A, B, W]),
            ticks: 7,
            heartbeat: 2,
            release_begins: 3,
            lease: 4,
            delay: 2,
            ack_delay: None,
            stores_at_once: true,
            applies_at_once: false,
            acquires_at_once: true,
            rates: vec![vec![-1000, 1000, 1000, 1000]],
            voters: vec![BTreeSet::from([A, B, W])],
            removes: false,
            leases: Vec::new(),
            owner: Owner::A { incarnation: Incarnation(1), without_lease: false },
            life: Incarnation(1),
            acts: false,
            reports_release: false,
            addresses: false,
            budget: Budget { deliveries: 3, ..Budget::default() },
        }
    }

    pub(crate) fn timers(&self) -> Timers {
        // A little less than whole ticks, so that the fastest and the slowest clock reach them in the same tick.
        let ticks = |n: u64| Duration::from_nanos(n * TICK - TICK / 10);
        Timers {
            heartbeat: ticks(self.heartbeat),
            lease: Duration::from_nanos(self.lease * TICK),
            release_begins: ticks(self.release_begins),
            election_standby: ticks(self.release_begins),
            election_witness: ticks(self.release_begins),
        }
    }

    pub(crate) fn founded(&self) -> Agreed {
        let mut owners = [Owner::Nobody; GROUPS];
        owners[0] = self.owner;
        Agreed {
            owners,
            voters: self.voters[0].clone(),
            voters_since: 0,
            lease: self.lease,
            largest_lease: self.lease,
            registered: self.life,
            dead: BTreeSet::new(),
            without_lease: (1..self.life.0).map(Incarnation).collect(),
            withdrawn: BTreeSet::new(),
            removed: false,
        }
    }
}
