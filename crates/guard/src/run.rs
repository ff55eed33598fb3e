//! A guard from its start to its end.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use regent_lease::Guard;
use regent_model::Incarnation;

use crate::address_leases::Leases;
use crate::daemon_line::DaemonLine;
use crate::durable::Counter;
use crate::envelope::Health;
use crate::held::{self, Mirror};
use crate::keeper::{Course, Keeper};
use crate::lock::{Lock, LockError};
use crate::networks::Networks;
use crate::reset::ResetLine;
use crate::watchdog::{self, Watchdog};
use crate::workers::Workers;
use crate::{NodeIdentity, Paths, clock, identity, realtime, rule_off};

/// The exit code of a guard that cannot begin: starting it again will not help.
pub const REFUSED: u8 = 3;

/// A full disk is tried again after this.
const ROOM_AGAIN: Duration = Duration::from_millis(500);

/// Runs the guard of this machine until the node leaves.
///
/// # Errors
/// In words, with what to type: why it could not begin. Nothing is held by it then.
pub fn run(paths: &Paths) -> Result<(), String> {
    let identity = NodeIdentity::read(&paths.identity())?;
    let ring = identity::read_keys(&paths.key)?;
    let boot = identity::boot_id()?;
    fs::create_dir_all(&paths.run).map_err(|e| format!("cannot make {}: {e}", paths.run.display()))?;
    let _lock = lock(&paths.guard_lock())?;
    let signals = signals().map_err(|error| format!("cannot watch for signals: {error}"))?;
    let reset = ResetLine::from_environment()?;
    realtime::spare_from_oom(-1000);
    let left = held::read(&paths.held(), &boot)?;
    let counter = Counter::new(paths.incarnation());
    let incarnation = Incarnation(number(&counter)?);
    let leases = if identity.witness { Leases::none() } else { Leases::begin(&left) };
    let workers = Workers::start(counter, leases.doorkeeper().clone())?;
    leases.doorkeeper().start();
    let line = DaemonLine::listen(&paths.guard_socket())?;
    let locked = realtime::lock_memory();
    let realtime = realtime::elevate(realtime::KEEPER);
    if !realtime {
        tracing::warn!(
            "the kernel does not grant real-time scheduling: on a busy machine the lease may be lost"
        );
    }
    let now = clock::now();
    let networks =
        Networks::new(&ring, identity.node, incarnation.0, identity.port, &identity.addresses, now);
    tracing::info!(
        "guard of {} ({}), incarnation {incarnation}, {} holdings from before",
        identity.name,
        identity.node,
        left.len()
    );
    let guard = rule_off::weakened(Guard::new(identity.node, incarnation, boot.clone(), left, now));
    let keeper = Keeper {
        watchdog: Watchdog::begin(watchdog::open, paths.watchdog(), &guard),
        guard,
        networks,
        line,
        workers,
        mirror: Mirror::new(paths.held(), boot),
        leases,
        reset,
        signals,
        health: Health { realtime, locked, ..Health::default() },
        course: Course::default(),
    };
    keeper.keep();
    tracing::info!("the guard ends");
    Ok(())
}

/// Writes why the guard refuses to where `regent status` and `regent node start` find it.
pub fn note_refusal(paths: &Paths, why: &str) {
    if let Err(error) = fs::write(paths.refused(), format!("{why}\n")) {
        tracing::warn!("cannot write {}: {error}", paths.refused().display());
    }
}

/// The number of this life. A full disk is waited for: a guard without a number holds nothing.
fn number(counter: &Counter) -> Result<u64, String> {
    let mut told = false;
    loop {
        match counter.next() {
            Err(error) if error.is_full() => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!("{error}: this node can begin when there is room");
                }
                std::thread::sleep(ROOM_AGAIN);
            }
            done => return done.map_err(|error| error.to_string()),
        }
    }
}

/// Resets this machine if the guard that has died held something by a lease: nobody else would end it in time.
/// Returns when there is nothing to do. For a supervisor that is not Regent's own.
///
/// # Errors
/// In words: the boot cannot be told.
pub fn judge_the_dead(paths: &Paths) -> Result<(), String> {
    let boot = identity::boot_id()?;
    let mut line = ResetLine::from_environment()?;
    while held::needs_a_guard(&paths.held(), &boot) {
        line.pull("the guard died while this machine held groups");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// A stream that becomes readable when somebody wants the guard to end, whichever thread the signal comes to.
fn signals() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours)
}

/// There is one guard on a machine.
fn lock(path: &Path) -> Result<Lock, String> {
    Lock::take(path).map_err(|error| match error {
        LockError::Held(pid) => {
            let pid = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
            format!("another guard of this machine runs already ({} is locked{pid})", path.display())
        }
        LockError::Io(error) => format!("cannot lock {}: {error}", path.display()),
    })
}
