//! What other groups have to say about where a group belongs.

use regent_model::GroupName;
use regent_model::config::GroupConfig;
use regent_model::ids::{NodeId, NodeName};
use regent_model::state::{Ownership, Phase, ReleaseReason, State, Tenure};

use crate::place::{Intent, wanted};
use crate::verdict::{Verdict, Why, verdicts};
use crate::view::View;

/// A child that has to be taken down before its parent is.
pub(crate) struct Child {
    pub(crate) name: GroupName,
    /// Why it cannot be, if it cannot.
    pub(crate) stuck: Option<String>,
}

/// The child that keeps its parent from being taken down, if any. One that is out of reach, or was left running on
/// purpose, is not waited for.
pub(crate) fn child_to_go_first(state: &State, view: &View, parent: &GroupName) -> Option<Child> {
    state.owned_children(parent).find_map(|(name, o)| {
        let there = is_there(state, view, o) && !o.without_lease && o.phase != Phase::AwaitsReboot;
        let stuck = if let Phase::Stuck(why) = &o.phase { Some(why.clone()) } else { None };
        there.then(|| Child { name: name.clone(), stuck })
    })
}

/// How another group is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// With everything that asks it to leave but a higher priority: what waits for what never goes round in a circle,
    /// and who gives way to whom could.
    Steady,
    /// With everything that asks it to leave.
    Ahead,
}

/// Whether an owner is alive as far as anybody can tell.
pub(crate) fn is_there(state: &State, view: &View, ownership: &Ownership) -> bool {
    state.living(ownership.owner.node) == Some(ownership.owner) && view.heard.contains(&ownership.owner)
}

/// Whether a group is online.
fn stays_online(state: &State, view: &View, name: &GroupName, look: Look) -> bool {
    let Some(o) = state.ownership(name) else { return false };
    let online = o.phase == Phase::Online && is_there(state, view, o);
    online && !leaves(state, view, name, look)
}

fn leaves(state: &State, view: &View, name: &GroupName, look: Look) -> bool {
    matches!(wanted(state, view, name, look).intent, Intent::Release(_))
}

/// Where a group runs, or is being brought up to run.
fn settles_on(state: &State, view: &View, name: &GroupName, look: Look) -> Option<NodeId> {
    let o = state.ownership(name)?;
    let comes = matches!(o.phase, Phase::Acquiring | Phase::Online) && is_there(state, view, o);
    (comes && !leaves(state, view, name, look)).then_some(o.owner.node)
}

/// Whether two groups share no node.
fn apart(a: &GroupConfig, b: &GroupConfig) -> bool {
    a.relations.different_node_from.contains(&b.name) || b.relations.different_node_from.contains(&a.name)
}

/// Whether a group is on this node, or is being taken down elsewhere in order to come here.
fn has_or_comes_to(ownership: &Ownership, node: NodeId) -> bool {
    let comes = match &ownership.phase {
        Phase::Releasing(ReleaseReason::Reintegration(to) | ReleaseReason::Move(to)) => *to == node,
        _ => false,
    };
    comes || ownership.owner.node == node
}

/// What other groups have against this node.
pub(crate) fn bound(
    state: &State,
    view: &View,
    config: &GroupConfig,
    node: NodeId,
    look: Look,
) -> Option<Why> {
    if let Some(with) = &config.relations.same_node_as
        && settles_on(state, view, with, look) != Some(node)
    {
        return Some(Why::NotWith(with.clone()));
    }
    let neighbour = state.config.groups.iter().find(|other| {
        other.name != config.name
            && apart(config, other)
            && state.ownership(&other.name).is_some_and(|o| has_or_comes_to(o, node))
    });
    if let Some(other) = neighbour {
        return Some(Why::ApartFrom(other.name.clone()));
    }
    // The node is being cleared for a group that needs it more.
    if look == Look::Ahead
        && let Some(other) = gives_way_to(state, view, config, node)
    {
        return Some(Why::ApartFrom(other));
    }
    missing_clients(state, view, config, node).map(Why::ClientsDown)
}

/// A concurrent group that this one needs on a node and that is not online there.
pub(crate) fn missing_clients(
    state: &State,
    view: &View,
    config: &GroupConfig,
    node: NodeId,
) -> Option<GroupName> {
    let here = NodeName::new(state.name_of(node)).ok()?;
    let is_online = |client: &GroupName| {
        let instance = GroupName::instance(client, &here);
        let o = state.ownership(&instance);
        o.is_some_and(|o| o.phase == Phase::Online && is_there(state, view, o))
    };
    config.clients().find(|client| !is_online(client)).cloned()
}

/// What a vacant group waits for before any node is asked, and what to type.
pub(crate) fn waits(
    state: &State,
    view: &View,
    config: &GroupConfig,
    look: Look,
) -> Option<(String, String)> {
    let relations = &config.relations;
    if let Some(parent) = &relations.parent
        && !stays_online(state, view, parent, look)
    {
        return Some((
            format!("it runs only while its parent {parent} is online, which it is not"),
            format!("regent explain {parent}"),
        ));
    }
    let before = relations.after.iter().find(|before| !stays_online(state, view, before, look))?;
    Some((
        format!("it starts only when {before} is online, which it is not"),
        format!("regent explain {before}"),
    ))
}

