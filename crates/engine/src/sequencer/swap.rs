//! An address that moves to another interface while everything above it runs on.

use std::net::IpAddr;

use regent_model::Moment;
use regent_model::action::{How, Op, Resource, Run, RunId};
use regent_model::ids::ResourceName;

use super::monitoring::Asked;
use super::{ANSWER_GRACE, RunNumbers, Sequencer, Stage};
use crate::io::ResourceWord;

impl Sequencer {
    /// Has an address moved that is up. The answer counts as that of a check: a swap that fails is a failed one.
    /// Nothing while it is brought up or taken down, or is being looked at.
    pub(crate) fn swap(
        &mut self,
        now: Moment,
        resource: &ResourceName,
        numbers: &mut RunNumbers,
    ) -> Option<Run> {
        let at = self.slots.iter().position(|s| s.resource.name() == resource)?;
        let up = match self.stage {
            Stage::Online => true,
            Stage::Acquiring { at: next } => at < next,
            _ => false,
        };
        let swapping = self.swaps.iter().any(|id| self.monitors.get(id).is_some_and(|a| a.slot == at));
        if !up || swapping || self.slots[at].word != ResourceWord::Running {
            return None;
        }
        let id = numbers.next();
        let deadline = self.slots[at].deadline(Op::Acquire);
        self.monitors.insert(id, Asked::as_check(at, now, now + deadline + ANSWER_GRACE));
        self.swaps.insert(id);
        Some(self.order(id, at, Op::Swap, How::Plain, deadline))
    }

    /// The resource that a check which is under way is about.
    pub(crate) fn checked(&self, id: RunId) -> Option<&ResourceName> {
        let slot = self.monitors.get(&id)?.slot;
        Some(self.slots[slot].resource.name())
    }
}

impl Sequencer {
    /// The addresses that are up for now and whose clients are to learn of their end; each with whether it was brought
    /// up here and not found.
    pub(crate) fn addresses_up(&self) -> impl Iterator<Item = (IpAddr, bool)> {
        let stays = matches!(self.stage, Stage::Acquiring { .. } | Stage::Online | Stage::Mending { .. });
        let running = self.slots.iter().filter(move |s| stays && s.word == ResourceWord::Running);
        running.filter_map(|slot| match &slot.resource {
            Resource::Address(a) if a.tickle => Some((a.address, slot.probed)),
            _ => None,
        })
    }
}
