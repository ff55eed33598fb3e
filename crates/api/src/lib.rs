//! What the command line asks and the node answers: JSON, one object per line, over the node's local socket.

mod arbiter;
mod fencing;
pub mod foresight;
mod instances;
mod keys;
mod nodes;
pub mod portal;
pub mod roles;
pub mod status;
mod tokens;

use std::path::Path;

use regent_model::ids::InstanceName;
use regent_model::journal::Entry;
use regent_model::state::{Showing, StopMode, Ticket, TicketId};
use regent_model::{GroupName, NodeName};
use serde::{Deserialize, Serialize};

pub use arbiter::{ArbiterStatus, DiskLook, DiskShows, SlotLook, SlotSays};
pub use fencing::{HandAct, HandEnd};
pub use foresight::{Foresight, GroupForesight, Part, Source};
pub use instances::{InstanceStatus, InstanceVerb, Registry, SeenStatus, VersionStatus};
pub use keys::{KeyChangeStatus, KeyStatus, KeyVerb};
pub use nodes::{NodeWord, NodesAnswer, NodesAsk, Presence, RemoveStep};
pub use tokens::TokenStatus;

pub use roles::Role;
pub use status::{
    AdapterStatus, GroupStatus, HoldStatus, LeavingStatus, NetworkStatus, NodeStatus, QueuedEvent,
    ResourceStatus, Status, WordStatus,
};

/// The local socket, unless the environment variable [`SOCKET_VARIABLE`] names another.
pub const SOCKET: &str = "/run/regent/api.sock";

/// Beside the local socket: where anybody may ask for the registry of instances, and for nothing else.
pub const OPEN_SOCKET: &str = "registry.sock";

/// The environment variable that names the local socket.
pub const SOCKET_VARIABLE: &str = "REGENT_SOCKET";

/// The longest request or answer, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The local socket of this process's environment.
#[must_use]
pub fn socket_path(variable: Option<String>) -> std::path::PathBuf {
    Path::new(variable.as_deref().unwrap_or(SOCKET)).to_owned()
}

