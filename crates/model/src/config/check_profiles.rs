//! Checks of what applications say they are: their order, where their state and caches lie, and mutual takeover.

use std::path::Path;

use super::draft::{ApplicationDraft, Draft, FilesystemDraft, GroupDraft, Place};
use super::finding::{Finding, Findings, Span};
use super::profile::said_by;
use super::tree::At;
use super::{Role, Startup};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        for (at, application) in group.applications.iter().enumerate() {
            order(group, at, application, findings);
            state(group, application, findings);
            cache(group, application, findings);
        }
        for other in &draft.groups {
            if mutual(group, other) {
                mutual_takeover(group, other, findings);
                break;
            }
        }
    }
}

fn title(application: &ApplicationDraft) -> &str {
    application.name.as_ref().map_or("this application", |n| &n.value)
}

/// Applications start in the order of the file; one that needs another comes after it.
fn order(group: &GroupDraft, at: usize, application: &ApplicationDraft, findings: &mut Findings) {
    let is_called = |other: &ApplicationDraft, name: &str| {
        let names = [&other.name, &other.claims.profile];
        names.into_iter().flatten().any(|n| n.value == name)
    };
    for wanted in &application.claims.after {
        let others = group.applications.iter().enumerate().filter(|(o, _)| *o != at);
        let found: Vec<_> = others.filter(|(_, o)| is_called(o, &wanted.value)).collect();
        let finding = match found.first() {
            None => Finding::error(
                &wanted.span,
                format!(
                    "`{}` starts after `{}`, and `{}` has none",
                    title(application),
                    wanted.value,
                    group.title()
                ),
            )
            .help(format!(
                "add a [[group.application]] with profile = \"{0}\" (or name = \"{0}\") above this one; if it \
                 runs outside the cluster, write after = [] here",
                wanted.value
            )),
            Some((o, other)) if *o > at => {
                let place = other.name.as_ref().map_or(&group.header, |n| &n.span);
                Finding::error(
                    &wanted.span,
                    format!(
                        "`{}` starts after `{}`, and stands before it",
                        title(application),
                        title(other)
                    ),
                )
                .help("applications start in the order of the file: move this one below the other")
                .related(place, "must start first")
            }
            Some(_) => continue,
        };
        findings.add_missing(finding);
    }
}

/// What a path lies on.
enum LiesOn {
    Shared,
    Local,
    /// None of the group's file systems.
    Nothing,
    /// A file system that could not be read.
    Unknown,
}

/// The file system of the group that holds `path`; folders that are put elsewhere are followed to where they come
/// from.
fn holder<'a>(group: &'a GroupDraft, path: &Path) -> (LiesOn, Option<&'a FilesystemDraft>) {
    let mut path = path.to_owned();
    for _ in 0..=group.filesystems.len() {
        let holding = group.filesystems.iter().filter_map(|f| Some((f, &f.mount.as_ref()?.value)));
        let innermost = holding
            .filter(|(_, mount)| path.starts_with(mount))
            .max_by_key(|(_, mount)| mount.components().count());
        let Some((filesystem, mount)) = innermost else { return (LiesOn::Nothing, None) };
        match &filesystem.place {
            Some(Place::Shared(_)) => return (LiesOn::Shared, Some(filesystem)),
            Some(Place::Local(_)) => return (LiesOn::Local, Some(filesystem)),
            Some(Place::Folder(folder)) => {
                let rest = path.strip_prefix(mount).map(Path::to_owned).unwrap_or_default();
                path = folder.value.join(rest);
            }
            None => return (LiesOn::Unknown, None),
        }
    }
    (LiesOn::Unknown, None)
}

