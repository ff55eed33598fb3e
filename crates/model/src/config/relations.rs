//! What a group has to do with other groups: parents, order of starting, same and different nodes.

use serde::{Deserialize, Serialize};

use super::check_members::names_once;
use super::draft::RelationsDraft;
use super::reader::Reader;
use super::scalar;
use super::tree::At;
use crate::ids::GroupName;

/// How many levels of parents and children there may be.
pub const LEVELS_MAX: usize = 3;

/// Who keeps a node when two groups that must not share one both want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// It gives way.
    Low,
    /// It gives way to `high`, and `low` to it.
    #[default]
    Intermediate,
    /// Others give way.
    High,
}

impl Priority {
    /// The words of a configuration.
    pub const WORDS: [(&'static str, Self); 3] =
        [("high", Self::High), ("intermediate", Self::Intermediate), ("low", Self::Low)];

    /// The word of a configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        scalar::word(&Self::WORDS, self)
    }
}

/// What a group has to do with other groups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Relations {
    /// It runs only while this group is online: acquired after it, released before it, and acquired anew when the
    /// parent was acquired anew.
    pub parent: Option<GroupName>,
    /// It is acquired only when these groups are online; what becomes of them later does not matter to it.
    pub after: Vec<GroupName>,
    /// It runs on the node where this group runs, and follows it.
    pub same_node_as: Option<GroupName>,
    /// It shares no node with these groups, nor they with it.
    pub different_node_from: Vec<GroupName>,
    /// Who gives way among groups that share no node.
    pub priority: Priority,
}

/// The keys of a group that name other groups.
pub(super) fn relations(reader: &mut Reader<'_>) -> RelationsDraft {
    RelationsDraft {
        parent: reader.name("parent", "\"dce\""),
        after: groups(reader, "after"),
        same_node_as: reader.name("same_node_as", "\"db\""),
        different_node_from: groups(reader, "different_node_from"),
        priority: reader.choice("priority", &Priority::WORDS),
    }
}

/// A list of groups, or one.
pub(super) fn groups(reader: &mut Reader<'_>, key: &'static str) -> Vec<At<String>> {
    let names = reader.text_or_texts(key, "[\"dce\"]").map(|list| list.value).unwrap_or_default();
    names_once(&format!("group in `{key}`"), names.iter(), reader.findings);
    names
}

/// The relations that a draft without a fault means.
pub(super) fn meant(draft: RelationsDraft) -> Option<Relations> {
    let one = |at: Option<At<String>>| match at {
        None => Some(None),
        Some(at) => GroupName::new(at.value).ok().map(Some),
    };
    Some(Relations {
        parent: one(draft.parent)?,
        after: names(draft.after)?,
        same_node_as: one(draft.same_node_as)?,
        different_node_from: names(draft.different_node_from)?,
        priority: draft.priority.map_or(Priority::default(), |p| p.value),
    })
}

/// Names that were found good.
pub(super) fn names(list: Vec<At<String>>) -> Option<Vec<GroupName>> {
    list.into_iter().map(|at| GroupName::new(at.value).ok()).collect()
}
