//! Unmounting a file system until its device is shown to be free.

use std::time::{Duration, Instant};

use regent_model::action::{Failure, Outcome};
use regent_model::journal::Level;
use rustix::io::Errno;
use rustix::process::Signal;

use super::Filesystem;
use crate::acts::unmount;
use crate::hands::failure;
use crate::holders::{self, Holders};
use crate::mountinfo::{DeviceNumber, Mount};
use crate::{device, place};

/// Somebody who merely looks (a `df`, our own check) is gone after this; then it is said who it is.
const PATIENCE: Duration = Duration::from_millis(50);
/// Without the right to kill, a holder may end by itself so long.
pub(super) const WAIT_FOR_HOLDERS: Duration = Duration::from_secs(1);
/// Holders may react to `SIGTERM` so long, at most a third of the time.
const TERM_GRACE: Duration = Duration::from_secs(2);
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Looking through all processes costs tens of milliseconds; it is not done more often.
const SEARCH_EVERY: Duration = Duration::from_millis(200);

/// Takes the file system down. What is not mounted is shown to be free all the same.
pub(super) fn release(filesystem: &Filesystem<'_>) -> Result<Outcome, Failure> {
    let config = filesystem.config;
    let mut number = device::number(&config.device).ok();
    while let Some(mount) = filesystem.mounted()? {
        number = Some(mount.device).filter(|n| n.0 != 0).or(number);
        unmount_one(filesystem, &mount)?;
    }
    show_free(filesystem, number)?;
    filesystem.context.let_go(filesystem.holding())?;
    Ok(Outcome::Stopped)
}

fn unmount_one(filesystem: &Filesystem<'_>, mount: &Mount) -> Result<(), Failure> {
    let job = filesystem.context.job;
    let what = format!("unmount {}", mount.point.display());
    let mut struggle: Option<Struggle> = None;
    loop {
        let begun = Instant::now();
        job.now_doing(&format!("{what} (writing what is not yet on the disk)"));
        match unmount::once(mount) {
            Ok(()) => {
                job.record(Level::Step, what, begun.elapsed(), String::new());
                return Ok(());
            }
            Err(Errno::BUSY) => {
                struggle.get_or_insert_with(|| Struggle::new(filesystem, mount)).go_on()?;
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(e) => return Err(Failure::because(format!("{what}: {e}"))),
        }
    }
}

/// Getting rid of those who keep a mount busy.
struct Struggle<'a> {
    filesystem: &'a Filesystem<'a>,
    mount: &'a Mount,
    since: Instant,
    term_until: Instant,
    searched: Option<Instant>,
    last_seen: Holders,
    told: bool,
}

impl<'a> Struggle<'a> {
    fn new(filesystem: &'a Filesystem<'a>, mount: &'a Mount) -> Self {
        let since = Instant::now();
        let term_until = since + TERM_GRACE.min(filesystem.context.job.left() / 3);
        let last_seen = Holders::default();
        Self { filesystem, mount, since, term_until, searched: None, last_seen, told: false }
    }

    /// One more round: look who it is, tell once, and use the right to kill if there is one.
    fn go_on(&mut self) -> Result<(), Failure> {
        let job = self.filesystem.context.job;
        if self.since.elapsed() < PATIENCE.min(job.left() / 4) {
            return Ok(());
        }
        let force = self.filesystem.config.force_unmount;
        if self.searched.is_none_or(|at| at.elapsed() >= SEARCH_EVERY) {
            let found = holders::find(self.mount.device, &self.mount.point);
            self.searched = Some(Instant::now());
            if !found.is_empty() || !self.told {
                self.tell(&found);
                self.last_seen = found;
            }
            if force {
                self.evict();
            }
        }
        let patience = WAIT_FOR_HOLDERS.min(job.left());
        if let Err(over) = job.check() {
            return Err(self.still_busy(over.timed_out));
        }
        if !force && self.since.elapsed() >= patience {
            return Err(self.still_busy(false));
        }
        Ok(())
    }

    fn tell(&mut self, found: &Holders) {
        if !self.told {
            self.told = true;
            let what = format!("{} is busy", self.mount.point.display());
            self.filesystem.context.job.warn(what, found.to_string());
        }
    }

    fn evict(&self) {
        let job = self.filesystem.context.job;
        let (signal, word) = if Instant::now() < self.term_until {
            (Signal::TERM, "SIGTERM")
        } else {
            (Signal::KILL, "SIGKILL")
        };
        let count = unmount::signal_all(&self.last_seen, signal);
        if count > 0 {
            let list = self.last_seen.to_string();
            job.record(Level::Warning, format!("{word} to {count} holder(s)"), Duration::ZERO, list);
        }
        if let Err(error) = unmount::nested(self.mount) {
            job.warn(format!("what is mounted on it does not go: {error}"), "");
        }
    }

    fn still_busy(&self, timed_out: bool) -> Failure {
        let point = self.mount.point.display();
        let hint = if self.filesystem.config.force_unmount {
            String::new()
        } else {
            "; end them by hand, or let Regent do it with force_unmount = true".into()
        };
        let reason = format!("{point} is busy and could not be unmounted{hint}");
        Failure { timed_out, ..failure(reason, self.last_seen.to_string()) }
    }
}

/// Unmounted is not released: another mount namespace may keep the file system alive.
fn show_free(filesystem: &Filesystem<'_>, number: Option<DeviceNumber>) -> Result<(), Failure> {
    let (job, config) = (filesystem.context.job, filesystem.config);
    let place = place::resolve(&config.mount).map_err(Failure::because)?;
    let what = format!("show that {} is free", config.device.display());
    if number.is_none() && !config.device.exists() && !holders::is_mounted_anywhere(&config.device) {
        return Ok(());
    }
    let until = job.soft_deadline();
    let shown = job.step(&what, || {
        if config.force_unmount {
            unmount::show_free(&config.device, &place, number, until)
        } else {
            let free =
                device::wait_free(&config.device, number, until.min(Instant::now() + WAIT_FOR_HOLDERS));
            free.map_err(|e| match number {
                Some(number) => format!("{e}:\n{}", holders::find(number, &place)),
                None => e,
            })
        }
    });
    shown.map_err(|why| {
        let (reason, evidence) = why.split_once(":\n").unwrap_or((why.as_str(), ""));
        failure(format!("unmounted, but not released: {reason}"), evidence)
    })
}