fn listed(paths: &[&At<std::path::PathBuf>]) -> String {
    paths.iter().map(|p| p.value.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The state of what is taken over must be where the next node finds it.
fn state(group: &GroupDraft, application: &ApplicationDraft, findings: &mut Findings) {
    let claims = &application.claims;
    if claims.role.as_ref().is_some_and(|r| r.value == Role::Client) {
        return;
    }
    let mut told: Vec<&Span> = Vec::new();
    for path in &claims.state {
        if told.contains(&&path.span) {
            continue;
        }
        told.push(&path.span);
        // What a profile brings along stands, all of it, where the profile is named: one finding.
        let missing: Vec<_> = claims
            .state
            .iter()
            .filter(|p| p.span == path.span)
            .filter(|p| matches!(holder(group, &p.value).0, LiesOn::Local | LiesOn::Nothing))
            .collect();
        let Some(first) = missing.first() else { continue };
        let said = said_by(&path.span, claims.profile.as_ref());
        let who = said.map_or_else(
            || format!("`{}` keeps its state in", title(application)),
            |profile| format!("a server of the profile `{profile}` keeps its state in"),
        );
        let message =
            format!("{who} {}, which is on no shared file system of `{}`", listed(&missing), group.title());
        let mut finding = Finding::error(&path.span, message).help(format!(
            "the next node would start with another state, or none: add a [[group.filesystem]] with mount = \
             \"{0}\", or put a folder of one there (type = \"bind\", mount = \"{0}\"); where the state lies \
             elsewhere, write state = [...] in the application; for a client, role = \"client\"",
            first.value.display()
        ));
        if let (LiesOn::Local, Some(f)) = holder(group, &first.value)
            && let Some(mount) = &f.mount
        {
            finding = finding.related(&mount.span, "each node has its own here");
        }
        findings.add_missing(finding);
    }
}

/// A cache is written by the node that has it, without asking anybody: two nodes' caches are two.
fn cache(group: &GroupDraft, application: &ApplicationDraft, findings: &mut Findings) {
    for path in &application.claims.cache {
        let (LiesOn::Shared, filesystem) = holder(group, &path.value) else { continue };
        let example: Vec<_> =
            group.node_names().map(|node| format!("{} = \"/dev/sdb1\"", node.value)).collect();
        let message = format!(
            "the cache of `{}` in {} lies on shared storage, where the next node would take it for its own",
            title(application),
            path.value.display()
        );
        let mut finding = Finding::error(&path.span, message).help(format!(
            "give each node its own: add a [[group.filesystem]] with local = true, mount = \"{}\", devices = {{ \
             {} }}; or write cache = [...] with a path that is not on the group's shared file systems",
            path.value.display(),
            example.join(", ")
        ));
        if let Some(mount) = filesystem.and_then(|f| f.mount.as_ref()) {
            finding = finding.related(&mount.span, "it lies on this one");
        }
        findings.add(finding);
    }
}

/// Whether the two groups take over each other: each has its own home, and the other's home is in its list.
fn mutual(one: &GroupDraft, other: &GroupDraft) -> bool {
    let spread = |g: &GroupDraft| {
        g.policy.as_ref().is_some_and(|p| matches!(p.value.startup, Startup::All | Startup::Distribute))
    };
    if spread(one) || spread(other) {
        return false;
    }
    let home = |g: &GroupDraft| g.node_names().next().map(|n| n.value.clone());
    let (Some(here), Some(there)) = (home(one), home(other)) else { return false };
    let has = |g: &GroupDraft, node: &str| g.node_names().any(|n| n.value == node);
    here != there && has(one, &there) && has(other, &here)
}

fn mutual_takeover(group: &GroupDraft, other: &GroupDraft, findings: &mut Findings) {
    let crossed = format!("`{}` and `{}` take over each other", group.title(), other.title());
    for application in &group.applications {
        let claims = &application.claims;
        let who = title(application);
        let (span, message, help) = match (&claims.role, &claims.no_mutual_takeover) {
            (Some(role), _) if role.value == Role::Server => (
                &role.span,
                format!("`{who}` is a server, and {crossed}: servers cannot live under mutual takeover"),
                "both nodes are then at work with services of their own, and after a takeover one node would \
                 have to be two hosts of the same kind. Run servers as hot standby or with one-sided takeover \
                 (let only one group's `nodes` name both), and under mutual takeover only applications, with \
                 clients on both nodes",
            ),
            (Some(role), _) => (
                &role.span,
                format!("`{who}` is a client, and {crossed}: clients are nothing to take over there"),
                "clients run on both nodes and stay: put it into a group of its own with policy = \
                 \"concurrent\", and let the applications that use it say clients = [\"that group\"]",
            ),
            (None, Some(span)) => (
                span,
                format!("`{who}` says that it cannot live under mutual takeover, and {crossed}"),
                "let only one of the groups name both nodes, or delete the word from `conflicts`",
            ),
            (None, None) => continue,
        };
        let mut finding = Finding::error(span, message).help(help);
        if let Some(nodes) = &other.nodes {
            finding = finding.related(&nodes.span, "crossed with the nodes of this group");
        }
        findings.add(finding);
    }
}
