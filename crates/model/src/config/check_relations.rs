//! Checks of what groups have to do with each other: known names, no circles, nothing that excludes itself.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Draft, GroupDraft};
use super::finding::{Finding, Findings};
use super::relations::LEVELS_MAX;
use super::tree::At;
use super::{Startup, spelling};

/// A key of a group that names another one.
struct Edge<'a> {
    key: &'static str,
    to: &'a At<String>,
}

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let groups: BTreeMap<&str, &GroupDraft> =
        draft.groups.iter().filter_map(|g| Some((g.name.as_ref()?.value.as_str(), g))).collect();
    for group in &draft.groups {
        for edge in edges(group) {
            known(&groups, group, &edge, findings);
        }
        if group.is_concurrent() {
            bound_nowhere(group, findings);
        }
        levels(&groups, group, findings);
        same_and_different(&groups, group, findings);
        meet_clients(&groups, group, findings);
    }
    circles(&groups, draft, findings);
    idle_priority(draft, findings);
}

fn edges(group: &GroupDraft) -> Vec<Edge<'_>> {
    let r = &group.relations;
    let edge = |key| move |to| Edge { key, to };
    let mut all: Vec<Edge<'_>> = r.parent.iter().map(edge("parent")).collect();
    all.extend(r.after.iter().map(edge("after")));
    all.extend(r.same_node_as.iter().map(edge("same_node_as")));
    all.extend(r.different_node_from.iter().map(edge("different_node_from")));
    all.extend(group.clients().map(edge("clients")));
    all
}

fn known(groups: &BTreeMap<&str, &GroupDraft>, group: &GroupDraft, edge: &Edge<'_>, findings: &mut Findings) {
    let Edge { key, to } = edge;
    let name = to.value.as_str();
    if group.name.as_ref().is_some_and(|n| n.value == name) {
        let finding = Finding::error(&to.span, format!("`{key}` names the group itself"))
            .help(format!("name another group, or delete `{key}`"));
        findings.add(finding);
        return;
    }
    let Some(other) = groups.get(name) else {
        let names: Vec<&str> = groups.keys().copied().filter(|n| *n != group.title()).collect();
        let help = match spelling::nearest(name, &names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if names.is_empty() => "there is no other [[group]] in this file".to_owned(),
            None => format!("the other groups are {}", names.join(", ")),
        };
        let message = format!("there is no group `{}`", name.escape_debug());
        findings.add(Finding::error(&to.span, message).help(help));
        return;
    };
    let place = other.policy.as_ref().map_or(other.place(), |p| &p.span);
    if *key == "clients" && !other.is_concurrent() {
        let message = format!("`clients` names `{name}`, which is not on every node: it is not concurrent");
        findings.add(
            Finding::error(&to.span, message)
                .help(format!(
                    "for a group that runs on one node write parent = \"{name}\" above, in the group"
                ))
                .related(place, "its policy"),
        );
    }
    if *key != "clients" && other.is_concurrent() {
        let message = format!("`{key}` names `{name}`, which runs on every node at once");
        findings.add(
            Finding::error(&to.span, message)
                .help(format!("write clients = [\"{name}\"] in the application that needs it"))
                .related(place, "concurrent here"),
        );
    }
}

/// A concurrent group is where its list says, whoever else is there.
fn bound_nowhere(group: &GroupDraft, findings: &mut Findings) {
    let r = &group.relations;
    let same = r.same_node_as.iter().map(|at| ("same_node_as", at));
    let different = r.different_node_from.iter().map(|at| ("different_node_from", at));
    for (key, at) in same.chain(different) {
        let message =
            format!("`{}` runs on every node of its list: `{key}` cannot change that", group.title());
        findings.add(Finding::error(&at.span, message).help(format!("delete `{key}`")));
    }
}

/// At most three levels of parents and children.
fn levels(groups: &BTreeMap<&str, &GroupDraft>, group: &GroupDraft, findings: &mut Findings) {
    let Some(parent) = &group.relations.parent else { return };
    let mut chain = vec![group.title(), parent.value.as_str()];
    while let Some(next) =
        groups.get(chain[chain.len() - 1]).and_then(|g| g.relations.parent.as_ref()).map(|p| p.value.as_str())
    {
        // A circle is told as such.
        if chain.contains(&next) {
            return;
        }
        chain.push(next);
    }
    // Told once, where the chain becomes too long.
    if chain.len() == LEVELS_MAX + 1 {
        chain.reverse();
        let message = format!("{} levels of parents: {}", chain.len(), chain.join(" > "));
        findings.add(
            Finding::error(&parent.span, message)
                .help(format!("at most {LEVELS_MAX} levels; write after = [\"{}\"] instead", parent.value)),
        );
    }
}

