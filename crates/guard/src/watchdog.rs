//! The watchdog device of this machine: armed with a timeout that fits the lease, fed by the keeper while the lease
//! allows it, and disarmed when the node leaves with nothing held.
//!
//! A note in the run folder says which device is armed. The kernel goes on with a device whose process died, so the next
//! guard of the same boot takes it up before it knows its configuration.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regent_lease::Guard;
use regent_model::Moment;
use regent_model::timers::Timers;
use regent_model::watchdog::{FEED_EVERY, bites_after, fits, timeout_wanted};

use crate::clock;
use crate::envelope::WatchdogState;
use crate::identity::BOOT_VARIABLE;
use crate::sys;

/// A device that could not be armed is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);

const SET_TIMEOUT: u32 = 0x0080;
const MAGIC_CLOSE: u32 = 0x0100;

/// A watchdog device that is open, which means armed.
pub(crate) trait Device: Send {
    /// Asks for a timeout in whole seconds; says which the driver took. Feeds it, too.
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<Duration>;
    fn feed(&mut self) -> io::Result<()>;
    /// To be closed after this; it does not fire any more, if its driver lets it be stopped at all.
    fn disarm(&mut self) -> io::Result<()>;
}

/// Opens a device, which arms it.
pub(crate) type Opener = fn(&Path) -> Result<Box<dyn Device>, String>;

struct Kernels(File);

impl Device for Kernels {
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<Duration> {
        let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        let taken = sys::watchdog_timeout(&self.0, seconds)?;
        Ok(Duration::from_secs(u64::try_from(taken).unwrap_or(0)))
    }

    fn feed(&mut self) -> io::Result<()> {
        sys::watchdog_feed(&self.0)
    }

    fn disarm(&mut self) -> io::Result<()> {
        self.0.write_all(b"V")
    }
}

/// Opens a device of this machine's kernel.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Device>, String> {
    let shown = path.display();
    if std::env::var_os(BOOT_VARIABLE).is_some() {
        return Err(format!(
            "{BOOT_VARIABLE} says that this machine shares its kernel with others: {shown} would reset them all"
        ));
    }
    let file = OpenOptions::new().write(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{shown} is not there: its driver is not loaded (wdctl lists what is)"),
        io::ErrorKind::ResourceBusy => format!(
            "{shown} is in use: another program feeds it (systemd does with RuntimeWatchdogSec=; watchdogd, sbd)"
        ),
        _ => format!("cannot open {shown}: {error}"),
    })?;
    let mut device = Kernels(file);
    let options = sys::watchdog_options(&device.0)
        .map_err(|error| format!("{shown} is no watchdog device ({error})"))?;
    if options & MAGIC_CLOSE == 0 {
        // Closing stops it, so a guard that is killed would be watched no more.
        return Err(format!("{shown} stops when its process dies (no magic close): it is of no use here"));
    }
    if options & SET_TIMEOUT == 0 {
        let _closed_below = device.disarm();
        return Err(format!("the timeout of {shown} cannot be set"));
    }
    Ok(Box::new(device))
}

/// The device in the keeper's hands.
pub(crate) struct Watchdog {
    opener: Opener,
    note: PathBuf,
    armed: Option<Armed>,
    /// When it is to be fed next.
    due: Moment,
    /// When it may be armed at the earliest.
    again: Moment,
    trouble: Option<String>,
}

struct Armed {
    device: Box<dyn Device>,
    path: PathBuf,
    /// What was asked for.
    asked: Duration,
    /// What the driver took.
    timeout: Duration,
    /// It was not fed when it was last due.
    hungry: bool,
}

impl Watchdog {
    /// Takes up the device that an earlier guard of this boot left armed, if there is one.
    pub(crate) fn begin(opener: Opener, note: PathBuf, guard: &Guard) -> Self {
        let mut watchdog =
            Self { opener, note, armed: None, due: Moment(0), again: Moment(0), trouble: None };
        if let Some((path, timeout)) = watchdog.read_note() {
            watchdog.arm(&path, timeout, guard);
        }
        watchdog
    }

    /// Does what is due: arms the device that the daemon wants, feeds it if the lease allows that, and tells the guard
    /// how it stands. The look at the clock comes before the look at the lease, and both before the feed.
    pub(crate) fn tend(&mut self, guard: &mut Guard) {
        let now = clock::now();
        if now < self.due {
            return;
        }
        self.due = now + FEED_EVERY;
        self.follow_wish(now, guard);
        self.feed(now, guard);
        guard.watchdog_is(match (&self.armed, &self.trouble) {
            (_, Some(why)) => Err(why.clone()),
            (Some(_), None) => Ok(()),
            (None, None) => Err("no device is configured".into()),
        });
    }

    /// The daemon has said what it wants: [`Watchdog::tend`] is due.
    pub(crate) fn hurry(&mut self) {
        (self.due, self.again) = (Moment(0), Moment(0));
    }

    fn follow_wish(&mut self, now: Moment, guard: &Guard) {
        let wish = guard.watchdog_wish().map(|(wish, timers)| (wish.device.clone(), *timers));
        match wish {
            None => {}
            Some((None, _)) => {
                self.leave();
                self.trouble = None;
            }
            Some((Some(path), timers)) if now >= self.again => self.follow(&path, &timers, guard),
            Some(_) => {}
        }
    }

