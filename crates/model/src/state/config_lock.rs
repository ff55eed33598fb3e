//! Who is changing the configuration by hand: an advisory lock, which is shown, and which another person may take over.
//! It decides nothing but whether changes that name it are taken. What does not name it (`regent apply`) is told of it.

use serde::{Deserialize, Serialize};

use crate::ids::NodeName;
use crate::state::apply::{Changes, void};
use crate::state::{Change, State};

/// The lock, while somebody has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConfigLock {
    /// Made by its holder, and like no other.
    pub ticket: String,
    /// Who has it.
    pub who: String,
    /// The node on which he is at work.
    pub node: NodeName,
    /// Since when, in milliseconds since 1970. For people; nothing decides by it.
    pub since_ms: u64,
}

impl ConfigLock {
    /// Who has it and where, in words.
    #[must_use]
    pub fn holder(&self) -> String {
        format!("{} on {}", self.who, self.node)
    }
}

impl State {
    /// Gives the lock to `lock`, or to nobody, if the ticket that is replaced is still the one that counts.
    pub(super) fn lock_config(&mut self, lock: Option<&ConfigLock>, over: Option<&str>) -> Changes {
        let held = self.config_lock.as_ref();
        if held.map(|l| l.ticket.as_str()) != over {
            return void(match held {
                Some(held) => format!("{} has the lock of the configuration", held.holder()),
                None => "nobody has the lock of the configuration any more".to_owned(),
            });
        }
        self.config_lock = lock.cloned();
        vec![Change::ConfigLocked(lock.cloned())]
    }

    /// Whether a change that was made under this ticket may be put in force.
    ///
    /// # Errors
    /// Who has the lock instead.
    pub(super) fn still_locked(&self, ticket: Option<&str>) -> Result<(), String> {
        match (ticket, &self.config_lock) {
            (None, _) => Ok(()),
            (Some(ticket), Some(held)) if held.ticket == ticket => Ok(()),
            (Some(_), Some(held)) => {
                Err(format!("{} has taken over the lock of the configuration", held.holder()))
            }
            (Some(_), None) => Err("the lock of the configuration was given up meanwhile".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::parse;
    use crate::ids::GroupName;
    use crate::state::log::Log;
    use crate::state::{Command, NewConfig};

    const TEXT: &str = "[cluster]\nname = \"w\"\n[[node]]\nname = \"lx4\"\naddresses = [\"10.77.0.4\"]\n";
    const GROUP: &str = "[[group]]\nname = \"g\"\nnodes = [\"lx4\"]\n";

    fn lock(ticket: &str, who: &str) -> ConfigLock {
        let node = NodeName::new("lx4").unwrap();
        ConfigLock { ticket: ticket.into(), who: who.into(), node, since_ms: 1 }
    }

    impl Log {
        fn take(&mut self, lock: Option<ConfigLock>, over: Option<&str>) -> Result<(), String> {
            self.commit(Command::LockConfig { lock, over: over.map(str::to_owned) })
        }

        fn change(&mut self, ticket: Option<&str>) -> Result<(), String> {
            let text = format!("{TEXT}{GROUP}");
            let config = parse(&text).config.unwrap();
            let new = NewConfig::replacing(self.state.config_serial, text, config, BTreeSet::new());
            let disabled = BTreeSet::from([GroupName::new("g").unwrap()]);
            let new = NewConfig { lock: ticket.map(str::to_owned), disabled, ..new };
            self.commit(Command::SetConfig(Box::new(new)))
        }
    }

    #[test]
    fn one_has_the_lock_and_another_one_takes_it_only_knowing_from_whom() {
        let mut log = Log::new(TEXT);
        log.take(Some(lock("a", "maria")), None).unwrap();
        let why = log.take(Some(lock("b", "jonas")), None).unwrap_err();
        assert_eq!(why, "maria on lx4 has the lock of the configuration");
        log.take(Some(lock("b", "jonas")), Some("a")).unwrap();
        assert!(log.take(None, Some("a")).is_err(), "who lost it cannot give it up");
        log.take(None, Some("b")).unwrap();
        assert_eq!(log.state.config_lock, None);
    }

    #[test]
    fn who_lost_the_lock_changes_nothing_any_more_and_who_never_had_one_does() {
        let mut log = Log::new(TEXT);
        log.take(Some(lock("a", "maria")), None).unwrap();
        log.take(Some(lock("b", "jonas")), Some("a")).unwrap();
        assert_eq!(
            log.change(Some("a")).unwrap_err(),
            "jonas on lx4 has taken over the lock of the configuration"
        );
        assert_eq!(log.state.config_serial, 0);
        log.change(Some("b")).unwrap();
        log.change(None).unwrap();
        log.take(None, Some("b")).unwrap();
        assert!(log.change(Some("b")).is_err(), "it was given up");
    }

    #[test]
    fn a_new_group_may_begin_disabled_and_one_that_is_known_stays_as_it_is() {
        let mut log = Log::new(TEXT);
        log.change(None).unwrap();
        let name = GroupName::new("g").unwrap();
        assert!(!log.state.groups[&name].enabled);
        log.commit(Command::Enable(name.clone())).unwrap();
        log.change(None).unwrap();
        assert!(log.state.groups[&name].enabled);
    }
}
