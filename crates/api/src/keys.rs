//! The cluster's key, as people see it: which one is in use, and how far a change is. No key stands here.

use regent_model::NodeName;
use regent_model::state::KeyMark;
use serde::{Deserialize, Serialize};

/// What can be asked about the cluster's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyVerb {
    /// How it is.
    Status,
    /// Change it, or go on with a change that is under way.
    Rotate {
        /// The members that are not waited for.
        without: Vec<String>,
    },
    /// A key was made (a daemon asks this of its engine; nobody else may).
    Begin {
        /// Its number.
        number: u32,
        /// Which key it is.
        mark: KeyMark,
        /// The members that are not waited for.
        without: Vec<String>,
    },
}

/// The cluster's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// The node that answers.
    pub node: NodeName,
    /// How often the key was changed: the number of the key in use.
    pub number: u32,
    /// Eight digits that every key has others of; they say nothing about the key.
    pub mark: Option<String>,
    /// When it was changed last, in milliseconds since 1970.
    pub changed_ms: Option<u64>,
    /// The change that is under way.
    pub change: Option<KeyChangeStatus>,
}

/// A change of the cluster's key that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChangeStatus {
    /// The digits of the new key.
    pub mark: String,
    /// On which node it was ordered.
    pub by: NodeName,
    /// When, in milliseconds since 1970.
    pub begun_ms: u64,
    /// `spread`, `switch` or `retire`.
    pub stage: String,
    /// The same in words.
    pub words: String,
    /// Who is through with this stage.
    pub through: Vec<NodeName>,
    /// Who is waited for, and is heard.
    pub waits_for: Vec<NodeName>,
    /// Who is waited for, and is not heard.
    pub silent: Vec<NodeName>,
    /// Who is not waited for.
    pub without: Vec<NodeName>,
    /// What to type, where it does not go on by itself.
    pub next: Option<String>,
}

impl KeyChangeStatus {
    /// The change in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let list = |names: &[NodeName]| names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
        let waits = match (&self.silent[..], &self.waits_for[..]) {
            ([], []) => String::new(),
            ([], heard) => format!("; waits for {}", list(heard)),
            (silent, []) => format!("; waits for {}, not heard", list(silent)),
            (silent, heard) => format!("; waits for {} (not heard) and {}", list(silent), list(heard)),
        };
        let without = if self.without.is_empty() {
            String::new()
        } else {
            format!("; without {}", list(&self.without))
        };
        format!("the cluster's key is being changed: {}{waits}{without}", self.words)
    }
}
