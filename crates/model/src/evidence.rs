//! What was gathered about an application before its failure was acted on: how it is called, and how it is listed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, GroupName, NodeName, ResourceName};

/// One piece of evidence, without what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceHead {
    /// Its number on its node, counted up from 1.
    pub number: u64,
    /// The node that gathered it and keeps it.
    pub node: NodeName,
    /// The group.
    pub group: GroupName,
    /// The application.
    pub application: ResourceName,
    /// The ownership under which it ran.
    pub epoch: Epoch,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Why it was gathered, in one line.
    pub reason: String,
    /// How long gathering took, in milliseconds.
    pub took_ms: u64,
    /// Whether everything that was to be looked at was seen within the budget.
    pub complete: bool,
    /// Its length in bytes.
    pub bytes: u64,
}

impl EvidenceHead {
    /// How it is called in the whole cluster.
    #[must_use]
    pub fn id(&self) -> EvidenceId {
        EvidenceId { node: Some(self.node.clone()), number: self.number }
    }
}

/// How a piece of evidence is called: `lx4/7`, or `7` where only one node has a seventh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceId {
    /// Who keeps it; unsaid where the number is enough.
    pub node: Option<NodeName>,
    /// Its number there.
    pub number: u64,
}

impl EvidenceId {
    /// Whether it means this one.
    #[must_use]
    pub fn means(&self, head: &EvidenceHead) -> bool {
        self.number == head.number && self.node.as_ref().is_none_or(|node| *node == head.node)
    }
}

impl fmt::Display for EvidenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{node}/{}", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

impl FromStr for EvidenceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (node, number) = match text.rsplit_once('/') {
            Some((node, number)) => (Some(node), number),
            None => (None, text),
        };
        let wrong = || "write it as regent evidence lists it: lx4/7, or 7".to_owned();
        let node = node.map(NodeName::new).transpose().map_err(|_| wrong())?;
        Ok(Self { node, number: number.parse().map_err(|_| wrong())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_called_by_its_node_and_number_or_by_the_number_alone() {
        for text in ["lx4/7", "7"] {
            assert_eq!(text.parse::<EvidenceId>().unwrap().to_string(), text);
        }
        for text in ["", "x", "lx4/", "/7", "lx 4/7", "7/lx4", "-1"] {
            assert!(text.parse::<EvidenceId>().is_err(), "{text:?}");
        }
    }
}