fn same_and_different(groups: &BTreeMap<&str, &GroupDraft>, group: &GroupDraft, findings: &mut Findings) {
    let Some(same) = &group.relations.same_node_as else { return };
    let Some(other) = groups.get(same.value.as_str()) else { return };
    let apart = |a: &GroupDraft, b: &GroupDraft| {
        a.relations.different_node_from.iter().find(|n| n.value == b.title()).map(|n| n.span.clone())
    };
    if let Some(span) = apart(group, other).or_else(|| apart(other, group)) {
        let message = format!(
            "`{}` cannot be on the same node as `{}` and on a different one",
            group.title(),
            same.value
        );
        findings.add(
            Finding::error(&same.span, message)
                .help("delete `same_node_as` or `different_node_from`")
                .related(&span, "a different node is asked for here"),
        );
    }
    let (mine, theirs) = (nodes(group), nodes(other));
    if mine.is_empty() || theirs.is_empty() {
        return;
    }
    let missing: Vec<&str> = theirs.difference(&mine).copied().collect();
    if mine.is_disjoint(&theirs) {
        let message = format!("`{}` and `{}` have no node in common", group.title(), same.value);
        findings.add(Finding::error(&same.span, message).help(format!(
            "add a node of `{}` to the nodes of `{}`",
            same.value,
            group.title()
        )));
    } else if !missing.is_empty() {
        let message = format!(
            "`{}` may run on {}, where `{}` cannot follow it",
            same.value,
            missing.join(", "),
            group.title()
        );
        findings.add(Finding::warning(&same.span, message).help(format!(
            "add {} to the nodes of `{}`",
            missing.join(", "),
            group.title()
        )));
    }
    let rotates = |g: &GroupDraft| g.policy.as_ref().is_some_and(|p| p.value.startup == Startup::Distribute);
    if rotates(group) && rotates(other) && !group.networks().is_disjoint(&other.networks()) {
        let message = format!(
            "`{}` and `{}` are both rotating on one network: that is one per node",
            group.title(),
            same.value
        );
        findings.add(
            Finding::error(&same.span, message).help("make one group of them, or delete `same_node_as`"),
        );
    }
}

fn nodes(group: &GroupDraft) -> BTreeSet<&str> {
    group.node_names().map(|n| n.value.as_str()).collect()
}

/// A group is acquired only where its clients can be.
fn meet_clients(groups: &BTreeMap<&str, &GroupDraft>, group: &GroupDraft, findings: &mut Findings) {
    let mine = nodes(group);
    for client in group.clients() {
        let Some(other) = groups.get(client.value.as_str()).filter(|o| o.is_concurrent()) else { continue };
        let theirs = nodes(other);
        let missing: Vec<&str> = mine.difference(&theirs).copied().collect();
        if missing.is_empty() || theirs.is_empty() {
            continue;
        }
        let message = format!(
            "`{}` never runs on {}, so `{}` is never acquired there",
            client.value,
            missing.join(", "),
            group.title()
        );
        let finding = if mine.is_disjoint(&theirs) {
            Finding::error(&client.span, message)
        } else {
            Finding::warning(&client.span, message)
        };
        findings.add(finding.help(format!("add {} to the nodes of `{}`", missing.join(", "), client.value)));
    }
}

/// Groups that wait for each other would wait for ever. Told once per circle, at its last group of the file.
fn circles(groups: &BTreeMap<&str, &GroupDraft>, draft: &Draft, findings: &mut Findings) {
    let mut told: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
    for group in draft.groups.iter().rev() {
        for edge in edges(group).into_iter().filter(|e| e.key != "different_node_from") {
            let Some(way) = way(groups, edge.to.value.as_str(), group.title()) else { continue };
            if way.len() < 2 || !told.insert(way.iter().copied().collect()) {
                continue;
            }
            let mut names = vec![group.title()];
            names.extend(way);
            let message = format!("these groups wait for each other: {}", names.join(" > "));
            findings.add(
                Finding::error(&edge.to.span, message)
                    .help(format!("delete `{}` here, or the one that leads back", edge.key)),
            );
        }
    }
}

/// The shortest way from one group to another, both included, along everything that makes one wait for another.
fn way<'a>(groups: &BTreeMap<&'a str, &'a GroupDraft>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![from]];
    let mut seen = BTreeSet::from([from]);
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way[way.len() - 1];
            if last == to {
                return Some(way);
            }
            let Some(group) = groups.get(last) else { continue };
            for edge in edges(group).into_iter().filter(|e| e.key != "different_node_from") {
                if seen.insert(edge.to.value.as_str()) {
                    let mut next = way.clone();
                    next.push(edge.to.value.as_str());
                    longer.push(next);
                }
            }
        }
        ways = longer;
    }
    None
}

fn idle_priority(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        let Some(priority) = &group.relations.priority else { continue };
        let named = |g: &GroupDraft| g.relations.different_node_from.iter().any(|n| n.value == group.title());
        if group.relations.different_node_from.is_empty() && !draft.groups.iter().any(named) {
            let finding = Finding::warning(&priority.span, "`priority` decides nothing here").help(
                "it says who keeps a node among groups that share none: write different_node_from = [\"...\"], \
                 or delete it",
            );
            findings.add(finding);
        }
    }
}
