//! Deactivating a volume until it is shown to be inactive.

use std::path::Path;
use std::time::{Duration, Instant};

use regent_model::action::{Failure, Outcome};

use super::acquire::change;
use super::lvm::{Logical, State};
use super::{Active, Volume, active, lvm};
use crate::{command, device, holders};

/// Somebody who merely looks (udev, a `blkid`) is gone after this.
const WAIT_FOR_HOLDERS: Duration = Duration::from_secs(1);
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Takes the volume down. It only takes away, and so needs no lease; taking the tag off does.
pub(super) fn release(volume: &Volume<'_>) -> Result<Outcome, Failure> {
    let config = volume.config;
    end_earlier_change(volume)?;
    let Some(group) = lvm::volume_group(volume)?.filter(|g| !g.exported) else {
        volume.nothing_mapped()?;
        return Ok(Outcome::Stopped);
    };
    let all = bring_down(volume)?;
    volume.nothing_mapped()?;
    let own = volume.own_tag()?;
    // The mark is the volume group's: it stays while another volume of it is up here.
    if group.tags.contains(&own) && all.iter().all(|lv| lv.state == State::Inactive) {
        let off = |folder: &_| change(volume, folder, "vgchange", &["--deltag", &own, &config.vg]);
        if let Err(why) = volume.guarded(off) {
            // It is inactive, which is what counts: who comes next has the proof, and takes the tag off.
            let what = format!("{} is inactive, but its tag {own} stays: {}", config.vg, why.reason);
            volume.context.job.warn(what, why.evidence);
        }
    }
    Ok(Outcome::Stopped)
}

/// Deactivates it until it is seen to be inactive, and gives all that the volume group has.
pub(super) fn bring_down(volume: &Volume<'_>) -> Result<Vec<Logical>, Failure> {
    let mut all = lvm::logical_volumes(volume)?;
    let patience = Instant::now() + WAIT_FOR_HOLDERS.min(volume.context.job.left() / 3);
    while active(&volume.meant(&all))? != Active::None {
        let done = deactivate(volume);
        all = lvm::logical_volumes(volume)?;
        match done {
            Ok(()) => {}
            Err(_) if active(&volume.meant(&all))? == Active::None => {}
            Err(why) if why.timed_out || Instant::now() >= patience => {
                return Err(still_open(volume, &all, why));
            }
            Err(_) => std::thread::sleep(TRY_AGAIN),
        }
        volume.context.job.check()?;
    }
    Ok(all)
}

/// A command of an acquire that did not end in its time.
fn end_earlier_change(volume: &Volume<'_>) -> Result<(), Failure> {
    if volume.cgroup_path().exists() {
        let folder = crate::cgroup::Folder::create(&volume.cgroup_path()).map_err(Failure::because)?;
        let until = volume.context.job.until(command::KILL_TAKES_AT_MOST);
        folder.end(Duration::ZERO, until).map_err(Failure::because)?;
    }
    volume.context.let_go(volume.holding())
}

fn deactivate(volume: &Volume<'_>) -> Result<(), Failure> {
    let folder = lvm::own_folder(volume)?;
    match &volume.config.lv {
        Some(_) => change(volume, &folder, "lvchange", &["-an", &volume.config.id()]),
        None => change(volume, &folder, "vgchange", &["-an", &volume.config.vg]),
    }
}

/// Who keeps it from being deactivated.
fn still_open(volume: &Volume<'_>, all: &[Logical], why: Failure) -> Failure {
    let mut lines = vec![why.evidence.clone()];
    let mut open = Vec::new();
    for lv in volume.meant(all).into_iter().filter(|lv| lv.state != State::Inactive) {
        open.push(format!("{}/{}", volume.config.vg, lv.name));
        let path = Path::new("/dev").join(&volume.config.vg).join(&lv.name);
        match device::number(&path) {
            Ok(number) => lines.push(format!("{}: {}", path.display(), holders::of_device(number))),
            Err(e) => lines.push(e),
        }
    }
    let reason = format!(
        "{} is still active and could not be deactivated: {}; end who holds it, then: vgchange -an {}",
        open.join(", "),
        why.reason,
        volume.config.vg
    );
    Failure { reason, evidence: lines.join("\n"), timed_out: why.timed_out }
}
