//! What would happen, as the planner foresees it.

use std::time::Duration;

use regent_model::{GroupName, NodeName};
use serde::{Deserialize, Serialize};

/// What would come of a loss or of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foresight {
    /// What is supposed, in words.
    pub supposed: Vec<String>,
    /// What else is to be said: what is assumed, what does not follow from it.
    pub remarks: Vec<String>,
    /// Whether the cluster comes to rest.
    pub settles: bool,
    /// Every group.
    pub groups: Vec<GroupForesight>,
}

/// What would become of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupForesight {
    /// Its name.
    pub name: GroupName,
    /// Where it is now.
    pub from: Option<NodeName>,
    /// Where it would be.
    pub to: Option<NodeName>,
    /// Its state in the end, in the words of `status`.
    pub state: String,
    /// The rule that decides, in words.
    pub why: String,
    /// What would keep it from running.
    pub blocked: Option<String>,
    /// What to type then.
    pub advice: Option<String>,
    /// How long it would be down, if it is online now, goes down and comes back.
    pub downtime: Option<Duration>,
    /// What that is made of.
    pub parts: Vec<Part>,
}

/// A part of a downtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What happens.
    pub what: String,
    /// How long it takes.
    pub takes: Duration,
    /// Where that is known from.
    pub from: Source,
}

/// Where a time is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The median of so many steps in the journal.
    Measured(usize),
    /// The timers of the configuration.
    Timers,
    /// Nothing: it was not measured yet.
    Assumed,
}
