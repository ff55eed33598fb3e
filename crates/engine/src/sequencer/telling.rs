//! What a sequencer tells the journal.

use std::time::Duration;

use regent_model::action::Resource;
use regent_model::event::EventName;
use regent_model::ids::ResourceName;
use regent_model::journal::Level;

use super::{Sequencer, Wish};

impl Sequencer {
    pub(super) fn described(&self, slot: usize) -> String {
        let resource = &self.slots[slot].resource;
        format!("{} {}", resource.kind(), resource.title())
    }

    /// The cluster event of what happened to an application; of other resources there is none.
    pub(super) fn raise(&self, event: EventName, slot: usize, wishes: &mut Vec<Wish>) {
        if let Resource::Application(application) = &self.slots[slot].resource {
            wishes.push(Wish::Raise(event, application.name.clone()));
        }
    }

    pub(super) fn tell_slot(
        &self,
        level: Level,
        kind: &'static str,
        slot: usize,
        text: String,
        took: Duration,
        evidence: &str,
    ) -> Wish {
        let took = (took > Duration::ZERO).then_some(took);
        let name = self.slots[slot].resource.name().clone();
        self.tell(level, kind, Some(name), text, took, evidence.to_owned())
    }

    pub(super) fn tell(
        &self,
        level: Level,
        kind: &'static str,
        resource: Option<ResourceName>,
        text: String,
        took: Option<Duration>,
        evidence: String,
    ) -> Wish {
        let text = if resource.is_none() { format!("{} {text} on {}", self.group, self.node) } else { text };
        Wish::Tell { level, kind, resource, text, took, evidence }
    }
}