/// No node can have it, and that is because of another group: which one.
pub(crate) fn nowhere(
    name: &GroupName,
    candidates: &[(NodeName, Verdict)],
    reason: &str,
) -> Option<(String, String)> {
    let other = candidates.iter().find_map(|(_, verdict)| match verdict {
        Verdict::Unfit(Why::NotWith(other) | Why::ApartFrom(other)) => Some(other.to_string()),
        Verdict::Unfit(Why::ClientsDown(other)) => Some(other.to_string()),
        _ => None,
    })?;
    let advice = format!("regent explain {other}; what {name} has to do with it stands in its configuration");
    Some((reason.to_owned(), advice))
}

/// Whether another group makes the owner let go of this one: the reason, and the rule in words.
pub(crate) fn asks_to_leave(
    state: &State,
    view: &View,
    config: &GroupConfig,
    ownership: &Ownership,
    look: Look,
) -> Option<(ReleaseReason, String)> {
    if let Some(parent) = &config.relations.parent
        && let Some(why) = parent_goes(state, view, parent, ownership, look)
    {
        return Some((ReleaseReason::Parent(parent.clone()), format!("its parent {parent} {why}")));
    }
    if let Some(with) = &config.relations.same_node_as
        && settles_on(state, view, with, look).is_some_and(|node| node != ownership.owner.node)
    {
        let rule = format!("it shares its node with {with}, which runs elsewhere");
        return Some((ReleaseReason::Follows(with.clone()), rule));
    }
    if look == Look::Steady {
        return None;
    }
    let other = gives_way_to(state, view, config, ownership.owner.node)?;
    let rule = format!("{other} has a higher priority, no other node, and shares none with it");
    Some((ReleaseReason::GivesWay(other), rule))
}

/// Why a child cannot stay up, if its parent is the reason. One that is only silent says nothing yet.
fn parent_goes(
    state: &State,
    view: &View,
    parent: &GroupName,
    ownership: &Ownership,
    look: Look,
) -> Option<&'static str> {
    let Tenure::Owned(o) = &state.groups.get(parent)?.tenure else { return Some("is down") };
    if ownership.parent_epoch.is_some_and(|epoch| epoch != o.epoch) {
        return Some("was acquired anew");
    }
    match o.phase {
        Phase::AwaitsReboot => Some("is down"),
        Phase::Releasing(_) | Phase::Stuck(_) => Some("is being taken down"),
        Phase::Acquiring | Phase::Online => {
            leaves(state, view, parent, look).then_some("is to be taken down")
        }
    }
}

/// The group of a higher priority that needs this very node, if there is one.
fn gives_way_to(state: &State, view: &View, config: &GroupConfig, node: NodeId) -> Option<GroupName> {
    let higher = state
        .config
        .groups
        .iter()
        .filter(|other| apart(config, other) && other.relations.priority > config.relations.priority);
    higher.into_iter().find(|other| takes(state, view, other) == Some(node)).map(|other| other.name.clone())
}

/// The node that a group takes from others of a lower priority: the first of its list on which nothing else is in
/// the way, if no node is free.
fn takes(state: &State, view: &View, config: &GroupConfig) -> Option<NodeId> {
    let group = state.groups.get(&config.name)?;
    let down = matches!(group.tenure, Tenure::Vacant(_)) && group.enabled;
    if !down || waits(state, view, config, Look::Steady).is_some() {
        return None;
    }
    let candidates = verdicts(state, view, group, config, Look::Steady);
    if candidates.iter().any(|(_, verdict)| matches!(verdict, Verdict::Fit(_))) {
        return None;
    }
    candidates.iter().find_map(|(name, verdict)| {
        let Verdict::Unfit(Why::ApartFrom(_)) = verdict else { return None };
        let node = state.id_of(name)?;
        let neighbours = state.config.groups.iter().filter(|other| {
            apart(config, other) && state.ownership(&other.name).is_some_and(|o| o.owner.node == node)
        });
        let mut neighbours = neighbours.peekable();
        let all_lower = neighbours.peek().is_some()
            && neighbours.all(|other| {
                other.relations.priority < config.relations.priority
                    && !needs(state, config, &other.name)
                    && state.hold_of(&other.name).is_none()
            });
        (all_lower && missing_clients(state, view, config, node).is_none()).then_some(node)
    })
}

/// Whether a group waits for another one, be it through others: what it needs it does not push aside.
fn needs(state: &State, config: &GroupConfig, other: &GroupName) -> bool {
    let r = &config.relations;
    r.parent.iter().chain(&r.after).chain(&r.same_node_as).any(|before| {
        before == other || state.config.group(before).is_some_and(|config| needs(state, config, other))
    })
}

/// What is not as it should be with a group that runs, and moves nothing.
#[must_use]
pub fn warnings(state: &State, view: &View, name: &GroupName) -> Vec<String> {
    let (Some(config), Some(o)) = (state.definition(name), state.ownership(name)) else {
        return Vec::new();
    };
    let here = state.name_of(o.owner.node);
    let missing = missing_clients(state, view, config, o.owner.node).filter(|_| o.phase == Phase::Online);
    let text = |client: GroupName| {
        format!(
            "{client}, which it needs, is not online on {here}; it stays, because a move would break it for certain \
             (regent explain {client}@{here})"
        )
    };
    missing.map(text).into_iter().collect()
}
