//! Groups whose release is complete only after a reboot of their node: this node's part, and the leader's patience.

use std::collections::BTreeSet;
use std::time::Duration;

use regent_model::ids::{GroupName, IncarnationOf, NodeId};
use regent_model::journal::Level;
use regent_model::state::{Ownership, Phase, StopMode, Tenure};

use crate::engine::Engine;
use crate::io::Leave;

/// How long a machine that was told to reboot may be silent before a fence device is asked to do it.
pub(crate) const REBOOT_PATIENCE: Duration = Duration::from_secs(300);

impl Engine {
    /// The machines that were told to reboot and are given time for it.
    pub(crate) fn rebooting(&self) -> BTreeSet<IncarnationOf> {
        let patient = |about: &IncarnationOf| {
            self.reboots_since.get(about).is_none_or(|at| self.now.since(*at) < REBOOT_PATIENCE)
        };
        let told = self.state.lives.iter().filter(|(_, life)| life.reboots);
        told.map(|(node, life)| IncarnationOf { node: *node, incarnation: life.incarnation })
            .filter(patient)
            .collect()
    }

    /// The log has said that a machine is to be rebooted.
    pub(crate) fn reboot_ordered(&mut self, about: IncarnationOf) {
        self.reboots_since.retain(|known, _| known.node != about.node);
        self.reboots_since.insert(about, self.now);
    }

    /// Reboots this machine when the log says so and nothing is left that could be released before.
    pub(crate) fn follow_reboot(&mut self, life: IncarnationOf) {
        let ordered = self.state.lives.get(&life.node).is_some_and(|l| l.reboots);
        if !ordered || self.leaving || self.state.living(life.node) != Some(life) || !self.only_reboot_helps()
        {
            return;
        }
        if self.hands_over_first() {
            return;
        }
        self.leaving = true;
        let name = self.me.name.clone();
        let text = format!("{name} reboots: what it has released in part ends with that");
        self.tell(Level::Notice, "reboot", text);
        self.out.leave = Some(Leave::Reboot);
    }

    /// Whether everything that this node still owns is down as far as it can be.
    fn only_reboot_helps(&self) -> bool {
        self.owned_here().all(|(_, o)| matches!(o.phase, Phase::AwaitsReboot | Phase::Stuck(_)))
    }

    /// Whether the node may leave with what it owns, because that is down and is to be down.
    pub(crate) fn may_leave(&self, mode: StopMode) -> bool {
        self.owned_here().all(|(name, o)| {
            let enabled = self.state.groups.get(name).is_some_and(|g| g.enabled);
            o.phase == Phase::AwaitsReboot && (mode == StopMode::Graceful || !enabled)
        })
    }

    /// What a move of this group means for its owner's machine, if it means a reboot: said before it happens.
    pub(crate) fn reboot_words(&self, name: &GroupName, to: NodeId) -> String {
        let owner = self.state.ownership(name).map(|o| o.owner);
        let Some(owner) = owner.filter(|o| o.node != to && self.state.ends_by_reboot(name)) else {
            return String::new();
        };
        let others: Vec<&str> = self
            .state
            .owned_by(owner)
            .map(|(other, _)| other.as_str())
            .filter(|o| *o != name.as_str())
            .collect();
        let here = self.state.name_of(owner.node);
        let first = match others.as_slice() {
            [] => String::new(),
            others => format!(", after {} left it", others.join(", ")),
        };
        format!("; {here} is rebooted for that{first}")
    }

    fn owned_here(&self) -> impl Iterator<Item = (&GroupName, &Ownership)> {
        self.state.groups.iter().filter_map(|(name, g)| match &g.tenure {
            Tenure::Owned(o) if o.owner.node == self.me.id => Some((name, o)),
            _ => None,
        })
    }
}
