//! Fence devices at the storage (`kind = "storage"`): the disks that they cut a node off from, and who may rely on them.
//!
//! Such a device says nothing about the rest of the machine. A group that needs one is taken over when the lease has ended,
//! and one of its devices has confirmed that the owner can write to none of the group's disks any more.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::draft::{Draft, FenceDraft, GroupDraft};
use super::fence::{FenceConfig, FenceKind};
use super::finding::{Finding, Findings};
use super::reader::Reader;
use super::tree::At;
use super::{Config, GroupConfig, scalar};
use crate::ids::{ClusterName, NodeName};
use crate::proof::Need;

/// What Regent gives such an agent beside what every agent is given: the disks, and the node's key.
pub(super) const GIVEN: [&str; 2] = ["devices", "key"];

const EXAMPLE: &str = "[\"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4\"]";

/// `disks`: for a device at the storage, and for no other.
pub(super) fn disks(reader: &mut Reader<'_>, kind: Option<&At<FenceKind>>) -> Vec<At<PathBuf>> {
    let storage = kind.filter(|kind| kind.value == FenceKind::Storage);
    if storage.is_some() {
        reader.require("disks", EXAMPLE);
    }
    let is_there = reader.has("disks");
    let list = reader.checked_texts("disks", EXAMPLE, disk);
    if let Some(kind) = storage.filter(|_| is_there && list.is_empty()) {
        let finding =
            Finding::error(&kind.span, "a device at the storage that names no disk cuts nobody off");
        reader.findings.add(finding.help(format!("write disks = {EXAMPLE}")));
    }
    if storage.is_none()
        && let Some(first) = list.first()
    {
        let finding = Finding::error(&first.span, "`disks` is for a device that cuts off from disks")
            .help("write kind = \"storage\" beside it, or delete it");
        reader.findings.add(finding);
    }
    list
}

/// What a device at the storage stands between a node and: as it was configured when it was asked last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Barrier {
    /// The disks.
    pub disks: Vec<PathBuf>,
    /// Tells apart by which agent, with which options, and as whom each node is known there.
    pub mark: u64,
}

impl Barrier {
    /// Whether `device` is one of its disks, or on one.
    #[must_use]
    pub fn covers(&self, device: &Path) -> bool {
        self.disks.iter().any(|disk| is_on_disk(device, disk))
    }
}

fn mark(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl FenceConfig {
    /// What it stands between a node and; nothing for one that cuts power.
    #[must_use]
    pub fn barrier(&self) -> Option<Barrier> {
        if self.kind != FenceKind::Storage {
            return None;
        }
        // It stands in the log: every release must put it together alike.
        let nodes = self.keys.iter().chain(&self.plugs).map(|(node, value)| (node.as_str(), value));
        let options = self.options.iter().map(|(key, value)| (key.as_str(), value));
        let mut text = self.agent.display().to_string();
        for (key, value) in nodes.chain(options) {
            text.extend(["\0", key, "=", value]);
        }
        Some(Barrier { disks: self.disks.clone(), mark: mark(&text) })
    }

    /// It, with the keys of its nodes.
    pub(super) fn keyed(mut self, cluster: &ClusterName) -> Self {
        if self.kind == FenceKind::Storage {
            let key = |node: &NodeName| (node.clone(), Self::storage_key(cluster, node));
            self.keys = self.nodes.iter().map(key).collect();
        }
        self
    }

    /// The key by which a node is known at its disks: in hexadecimal digits, the same in every life of the node.
    #[must_use]
    pub fn storage_key(cluster: &ClusterName, node: &NodeName) -> String {
        // Never zero, and no leading zero: agents leave those away.
        format!("5{:015x}", mark(&format!("{cluster}/{node}")) >> 4)
    }
}

/// Whether `disk` as a whole, or a partition of it, is `device`.
#[must_use]
pub fn is_on_disk(device: &Path, disk: &Path) -> bool {
    let (Some(device), Some(disk)) = (device.to_str(), disk.to_str()) else { return false };
    let Some(rest) = device.strip_prefix(disk) else { return false };
    let numbered = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let ends_in_digit = disk.ends_with(|c: char| c.is_ascii_digit());
    rest.is_empty()
        || rest.strip_prefix("-part").is_some_and(numbered)
        || (ends_in_digit && rest.strip_prefix('p').is_some_and(numbered))
        || (!ends_in_digit && numbered(rest))
}

impl GroupConfig {
    /// Whether it is taken over only when its owner is cut off from its disks.
    #[must_use]
    pub fn needs_storage(&self) -> bool {
        self.needs.contains(&Need::Storage)
    }

    /// The devices that two owners at once could both write.
    pub fn shared_devices(&self) -> impl Iterator<Item = &Path> {
        self.filesystems.iter().filter(|f| f.is_shared()).map(|f| f.device.as_path())
    }
}

/// Agents are given them in one line, with commas between them.
fn disk(text: &str) -> Result<PathBuf, scalar::Refused> {
    if text.contains(',') {
        return scalar::refused(
            "a disk with a comma in its path",
            "name it by another of its links in /dev/disk",
        );
    }
    scalar::absolute_path(text, "disk", EXAMPLE)
}

impl Config {
    /// The devices at the storage that can cut `node` off.
    pub fn storage_fences_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a FenceConfig> {
        self.fences_of(node).map(AsRef::as_ref).filter(|fence| fence.kind == FenceKind::Storage)
    }
}

/// Checks across groups and devices.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for fence in draft.fences.iter().filter(|fence| !fence.disks.is_empty()) {
        somebody_can_cut(fence, findings);
    }
    one_device_for_a_disk(draft, findings);
    for group in draft.groups.iter().filter(|group| group.needs.contains(&Need::Storage)) {
        beside_a_lease(group, findings);
        if !findings.broken_syntax {
            every_disk_is_covered(draft, group, findings);
        }
    }
}

