//! Cluster events of this node: numbered, told in the journal, and carried out one after the other, with the commands
//! that the configuration puts around them.
//!
//! - [`table`]: what an event consists of, in order.
//! - [`derive`]: which events follow from what the log says, and which groups belong to them.
//! - [`program`]: one event, line by line.
//! - [`command`]: the commands around it, recovery, and what happens when they fail.
//! - [`gates`]: what waits for an event, and for whom events wait.
//! - [`late`]: what takes too long.
//! - [`queue`]: what is shown of it, and `resume`.
//!
//! Without commands nothing waits: an event then only tells what happens anyway. With commands, a group's steps wait
//! for its event. A gate only delays: it is no part of the four rules, what fails comes down regardless, and the
//! end of a lease is the guard's.

mod command;
mod derive;
mod gates;
mod late;
mod program;
mod queue;
mod table;

use std::collections::BTreeMap;

use regent_model::Moment;
use regent_model::action::{CommandEnd, RunId, Tier};
use regent_model::config::Topology;
use regent_model::event::{Event, EventName, EventNote};
use regent_model::ids::{Epoch, GroupName, IncarnationOf, NodeId};
use regent_model::journal::Level;
use regent_model::state::StopMode;

use crate::engine::Engine;
use command::Work;
use late::Lateness;
use table::{Kind, Line, Way};

/// The events of a node.
#[derive(Default)]
pub(crate) struct Events {
    /// In the order in which they began or will begin.
    programs: Vec<Program>,
    /// The newest entry of the log that set an event in motion, or could have.
    last_index: u64,
    late: Lateness,
    /// The topology of the configuration before.
    topology: Option<Topology>,
    /// What an earlier daemon began and did not finish.
    interrupted: Vec<EventNote>,
}

/// One event that happens on this node, with everything that belongs to it.
struct Program {
    kind: Kind,
    /// What its outermost event is told with.
    args: Vec<String>,
    /// The entry of the log that it follows from; 0 if none.
    index: u64,
    /// The life of another node that it is about.
    about: Option<IncarnationOf>,
    mode: Option<StopMode>,
    lines: Vec<Line>,
    at: usize,
    /// Where it is within a part: its event has begun.
    within_part: bool,
    /// Groups wait for it, and it waits for events before it: there are commands to be run.
    gated: bool,
    /// It neither waits for others nor do others wait for it.
    beside: bool,
    claims: BTreeMap<GroupName, Claim>,
    /// Which ways are settled: groups that come later do not belong to it.
    gathered: Vec<Way>,
    /// The events that have begun and not ended, the outermost first.
    open: Vec<Open>,
    /// The number of the event that it is a part of as a whole.
    within: Option<u64>,
    work: Option<Work>,
    blocked: Option<Blocked>,
    /// A person had the rest of the outermost event skipped: its commands are not run.
    skipping: bool,
    since: Moment,
}

/// A group that belongs to an event.
struct Claim {
    epoch: Epoch,
    way: Way,
    /// How far it may go.
    open: Option<Tier>,
}

/// An event that has begun.
struct Open {
    note: EventNote,
    began: Moment,
    status: i32,
}

/// Why an event does not go on.
struct Blocked {
    text: String,
    evidence: String,
    since: Moment,
}

impl Program {
    fn new(kind: Kind, args: Vec<String>, index: u64, now: Moment) -> Self {
        Self {
            kind,
            args,
            index,
            about: None,
            mode: None,
            lines: kind.lines(),
            at: 0,
            within_part: false,
            gated: false,
            beside: false,
            claims: BTreeMap::new(),
            gathered: Vec::new(),
            open: Vec::new(),
            within: None,
            work: None,
            blocked: None,
            skipping: false,
            since: now,
        }
    }

    fn single(event: Event, now: Moment) -> Self {
        let beside = event.name.is_beside_the_queue();
        Self { beside, ..Self::new(Kind::Single(event.name), event.args, 0, now) }
    }

    fn is_over(&self) -> bool {
        self.at >= self.lines.len() && self.work.is_none() && self.open.is_empty()
    }

    /// Whether others in the queue have to wait for it.
    fn is_in_the_way(&self) -> bool {
        !self.is_over() && (!self.beside || self.blocked.is_some())
    }

