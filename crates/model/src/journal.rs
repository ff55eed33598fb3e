//! The event journal: what happened, in the order each node saw it, with the time every step took.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::EventNote;
use crate::ids::{Epoch, GroupName, NodeName, ResourceName};
use crate::time::Moment;

/// The kind of the entries that say who ordered what.
pub const AUDIT: &str = "audit";

/// How much an entry matters to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A step on the way.
    Step,
    /// Something that changed who does what.
    Notice,
    /// Something a person should look at.
    Warning,
    /// Something that keeps a group from running.
    Error,
}

/// One entry. Each node numbers its own; the log orders epochs, the journal does not need to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The node that wrote it.
    pub node: NodeName,
    /// Its number on that node: without gaps while a daemon lives, and far beyond everything before when the next one
    /// begins.
    pub number: u64,
    /// When, on that node's own boot clock.
    pub at: Moment,
    /// When, on the wall clock: milliseconds since 1970, UTC. For people; nothing decides by it.
    pub wall_ms: u64,
    /// How much it matters.
    pub level: Level,
    /// What kind of thing happened: a stable word for tools, such as `node_down`, `acquire`, `online`.
    pub kind: String,
    /// The group, if it is about one.
    pub group: Option<GroupName>,
    /// The resource, if it is about one.
    pub resource: Option<ResourceName>,
    /// The ownership, if it is about one.
    pub epoch: Option<Epoch>,
    /// The log's index of the entry that it tells of, if it tells of one.
    pub index: Option<u64>,
    /// The cluster event that it belongs to, if it belongs to one.
    #[serde(default)]
    pub event: Option<EventNote>,
    /// What happened, in words.
    pub text: String,
    /// How long it took, for things that take time.
    pub took: Option<Duration>,
    /// Evidence: the end of a command's output, holders, kernel messages.
    pub evidence: String,
}
