//! What a node sees of an instance on itself, and what of it does not fit what the cluster knows.

mod misfits;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use misfits::{Holder, Misfit, Versions, misfits};

/// The lock file of an instance, in its directory: written at a start, removed at a clean stop.
pub const LOCK_FILE: &str = "mgr/regent.ids";

/// Whom a lock file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFile {
    /// The node.
    pub node: String,
    /// The epoch of its group under which it was started.
    pub epoch: u64,
    /// The boot of that node.
    pub boot: String,
}

impl LockFile {
    /// The text of the file: one line for each.
    #[must_use]
    pub fn text(&self) -> String {
        format!("node={}\nepoch={}\nboot={}\n", self.node, self.epoch, self.boot)
    }

    /// Reads the text of a file. `None` where it is no such text: who wrote it is not known then.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix('='));
        let node = value("node").filter(|n| !n.is_empty())?.to_owned();
        Some(Self {
            node,
            epoch: value("epoch")?.parse().ok()?,
            boot: value("boot").unwrap_or("").to_owned(),
        })
    }
}

/// What a node sees of an instance on itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLook {
    /// Whether the file system that holds it is mounted here.
    pub mounted: bool,
    /// Whether its directory is there.
    pub directory: bool,
    /// Whether processes of it run here.
    pub running: bool,
    /// Whether something listens on its port here.
    pub listening: bool,
    /// The version that would open it here, where that can be told: of GT.M on every node, of any other where it is held.
    pub version: Option<String>,
    /// What its vendor's registry, which each node has for itself, says of it, where its kind has one that answers.
    pub listed: Option<Listed>,
    /// Its lock file, if there is one.
    pub lock: Option<Lock>,
    /// From how many addresses it is used over the network, where everybody who does counts as an application server:
    /// of GT.M.
    #[serde(default)]
    pub application_servers: u32,
}

/// What a vendor's registry on a node says of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listed {
    /// It does not know it.
    Nowhere,
    /// It knows it.
    At {
        /// Its directory.
        directory: PathBuf,
        /// Its version; empty where none is told.
        version: String,
    },
}

/// What was found of a lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lock {
    /// It names this.
    Of(LockFile),
    /// It is there, and names nobody.
    Unreadable,
}

impl InstanceLook {
    /// What it is in, as this look shows it.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match (self.running, &self.lock) {
            (true, _) => Condition::Running,
            (false, Some(_)) => Condition::Crashed,
            (false, None) => Condition::Down,
        }
    }
}

/// What an instance is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It runs.
    Running,
    /// It was taken down.
    Down,
    /// It ended without being taken down.
    Crashed,
}

impl Condition {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Down => "down",
            Self::Crashed => "crashed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(node: &str) -> Option<Lock> {
        Some(Lock::Of(LockFile { node: node.into(), epoch: 3, boot: "b".into() }))
    }

    #[test]
    fn a_lock_file_says_who_started_the_instance() {
        let file = LockFile { node: "lx4".into(), epoch: 7, boot: "abc".into() };
        assert_eq!(LockFile::read(&file.text()), Some(file));
        for foreign in ["", "lx4", "node=\nepoch=1\n", "node=lx4\nepoch=x\n", "epoch=4\n"] {
            assert_eq!(LockFile::read(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn a_crash_is_told_from_a_stop_by_the_lock_file_that_is_left() {
        let look = |running, lock| InstanceLook { running, lock, ..InstanceLook::default() }.condition();
        assert_eq!(look(true, None), Condition::Running);
        assert_eq!(look(false, None), Condition::Down);
        assert_eq!(look(false, lock("lx5")), Condition::Crashed);
    }
}
