//! Changes of the configuration that hold on terms, and the lock of those who make them by hand.

use std::collections::BTreeSet;

use regent_api::{Answer, LockWish};
use regent_model::GroupName;
use regent_model::journal::Level;
use regent_model::state::{Command, ConfigLock};

use crate::engine::Engine;
use crate::io::RequestId;
use crate::proposals::Waiting;

/// On what terms a configuration is put in force.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// The ticket of the lock under which it was made.
    pub(crate) lock: Option<String>,
    /// The groups that are disabled when they are new.
    pub(crate) disabled: BTreeSet<GroupName>,
    /// Groups that run are not even added to.
    pub(crate) later: bool,
}

impl Engine {
    /// Somebody else has the lock, or nobody.
    pub(crate) fn tell_lock(&mut self, index: u64, lock: Option<&ConfigLock>) {
        let text = match lock {
            Some(lock) => format!("{} changes the configuration, and has its lock", lock.holder()),
            None => "nobody has the lock of the configuration any more".to_owned(),
        };
        self.tell_indexed(index, Level::Step, "config_lock", text, None);
    }

    /// Puts a configuration in force that was made from the one with this serial.
    pub(crate) fn change_config(
        &mut self,
        id: RequestId,
        text: String,
        serial: u64,
        terms: Terms,
        disabled: &[String],
    ) -> Option<Answer> {
        if serial != self.state.config_serial {
            let reason = format!(
                "configuration {} was put in force meanwhile, and the change was made from {serial}",
                self.state.config_serial
            );
            return Some(Answer::refused(reason, "look at it, and make the change again"));
        }
        let named = disabled.iter().map(|name| regent_api::group_name(name)).collect::<Result<_, _>>();
        let disabled = match named {
            Ok(disabled) => disabled,
            Err(refusal) => return Some(refusal),
        };
        self.apply_config(id, text, false, Terms { disabled, ..terms })
    }

    /// Gives the lock to somebody on this node, or to nobody.
    pub(crate) fn lock_config(
        &mut self,
        id: RequestId,
        lock: Option<LockWish>,
        over: Option<String>,
    ) -> Option<Answer> {
        let words = match &lock {
            Some(lock) => format!("{} has the lock of the configuration", lock.who),
            None => "the lock of the configuration is free".to_owned(),
        };
        let node = self.me.name.clone();
        let lock = lock.map(|l| ConfigLock { ticket: l.ticket, who: l.who, node, since_ms: l.since_ms });
        self.propose_for(Command::LockConfig { lock, over }, Waiting::Request(id, words));
        None
    }

    /// What somebody is told who changes the configuration while another one has its lock.
    pub(crate) fn told_of_the_lock(&self, ticket: Option<&str>) -> String {
        match &self.state.config_lock {
            Some(held) if ticket != Some(held.ticket.as_str()) => {
                format!("; {} is changing it too, with cluadmin, and will be told", held.holder())
            }
            _ => String::new(),
        }
    }
}
