//! A person's word that a node is dead: on its strength a group is free, for a while.

use regent_model::ids::{BootId, Epoch, IncarnationOf};
use regent_model::proof::Proof;
use regent_model::state::{Change, Command, Member, Tenure};

use crate::cluster::{Cluster, group, life};

const DB: &str = r#"
[[group]]
name = "db"
nodes = ["lx4", "lx5"]
needs = ["fenced"]
[[group.address]]
address = "10.77.0.100/24"
"#;

const LX4: u64 = 1;
const LX5: u64 = 2;

/// lx4 has the group, and somebody says that lx4 is dead.
fn on_a_word() -> Cluster {
    let mut cluster = Cluster::founded(DB);
    cluster.assign("db", life(LX4, 1)).unwrap();
    cluster.commit(Command::Online { group: group("db"), epoch: Epoch(1) }).unwrap();
    cluster.dead(life(LX4, 1));
    assert!(cluster.is_vacant("db") && cluster.state.is_ended(life(LX4, 1)));
    cluster
}

impl Cluster {
    fn dead(&mut self, about: IncarnationOf) {
        let (who, why) = ("maria".to_owned(), "its plug is out".to_owned());
        let command = Command::ConfirmDead { about, who, why, given_ms: 60_000, minutes: 5 };
        self.commit(command).unwrap();
    }

    fn expires(&mut self, epoch: u64) -> Result<Vec<Change>, String> {
        self.commit(Command::ExpireWord { group: group("db"), epoch: Epoch(epoch) })
    }

    fn proof(&self) -> Option<Proof> {
        match &self.state.groups[&group("db")].tenure {
            Tenure::Vacant(proof) => Some(proof.clone()),
            Tenure::Owned(_) => None,
        }
    }
}

#[test]
fn a_word_that_nobody_used_is_good_no_more_and_a_proof_is_needed_again() {
    let mut cluster = on_a_word();
    assert_eq!(cluster.state.word_of(&group("db")).unwrap().until_ms(), 360_000);
    let changes = cluster.expires(1).unwrap();
    assert!(
        matches!(changes.as_slice(), [Change::WordExpired(name, _)] if *name == group("db")),
        "{changes:?}"
    );
    let owned = cluster.state.ownership(&group("db")).unwrap();
    assert_eq!((owned.owner, owned.epoch), (life(LX4, 1), Epoch(1)));
    assert!(cluster.assign("db", life(LX5, 1)).unwrap_err().contains("has an owner"));
    assert!(cluster.expires(1).is_err(), "it expires once");
    // A person may give it again, and the proof that it needs ends it for good.
    cluster.dead(life(LX4, 1));
    cluster.assign("db", life(LX5, 1)).unwrap();
    assert_eq!(cluster.epoch("db"), Epoch(2));
}

#[test]
fn a_word_that_was_used_cannot_expire() {
    let mut cluster = on_a_word();
    cluster.assign("db", life(LX5, 1)).unwrap();
    assert!(cluster.expires(1).is_err() && cluster.expires(2).is_err());
    assert_eq!(cluster.state.ownership(&group("db")).unwrap().owner, life(LX5, 1));
}

#[test]
fn a_word_of_one_ownership_does_not_end_with_that_of_another() {
    let mut cluster = on_a_word();
    assert!(cluster.expires(2).is_err());
    assert!(cluster.is_vacant("db"));
}

#[test]
fn who_comes_back_with_another_boot_proves_what_the_word_said() {
    let mut cluster = on_a_word();
    cluster.up(life(LX4, 2), "boot 1, the next");
    assert_eq!(cluster.proof().unwrap(), Proof::Rebooted { boot: BootId("boot 1, the next".into()) });
    assert!(cluster.expires(1).is_err(), "it rests on a proof now");
}

#[test]
fn who_comes_back_in_the_same_boot_adopts_what_was_its_own_when_the_word_is_good_no_more() {
    let mut cluster = on_a_word();
    let (about, boot) = (life(LX4, 2), BootId("boot 1".into()));
    cluster.commit(Command::NodeUp { about, boot, clean: false }).unwrap();
    assert!(matches!(cluster.proof(), Some(Proof::OperatorsWord { .. })));
    cluster.expires(1).unwrap();
    cluster.commit(Command::Adopt { group: group("db"), epoch: Epoch(1), to: about }).unwrap();
    assert_eq!(cluster.epoch("db"), Epoch(2));
}

#[test]
fn the_word_about_a_machine_that_is_replaced_is_not_given_back() {
    let mut cluster = on_a_word();
    let name = cluster.state.members[&life(LX4, 1).node].name.clone();
    let member = Member { name, witness: false, votes: true };
    cluster.commit(Command::AddMember { id: life(9, 1).node, member }).unwrap();
    assert!(cluster.expires(1).is_err(), "nobody is left whom it could be given back to");
    assert!(cluster.is_vacant("db"));
}

#[test]
fn what_rests_on_a_word_stays_as_it_is_until_it_was_used_or_is_good_no_more() {
    let looser = DB.replace("[\"fenced\"]", "[\"lease-ended\"]");
    let moved = DB.replace("10.77.0.100", "10.77.0.101");
    let more = [DB, &DB.replace("\"db\"", "\"web\"").replace(".100", ".102")].concat();
    let mut cluster = on_a_word();
    for other in [&looser, &moved, ""] {
        let why = cluster.try_apply(other, false).unwrap_err();
        assert!(why.contains("word that lx4 is dead") && why.contains("first: "), "{why}");
    }
    cluster.try_apply(&more, false).unwrap();

    // What lx4 has again is what it acquired: to be let go of by its definition in force.
    cluster.expires(1).unwrap();
    cluster.try_apply(&moved, false).unwrap();
    let held = cluster.state.definition(&group("db")).unwrap();
    assert_eq!(held.addresses[0].address.to_string(), "10.77.0.100");

    let mut cluster = on_a_word();
    cluster.assign("db", life(LX5, 1)).unwrap();
    cluster.try_apply(&moved, false).unwrap();
}