/// A question or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The whole cluster, as this node sees it.
    Status,
    /// Journal entries of all nodes, in the order in which this node learnt of them.
    Events {
        /// Only those after this cursor; 0 = from the oldest kept.
        after: u64,
        /// At most this many; the newest are kept.
        limit: usize,
    },
    /// The configuration in force.
    Config,
    /// All nodes are asked, beside the log.
    Nodes(NodesAsk),
    /// Put a configuration in force.
    Apply {
        /// Its text.
        text: String,
        /// Only verify and show what would change.
        dry_run: bool,
    },
    /// Put a configuration in force on terms: refused where they do not hold.
    Change {
        /// Its text.
        text: String,
        /// The serial of the configuration from which it was made.
        serial: u64,
        /// The ticket of the lock under which it was made.
        lock: Option<String>,
        /// The groups that are disabled when they are new.
        disabled: Vec<String>,
        /// Groups that run are not even added to, as with [`Request::ApplyLater`].
        #[serde(default)]
        later: bool,
    },
    /// Take the lock of the configuration, or give it up. It keeps nobody from [`Request::Apply`].
    LockConfig {
        /// Who wants it; nobody if absent.
        lock: Option<LockWish>,
        /// The ticket that it replaces.
        over: Option<String>,
    },
    /// As [`Request::Apply`], but groups that run are not even added to: everything that changes in what they consist
    /// of waits until they are next enabled, moved or restarted.
    ApplyLater {
        /// Its text.
        text: String,
        /// Only verify and show what would change.
        dry_run: bool,
    },
    /// What the commands of a group, or the processes of an instance, are told on this node.
    Environment {
        /// Which.
        group: String,
        /// The instance of that name is meant; otherwise the group, or, if there is none, the instance.
        instance: bool,
    },
    /// An application is to be watched, or left alone.
    Application {
        /// Its group.
        group: String,
        /// Which.
        application: String,
        /// Which of the two.
        verb: ApplicationVerb,
    },
    /// What would happen; nothing is done.
    Simulate {
        /// The nodes that are lost.
        lose: Vec<String>,
        /// The networks that are lost, from 1.
        networks: Vec<usize>,
        /// The text of a configuration that is put in force.
        config: Option<String>,
    },
    /// A group is to change.
    Group {
        /// Which.
        group: String,
        /// How.
        verb: GroupVerb,
    },
    /// Every instance, as this node sees it. Anybody may ask this.
    Instances,
    /// An instance is to change, or more is to be known of it.
    Instance {
        /// Which.
        name: String,
        /// How.
        verb: InstanceVerb,
        /// What its vendor's command gets besides, of a start or stop.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        words: Vec<String>,
    },
    /// A node is to change.
    Node {
        /// Which; this one if absent.
        node: Option<String>,
        /// How.
        verb: NodeVerb,
    },
    /// A member is to leave for good.
    Remove {
        /// Which node or witness.
        node: String,
        /// How far.
        step: RemoveStep,
    },
    /// The cluster events that run and wait, on every node that is heard.
    EventQueue,
    /// Skip the rest of the events that are blocked on a node, and let the next ones run.
    ResumeEvents {
        /// Which node; this one if absent.
        node: Option<String>,
    },
    /// A person's word that a node is dead.
    ConfirmDead {
        /// Which.
        node: String,
        /// Who says so.
        who: String,
        /// Why.
        why: String,
        /// For how many minutes the word is good where nobody takes over on it; half an hour if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        minutes: Option<u32>,
    },
    /// A person does something with a node's fence devices: for the record, before and after.
    FenceByHand {
        /// Whose devices.
        node: String,
        /// What is done.
        act: HandAct,
        /// Who does it.
        who: String,
        /// How it ended; absent before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<HandEnd>,
    },
    /// Make an area for the arbiter on a disk that both nodes share. It decides nothing before the configuration names it.
    MakeArea {
        /// The block device or file.
        disk: std::path::PathBuf,
        /// Whatever is on it.
        force: bool,
    },
    /// Make a token with which one machine can join.
    Token {
        /// Whether it is to be a witness.
        witness: bool,
        /// For how many minutes it is good; an hour if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        minutes: Option<u32>,
    },
    /// The tokens that were made, without their secrets.
    Tokens,
    /// Take a token back.
    RevokeToken {
        /// Its number.
        id: String,
    },
    /// A token was made (a daemon asks this of its engine; nobody else may).
    Invite {
        /// Its number.
        id: TicketId,
        /// What the members are to know of it.
        ticket: Ticket,
    },
    /// About the cluster's key.
    Key(KeyVerb),
    /// Who I am to this daemon. Anybody may ask this.
    Access,
    /// A machine joins (the daemon of a member asks this for it; nobody else may).
    Join {
        /// Its name.
        name: String,
        /// One address per network.
        addresses: Vec<std::net::IpAddr>,
        /// Whether it is a witness.
        witness: bool,
        /// The token that it shows.
        #[serde(default)]
        showing: Option<Showing>,
    },
}

/// Somebody who wants the lock of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWish {
    /// Like no other.
    pub ticket: String,
    /// Who.
    pub who: String,
    /// When, in milliseconds since 1970.
    pub since_ms: u64,
}

/// What can be done with a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupVerb {
    /// Run it; forget earlier failures.
    Enable,
    /// Take it down and keep it down.
    Disable,
    /// Run it on this node.
    Move {
        /// The node.
        to: String,
    },
    /// Forget where an operator moved it: its list decides again.
    Restore,
    /// Take it down and bring it up again where it belongs.
    Restart,
    /// Do nothing with it by itself.
    Hold {
        /// Who wants it.
        who: String,
        /// Why.
        why: String,
    },
    /// Look after it again.
    Resume,
}

