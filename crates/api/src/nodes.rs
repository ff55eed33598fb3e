//! What is asked of every node at once, and what each says about itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use regent_model::NodeName;
use regent_model::evidence::{EvidenceHead, EvidenceId};
use regent_model::ids::InstanceName;
use regent_model::instance::InstanceLook;
use regent_model::survey::{Difference, Survey};
use serde::{Deserialize, Serialize};

use crate::DiskLook;

/// A question to every node of the cluster. It goes beside the log: nothing of it is decided or remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodesAsk {
    /// Make what the configuration says that nodes are prepared with.
    Prepare {
        /// For this group; for all that the node may own if absent.
        group: Option<String>,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// Say how you are equipped.
    Survey,
    /// Say what you see of the instances on yourself.
    Instances,
    /// Say which license servers of this instance answer you.
    License {
        /// The instance.
        instance: String,
    },
    /// Say what of this group is on you.
    Presence {
        /// The group.
        group: String,
    },
    /// Say what you see of this disk, on which there could be an area of the arbiter.
    Disk {
        /// The block device or file.
        disk: PathBuf,
    },
    /// The same of the disk that the configuration names.
    Arbiter,
    /// Say which evidence of failures you keep.
    Evidence {
        /// Of this group; of all if absent.
        group: Option<String>,
    },
    /// Give this piece of evidence, if you keep it.
    EvidenceText {
        /// Which.
        id: EvidenceId,
    },
}

/// What one node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeWord {
    /// To [`NodesAsk::Prepare`]: what was done, or what is left and why.
    Prepared(Vec<Result<String, String>>),
    /// To [`NodesAsk::Survey`].
    Surveyed(Box<Survey>),
    /// To [`NodesAsk::Presence`]: every thing of the group, and whether it is there.
    Presence(Vec<Presence>),
    /// To [`NodesAsk::Evidence`], the newest first.
    Evidence(Vec<EvidenceHead>),
    /// To [`NodesAsk::EvidenceText`].
    EvidenceText(Option<Box<(EvidenceHead, String)>>),
    /// To [`NodesAsk::Instances`].
    Instances(BTreeMap<InstanceName, InstanceLook>),
    /// To [`NodesAsk::License`]: each server, and how it answered, or why it did not.
    License(Vec<(SocketAddr, Result<(), String>)>),
    /// To [`NodesAsk::Disk`] and [`NodesAsk::Arbiter`].
    Disk(Box<DiskLook>),
    /// It could not say, and why.
    Unable(String),
}

/// Whether one thing of a group is on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The thing, in words.
    pub what: String,
    /// Whether it is there; else why that is not known.
    pub there: Result<bool, String>,
}

/// What all of them say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodesAnswer {
    /// Who said what.
    pub told: BTreeMap<NodeName, NodeWord>,
    /// Who said nothing in time.
    pub silent: Vec<NodeName>,
    /// To [`NodesAsk::Survey`]: what does not fit together.
    pub differences: Vec<Difference>,
}

/// A step on a member's way out of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoveStep {
    /// Only say what is in the way.
    Look {
        /// Its machine never comes back.
        dead: bool,
    },
    /// It loses its vote, lets go of its groups and stops. Its machine comes back as what it was until it is removed.
    Leave {
        /// Its machine never comes back.
        dead: bool,
        /// Who wants it.
        who: String,
    },
    /// It stays after all.
    Stay,
    /// It has left: it is removed, and this configuration, which does not name it, is put in force.
    Finish {
        /// The text of the configuration.
        text: String,
        /// The serial of the configuration from which it was made.
        serial: u64,
    },
}
