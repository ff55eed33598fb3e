//! The shared disks of a lab, and those that a configuration implies.

use std::path::{Path, PathBuf};

use regent_model::config::{Arbiter, Backing, Config};
use regent_model::ids::{AreaId, ClusterName};
use serde::{Deserialize, Serialize};

/// The sizes of a shared disk that the lab makes, in MiB.
pub const DISK_MIB: std::ops::RangeInclusive<u32> = 16..=4096;

/// A disk that the nodes can reach over the lab's SAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// The block device in the nodes.
    pub device: PathBuf,
    /// Its size in MiB.
    pub mib: u32,
    /// Whether it is formatted with ext4 when the lab is made.
    pub ext4: bool,
    /// The one node that finds it; every node does without this.
    pub only: Option<String>,
    /// Whether it is for the arbiter between two nodes: both write to it at once, and rightly.
    #[serde(default)]
    pub arbiter: Option<ArbiterDisk>,
}

/// What is on a disk for the arbiter when the lab is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArbiterDisk {
    /// Nothing.
    Blank,
    /// The area that the configuration names.
    Made {
        /// Which.
        area: AreaId,
        /// Of which cluster.
        cluster: ClusterName,
    },
}

impl DiskSpec {
    /// A small one for an arbiter.
    pub(crate) fn of_arbiter(device: &Path, holds: ArbiterDisk) -> Self {
        let mib = *DISK_MIB.start();
        Self { device: device.to_owned(), mib, ext4: false, only: None, arbiter: Some(holds) }
    }
}

/// The disks that the file systems of a configuration lie on, shared ones and those of one node; and the arbiter's.
pub(crate) fn of(config: &Config) -> Vec<DiskSpec> {
    let mut disks: Vec<DiskSpec> = Vec::new();
    for filesystem in config.groups.iter().flat_map(|g| &g.filesystems) {
        let devices: Vec<(PathBuf, Option<String>)> = match &filesystem.backing {
            Backing::Shared => vec![(filesystem.device.clone(), None)],
            Backing::Local(devices) => {
                devices.iter().map(|(n, d)| (d.clone(), Some(n.to_string()))).collect()
            }
            Backing::Bind => Vec::new(),
        };
        for (device, only) in devices {
            if !disks.iter().any(|d| d.device == device && d.only == only) {
                disks.push(DiskSpec {
                    device,
                    mib: 256,
                    ext4: filesystem.fstype == "ext4",
                    only,
                    arbiter: None,
                });
            }
        }
    }
    if let Some(Arbiter::Disk { disk, area }) = &config.arbiter {
        disks.push(DiskSpec::of_arbiter(
            disk,
            ArbiterDisk::Made { area: *area, cluster: config.cluster.clone() },
        ));
    }
    disks
}