/// What can be done with an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationVerb {
    /// Do not watch it, until it is resumed or its group's ownership ends.
    Suspend,
    /// Watch it again.
    Resume,
}

/// What can be done with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeVerb {
    /// Leave the cluster.
    Stop(StopMode),
    /// Own groups again after standby.
    Start,
    /// Vote, but own nothing.
    Standby,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was committed; what was done, in words.
    Done(String),
    /// It was refused or could not be done.
    Refused(Refusal),
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Events`].
    Events {
        /// The entries with their cursors.
        entries: Vec<(u64, Entry)>,
        /// The newest cursor.
        last: u64,
    },
    /// To [`Request::EventQueue`].
    EventQueue {
        /// What runs and waits on every node, in order.
        nodes: Vec<(NodeName, Vec<QueuedEvent>)>,
    },
    /// To [`Request::Apply`] and [`Request::ApplyLater`] as a dry run: it could be applied, and would do this, a line
    /// each.
    Plan(Vec<String>),
    /// To [`Request::Simulate`].
    Foresight(Box<Foresight>),
    /// To [`Request::Config`].
    Config {
        /// Its text.
        text: String,
        /// Its serial.
        serial: u64,
    },
    /// To [`Request::Environment`].
    Environment {
        /// The node that answers.
        node: NodeName,
        /// Who owns the group now.
        owner: Option<NodeName>,
        /// The variables, in order.
        variables: Vec<(String, String)>,
        /// What they do not carry, in sentences.
        remarks: Vec<String>,
    },
    /// To [`Request::Instances`].
    Instances(Box<Registry>),
    /// To [`Request::Nodes`].
    Nodes(Box<NodesAnswer>),
    /// To [`Request::MakeArea`].
    Area {
        /// The disk.
        disk: std::path::PathBuf,
        /// The new area, as 32 hex digits.
        area: String,
        /// The nodes that found it there.
        seen_by: Vec<NodeName>,
    },
    /// To [`Request::Access`].
    Access {
        /// The node that answers.
        node: NodeName,
        /// Who asks, by the kernel's word.
        who: String,
        /// What he may; nothing if absent.
        role: Option<Role>,
    },
    /// To [`KeyVerb::Status`].
    Key(Box<KeyStatus>),
    /// To [`KeyVerb::Rotate`], from the engine to its daemon: a key of this number is to be made.
    MakeKey {
        /// Its number.
        number: u32,
    },
    /// To [`Request::Tokens`], oldest first.
    Tokens(Vec<TokenStatus>),
    /// To [`Request::Join`]: what a new member needs to begin.
    Joined {
        /// Its number.
        id: u64,
        /// The configuration's text, which names it.
        config: String,
    },
}

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What happened, and where.
    pub reason: String,
    /// What to type next.
    pub advice: String,
}

impl Answer {
    /// A refusal.
    #[must_use]
    pub fn refused(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Refused(Refusal { reason: reason.into(), advice: advice.into() })
    }
}

/// The name as the model wants it (`group`, or `group@node` for one part of a concurrent group), or the refusal that
/// says what is wrong with it.
///
/// # Errors
/// When `text` is no name.
pub fn group_name(text: &str) -> Result<GroupName, Answer> {
    GroupName::try_from(text.to_owned())
        .map_err(|e| Answer::refused(format!("{text:?} is no group: {e}"), "regent status"))
}

/// As [`group_name`], for instances.
///
/// # Errors
/// When `text` is no name.
pub fn instance_name(text: &str) -> Result<InstanceName, Answer> {
    InstanceName::new(text)
        .map_err(|e| Answer::refused(format!("{text:?} is no instance: {e}"), "regent instance list"))
}

/// As [`group_name`], for nodes.
///
/// # Errors
/// When `text` is no name.
pub fn node_name(text: &str) -> Result<NodeName, Answer> {
    NodeName::new(text).map_err(|e| Answer::refused(format!("{text:?} is no node: {e}"), "regent status"))
}
