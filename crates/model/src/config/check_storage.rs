//! Checks of storage: inside a group, where mounts may nest, and between groups, where nothing may overlap.

use std::path::Path;

use super::draft::{Draft, FilesystemDraft, GroupDraft, Place};
use super::finding::{Finding, Findings};
use super::storage;

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        same_inside(group, findings);
        each_nodes_own(group, findings);
        folders(group, findings);
        circles(group, findings);
        prepared(group, findings);
    }
    let with_storage: Vec<_> = draft.groups.iter().filter(|g| !g.filesystems.is_empty()).collect();
    for (at, group) in with_storage.iter().enumerate() {
        for earlier in &with_storage[..at] {
            apart(earlier, group, findings);
        }
    }
}

/// Inside a group mounts may nest, in any order of the file, but nothing may be there twice.
fn same_inside(group: &GroupDraft, findings: &mut Findings) {
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
            }
        }
    }
}

/// A node-local file system has a device on every node of the group, and on no other.
fn each_nodes_own(group: &GroupDraft, findings: &mut Findings) {
    let Some(nodes) = &group.nodes else { return };
    for filesystem in &group.filesystems {
        let Some(Place::Local(devices)) = &filesystem.place else { continue };
        for (node, _) in &devices.value {
            if !nodes.value.iter().any(|n| n.value == node.value) {
                let message = format!("`{}` is no node of `{}`", node.value.escape_debug(), group.title());
                findings.add(
                    Finding::error(&node.span, message)
                        .help("name the nodes of the group's `nodes`, each with its own device")
                        .related(&nodes.span, "the group's nodes"),
                );
            }
        }
        let has = |node: &str| devices.value.iter().any(|(named, _)| named.value == node);
        let bare: Vec<_> = nodes.value.iter().map(|n| n.value.as_str()).filter(|n| !has(n)).collect();
        if !bare.is_empty() {
            let examples: Vec<_> = bare.iter().map(|n| format!("{n} = \"/dev/sdb1\"")).collect();
            let message = format!("`devices` gives none for {}: it could not mount there", bare.join(", "));
            findings.add(Finding::error(&devices.span, message).help(format!("add {}", examples.join(", "))));
        }
    }
}

/// A folder that is put elsewhere must come from a file system of the same group.
fn folders(group: &GroupDraft, findings: &mut Findings) {
    for filesystem in &group.filesystems {
        let Some(folder) = filesystem.folder() else { continue };
        let others = group.filesystems.iter().filter(|other| !std::ptr::eq(*other, filesystem));
        let held = others.filter_map(|o| o.mount.as_ref()).any(|m| folder.value.starts_with(&m.value));
        let unreadable = group.filesystems.iter().any(|f| f.mount.is_none());
        if !held && !unreadable {
            let message =
                format!("{} lies on none of the file systems of `{}`", folder.value.display(), group.title());
            findings.add(Finding::error(&folder.span, message).help(
                "a bind mount shows a folder of one of the group's file systems: write a folder below one of \
                 their mount points",
            ));
        }
    }
}

/// Nothing can be mounted that stands, in the end, on itself.
fn circles(group: &GroupDraft, findings: &mut Findings) {
    let readable: Vec<_> = group
        .filesystems
        .iter()
        .filter_map(|f| Some((f.mount.as_ref()?, f.folder().map(|folder| folder.value.as_path()))))
        .collect();
    if let Some((mount, _)) = readable.iter().find(|(m, shows)| *shows == Some(m.value.as_path())) {
        let message = format!("{} is put where it is already", mount.value.display());
        findings.add(Finding::error(&mount.span, message).help("write another `mount`, or delete it"));
        return;
    }
    let needs = |(mount, shows): &(&super::tree::At<std::path::PathBuf>, Option<&Path>),
                 (outer, _): &(&super::tree::At<std::path::PathBuf>, Option<&Path>)| {
        storage::stands_on(&mount.value, *shows, &outer.value)
    };
    let order = storage::order(&readable, needs);
    for (place, at) in order.iter().enumerate() {
        let one = &readable[*at];
        if let Some(later) = order[place + 1..].iter().map(|o| &readable[*o]).find(|o| needs(one, o)) {
            let message = format!(
                "{} can be mounted only after {}, and that only after it",
                one.0.value.display(),
                later.0.value.display()
            );
            findings.add(
                Finding::error(&one.0.span, message)
                    .help("mount one of them elsewhere")
                    .related(&later.0.span, "each waits for the other"),
            );
            return;
        }
    }
}

/// What a node is prepared with lies on the node: on the group's file systems it would be there only while they are.
fn prepared(group: &GroupDraft, findings: &mut Findings) {
    for (path, span) in &group.prepare.paths {
        let mounts = group.filesystems.iter().filter_map(|f| f.mount.as_ref());
        if let Some(mount) = mounts.into_iter().find(|m| inside(path, &m.value)) {
            let message = format!("{} lies on a file system of the group, not on the nodes", path.display());
            findings.add(
                Finding::error(span, message)
                    .help("delete it here, and make it once where the group runs; it moves with the group")
                    .related(&mount.span, "mounted here"),
            );
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
    for (node, device) in second.devices() {
        let used = first.devices().into_iter().find(|(other_node, other)| {
            other.value == device.value && (node.is_none() || other_node.is_none() || node == *other_node)
        });
        if let Some((_, used)) = used {
            let message = format!("{} is already a device of `{}`", device.value.display(), owner.title());
            findings.add(
                Finding::error(&device.span, message)
                    .help("a device belongs to one group, once: two mounts of it would destroy the data")
                    .related(&used.span, "first used here"),
            );
        }
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
