//! Ctrl-C: the lab goes down before this process ends, so that the prompt comes back to a clean machine.

use std::sync::{Mutex, PoisonError};

use regent_lab::Folder;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{Result, weight};

static LAB: Mutex<Option<Folder>> = Mutex::new(None);

/// Says which lab has to go down when this process is told to end.
pub(crate) fn current(lab: Option<Folder>) {
    *LAB.lock().unwrap_or_else(PoisonError::into_inner) = lab;
}

/// Watches for signals from now on.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn watch() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("\ninterrupted; taking the lab down");
            let lab = LAB.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(Err(why)) = lab.map(|folder| regent_lab::down(&folder)) {
                eprintln!("{why}");
            }
            weight::leave();
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}
