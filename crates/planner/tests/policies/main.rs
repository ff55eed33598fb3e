//! Each policy as a story: what happens, line by line, and what the planner makes of it. The owners of the story
//! do at once what the log tells them; proofs and silence are part of the story.

#![allow(clippy::unwrap_used, reason = "a story that does not hold together ends the test")]

mod reboot;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use regent_model::config::parse;
use regent_model::ids::{GroupName, Incarnation, IncarnationOf, NodeId, NodeName, Round};
use regent_model::proof::Promise;
use regent_model::state::{
    Change, Command, Member, NodeMode, Phase, Proposal, ProposalId, State, StopMode, Tenure,
};
use regent_model::{BootId, Epoch};
use regent_planner::{Intent, View, decide, place};

/// A cluster of two nodes and a witness whose leader is the witness, with the groups under test.
struct Story {
    state: State,
    view: View,
    proposals: u64,
    /// Nodes on which the group fails to come up.
    failing: BTreeSet<String>,
    told: String,
}

const HEAD: &str = r#"
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

fn story(groups: &str, lines: &str) -> String {
    let text = format!("{HEAD}{groups}");
    let parsed = parse(&text);
    let config = parsed.config.unwrap_or_else(|| panic!("{:#?}", parsed.findings));
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
    for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let _ = writeln!(story.told, "> {line}");
        story.line(line);
        story.summary();
    }
    story.told
}

impl Story {
    fn id(&self, name: &str) -> NodeId {
        let name = NodeName::new(name).unwrap();
        self.state.id_of(&name).unwrap()
    }

    fn life(&self, name: &str) -> IncarnationOf {
        let node = self.id(name);
        IncarnationOf { node, incarnation: self.state.lives[&node].incarnation }
    }

    fn line(&mut self, line: &str) {
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
                self.view.fenced.insert(self.life(node), "switch".into());
            }
            ["fence", "fails", node] => {
                self.view.fence_failed.insert(self.life(node));
            }
            ["standby", node] => self.mode(node, NodeMode::Standby),
            ["active", node] => self.mode(node, NodeMode::Active),
            ["stop", node, "graceful"] => self.mode(node, NodeMode::Stopping(StopMode::Graceful)),
            ["stop", node, "takeover"] => self.mode(node, NodeMode::Stopping(StopMode::Takeover)),
            ["stop", node, "forced"] => {
                self.mode(node, NodeMode::Stopping(StopMode::Forced));
            }
            ["move", group, node] => {
                let to = self.id(node);
                self.commit(Command::Move { group: name(group), to });
            }
            ["enable", group] => self.commit(Command::Enable(name(group))),
            ["disable", group] => self.commit(Command::Disable(name(group))),
            ["restart", group] => self.commit(Command::Restart(name(group))),
            ["confirm-dead", node] => {
                let about = self.life(node);
                self.commit(Command::ConfirmDead {
                    about,
                    who: "the operator".into(),
                    why: "unplugged".into(),
                });
            }
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
            other => panic!("the story does not understand {other:?}"),
        }
        self.settle();
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

    fn mode(&mut self, node: &str, mode: NodeMode) {
        let node = self.id(node);
        self.commit(Command::SetMode { node, mode });
    }

    fn commit(&mut self, command: Command) {
        self.proposals += 1;
        let id = ProposalId { node: NodeId(3), session: 1, number: self.proposals };
        let voters = self.view.voters.clone();
        for change in self.state.apply(&Proposal { id, command }, &voters) {
            if let Change::FenceRequested(about, _) = &change {
                self.view.fence_failed.remove(about);
            }
            if let Change::Reboots(about) = &change {
                self.view.rebooting.insert(*about);
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
                format!("{} is to cut {}, operated by {}", r.device, node(&about.node), node(&r.by))
            }
            _ => return None,
        })
    }

    /// Owners do what they are told, and the leader decides, until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..50 {
            let next = self.owners_act().or_else(|| decide(&self.state, &self.view).into_iter().next());
            let Some(command) = next else { return };
            self.commit(command);
        }
        panic!("the story does not come to rest:\n{}", self.told);
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
                _ => placement.rule,
            };
            let _ = writeln!(self.told, "  {group} {there}; {why}");
        }
    }
}

