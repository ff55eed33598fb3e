//! Random schedules of real guards with real timers: never may an incarnation act, or hold, at an instant at which
//! a majority has proven it to be over; and when the faults stop, every node gets its lease again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the failure")]

mod clock;
mod cluster;

use std::ops::Range;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use regent_lease::mutants::Condition::{self, *};
use regent_lease::mutants::Mutants;

use crate::cluster::Cluster;

#[derive(Debug, Clone)]
enum Fault {
    Advance(u64),
    Cut(u8, u8),
    Isolate(u8),
    Heal,
    Pause(u8),
    Resume(u8),
    Drift(u8),
    DaemonDies(u8),
    DaemonReturns(u8),
    GuardRestarts(u8),
    Acquire(u8),
    EndProven,
    Withdraw,
    Apply(u8),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        8 => (1..60_u64).prop_map(Fault::Advance),
        3 => (100..400_u64).prop_map(Fault::Advance),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Fault::Cut(from, to)),
        2 => any::<u8>().prop_map(Fault::Isolate),
        3 => Just(Fault::Heal),
        1 => any::<u8>().prop_map(Fault::Pause),
        2 => any::<u8>().prop_map(Fault::Resume),
        1 => any::<u8>().prop_map(Fault::Drift),
        1 => any::<u8>().prop_map(Fault::DaemonDies),
        2 => any::<u8>().prop_map(Fault::DaemonReturns),
        1 => any::<u8>().prop_map(Fault::GuardRestarts),
        4 => any::<u8>().prop_map(Fault::Acquire),
        2 => Just(Fault::EndProven),
        2 => Just(Fault::Withdraw),
        4 => any::<u8>().prop_map(Fault::Apply),
    ]
}

fn inflict(cluster: &mut Cluster, fault: &Fault) {
    match *fault {
        Fault::Advance(ms) => cluster.advance(ms),
        Fault::Cut(from, to) => cluster.cut(from, to),
        Fault::Isolate(node) => cluster.isolate(node),
        Fault::Heal => cluster.heal(),
        Fault::Pause(node) => cluster.pause(node, true),
        Fault::Resume(node) => cluster.pause(node, false),
        Fault::Drift(node) => cluster.drift(node),
        Fault::DaemonDies(node) => cluster.daemon_dies(node),
        Fault::DaemonReturns(node) => cluster.daemon_returns(node),
        Fault::GuardRestarts(node) => cluster.guard_restarts(node),
        Fault::Acquire(node) => cluster.acquire(node),
        Fault::EndProven => cluster.end_proven(),
        Fault::Withdraw => cluster.withdraw(),
        Fault::Apply(node) => cluster.apply(node),
    }
}

fn run(size: u64, seed: u64, faults: &[Fault], mutants: Mutants) -> Cluster {
    let mut cluster = Cluster::new(size, seed, mutants);
    cluster.advance(50);
    faults.iter().for_each(|fault| inflict(&mut cluster, fault));
    cluster
}

/// Faults have stopped, machines that were reset have booted, daemons are back, and a leader does its work.
fn recovers(cluster: &mut Cluster) -> bool {
    cluster.calm_down();
    for node in 0..cluster.size() {
        cluster.pause(node, false);
        cluster.daemon_returns(node);
    }
    for _ in 0..40 {
        cluster.boot();
        cluster.withdraw();
        (0..cluster.size()).for_each(|node| cluster.apply(node));
        cluster.advance(50);
    }
    cluster.all_valid()
}

fn schedules(length: Range<usize>) -> impl Strategy<Value = (u64, u64, Vec<Fault>)> {
    (3..6_u64, any::<u64>(), prop::collection::vec(fault(), length))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_incarnation_proven_to_be_over_neither_acts_nor_holds((size, seed, faults) in schedules(20..120)) {
        let cluster = run(size, seed, &faults, Mutants::none());
        prop_assert_eq!(cluster.violation, None);
    }

    #[test]
    fn every_node_gets_its_lease_again_when_the_faults_stop((size, seed, faults) in schedules(1..60)) {
        let mut cluster = run(size, seed, &faults, Mutants::none());
        prop_assert!(recovers(&mut cluster));
        prop_assert_eq!(cluster.violation, None);
    }
}

/// Whether one of so many random schedules shows that the condition is switched off.
fn misses(condition: Condition, tries: usize) -> bool {
    let mut runner = TestRunner::deterministic();
    let strategy = schedules(40..120);
    (0..tries).any(|_| {
        let (size, seed, faults) = strategy.new_tree(&mut runner).expect("a schedule").current();
        run(size, seed, &faults, Mutants::without(condition)).violation.is_some()
    })
}

/// Random schedules are no proof (the exhaustive model is), but they must be able to fail.
#[test]
fn the_schedules_miss_a_condition_that_is_switched_off() {
    let quickly_missed =
        [L2PromiseEndsAcks, L3Stretch, L4FinishInTime, L5OnlyTheLogWithdraws, L6Adopt, L7OwnVote, L12Gate];
    for condition in quickly_missed {
        assert!(misses(condition, 200), "nobody misses {condition:?}");
    }
}

#[test]
fn the_schedules_do_take_over() {
    let script = [
        Fault::Acquire(0),
        Fault::Isolate(0),
        Fault::Advance(300),
        Fault::EndProven,
        Fault::Heal,
        Fault::Advance(100),
    ];
    let cluster = run(3, 7, &script, Mutants::none());
    assert_eq!((cluster.acquired, cluster.ended), (1, 1));
}
