//! Activating a volume where nobody else has it.

use regent_model::action::{Failure, Outcome};

use super::{Active, Volume, active, command_failed, foreign, lvm, release, unusable};
use crate::cgroup::Folder;

/// Proofs that say something about whoever marked the volume group before: every owner that this cluster gave it to is
/// known to have ended. `never-owned` says nothing, for a stranger may have marked it.
const PROVES: [&str; 6] = ["released", "fenced", "rebooted", "lease-ended", "adopted", "operators-word"];

/// Marks the volume group as this node's, activates the volume, and sees it active.
pub(super) fn acquire(volume: &Volume<'_>) -> Result<Outcome, Failure> {
    let (job, config) = (volume.context.job, volume.config);
    let Some(group) = lvm::volume_group(volume)? else {
        return Err(Failure::because(format!(
            "there is no volume group {} on this node; check the cabling, and what LVM sees: vgs; pvs",
            config.vg
        )));
    };
    // Of a volume group that is exported nothing more can be asked.
    let all = if group.exported { Vec::new() } else { lvm::logical_volumes(volume)? };
    let meant = volume.meant(&all);
    if let Some(why) = unusable(config, &group, &meant) {
        return Err(Failure::because(why));
    }
    let own = volume.own_tag()?;
    let strangers = foreign(&group, &own);
    if let Some(why) = still_anothers(volume, &strangers) {
        return Err(Failure::because(why));
    }
    // Active without this node's mark: by the system at boot, or left over when a lease ended, and since then another
    // owner may have changed where the volume lies on the disks. What is activated anew is read anew.
    if !group.tags.contains(&own) && active(&meant)? != Active::None {
        job.warn(format!("{} was active without the tag {own}: activated anew", config.id()), "");
        release::bring_down(volume)?;
    }
    volume.guarded(|folder| {
        // One command a change: between two of them the group is never without an owner's mark.
        if !group.tags.contains(&own) {
            change(volume, folder, "vgchange", &["--addtag", &own, &config.vg])?;
        }
        for tag in &strangers {
            change(volume, folder, "vgchange", &["--deltag", tag, &config.vg])?;
            job.warn(format!("the tag {tag} of an owner that is gone was taken off {}", config.vg), "");
        }
        match &config.lv {
            Some(_) => change(volume, folder, "lvchange", &["-ay", &config.id()]),
            None => change(volume, folder, "vgchange", &["-ay", &config.vg]),
        }
    })?;
    let all = lvm::logical_volumes(volume)?;
    match active(&volume.meant(&all))? {
        Active::All => Ok(Outcome::Running),
        Active::None => Err(Failure::because(format!(
            "LVM says that {} was activated, but it is not active; does `volume_list` in lvm.conf let it?",
            config.id()
        ))),
        Active::Some(on, off) => Err(volume.in_part(&on, &off)),
    }
}

/// Why the volume group may still be another's, if so.
fn still_anothers(volume: &Volume<'_>, strangers: &[&str]) -> Option<String> {
    let tag = strangers.first()?;
    let proof = volume.variable("REGENT_PROOF").unwrap_or("no proof");
    if PROVES.contains(&proof) {
        return None;
    }
    let vg = &volume.config.vg;
    let node = tag.strip_prefix(super::TAG).unwrap_or(tag);
    Some(format!(
        "the volume group {vg} carries the tag {tag}, and nothing proves that {node} does not have it active \
         ({proof}). Make sure that it is inactive there, on {node}: vgchange -an {vg}; then: vgchange --deltag {tag} \
         {vg}"
    ))
}

/// Runs a command that changes something; it must succeed.
pub(super) fn change(
    volume: &Volume<'_>,
    folder: &Folder,
    program: &str,
    arguments: &[&str],
) -> Result<(), Failure> {
    let job = volume.context.job;
    job.check()?;
    let what = format!("{program} {}", arguments.join(" "));
    let answer = job.step(&what, || lvm::run(volume, folder, program, arguments))?;
    if answer.ended.is_success() { Ok(()) } else { Err(command_failed(&what, &answer)) }
}
