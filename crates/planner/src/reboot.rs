//! Groups that were taken down and are released only by a reboot of their owner.

use regent_model::GroupName;
use regent_model::config::GroupConfig;
use regent_model::ids::{IncarnationOf, NodeName};
use regent_model::state::{Group, NodeMode, Phase, State, StopMode};

use crate::place::{Intent, Placement, best, kept_down, nowhere};
use crate::relations::{self, Look};
use crate::verdict::Verdict;
use crate::view::View;

/// What is to happen to a group whose owner is there and has it down.
pub(crate) fn place(
    state: &State,
    view: &View,
    group: &Group,
    config: &GroupConfig,
    owner: IncarnationOf,
    candidates: Vec<(NodeName, Verdict)>,
) -> Placement {
    let here = state.name_of(owner.node);
    let life = &state.lives[&owner.node];
    let rule = format!("its release is complete only after a reboot of {here}");
    if life.reboots {
        return Placement::of(Intent::Underway, rule, candidates);
    }
    if let Some(intent) = kept_down(group, &config.name).filter(|_| group.enabled) {
        return Placement::of(intent, "what is held stays as it is", candidates);
    }
    if !is_wanted(group) && !goes_on_here(state, group, config, owner, &candidates) {
        return Placement::of(Intent::Rest(rest(group, &config.name, &here)), rule, candidates);
    }
    if let Some((reason, advice)) = relations::waits(state, view, config, Look::Ahead) {
        return Placement::of(Intent::Waits { reason, advice }, rule, candidates);
    }
    match best(state, group, config, &candidates) {
        Some(to) if to == owner => {
            let rule = format!("{here} has it down, and is to have it again");
            Placement::of(Intent::Reacquire, rule, candidates)
        }
        Some(_) if let Some(other) = held_beside(state, owner) => {
            let intent = Intent::Blocked {
                reason: format!("{here} would be rebooted for that, and {other} runs there and is held"),
                advice: format!(
                    "regent group resume {other}, or move it first: regent group move {other} NODE"
                ),
            };
            Placement::of(intent, rule, candidates)
        }
        Some(_) => Placement::of(Intent::Reboot, rule, candidates),
        // It leaves, and comes back free of what it has left.
        None if life.mode == NodeMode::Stopping(StopMode::Takeover) => {
            Placement::of(Intent::Reboot, rule, candidates)
        }
        None => nowhere(group, config, candidates),
    }
}

/// A group that runs on a machine and is held: the machine is not rebooted for another one.
fn held_beside(state: &State, owner: IncarnationOf) -> Option<&GroupName> {
    let mut runs = state.owned_by(owner).filter(|(_, o)| o.phase != Phase::AwaitsReboot);
    runs.find(|(name, _)| state.hold_of(name).is_some()).map(|(name, _)| name)
}

/// Whether some node is to run it now.
pub(crate) fn is_wanted(group: &Group) -> bool {
    group.enabled && group.parked_on.is_none()
}

/// It went down with its node, and the node is back.
fn goes_on_here(
    state: &State,
    group: &Group,
    config: &GroupConfig,
    owner: IncarnationOf,
    candidates: &[(NodeName, Verdict)],
) -> bool {
    group.enabled
        && group.parked_on == Some(owner.node)
        && best(state, group, config, candidates) == Some(owner)
}

/// Why it rests, and what ends that.
pub(crate) fn rest(group: &Group, name: &GroupName, here: &str) -> String {
    let why = if group.enabled { "it went down gracefully with its node" } else { "disabled" };
    format!(
        "{why}; to run it: regent group enable {name}. \
         Before another node has it, {here} must have been rebooted"
    )
}
