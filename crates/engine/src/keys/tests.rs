//! What is said of a change of the key, and of members that it waits for.

use std::collections::{BTreeMap, BTreeSet};

use regent_model::Incarnation;
use regent_model::state::{KeyChange, Proposal};

use super::*;
use crate::answers::tests::lx5;

const LX4: NodeId = NodeId(1);
const LX5: NodeId = NodeId(2);
const WIT: NodeId = NodeId(3);

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// lx5 that hears nobody; all machines are known, and lx4 has begun a change, where one is wanted.
fn engine(stage: Option<KeyStage>) -> Engine {
    let mut engine = lx5();
    let keys = &mut engine.state.keys;
    keys.machines = [LX4, LX5, WIT].map(|id| (id, MachineKey([1; 32]))).into();
    keys.change = stage.map(|stage| KeyChange {
        mark: KeyMark([2; 32]),
        maker: LX4,
        begun_ms: 0,
        stage,
        through: BTreeSet::new(),
        without: BTreeSet::new(),
    });
    engine
}

fn refused(answer: Option<Answer>) -> (String, String) {
    match answer {
        Some(Answer::Refused(refusal)) => (refusal.reason, refusal.advice),
        other => panic!("{other:?}"),
    }
}

#[test]
fn with_two_members_down_the_advice_names_both_and_following_it_begins_the_change() {
    let mut engine = engine(None);
    let (reason, advice) = refused(engine.rotate_key(RequestId(1), &[]));
    assert!(reason.starts_with("lx4 and wit are not heard"), "{reason}");
    assert!(advice.contains("regent key rotate --without lx4 --without wit;"), "{advice}");
    for (left_out, silent) in [("lx4", "wit"), ("wit", "lx4")] {
        let (reason, advice) = refused(engine.rotate_key(RequestId(2), &names(&[left_out])));
        assert!(reason.starts_with(&format!("{silent} is not heard")), "{reason}");
        assert!(advice.contains("regent key rotate --without lx4 --without wit;"), "{advice}");
    }
    let both = engine.rotate_key(RequestId(3), &names(&["lx4", "wit"]));
    assert_eq!(both, Some(Answer::MakeKey { number: 1 }));
}

/// What is answered when these are left out of the change that is under way.
fn answer_without(engine: &mut Engine, left_out: &[&str]) -> (Command, String) {
    let id = RequestId(7);
    assert_eq!(engine.rotate_key(id, &names(left_out)), None, "{:?}", engine.out.answer);
    let (proposal, pending) = engine.proposals.open.pop_first().unwrap();
    let command = pending.command.clone();
    let changes = engine.state.apply(&Proposal { id: proposal, command }, &BTreeSet::new());
    engine.answer_applied(pending.waiting, &changes);
    match engine.out.answer.pop() {
        Some((answered, Answer::Done(words))) if answered == id => (pending.command, words),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_leaves_out_the_only_one_that_has_the_new_key_is_told_that_the_old_one_stays_in_use() {
    let mut spread = engine(Some(KeyStage::Spread));
    let (_, words) = answer_without(&mut spread, &["lx4"]);
    assert!(words.contains("was given up") && words.contains("the old key stays in use"), "{words}");
    assert!(words.ends_with("regent key rotate") && !words.contains("not waited for any more"), "{words}");
    assert_eq!(spread.state.keys.change, None);
    // Later it goes on, and that is said.
    let mut switch = engine(Some(KeyStage::Switch));
    let (_, words) = answer_without(&mut switch, &["lx4"]);
    assert_eq!(words, "lx4 is not waited for any more");
    // Several at once.
    let mut switch = engine(Some(KeyStage::Switch));
    let (command, words) = answer_without(&mut switch, &["wit", "lx4"]);
    assert_eq!(command, Command::KeyWithout { nodes: BTreeSet::from([LX4, WIT]) });
    assert_eq!(words, "lx4 and wit are not waited for any more");
    assert_eq!(switch.state.keys.waits_for([LX4, LX5, WIT]), BTreeSet::from([LX5]));
}

#[test]
fn whoever_a_change_waits_for_it_is_said_what_to_type() {
    let mut engine = engine(Some(KeyStage::Spread));
    engine.state.keys.change.as_mut().unwrap().through.insert(LX5);
    let next = |engine: &Engine| engine.key_status().change.unwrap().next.unwrap();
    assert_eq!(
        next(&engine),
        "start lx4 and wit (there: regent node start), and it goes on by itself; or leave out who stays away: regent key \
         rotate --without lx4 --without wit"
    );
    // One that is heard may be given nothing for ever: its machine is another one.
    engine.heard = BTreeMap::from([(LX4, Incarnation(1)), (WIT, Incarnation(1))]);
    engine.state.keys.change.as_mut().unwrap().through.insert(LX4);
    assert_eq!(
        next(&engine),
        "nothing, it goes on by itself; if it stays so: regent status (the troubles of wit), and regent node stop wit \
         --takeover, then on another member regent key rotate --without wit"
    );
}
