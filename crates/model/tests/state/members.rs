//! Members that leave for good: in which steps, when each may be, and that their numbers and tokens are good for nothing.

use std::collections::BTreeSet;

use regent_model::config::parse;
use regent_model::ids::{BootId, Epoch, NodeId, NodeName, Round};
use regent_model::proof::{Promise, Proof};
use regent_model::state::{
    Change, Command, Fate, Leaving, MachineKey, Member, NewConfig, NodeMode, Showing, Ticket, TicketId,
    Verifier,
};

use crate::cluster::{Cluster, HEAD, group, life};

const WI2: &str = "[[witness]]\nname = \"wi2\"\naddresses = [\"10.77.0.7\"]\n";
const WEB: &str = "[[group]]\nname = \"web\"\nnodes = [\"lx4\", \"lx5\"]\n[[group.address]]\naddress = \"10.77.0.100/24\"\n";

/// Two nodes and two witnesses; lx5 owns the group.
fn four() -> Cluster {
    let mut cluster = Cluster::founded(&format!("{WI2}{WEB}"));
    cluster.up(life(4, 1), "boot 4");
    let (to, after) = (life(2, 1), Epoch(0));
    cluster.commit(Command::Assign { group: group("web"), after, to }).unwrap();
    cluster
}

fn leave(node: u64) -> Command {
    Command::Leave { node: NodeId(node), leaving: Leaving { who: "maria".into(), since_ms: 5 } }
}

/// The configuration in force without the member of this name, which owns or lists nothing else.
fn without(cluster: &Cluster, name: &str) -> Box<NewConfig> {
    let whole = format!("{HEAD}{WI2}{WEB}");
    let mut text = whole.replace(&format!("\"{name}\", "), "").replace(&format!(", \"{name}\""), "");
    for table in ["node", "witness"] {
        let head = format!("[[{table}]]\nname = \"{name}\"\n");
        if let Some(at) = text.find(&head) {
            let end = at + head.len() + text[at + head.len()..].find('\n').unwrap() + 1;
            text.replace_range(at..end, "");
        }
    }
    let config = parse(&text).config.unwrap_or_else(|| panic!("{text}"));
    Box::new(NewConfig::replacing(cluster.state.config_serial, text, config, BTreeSet::new()))
}

fn remove(cluster: &mut Cluster, node: u64, name: &str) -> Result<Vec<Change>, String> {
    let new = without(cluster, name);
    cluster.commit(Command::RemoveMember { node: NodeId(node), new })
}

/// A majority has promised about its last life.
fn is_over(cluster: &mut Cluster, node: u64) {
    let about = life(node, 1);
    let promise = |voter: &NodeId| Promise { voter: *voter, about, round: Round(1) };
    let promises = cluster.voters.iter().filter(|v| v.0 != node).map(promise).collect();
    let proof = Proof::LeaseEnded { promises };
    cluster.commit(Command::NodeDown { about, proof, takeovers: Vec::new() }).unwrap();
}

#[test]
fn a_witness_is_removed_when_it_votes_no_more_and_its_life_is_over() {
    let mut cluster = four();
    assert!(remove(&mut cluster, 3, "wit").unwrap_err().contains("nobody wants wit to leave"));
    assert_eq!(cluster.commit(leave(3)).unwrap(), [Change::Leaves(NodeId(3))]);
    assert!(cluster.commit(leave(3)).unwrap_err().contains("already"));
    assert!(remove(&mut cluster, 3, "wit").unwrap_err().contains("still votes"));
    cluster.voters.remove(&NodeId(3));
    assert!(remove(&mut cluster, 3, "wit").unwrap_err().contains("nothing proves yet"));
    is_over(&mut cluster, 3);
    let changes = remove(&mut cluster, 3, "wit").unwrap();
    assert_eq!(changes, [Change::ConfigChanged, Change::MemberRemoved(NodeId(3))]);
    assert_eq!(cluster.state.name_of(NodeId(3)), "wit", "the journal still knows it");
    assert!(cluster.state.leaving.is_empty() && cluster.state.living(NodeId(3)).is_none());
    // Neither a life of it nor its number ever counts again.
    let (about, boot) = (life(3, 9), BootId("another".into()));
    assert!(cluster.commit(Command::NodeUp { about, boot, clean: true }).is_err());
    let member = Member { name: NodeName::new("wit").unwrap(), witness: true, votes: true };
    assert!(cluster.commit(Command::AddMember { id: NodeId(3), member: member.clone() }).is_err());
    cluster.commit(Command::AddMember { id: NodeId(5), member }).unwrap();
}

