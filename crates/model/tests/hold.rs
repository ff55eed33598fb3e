//! Groups that an operator holds, and those that go home when their home node joins: what the log lets happen.

#![allow(clippy::unwrap_used, reason = "what is not as it is written here ends the test")]

use std::collections::{BTreeMap, BTreeSet};

use regent_model::GroupName;
use regent_model::config::{Config, parse};
use regent_model::ids::{BootId, Epoch, Incarnation, IncarnationOf, NodeId, Round};
use regent_model::proof::{Promise, Proof};
use regent_model::state::{Change, Command, Member, NewConfig, NodeMode, ReleaseReason, State, Tenure};

const CLUSTER: &str = r#"
[cluster]
name = "ward7"
[[node]]
name = "lx4"
addresses = ["10.77.0.4"]
[[node]]
name = "lx5"
addresses = ["10.77.0.5"]
[[witness]]
name = "wit"
addresses = ["10.77.0.6"]
[[group]]
name = "web"
nodes = ["lx4", "lx5"]
policy = { startup = "home", failover = "next", failback = "join" }
[[group.address]]
address = "10.77.0.100/24"
"#;

fn life(node: u64, incarnation: u64) -> IncarnationOf {
    IncarnationOf { node: NodeId(node), incarnation: Incarnation(incarnation) }
}

fn web() -> GroupName {
    GroupName::try_from("web".to_owned()).unwrap()
}

fn config(text: &str) -> Config {
    parse(text).config.unwrap()
}

struct Cluster {
    state: State,
    voters: BTreeSet<NodeId>,
}

impl Cluster {
    /// lx4 has the group.
    fn new() -> Self {
        let config = config(CLUSTER);
        let names = config.nodes.iter().chain(&config.witnesses).zip(1..);
        let members: BTreeMap<NodeId, Member> = names
            .map(|(node, id)| {
                let witness = config.is_witness(&node.name);
                (NodeId(id), Member { name: node.name.clone(), witness, votes: true })
            })
            .collect();
        let voters = members.keys().copied().collect();
        let mut cluster = Self { state: State::founded(config, CLUSTER.into(), members), voters };
        for node in 1..=3 {
            cluster.up(life(node, 1), "first");
        }
        cluster.assign(life(1, 1)).unwrap();
        cluster.commit(Command::Online { group: web(), epoch: Epoch(1) }).unwrap();
        cluster
    }

    fn commit(&mut self, command: Command) -> Result<Vec<Change>, String> {
        let (after, changes) = self.state.preview(&command, &self.voters);
        self.state = after;
        match changes.as_slice() {
            [Change::Void(why)] => Err(why.clone()),
            _ => Ok(changes),
        }
    }

    fn up(&mut self, about: IncarnationOf, boot: &str) {
        self.commit(Command::NodeUp { about, boot: BootId(boot.into()), clean: true }).unwrap();
    }

    fn assign(&mut self, to: IncarnationOf) -> Result<Vec<Change>, String> {
        let after = self.state.groups[&web()].epoch;
        self.commit(Command::Assign { group: web(), after, to })
    }

    fn release(&mut self, reason: ReleaseReason) -> Result<(), String> {
        let epoch = self.state.groups[&web()].epoch;
        self.commit(Command::Release { group: web(), epoch, reason })?;
        self.commit(Command::Released { group: web(), epoch, failure: None }).map(drop)
    }

    fn hold(&mut self) {
        let (who, why) = ("root".to_owned(), "upgrade".to_owned());
        self.commit(Command::Hold { group: web(), who, why, since_ms: 7 }).unwrap();
    }

    fn owner_is_lost(&mut self, about: IncarnationOf) {
        let others = [1, 2, 3].into_iter().map(NodeId).filter(|id| *id != about.node);
        let promises = others.map(|voter| Promise { voter, about, round: Round(1) }).collect();
        let takeovers = vec![(web(), life(2, 1))];
        self.commit(Command::NodeDown { about, proof: Proof::LeaseEnded { promises }, takeovers }).unwrap();
    }

    fn is_vacant(&self) -> bool {
        matches!(self.state.groups[&web()].tenure, Tenure::Vacant(_))
    }

    fn goes_home(&self) -> Option<IncarnationOf> {
        self.state.groups[&web()].joined_home
    }
}

