//! What a service address says over HTTP of who has it.

use std::net::IpAddr;
use std::path::PathBuf;

use regent_model::config::InstanceKind;
use regent_model::{Epoch, GroupName, NodeName, ResourceName};
use serde::{Deserialize, Serialize};

/// A page that is to be had at an address of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portal {
    /// The service address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// What is said there.
    pub page: PortalPage,
}

/// What is said of a group at its service address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortalPage {
    /// The cluster.
    pub cluster: String,
    /// The group.
    pub group: GroupName,
    /// The database instances of it that listen on this address.
    pub instances: Vec<PortalInstance>,
    /// The node that has it.
    pub node: NodeName,
    /// One of `acquiring`, `online`, `releasing`, `stuck`, `unmanaged`.
    pub state: String,
    /// The ownership.
    pub epoch: Epoch,
    /// Since when it is this one, in milliseconds since 1970.
    pub since_ms: u64,
    /// Why the owner before could no longer act: the short word.
    pub proof: String,
    /// Its resources in the order of acquiring, each with its kind and state.
    pub resources: Vec<(ResourceName, String, String)>,
    /// The serial of the configuration in force.
    pub config_serial: u64,
    /// The version of the daemon.
    pub version: String,
}

/// An instance, for the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortalInstance {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: InstanceKind,
    /// Its directory.
    pub directory: PathBuf,
    /// Its own configuration file, where its kind has one; GT.M's is its global directory.
    pub configuration: Option<PathBuf>,
}

impl PortalPage {
    /// `GROUP on NODE`, or `GROUP (INSTANCE) on NODE`.
    #[must_use]
    pub fn title(&self) -> String {
        let names: Vec<&str> = self.instances.iter().map(|i| i.name.as_str()).collect();
        match names.as_slice() {
            [] => format!("{} on {}", self.group, self.node),
            names => format!("{} ({}) on {}", self.group, names.join(", "), self.node),
        }
    }
}
