//! How a node is equipped, as it says itself, and what does not fit together when the nodes are held side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{Port, Severity};
use crate::ids::{GroupName, NodeName};

mod addresses;
mod clients;
mod commands;
mod compare;
mod limits;

pub use commands::{Word, moves, users_of, words_in, words_of};
pub use compare::differences;

/// How a node is equipped for what the configuration may ask of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// How far its clock is ahead of that of the node that asked, in milliseconds, as well as that can be told.
    pub clock_ahead_ms: i64,
    /// Its time zone.
    pub zone: String,
    /// Programs and files named in commands.
    pub files: BTreeMap<PathBuf, Seen>,
    /// Mount points.
    pub points: BTreeMap<PathBuf, Point>,
    /// What it was not prepared with, by group.
    pub unprepared: BTreeMap<GroupName, Vec<String>>,
    /// The number of each user that is named; none where there is no such user.
    pub users: BTreeMap<String, Option<u32>>,
    /// The devices that it is to use.
    pub devices: BTreeMap<PathBuf, Device>,
    /// What the kernel grants.
    pub limits: Limits,
    /// Services that start by themselves at boot though they should not, and by what.
    pub at_boot: BTreeMap<String, String>,
    /// Who listens on ports that applications will want.
    pub listening: Vec<(Port, String)>,
    /// What the kernel cannot do for clients whose address goes elsewhere; nothing where it can do everything.
    #[serde(default)]
    pub connections: Option<String>,
    /// Why it cannot send wildcard binds to a service address, where an application wants that.
    #[serde(default)]
    pub no_bind: Option<String>,
    /// Why its kernel cannot end the leases of service addresses, where there are such.
    #[serde(default)]
    pub no_address_leases: Option<String>,
    /// Of those ports, the ones on which somebody listens at every address.
    #[serde(default)]
    pub listening_everywhere: BTreeSet<Port>,
    /// The four numbers of `kernel.sem`.
    #[serde(default)]
    pub semaphores: Vec<u64>,
}

/// A file that a command names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// It is not there, or cannot be used; why.
    Missing(String),
    /// It is there, and this is the beginning of the SHA-256 sum of what is in it.
    Sum(String),
    /// It is there, and is no file whose content could be compared.
    There,
}

/// What is at a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Nothing: no such folder.
    Missing,
    /// Something that is no folder.
    NoFolder,
    /// An empty folder.
    Empty,
    /// A folder of the machine's own with something in it.
    Used,
    /// Something is mounted there.
    Mounted,
}

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// It is not there; why.
    Missing(String),
    /// It is there.
    Found {
        /// Its size.
        bytes: u64,
        /// The identity of the file system on it, where one is known.
        uuid: Option<String>,
        /// Its number on this node.
        number: (u32, u32),
    },
}

/// What the kernel of a node grants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory: u64,
    /// Huge pages that are set aside.
    pub huge_pages: u64,
    /// Shared memory in all, in bytes.
    pub shared_memory: u64,
    /// Semaphores in all.
    pub semaphores: u64,
    /// Open files in all.
    pub open_files: u64,
}

/// One thing that does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// How bad it is: errors and warnings are told at night, notes are not.
    pub severity: Severity,
    /// What it is about, in one word.
    pub topic: String,
    /// The group that it concerns, if it is one.
    pub group: Option<GroupName>,
    /// The nodes to do something about.
    pub nodes: Vec<NodeName>,
    /// What does not fit, in one line.
    pub text: String,
    /// What to do.
    pub help: String,
}
