//! Where a sequencer is held up: by the events of its node, and by nothing that keeps anything safe.
//!
//! A gate only delays, and only what the log asked for: what failed comes down whatever the gate says, and the end
//! of a lease is the guard's.

use regent_model::action::Tier;

use super::{Sequencer, Stage};

/// How far a group may go up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Everything up to this tier may come up.
    pub(crate) up: Option<Tier>,
    /// Everything down to this tier may go down.
    pub(crate) down: Option<Tier>,
}

impl Gate {
    /// Nothing is held up.
    pub(crate) const OPEN: Self = Self { up: Some(Tier::Applications), down: Some(Tier::Storage) };
}

impl Sequencer {
    /// Sets the gate.
    pub(crate) fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
    }

    pub(super) fn may_come_up(&self, slot: usize) -> bool {
        self.gate.up.is_some_and(|up| self.slots[slot].resource.tier() <= up)
    }

    pub(super) fn may_go_down(&self, slot: usize) -> bool {
        self.gate.down.is_some_and(|down| self.slots[slot].resource.tier() >= down)
    }

    /// Whether everything up to this tier runs, or will not run here any more.
    pub(crate) fn is_up_to(&self, tier: Tier) -> bool {
        match &self.stage {
            Stage::Acquiring { at } => self.slots[*at..].iter().all(|s| s.resource.tier() > tier),
            Stage::Mending { .. } => false,
            Stage::Online | Stage::Releasing { .. } | Stage::Released | Stage::Stuck => true,
        }
    }

    /// Whether nothing of this tier or above runs, or it cannot be taken down.
    pub(crate) fn is_down_to(&self, tier: Tier) -> bool {
        match &self.stage {
            Stage::Releasing { at, .. } => self.slots[..*at].iter().all(|s| s.resource.tier() < tier),
            Stage::Released => true,
            // Once the log knows of it, only an order to try again leads here.
            Stage::Stuck => !self.stuck_known,
            Stage::Acquiring { .. } | Stage::Mending { .. } | Stage::Online => false,
        }
    }

    /// What it is at work on, if it is: for what takes too long.
    pub(crate) fn at_work(&self) -> Option<String> {
        let slot = |at: usize| self.slots.get(at).map(|_| self.described(at));
        let (what, at) = match &self.stage {
            Stage::Acquiring { at } => ("acquire", *at),
            Stage::Mending { at, .. } => ("restart", at.saturating_sub(1)),
            Stage::Releasing { at, .. } => ("release", at.saturating_sub(1)),
            Stage::Online | Stage::Released | Stage::Stuck => return None,
        };
        let slot = slot(at).map_or_else(String::new, |slot| format!(": {slot}"));
        Some(format!("{what} of {}{slot}", self.group))
    }

    /// Whether a gate keeps it from going on.
    pub(crate) fn is_held_up(&self) -> bool {
        match &self.stage {
            Stage::Acquiring { at } => self.slots.get(*at).is_some() && !self.may_come_up(*at),
            Stage::Releasing { at, failure: None } => *at > 0 && !self.may_go_down(*at - 1),
            _ => false,
        }
    }
}