/// The one that cuts must be at the same disks.
fn somebody_can_cut(fence: &FenceDraft, findings: &mut Findings) {
    let Some(nodes) = fence.nodes.as_ref().filter(|nodes| nodes.value.len() == 1) else { return };
    let message = "a device at the storage with one node: nobody else could cut it off, for who cuts must be registered \
                   at the same disks";
    findings.add(Finding::error(&nodes.span, message).help("name every node that has these disks"));
}

/// A node registers at a disk once in a life. Through a second device it could do so after the first had cut it off.
fn one_device_for_a_disk(draft: &Draft, findings: &mut Findings) {
    let names = |fence: &FenceDraft| -> Vec<String> {
        fence.nodes.iter().flat_map(|list| &list.value).map(|node| node.value.clone()).collect()
    };
    for (at, fence) in draft.fences.iter().enumerate() {
        for disk in &fence.disks {
            let same = |other: &&At<PathBuf>| {
                !std::ptr::eq(*other, disk)
                    && (is_on_disk(&other.value, &disk.value) || is_on_disk(&disk.value, &other.value))
            };
            let own = names(fence);
            let others = draft.fences[..=at].iter().filter(|f| names(f).iter().any(|n| own.contains(n)));
            if let Some(first) =
                others.flat_map(|f| &f.disks).take_while(|d| !std::ptr::eq(*d, disk)).find(same)
            {
                let message = format!("{} is cut off by two devices", disk.value.display());
                findings.add(
                    Finding::error(&disk.span, message)
                        .help("name each disk once, in one [[fence]] with every node that has it")
                        .related(&first.span, "first here"),
                );
            }
        }
    }
}

/// It says nothing about addresses and processes.
fn beside_a_lease(group: &GroupDraft, findings: &mut Findings) {
    let Some(span) = group.needs_span.as_ref().filter(|_| !group.needs.contains(&Need::LeaseEnded)) else {
        return;
    };
    let message = format!(
        "`{}` needs its owner cut off from its disks, but not the end of its lease: its addresses and processes would go on",
        group.title()
    );
    findings.add(Finding::error(span, message).help("write needs = [\"lease-ended\", \"storage\"]"));
}

fn every_disk_is_covered(draft: &Draft, group: &GroupDraft, findings: &mut Findings) {
    let Some(span) = &group.needs_span else { return };
    let title = group.title();
    if let Some(volume) = group.volumes.first() {
        let message = format!("`{title}` has a volume, and the disks below it are not known");
        findings.add(
            Finding::error(span, message)
                .help("write needs = [\"fenced\"], or mount a partition of the disk instead")
                .related(volume.vg.as_ref().map_or(group.place(), |vg| &vg.span), "the volume"),
        );
        return;
    }
    let devices: Vec<&At<PathBuf>> = group.filesystems.iter().filter_map(|f| f.shared_device()).collect();
    if devices.is_empty() {
        let message = format!("`{title}` has no shared disk to be cut off from");
        findings.add(Finding::error(span, message).help("write needs = [\"lease-ended\"]"));
    }
    for node in group.node_names() {
        let reaches = |fence: &&FenceDraft| {
            fence.nodes.as_ref().is_some_and(|list| list.value.iter().any(|n| n.value == node.value))
        };
        let covers = |device: &&&At<PathBuf>| {
            let mut fences = draft.fences.iter().filter(reaches);
            fences.any(|f| f.disks.iter().any(|disk| is_on_disk(&device.value, &disk.value)))
        };
        let Some(bare) = devices.iter().find(|device| !covers(device)) else { continue };
        let message = format!(
            "`{title}` needs its owner cut off from its disks, and no device cuts {} off",
            node.value
        );
        findings.add(
            Finding::error(span, message)
                .help(format!(
                    "add a [[fence]] with kind = \"storage\", {} in its nodes, and the disk that {} is on in its disks",
                    node.value,
                    bare.value.display()
                ))
                .related(&bare.span, "this disk"),
        );
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_on_its_disk_by_each_way_of_naming_it() {
        for (device, disk) in [
            ("/dev/sdb", "/dev/sdb"),
            ("/dev/sdb1", "/dev/sdb"),
            ("/dev/nvme0n1p2", "/dev/nvme0n1"),
            ("/dev/disk/by-id/wwn-0x5-part3", "/dev/disk/by-id/wwn-0x5"),
        ] {
            assert!(is_on_disk(Path::new(device), Path::new(disk)), "{device}");
        }
        for (device, disk) in [
            ("/dev/sdba", "/dev/sdb"),
            ("/dev/nvme0n12", "/dev/nvme0n1"),
            ("/dev/sdb", "/dev/sdb1"),
            ("/dev/sdb-part", "/dev/sdb"),
        ] {
            assert!(!is_on_disk(Path::new(device), Path::new(disk)), "{device}");
        }
    }

    #[test]
    fn each_node_of_each_cluster_has_a_key_of_its_own() {
        let key = |cluster, node| {
            FenceConfig::storage_key(&ClusterName::new(cluster).unwrap(), &NodeName::new(node).unwrap())
        };
        let keys = [key("a", "lx4"), key("a", "lx5"), key("b", "lx4")];
        assert!(keys.iter().all(|k| k.len() == 16 && k.bytes().all(|b| b.is_ascii_hexdigit())), "{keys:?}");
        assert!(keys[0] != keys[1] && keys[0] != keys[2]);
        assert_eq!(key("a", "lx4"), keys[0], "in every life");
    }
}
