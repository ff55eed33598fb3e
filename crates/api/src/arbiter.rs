//! The disk that decides between two nodes, as each node sees it.

use std::path::PathBuf;

use regent_model::NodeName;
use regent_model::ids::ClusterName;
use serde::{Deserialize, Serialize};

/// What one node sees of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskLook {
    /// Its path.
    pub disk: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// What it shows.
    pub shows: DiskShows,
    /// Who uses it, if it is a device and somebody does.
    pub in_use: Option<String>,
    /// What a node wrote there for the others to find.
    pub mark: Option<String>,
    /// What the nodes that ever wrote there say, if it holds an area.
    pub slots: Vec<SlotLook>,
}

/// What a disk shows where an area would lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskShows {
    /// Zeros alone.
    Blank,
    /// An area.
    Area {
        /// Which, as 32 hex digits.
        area: String,
        /// Of which cluster.
        cluster: ClusterName,
    },
    /// Something else, in words.
    Other(String),
}

/// What one node says in the area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotLook {
    /// The number of the node in the log.
    pub node: u64,
    /// What it says; nothing if its slot is damaged.
    pub says: Option<SlotSays>,
}

/// See [`SlotLook`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotSays {
    /// Of which generation it speaks.
    pub generation: u64,
    /// The round of its last attempt to have it decided.
    pub round: u64,
    /// The node that it named, if it came as far.
    pub named: Option<u64>,
    /// The node that goes on, if it knew that this is decided.
    pub decided: Option<u64>,
}

/// The arbiter, in [`crate::Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArbiterStatus {
    /// What decides, in words: `disk /dev/disk/by-id/...`.
    pub what: String,
    /// How often it has decided, and one.
    pub generation: u64,
    /// Who votes alone since the arbiter named it, and since when, in milliseconds since 1970.
    pub alone: Option<(NodeName, u64)>,
    /// Whether it would decide now: the two have agreed on that, and nothing has changed since.
    pub ready: bool,
    /// Why nobody goes on, or why it would not decide, if that is so.
    pub why: Option<String>,
    /// What to type or to do about it.
    pub advice: Option<String>,
}
