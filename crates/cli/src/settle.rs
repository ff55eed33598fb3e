//! When an order has had its effect: pure judgement of one status.

use regent_api::{GroupStatus, Status};
use regent_model::{Epoch, GroupName, NodeName};

/// What was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The group runs: under a later epoch than this one if one is given, on this node if one is given.
    Online {
        /// Which group.
        group: GroupName,
        /// The epoch that must be over.
        after: Option<Epoch>,
        /// Where.
        on: Option<NodeName>,
    },
    /// The group is down and stays down.
    Disabled {
        /// Which group.
        group: GroupName,
    },
    /// All of these.
    Every(Vec<Wish>),
    /// The node has left.
    Stopped {
        /// Which node.
        node: NodeName,
        /// The groups that others have to take over.
        groups: Vec<GroupName>,
    },
    /// The member has left, and can be taken out.
    Left {
        /// Which.
        node: NodeName,
    },
    /// The node is in this state, and no group is on the way.
    Node {
        /// Which node.
        node: NodeName,
        /// `up` or `standby`.
        state: &'static str,
    },
    /// A configuration is in force, and every group is as well as it was, or better.
    Config {
        /// Its serial.
        serial: u64,
        /// The groups that were not well before.
        unwell: Vec<GroupName>,
    },
}

/// What one status says of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has its effect, in words.
    Settled(String),
    /// It is on the way; to what it waits for.
    Waiting(String),
    /// It will not have its effect by itself.
    Failed {
        /// Why.
        what: String,
        /// What to type.
        next: String,
    },
}

/// Whether a group needs a person.
#[must_use]
pub fn is_unwell(group: &GroupStatus) -> bool {
    matches!(group.state.as_str(), "blocked" | "failed" | "stuck" | "unmanaged")
}

/// Judges `status`.
#[must_use]
pub fn judge(wish: &Wish, status: &Status) -> Verdict {
    match wish {
        Wish::Online { group, after, on } => with(status, group, |g| online(g, *after, on.as_ref())),
        Wish::Disabled { group } => with(status, group, |g| match g.state.as_str() {
            "disabled" => Verdict::Settled(format!("{group} is down, and stays down")),
            _ if is_unwell(g) => failed(g),
            state => Verdict::Waiting(format!("{group} is {state}")),
        }),
        Wish::Every(wishes) => every(wishes, status),
        Wish::Left { node } => left(status, node),
        Wish::Stopped { node, groups } => stopped(status, node, groups),
        Wish::Node { node, state } => node_is(status, node, state),
        Wish::Config { serial, unwell } => config(status, *serial, unwell),
    }
}

/// What is still waited for comes before what is done, and what has failed before that.
fn every(wishes: &[Wish], status: &Status) -> Verdict {
    let verdicts: Vec<Verdict> = wishes.iter().map(|wish| judge(wish, status)).collect();
    let pick = |wanted: fn(&Verdict) -> bool| verdicts.iter().find(|v| wanted(v)).cloned();
    let open =
        pick(|v| matches!(v, Verdict::Failed { .. })).or_else(|| pick(|v| matches!(v, Verdict::Waiting(_))));
    let words = |v: &Verdict| if let Verdict::Settled(words) = v { Some(words.clone()) } else { None };
    open.unwrap_or_else(|| match verdicts.as_slice() {
        [] => Verdict::Settled("its nodes are not there: nothing is waited for".into()),
        done => Verdict::Settled(done.iter().filter_map(words).collect::<Vec<_>>().join("; ")),
    })
}

fn with(status: &Status, name: &GroupName, judge: impl Fn(&GroupStatus) -> Verdict) -> Verdict {
    status.groups.iter().find(|g| &g.name == name).map_or_else(
        || Verdict::Failed {
            what: format!("there is no group {name} any more"),
            next: "regent status".into(),
        },
        judge,
    )
}

fn failed(group: &GroupStatus) -> Verdict {
    let what = match &group.blocked {
        Some(reason) => format!("{} is {}: {reason}", group.name, group.state),
        None => format!("{} is {}", group.name, group.state),
    };
    let next = group.advice.clone().unwrap_or_else(|| format!("regent explain {}", group.name));
    Verdict::Failed { what, next }
}

