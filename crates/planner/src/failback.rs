//! When a group goes back to a better node, and when it waits for its home node.

use std::time::Duration;

use regent_model::config::{Failback, GroupConfig, Startup};
use regent_model::ids::{IncarnationOf, NodeName};
use regent_model::proof::Proof;
use regent_model::state::{Group, State};

use crate::verdict::{Verdict, Why};
use crate::view::View;

/// Whether a group goes back to a node that is better than its own.
pub(crate) enum Back {
    /// Now.
    Now,
    /// Not now; when, in words.
    Later(String),
}

/// When a group goes back to `to`, which is better than its owner and could have it.
pub(crate) fn back(
    state: &State,
    view: &View,
    group: &Group,
    config: &GroupConfig,
    to: IncarnationOf,
) -> Back {
    let there = state.name_of(to.node);
    if config.policy.failback == Failback::Never {
        return Back::Later(format!("{there} is better, but its policy never fails back"));
    }
    if config.policy.failback == Failback::Join && group.joined_home != Some(to) {
        let home = config.nodes.first().map_or_else(String::new, ToString::to_string);
        return Back::Later(format!(
            "it goes to its home node {home} only at the moment when that joins the cluster"
        ));
    }
    let up = view.heard_for.get(&to).copied().unwrap_or(Duration::ZERO);
    if up < config.failback.after {
        return Back::Later(format!(
            "it goes back to {there} when that has been up for {}, in {}",
            whole_seconds(config.failback.after),
            whole_seconds(config.failback.after - up)
        ));
    }
    let Some(at) = config.failback.at.as_ref().filter(|_| config.policy.failback != Failback::Join) else {
        return Back::Now;
    };
    if state.past_dates.contains(&config.name) {
        return Back::Now;
    }
    match view.local {
        Some(now) if at.is_due(now) => Back::Now,
        Some(now) => Back::Later(at.next_after(now).map_or_else(
            || {
                let last = group.last_owner.map(|node| state.name_of(node)).unwrap_or_default();
                format!(
                    "it was to go back to {there} on {at}, which is past: it stays on {last} until it is moved \
                     (regent group move {} {there})",
                    config.name
                )
            },
            |next| format!("it goes back to {there} on {next}, local time of the leader ({at})"),
        )),
        None => Back::Later(format!("it goes back to {there} {at}; the leader does not know its local time yet")),
    }
}

/// A duration without what changes at every look.
fn whole_seconds(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s} s"),
        (m, 0) => format!("{m} m"),
        (m, s) => format!("{m} m {s} s"),
    }
}

/// Whether a group waits for its home node, after the whole cluster was down: the home node and how long at most.
pub(crate) fn waits_for_home(
    view: &View,
    group: &Group,
    config: &GroupConfig,
    proof: &Proof,
    candidates: &[(NodeName, Verdict)],
) -> Option<(NodeName, String)> {
    let left = view.settling?;
    let (home, verdict) = candidates.first()?;
    let may_come = matches!(verdict, Verdict::Unfit(Why::Down | Why::Silent | Why::NoMember));
    let waits = config.policy.startup == Startup::FirstAvailable
        && group.moved_to.is_none()
        && config.relations.same_node_as.is_none();
    (waits && may_come && was_down(view, group, proof)).then(|| (home.clone(), whole_seconds(left)))
}

/// Whether the group is down because the whole cluster was: it did not run yet, its owner came back before anybody
/// could prove its end, or its owner's end was proven by a leader that never heard it alive.
fn was_down(view: &View, group: &Group, proof: &Proof) -> bool {
    match proof {
        _ if !group.started => true,
        Proof::Rebooted { .. } => true,
        Proof::LeaseEnded { promises } => promises.iter().any(|p| !view.met.contains(&p.about)),
        _ => false,
    }
}
