//! Groups that an operator holds: nothing is done with them by itself until he resumes them. What he orders is done.

use serde::{Deserialize, Serialize};

use crate::ids::GroupName;
use crate::state::apply::{Changes, void};
use crate::state::{Change, Phase, ReleaseReason, State, Tenure};

/// An operator's wish that nothing is done with a group by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Who wants it.
    pub who: String,
    /// Why; empty if nothing was said.
    pub why: String,
    /// Since when, in milliseconds since 1970 by the clock of the node that was asked.
    pub since_ms: u64,
    /// An operator has ordered meanwhile that it is brought up: that is done, once.
    pub ordered: bool,
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "held by {}", self.who)?;
        if self.why.is_empty() { Ok(()) } else { write!(f, " ({})", self.why) }
    }
}

impl State {
    /// The hold of a group, if it is held.
    #[must_use]
    pub fn hold_of(&self, group: &GroupName) -> Option<&Hold> {
        self.groups.get(group)?.held.as_ref()
    }

    /// Why a group may not be brought up now, if it is held and nobody has ordered it.
    pub(super) fn is_kept_down(&self, group: &GroupName) -> Option<String> {
        let hold = self.hold_of(group).filter(|hold| !hold.ordered)?;
        Some(format!("{group} is {hold}"))
    }

    pub(super) fn hold(&mut self, name: &GroupName, who: &str, why: &str, since_ms: u64) -> Changes {
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        let hold = Hold { who: who.to_owned(), why: why.to_owned(), since_ms, ordered: false };
        group.held = Some(hold.clone());
        group.joined_home = None;
        vec![Change::Held(name.clone(), hold)]
    }

    pub(super) fn resume(&mut self, name: &GroupName) -> Changes {
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        match group.held.take() {
            Some(hold) => vec![Change::Resumed(name.clone(), hold)],
            None => void(format!("{name} is not held")),
        }
    }

    /// An operator wants a group brought up, here or there: of one that is held this is done once. What runs already
    /// as it is wanted needs nothing.
    pub(super) fn orders_up(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(hold) = &mut group.held else { return };
        hold.ordered = match &group.tenure {
            Tenure::Vacant(_) => true,
            Tenure::Owned(o) => {
                let leaves = group.moved_to.is_some_and(|to| to != o.owner.node && !group.moved);
                leaves || matches!(o.phase, Phase::Releasing(_) | Phase::AwaitsReboot | Phase::Stuck(_))
            }
        };
    }
}

impl ReleaseReason {
    /// Whether nobody has ordered it, and nothing but a better place asks for it: not done with what is held.
    #[must_use]
    pub fn is_by_itself(&self) -> bool {
        match self {
            Self::Reintegration(_)
            | Self::Standby
            | Self::LostNetwork(_)
            | Self::Follows(_)
            | Self::GivesWay(_) => true,
            Self::Disabled
            | Self::Move(_)
            | Self::Stopping(_)
            | Self::Failed(_)
            | Self::Restart
            | Self::Removed
            | Self::Reboot
            | Self::Parent(_) => false,
        }
    }
}