#[test]
fn an_owner_is_removed_only_when_its_group_has_another_owner_or_none() {
    let mut cluster = four();
    cluster.commit(leave(2)).unwrap();
    cluster.voters.remove(&NodeId(2));
    let stops = NodeMode::Stopping(regent_model::state::StopMode::Takeover);
    cluster.commit(Command::SetMode { node: NodeId(2), mode: stops }).unwrap();
    assert!(remove(&mut cluster, 2, "lx5").unwrap_err().contains("nothing proves yet"));
    cluster.commit(Command::Released { group: group("web"), epoch: Epoch(1), failure: None }).unwrap();
    cluster.commit(Command::Move { group: group("web"), to: NodeId(2) }).unwrap();
    is_over(&mut cluster, 2);
    remove(&mut cluster, 2, "lx5").unwrap();
    let web = &cluster.state.groups[&group("web")];
    assert_eq!((web.moved_to, web.moved), (None, false), "where nobody is, nothing is to go");
    let (to, after) = (life(1, 1), Epoch(1));
    cluster.commit(Command::Assign { group: group("web"), after, to }).unwrap();
}

#[test]
fn what_only_a_device_ends_keeps_its_member() {
    let fenced = WEB.replace("[[group.address]]", "needs = [\"fenced\"]\n[[group.address]]");
    let mut cluster = Cluster::founded(&format!("{WI2}{fenced}"));
    let (to, after) = (life(2, 1), Epoch(0));
    cluster.commit(Command::Assign { group: group("web"), after, to }).unwrap();
    cluster.commit(leave(2)).unwrap();
    cluster.voters.remove(&NodeId(2));
    is_over(&mut cluster, 2);
    assert!(remove(&mut cluster, 2, "lx5").unwrap_err().contains("lx5 owns web"));
    let (who, why) = ("maria".to_owned(), "burnt".to_owned());
    cluster.commit(Command::ConfirmDead { about: to, who, why, given_ms: 1, minutes: 30 }).unwrap();
    remove(&mut cluster, 2, "lx5").unwrap();
    let expired = Command::ExpireWord { group: group("web"), epoch: Epoch(1) };
    assert!(cluster.commit(expired).is_err(), "there is nobody whom it could be given back to");
}

#[test]
fn two_votes_without_anybody_to_decide_and_a_cluster_without_nodes_are_refused() {
    let mut cluster = Cluster::founded(WEB);
    let why = cluster.commit(leave(3)).unwrap_err();
    assert!(why.contains("lx4 and lx5 would be two votes"), "{why}");
    assert!(cluster.state.must_stay(NodeId(3)).unwrap().1.contains("regent token --witness"));
    // The one before counts, also while it is still there.
    let mut cluster = four();
    cluster.commit(leave(3)).unwrap();
    assert!(cluster.commit(leave(4)).is_err());
    assert_eq!(cluster.commit(Command::Stay(NodeId(3))).unwrap(), [Change::Stays(NodeId(3))]);
    cluster.commit(leave(4)).unwrap();
    assert!(cluster.commit(Command::Stay(NodeId(3))).is_err());
    let alone = Member { name: NodeName::new("lx5").unwrap(), witness: true, votes: true };
    cluster.state.members.retain(|id, _| id.0 == 1);
    cluster.state.members.insert(NodeId(3), alone);
    assert!(cluster.commit(leave(1)).unwrap_err().contains("last node"));
}

#[test]
fn the_configuration_must_name_everybody_else_and_be_made_of_the_one_in_force() {
    let mut cluster = four();
    cluster.commit(leave(3)).unwrap();
    cluster.voters.remove(&NodeId(3));
    is_over(&mut cluster, 3);
    let with = |new: Box<NewConfig>| {
        let (_, changes) =
            cluster.state.preview(&Command::RemoveMember { node: NodeId(3), new }, &cluster.voters);
        format!("{changes:?}")
    };
    let fits = without(&four(), "wit");
    let still = NewConfig { config: four().state.config, ..(*fits).clone() };
    assert!(with(Box::new(still)).contains("still names wit"));
    let other = parse(&fits.text.replace("wi2", "wi3")).config.unwrap();
    assert!(with(Box::new(NewConfig { config: other, ..(*fits).clone() })).contains("does not name wi2"));
    let late = NewConfig { replaces: 7, ..(*fits).clone() };
    assert!(with(Box::new(late)).contains("meanwhile"));
    assert!(with(fits).contains("MemberRemoved"));
}

#[test]
fn the_token_and_the_key_pair_of_a_machine_end_with_its_membership() {
    let mut cluster = four();
    let (id, name) = (TicketId(7), NodeName::new("wit").unwrap());
    let (machine, verifier) = (MachineKey([3; 32]), Verifier([7; 32]));
    let made_on = NodeName::new("lx4").unwrap();
    let ticket = Ticket { verifier, witness: true, made_ms: 0, until_ms: 100, made_on, fate: Fate::Open };
    cluster.commit(Command::Invite { id, ticket }).unwrap();
    let showing = Showing { ticket: id, verifier, machine, at_ms: 10 };
    cluster.commit(Command::Admit { showing: showing.clone(), name: name.clone(), witness: true }).unwrap();
    cluster.commit(Command::Machine { node: NodeId(3), key: machine }).unwrap();
    cluster.commit(leave(3)).unwrap();
    cluster.voters.remove(&NodeId(3));
    is_over(&mut cluster, 3);
    remove(&mut cluster, 3, "wit").unwrap();
    assert!(!cluster.state.keys.machines.contains_key(&NodeId(3)));
    assert!(cluster.state.objection(&showing, &name, true).unwrap().0.contains("revoked"));
}
