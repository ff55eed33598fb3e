//! The watchdog device of the machine: when it may be fed, and what may not be acquired while nobody feeds it.

use std::time::Duration;

use regent_model::timers::Timers;
use regent_model::watchdog;
use regent_model::{GroupName, Moment};

use crate::guard::Guard;
use crate::io::WatchdogWish;

/// What the daemon wants of the device, and whether it is so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Watch {
    pub(super) wish: Option<WatchdogWish>,
    /// Why nobody feeds it; nothing when it is armed and fed.
    unfed: Option<String>,
    armed: bool,
}

impl Guard {
    /// What the daemon wants of the watchdog device, and for which timers; nothing before it has said so.
    #[must_use]
    pub fn watchdog_wish(&self) -> Option<(&WatchdogWish, &Timers)> {
        self.watch.wish.as_ref().zip(self.view.as_ref().map(|view| &view.timers))
    }

    /// The device is armed with a timeout that fits the timers, and will be fed; or why not. Until then no group is
    /// acquired that needs it.
    pub fn watchdog_is(&mut self, armed: Result<(), String>) {
        self.watch.armed = armed.is_ok();
        self.watch.unfed = armed.err();
    }

    /// Whether a look at `now` allows one more feed of a device with this timeout: whatever becomes of this process after
    /// the look, the machine is then reset before the lease ends of anything on the list (L4). What is held without lease
    /// ends with none (L10), and where nothing is held there is nothing to end.
    #[must_use]
    pub fn may_feed(&self, now: Moment, timeout: Duration) -> bool {
        let ends = self.list.lease_ends(self.ends_or_lapsed());
        !self.halted && ends.is_none_or(|ends| now + watchdog::reach(timeout) <= ends)
    }

    /// Whether this group may be acquired here, as far as its watchdog goes.
    pub(super) fn is_watched_enough(&self, group: &GroupName) -> Result<(), String> {
        let needs = self.watch.wish.as_ref().is_some_and(|wish| wish.groups.contains(group));
        if !needs || self.watch.armed {
            return Ok(());
        }
        let why = self.watch.unfed.as_deref().unwrap_or("it is not armed yet");
        Err(format!("{group} needs a watchdog, and none is fed on this node: {why}"))
    }
}
