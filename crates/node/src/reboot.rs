//! The reboot of this machine when the cluster orders one: as the machine's own shutdown does it, and by the reset
//! line when that does not come to an end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regent_guard::reset::{COMMAND_VARIABLE, ResetLine};

/// How long an orderly shutdown may take.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(120);

/// How often a reset line that had no effect is pulled again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Reboots this machine. The daemon's other threads go on: the guard keeps its lease until the end.
pub(crate) fn machine() -> ! {
    // A machine with a reset line of its own shares its kernel with others: there is no shutdown to ask for.
    if std::env::var_os(COMMAND_VARIABLE).is_none() {
        // What hangs in it must not keep the reset line from being pulled.
        if let Err(error) = std::thread::Builder::new().name("reboot".into()).spawn(shut_down) {
            tracing::error!(%error, "cannot make a thread to ask for the reboot");
        }
        let began = Instant::now();
        while began.elapsed() < SHUTDOWN_WITHIN {
            std::thread::sleep(AGAIN_AFTER);
        }
        tracing::error!("this machine was told to reboot and has not: it is reset");
    }
    let mut line = ResetLine::from_environment();
    loop {
        match &mut line {
            Ok(line) => line.pull("the cluster ordered a reboot"),
            Err(error) => tracing::error!("{error}"),
        }
        std::thread::sleep(AGAIN_AFTER);
    }
}

/// Asks whoever is process 1 to reboot.
fn shut_down() {
    let systemd = Path::new("/run/systemd/system").exists();
    let words: &[&str] = if systemd { &["systemctl", "reboot"] } else { &["reboot"] };
    tracing::warn!("rebooting this machine: {}", words.join(" "));
    let started = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match started {
        Ok(status) if status.success() => {}
        Ok(status) => tracing::error!(%status, "{} failed", words.join(" ")),
        Err(error) => tracing::error!(%error, "{} cannot be run", words.join(" ")),
    }
}
