//! A state for the tests of what is held.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, parse};
use crate::ids::{BootId, Epoch, Incarnation, IncarnationOf, NodeId};
use crate::state::{Command, Member, State};

pub(super) fn config(text: &str) -> Config {
    let parsed = parse(text);
    parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings))
}

/// A cluster in which the first node owns the first group.
pub(super) fn held(text: &str) -> (State, BTreeSet<NodeId>) {
    let config = config(text);
    let names = config.nodes.iter().map(|node| node.name.clone());
    let member = |(name, id)| (NodeId(id), Member { name, witness: false, votes: true });
    let members: BTreeMap<_, _> = names.zip(1..).map(member).collect();
    let voters = members.keys().copied().collect();
    let group = config.groups[0].name.clone();
    let to = IncarnationOf { node: NodeId(1), incarnation: Incarnation(1) };
    let (state, _) = State::founded(config, text.into(), members)
        .preview(&Command::NodeUp { about: to, boot: BootId("one".into()), clean: true }, &voters);
    let (state, _) = state.preview(&Command::Assign { group: group.clone(), after: Epoch(0), to }, &voters);
    assert_eq!(state.ownership(&group).map(|o| o.owner), Some(to));
    (state, voters)
}
