//! What a daemon says of the others before it has heard them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_lease::io::ToDaemon;
use regent_model::config::parse;
use regent_model::format::Speaks;
use regent_model::ids::{IncarnationOf, Round};
use regent_model::proof::Promise;
use regent_model::state::{Command, Member, Proposal, ProposalId, State};
use regent_model::{BootId, Epoch, Moment};
use regent_store::Recovered;

use super::*;
use crate::io::{Identity, Input, Restored};

const CLUSTER: &str = r#"[cluster]
name = "ward7"
takeover = "fast"
[[node]]
name = "lx4"
addresses = ["10.77.0.4"]
[[node]]
name = "lx5"
addresses = ["10.77.0.5"]
[[witness]]
name = "wit"
addresses = ["10.77.0.3"]
[[group]]
name = "ward"
nodes = ["lx4", "lx5"]
[[group.address]]
address = "10.77.0.100/24"
"#;

const LX4: NodeId = NodeId(1);
const LX5: NodeId = NodeId(2);
const WIT: NodeId = NodeId(3);
const BEGAN: Moment = Moment(7_000_000_000);

fn life(node: NodeId) -> IncarnationOf {
    IncarnationOf { node, incarnation: Incarnation(1) }
}

/// A cluster in which lx4 has the group online.
fn state() -> State {
    let member = |name: &str, witness| Member { name: NodeName::new(name).unwrap(), witness, votes: true };
    let members = BTreeMap::from([
        (LX4, member("lx4", false)),
        (LX5, member("lx5", false)),
        (WIT, member("wit", true)),
    ]);
    let mut state = State::founded(parse(CLUSTER).config.unwrap(), CLUSTER.into(), members);
    let group = GroupName::new("ward").unwrap();
    let up =
        |node: NodeId| Command::NodeUp { about: life(node), boot: BootId(node.to_string()), clean: true };
    let commands = [
        up(LX4),
        up(LX5),
        up(WIT),
        Command::Assign { group: group.clone(), after: Epoch(0), to: life(LX4) },
        Command::Online { group, epoch: Epoch(1) },
    ];
    for (number, command) in (1..).zip(commands) {
        let id = ProposalId { node: LX4, session: 1, number };
        state.apply(&Proposal { id, command }, &BTreeSet::from([LX4, LX5, WIT]));
    }
    state
}

/// The daemon of lx5 that has just begun.
pub(crate) fn lx5() -> Engine {
    let me = Identity {
        id: LX5,
        name: NodeName::new("lx5").unwrap(),
        session: 2,
        version: "test".into(),
        speaks: Speaks::THIS,
    };
    let founding = Some((state(), BTreeSet::from([LX4, LX5, WIT])));
    let restored = Restored { recovered: Recovered::default(), founding, journal: Vec::new() };
    Engine::new(me, restored, 1, BEGAN, 0).0
}

/// State and remark of lx4, and the state of the group.
fn said(engine: &Engine) -> (String, String, String) {
    let status = engine.status();
    let lx4 = status.nodes.iter().find(|n| n.name.as_str() == "lx4").unwrap();
    (lx4.state.clone(), lx4.remark.clone(), status.groups[0].state.clone())
}

fn ms(ms: u64) -> Moment {
    BEGAN + Duration::from_millis(ms)
}

#[test]
fn a_daemon_that_has_just_begun_says_so_of_whom_it_has_not_heard_and_says_nothing_of_their_groups() {
    let mut engine = lx5();
    engine.step(ms(100), 0, Input::Tick);
    let (state, remark, group) = said(&engine);
    assert_eq!((state.as_str(), remark.as_str()), ("silent", "not heard yet: this daemon began 0.1 s ago"));
    assert_eq!(group, "unknown", "neither online nor blocked");
    let why = "lx4 had it; not heard yet: this daemon began 0.1 s ago";
    assert_eq!(engine.status().groups[0].blocked.as_deref(), Some(why));
    // What is decided by does not know of it.
    assert!(!engine.view().heard.contains(&life(LX4)));
    engine.step(ms(2000), 0, Input::Tick);
    let (state, remark, group) = said(&engine);
    assert_eq!((state.as_str(), group.as_str()), ("silent", "blocked"));
    assert!(remark.starts_with("not heard on any network"), "{remark}");
}

#[test]
fn one_that_was_heard_or_that_somebody_promised_to_ignore_is_silent_also_for_a_new_daemon() {
    let mut engine = lx5();
    engine.step(ms(50), 0, Input::Guard(ToDaemon::PeerHeard(life(LX4))));
    assert_eq!(said(&engine).0, "up");
    let silence = Duration::from_millis(90);
    engine.step(ms(200), 0, Input::Guard(ToDaemon::PeerSilent { peer: life(LX4), silence }));
    assert!(said(&engine).1.starts_with("not heard on any network"), "{:?}", said(&engine));

    let mut engine = lx5();
    engine.promises.insert(Promise { voter: WIT, about: life(LX4), round: Round(1) }, false);
    assert!(said(&engine).1.starts_with("not heard on any network"), "{:?}", said(&engine));
    assert_eq!(said(&engine).2, "blocked");
}
