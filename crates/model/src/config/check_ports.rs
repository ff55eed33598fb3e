//! Groups that can be on one node at once cannot both listen on a port of it, unless each keeps to its own addresses.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::claims::Port;
use super::draft::{Draft, GroupDraft};
use super::finding::{Finding, Findings, Span};
use super::{ApplicationConfig, GroupConfig};

impl GroupConfig {
    /// The ports that it listens on: by whom, which, and whether at its service addresses alone.
    pub fn ports(&self) -> impl Iterator<Item = (&str, Port, bool)> {
        let of = |a: &Arc<ApplicationConfig>| a.bind.is_some() || a.samba.is_some();
        let applications = self.applications.iter();
        let own =
            applications.flat_map(move |a| a.claims.ports.iter().map(move |p| (a.name.as_str(), *p, of(a))));
        own.chain(self.requires_ports.iter().map(|p| (self.name.as_str(), *p, false)))
    }
}

/// A port that a group listens on.
struct Wanted<'a> {
    group: &'a GroupDraft,
    port: Port,
    span: &'a Span,
    /// Whether it listens at the group's service addresses alone.
    is_bound: bool,
}

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let mut seen: Vec<Wanted<'_>> = Vec::new();
    for group in &draft.groups {
        let applications = group.applications.iter();
        let claimed = applications.flat_map(|a| a.claims.ports.iter().map(move |at| (at, a.bind.is_some())));
        for (at, is_bound) in claimed.chain(group.requires_ports.iter().map(|at| (at, false))) {
            let wanted = Wanted { group, port: at.value, span: &at.span, is_bound };
            let rival = seen.iter().find(|other| other.clashes_with(&wanted));
            if let Some(rival) = rival {
                clash(rival, &wanted, findings);
            }
            seen.push(wanted);
        }
    }
}

impl Wanted<'_> {
    fn clashes_with(&self, other: &Self) -> bool {
        self.port == other.port
            && !(self.is_bound && other.is_bound)
            && !std::ptr::eq(self.group, other.group)
            && meet(self.group, other.group)
    }
}

/// Whether two groups can be on one node at once.
pub(super) fn meet(one: &GroupDraft, other: &GroupDraft) -> bool {
    let apart = |a: &GroupDraft, b: &GroupDraft| {
        let name = b.name.as_ref().map(|n| &n.value);
        a.relations.different_node_from.iter().any(|d| Some(&d.value) == name)
    };
    let nodes: BTreeSet<&str> = one.node_names().map(|n| n.value.as_str()).collect();
    let share = other.node_names().any(|n| nodes.contains(n.value.as_str()));
    share && !apart(one, other) && !apart(other, one)
}

fn clash(first: &Wanted<'_>, second: &Wanted<'_>, findings: &mut Findings) {
    let (one, other) = (first.group.title(), second.group.title());
    let message =
        format!("`{one}` and `{other}` can be on one node, and both listen on {} of it", second.port);
    let help = format!(
        "give one of them another port; or have each listen at its own service address only: \
         bind = \"service-address\" in the applications of both; or keep them apart: different_node_from = [{one:?}]"
    );
    let finding = Finding::error(second.span, message).help(help);
    findings.add(finding.related(first.span, format!("`{one}` listens on it here")));
}
