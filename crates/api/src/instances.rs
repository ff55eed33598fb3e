//! What can be asked of instances, and how they are.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use regent_model::config::InstanceKind;
use regent_model::ids::InstanceName;
use regent_model::instance::{Condition, InstanceLook, Misfit};
use regent_model::{Epoch, GroupName, NodeName};
use serde::{Deserialize, Serialize};

/// What can be done with an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceVerb {
    /// Bring it up, on the node that is asked.
    Start,
    /// Take it down, on the node that is asked.
    Stop,
    /// End it, on the node that is asked.
    Force,
    /// Look at it, on the node that is asked.
    Status,
    /// Say what version it has.
    Version {
        /// The version.
        version: String,
        /// Who says so.
        who: String,
    },
}

/// The registry, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// The node that answers.
    pub node: NodeName,
    /// Whether it is in touch with a majority: if not, what it knows of other nodes may be old.
    pub quorate: bool,
    /// Every instance, in the order of the groups.
    pub instances: Vec<InstanceStatus>,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name.
    pub name: InstanceName,
    /// Its group.
    pub group: GroupName,
    /// Who owns the group, if anybody.
    pub owner: Option<NodeName>,
    /// The group's current or last epoch.
    pub epoch: Epoch,
    /// Whether everything of the group is up.
    pub online: bool,
    /// What it is.
    pub kind: InstanceKind,
    /// Where it is installed.
    pub directory: PathBuf,
    /// The port that it listens on.
    pub port: u16,
    /// The service address that it listens on.
    pub address: Option<IpAddr>,
    /// Whether it is started with its group.
    pub autostart: bool,
    /// Whether it is the one that is meant where none is named.
    pub default: bool,
    /// Whether it serves others and uses what they serve.
    pub networked: bool,
    /// The instances whose data it uses, each with where it answers.
    pub data_servers: Vec<(String, SocketAddr)>,
    /// How many of them there may be.
    pub max_data_servers: u32,
    /// How many others may use it.
    pub max_application_servers: u32,
    /// Its license servers.
    pub license_servers: Vec<SocketAddr>,
    /// Its version, if anybody has told it.
    pub version: Option<VersionStatus>,
    /// The version that an owner has read last from what is installed.
    pub installed: Option<String>,
    /// What it was in when its owner looked last.
    pub seen: Option<SeenStatus>,
    /// What the answering node sees of it on itself; not told before it has looked.
    pub here: Option<InstanceLook>,
    /// What of that is not as the cluster knows it.
    pub misfits: Vec<Misfit>,
}

impl InstanceStatus {
    /// What `node` sees of it, with the version that is known to be installed where it is.
    #[must_use]
    pub fn as_installed(&self, node: &NodeName, look: &InstanceLook) -> InstanceLook {
        let installed =
            self.installed.clone().filter(|_| self.owner.as_ref() == Some(node) && look.directory);
        InstanceLook { version: look.version.clone().or(installed), ..look.clone() }
    }

    /// Whether it runs on the node that answered.
    #[must_use]
    pub fn runs_here(&self) -> bool {
        self.here.as_ref().is_some_and(|look| look.running)
    }
}

/// A version, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    /// The version.
    pub version: String,
    /// Who says so: `read by lx4`, `told by root`.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What an instance was in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenStatus {
    /// What.
    pub condition: Condition,
    /// Where.
    pub node: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}
