//! A story: what happens, line by line, and what the planner makes of it. The owners of the story do at once what
//! the log tells them; proofs and silence are part of the story.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use regent_model::BootId;
use regent_model::config::{LocalTime, parse};
use regent_model::figure::Figure;
use regent_model::ids::{GroupName, Incarnation, IncarnationOf, NodeId, NodeName, Round};
use regent_model::proof::Promise;
use regent_model::state::{
    Change, Command, Member, NewConfig, NodeMode, Phase, Proposal, ProposalId, State, StopMode, Tenure,
};
use regent_planner::{Intent, View, decide, place};

/// A cluster of two nodes and a witness whose leader is the witness, with the groups under test.
pub(crate) struct Story {
    pub(crate) state: State,
    pub(crate) view: View,
    proposals: u64,
    /// Nodes on which the group fails to come up.
    failing: BTreeSet<String>,
    told: String,
}

pub(crate) const HEAD: &str = r#"
[cluster]
name = "ward7"

[[node]]
name = "lx4"
addresses = ["10.77.0.4", "10.78.0.4"]

[[node]]
name = "lx5"
addresses = ["10.77.0.5", "10.78.0.5"]

[[witness]]
name = "w"
addresses = ["10.77.0.9", "10.78.0.9"]

[[fence]]
name = "switch"
agent = "/usr/sbin/fence_lab"
nodes = ["lx4", "lx5"]
"#;

pub(crate) fn story(groups: &str, lines: &str) -> String {
    let mut story = Story::begin(groups);
    for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let _ = writeln!(story.told, "> {line}");
        story.line(line);
        story.summary();
    }
    story.told
}

impl Story {
    /// The cluster with these groups; only the witness is up.
    pub(crate) fn begin(groups: &str) -> Self {
        let text = format!("{HEAD}{groups}");
        let parsed = parse(&text);
        let config = parsed.config.unwrap_or_else(|| panic!("{text}\n{:#?}", parsed.findings));
        let names = config.nodes.iter().chain(&config.witnesses).map(|n| n.name.clone());
        let members: BTreeMap<NodeId, Member> = (1..)
            .map(NodeId)
            .zip(names)
            .map(|(id, name)| (id, Member { witness: config.is_witness(&name), name, votes: true }))
            .collect();
        let view = View { voters: members.keys().copied().collect(), ..View::default() };
        let state = State::founded(config, text, members);
        let mut story = Story { state, view, proposals: 0, failing: BTreeSet::new(), told: String::new() };
        story.line("up w");
        story.told.clear();
        story
    }

    /// Whether the registered life of a node goes on and is heard.
    pub(crate) fn is_up(&self, node: &str) -> bool {
        self.state.living(self.id(node)).is_some_and(|life| self.view.heard.contains(&life))
    }

    fn id(&self, name: &str) -> NodeId {
        let name = NodeName::new(name).unwrap();
        self.state.id_of(&name).unwrap()
    }

    fn life(&self, name: &str) -> IncarnationOf {
        let node = self.id(name);
        IncarnationOf { node, incarnation: self.state.lives[&node].incarnation }
    }

    /// A node has lost a network alone, or has it again.
    fn network(&mut self, node: &str, network: &str, lost: bool) {
        let it = (self.id(node), network.parse::<usize>().unwrap() - 1);
        let _was_so = if lost { self.view.lost.insert(it) } else { self.view.lost.remove(&it) };
    }

