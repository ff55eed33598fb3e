//! The cluster in which what is read is put to use: two nodes and a witness, the first of which has a group.

use std::collections::{BTreeMap, BTreeSet};

use regent_model::config::{Config, parse};
use regent_model::ids::IncarnationOf;
use regent_model::state::{Command, Member, Proposal, ProposalId, State};
use regent_model::{BootId, Epoch, GroupName, Incarnation, NodeId, NodeName};

pub(crate) const LX4: NodeId = NodeId(1);
pub(crate) const LX5: NodeId = NodeId(2);
pub(crate) const WIT: NodeId = NodeId(3);

/// The guide's hot standby, as the README has it.
pub(crate) const WARD7: &str = include_str!("../../../examples/ward7.toml");

pub(crate) fn voters() -> BTreeSet<NodeId> {
    BTreeSet::from([LX4, LX5, WIT])
}

pub(crate) fn life(node: NodeId) -> IncarnationOf {
    IncarnationOf { node, incarnation: Incarnation(7) }
}

/// A state in which the first members of this configuration have just begun.
pub(crate) fn founded(config: Config, text: &str) -> State {
    let member = |name: &NodeName, witness| Member { name: name.clone(), witness, votes: true };
    let nodes = config.nodes.iter().map(|node| member(&node.name, false));
    let witnesses = config.witnesses.iter().map(|node| member(&node.name, true));
    let members: BTreeMap<NodeId, Member> = (1..).map(NodeId).zip(nodes.chain(witnesses)).collect();
    let mut state = State::founded(config, text.to_owned(), members.clone());
    let voters: BTreeSet<NodeId> = members.keys().copied().collect();
    for id in &voters {
        let command = Command::NodeUp { about: life(*id), boot: BootId(format!("boot-{id}")), clean: true };
        state.apply(&proposal(id.0, command), &voters);
    }
    state
}

/// An entry of the first node's daemon.
pub(crate) fn proposal(number: u64, command: Command) -> Proposal {
    Proposal { id: ProposalId { node: LX4, session: 1, number }, command }
}

/// The first node has the first group.
pub(crate) fn state() -> State {
    let config = parse(WARD7).config.unwrap_or_else(|| panic!("the example is accepted"));
    let group: GroupName = config.groups[0].name.clone();
    let mut state = founded(config, WARD7);
    let commands = [
        Command::Assign { group: group.clone(), after: Epoch(0), to: life(LX4) },
        Command::Online { group, epoch: Epoch(1) },
    ];
    for (number, command) in (100..).zip(commands) {
        state.apply(&proposal(number, command), &voters());
    }
    state
}