#[test]
fn a_held_group_is_neither_taken_over_nor_moved_by_itself_until_it_is_resumed() {
    let mut cluster = Cluster::new();
    cluster.hold();
    assert_eq!(cluster.state.hold_of(&web()).unwrap().to_string(), "held by root (upgrade)");
    for reason in [ReleaseReason::Reintegration(NodeId(2)), ReleaseReason::Standby] {
        assert_eq!(cluster.release(reason), Err("web is held by root (upgrade)".to_owned()));
    }
    cluster.owner_is_lost(life(1, 1));
    assert!(cluster.is_vacant(), "the takeover that was proposed does nothing");
    assert_eq!(cluster.assign(life(2, 1)), Err("web is held by root (upgrade)".to_owned()));
    cluster.commit(Command::Resume(web())).unwrap();
    cluster.assign(life(2, 1)).unwrap();
    assert_eq!(cluster.commit(Command::Resume(web())), Err("web is not held".to_owned()));
}

#[test]
fn what_an_operator_orders_is_done_once_with_a_held_group() {
    for order in [Command::Restart(web()), Command::Move { group: web(), to: NodeId(2) }] {
        let mut cluster = Cluster::new();
        cluster.hold();
        let moves = matches!(order, Command::Move { .. });
        cluster.commit(order).unwrap();
        if moves {
            cluster.release(ReleaseReason::Move(NodeId(2))).unwrap();
        } else {
            cluster.commit(Command::Released { group: web(), epoch: Epoch(1), failure: None }).unwrap();
        }
        cluster.assign(life(2, 1)).unwrap();
        // That is all that was ordered: what happens then happens to a held group.
        cluster.owner_is_lost(life(2, 1));
        assert!(cluster.assign(life(1, 1)).is_err());
        cluster.commit(Command::Enable(web())).unwrap();
        cluster.assign(life(1, 1)).unwrap();
    }
}

#[test]
fn to_enable_what_runs_orders_nothing_for_later() {
    let mut cluster = Cluster::new();
    cluster.hold();
    cluster.commit(Command::Enable(web())).unwrap();
    cluster.commit(Command::Move { group: web(), to: NodeId(1) }).unwrap();
    cluster.owner_is_lost(life(1, 1));
    assert!(cluster.assign(life(2, 1)).is_err());
}

#[test]
fn a_group_goes_home_when_its_home_node_joins_also_after_it_was_moved_away() {
    let mut cluster = Cluster::new();
    cluster.commit(Command::Move { group: web(), to: NodeId(2) }).unwrap();
    cluster.release(ReleaseReason::Move(NodeId(2))).unwrap();
    cluster.assign(life(2, 1)).unwrap();
    assert_eq!(cluster.goes_home(), None, "its home node is there all the time");
    cluster.up(life(2, 2), "first");
    assert_eq!(cluster.goes_home(), None, "another node joins");
    cluster.up(life(1, 2), "second");
    assert_eq!(cluster.goes_home(), Some(life(1, 2)));
    assert_eq!(cluster.state.groups[&web()].moved_to, None);
    // An operator who moves it again has the last word.
    cluster.commit(Command::Move { group: web(), to: NodeId(2) }).unwrap();
    assert_eq!(cluster.goes_home(), None);
}

#[test]
fn nothing_goes_home_by_a_change_of_its_policy_nor_to_a_node_that_is_not_to_own_anything_nor_while_it_is_held()
 {
    let mut cluster = Cluster::new();
    let apply = |cluster: &mut Cluster, text: String| {
        let replaces = cluster.state.config_serial;
        let config = config(&text);
        let new = NewConfig::replacing(replaces, text, config, BTreeSet::new());
        cluster.commit(Command::SetConfig(Box::new(new))).unwrap();
    };
    apply(&mut cluster, CLUSTER.replace("\"join\"", "\"never\""));
    cluster.up(life(1, 2), "second");
    apply(&mut cluster, CLUSTER.to_owned());
    assert_eq!(cluster.goes_home(), None);
    cluster.commit(Command::SetMode { node: NodeId(1), mode: NodeMode::Standby }).unwrap();
    cluster.up(life(1, 3), "third");
    assert_eq!(cluster.goes_home(), None, "it joins on standby");
    cluster.commit(Command::SetMode { node: NodeId(1), mode: NodeMode::Active }).unwrap();
    cluster.hold();
    cluster.up(life(1, 4), "fourth");
    cluster.commit(Command::Resume(web())).unwrap();
    assert_eq!(cluster.goes_home(), None, "it was held then");
    cluster.up(life(1, 5), "fifth");
    assert_eq!(cluster.goes_home(), Some(life(1, 5)));
    apply(&mut cluster, CLUSTER.replace("\"join\"", "\"home\""));
    assert_eq!(cluster.goes_home(), None);
}
