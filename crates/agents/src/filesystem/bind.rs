//! A folder of one of the group's file systems, put elsewhere too.

use std::time::Instant;

use regent_model::action::{Failure, Op, Outcome};
use regent_model::holding::{Act, Holding};
use regent_model::journal::Level;

use super::acquire::{make_mount_point, wants_read_only};
use crate::acts::bind;
use crate::hands::{Context, failure};
use crate::{holders, mountinfo, place};
use regent_model::config::FilesystemConfig;

/// Works on it. There is no device to check: the file system that holds the folder is watched by itself.
pub(super) fn work(context: &Context<'_>, config: &FilesystemConfig) -> Result<Outcome, Failure> {
    match context.run.op {
        Op::Probe => probe(context, config),
        Op::Acquire => acquire(context, config),
        Op::Release => release(context, config),
        Op::Monitor => monitor(config),
        Op::Swap => Err(Failure::because("a folder has no interface to move from")),
    }
}

fn holding(config: &FilesystemConfig) -> Holding {
    Holding::Bind { folder: config.device.clone(), mount: config.mount.clone() }
}

fn is_there(config: &FilesystemConfig) -> Result<Option<mountinfo::Mount>, Failure> {
    bind::find(&config.device, &config.mount).map_err(Failure::because)
}

fn probe(context: &Context<'_>, config: &FilesystemConfig) -> Result<Outcome, Failure> {
    if is_there(config)?.is_some() {
        context.hold(holding(config))?;
        return Ok(Outcome::Running);
    }
    let place = place::resolve(&config.mount).map_err(Failure::because)?;
    let mounts = mountinfo::own().map_err(Failure::because)?;
    match mountinfo::at(&mounts, &place) {
        Some(other) => Err(Failure::because(format!(
            "{} ({}) is mounted at {2}, where {3} belongs; unmount it: umount {2}",
            other.source.display(),
            other.fstype,
            place.display(),
            config.device.display()
        ))),
        None => Ok(Outcome::Stopped),
    }
}

fn acquire(context: &Context<'_>, config: &FilesystemConfig) -> Result<Outcome, Failure> {
    let folder = &config.device;
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(Failure::because(format!("{} is no folder", folder.display()))),
        Err(e) => {
            return Err(Failure::because(format!(
                "cannot put {0} at {1}: {e}; make it once, where the group runs: mkdir -p {0}",
                folder.display(),
                config.mount.display()
            )));
        }
    }
    make_mount_point(context, &config.mount)?;
    let what = format!("put {} at {}", folder.display(), config.mount.display());
    let act =
        Act::Bind { folder: folder.clone(), mount: config.mount.clone(), options: config.options.clone() };
    context.perform(&what, act)?;
    match is_there(config)? {
        Some(_) => Ok(Outcome::Running),
        None => Err(Failure::because(format!(
            "{what}: the guard says it is done, but it is not in this node's mounts"
        ))),
    }
}

fn monitor(config: &FilesystemConfig) -> Result<Outcome, Failure> {
    // Looked for twice: on old kernels one reading of a list that changes meanwhile may miss an entry.
    let found = is_there(config)?.map_or_else(|| is_there(config), |mount| Ok(Some(mount)))?;
    match found {
        None => Ok(Outcome::Stopped),
        Some(mount) if mount.has("ro") && !wants_read_only(&config.options) => {
            Err(Failure::because(format!("{} has turned read-only", mount.point.display())))
        }
        Some(_) => Ok(Outcome::Running),
    }
}

fn release(context: &Context<'_>, config: &FilesystemConfig) -> Result<Outcome, Failure> {
    let job = context.job;
    if let Some(mount) = is_there(config)? {
        let what = format!("take {} away from {}", config.device.display(), mount.point.display());
        let begun = Instant::now();
        job.now_doing(&what);
        let until = job.soft_deadline();
        let done = if config.force_unmount {
            bind::release(&config.device, &config.mount, until)
        } else {
            patiently(config, until)
        };
        done.map_err(|why| failure(why, holders::below(&mount.point).to_string()))?;
        job.record(Level::Step, what, begun.elapsed(), String::new());
    }
    context.let_go(holding(config))?;
    Ok(Outcome::Stopped)
}

/// Without the right to kill, holders may end by themselves for a while.
fn patiently(config: &FilesystemConfig, until: Instant) -> Result<(), String> {
    let until = until.min(Instant::now() + super::release::WAIT_FOR_HOLDERS);
    while let Some(mount) = bind::find(&config.device, &config.mount)? {
        match crate::acts::unmount::once(&mount) {
            Ok(()) => {}
            Err(rustix::io::Errno::BUSY) if Instant::now() < until => {
                std::thread::sleep(super::release::LOOK_AGAIN);
            }
            Err(e) => {
                return Err(format!(
                    "{} could not be unmounted ({e}); end who holds it by hand, or let Regent do it with \
                     force_unmount = true",
                    mount.point.display()
                ));
            }
        }
    }
    Ok(())
}
