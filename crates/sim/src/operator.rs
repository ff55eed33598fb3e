//! The operator: commands at random, each of which must be answered.

use regent_api::{Answer, GroupVerb, NodeVerb, Request};
use regent_engine::io::RequestId;
use regent_model::ids::{NodeId, NodeName};
use regent_model::state::StopMode;

use crate::event::Event;
use crate::sim::Sim;
use crate::time::{MS, Ns, S, US};

/// A request that was not answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) node: NodeId,
    pub(crate) daemon: u64,
    pub(crate) at: Ns,
    pub(crate) words: String,
    /// The machine that is to join, if that was asked.
    pub(crate) joins: Option<NodeName>,
}

/// How long an answer may take: the engine gives up after 8 s, and an agent that hangs while it takes an instance down by
/// hand is given 12 s, and some more to look at why.
pub(crate) const ANSWER_MAX: Ns = 25 * S;

impl Sim {
    /// Asks a daemon; false when there is none.
    pub(crate) fn ask(&mut self, node: NodeId, request: Request) -> bool {
        let Some(daemon) = self.machines.get(&node).and_then(|m| m.daemon.as_ref()).map(|d| d.life) else {
            return false;
        };
        if !self.may_give_its_word(node, &request) {
            return false;
        }
        self.next_request += 1;
        let id = RequestId(self.next_request);
        let words = words_of(&request);
        let name = self.name(node);
        self.trace.world(self.now, format_args!("operator on {name}: {words}"));
        let joins = match &request {
            Request::Join { name, .. } => NodeName::new(name).ok(),
            _ => None,
        };
        self.asked.insert(id, Asked { node, daemon, at: self.now, words, joins });
        self.after(100 * US, Event::Ask { node, daemon, id, request });
        true
    }

    pub(crate) fn answered(&mut self, id: RequestId, answer: &Answer) {
        let Some(asked) = self.asked.remove(&id) else { return };
        let words = match answer {
            Answer::Done(words) => words.clone(),
            Answer::Refused(refusal) => {
                self.marks.hit("a request was refused");
                if refusal.reason.contains("which would be given to") {
                    self.marks.hit("what a definition in force holds was not given away");
                }
                if refusal.reason.contains("no majority of the") {
                    self.marks.hit("a request was given up for want of a majority");
                }
                format!("refused: {} ({})", refusal.reason, refusal.advice)
            }
            Answer::Joined { id, config } => {
                if let Some(name) = &asked.joins {
                    self.joined(NodeId(*id), name, config);
                }
                format!("it is a member now, number {id}")
            }
            _ => return,
        };
        let name = self.name(asked.node);
        self.trace.world(self.now, format_args!("answer of {name}: {words}"));
    }

    /// A request that should have been answered by now.
    pub(crate) fn unanswered(&self) -> Option<String> {
        let late = self.asked.values().find(|asked| {
            let machine = &self.machines[&asked.node];
            machine.is_daemon(asked.daemon) && self.now > asked.at + ANSWER_MAX
        })?;
        let name = self.name(late.node);
        Some(format!("{name} never answered: {}", late.words))
    }

    /// The operator does something.
    pub(crate) fn operate(&mut self) {
        if self.peace {
            return;
        }
        let next = self.rng.skewed(300, 8_000) * MS;
        self.after(next, Event::Operate);
        let nodes = self.nodes();
        let node = *self.rng.pick(&nodes);
        if let Some(name) = self.strangers().first().cloned()
            && self.rng.chance(200)
        {
            self.joins(&name);
            return;
        }
        if self.wants_removal() {
            return;
        }
        let request = self.by_hand().unwrap_or_else(|| self.any_request());
        self.ask(node, request);
    }

