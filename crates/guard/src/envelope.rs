//! What daemon and guard say to each other, over the framing of [`regent_wire::ipc`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use regent_lease::{FromDaemon, ToDaemon};
use regent_model::NodeId;
use regent_wire::KeyRing;
use regent_wire::datagram::Counts;
use serde::{Deserialize, Serialize};

/// The daemon's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGuard {
    /// Of the lease.
    Lease(FromDaemon),
    /// Where everybody is. The guard exchanges datagrams with exactly these peers.
    Addresses {
        /// This node's own addresses, one per network.
        own: Vec<IpAddr>,
        /// Every peer's addresses, in the same order of networks.
        peers: BTreeMap<NodeId, Vec<IpAddr>>,
    },
    /// The cluster's keys from now on, after they were made durable: the guard says under the one that the ring uses, and hears
    /// all of them and no others. Answered with [`FromGuard::Keyed`].
    Keys {
        /// Names the question until it is answered.
        id: u64,
        /// The keys.
        ring: KeyRing,
    },
    /// The node leaves: the guard ends as soon as it holds nothing.
    Bye {
        /// What is held without lease stays up, and the guard ends at once.
        leave_running: bool,
    },
}

/// The guard's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromGuard {
    /// Of the lease.
    Lease(ToDaemon),
    /// On which networks each peer was heard lately; told whenever it changes, and to every new daemon.
    Networks(BTreeMap<NodeId, Vec<bool>>),
    /// The guard has taken the keys.
    Keyed {
        /// To which question.
        id: u64,
    },
    /// How the guard itself is; told every few seconds when something changed.
    Health(Health),
}

/// How a guard is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Datagrams accepted and refused.
    pub datagrams: Counts,
    /// Datagrams that the kernel did not take.
    pub unsent: u64,
    /// Which of the own addresses have a socket.
    pub bound: Vec<bool>,
    /// How often the guard woke later than half a heartbeat.
    pub late: u64,
    /// The worst lateness so far.
    pub worst_lateness: Duration,
    /// Whether the kernel granted real-time scheduling.
    pub realtime: bool,
    /// Whether the kernel granted locked memory.
    pub locked: bool,
    /// Who ends the leases of service addresses.
    pub addresses: AddressLeases,
    /// What became of the watchdog device.
    pub watchdog: WatchdogState,
}

/// How it stands with the machine's watchdog device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum WatchdogState {
    /// None is configured.
    #[default]
    None,
    /// It is fed; its timeout.
    Fed(Duration),
    /// One is configured, and nobody feeds it; why.
    Unfed(String),
}

/// Who ends the lease of a service address in time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AddressLeases {
    /// The guard; should it not run, the kernel itself.
    #[default]
    Kernel,
    /// The guard alone, because the kernel cannot; why.
    GuardAlone(String),
}
