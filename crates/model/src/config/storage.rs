//! What a group stores on: file systems on shared disks, on a disk of each node, and folders put elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MonitorTimes, RestartLimits};
use crate::ids::{NodeName, ResourceName};

/// When a file system is checked before it is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Never; journal replay is mount's job.
    Never,
    /// When its superblock says that errors were found.
    Auto,
    /// Before every mount.
    Always,
}

/// What a file system lives on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backing {
    /// One block device that every node of the group reaches.
    #[default]
    Shared,
    /// A block device of each node's own: what is on it is another thing on every node.
    Local(BTreeMap<NodeName, PathBuf>),
    /// A folder of another file system of the group, which is put elsewhere too.
    Bind,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesystemConfig {
    /// The resource's name; by default made of the mount point.
    pub name: ResourceName,
    /// The block device; for [`Backing::Bind`] the folder. For [`Backing::Local`] the first node's, until
    /// [`FilesystemConfig::on`] puts in a node's own.
    pub device: PathBuf,
    /// What it lives on.
    pub backing: Backing,
    /// Where to mount it.
    pub mount: PathBuf,
    /// Its type, as `mount -t` takes it.
    pub fstype: String,
    /// Mount options, comma-separated.
    pub options: String,
    /// When to check it.
    pub check: Check,
    /// Whether processes that keep it busy are killed at release (they are named in the journal either way).
    pub force_unmount: bool,
    /// How it is monitored: bounded read, durable write, mount and device still there.
    pub monitor: MonitorTimes,
    /// How long acquiring may take.
    pub acquire_timeout: Duration,
    /// How long releasing may take.
    pub release_timeout: Duration,
    /// Retries and restarts.
    pub limits: RestartLimits,
}

impl FilesystemConfig {
    /// The device of every node.
    pub fn devices(&self) -> impl Iterator<Item = &PathBuf> {
        let own = match &self.backing {
            Backing::Local(devices) => Some(devices.values()),
            Backing::Shared | Backing::Bind => None,
        };
        std::iter::once(&self.device).chain(own.into_iter().flatten())
    }

    /// Whether two nodes could write it at once.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.backing == Backing::Shared
    }

    /// Whether it is a folder that is put elsewhere.
    #[must_use]
    pub fn is_bind(&self) -> bool {
        self.backing == Backing::Bind
    }

    /// It as `node` mounts it: with that node's own device, where each has one.
    #[must_use]
    pub fn on(&self, node: &NodeName) -> Self {
        let mut own = self.clone();
        if let Backing::Local(devices) = &self.backing
            && let Some(device) = devices.get(node)
        {
            own.device.clone_from(device);
        }
        own
    }

    /// The kind in a few words, where it is not the usual one.
    #[must_use]
    pub fn remark(&self) -> &'static str {
        match self.backing {
            Backing::Shared => "",
            Backing::Local(_) => "node-local",
            Backing::Bind => "bind",
        }
    }

    /// Whether this can be mounted only after `other`: its mount point lies inside the other's, or the folder
    /// that it shows does.
    #[must_use]
    pub fn needs(&self, other: &Self) -> bool {
        stands_on(&self.mount, self.is_bind().then_some(&*self.device), &other.mount)
    }
}

/// Whether something mounted at `mount`, showing the folder `shows`, comes after what is mounted at `outer`.
#[must_use]
pub(crate) fn stands_on(mount: &Path, shows: Option<&Path>, outer: &Path) -> bool {
    mount != outer && (mount.starts_with(outer) || shows.is_some_and(|folder| folder.starts_with(outer)))
}

/// The order in which to mount: what others stand on comes first, otherwise the order given. What stands in a
/// circle, which is refused elsewhere, keeps its place at the end.
pub(super) fn order<T>(items: &[T], needs: impl Fn(&T, &T) -> bool) -> Vec<usize> {
    let mut left: Vec<usize> = (0..items.len()).collect();
    let mut order = Vec::with_capacity(items.len());
    while !left.is_empty() {
        let free = left.iter().position(|at| !left.iter().any(|o| o != at && needs(&items[*at], &items[*o])));
        let Some(free) = free else { break };
        order.push(left.remove(free));
    }
    order.extend(left);
    order
}
