//! Checks of the groups: names, node lists, policies.

use std::collections::BTreeMap;

use super::check_members::{known_nodes, names_once};
use super::draft::{Draft, GroupDraft};
use super::finding::{Finding, Findings};
use super::tree::At;
use super::{Failback, Failover, Policy, Startup};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    names_once("group", draft.groups.iter().filter_map(|g| g.name.as_ref()), findings);
    for group in &draft.groups {
        if let Some(nodes) = &group.nodes {
            known_nodes("nodes", nodes, draft, findings);
        }
        names_once(&format!("resource of `{}`", group.title()), group.resource_names(), findings);
        policy(group, findings);
        content(draft, group, findings);
    }
    more_rotating_than_nodes(draft, findings);
}

fn policy(group: &GroupDraft, findings: &mut Findings) {
    let Some(policy) = &group.policy else { return };
    if policy.value.startup == Startup::Distribute && group.addresses.is_empty() {
        let finding = Finding::error(
            &policy.span,
            format!("`{}` is spread over the nodes by its address, and has none", group.title()),
        )
        .help(
            "a rotating group is bound to its shared service address: add a [[group.address]], or write \
             policy = \"cascading\"",
        );
        findings.add_missing(finding);
    }
    if policy.value.startup == Startup::All {
        concurrent(group, policy, findings);
    }
    if policy.value.failover == Failover::Stay && policy.value.failback == Failback::Home {
        findings.add(
            Finding::warning(
                &policy.span,
                "`failover = \"stay\"`: the group goes back only after a move by hand",
            )
            .help("write failback = \"never\" if it shall stay where it was moved to"),
        );
    }
}

/// What runs on every node at once can have nothing that only one may have.
fn concurrent(group: &GroupDraft, policy: &At<Policy>, findings: &mut Findings) {
    if policy.value != Policy::CONCURRENT {
        let message = format!("`{}` starts on all nodes at once, so it has nowhere to go", group.title());
        findings.add(Finding::error(&policy.span, message).help(
            "write policy = \"concurrent\": startup all, failover stay, failback never; or another startup",
        ));
        return;
    }
    let addresses = group.addresses.iter().map(|a| ("an address", a.address.as_ref().map(|at| &at.span)));
    let disks = group.filesystems.iter().map(|f| ("a file system", f.mount.as_ref().map(|at| &at.span)));
    let volumes = group.volumes.iter().map(|v| ("a volume", v.vg.as_ref().map(|at| &at.span)));
    for (what, span) in addresses.chain(volumes).chain(disks) {
        let message = format!("`{}` runs on every node at once and cannot hold {what}", group.title());
        let finding = Finding::error(span.unwrap_or(group.place()), message)
            .help(format!(
                "{what} has one owner at a time: put it into a group of its own, cascading or rotating; a \
                 concurrent group holds applications"
            ))
            .related(&policy.span, "on all nodes because of this");
        findings.add(finding);
    }
}

fn content(draft: &Draft, group: &GroupDraft, findings: &mut Findings) {
    if findings.broken_syntax {
        return;
    }
    let storage = group.volumes.len() + group.filesystems.len();
    if storage + group.addresses.len() + group.applications.len() == 0 {
        findings.add(
            Finding::warning(
                group.place(),
                format!("`{}` holds nothing that could be taken over", group.title()),
            )
            .help("add a [[group.filesystem]], [[group.address]] or [[group.application]] below it"),
        );
    }
    if let Some(nodes) = &group.nodes
        && nodes.value.len() == 1
        && !group.is_concurrent()
        && draft.nodes.len() > 1
    {
        findings.add(
            Finding::warning(&nodes.span, format!("`{}` has one node: nobody takes it over", group.title()))
                .help("add a second node to the list"),
        );
    }
}

/// One rotating group per node and network: the network is the subnet of its address.
fn more_rotating_than_nodes(draft: &Draft, findings: &mut Findings) {
    let nodes = draft.nodes.len();
    if nodes == 0 || findings.broken_syntax {
        return;
    }
    let mut seen = BTreeMap::new();
    for group in &draft.groups {
        let Some(policy) = group.policy.as_ref().filter(|p| p.value.startup == Startup::Distribute) else {
            continue;
        };
        for network in group.networks() {
            let count = seen.entry(network.clone()).or_insert(0_usize);
            *count += 1;
            if *count > nodes {
                let message = format!(
                    "{count} groups are distributed one per node over {nodes} nodes on {network}: `{}` may stay \
                     down",
                    group.title()
                );
                findings.add(Finding::warning(&policy.span, message).help(
                    "add a node, or write startup = \"first-available\" for the groups that may share one",
                ));
            }
        }
    }
}
