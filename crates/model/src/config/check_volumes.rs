//! Checks of volumes: a volume group has one owner at a time, and what stands on a volume names it.

use super::draft::{Draft, GroupDraft, VolumeDraft};
use super::finding::{Finding, Findings};
use super::volume;

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for (at, group) in draft.groups.iter().enumerate() {
        twice_inside(group, findings);
        for earlier in &draft.groups[..at] {
            in_two_groups(earlier, group, findings);
        }
        stands_on_it(draft, group, findings);
    }
    unproven(draft, findings);
}

/// Inside a group each logical volume stands once; all of a volume group includes each.
fn twice_inside(group: &GroupDraft, findings: &mut Findings) {
    for (at, second) in group.volumes.iter().enumerate() {
        for first in &group.volumes[..at] {
            let (Some(a), Some(b)) = (&first.vg, &second.vg) else { continue };
            let overlap = match (first.lv(), second.lv()) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
            if a.value != b.value || !overlap {
                continue;
            }
            let message = match first.lv() {
                Some(_) if second.lv().is_some() => format!("the volume {} stands here twice", second.id()),
                _ => format!("all volumes of {} are one volume of `{}` already", a.value, group.title()),
            };
            findings.add(
                Finding::error(&b.span, message)
                    .help("delete one of them; without `lv` a volume is all of its volume group")
                    .related(&a.span, "first named here"),
            );
        }
    }
}

/// The owner is marked on the volume group as a whole, so that two groups cannot share one.
fn in_two_groups(earlier: &GroupDraft, group: &GroupDraft, findings: &mut Findings) {
    for second in &group.volumes {
        let Some(b) = &second.vg else { continue };
        let Some(a) = earlier.volumes.iter().filter_map(|v| v.vg.as_ref()).find(|a| a.value == b.value)
        else {
            continue;
        };
        let message = format!("the volume group {} is `{}`'s already", b.value, earlier.title());
        findings.add(
            Finding::error(&b.span, message)
                .help(
                    "a volume group has one owner at a time: make a volume group for each group, or make them \
                     one group",
                )
                .related(&a.span, format!("named by `{}`", earlier.title())),
        );
    }
}

/// A file system on a logical volume of a known volume group needs that volume in its own group, below it.
fn stands_on_it(draft: &Draft, group: &GroupDraft, findings: &mut Findings) {
    for (_, device) in group.filesystems.iter().flat_map(|f| f.devices()) {
        let known = draft.groups.iter().flat_map(|g| g.volumes.iter().map(move |v| (g, v)));
        let known = known.filter_map(|(owner, v)| Some((owner, v.vg.as_ref()?)));
        let found =
            known.filter_map(|(owner, vg)| Some((owner, vg, volume::volume_of(&vg.value, &device.value)?)));
        let found: Vec<_> = found.collect();
        let covers = |v: &VolumeDraft, vg: &str, lv: &str| {
            v.vg.as_ref().is_some_and(|at| at.value == vg) && v.lv().is_none_or(|own| own == lv)
        };
        if found.iter().any(|(_, vg, lv)| group.volumes.iter().any(|v| covers(v, &vg.value, lv))) {
            continue;
        }
        let Some((owner, vg, lv)) = found.first() else { continue };
        let message = format!(
            "{} is the volume {}, which `{}` does not activate: there is no such device when it mounts",
            device.value.display(),
            volume::id(&vg.value, Some(lv)),
            group.title()
        );
        let help = if std::ptr::eq(*owner, group) {
            format!("add [[group.volume]] with vg = \"{}\" and lv = \"{lv}\" to the group", vg.value)
        } else {
            format!(
                "a volume group has one owner at a time: put the file system into `{}`, and there \
                 [[group.volume]] with vg = \"{}\" and lv = \"{lv}\"",
                owner.title(),
                vg.value
            )
        };
        findings
            .add(Finding::warning(&device.span, message).help(help).related(&vg.span, "the volume group"));
    }
}

/// Said until it was seen on real disks.
fn unproven(draft: &Draft, findings: &mut Findings) {
    let first = draft.groups.iter().flat_map(|g| &g.volumes).find_map(|v| v.vg.as_ref());
    if let Some(vg) = first {
        let message =
            "volumes were tried against a stand-in of LVM's commands only, never on a real volume group";
        findings.add(
            Finding::note(&vg.span, message)
                .help("try a takeover with data that you can lose before you rely on it"),
        );
    }
}
