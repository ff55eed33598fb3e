//! The part of a group's description that an owner acquires and keeps until its ownership ends, apart from what says
//! where the group belongs; how two of them differ, and what of them only one group can have.

use std::net::IpAddr;
use std::path::Path;

use super::volume::volume_of;
use super::{Backing, Config, FilesystemConfig, GroupConfig, NodeConfig, ReleaseEnd};
use crate::action::Resource;
use crate::ids::NodeName;
use crate::proof::Need;

impl GroupConfig {
    /// The resources as they look from `node` alone: of devices of each node's own, only that node's is known.
    fn seen_from(&self, node: &NodeName) -> Vec<Resource> {
        let own = |resource| match resource {
            Resource::Filesystem(f) => Resource::Filesystem(alone(&f, node).into()),
            other => other,
        };
        self.resources_on(node).into_iter().map(own).collect()
    }

    /// Whether `owner`, who acquired this, runs it exactly as `new` says.
    #[must_use]
    pub fn runs_as(&self, new: &Self, owner: &NodeName) -> bool {
        self.hostname == new.hostname && self.seen_from(owner) == new.seen_from(owner)
    }

    /// Whether `new` only adds resources to what `owner` acquired, and changes none.
    #[must_use]
    pub fn is_added_to_by(&self, new: &Self, owner: &NodeName) -> bool {
        let now = new.seen_from(owner);
        self.hostname == new.hostname && self.seen_from(owner).iter().all(|r| now.contains(r))
    }

    /// Whether what `owner` acquired as this and what it would acquire as `new` are the same things, however they are
    /// started, stopped and watched.
    #[must_use]
    pub fn means_the_same_as(&self, new: &Self, owner: &NodeName) -> bool {
        let (old, now) = (self.seen_from(owner), new.seen_from(owner));
        let mut pairs = old.iter().zip(&now);
        self.hostname == new.hostname
            && old.len() == now.len()
            && pairs.all(|(a, b)| a.is_the_same_thing_as(b))
    }

    /// Whether the end of an ownership is judged as strictly by this as by both.
    #[must_use]
    pub fn is_as_strict_as(&self, other: &Self) -> bool {
        strictest_needs(&self.needs, &other.needs) == self.needs
            && (self.release == ReleaseEnd::Reboot || other.release == ReleaseEnd::Down)
    }

    /// What is in force while `new` is configured and this is held: everything that is acquired stays, the end of the
    /// ownership is judged by the stricter of both, and where the group belongs is for `new` to say.
    #[must_use]
    pub fn held_under(&self, new: Option<&Self>) -> Self {
        let Some(new) = new else { return self.clone() };
        let reboots = [self.release, new.release].contains(&ReleaseEnd::Reboot);
        Self {
            nodes: new.nodes.clone(),
            policy: new.policy,
            figure_script: new.figure_script.clone(),
            failback: new.failback,
            relations: new.relations.clone(),
            requires: new.requires.clone(),
            prepare: new.prepare.clone(),
            events: new.events.clone(),
            needs: strictest_needs(&self.needs, &new.needs),
            release: if reboots { ReleaseEnd::Reboot } else { ReleaseEnd::Down },
            ..self.clone()
        }
    }

    /// What is otherwise in `new` for `owner`, who acquired this; each in a few words: `address 10.77.0.100 goes`.
    #[must_use]
    pub fn differences_to(&self, new: &Self, owner: &NodeName) -> Vec<String> {
        let (old, now) = (self.seen_from(owner), new.seen_from(owner));
        let named = |all: &[Resource], one: &Resource| {
            all.iter().find(|r| r.kind() == one.kind() && r.name() == one.name()).cloned()
        };
        let mut words = Vec::new();
        for resource in &old {
            match named(&now, resource) {
                None => words.push(format!("{} {} goes", resource.kind(), resource.name())),
                Some(other) if other != *resource => {
                    words.push(format!("{} {} changes", resource.kind(), resource.name()));
                }
                Some(_) => {}
            }
        }
        let comes = now.iter().filter(|r| named(&old, r).is_none());
        words.extend(comes.map(|r| format!("{} {} comes", r.kind(), r.name())));
        if words.is_empty() && old != now {
            words.push("the order of its resources changes".to_owned());
        }
        if self.hostname != new.hostname {
            words.push("its host name changes".to_owned());
        }
        if self.needs != new.needs {
            words.push("what proves that a lost owner is gone changes".to_owned());
        }
        if self.release != new.release {
            words.push("when its release is complete changes".to_owned());
        }
        words
    }

