//! Checks of what proves that a lost owner is gone: fence devices, needs, and the release budget.

use std::time::Duration;

use super::ReleaseEnd;
use super::draft::{Draft, GroupDraft};
use super::finding::{Finding, Findings, Span};
use super::guarantee::{KILL_TIME, UNMOUNT_TIME, round_up_ms, timers_for_budget};
use super::scalar::duration_text;
use crate::proof::Need;
use crate::timers::{LEASE_MAX, Timers};
use crate::watchdog::{bites_after, timeout_wanted};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        if !findings.broken_syntax {
            fence_covers(draft, group, findings);
            guard_alone(draft, group, findings);
            reboot_needs_more_than_a_lease(group, findings);
            reboot_interrupts(draft, group, findings);
        }
        if let Some(cluster) = &draft.cluster
            && let Some(timers) = &cluster.timers
        {
            budget(group, timers, &cluster.takeover, cluster.takeover_span.as_ref(), findings);
        }
    }
}

/// A group that accepts nothing but fencing needs a device for each of its nodes.
fn fence_covers(draft: &Draft, group: &GroupDraft, findings: &mut Findings) {
    if group.needs != [Need::Fenced] || group.node_names().count() < 2 {
        return;
    }
    let covered = |node: &str| {
        let power = draft.fences.iter().filter(|f| f.disks.is_empty());
        power.filter_map(|f| f.nodes.as_ref()).any(|l| l.value.iter().any(|n| n.value == node))
    };
    let bare: Vec<_> = group
        .node_names()
        .map(|n| n.value.as_str())
        .filter(|n| draft.node(n).is_some() && !covered(n))
        .collect();
    if bare.is_empty() {
        return;
    }
    let names = bare.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let quoted = bare.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
    let message =
        format!("`{}` is taken over only after fencing, and no fence device can cut {names}", group.title());
    let place = group.needs_span.as_ref().unwrap_or(group.place());
    let mut finding = Finding::warning(place, message).help(format!(
        "if such a node is lost, the group stays blocked until it returns, or until you have made sure \
         yourself and type `regent node confirm-dead {} --why TEXT`. Add a [[fence]] with nodes = [{quoted}]",
        bare.first().unwrap_or(&"NODE")
    ));
    if group.needs_span.is_none()
        && let Some(device) = group.shared_device()
    {
        finding =
            finding.related(&device.span, "a file system needs \"fenced\" unless `needs` says otherwise");
    }
    findings.add(finding);
}

/// A shared disk behind nothing but the guard.
fn guard_alone(draft: &Draft, group: &GroupDraft, findings: &mut Findings) {
    let Some(span) = group.needs_span.as_ref().filter(|_| group.needs.contains(&Need::LeaseEnded)) else {
        return;
    };
    let more = [Need::Watchdog, Need::Storage];
    if !group.has_shared_writer() || group.needs.iter().any(|need| more.contains(need)) {
        return;
    }
    let wait = draft
        .cluster
        .as_ref()
        .and_then(|c| c.timers)
        .map_or_else(|| "the lease".to_string(), |timers| duration_text(round_up_ms(timers.promise_wait())));
    let does = match group.shared_device() {
        None if !group.volumes.is_empty() => "activates a shared volume",
        _ => "mounts a shared file system",
    };
    let message = format!(
        "`{}` {does} and is content with the end of a lease: only the guard, a process \
         on the lost node, then keeps two nodes from writing it",
        group.title()
    );
    let mut finding = Finding::warning(span, message).help(format!(
        "a machine that is paused (by a hypervisor, a debugger, a stalled bus) for {wait} or longer still \
         writes when it wakes, after the takeover: in the worst case the file system is destroyed. Write \
         needs = [\"fenced\"] with a [[fence]] for each node"
    ));
    if let Some(device) = group.shared_device() {
        finding = finding.related(&device.span, "the shared writer");
    }
    findings.add(finding);
}

/// What lives in the kernel does not end with the guard's lease.
fn reboot_needs_more_than_a_lease(group: &GroupDraft, findings: &mut Findings) {
    let Some(release) = group.release.as_ref().filter(|r| r.value == ReleaseEnd::Reboot) else { return };
    let Some(span) = group.needs_span.as_ref().filter(|_| group.needs.contains(&Need::LeaseEnded)) else {
        return;
    };
    let message = format!(
        "`{}` is released only by a reboot, so the end of a lease proves nothing about it",
        group.title()
    );
    let finding = Finding::error(span, message)
        .help("write needs = [\"fenced\"], or delete the line")
        .related(&release.span, "the reboot is asked for here");
    findings.add(finding);
}