    /// All events that it consists of.
    fn names(&self) -> impl Iterator<Item = EventName> {
        self.lines.iter().filter_map(|line| match line {
            Line::Begin(name) | Line::Part(name, ..) => Some(*name),
            _ => None,
        })
    }

    /// The innermost event at hand, or the one that it will begin with.
    fn event(&self) -> Event {
        match self.open.last() {
            Some(open) => open.note.event.clone(),
            None => {
                let name = self.names().next().unwrap_or(EventName::EventError);
                Event { name, args: self.args.clone() }
            }
        }
    }

    fn other(&self) -> Option<NodeId> {
        self.about.map(|a| a.node)
    }
}

impl Engine {
    /// Makes a cluster event happen on this node: it gets the next number, its commands are run, and the journal tells
    /// its beginning and its end. What follows it (`..._complete`) follows by itself. It happens after the
    /// events before it, if commands make anybody wait; some ([`EventName::is_beside_the_queue`]) happen at once.
    pub(crate) fn raise(&mut self, event: Event) {
        self.begin_program(Program::single(event, self.now));
    }

    /// As [`Self::raise`], for an event that concerns a group.
    pub(crate) fn raise_about(&mut self, event: Event, group: &GroupName) {
        let Some(epoch) = self.state.groups.get(group).map(|g| g.epoch) else { return };
        let mut program = Program::single(event, self.now);
        // It keeps nobody: the group is only what it is about.
        let claim = Claim { epoch, way: Way::Up, open: Some(Tier::Applications) };
        program.claims.insert(group.clone(), claim);
        self.begin_program(program);
    }

    fn begin_program(&mut self, mut program: Program) {
        program.gated = self.has_commands(&program);
        self.events.programs.push(program);
    }

    /// An agent has run a command of an event.
    pub(crate) fn command_ended(&mut self, id: RunId, end: CommandEnd) {
        let mut programs = std::mem::take(&mut self.events.programs);
        let whose = programs.iter_mut().find(|p| p.work.as_ref().is_some_and(|w| w.waits_for(id)));
        if let Some(program) = whose {
            self.ended(program, end);
        }
        programs.append(&mut self.events.programs);
        self.events.programs = programs;
    }

    /// Lets the events go on as far as they can. True if something moved.
    pub(crate) fn follow_events(&mut self) -> bool {
        if !self.events.interrupted.is_empty() {
            self.tell_interrupted();
        }
        if self.events.programs.is_empty() {
            return false;
        }
        let mut moved = false;
        let mut programs = std::mem::take(&mut self.events.programs);
        for at in 0..programs.len() {
            let (before, rest) = programs.split_at_mut(at);
            let program = &mut rest[0];
            let waits = !program.beside
                && before
                    .iter()
                    .any(|b| b.is_in_the_way() && (b.gated || program.gated || b.blocked.is_some()));
            if waits {
                // What waits for commands of others makes its own groups wait, too.
                program.gated = true;
                continue;
            }
            moved |= self.run_program(program);
        }
        programs.retain(|p| !p.is_over());
        moved |= !self.events.programs.is_empty();
        programs.append(&mut self.events.programs);
        self.events.programs = programs;
        if moved {
            self.tell_done();
        }
        moved
    }

    fn tell_interrupted(&mut self) {
        for note in std::mem::take(&mut self.events.interrupted) {
            let text = format!("interrupted: {}; nothing waits for it any more", note.event);
            self.write(Level::Warning, "event_interrupted", text, |e| e.event = Some(note));
        }
    }

    /// Begins with what the journal of an earlier daemon says of events that did not end.
    pub(crate) fn recall_events(&mut self) {
        self.events.interrupted = self.chronicle.unfinished_events();
        self.events.last_index = self.consensus.applied();
        self.events.topology = Some(self.state.config.topology());
    }

    /// Another life begins: what the last one was at is over, with its groups and its events.
    pub(crate) fn forget_events(&mut self) {
        self.sequencers.clear();
        let programs = std::mem::take(&mut self.events.programs);
        let open = programs.into_iter().flat_map(|p| p.open).map(|o| o.note);
        self.events.interrupted.extend(open);
        self.troubles.retain(|topic, _| !topic.starts_with(queue::TROUBLE));
    }
}