    /// The first thing that this group holds on `owner` and that `other` would have too, in words. Two parts of one
    /// concurrent group are on different nodes, and share nothing.
    #[must_use]
    pub fn shares_with(&self, other: &Self, owner: &NodeName) -> Option<String> {
        if self.name.node().is_some() && self.name.base() == other.name.base() {
            return None;
        }
        let addresses: Vec<IpAddr> = other.addresses.iter().map(|a| a.address).collect();
        if let Some(address) = self.addresses.iter().find(|a| addresses.contains(&a.address)) {
            return Some(format!("the address {}", address.address));
        }
        // A volume group has one owner at a time, whatever is in it.
        for volume in &self.volumes {
            let mounted = other.filesystems.iter().flat_map(|f| devices(f, None));
            let on_it = mounted.into_iter().any(|device| volume_of(&volume.vg, device).is_some());
            if on_it || other.volumes.iter().any(|v| v.vg == volume.vg) {
                return Some(format!("the volume group {}", volume.vg));
            }
        }
        for filesystem in &self.filesystems {
            let own = filesystem.on(owner);
            // A disk of the owner's own is another one on every other node.
            let only = (!own.is_shared()).then_some(owner);
            let same = |device: &Path| !own.is_bind() && device == own.device;
            if other.filesystems.iter().any(|f| devices(f, only).into_iter().any(same))
                || other.volumes.iter().any(|v| volume_of(&v.vg, &own.device).is_some())
            {
                return Some(format!("the device {}", own.device.display()));
            }
            let mount = &own.mount;
            let over = |f: &&std::sync::Arc<FilesystemConfig>| {
                f.mount.starts_with(mount) || mount.starts_with(&f.mount)
            };
            if other.filesystems.iter().any(|f| over(&f)) {
                return Some(format!("the mount point {}", mount.display()));
            }
        }
        None
    }

    /// An address that this group holds and that a node would have for itself.
    #[must_use]
    pub fn address_of_a_node(&self, config: &Config) -> Option<(IpAddr, NodeName)> {
        let members = config.nodes.iter().chain(&config.witnesses);
        members.into_iter().find_map(|node| {
            let own: Vec<IpAddr> = NodeConfig::every_address(node).collect();
            let taken = self.addresses.iter().find(|a| own.contains(&a.address))?;
            Some((taken.address, node.name.clone()))
        })
    }
}

/// It, with no other node's device in it.
fn alone(filesystem: &FilesystemConfig, node: &NodeName) -> FilesystemConfig {
    let mut own = filesystem.clone();
    if let Backing::Local(devices) = &mut own.backing {
        devices.retain(|name, _| name == node);
    }
    own
}

/// The devices of a file system: the shared one, or those of the nodes' own, of `only` one node or of all.
fn devices<'a>(filesystem: &'a FilesystemConfig, only: Option<&'a NodeName>) -> Vec<&'a Path> {
    match &filesystem.backing {
        Backing::Shared => vec![&filesystem.device],
        Backing::Local(devices) => {
            let wanted = devices.iter().filter(|(node, _)| only.is_none_or(|only| only == *node));
            wanted.map(|(_, device)| device.as_path()).collect()
        }
        Backing::Bind => Vec::new(),
    }
}

/// Both must be content with the end of a lease; a device is asked where either wants one, and a watchdog and the storage
/// too.
fn strictest_needs(a: &[Need], b: &[Need]) -> Vec<Need> {
    let lease = a.contains(&Need::LeaseEnded) && b.contains(&Need::LeaseEnded);
    let fenced = !lease || a.contains(&Need::Fenced) || b.contains(&Need::Fenced);
    let watchdog = lease && (a.contains(&Need::Watchdog) || b.contains(&Need::Watchdog));
    let storage = lease && (a.contains(&Need::Storage) || b.contains(&Need::Storage));
    let both = [
        (fenced, Need::Fenced),
        (lease, Need::LeaseEnded),
        (watchdog, Need::Watchdog),
        (storage, Need::Storage),
    ];
    let mut needs: Vec<Need> = both.into_iter().filter(|(wanted, _)| *wanted).map(|(_, need)| need).collect();
    needs.sort();
    needs
}
