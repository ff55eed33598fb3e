//! Checks of the groups: names, node lists, policies, and storage among them.

use std::path::Path;

use super::check_members::{known_nodes, names_once};
use super::draft::{Draft, FilesystemDraft, GroupDraft};
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
        nesting(group, findings);
    }
    more_rotating_than_nodes(draft, findings);
    let with_storage: Vec<_> = draft.groups.iter().filter(|g| !g.filesystems.is_empty()).collect();
    for (at, group) in with_storage.iter().enumerate() {
        for earlier in &with_storage[..at] {
            apart(earlier, group, findings);
        }
    }
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

/// Inside a group, mounts may nest when the outer one comes first.
fn nesting(group: &GroupDraft, findings: &mut Findings) {
    for (at, inner) in group.filesystems.iter().enumerate() {
        for earlier in &group.filesystems[..at] {
            same_device(earlier, inner, group, findings);
            let (Some(first), Some(second)) = (&earlier.mount, &inner.mount) else { continue };
            if first.value == second.value {
                findings.add(
                    Finding::error(
                        &second.span,
                        format!("{} is already a mount point", second.value.display()),
                    )
                    .help("mount each file system at a folder of its own")
                    .related(&first.span, "first mounted here"),
                );
            } else if inside(&first.value, &second.value) {
                let message = format!(
                    "{} is mounted over {}, which was mounted before it",
                    second.value.display(),
                    first.value.display()
                );
                findings.add(
                    Finding::error(&second.span, message)
                        .help("put the outer first: move this [[group.filesystem]] before the other")
                        .related(&first.span, "would be hidden"),
                );
            }
        }
    }
}

/// Whether `path` lies below `outer`.
fn inside(path: &Path, outer: &Path) -> bool {
    path != outer && path.starts_with(outer)
}

fn same_device(
    first: &FilesystemDraft,
    second: &FilesystemDraft,
    owner: &GroupDraft,
    findings: &mut Findings,
) {
    let (Some(first), Some(second)) = (&first.device, &second.device) else { return };
    if first.value == second.value {
        let message = format!("{} is already a device of `{}`", second.value.display(), owner.title());
        findings.add(
            Finding::error(&second.span, message)
                .help("a device belongs to one group, once: two mounts of it would destroy the data")
                .related(&first.span, "first used here"),
        );
    }
}

/// Between groups nothing may overlap: they can be on different nodes, or be released one without the other.
fn apart(earlier: &GroupDraft, group: &GroupDraft, findings: &mut Findings) {
    for first in &earlier.filesystems {
        for second in &group.filesystems {
            same_device(first, second, earlier, findings);
            let (Some(a), Some(b)) = (&first.mount, &second.mount) else { continue };
            let (here, there) = (b.value.display(), a.value.display());
            let owner = earlier.title();
            let message = if a.value == b.value {
                format!("{here} is already the mount point of a file system of `{owner}`")
            } else if inside(&b.value, &a.value) {
                format!("{here} lies inside {there}, a mount of `{owner}`")
            } else if inside(&a.value, &b.value) {
                format!("{here} would hide {there}, a mount of `{owner}`")
            } else {
                continue;
            };
            findings.add(
                Finding::error(&b.span, message)
                    .help("groups move apart from each other: mount it elsewhere, or make them one group")
                    .related(&a.span, format!("mounted by `{owner}`")),
            );
        }
    }
}