fn name(text: &str) -> GroupName {
    GroupName::new(text).unwrap()
}

fn address_group(name: &str, nodes: &str, policy: &str, address: &str) -> String {
    format!(
        "\n[[group]]\nname = \"{name}\"\nnodes = {nodes}\npolicy = {policy}\n\n[[group.address]]\naddress = \"{address}\"\n"
    )
}

fn cascading() -> String {
    address_group("g", r#"["lx4", "lx5"]"#, "\"cascading\"", "10.77.0.100/24")
}

fn rotating() -> String {
    address_group("g", r#"["lx4", "lx5"]"#, "\"rotating\"", "10.77.0.100/24")
}

fn with_disk() -> String {
    format!(
        "{}\n[[group.filesystem]]\ndevice = \"/dev/san0\"\nmount = \"/srv\"\ntype = \"ext4\"\n",
        cascading()
    )
}

#[test]
fn cascading_takes_over_and_gives_back() {
    insta::assert_snapshot!(story(
        &cascading(),
        "up lx5
         up lx4
         silent lx4
         promised lx4
         up lx4"
    ));
}

#[test]
fn cascading_starts_at_home_and_can_be_moved_to_start_elsewhere() {
    insta::assert_snapshot!(story(&cascading(), "up lx5\nmove g lx5\nup lx4"));
}

#[test]
fn rotating_stays_where_it_is_when_the_lost_node_returns() {
    insta::assert_snapshot!(story(
        &rotating(),
        "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4\nmove g lx4"
    ));
}

#[test]
fn two_rotating_groups_start_on_two_nodes_and_share_one_after_a_loss() {
    let groups = format!(
        "{}{}",
        address_group("g1", r#"["lx4", "lx5"]"#, "\"rotating\"", "10.77.0.100/24"),
        address_group("g2", r#"["lx4", "lx5"]"#, "\"rotating\"", "10.77.0.101/24")
    );
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nsilent lx5\npromised lx5\nup lx5"));
}

#[test]
fn mutual_takeover_is_two_cascading_groups_with_crossed_lists() {
    let groups = format!(
        "{}{}",
        address_group("g1", r#"["lx4", "lx5"]"#, "\"cascading\"", "10.77.0.100/24"),
        address_group("g2", r#"["lx5", "lx4"]"#, "\"cascading\"", "10.77.0.101/24")
    );
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4"));
}

#[test]
fn a_group_that_never_fails_back_and_one_that_never_fails_over() {
    let never = r#"{ startup = "first-available", failover = "next", failback = "never" }"#;
    let stay = r#"{ startup = "first-available", failover = "stay", failback = "never" }"#;
    let groups = format!(
        "{}{}",
        address_group("goes", r#"["lx4", "lx5"]"#, never, "10.77.0.100/24"),
        address_group("stays", r#"["lx4", "lx5"]"#, stay, "10.77.0.101/24")
    );
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4"));
}

#[test]
fn a_shared_disk_waits_for_the_fence_device_and_the_end_of_the_lease_is_not_enough() {
    insta::assert_snapshot!(story(
        &with_disk(),
        "up lx4
         up lx5
         silent lx4
         promised lx4
         fence fails lx4
         fence confirms lx4"
    ));
}

#[test]
fn a_shared_disk_is_free_when_its_node_comes_back_rebooted() {
    insta::assert_snapshot!(story(&with_disk(), "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4"));
}

#[test]
fn the_operators_word_ends_an_ownership_and_is_recorded_as_word() {
    insta::assert_snapshot!(story(
        &with_disk(),
        "up lx4\nup lx5\nsilent lx4\npromised lx4\nconfirm-dead lx4"
    ));
}

#[test]
fn a_graceful_stop_takes_the_group_down_until_its_node_returns() {
    insta::assert_snapshot!(story(
        &cascading(),
        "up lx4\nup lx5\nstop lx4 graceful\nsilent lx4\npromised lx4\nup lx4 clean"
    ));
}

#[test]
fn a_graceful_stop_of_a_node_that_is_not_the_home_brings_the_group_back_there() {
    insta::assert_snapshot!(story(
        &rotating(),
        "up lx4\nup lx5\nmove g lx5\nstop lx5 graceful\nsilent lx5\npromised lx5\nup lx5 clean"
    ));
}

#[test]
fn a_stop_with_takeover_moves_the_group() {
    insta::assert_snapshot!(story(
        &cascading(),
        "up lx4\nup lx5\nstop lx4 takeover\nsilent lx4\npromised lx4\nup lx4 clean"
    ));
}

#[test]
fn a_forced_stop_leaves_the_group_and_the_end_of_the_lease_proves_nothing() {
    insta::assert_snapshot!(story(
        &cascading(),
        "up lx4\nup lx5\nstop lx4 forced\nsilent lx4\npromised lx4\nup lx4 unclean\nadopt g"
    ));
}

#[test]
fn a_forced_stop_is_not_answered_by_cutting_the_power() {
    insta::assert_snapshot!(story(&with_disk(), "up lx4\nup lx5\nstop lx4 forced\nsilent lx4\npromised lx4"));
}

#[test]
fn standby_moves_groups_away_and_active_brings_them_back() {
    insta::assert_snapshot!(story(&cascading(), "up lx4\nup lx5\nstandby lx4\nactive lx4"));
}

#[test]
fn a_group_that_fails_at_home_goes_on_and_fails_for_good_when_no_node_is_left() {
    insta::assert_snapshot!(story(
        &cascading(),
        "failing lx4
         up lx4
         up lx5
         failing lx5
         restart g
         mended lx4
         enable g"
    ));
}

#[test]
fn a_group_returns_to_a_node_where_it_failed_when_the_one_that_ran_it_is_lost() {
    insta::assert_snapshot!(story(
        &rotating(),
        "failing lx4
         up lx4
         up lx5
         mended lx4
         silent lx5
         promised lx5"
    ));
}

#[test]
fn disabling_takes_down_and_enabling_starts_afresh() {
    insta::assert_snapshot!(story(&cascading(), "up lx4\nup lx5\ndisable g\nenable g"));
}

#[test]
fn an_entry_that_cites_a_withdrawn_promise_does_nothing() {
    let mut told = String::new();
    let text = format!("{HEAD}{}", cascading());
    let config = parse(&text).config.unwrap();
    let members = BTreeMap::from([(1, "lx4"), (2, "lx5"), (3, "w")].map(|(id, n)| {
        (NodeId(id), Member { name: NodeName::new(n).unwrap(), witness: n == "w", votes: true })
    }));
    let voters: BTreeSet<NodeId> = members.keys().copied().collect();
    let mut state = State::founded(config, text, members);
    let about = IncarnationOf { node: NodeId(1), incarnation: Incarnation(1) };
    let promises: Vec<Promise> = [2, 3].map(|v| Promise { voter: NodeId(v), about, round: Round(7) }).into();
    let down = Command::NodeDown {
        about,
        proof: regent_model::proof::Proof::LeaseEnded { promises: promises.clone() },
        takeovers: Vec::new(),
    };
    let commands = [
        Command::NodeUp { about, boot: BootId("a".into()), clean: true },
        Command::Assign { group: name("g"), after: Epoch(0), to: about },
        Command::Withdraw(promises[0]),
        down,
    ];
    for (number, command) in (1..).zip(commands) {
        let id = ProposalId { node: NodeId(3), session: 1, number };
        let _ = writeln!(told, "{:?}", state.apply(&Proposal { id, command }, &voters));
    }
    assert!(told.ends_with("[Void(\"1 of 3 voters promised: no majority for 1/1\")]\n"), "{told}");
    assert!(!state.is_ended(about));
}