/// A reboot takes down whatever else runs on that node.
fn reboot_interrupts(draft: &Draft, group: &GroupDraft, findings: &mut Findings) {
    let Some(release) = group.release.as_ref().filter(|r| r.value == ReleaseEnd::Reboot) else { return };
    let shares =
        |other: &GroupDraft| other.node_names().any(|n| group.node_names().any(|mine| mine.value == n.value));
    let others: Vec<String> = draft
        .groups
        .iter()
        .filter(|other| !std::ptr::eq(*other, group) && shares(other))
        .map(|other| format!("`{}`", other.title()))
        .collect();
    if others.is_empty() {
        return;
    }
    let message = format!(
        "whenever `{}` leaves a node, that node is rebooted, and so {} on it is interrupted",
        group.title(),
        others.join(", ")
    );
    findings.add(Finding::note(&release.span, message).help(
        "they are released in order before the reboot, to other nodes where they may run there; \
         a separate pair of nodes for this group avoids it",
    ));
}

/// A watchdog that is fed no more fires before the lease ends.
fn watchdog_budget(timers: &Timers) -> Duration {
    let bites = bites_after(timers, timeout_wanted(timers)).unwrap_or_default();
    bites.saturating_sub(timers.release_begins)
}

/// The shortest lease, in steps of 10 ms, whose watchdog leaves so much for letting go.
fn watchdog_timers_for(need: Duration) -> Option<Timers> {
    let leases = (1..=LEASE_MAX.as_millis() / 10).map(|step| Duration::from_millis(step as u64 * 10));
    leases.filter_map(|lease| Timers::for_lease(lease).ok()).find(|timers| watchdog_budget(timers) >= need)
}

/// Letting go must be possible between its beginning and the end of the lease.
fn budget(
    group: &GroupDraft,
    timers: &Timers,
    takeover: &str,
    takeover_span: Option<&Span>,
    findings: &mut Findings,
) {
    let grace = group.applications.iter().filter_map(|a| a.lapse_grace.as_ref()).max_by_key(|g| g.value);
    let mounts = u32::try_from(group.filesystems.len()).unwrap_or(u32::MAX);
    let rest = KILL_TIME + UNMOUNT_TIME.saturating_mul(mounts);
    let need = rest + grace.map_or(Duration::ZERO, |g| g.value);
    let budget = match group.needs.contains(&Need::Watchdog) {
        true => watchdog_budget(timers),
        false => timers.release_budget(),
    };
    if need <= budget {
        return;
    }
    let unmount = match mounts {
        0 => String::new(),
        n => format!(" + unmount {n} x {}", duration_text(UNMOUNT_TIME)),
    };
    let sum = format!("kill {}{unmount} = {}", duration_text(KILL_TIME), duration_text(need));
    let leaves = format!("takeover = \"{takeover}\" leaves {}", duration_text(budget));
    let fits = match group.needs.contains(&Need::Watchdog) {
        true => watchdog_timers_for(need),
        false => timers_for_budget(need),
    };
    let slower = fits.map_or_else(String::new, |t| {
        format!("takeover = \"{}ms\" or slower gives enough time", t.lease.as_millis())
    });
    let mut finding = match grace.filter(|g| !g.value.is_zero()) {
        Some(grace) => {
            let message =
                format!("lapse_grace {} + {sum}, but {leaves} to let go", duration_text(grace.value));
            let most = Duration::from_millis(
                u64::try_from(budget.saturating_sub(rest).as_millis()).unwrap_or(u64::MAX),
            );
            let shorten = format!("write lapse_grace = \"{}ms\" or less", most.as_millis());
            let help = if slower.is_empty() { shorten } else { format!("{shorten}; or {slower}") };
            Finding::error(&grace.span, message).help(help)
        }
        None => {
            let message = format!("`{}` lets go in {sum}, but {leaves}", group.title());
            Finding::warning(group.place(), message).help(format!(
                "a node that loses its lease is then reset more often than it would have to be; {slower}"
            ))
        }
    };
    if let Some(span) = takeover_span {
        finding = finding.related(span, "this sets the time for letting go");
    }
    findings.add(finding);
}
