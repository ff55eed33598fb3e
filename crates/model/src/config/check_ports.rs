//! Groups that can be on one node at once cannot both listen on a port of it, unless each keeps to its own addresses.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::check_instances::filesystem_of;
use super::claims::{Port, Protocol};
use super::draft::{Draft, GroupDraft};
use super::finding::{Finding, Findings, Span};
use super::{ApplicationConfig, GroupConfig, share};

impl GroupConfig {
    /// The ports that it listens on: by whom, which, and whether at its service addresses alone.
    pub fn ports(&self) -> impl Iterator<Item = (&str, Port, bool)> {
        let of = |a: &Arc<ApplicationConfig>| a.bind.is_some() || a.samba.is_some();
        let applications = self.applications.iter();
        let own =
            applications.flat_map(move |a| a.claims.ports.iter().map(move |p| (a.name.as_str(), *p, of(a))));
        let tcp = |number| Port { number, protocol: Protocol::Tcp };
        let instances = self.instances.iter().map(move |i| (i.name.as_str(), tcp(i.port), i.kind.is_bound()));
        own.chain(instances).chain(self.requires_ports.iter().map(|p| (self.name.as_str(), *p, false)))
    }
}

/// A port that a group listens on.
struct Wanted<'a> {
    group: &'a GroupDraft,
    port: Port,
    span: &'a Span,
    /// Whether it listens at the group's service addresses alone.
    is_bound: bool,
    is_instance: bool,
}

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let mut seen: Vec<Wanted<'_>> = Vec::new();
    for wanted in draft.groups.iter().flat_map(of_group).chain(of_instances(draft)) {
        if let Some(rival) = seen.iter().find(|other| other.clashes_with(&wanted)) {
            clash(rival, &wanted, findings);
        }
        seen.push(wanted);
    }
}

fn of_group(group: &GroupDraft) -> Vec<Wanted<'_>> {
    let wanted = |port, span, is_bound| Wanted { group, port, span, is_bound, is_instance: false };
    let applications = group.applications.iter();
    let claimed = applications.flat_map(|a| a.claims.ports.iter().map(move |at| (at, a.bind.is_some())));
    let all = claimed.chain(group.requires_ports.iter().map(|at| (at, false)));
    let shared = group.shares.first().map(|share| wanted(share::PORT, share.place(), true));
    all.map(|(at, is_bound)| wanted(at.value, &at.span, is_bound)).chain(shared).collect()
}

/// Two instances with one port are told of where instances are checked.
fn of_instances(draft: &Draft) -> impl Iterator<Item = Wanted<'_>> {
    draft.instances.iter().filter_map(|instance| {
        let (group, ..) = filesystem_of(draft, &instance.directory.as_ref()?.value)?;
        let at = instance.port.as_ref()?;
        let is_bound = instance.kind.as_ref().is_some_and(|kind| kind.value.is_bound());
        let port = Port { number: at.value, protocol: Protocol::Tcp };
        Some(Wanted { group, port, span: &at.span, is_bound, is_instance: true })
    })
}

impl Wanted<'_> {
    fn clashes_with(&self, other: &Self) -> bool {
        let each_its_own = self.is_bound && other.is_bound;
        // Said elsewhere.
        let both_instances = self.is_instance && other.is_instance;
        let one_group = std::ptr::eq(self.group, other.group);
        let may_share = each_its_own || both_instances || one_group;
        self.port == other.port && !may_share && meet(self.group, other.group)
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
