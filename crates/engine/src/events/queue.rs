//! What is shown of the events of a node, and how a person lets one go on.

use std::time::Duration;

use regent_api::{Answer, QueuedEvent};
use regent_model::NodeId;
use regent_model::journal::Level;
use regent_model::state::Command;

use super::Program;
use super::table::{Kind, Line};
use crate::engine::Engine;
use crate::io::{EventFacts, RequestId};
use crate::proposals::Waiting;

/// The topics of what `status` says about blocked events begin so.
pub(super) const TROUBLE: &str = "event_blocked";

impl Engine {
    /// What is said of this node's events: a blocked one always, the others where somebody may look.
    pub(crate) fn event_facts(&self) -> EventFacts {
        let queue = self.events.programs.iter().filter(|p| !p.is_over()).map(|p| self.queued(p));
        EventFacts { done: self.events_done(), queue: queue.collect() }
    }

    fn queued(&self, program: &Program) -> QueuedEvent {
        let state = match (&program.blocked, program.open.is_empty() && program.work.is_none()) {
            (Some(_), _) => "blocked",
            (None, true) => "waiting",
            (None, false) => "running",
        };
        QueuedEvent {
            number: program.open.last().map(|o| o.note.number),
            event: program.event().to_string(),
            state: state.to_owned(),
            doing: self.doing(program),
            evidence: program.blocked.as_ref().map(|b| b.evidence.clone()).unwrap_or_default(),
        }
    }

    /// What an event does or waits for.
    pub(super) fn doing(&self, program: &Program) -> String {
        if let Some(blocked) = &program.blocked {
            return blocked.text.clone();
        }
        if let Some((what, _)) = program.work.as_ref().and_then(|w| w.running()) {
            return what;
        }
        let groups: Vec<&str> = program.claims.keys().map(|g| g.as_str()).collect();
        let groups = groups.join(", ");
        match program.lines.get(program.at) {
            Some(Line::Await) if program.kind == Kind::Joins => "other nodes let go first".to_owned(),
            Some(Line::Await) if program.kind == Kind::OtherJoins => {
                "the node that joins is heard first".to_owned()
            }
            Some(Line::Await) => "the node that leaves lets go first".to_owned(),
            Some(Line::Gather(_)) => "groups are on their way".to_owned(),
            Some(Line::Part(..)) if program.within_part => format!("at work on {groups}"),
            _ => "waits for the events before it".to_owned(),
        }
    }

    /// What runs and waits on a node, if it is heard.
    fn queue_of(&self, node: NodeId) -> Option<Vec<QueuedEvent>> {
        if node == self.me.id {
            return Some(self.event_facts().queue);
        }
        self.facts.get(&node).filter(|_| self.heard.contains_key(&node)).map(|f| f.events.queue.clone())
    }

    /// What runs and waits on every node that is heard.
    pub(crate) fn event_queue(&self) -> Answer {
        let members = self.state.members.iter().filter(|(_, m)| !m.witness);
        let nodes = members.filter_map(|(id, m)| Some((m.name.clone(), self.queue_of(*id)?))).collect();
        Answer::EventQueue { nodes }
    }

    /// A person wants blocked events to go on, here or on another node.
    pub(crate) fn resume_request(&mut self, id: RequestId, node: Option<&str>) -> Option<Answer> {
        const LOOK: &str = "regent event queue shows what runs and waits";
        let node = match node.map_or(Ok(self.me.id), |name| self.known_node(name)) {
            Ok(node) => node,
            Err(answer) => return Some(answer),
        };
        let name = self.node_name(node);
        match self.queue_of(node).map(|queue| queue.iter().any(|e| e.state == "blocked")) {
            None => return Some(Answer::refused(format!("{name} is not heard"), "regent status")),
            Some(false) => return Some(Answer::refused(format!("no event is blocked on {name}"), LOOK)),
            Some(true) => {}
        }
        let words = format!("the events of {name} go on; the rest of what failed is skipped");
        if node == self.me.id {
            self.resume_events();
            return Some(Answer::Done(words));
        }
        self.propose_for(Command::ResumeEvents(node), Waiting::Request(id, words));
        None
    }

    pub(super) fn tell_blocked(&mut self, program: &Program) {
        let Some(open) = program.open.last() else { return };
        let text =
            format!("event {} {} is blocked: {}", open.note.number, open.note.event, self.doing(program));
        let advice = format!("mend the cause, then: regent event resume --node {}", self.me.name);
        self.troubles.insert(format!("{TROUBLE}_{}", open.note.number), format!("{text}; {advice}"));
        let (note, evidence) = (open.note.clone(), program.blocked.as_ref().map(|b| b.evidence.clone()));
        self.write(Level::Error, TROUBLE, text, |e| {
            e.event = Some(note);
            e.evidence = [evidence.unwrap_or_default(), advice].join("\n").trim().to_owned();
        });
    }

    /// A person has the rest of the failed events of this node skipped: the next ones run, and the groups go on.
    pub(crate) fn resume_events(&mut self) {
        let mut told = Vec::new();
        let now = self.now;
        for program in self.events.programs.iter_mut().filter(|p| p.blocked.is_some()) {
            let since = program.blocked.take().map_or(Duration::ZERO, |b| now.since(b.since));
            program.skipping = true;
            if let Some(work) = &mut program.work {
                work.skip();
            }
            told.extend(program.open.last().map(|o| (o.note.clone(), since)));
        }
        for (note, since) in told {
            self.troubles.remove(&format!("{TROUBLE}_{}", note.number));
            let text = format!("resumed by hand: the rest of {} is skipped", note.event);
            self.write(Level::Notice, "event_resumed", text, |e| {
                e.event = Some(note);
                e.took = Some(since);
            });
        }
    }
}
