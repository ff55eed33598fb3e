//! Mounting a file system.

use std::io;
use std::path::Path;

use regent_model::action::{Failure, Outcome};
use regent_model::holding::Act;

use super::{Filesystem, fsck};
use crate::hands::{Context, failure};
use crate::{device, holders, place};

/// Mounts the file system through the guard; one that is mounted already is put on the guard's list and kept.
pub(super) fn acquire(filesystem: &Filesystem<'_>) -> Result<Outcome, Failure> {
    let (context, config) = (filesystem.context, filesystem.config);
    let there = filesystem.mounted()?.is_some();
    if !there {
        prepare(filesystem)?;
    }
    let act = Act::Mount {
        device: config.device.clone(),
        mount: config.mount.clone(),
        fstype: config.fstype.clone(),
        options: config.options.clone(),
    };
    let what = format!("mount {} at {}", config.device.display(), config.mount.display());
    context.perform(&what, act)?;
    let mount = filesystem.mounted()?.ok_or_else(|| {
        Failure::because(format!("{what}: the guard says it is done, but it is not in this node's mounts"))
    })?;
    if mount.has("ro") && !wants_read_only(&config.options) {
        return Err(Failure::because(format!(
            "{what}: it came up read-only; is the device write-protected?"
        )));
    }
    Ok(Outcome::Running)
}

/// The device is there and free, the mount point is there, and the file system is sound.
fn prepare(filesystem: &Filesystem<'_>) -> Result<(), Failure> {
    let (job, config) = (filesystem.context.job, filesystem.config);
    make_mount_point(filesystem.context, &config.mount)?;
    let number = device::number(&config.device).map_err(Failure::because)?;
    match device::try_claim(&config.device) {
        Ok(()) => {}
        Err(rustix::io::Errno::BUSY) => {
            let place = place::resolve(&config.mount).map_err(Failure::because)?;
            let reason = format!("{} is in use on this node already", config.device.display());
            return Err(failure(reason, holders::find(number, &place).to_string()));
        }
        Err(e) => return Err(Failure::because(format!("cannot open {}: {e}", config.device.display()))),
    }
    job.check()?;
    fsck::check(filesystem)
}

/// Makes the mount point, if it is not there.
pub(super) fn make_mount_point(context: &Context<'_>, point: &Path) -> Result<(), Failure> {
    match std::fs::metadata(point) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::because(format!("the mount point {} is not a directory", point.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let made = context.job.step(&format!("make the mount point {}", point.display()), || {
                std::fs::create_dir_all(point)
            });
            made.map_err(|e| {
                Failure::because(format!("cannot make the mount point {}: {e}", point.display()))
            })
        }
        Err(e) => Err(Failure::because(format!("mount point {}: {e}", point.display()))),
    }
}

/// Whether the configuration itself asks for a read-only mount.
pub(super) fn wants_read_only(options: &str) -> bool {
    options.split(',').any(|o| o.trim() == "ro")
}
