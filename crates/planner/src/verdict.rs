//! The verdict on each node of a group's list.

use std::fmt;
use std::path::PathBuf;

use regent_model::GroupName;
use regent_model::config::{Failover, GroupConfig, Startup};
use regent_model::ids::{IncarnationOf, NodeId, NodeName};
use regent_model::state::{Group, NodeMode, State, StopMode};

use crate::network;
use crate::relations::{self, Look};
use crate::view::View;

/// Why a node cannot or should not have a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is not in the cluster (never joined, or not a member any more).
    NoMember,
    /// Its last life is proven to be over, or it has not registered one.
    Down,
    /// It is not heard, and nothing is proven yet.
    Silent,
    /// It has lost this network, which the group's address is on.
    LostNetwork(String),
    /// It is on standby.
    Standby,
    /// It is stopping or was stopped.
    Stopping(StopMode),
    /// The group failed there.
    Failed(String),
    /// It is to be rebooted.
    Reboots,
    /// It is not registered at this disk of the group.
    NotRegistered(PathBuf),
    /// It was cut off from the group's disks, and may have something for them in its memory still.
    CutOff,
    /// The group starts on its home node only.
    NotHome,
    /// It carries another rotating group.
    CarriesAnother(GroupName),
    /// The group stays with its last node.
    NotLast,
    /// The group went down with another node and waits for it.
    ParkedElsewhere,
    /// The group runs where this one runs, which is not there.
    NotWith(GroupName),
    /// It carries a group with which this one shares no node.
    ApartFrom(GroupName),
    /// A concurrent group that this one needs is not online there.
    ClientsDown(GroupName),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMember => write!(f, "has not joined the cluster"),
            Self::Down => write!(f, "is down"),
            Self::Silent => write!(f, "is not heard on any network"),
            Self::LostNetwork(network) => write!(f, "has lost network {network}"),
            Self::Standby => write!(f, "is on standby"),
            Self::Stopping(mode) => write!(f, "was stopped ({})", mode.word()),
            Self::Failed(why) => write!(f, "could not run it: {why}"),
            Self::Reboots => write!(f, "is to be rebooted"),
            Self::NotRegistered(disk) => {
                write!(f, "is not registered at {} (its troubles in regent status say why)", disk.display())
            }
            Self::CutOff => {
                write!(f, "was cut off from its disks and has not let go of them since: reboot it")
            }
            Self::NotHome => write!(f, "is not its home node, and it starts at home only"),
            Self::CarriesAnother(group) => write!(f, "carries the rotating group {group}"),
            Self::NotLast => write!(f, "is not where it ran, and it does not fail over"),
            Self::ParkedElsewhere => {
                write!(f, "is not the node it went down with, and it waits for that one")
            }
            Self::NotWith(group) => write!(f, "is not where {group} runs, with which it shares its node"),
            Self::ApartFrom(group) => write!(f, "is for {group}, with which it shares no node"),
            Self::ClientsDown(group) => write!(f, "does not run {group}, which it needs there"),
        }
    }
}

/// The verdict on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It could own the group.
    Fit(IncarnationOf),
    /// It could not, or should not.
    Unfit(Why),
}

pub(crate) fn verdicts(
    state: &State,
    view: &View,
    group: &Group,
    config: &GroupConfig,
    look: Look,
) -> Vec<(NodeName, Verdict)> {
    config.nodes.iter().map(|node| (node.clone(), verdict(state, view, group, config, node, look))).collect()
}

fn verdict(
    state: &State,
    view: &View,
    group: &Group,
    config: &GroupConfig,
    node: &NodeName,
    look: Look,
) -> Verdict {
    let Some(id) = state.id_of(node) else { return Verdict::Unfit(Why::NoMember) };
    let Some(about) = state.living(id) else { return Verdict::Unfit(Why::Down) };
    match state.lives[&id].mode {
        NodeMode::Active => {}
        NodeMode::Standby => return Verdict::Unfit(Why::Standby),
        NodeMode::Stopping(mode) => return Verdict::Unfit(Why::Stopping(mode)),
    }
    if !view.heard.contains(&about) {
        return Verdict::Unfit(Why::Silent);
    }
    if state.lives[&id].reboots {
        return Verdict::Unfit(Why::Reboots);
    }
    if let Some(disk) = state.not_registered_at(id, config) {
        let cut = state.lives[&id].cut;
        return Verdict::Unfit(if cut { Why::CutOff } else { Why::NotRegistered(disk.to_owned()) });
    }
    if let Some(why) = group.failed_on.get(&id) {
        return Verdict::Unfit(Why::Failed(why.clone()));
    }
    if let Some(network) = network::lost(state, view, config, id) {
        return Verdict::Unfit(Why::LostNetwork(network));
    }
    let bound = bound_by_policy(state, group, config, id);
    match bound.or_else(|| relations::bound(state, view, config, id, look)) {
        Some(why) => Verdict::Unfit(why),
        None => Verdict::Fit(about),
    }
}

/// What the policy has against a node that could otherwise own the group.
fn bound_by_policy(state: &State, group: &Group, config: &GroupConfig, id: NodeId) -> Option<Why> {
    if group.moved_to == Some(id) {
        return None;
    }
    if group.parked_on.is_some_and(|parked| parked != id) {
        return Some(Why::ParkedElsewhere);
    }
    // Who shares a node with another group goes where that one is.
    if config.relations.same_node_as.is_some() {
        return None;
    }
    if group.started {
        let stays =
            config.policy.failover == Failover::Stay && group.last_owner.is_some_and(|last| last != id);
        return stays.then_some(Why::NotLast);
    }
    match config.policy.startup {
        Startup::Home => {
            let home = config.nodes.first().and_then(|home| state.id_of(home));
            (home != Some(id)).then_some(Why::NotHome)
        }
        Startup::Distribute => carried(state, config, id).map(Why::CarriesAnother),
        Startup::FirstAvailable | Startup::All => None,
    }
}

/// Another group that is distributed over the nodes of one of its networks, and is on this node: a rotating group is
/// bound to its address, and there is one for each node and network.
pub(crate) fn carried(state: &State, config: &GroupConfig, node: NodeId) -> Option<GroupName> {
    let networks = config.networks();
    let other = state.config.groups.iter().find(|other| {
        other.name != config.name
            && other.policy.startup == Startup::Distribute
            && !state.definition(&other.name).is_some_and(|held| held.networks().is_disjoint(&networks))
            && state.ownership(&other.name).is_some_and(|o| o.owner.node == node)
    });
    other.map(|other| other.name.clone())
}
