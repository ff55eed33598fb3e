//! File systems, shared or of one node: checked, mounted by the guard, watched, unmounted and shown to be free.

mod acquire;
mod bind;
mod fsck;
mod monitor;
mod release;
pub(crate) mod superblock;

use std::path::PathBuf;

use regent_model::action::{Failure, Op, Outcome};
use regent_model::config::FilesystemConfig;
use regent_model::holding::Holding;

use crate::acts::unmount::find_ours;
use crate::hands::{Context, failure};
use crate::mountinfo::{self, Mount};
use crate::{device, holders, place};

/// A file system, and the request that is worked on.
struct Filesystem<'a> {
    context: &'a Context<'a>,
    config: &'a FilesystemConfig,
}

/// Works on a file system.
pub(crate) fn work(context: &Context<'_>, config: &FilesystemConfig) -> Result<Outcome, Failure> {
    if config.is_bind() {
        return bind::work(context, config);
    }
    let filesystem = Filesystem { context, config };
    match context.run.op {
        Op::Probe => filesystem.probe(),
        Op::Acquire => acquire::acquire(&filesystem),
        Op::Release => release::release(&filesystem),
        Op::Monitor => monitor::monitor(&filesystem),
        Op::Swap => Err(Failure::because("a file system has no interface to move from")),
    }
}

impl Filesystem<'_> {
    fn holding(&self) -> Holding {
        Holding::Mount { device: self.config.device.clone(), mount: self.config.mount.clone() }
    }

    /// Our mount, if it is there and on top.
    fn mounted(&self) -> Result<Option<Mount>, Failure> {
        find_ours(&self.config.device, &self.config.mount).map_err(Failure::because)
    }

    /// The control group of its check.
    fn cgroup_path(&self) -> PathBuf {
        let group = self.context.inner.cgroups.join(self.context.run.group.as_str());
        group.join(self.config.name.as_str())
    }

    fn probe(&self) -> Result<Outcome, Failure> {
        if self.mounted()?.is_some() {
            // What is adopted is let go of like everything else (L12).
            self.context.hold(self.holding())?;
            return Ok(Outcome::Running);
        }
        let place = place::resolve(&self.config.mount).map_err(Failure::because)?;
        let mounts = mountinfo::own().map_err(Failure::because)?;
        let device = self.config.device.display();
        if let Some(other) = mountinfo::at(&mounts, &place) {
            return Err(Failure::because(format!(
                "{} ({}) is mounted at {2}, where {device} belongs; unmount it: umount {2}",
                other.source.display(),
                other.fstype,
                place.display()
            )));
        }
        let Ok(number) = device::number(&self.config.device) else {
            // No device, no mount: nothing of it is here. The acquire will say that it is missing.
            return Ok(Outcome::Stopped);
        };
        if let Some(elsewhere) = mounts.iter().find(|m| place::is_from(m, &self.config.device, number)) {
            return Err(Failure::because(format!(
                "{device} is mounted at {0}, and not at {1} where it belongs; unmount it: umount {0}",
                elsewhere.point.display(),
                place.display()
            )));
        }
        match device::try_claim(&self.config.device) {
            Err(rustix::io::Errno::BUSY) => Err(failure(
                format!(
                    "{device} is not mounted at {}, but something on this node claims it",
                    place.display()
                ),
                holders::find(number, &place).to_string(),
            )),
            _ => Ok(Outcome::Stopped),
        }
    }
}