    fn any_request(&mut self) -> Request {
        let groups: Vec<String> = self.config.groups.iter().map(|g| g.name.to_string()).collect();
        let names: Vec<String> = self.config.nodes.iter().map(|n| n.name.to_string()).collect();
        let group = self.rng.pick(&groups).clone();
        let name = self.rng.pick(&names).clone();
        let group_verb = |verb| Request::Group { group: group.clone(), verb };
        let node_verb = |verb| Request::Node { node: Some(name.clone()), verb };
        match self.rng.below(27) {
            0..=5 => group_verb(GroupVerb::Move { to: name.clone() }),
            6..=7 => group_verb(GroupVerb::Restart),
            8 => group_verb(GroupVerb::Disable),
            9..=11 => group_verb(GroupVerb::Enable),
            12 => node_verb(NodeVerb::Standby),
            13..=14 => node_verb(NodeVerb::Start),
            15 => Request::Node { node: None, verb: NodeVerb::Stop(StopMode::Graceful) },
            16 => Request::Node { node: None, verb: NodeVerb::Stop(StopMode::Takeover) },
            17 => Request::Node { node: None, verb: NodeVerb::Stop(StopMode::Forced) },
            18 => self.word_about_the_dead().unwrap_or(Request::Status),
            19 => Request::Apply { text: self.other_timers(), dry_run: false },
            20..=22 => self.any_change(),
            23..=24 => group_verb(GroupVerb::Hold { who: "operator".into(), why: "to see".into() }),
            25 => group_verb(GroupVerb::Resume),
            _ => Request::Events { after: 0, limit: 20 },
        }
    }

    /// The configuration with a shorter lease, or as it was.
    fn other_timers(&mut self) -> String {
        let text = self.file.clone();
        let shorter = if self.rng.chance(500) { "fast" } else { "300ms" };
        if self.rng.chance(500) { text } else { crate::variant::with_takeover(&text, shorter) }
    }

    /// The word of a person who has looked: the machine is off and stays off for now.
    fn word_about_the_dead(&self) -> Option<Request> {
        let dead = self.machines.values().find(|m| !m.power && m.boot > 0)?;
        Some(Request::ConfirmDead {
            node: dead.name.to_string(),
            who: "operator".into(),
            why: "I pulled its plug".into(),
            minutes: Some(1),
        })
    }

    /// A node that was stopped is started again after a while.
    pub(crate) fn stopped_on_purpose(&mut self, node: NodeId) {
        if !self.script.is_empty() || self.is_leaving(node) {
            return;
        }
        let delay = self.rng.skewed(200, 6_000) * MS;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let boot = machine.boot;
        machine.wanted = true;
        self.after(delay, Event::ServiceStarts(node, boot));
    }
}

fn words_of(request: &Request) -> String {
    match request {
        Request::Group { group, verb: GroupVerb::Move { to } } => format!("group move {group} {to}"),
        Request::Group { group, verb: GroupVerb::Enable } => format!("group enable {group}"),
        Request::Group { group, verb: GroupVerb::Disable } => format!("group disable {group}"),
        Request::Group { group, verb: GroupVerb::Restart } => format!("group restart {group}"),
        Request::Group { group, verb: GroupVerb::Hold { .. } } => format!("group hold {group}"),
        Request::Group { group, verb: GroupVerb::Resume } => format!("group resume {group}"),
        Request::Node { node, verb } => {
            let node = node.as_ref().map_or(String::new(), |n| format!(" {n}"));
            match verb {
                NodeVerb::Start => format!("node start{node}"),
                NodeVerb::Standby => format!("node standby{node}"),
                NodeVerb::Stop(mode) => format!("node stop{node} --{}", mode.word()),
            }
        }
        Request::ConfirmDead { node, .. } => format!("node confirm-dead {node}"),
        Request::Join { name, .. } => format!("join {name}"),
        Request::Remove { .. } => request.order().unwrap_or_default(),
        Request::Apply { text, .. } => {
            let takeover = text.lines().find(|line| line.starts_with("takeover")).unwrap_or_default();
            format!("apply, {takeover}")
        }
        Request::ApplyLater { .. } => "apply, for later".into(),
        Request::Status => "status".into(),
        Request::Events { .. } => "events".into(),
        other => format!("{other:?}"),
    }
}