    pub(crate) fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["up", node, how @ ..] => self.up(node, how.first().copied().unwrap_or("rebooted")),
            ["silent", node] => {
                let life = self.life(node);
                self.view.heard.remove(&life);
            }
            ["promised", node] => {
                let about = self.life(node);
                let others: Vec<NodeId> =
                    self.view.voters.iter().copied().filter(|v| *v != about.node).collect();
                for voter in others {
                    self.view.matured.insert(Promise { voter, about, round: Round(1) });
                }
            }
            ["fence", "confirms", node] => {
                let about = self.life(node);
                let devices = self.state.fence_requests.get(&about).map_or("switch".into(), |r| r.words());
                self.view.fenced.insert(about, devices);
            }
            ["fence", "fails", node] => {
                self.view.fence_failed.insert(self.life(node));
            }
            ["restore", group] => self.commit(Command::Restore(name(group))),
            ["standby", node] => self.mode(node, NodeMode::Standby),
            ["active", node] => self.mode(node, NodeMode::Active),
            ["stop", node, "graceful"] => self.mode(node, NodeMode::Stopping(StopMode::Graceful)),
            ["stop", node, "takeover"] => self.mode(node, NodeMode::Stopping(StopMode::Takeover)),
            ["stop", node, "forced"] => self.mode(node, NodeMode::Stopping(StopMode::Forced)),
            ["move", group, node] => {
                let to = self.id(node);
                self.commit(Command::Move { group: name(group), to });
            }
            ["enable", group] => self.commit(Command::Enable(name(group))),
            ["disable", group] => self.commit(Command::Disable(name(group))),
            ["restart", group] => self.commit(Command::Restart(name(group))),
            ["confirm-dead", node] => {
                let (about, who, why) = (self.life(node), "the operator".into(), "unplugged".into());
                self.commit(Command::ConfirmDead { about, who, why, given_ms: 0, minutes: 30 });
            }
            ["breaks", group, why @ ..] => {
                let Tenure::Owned(o) = self.state.groups[&name(group)].tenure.clone() else {
                    panic!("no owner")
                };
                let failure = Some(why.join(" "));
                self.commit(Command::Released { group: name(group), epoch: o.epoch, failure });
            }
            ["lost", node, network] => self.network(node, network, true),
            ["found", node, network] => self.network(node, network, false),
            ["failing", node] => {
                self.failing.insert((*node).to_owned());
            }
            ["mended", node] => {
                self.failing.remove(*node);
            }
            ["adopt", group] => {
                let Tenure::Owned(o) = self.state.groups[&name(group)].tenure.clone() else {
                    panic!("no owner")
                };
                let to = self.state.living(o.owner.node).unwrap();
                self.commit(Command::Adopt { group: name(group), epoch: o.epoch, to });
            }
            other => self.learns(other),
        }
        self.settle();
    }

    /// What the leader knows beside the log, and what else an operator wants.
    fn learns(&mut self, words: &[&str]) {
        match words {
            ["hold", group, why @ ..] => {
                let (who, why) = ("root".to_owned(), why.join(" "));
                self.commit(Command::Hold { group: name(group), who, why, since_ms: 0 });
            }
            ["resume", group] => self.commit(Command::Resume(name(group))),
            ["apply", from, to] => self.apply(from, to),
            ["registered", node] => self.registers(node),
            ["met", node] => {
                self.view.met.insert(self.life(node));
            }
            ["measured", node, what, value] => {
                let figure = match *what {
                    "memory" => Figure::FreeMemory,
                    "cpu" => Figure::IdleCpu,
                    group => Figure::Script(name(group)),
                };
                let id = self.id(node);
                self.view.figures.entry(id).or_default().insert(figure, value.parse().unwrap());
            }
            ["heard", node, "for", time] => {
                let life = self.life(node);
                self.view.heard_for.insert(life, seconds(time));
            }
            ["settling", "over"] => self.view.settling = None,
            ["settling", time] => self.view.settling = Some(seconds(time)),
            ["at", time] => self.view.local = Some(local(time)),
            other => panic!("the story does not understand {other:?}"),
        }
    }

    fn up(&mut self, node: &str, how: &str) {
        let id = self.id(node);
        let before = self.state.lives.get(&id);
        let incarnation = before.map_or(Incarnation(1), |l| l.incarnation.next());
        let boot = match (how, before) {
            ("rebooted", _) | (_, None) => BootId(format!("boot-{incarnation}")),
            (_, Some(life)) => life.boot.clone(),
        };
        let about = IncarnationOf { node: id, incarnation };
        self.commit(Command::NodeUp { about, boot, clean: how == "clean" });
        self.view.heard.retain(|h| h.node != id);
        self.view.heard.insert(about);
    }

    /// The file with every `from` in it replaced; what follows from that is told.
    fn apply(&mut self, from: &str, to: &str) {
        let text = self.state.config_text.replace(from, to);
        let config = parse(&text).config.unwrap();
        for line in self.state.effects_of(&config, false) {
            let _ = writeln!(self.told, "    plan: {line}");
        }
        let replaces = self.state.config_serial;
        let new = NewConfig::replacing(replaces, text, config, BTreeSet::new());
        self.commit(Command::SetConfig(Box::new(new)));
    }

    /// A node is registered at its disks, through every device at the storage that has them.
    fn registers(&mut self, node: &str) {
        let about = self.life(node);
        let it = NodeName::new(node).unwrap();
        let devices: Vec<_> = self.state.config.storage_fences_of(&it).cloned().collect();
        for fence in devices {
            let barrier = fence.barrier().unwrap();
            self.commit(Command::Registered { about, device: fence.name, barrier });
        }
    }

    fn mode(&mut self, node: &str, mode: NodeMode) {
        let node = self.id(node);
        self.commit(Command::SetMode { node, mode });
    }

    fn commit(&mut self, command: Command) {
        self.proposals += 1;
        let id = ProposalId { node: NodeId(3), session: 1, number: self.proposals };
        let voters = self.view.voters.clone();
        for change in self.state.apply(&Proposal { id, command }, &voters) {
            if let Change::Reboots(about) = &change {
                self.view.rebooting.insert(*about);
            }
            if let Change::FenceRequested(about, _) = &change {
                self.view.fence_failed.remove(about);
            }
            if let Some(words) = self.words(&change) {
                let _ = writeln!(self.told, "    {words}");
            }
        }
    }

    fn words(&self, change: &Change) -> Option<String> {
        let node = |id: &NodeId| self.state.name_of(*id);
        Some(match change {
            Change::Void(why) => format!("(void: {why})"),
            Change::NodeDown(about, proof) => format!("{} is down: {proof}", node(&about.node)),
            Change::Assigned(group, o) => {
                format!("{} owns {group}, epoch {}, proof {}", node(&o.owner.node), o.epoch, o.proof.word())
            }
            Change::PhaseChanged(group, o) => match &o.phase {
                Phase::Releasing(why) => format!("{} takes {group} down: {why}", node(&o.owner.node)),
                Phase::AwaitsReboot => {
                    format!("{group} is down on {}, but for a reboot", node(&o.owner.node))
                }
                _ => return None,
            },
            Change::Reboots(about) => format!("{} is to be rebooted", node(&about.node)),
            Change::FailedOn(group, id, why) => format!("{group} failed on {}: {why}", node(id)),
            Change::FenceRequested(about, r) => {
                let to = if r.devices.len() > 1 { "are to" } else { "is to" };
                format!("{} {to} cut {}, operated by {}", r.words(), node(&about.node), node(&r.by))
            }
            _ => return None,
        })
    }

    /// Owners do what they are told, and the leader decides, until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..50 {
            let mut next: Vec<Command> = self.owners_act().into_iter().collect();
            if next.is_empty() {
                next = decide(&self.state, &self.view);
            }
            if next.is_empty() {
                return;
            }
            // Everything that the leader proposes at once is in the log before anybody acts on it.
            next.into_iter().for_each(|command| self.commit(command));
        }
        panic!("the story does not come to rest:\n{}\n{}", self.state.config_text, self.told);
    }

    fn owners_act(&self) -> Option<Command> {
        self.state.groups.iter().find_map(|(group, g)| {
            let Tenure::Owned(o) = &g.tenure else { return None };
            if !self.view.heard.contains(&o.owner) {
                return None;
            }
            let group = group.clone();
            let failing = self.failing.contains(&self.state.name_of(o.owner.node));
            match &o.phase {
                Phase::Acquiring if failing => {
                    let failure = Some("application app: exit status 1".to_owned());
                    Some(Command::Released { group, epoch: o.epoch, failure })
                }
                Phase::Acquiring => Some(Command::Online { group, epoch: o.epoch }),
                Phase::Releasing(_) => Some(Command::Released { group, epoch: o.epoch, failure: None }),
                Phase::Online | Phase::Stuck(_) | Phase::AwaitsReboot => None,
            }
        })
    }

    /// Where every group is, and what keeps it from running.
    fn summary(&mut self) {
        for (group, g) in &self.state.groups {
            let placement = place(&self.state, &self.view, group);
            let there = match &g.tenure {
                Tenure::Owned(o) => format!("on {}", self.state.name_of(o.owner.node)),
                Tenure::Vacant(_) => "down".to_owned(),
            };
            let why = match &placement.intent {
                Intent::Blocked { reason, advice } => format!("BLOCKED: {reason} [{advice}]"),
                Intent::Failed { reason, advice } => format!("FAILED: {reason} [{advice}]"),
                Intent::Rest(why) => format!("resting: {why}"),
                Intent::Waits { reason, advice } => format!("waiting: {reason} [{advice}]"),
                _ => placement.rule,
            };
            let _ = writeln!(self.told, "  {group} {there}; {why}");
        }
    }
}

pub(crate) fn name(text: &str) -> GroupName {
    GroupName::try_from(text.to_owned()).unwrap()
}

pub(crate) fn address_group(name: &str, nodes: &str, policy: &str, address: &str) -> String {
    format!(
        "\n[[group]]\nname = \"{name}\"\nnodes = {nodes}\npolicy = {policy}\n\n[[group.address]]\naddress = \"{address}\"\n"
    )
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.trim_end_matches('s').parse().unwrap())
}

/// The civil time of `2026-11-22T02:00`.
fn local(text: &str) -> LocalTime {
    let time: jiff::civil::DateTime = format!("{text}:00").parse().unwrap();
    let seconds = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
    LocalTime::of(u64::try_from(seconds).unwrap() * 1000, 0)
}
