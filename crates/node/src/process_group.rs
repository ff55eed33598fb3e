//! A command that a person has typed starts another one, which may start more: seen to its end, and killed as a whole.
//!
//! The first process of a group keeps the group's number until it is waited for. So whoever kills what it has left behind
//! does that before, or may hit a stranger.

use std::io;
use std::process::Child;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Whether `first` has ended. It can still be waited for afterwards.
///
/// # Errors
/// It is no child any more: it was waited for.
pub fn has_ended(first: &Child) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(first)), options)?.is_some())
}

/// Kills the group that `first`, which was not waited for yet, was started as the first of. One that has ended is none
/// the worse.
///
/// # Errors
/// There is no such group.
pub fn kill(first: &Child) -> io::Result<()> {
    Ok(kill_process_group(Pid::from_child(first), Signal::KILL)?)
}
