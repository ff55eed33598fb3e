//! Changes of the cluster's key, step by step: the table of what a member does, and every order in which members may be
//! through, each of them having applied more or less of the log.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::state::Command;
use crate::state::log::Log;
use crate::state::{Member, State};

const TEXT: &str = "[cluster]\nname = \"w\"\n[[node]]\nname = \"lx4\"\naddresses = [\"10.77.0.4\"]\n\
                    [[node]]\nname = \"lx5\"\naddresses = [\"10.77.0.5\"]\n\
                    [[witness]]\nname = \"wit\"\naddresses = [\"10.77.0.6\"]\n";
const OLD: KeyMark = KeyMark([1; 32]);
const NEW: KeyMark = KeyMark([2; 32]);
const ALL: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

fn cluster() -> Log {
    let mut log = Log::new(TEXT);
    for (id, name) in ALL.into_iter().zip(["lx4", "lx5", "wit"]) {
        let member = Member { name: NodeName::new(name).unwrap(), witness: name == "wit", votes: true };
        log.commit(Command::AddMember { id, member }).unwrap();
        log.commit(Command::Machine { node: id, key: MachineKey([u8::try_from(id.0).unwrap(); 32]) })
            .unwrap();
    }
    log
}

fn change(number: u32, mark: KeyMark, without: &[NodeId]) -> Command {
    let without = without.iter().copied().collect();
    Command::ChangeKey { number, mark, maker: NodeId(1), without, at_ms: 5 }
}

fn held(using: u32, marks: &[(u32, KeyMark)]) -> KeysHeld {
    KeysHeld { using, marks: marks.iter().copied().collect() }
}

/// What a machine has after the step, as the daemon does it.
fn done(held: &KeysHeld, step: KeyStep) -> KeysHeld {
    let mut after = held.clone();
    match step {
        KeyStep::Get(number, mark) => drop(after.marks.insert(number, mark.unwrap_or(OLD))),
        KeyStep::Use(number) => after.using = number,
        KeyStep::Forget(number) => after.marks.retain(|known, _| *known == number),
        KeyStep::Say(..) => {}
    }
    after
}

/// Stage, keys that the member has, what it does.
const TABLE: &str = "\
before  old, uses old            nothing
before  old + another, uses old  forget all but 0
before  old + new, uses old      forget all but 0
before  old + new, uses new      nothing
before  new, uses new            nothing
before  the one after, uses it   nothing
spread  old, uses old            get 1
spread  old + another, uses old  get 1
spread  old + new, uses old      say: through with spread
spread  old + new, uses new      say: through with spread
spread  new, uses new            say: through with spread
spread  the one after, uses it   nothing
switch  old, uses old            get 1
switch  old + another, uses old  get 1
switch  old + new, uses old      use 1
switch  old + new, uses new      say: through with switch
switch  new, uses new            say: through with switch
switch  the one after, uses it   nothing
retire  old, uses old            get 1
retire  old + another, uses old  get 1
retire  old + new, uses old      use 1
retire  old + new, uses new      forget all but 1
retire  new, uses new            say: through with retire
retire  the one after, uses it   nothing
after   old, uses old            get 1
after   old + another, uses old  get 1
after   old + new, uses old      use 1
after   old + new, uses new      forget all but 1
after   new, uses new            nothing
after   the one after, uses it   nothing
";

#[test]
fn what_a_member_does_next_follows_from_the_stage_and_from_the_keys_that_it_has() {
    let have = [
        ("old, uses old", held(0, &[(0, OLD)])),
        ("old + another, uses old", held(0, &[(0, OLD), (1, KeyMark([9; 32]))])),
        ("old + new, uses old", held(0, &[(0, OLD), (1, NEW)])),
        ("old + new, uses new", held(1, &[(0, OLD), (1, NEW)])),
        ("new, uses new", held(1, &[(1, NEW)])),
        ("the one after, uses it", held(2, &[(2, OLD)])),
    ];
    let keys = |stage: Option<KeyStage>| {
        let through = BTreeSet::new();
        let change = stage.map(|stage| KeyChange {
            mark: NEW,
            maker: NodeId(1),
            begun_ms: 0,
            stage,
            through,
            without: BTreeSet::new(),
        });
        Keys { change, ..Keys::default() }
    };
    let after = Keys { number: 1, mark: Some(NEW), ..Keys::default() };
    let mut table = String::new();
    for (stage, keys) in [
        ("before", keys(None)),
        ("spread", keys(Some(KeyStage::Spread))),
        ("switch", keys(Some(KeyStage::Switch))),
        ("retire", keys(Some(KeyStage::Retire))),
        ("after", after),
    ] {
        for (name, held) in &have {
            let step = match keys.step(NodeId(2), held) {
                None => "nothing".to_owned(),
                Some(KeyStep::Get(number, _)) => format!("get {number}"),
                Some(KeyStep::Use(number)) => format!("use {number}"),
                Some(KeyStep::Forget(number)) => format!("forget all but {number}"),
                Some(KeyStep::Say(_, stage)) => format!("say: through with {stage:?}").to_lowercase(),
            };
            writeln!(table, "{stage:7} {name:24} {step}").unwrap();
        }
    }
    assert_eq!(table, TABLE, "the table is now\n{table}");
}

