//! Groups that an operator holds, and those that go home when their home node joins: what the log lets happen.

use std::collections::BTreeSet;

use regent_model::GroupName;
use regent_model::ids::{Epoch, IncarnationOf, NodeId, Round};
use regent_model::proof::{Promise, Proof};
use regent_model::state::{Command, NewConfig, NodeMode, ReleaseReason};

use crate::cluster::{Cluster, config, group, life};

const WEB: &str = r#"
[[group]]
name = "web"
nodes = ["lx4", "lx5"]
policy = { startup = "home", failover = "next", failback = "join" }
[[group.address]]
address = "10.77.0.100/24"
"#;

fn web() -> GroupName {
    group("web")
}

/// lx4 has the group.
fn cluster() -> Cluster {
    let mut cluster = Cluster::founded(WEB);
    cluster.assign("web", life(1, 1)).unwrap();
    cluster.commit(Command::Online { group: web(), epoch: Epoch(1) }).unwrap();
    cluster
}

impl Cluster {
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

    fn goes_home(&self) -> Option<IncarnationOf> {
        self.state.groups[&web()].joined_home
    }
}

#[test]
fn a_held_group_is_neither_taken_over_nor_moved_by_itself_until_it_is_resumed() {
    let mut cluster = cluster();
    cluster.hold();
    assert_eq!(cluster.state.hold_of(&web()).unwrap().to_string(), "held by root (upgrade)");
    for reason in [ReleaseReason::Reintegration(NodeId(2)), ReleaseReason::Standby] {
        assert_eq!(cluster.release("web", reason), Err("web is held by root (upgrade)".to_owned()));
    }
    cluster.owner_is_lost(life(1, 1));
    assert!(cluster.is_vacant("web"), "the takeover that was proposed does nothing");
    assert_eq!(cluster.assign("web", life(2, 1)), Err("web is held by root (upgrade)".to_owned()));
    cluster.commit(Command::Resume(web())).unwrap();
    cluster.assign("web", life(2, 1)).unwrap();
    assert_eq!(cluster.commit(Command::Resume(web())), Err("web is not held".to_owned()));
}

#[test]
fn what_an_operator_orders_is_done_once_with_a_held_group() {
    for order in [Command::Restart(web()), Command::Move { group: web(), to: NodeId(2) }] {
        let mut cluster = cluster();
        cluster.hold();
        let moves = matches!(order, Command::Move { .. });
        cluster.commit(order).unwrap();
        if moves {
            cluster.release("web", ReleaseReason::Move(NodeId(2))).unwrap();
        } else {
            cluster.commit(Command::Released { group: web(), epoch: Epoch(1), failure: None }).unwrap();
        }
        cluster.assign("web", life(2, 1)).unwrap();
        // That is all that was ordered: what happens then happens to a held group.
        cluster.owner_is_lost(life(2, 1));
        assert!(cluster.assign("web", life(1, 1)).is_err());
        cluster.commit(Command::Enable(web())).unwrap();
        cluster.assign("web", life(1, 1)).unwrap();
    }
}

#[test]
fn to_enable_what_runs_orders_nothing_for_later() {
    let mut cluster = cluster();
    cluster.hold();
    cluster.commit(Command::Enable(web())).unwrap();
    cluster.commit(Command::Move { group: web(), to: NodeId(1) }).unwrap();
    cluster.owner_is_lost(life(1, 1));
    assert!(cluster.assign("web", life(2, 1)).is_err());
}

#[test]
fn a_group_goes_home_when_its_home_node_joins_also_after_it_was_moved_away() {
    let mut cluster = cluster();
    cluster.commit(Command::Move { group: web(), to: NodeId(2) }).unwrap();
    cluster.release("web", ReleaseReason::Move(NodeId(2))).unwrap();
    cluster.assign("web", life(2, 1)).unwrap();
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
    let mut cluster = cluster();
    let apply = |cluster: &mut Cluster, text: String| {
        let replaces = cluster.state.config_serial;
        let config = config(&text);
        let new = NewConfig::replacing(replaces, text, config, BTreeSet::new());
        cluster.commit(Command::SetConfig(Box::new(new))).unwrap();
    };
    apply(&mut cluster, WEB.replace("\"join\"", "\"never\""));
    cluster.up(life(1, 2), "second");
    apply(&mut cluster, WEB.to_owned());
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
    apply(&mut cluster, WEB.replace("\"join\"", "\"home\""));
    assert_eq!(cluster.goes_home(), None);
}
