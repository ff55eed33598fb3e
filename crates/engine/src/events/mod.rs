//! Cluster events of this node: numbered, told in the journal, and carried out one after the other.

use regent_model::event::{Event, EventName, EventNote};
use regent_model::ids::{GroupName, ResourceName};
use regent_model::journal::Level;

use crate::engine::Engine;

impl Engine {
    /// Makes a cluster event happen on this node: it gets the next number, and the journal tells its beginning
    /// and its end.
    pub(crate) fn raise(&mut self, event: Event) {
        let complete = event.name.entry().complete;
        self.happens(event.clone());
        if let Some(name) = complete {
            self.happens(Event { name, ..event });
        }
    }

    /// Raises what the sequencer's words about a resource mean for an application.
    pub(crate) fn raise_for_application(
        &mut self,
        kind: &str,
        group: &GroupName,
        name: Option<&ResourceName>,
    ) {
        let name = name.filter(|name| {
            let config = self.state.config.group(group);
            config.is_some_and(|g| g.applications.iter().any(|a| &a.name == *name))
        });
        let (Some(name), Some(event)) = (name, event_of_kind(kind)) else { return };
        self.raise(Event::new(event, [name.as_str(), self.me.name.as_str()]));
    }

    fn happens(&mut self, event: Event) {
        let number = self.chronicle.next_event();
        let note = EventNote { number, event, within: None };
        for kind in ["event_start", "event_complete"] {
            let text = format!("{} {}", if kind == "event_start" { "begins:" } else { "done:" }, note.event);
            self.write(Level::Step, kind, text, |e| e.event = Some(note.clone()));
        }
    }
}

fn event_of_kind(kind: &str) -> Option<EventName> {
    match kind {
        "restart" => Some(EventName::ServerRestart),
        "gave_up" => Some(EventName::ServerDown),
        _ => None,
    }
}
