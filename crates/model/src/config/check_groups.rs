//! Checks of the groups: names, node lists, policies.

use super::check_members::{known_nodes, names_once};
use super::draft::{Draft, GroupDraft};
use super::finding::{Finding, Findings};
use super::{Failback, Failover, Startup};

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
        findings.add(
            Finding::error(&policy.span, "a group on all nodes at once is not possible yet")
                .help("write startup = \"home\", \"first-available\" or \"distribute\""),
        );
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

fn content(draft: &Draft, group: &GroupDraft, findings: &mut Findings) {
    if findings.broken_syntax {
        return;
    }
    if group.filesystems.is_empty() && group.addresses.is_empty() && group.applications.is_empty() {
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
        && draft.nodes.len() > 1
    {
        findings.add(
            Finding::warning(&nodes.span, format!("`{}` has one node: nobody takes it over", group.title()))
                .help("add a second node to the list"),
        );
    }
}

fn more_rotating_than_nodes(draft: &Draft, findings: &mut Findings) {
    let rotating: Vec<_> = draft
        .groups
        .iter()
        .filter_map(|g| Some((g, g.policy.as_ref()?)))
        .filter(|(_, p)| p.value.startup == Startup::Distribute)
        .collect();
    let nodes = draft.nodes.len();
    if nodes == 0 || findings.broken_syntax {
        return;
    }
    for (group, policy) in rotating.iter().skip(nodes) {
        let message = format!(
            "{} groups are distributed one per node over {nodes} nodes: `{}` may stay down",
            rotating.len(),
            group.title()
        );
        findings
            .add(Finding::warning(&policy.span, message).help(
                "add a node, or write startup = \"first-available\" for the groups that may share one",
            ));
    }
}
