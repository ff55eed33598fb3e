//! What a node holds for a group, as the guard sees it: the things to let go of, and the acts that only the
//! guard performs (L12).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, GroupName};

/// One thing on the guard's release list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Holding {
    /// A service address on an interface.
    Address {
        /// The interface that carries it.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        prefix: u8,
    },
    /// The control group with every process of an application or of a resource's commands.
    Cgroup {
        /// Its folder in the cgroup v2 hierarchy.
        path: PathBuf,
        /// How long its processes may react to `SIGTERM` before they are killed, at the end of a lease.
        grace: Duration,
    },
    /// A mounted file system.
    Mount {
        /// The block device.
        device: PathBuf,
        /// Where it is mounted.
        mount: PathBuf,
    },
}

impl Holding {
    /// The order in which holdings are let go: addresses (nobody asks any more), processes, mounts.
    #[must_use]
    pub fn release_rank(&self) -> u8 {
        match self {
            Self::Address { .. } => 0,
            Self::Cgroup { .. } => 1,
            Self::Mount { .. } => 2,
        }
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { interface, address, prefix } => {
                write!(f, "address {address}/{prefix} on {interface}")
            }
            Self::Cgroup { path, .. } => write!(f, "processes in {}", path.display()),
            Self::Mount { device, mount } => {
                write!(f, "{} mounted at {}", device.display(), mount.display())
            }
        }
    }
}

/// A holding together with the ownership under which it is held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The group it belongs to.
    pub group: GroupName,
    /// The ownership.
    pub epoch: Epoch,
    /// The thing.
    pub holding: Holding,
}

/// A system call that makes a node act for a group. The guard performs it, after it has put the holding on its
/// list and found the lease valid, so that a daemon that was paused cannot act late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Add a service address.
    AddAddress {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        prefix: u8,
        /// The label (IPv4 only), at most 15 bytes.
        label: Option<String>,
    },
    /// Mount a file system.
    Mount {
        /// The block device.
        device: PathBuf,
        /// Where.
        mount: PathBuf,
        /// The type, as `mount -t` takes it.
        fstype: String,
        /// Options, comma-separated, as `mount -o` takes them.
        options: String,
    },
}

impl Act {
    /// The holding that this act creates.
    #[must_use]
    pub fn holding(&self) -> Holding {
        match self {
            Self::AddAddress { interface, address, prefix, .. } => {
                Holding::Address { interface: interface.clone(), address: *address, prefix: *prefix }
            }
            Self::Mount { device, mount, .. } => {
                Holding::Mount { device: device.clone(), mount: mount.clone() }
            }
        }
    }
}
