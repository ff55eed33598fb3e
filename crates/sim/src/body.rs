//! What is really there on a machine: addresses, mounts, applications. What checkers judge by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use regent_model::holding::Holding;
use regent_model::{GroupName, ResourceName};

/// An application of a group.
pub(crate) type AppKey = (GroupName, ResourceName);

/// What a machine's kernel holds. All of it is gone when the power goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Mount point and device.
    pub(crate) mounts: BTreeMap<PathBuf, PathBuf>,
    /// Devices whose mounting is under way. It goes on when the process that asked for it is killed, and nobody
    /// else has the device meanwhile.
    pub(crate) mounting: BTreeSet<PathBuf>,
    /// Devices that something in the kernel writes from their mounting on, whatever is stopped and unmounted.
    pub(crate) kept: BTreeSet<PathBuf>,
    /// Active volumes. They alone write nothing, so that the guard does not see to them.
    pub(crate) volumes: BTreeSet<AppKey>,
    pub(crate) apps: BTreeSet<AppKey>,
    /// Control groups: made before the guard is asked, gone when it lets go, so that what comes late is barred.
    pub(crate) folders: BTreeSet<AppKey>,
    /// Start scripts at work, by the number of the start.
    pub(crate) starting: BTreeMap<AppKey, u64>,
}

impl Body {
    /// Whether anything of a group is up.
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.mounts.is_empty() && self.apps.is_empty()
    }

    /// Whether a holding's device is being mounted: then it cannot be shown to be free.
    pub(crate) fn is_being_mounted(&self, holding: &Holding) -> bool {
        matches!(holding, Holding::Mount { device, .. } if self.mounting.contains(device))
    }

    /// Takes away what a holding stands for.
    pub(crate) fn take_away(&mut self, holding: &Holding) {
        match holding {
            Holding::Address { address, .. } => {
                self.addresses.remove(address);
            }
            Holding::Mount { mount, .. } | Holding::Bind { mount, .. } => {
                self.mounts.remove(mount);
            }
            Holding::Cgroup { .. } => {
                if let Some(key) = app_of(holding) {
                    self.apps.remove(&key);
                    self.starting.remove(&key);
                    self.folders.remove(&key);
                }
            }
        }
    }
}

/// The holding of an application: its control group.
pub(crate) fn cgroup_of(key: &AppKey, grace: Duration) -> Holding {
    Holding::Cgroup { path: PathBuf::from(format!("/regent/{}/{}", key.0, key.1)), grace }
}

/// The application that a control group belongs to.
pub(crate) fn app_of(holding: &Holding) -> Option<AppKey> {
    let Holding::Cgroup { path, .. } = holding else { return None };
    let mut parts = path.components().rev().filter_map(|p| p.as_os_str().to_str());
    let resource = ResourceName::new(parts.next()?).ok()?;
    let group = GroupName::try_from(parts.next()?.to_owned()).ok()?;
    Some((group, resource))
}
