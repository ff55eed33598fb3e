//! What a node holds for a group, as the guard sees it: the things to let go of, and the acts that only the
//! guard performs (L12).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Prefixed;
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
        /// The boot address of the interface, whose place it has taken: it comes back when this is let go.
        #[serde(default)]
        replaces: Option<Prefixed>,
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
    /// A folder of a mounted file system, put elsewhere too.
    Bind {
        /// The folder.
        folder: PathBuf,
        /// Where it is put.
        mount: PathBuf,
    },
}

impl Holding {
    /// A service address beside what the interface has.
    #[must_use]
    pub fn address(interface: impl Into<String>, address: IpAddr, prefix: u8) -> Self {
        Self::Address { interface: interface.into(), address, prefix, replaces: None }
    }

    /// Its place among the kinds of holdings when they are let go.
    fn release_rank(&self) -> u8 {
        match self {
            Self::Address { .. } => 0,
            Self::Cgroup { .. } => 1,
            Self::Mount { .. } | Self::Bind { .. } => 2,
        }
    }

    /// Where it is mounted, if it is a mount.
    fn mount(&self) -> Option<&Path> {
        match self {
            Self::Mount { mount, .. } | Self::Bind { mount, .. } => Some(mount),
            Self::Address { .. } | Self::Cgroup { .. } => None,
        }
    }

    /// Whether this must be let go before `other` can be.
    fn stands_on(&self, other: &Self) -> bool {
        let (Some(mount), Some(outer)) = (self.mount(), other.mount()) else { return false };
        let shows = match self {
            Self::Bind { folder, .. } => Some(folder.as_path()),
            _ => None,
        };
        crate::config::stands_on(mount, shows, outer)
    }

    /// How high each of `all` stands: what stands on nothing at 0, and everything else higher than what it stands
    /// on. Letting go begins at the top.
    fn heights(all: &[&Self]) -> Vec<usize> {
        let mut heights = vec![0; all.len()];
        // A circle cannot be configured; were there one, this would still end.
        for _ in 0..all.len() {
            let before = heights.clone();
            for (at, one) in all.iter().enumerate() {
                let under = all.iter().zip(&before).filter(|(other, _)| one.stands_on(other));
                heights[at] = under.map(|(_, height)| height + 1).max().unwrap_or(0);
            }
            if heights == before {
                break;
            }
        }
        heights
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { interface, address, prefix, .. } => {
                write!(f, "address {address}/{prefix} on {interface}")
            }
            Self::Cgroup { path, .. } => write!(f, "processes in {}", path.display()),
            Self::Mount { device, mount } => {
                write!(f, "{} mounted at {}", device.display(), mount.display())
            }
            Self::Bind { folder, mount } => {
                write!(f, "folder {} put at {}", folder.display(), mount.display())
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

impl Held {
    /// What may be let go at the same time, in the order in which it must be: addresses (nobody asks any more),
    /// processes, mounts; of mounts those first that stand on others.
    #[must_use]
    pub fn rungs(held: Vec<Self>) -> Vec<Vec<Self>> {
        let mut rungs: BTreeMap<_, Vec<Self>> = BTreeMap::new();
        let heights = Holding::heights(&held.iter().map(|h| &h.holding).collect::<Vec<_>>());
        for (height, held) in heights.into_iter().zip(held) {
            rungs.entry((held.holding.release_rank(), Reverse(height))).or_default().push(held);
        }
        rungs.into_values().collect()
    }
}

/// Where a service address is that moves to another interface of its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The interface.
    pub interface: String,
    /// The boot address that comes back there.
    pub replaces: Option<Prefixed>,
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
        /// The broadcast address (IPv4 only), where one is configured.
        #[serde(default)]
        broadcast: Option<Ipv4Addr>,
        /// The label (IPv4 only), at most 15 bytes.
        label: Option<String>,
        /// The boot address of the interface, whose place it takes.
        replaces: Option<Prefixed>,
        /// Where it is now, on this node: it is taken away there once it is here.
        from: Option<Origin>,
        /// Whether the way to its subnet is to lead over this interface, also where another one has an address in it.
        leads: bool,
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
    /// Put a folder of a mounted file system elsewhere too.
    Bind {
        /// The folder.
        folder: PathBuf,
        /// Where.
        mount: PathBuf,
        /// Options of the new mount, comma-separated; those of the file system stay what they are.
        options: String,
    },
}

impl Act {
    /// Adds a service address beside what the interface has.
    #[must_use]
    pub fn add_address(interface: impl Into<String>, address: IpAddr, prefix: u8) -> Self {
        Self::AddAddress {
            interface: interface.into(),
            address,
            prefix,
            broadcast: None,
            label: None,
            replaces: None,
            from: None,
            leads: false,
        }
    }

    /// The holding that this act creates.
    #[must_use]
    pub fn holding(&self) -> Holding {
        match self {
            Self::AddAddress { interface, address, prefix, replaces, .. } => Holding::Address {
                interface: interface.clone(),
                address: *address,
                prefix: *prefix,
                replaces: *replaces,
            },
            Self::Mount { device, mount, .. } => {
                Holding::Mount { device: device.clone(), mount: mount.clone() }
            }
            Self::Bind { folder, mount, .. } => {
                Holding::Bind { folder: folder.clone(), mount: mount.clone() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_on_something_is_higher_however_deep_its_mount_point_is() {
        let mount = |device: &str, mount: &str| Holding::Mount { device: device.into(), mount: mount.into() };
        let bind = |folder: &str, mount: &str| Holding::Bind { folder: folder.into(), mount: mount.into() };
        let all = [
            mount("/dev/a", "/a/very/deep/place"),
            bind("/a/very/deep/place/krb5", "/krb5"),
            mount("/dev/b", "/krb5/cache"),
            mount("/dev/c", "/z"),
        ];
        assert_eq!(Holding::heights(&all.iter().collect::<Vec<_>>()), [0, 1, 2, 0]);
    }
}
