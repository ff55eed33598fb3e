//! Networks that a node has lost while others have them, and what groups with an address there do about it.

use regent_model::config::{GroupConfig, OnDown};
use regent_model::ids::NodeId;
use regent_model::state::{ReleaseReason, State};

use crate::view::View;

/// The name of a network that moves this group away from a node: one with a service address of the group, lost by that
/// node alone, for which `on_down` is `"move"`.
pub(crate) fn lost(state: &State, view: &View, config: &GroupConfig, id: NodeId) -> Option<String> {
    if view.lost.is_empty() {
        return None;
    }
    let networks = config.addresses.iter().filter_map(|a| state.config.network_of(a));
    let mut moving = networks.filter(|n| state.config.on_down(*n) == OnDown::Move);
    let network = moving.find(|n| view.lost.contains(&(id, *n)))?;
    Some(state.config.network_name(network))
}

/// What an owner does that has lost such a network: why it lets the group go, if another node can have it, and the rule.
pub(crate) fn judge_owner(
    state: &State,
    view: &View,
    config: &GroupConfig,
    owner: NodeId,
    elsewhere: bool,
) -> Option<(Option<ReleaseReason>, String)> {
    let network = lost(state, view, config, owner)?;
    let rule = format!("{} has lost network {network}", state.name_of(owner));
    Some(match elsewhere {
        true => (Some(ReleaseReason::LostNetwork(network)), rule),
        false => (None, format!("{rule}, but nobody else can have it")),
    })
}