    /// Has this device armed with a timeout for these timers.
    fn follow(&mut self, path: &Path, timers: &Timers, guard: &Guard) {
        if self.armed.as_ref().is_some_and(|armed| armed.path != path) {
            self.leave();
        }
        let wanted = timeout_wanted(timers);
        if self.armed.as_ref().is_none_or(|armed| armed.asked != wanted) {
            self.arm(path, wanted, guard);
        }
        let Some(armed) = &self.armed else { return };
        if !fits(timers, armed.timeout) {
            let bites = bites_after(timers, armed.timeout);
            let why = format!(
                "the driver of {} makes {} s of the {} s asked for, too long for a lease of {:?}{}: write a longer takeover, \
                 or use another device",
                path.display(),
                armed.timeout.as_secs(),
                wanted.as_secs(),
                timers.lease,
                bites.map_or_else(String::new, |bites| format!(" (it would fire after {bites:?})"))
            );
            self.leave();
            self.fail(why);
        } else if self.trouble.take().is_some() {
            tracing::info!("the watchdog {} is fed", path.display());
        }
    }

    /// Setting the timeout of a device feeds it, so this is done only where a feed is allowed, with the old one and the new.
    fn arm(&mut self, path: &Path, wanted: Duration, guard: &Guard) {
        let longest = self.armed.as_ref().map_or(wanted, |armed| armed.timeout.max(wanted));
        if !guard.may_feed(clock::now(), longest) {
            return;
        }
        if let Err(why) = self.try_to_arm(path, wanted) {
            self.fail(why);
        }
    }

    fn try_to_arm(&mut self, path: &Path, wanted: Duration) -> Result<(), String> {
        let is_new = self.armed.is_none();
        let mut armed = match self.armed.take() {
            Some(armed) => armed,
            None => {
                self.take_note(path, wanted)?;
                let device = (self.opener)(path);
                let device = device.inspect_err(|_| self.forget())?;
                Armed { device, path: path.to_owned(), asked: wanted, timeout: wanted, hungry: false }
            }
        };
        match armed.device.set_timeout(wanted) {
            Ok(timeout) => {
                if is_new {
                    tracing::info!("the watchdog {} is armed, {timeout:?}", path.display());
                }
                // The next guard judges by the note; without one, this is tried again.
                let noted = self.take_note(path, timeout);
                armed.asked = if noted.is_ok() { wanted } else { Duration::ZERO };
                armed.timeout = timeout;
                self.armed = Some(armed);
                noted
            }
            Err(error) => {
                self.armed = Some(armed);
                self.leave();
                Err(format!("cannot set the timeout of {}: {error}", path.display()))
            }
        }
    }

    fn feed(&mut self, now: Moment, guard: &Guard) {
        let Some(armed) = &mut self.armed else { return };
        let may = guard.may_feed(now, armed.timeout);
        if !may && !std::mem::replace(&mut armed.hungry, true) {
            tracing::warn!("the watchdog {} is not fed: the lease is too old", armed.path.display());
        }
        if may {
            armed.hungry = false;
            if let Err(error) = armed.device.feed() {
                let why = format!("cannot feed {}: {error}", armed.path.display());
                self.fail(why);
            }
        }
    }

    fn fail(&mut self, why: String) {
        self.again = clock::now() + AGAIN;
        if self.trouble.as_ref() != Some(&why) {
            tracing::error!("{why}: no watchdog resets this machine should the guard not run");
        }
        self.trouble = Some(why);
    }

    /// Disarms the device, if one is armed.
    pub(crate) fn leave(&mut self) {
        let Some(mut armed) = self.armed.take() else { return };
        match armed.device.disarm() {
            Ok(()) => tracing::info!("the watchdog {} is disarmed", armed.path.display()),
            Err(error) => {
                tracing::error!(%error, "{} goes on: this machine will be reset", armed.path.display())
            }
        }
        self.forget();
    }

    /// When [`Watchdog::tend`] has something to do.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.armed.as_ref().map(|_| self.due)
    }

    pub(crate) fn state(&self) -> WatchdogState {
        match (&self.trouble, &self.armed) {
            (Some(why), _) => WatchdogState::Unfed(why.clone()),
            (None, Some(armed)) => WatchdogState::Fed(armed.timeout),
            (None, None) => WatchdogState::None,
        }
    }

    fn read_note(&self) -> Option<(PathBuf, Duration)> {
        let note = fs::read(&self.note).ok()?;
        let at = note.iter().position(|byte| *byte == b' ')?;
        let seconds = std::str::from_utf8(&note[..at]).ok()?.parse().ok()?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(note[at + 1..].strip_suffix(b"\n")?));
        Some((path, Duration::from_secs(seconds)))
    }

    fn take_note(&self, path: &Path, timeout: Duration) -> Result<(), String> {
        let mut note = format!("{} ", timeout.as_secs()).into_bytes();
        note.extend_from_slice(path.as_os_str().as_bytes());
        note.push(b'\n');
        fs::write(&self.note, note).map_err(|error| format!("cannot write {}: {error}", self.note.display()))
    }

    fn forget(&self) {
        if let Err(error) = fs::remove_file(&self.note)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove {}", self.note.display());
        }
    }
}

#[cfg(test)]
mod tests;