/// Nobody says anything under a key that somebody who is waited for does not hear.
fn everybody_is_heard(rings: &[KeysHeld]) {
    for speaker in rings {
        for listener in rings {
            assert_eq!(
                listener.marks.get(&speaker.using),
                speaker.marks.get(&speaker.using),
                "{speaker:?} is not heard by {listener:?}"
            );
        }
    }
}

/// A cluster that is changing its key.
#[derive(Clone)]
struct Walker {
    /// With everything that is in the log.
    state: State,
    /// What the log made of the keys, one entry after the other.
    entries: Vec<Keys>,
    /// Up to which entry each member has applied it.
    applied: [usize; 3],
    rings: [KeysHeld; 3],
}

impl Walker {
    /// What decides on what can happen from here: what everybody has applied is past.
    fn mark(&self) -> String {
        let past = self.applied.into_iter().min().unwrap();
        let ahead = self.applied.map(|index| index - past);
        format!("{:?} {ahead:?} {:?}", &self.entries[past..], self.rings)
    }

    /// Everything that this member can do: apply one more entry, or the step that follows from what it has applied.
    fn after(&self, place: usize) -> Vec<Self> {
        let (id, applied) = (ALL[place], self.applied[place]);
        let mut after = Vec::new();
        if applied + 1 < self.entries.len() {
            let mut next = self.clone();
            next.applied[place] += 1;
            after.push(next);
        }
        let Some(step) = self.entries[applied].step(id, &self.rings[place]) else { return after };
        let mut next = self.clone();
        if let KeyStep::Say(_, stage) = step {
            next.state.key_through(id, NEW, stage);
            // What changes nothing was said before.
            if next.state.keys == self.state.keys {
                return after;
            }
            next.entries.push(next.state.keys.clone());
        } else {
            next.rings[place] = done(&self.rings[place], step);
        }
        after.push(next);
        after
    }
}

/// What the walk has come by.
#[derive(Default)]
struct Walked {
    seen: BTreeSet<String>,
    ends: usize,
    /// By how many entries one member was behind another, at most.
    behind: usize,
}

/// Walks every order in which the members apply what is in the log and do their steps.
fn walk(here: &Walker, walked: &mut Walked) {
    if !walked.seen.insert(here.mark()) {
        return;
    }
    everybody_is_heard(&here.rings);
    let [first, last] = [here.applied.iter().min(), here.applied.iter().max()].map(|index| *index.unwrap());
    walked.behind = walked.behind.max(last - first);
    let after: Vec<Walker> = (0..ALL.len()).flat_map(|place| here.after(place)).collect();
    if after.is_empty() {
        walked.ends += 1;
        let keys = &here.state.keys;
        assert!(keys.change.is_none() && keys.number == 1 && keys.mark == Some(NEW));
        assert!(here.rings.iter().all(|ring| *ring == held(1, &[(1, NEW)])), "{:?}", here.rings);
    }
    after.iter().for_each(|next| walk(next, walked));
}

#[test]
fn in_every_order_of_steps_everybody_hears_everybody_and_the_old_key_is_nobodys_in_the_end() {
    let mut log = cluster();
    let before = log.state.keys.clone();
    log.commit(change(1, NEW, &[])).unwrap();
    let (state, rings) = (log.state, [(); 3].map(|()| held(0, &[(0, OLD)])));
    let begin = Walker { entries: vec![before, state.keys.clone()], applied: [0; 3], state, rings };
    let mut walked = Walked::default();
    walk(&begin, &mut walked);
    let Walked { seen, ends, behind } = walked;
    assert!(
        ends == 1 && behind > 1 && seen.len() > 300,
        "{} states, {ends} ends, {behind} behind",
        seen.len()
    );
}

