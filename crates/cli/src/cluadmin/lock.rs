//! The lock of the configuration: one person at a time changes it. It is advisory: another one may take it over, and
//! who had it is told and changes nothing any more. `regent apply` needs none.

use std::path::Path;

use regent_api::{LockWish, Request, Status};
use regent_model::state::ConfigLock;

use super::Shell;
use super::dialog::{Asked, Flow};
use crate::client;
use crate::clustat::clock;
use crate::trouble::Result;

impl Shell<'_> {
    /// Takes the lock when the shell begins. Without it everything but changing goes on.
    pub(super) fn begin_with_the_lock(&self) -> Result<()> {
        let status = client::status(self.asks)?;
        if !status.quorate {
            return self.console.say(
                "no majority of the members is heard: nothing can be changed here now, only looked at\n",
            );
        }
        match self.take_the_lock(&status) {
            Ok(()) => Ok(()),
            Err(Flow::Trouble(trouble)) if trouble.what.is_empty() => Err(trouble),
            Err(Flow::Trouble(trouble)) => self.console.say(&format!("warning: {}\n", trouble.what)),
            Err(Flow::Cancel | Flow::Restart) => self.console.say(
                "without the lock nothing can be changed here. Services can be shown, enabled, disabled and relocated\n",
            ),
        }
    }

    /// Whether the configuration may be changed here: the lock is this shell's, or is taken now.
    pub(super) fn may_change(&self) -> Asked<()> {
        let status = client::status(self.asks)?;
        let mine = self.ticket.borrow().clone();
        if mine.is_some() && status.config_lock.as_ref().map(|l| &l.ticket) == mine.as_ref() {
            return Ok(());
        }
        self.lost(&status)?;
        self.take_the_lock(&status)
    }

    /// What became of the lock and of the configuration since the last command.
    pub(super) fn news(&self) -> Result<()> {
        let status = client::status(self.asks)?;
        self.lost(&status)?;
        if self.serial.replace(status.config_serial) != status.config_serial {
            let text =
                format!("note: configuration {} was put in force by somebody else\n", status.config_serial);
            self.console.say(&text)?;
        }
        Ok(())
    }

    /// Says so, once, where this shell has lost its lock.
    fn lost(&self, status: &Status) -> Result<()> {
        let Some(mine) = self.ticket.take() else { return Ok(()) };
        match &status.config_lock {
            Some(held) if held.ticket == mine => {
                self.ticket.replace(Some(mine));
                Ok(())
            }
            Some(held) => self.console.say(&format!(
                "warning: {} took over the lock of the configuration at {}: nothing can be changed here any more\n",
                held.holder(),
                self.time_of(held)
            )),
            None => self.console.say("warning: the lock of the configuration was given up by somebody else\n"),
        }
    }

    fn take_the_lock(&self, status: &Status) -> Asked<()> {
        let held = status.config_lock.as_ref();
        if let Some(held) = held.filter(|held| !self.setting.take_lock && !is_over(held, status)) {
            self.console.say(&format!(
                "warning: {} has been changing the configuration since {}, and has its lock\n",
                held.holder(),
                self.time_of(held)
            ))?;
            let help = "yes takes the lock away: the other one is told, and can change nothing any more. no leaves it.";
            if !self.ask_yes("Take the lock over", Some(false), help)? {
                return Err(Flow::Cancel);
            }
        }
        let now = (self.setting.clock)();
        let ticket = format!("{}/{}/{now}", namespace(), std::process::id());
        let lock = LockWish { ticket: ticket.clone(), who: self.setting.who.clone(), since_ms: now };
        let over = held.map(|held| held.ticket.clone());
        client::order(self.asks, &Request::LockConfig { lock: Some(lock), over })?;
        self.ticket.replace(Some(ticket));
        Ok(())
    }

    /// When the shell ends. Where that does not work, the next one finds that its holder is over, or asks.
    pub(super) fn give_up_the_lock(&self) {
        if let Some(mine) = self.ticket.take() {
            let _the_next_one_asks = self.asks.ask(&Request::LockConfig { lock: None, over: Some(mine) });
        }
    }

    fn time_of(&self, lock: &ConfigLock) -> String {
        clock(lock.since_ms, &self.setting.zone, "%H:%M:%S")
    }
}

/// What tells this machine's numbers of processes from another one's.
fn namespace() -> String {
    let of_this = std::fs::read_link("/proc/self/ns/pid").ok();
    of_this.map_or_else(String::new, |link| link.display().to_string())
}

/// Whether the holder was a process of this machine, and does not live any more.
fn is_over(held: &ConfigLock, status: &Status) -> bool {
    let mut parts = held.ticket.split('/');
    let same =
        held.node == status.node && parts.next() == Some(namespace().as_str()) && !namespace().is_empty();
    let number = parts.next().and_then(|pid| pid.parse::<u32>().ok());
    same && number.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}
