//! Checks of watchdog devices: who needs one, and whether the lease leaves it the time to fire.

use super::draft::{Draft, GroupDraft};
use super::finding::{Finding, Findings};
use super::scalar::duration_text;
use crate::proof::Need;
use crate::watchdog::{fits, shortest_lease, timeout_wanted};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for group in draft.groups.iter().filter(|g| g.needs.contains(&Need::Watchdog)) {
        beside_a_lease(group, findings);
        if !findings.broken_syntax {
            one_on_each_node(draft, group, findings);
        }
    }
    lease_is_long_enough(draft, findings);
}

/// A watchdog enforces the end of a lease, and says nothing by itself.
fn beside_a_lease(group: &GroupDraft, findings: &mut Findings) {
    let Some(span) = group.needs_span.as_ref().filter(|_| !group.needs.contains(&Need::LeaseEnded)) else {
        return;
    };
    let message = format!(
        "`{}` needs a watchdog but not the end of a lease: a watchdog tells nobody that it has fired",
        group.title()
    );
    findings.add(Finding::error(span, message).help(
        "write needs = [\"lease-ended\", \"watchdog\"], or [\"fenced\", \"lease-ended\", \"watchdog\"]",
    ));
}

fn one_on_each_node(draft: &Draft, group: &GroupDraft, findings: &mut Findings) {
    let Some(span) = group.needs_span.as_ref() else { return };
    let lacks = |name: &str| draft.node(name).is_some_and(|node| node.watchdog.is_none());
    let bare: Vec<_> = group.node_names().filter(|n| lacks(&n.value)).collect();
    let Some(first) = bare.first() else { return };
    let names = bare.iter().map(|n| format!("`{}`", n.value)).collect::<Vec<_>>().join(", ");
    let message = format!("`{}` needs a watchdog, and {names} has none", group.title());
    findings.add(
        Finding::error(span, message)
            .help(format!(
                "write watchdog = \"/dev/watchdog0\" in the [[node]] of {} (wdctl on that machine lists its devices)",
                first.value
            ))
            .related(&first.span, "it may own the group"),
    );
}

/// A device counts in seconds, and a lease of less leaves it no time.
fn lease_is_long_enough(draft: &Draft, findings: &mut Findings) {
    let Some(cluster) = &draft.cluster else { return };
    let Some(timers) = &cluster.timers else { return };
    if fits(timers, timeout_wanted(timers)) {
        return;
    }
    let Some(watchdog) = draft.nodes.iter().find_map(|node| node.watchdog.as_ref()) else { return };
    let shortest = shortest_lease();
    let message = format!(
        "takeover = \"{}\" is too short for a watchdog: a lease of {} leaves it no time to fire",
        cluster.takeover,
        duration_text(timers.lease)
    );
    let mut finding = Finding::error(&watchdog.span, message).help(format!(
        "a device counts in whole seconds, and the machine must be reset before the lease ends: write takeover = \"{}ms\" \
         or longer in [cluster], or delete this key",
        shortest.as_millis()
    ));
    if let Some(span) = &cluster.takeover_span {
        finding = finding.related(span, "this sets the lease");
    }
    findings.add(finding);
}