#[test]
fn a_daemon_that_has_applied_less_than_its_keys_are_ahead_does_nothing_that_takes_them_back() {
    let mut log = cluster();
    let mut states = vec![log.state.clone()];
    log.commit(change(1, NEW, &[])).unwrap();
    states.push(log.state.clone());
    for stage in [KeyStage::Spread, KeyStage::Switch, KeyStage::Retire] {
        for node in ALL {
            log.commit(Command::KeyThrough { node, mark: NEW, stage }).unwrap();
            states.push(log.state.clone());
        }
    }
    let rings = [
        held(0, &[(0, OLD)]),
        held(0, &[(0, OLD), (1, NEW)]),
        held(1, &[(0, OLD), (1, NEW)]),
        held(1, &[(1, NEW)]),
    ];
    for (at, ring) in rings.iter().enumerate() {
        // Nobody gets the new key before it has applied that there is one.
        for state in &states[usize::from(at > 0)..] {
            let Some(step) = state.keys.step(NodeId(2), ring) else { continue };
            let after = done(ring, step);
            let place = rings.iter().position(|known| *known == after);
            assert!(place.is_some_and(|place| place >= at), "{:?}: {ring:?} -> {after:?}", state.keys);
        }
    }
}

#[test]
fn a_member_that_is_down_is_waited_for_until_it_is_left_out_or_has_left() {
    let stage = KeyStage::Spread;
    let mut log = cluster();
    log.commit(change(1, NEW, &[])).unwrap();
    for node in [NodeId(1), NodeId(3)] {
        log.commit(Command::KeyThrough { node, mark: NEW, stage }).unwrap();
    }
    assert_eq!(log.state.keys.waits_for(ALL), BTreeSet::from([NodeId(2)]));
    assert_eq!(log.state.keys.change.as_ref().unwrap().stage, KeyStage::Spread);
    let mut without = log.state.clone();
    without.key_without(&BTreeSet::from([NodeId(2)]));
    assert_eq!(without.keys.change.as_ref().unwrap().stage, KeyStage::Switch);
    // It lost its state and is a member under another number: that one is waited for, and not the old one.
    let member = Member { name: NodeName::new("lx5").unwrap(), witness: false, votes: true };
    log.commit(Command::AddMember { id: NodeId(4), member }).unwrap();
    let change = log.state.keys.change.clone().unwrap();
    assert_eq!(change.stage, KeyStage::Spread);
    assert_eq!(log.state.keys.waits_for(log.state.members.keys().copied()), BTreeSet::from([NodeId(4)]));
    assert!(!log.state.keys.machines.contains_key(&NodeId(2)), "a number that is gone is given nothing");
}

#[test]
fn what_does_not_belong_to_the_change_that_is_under_way_changes_nothing() {
    let mut log = cluster();
    let stage = KeyStage::Spread;
    assert!(log.commit(Command::KeyThrough { node: NodeId(1), mark: NEW, stage }).is_err());
    assert!(log.commit(without(1)).is_err());
    assert!(log.commit(change(2, NEW, &[])).unwrap_err().contains("meanwhile"));
    assert!(log.commit(change(1, NEW, &[NodeId(1)])).is_err(), "its maker has it alone");
    log.commit(change(1, NEW, &[])).unwrap();
    assert!(log.commit(change(1, OLD, &[])).unwrap_err().contains("already"));
    for (node, mark, stage) in
        [(1, NEW, KeyStage::Switch), (1, OLD, KeyStage::Spread), (9, NEW, KeyStage::Spread)]
    {
        let through = Command::KeyThrough { node: NodeId(node), mark, stage };
        assert!(log.commit(through).is_err(), "{node} {mark} {stage:?}");
    }
    // Its maker is lost before anybody else has the key.
    log.commit(Command::KeyThrough { node: NodeId(1), mark: NEW, stage }).unwrap();
    log.commit(without(1)).unwrap();
    assert!(log.state.keys.change.is_none() && log.state.keys.number == 0);
    log.commit(change(1, OLD, &[])).unwrap();
    // A word about the one that was given up comes late: the key of this number is another one by now.
    log.commit(Command::KeyThrough { node: NodeId(2), mark: NEW, stage }).unwrap_err();
}

/// What came of it for the key.
fn news(log: &mut Log, command: Command) -> Vec<KeyNews> {
    let news = |change: Change| if let Change::Key(news) = change { Some(news) } else { None };
    log.changes(command).into_iter().filter_map(news).collect()
}

/// It lost its disk, and is a member under another number.
fn joined_again(log: &mut Log, id: u64, name: &str) -> Vec<KeyNews> {
    let member = Member { name: NodeName::new(name).unwrap(), witness: false, votes: true };
    news(log, Command::AddMember { id: NodeId(id), member })
}

fn without(node: u64) -> Command {
    Command::KeyWithout { nodes: BTreeSet::from([NodeId(node)]) }
}

fn through(node: u64) -> Command {
    Command::KeyThrough { node: NodeId(node), mark: NEW, stage: KeyStage::Spread }
}

