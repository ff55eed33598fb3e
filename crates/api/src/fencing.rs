//! What a person does with a node's fence devices, for the record: the devices are operated by the command, not by the
//! daemon.

use serde::{Deserialize, Serialize};

/// What is done with the devices of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandAct {
    /// Its power is cut.
    Off,
    /// It gets its power back.
    On,
    /// It is cut through each of its levels, and brought back.
    Test,
}

impl HandAct {
    /// The word that is typed.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Test => "test",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandEnd {
    /// Whether the devices did what they were asked for, and confirmed it.
    pub done: bool,
    /// In words.
    pub words: String,
}
