//! Applications that an operator wants left alone, and watched again.

use std::collections::BTreeSet;

use regent_api::{Answer, ApplicationVerb};
use regent_model::ids::{GroupName, ResourceName};
use regent_model::state::Command;

use crate::engine::Engine;
use crate::io::RequestId;
use crate::proposals::Waiting;

impl Engine {
    pub(crate) fn application_request(
        &mut self,
        id: RequestId,
        group: &str,
        application: &str,
        verb: ApplicationVerb,
    ) -> Option<Answer> {
        let name = match self.known_group(group) {
            Ok(name) => name,
            Err(answer) => return Some(answer),
        };
        let config = self.state.definition(&name);
        let known: Vec<&ResourceName> =
            config.iter().flat_map(|g| g.applications.iter()).map(|a| &a.name).collect();
        let Some(application) = known.iter().find(|a| a.as_str() == application).map(|a| (*a).clone()) else {
            let names: Vec<&str> = known.iter().map(|a| a.as_str()).collect();
            let advice = match names.is_empty() {
                true => format!("{name} has no applications"),
                false => format!("the applications of {name} are: {}", names.join(", ")),
            };
            return Some(Answer::refused(format!("{name} has no application {application}"), advice));
        };
        if self.state.ownership(&name).is_none() {
            let reason = format!("{name} runs nowhere: there is nothing to watch");
            return Some(Answer::refused(reason, format!("regent group enable {name}")));
        }
        let on = verb == ApplicationVerb::Resume;
        let words = match on {
            true => format!("{application} of {name} is watched again"),
            false => format!(
                "{application} of {name} is not watched until: regent application resume {name} {application}; or until \
                 {name} is stopped, moved or taken over"
            ),
        };
        let group = name.clone();
        self.propose_for(Command::Watch { group, application, on }, Waiting::Request(id, words));
        None
    }

    /// Lets the sequencer of a group know what is not to be watched.
    pub(crate) fn follow_suspensions(&mut self, name: &GroupName) {
        let nothing = BTreeSet::new();
        let suspended = self.state.groups.get(name).map_or(&nothing, |g| &g.suspended);
        let mut wishes = Vec::new();
        if let Some(sequencer) = self.sequencers.get_mut(name) {
            sequencer.suspend(self.now, suspended, &mut wishes);
        }
        self.carry_out(name, wishes);
    }
}