fn online(group: &GroupStatus, after: Option<Epoch>, on: Option<&NodeName>) -> Verdict {
    let name = &group.name;
    let newer = after.is_none_or(|epoch| group.epoch > epoch);
    if is_unwell(group) {
        return failed(group);
    }
    match (&group.owner, group.state.as_str()) {
        (Some(owner), "online") if newer && on.is_none_or(|node| node == owner) => Verdict::Settled(format!(
            "{name} is online on {owner}, epoch {} ({})",
            group.epoch, group.proof_text
        )),
        (Some(owner), state) => Verdict::Waiting(format!("{name} is {state} on {owner}")),
        (None, state) => match &group.blocked {
            Some(reason) => Verdict::Waiting(format!("{name} is {state}: {reason}")),
            None => Verdict::Waiting(format!("{name} is {state}")),
        },
    }
}

fn left(status: &Status, node: &NodeName) -> Verdict {
    match status.leaving.iter().find(|l| &l.node == node) {
        Some(leaving) => match &leaving.waits {
            None => Verdict::Settled(format!("{node} has left")),
            Some(waits) => Verdict::Waiting(format!("{node}: {waits}")),
        },
        None => Verdict::Failed {
            what: format!("nobody wants {node} to leave any more"),
            next: "regent status".into(),
        },
    }
}

fn stopped(status: &Status, node: &NodeName, groups: &[GroupName]) -> Verdict {
    let Some(is) = status.nodes.iter().find(|n| &n.name == node) else {
        return Verdict::Failed {
            what: format!("there is no node {node} any more"),
            next: "regent status".into(),
        };
    };
    let mut there = Vec::new();
    for group in status.groups.iter().filter(|g| groups.contains(&g.name)) {
        match (&group.owner, group.state.as_str()) {
            (Some(owner), "online") if owner != node => {
                there.push(format!("{} is online on {owner}", group.name))
            }
            _ if is_unwell(group) => return failed(group),
            (Some(owner), state) => {
                return Verdict::Waiting(format!("{} is {state} on {owner}", group.name));
            }
            (None, state) => return Verdict::Waiting(format!("{} is {state}", group.name)),
        }
    }
    if is.state != "stopped" {
        return Verdict::Waiting(format!("{node} is {}", is.state));
    }
    there.insert(0, format!("{node} has left the cluster"));
    Verdict::Settled(there.join("; "))
}

fn node_is(status: &Status, node: &NodeName, wanted: &str) -> Verdict {
    let Some(is) = status.nodes.iter().find(|n| &n.name == node) else {
        return Verdict::Failed {
            what: format!("there is no node {node} any more"),
            next: "regent status".into(),
        };
    };
    if is.state != wanted {
        return Verdict::Waiting(format!("{node} is {}", is.state));
    }
    if let Some(group) = on_the_way(status) {
        return Verdict::Waiting(group);
    }
    let owned: Vec<&str> =
        status.groups.iter().filter(|g| g.owner.as_ref() == Some(node)).map(|g| g.name.as_str()).collect();
    let owns = if owned.is_empty() { "owns nothing".into() } else { format!("owns {}", owned.join(", ")) };
    let is = if wanted == "up" { "is up".to_owned() } else { format!("is on {wanted}") };
    Verdict::Settled(format!("{node} {is} and {owns}"))
}

fn on_the_way(status: &Status) -> Option<String> {
    let moving = |g: &&GroupStatus| matches!(g.state.as_str(), "acquiring" | "releasing");
    status.groups.iter().find(moving).map(|g| format!("{} is {}", g.name, g.state))
}

fn config(status: &Status, serial: u64, unwell: &[GroupName]) -> Verdict {
    if status.config_serial < serial {
        return Verdict::Waiting(format!("{} has configuration {}", status.node, status.config_serial));
    }
    if let Some(group) = status.groups.iter().find(|g| is_unwell(g) && !unwell.contains(&g.name)) {
        return failed(group);
    }
    let rests = |g: &GroupStatus| {
        matches!(g.state.as_str(), "online" | "disabled")
            || is_unwell(g)
            || (g.state == "offline" && g.blocked.is_some())
    };
    if let Some(group) = status.groups.iter().find(|g| !rests(g)) {
        return Verdict::Waiting(format!("{} is {}", group.name, group.state));
    }
    let online = status.groups.iter().filter(|g| g.state == "online").count();
    Verdict::Settled(format!(
        "configuration {} is in force; {online} of {} groups are online",
        status.config_serial,
        status.groups.len()
    ))
}
