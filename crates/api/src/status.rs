//! The whole cluster at one moment, as one node sees it.

use std::net::IpAddr;
use std::time::Duration;

use crate::keys::KeyChangeStatus;
use regent_model::format::Format;
use regent_model::state::ConfigLock;
use regent_model::{BootId, Epoch, GroupName, Incarnation, NodeName, ResourceName};
use serde::{Deserialize, Serialize};

use crate::ArbiterStatus;

/// The whole cluster at one moment, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster.
    pub cluster: String,
    /// The node that answers.
    pub node: NodeName,
    /// The leader of the log, if one is known.
    pub leader: Option<NodeName>,
    /// Whether the answering node is in touch with a majority: if not, what follows may be stale.
    pub quorate: bool,
    /// The serial of the configuration in force.
    pub config_serial: u64,
    /// Who is changing the configuration by hand, under the lock.
    #[serde(default)]
    pub config_lock: Option<ConfigLock>,
    /// `takeover` as the user wrote it.
    pub takeover: String,
    /// The lease.
    pub lease: Duration,
    /// The format in force: the newest that every member reads (`docs/upgrade.md`).
    #[serde(default)]
    pub format: Format,
    /// Every node and witness.
    pub nodes: Vec<NodeStatus>,
    /// Every group.
    pub groups: Vec<GroupStatus>,
    /// The change of the cluster's key that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_change: Option<KeyChangeStatus>,
    /// Fence requests that are not answered.
    pub fencing: Vec<String>,
    /// Who decides between two nodes, where they have no third vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arbiter: Option<ArbiterStatus>,
    /// The members that are to leave for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<LeavingStatus>,
}

/// A member that is to leave for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingStatus {
    /// Which.
    pub node: NodeName,
    /// Who wants it.
    pub who: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// What it waits for; absent once it can be removed.
    pub waits: Option<String>,
    /// What to type.
    pub advice: Option<String>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: NodeName,
    /// Whether it only votes.
    pub witness: bool,
    /// Whether it votes (a learner does not).
    pub voter: bool,
    /// One of `up`, `standby`, `stopping`, `stopped`, `silent`, `down`, `not joined`.
    pub state: String,
    /// What else is to be said.
    pub remark: String,
    /// Its registered incarnation.
    pub incarnation: Option<Incarnation>,
    /// Its registered boot.
    pub boot: Option<BootId>,
    /// Whether it says that its lease is valid.
    pub lease_valid: Option<bool>,
    /// Its networks, as the answering node hears it.
    pub networks: Vec<NetworkStatus>,
    /// The version of its daemon.
    pub version: Option<String>,
    /// The newest format that it has said it reads.
    #[serde(default)]
    pub reads: Option<Format>,
    /// What is not as it should be with the node itself, in its own words.
    #[serde(default)]
    pub troubles: Vec<String>,
    /// Its interfaces, where they are configured.
    #[serde(default)]
    pub adapters: Vec<AdapterStatus>,
}

/// One interface of a node, where interfaces are configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterStatus {
    /// The interface.
    pub interface: String,
    /// The network's name.
    pub network: String,
    /// `service` or `standby`, as configured.
    pub role: String,
    /// One of `up`, `failed`, `unknown`.
    pub state: String,
    /// What is wrong with it, if anything.
    pub fault: Option<String>,
    /// The service addresses that are on it.
    pub carries: Vec<IpAddr>,
    /// The persistent addresses that are on it.
    pub persistent: Vec<IpAddr>,
}

/// One network of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// The node's address on it.
    pub address: IpAddr,
    /// Whether it is heard there; absent for the answering node itself.
    pub heard: Option<bool>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: GroupName,
    /// One of `online`, `acquiring`, `releasing`, `offline`, `disabled`, `blocked`, `failed`, `stuck`, `unmanaged`,
    /// `awaits reboot`, `unknown` (a daemon that has just begun has not heard the owner yet).
    pub state: String,
    /// Who owns it.
    pub owner: Option<NodeName>,
    /// The current or last epoch.
    pub epoch: Epoch,
    /// Why the owner before can no longer act: the short word.
    pub proof: String,
    /// The same in words.
    pub proof_text: String,
    /// The policy.
    pub policy: String,
    /// Why it is where it is.
    pub why: String,
    /// What keeps it from running, if anything.
    pub blocked: Option<String>,
    /// What to type.
    pub advice: Option<String>,
    /// What is not as it should be and moves nothing.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What waits for its next acquisition, because it runs as it was acquired and is configured otherwise by now.
    #[serde(default)]
    pub pending: Option<String>,
    /// An operator holds it: nothing is done with it by itself.
    #[serde(default)]
    pub held: Option<HoldStatus>,
    /// It is free on a person's word alone, which is good for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<WordStatus>,
    /// Every node of its list with the verdict on it.
    pub nodes: Vec<(NodeName, String)>,
    /// Its resources, in the order of acquiring, as the owner last told.
    pub resources: Vec<ResourceStatus>,
    /// What enforces it, in one word: `guard`, `kernel` or `fenced`.
    #[serde(default)]
    pub guarantee_class: String,
    /// What guarantees that there is one owner, and what that depends on.
    pub guarantee: String,
}

/// Who holds a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// Who.
    pub who: String,
    /// Why; empty if nothing was said.
    pub why: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// The word of a person that the last owner of a group is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordStatus {
    /// Whose.
    pub who: String,
    /// Why.
    pub why: String,
    /// Until when it is good, in milliseconds since 1970.
    pub until_ms: u64,
}

/// A cluster event that runs or waits on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedEvent {
    /// Its number on that node, once it has begun.
    pub number: Option<u64>,
    /// The event with its arguments.
    pub event: String,
    /// One of `running`, `waiting`, `blocked`.
    pub state: String,
    /// What it does, what it waits for, or what failed.
    pub doing: String,
    /// Of a blocked one: the end of the output of what failed.
    pub evidence: String,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStatus {
    /// Its name.
    pub name: ResourceName,
    /// Its kind.
    pub kind: String,
    /// One of `running`, `acquiring`, `releasing`, `stopped`, `failed`, `slow`, `unwell`, `unknown`.
    pub state: String,
    /// An operator has suspended its monitors.
    #[serde(default)]
    pub suspended: bool,
    /// Of an address: how many clients are recorded that will learn at once when it goes elsewhere. Absent where none
    /// are, because it is not up or does not want it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
}