#[test]
fn a_change_whose_maker_lost_its_disk_is_given_up_unless_another_one_has_the_key() {
    for said in [false, true] {
        let mut log = cluster();
        log.commit(change(1, NEW, &[])).unwrap();
        if said {
            log.commit(through(1)).unwrap();
        }
        assert_eq!(joined_again(&mut log, 4, "lx4"), [KeyNews::GivenUp], "said: {said}");
        assert!(log.state.keys.change.is_none() && log.state.keys.number == 0);
        log.commit(Command::Machine { node: NodeId(4), key: MachineKey([4; 32]) }).unwrap();
        let (maker, without) = (NodeId(4), BTreeSet::new());
        let again = Command::ChangeKey { number: 1, mark: OLD, maker, without, at_ms: 6 };
        assert_eq!(news(&mut log, again), [KeyNews::Begun]);
    }
    let mut log = cluster();
    log.commit(change(1, NEW, &[])).unwrap();
    log.commit(through(2)).unwrap();
    assert_eq!(joined_again(&mut log, 4, "lx4"), []);
    assert!(log.state.keys.change.is_some(), "it goes on from lx5");
    assert_eq!(joined_again(&mut log, 5, "lx5"), [KeyNews::GivenUp]);
    // One that is left out at the beginning is nobody's loss.
    let mut log = cluster();
    log.commit(change(1, NEW, &[NodeId(2)])).unwrap();
    assert_eq!(joined_again(&mut log, 5, "lx5"), []);
    assert!(log.state.keys.change.is_some());
}

#[test]
fn a_change_is_given_up_when_nobody_is_waited_for_who_has_the_key_and_only_before_it_is_used() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut log = cluster();
        log.commit(change(1, NEW, &[])).unwrap();
        log.commit(through(1)).unwrap();
        log.commit(through(2)).unwrap();
        assert_eq!(news(&mut log, without(first)), [KeyNews::Without(NodeId(first))]);
        let given_up = [KeyNews::Without(NodeId(second)), KeyNews::GivenUp];
        assert_eq!(news(&mut log, without(second)), given_up);
        assert!(log.state.keys.change.is_none() && log.state.keys.number == 0);
    }
    // All at once.
    let mut log = cluster();
    log.commit(change(1, NEW, &[])).unwrap();
    log.commit(through(3)).unwrap();
    let nodes = BTreeSet::from([NodeId(1), NodeId(3), NodeId(9)]);
    let left_out = [NodeId(1), NodeId(3)].map(KeyNews::Without);
    assert_eq!(news(&mut log, Command::KeyWithout { nodes }), [&left_out[..], &[KeyNews::GivenUp]].concat());
    // Its maker has not even said yet that it has it, and is there.
    let mut log = cluster();
    log.commit(change(1, NEW, &[])).unwrap();
    assert_eq!(news(&mut log, without(2)), [KeyNews::Without(NodeId(2))]);
    // Once it is used, every member that was waited for has it.
    let mut log = cluster();
    log.commit(change(1, NEW, &[])).unwrap();
    ALL.iter().for_each(|node| log.commit(through(node.0)).unwrap());
    assert_eq!(log.state.keys.change.as_ref().unwrap().stage, KeyStage::Switch);
    assert_eq!(news(&mut log, without(1)), [KeyNews::Without(NodeId(1))]);
    assert_eq!(joined_again(&mut log, 4, "lx4"), []);
    assert!(log.state.keys.change.is_some());
}

#[test]
fn a_machine_is_known_by_what_it_said_first_and_nobody_says_it_anew() {
    let mut log = cluster();
    log.commit(Command::Machine { node: NodeId(2), key: MachineKey([2; 32]) }).unwrap();
    let other = log.commit(Command::Machine { node: NodeId(2), key: MachineKey([7; 32]) }).unwrap_err();
    assert!(other.contains("lx5 is known by another key pair"), "{other}");
    assert!(log.commit(Command::Machine { node: NodeId(9), key: MachineKey([7; 32]) }).is_err());
    let mut unknown = Log::new(TEXT);
    let member = Member { name: NodeName::new("lx4").unwrap(), witness: false, votes: true };
    unknown.commit(Command::AddMember { id: NodeId(1), member }).unwrap();
    let refused = unknown.commit(change(1, NEW, &[])).unwrap_err();
    assert!(refused.contains("lx4") && refused.contains("--without lx4"), "{refused}");
}

#[test]
fn no_mark_is_shown_in_full() {
    assert_eq!(format!("{:?} {}", OLD, NEW), "KeyMark(01010101...) 02020202");
}
