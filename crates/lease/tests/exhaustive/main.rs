//! An exhaustive model of the four rules: real guards in small worlds, and every order of everything that may
//! happen in them. With all conditions on there are never two owners; with any one of them switched off there
//! are, and the search prints a shortest way there (`--nocapture`).
//!
//! Two owners: the log has given a group to B, and A's guard still, or again, has something of it on its list.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "in a test, a panic is the failure, and a way to two owners is there to be read"
)]

mod actions;
mod log;
mod search;
mod state;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use regent_lease::mutants::Condition::{self, *};
use regent_lease::mutants::Mutants;
use regent_model::{Incarnation, NodeId};

use crate::log::{A, B, Owner, W, X};
use crate::search::search;
use crate::world::{Budget, World};

/// Which conditions each of the tests below shows to be needed; together they are all (see the last test).
const SILENCE: [Condition; 4] = [L3Stretch, L3BothClocks, L4FinishInTime, L7OwnVote];
const DEAD: [Condition; 1] = [L9DeadStayDead];
const SLOW_STORE: [Condition; 2] = [L2StopBeforeStoring, L2PromiseEndsAcks];
const LEASE_CHANGES: [Condition; 1] = [L3OwnLease];
const VOTERS_RESTART: [Condition; 2] = [L1RestartWait, L1DurablePromise];
const WITHDRAWAL: [Condition; 2] = [L5OnlyTheLogWithdraws, L5CitedWithdrawn];
const WITHDRAWAL_REPEATED: [Condition; 1] = [L5Round];
const GUARD_RESTARTS: [Condition; 2] = [L6Adopt, L6StillCurrent];
const VOTERS_CHANGE: [Condition; 2] = [L8OneAtATime, L8Barrier];
const VOTERS_CHANGE_BEFORE: [Condition; 1] = [L8CurrentVoters];
const WITHOUT_LEASE: [Condition; 2] = [L10NoLeaseProof, L10NothingMoreGiven];
const FOUND_WITHOUT_LEASE: [Condition; 2] = [L10OwnWord, L10AdoptedStaysSo];
const RELEASED: [Condition; 1] = [L11LapseIsFinal];
const FROZEN: [Condition; 1] = [KernelEndsAddresses];
const PAUSED_DAEMON: [Condition; 1] = [L12Gate];
const REMOVED: [Condition; 1] = [RemovedWhenOver];

fn shows(world: &World, needed: &[Condition]) {
    let begun = Instant::now();
    let found = search(world, Mutants::none());
    println!("{}: {} states in {:?}", world.name, found.states, begun.elapsed());
    assert!(found.two_owners.is_none(), "{}: two owners after {:#?}", world.name, found.two_owners);
    assert!(found.held > 0 && found.taken_over > 0, "{}: nothing happens in it", world.name);
    assert_eq!(found.removed > 0, world.removes, "{}: {} states with A removed", world.name, found.removed);
    for condition in needed {
        let found = search(world, Mutants::without(*condition));
        let Some(way) = found.two_owners else { panic!("{}: nobody misses {condition:?}", world.name) };
        println!("without {condition:?}, two owners after");
        way.iter().for_each(|action| println!("    {action:?}"));
    }
}

fn set(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

#[test]
fn l03_l04_l07_silence_on_slow_and_fast_clocks() {
    let rates = vec![vec![-1000, 1000, 1000], vec![0, 0, 0], vec![1000, -1000, -1000]];
    let world = World { applies_at_once: true, rates, ..World::plain("silence") };
    shows(&world, &SILENCE);
}

#[test]
fn l09_the_dead_stay_dead() {
    shows(&World::plain("the log is applied late"), &DEAD);
}

#[test]
fn l02_a_slow_store() {
    let world = World { stores_at_once: false, applies_at_once: true, ..World::plain("a slow store") };
    shows(&world, &SLOW_STORE);
}

#[test]
fn l03_the_lease_changes() {
    let world = World { applies_at_once: true, leases: vec![2], ..World::plain("the lease changes") };
    shows(&world, &LEASE_CHANGES);
}

#[test]
fn l01_voters_restart() {
    let budget = Budget { deliveries: 3, crashes: 1, ..Budget::default() };
    shows(&World { applies_at_once: true, budget, ..World::plain("voters restart") }, &VOTERS_RESTART);
}

#[test]
fn l05_a_promise_is_withdrawn() {
    let budget = Budget { deliveries: 3, withdrawals: 1, ..Budget::default() };
    let world = World { applies_at_once: true, ticks: 8, budget, ..World::plain("withdrawal") };
    shows(&world, &WITHDRAWAL);
}

#[test]
fn l05_a_withdrawal_is_repeated() {
    let budget = Budget { deliveries: 2, withdrawals: 1, repeats: 1, ..Budget::default() };
    let world = World { applies_at_once: true, ticks: 9, budget, ..World::plain("withdrawal repeated") };
    shows(&world, &WITHDRAWAL_REPEATED);
}

#[test]
fn l06_the_guard_restarts() {
    let budget = Budget { deliveries: 2, guard_deaths: 1, ..Budget::default() };
    let world = World { applies_at_once: true, delay: 0, budget, ..World::plain("the guard restarts") };
    shows(&world, &GUARD_RESTARTS);
}

/// Four nodes, of which three vote at first, then all, then three again, with X in the place of W.
fn changing_voters(name: &'static str) -> World {
    World {
        nodes: set(&[A, B, W, X]),
        voters: vec![set(&[A, B, W]), set(&[A, B, W, X]), set(&[A, B, X])],
        rates: vec![vec![0, 0, 0, 0]],
        applies_at_once: true,
        ticks: 5,
        heartbeat: 1,
        release_begins: 2,
        lease: 3,
        delay: 0,
        ..World::plain(name)
    }
}

#[test]
fn l08_voters_change() {
    shows(&changing_voters("voters change"), &VOTERS_CHANGE);
}

#[test]
fn l08_voters_change_before_a_owns() {
    let budget = Budget { deliveries: 1, acquires: 1, assignments: 1, ..Budget::default() };
    let world = World { owner: Owner::Nobody, budget, ..changing_voters("voters change before A owns") };
    shows(&world, &VOTERS_CHANGE_BEFORE);
}

#[test]
fn l10_held_without_lease() {
    let budget = Budget { deliveries: 3, forced: 1, ..Budget::default() };
    shows(&World { applies_at_once: true, budget, ..World::plain("held without lease") }, &WITHOUT_LEASE);
}

#[test]
fn l06_l10_the_guard_restarts_while_it_holds_without_lease() {
    let budget = Budget { deliveries: 2, guard_deaths: 1, forced: 1, ..Budget::default() };
    let world = World {
        applies_at_once: true,
        delay: 0,
        ticks: 5,
        budget,
        ..World::plain("without lease, restarted")
    };
    shows(&world, &[L6Adopt]);
}

#[test]
fn l10_a_guard_that_found_a_group_held_without_lease_restarts() {
    let owner = Owner::A { incarnation: Incarnation(1), without_lease: true };
    let budget = Budget { deliveries: 2, guard_deaths: 1, repeats: 1, ..Budget::default() };
    let found = World { owner, life: Incarnation(2), budget, ..World::plain("found without lease") };
    shows(&World { applies_at_once: true, ticks: 5, delay: 0, ..found }, &FOUND_WITHOUT_LEASE);
}

#[test]
fn l11_released_while_acknowledgements_are_late() {
    let world = World {
        applies_at_once: true,
        acquires_at_once: false,
        reports_release: true,
        heartbeat: 1,
        delay: 0,
        ack_delay: Some(3),
        budget: Budget { deliveries: 2, acquires: 2, ..Budget::default() },
        ..World::plain("released")
    };
    shows(&world, &RELEASED);
}

#[test]
fn l12_a_paused_daemon() {
    let budget = Budget { deliveries: 3, acquires: 1, ..Budget::default() };
    let world = World {
        applies_at_once: true,
        acquires_at_once: false,
        acts: true,
        budget,
        ..World::plain("a paused daemon")
    };
    shows(&world, &PAUSED_DAEMON);
}

/// A guard that stood still beyond its lease takes off what its kernel has ended, and resets nothing: whatever was on
/// its way meanwhile, and whoever of its next life comes after, nothing of it is answered again.
#[test]
fn l04_l11_a_frozen_owner_of_addresses_wakes_and_needs_no_reset() {
    let budget = Budget { deliveries: 2, freezes: 1, ..Budget::default() };
    let world = World {
        addresses: true,
        applies_at_once: true,
        reports_release: true,
        delay: 0,
        ack_delay: Some(2),
        budget,
        ..World::plain("a frozen owner of addresses")
    };
    shows(&world, &FROZEN);
}

/// The same with a guard that dies and leaves its addresses to the next one, which finds them ended.
#[test]
fn l06_a_guard_that_finds_addresses_ended_needs_no_reset() {
    let budget = Budget { deliveries: 1, freezes: 1, guard_deaths: 1, ..Budget::default() };
    let world = World {
        addresses: true,
        applies_at_once: true,
        delay: 0,
        ticks: 6,
        budget,
        ..World::plain("addresses found ended")
    };
    shows(&world, &FROZEN);
}

/// A is made a learner, which changes the voters as any change does (L8), and is removed when its last life is over: because
/// it said that it let go of everything, or because a majority of those that are left promised. From then on nobody listens to
/// it, whatever it still says.
fn removal(name: &'static str) -> World {
    World {
        voters: vec![set(&[A, B, W]), set(&[B, W])],
        removes: true,
        rates: vec![vec![0, 0, 0]],
        applies_at_once: true,
        ticks: 6,
        heartbeat: 1,
        release_begins: 2,
        lease: 3,
        delay: 0,
        budget: Budget { deliveries: 2, ..Budget::default() },
        ..World::plain(name)
    }
}

#[test]
fn l08_l09_an_owner_is_removed() {
    shows(&World { reports_release: true, ..removal("an owner is removed") }, &REMOVED);
}

/// The same while voters apply what is committed later or earlier, so that some listen to it still.
#[test]
fn l09_an_owner_is_removed_and_not_every_voter_knows() {
    let world = removal("an owner is removed, applied late");
    shows(&World { applies_at_once: false, ticks: 5, ..world }, &REMOVED);
}

/// Its guard dies meanwhile: its next life is nobody's.
#[test]
fn l06_the_guard_of_a_member_that_is_removed_restarts() {
    let budget = Budget { deliveries: 1, guard_deaths: 1, ..Budget::default() };
    let world = removal("the guard of a removed member restarts");
    shows(&World { ticks: 5, budget, ..world }, &REMOVED);
}

#[test]
fn every_condition_is_shown_to_be_needed() {
    let shown: [&[Condition]; 16] = [
        &SILENCE,
        &DEAD,
        &SLOW_STORE,
        &LEASE_CHANGES,
        &VOTERS_RESTART,
        &WITHDRAWAL,
        &WITHDRAWAL_REPEATED,
        &GUARD_RESTARTS,
        &VOTERS_CHANGE,
        &VOTERS_CHANGE_BEFORE,
        &WITHOUT_LEASE,
        &FOUND_WITHOUT_LEASE,
        &RELEASED,
        &FROZEN,
        &PAUSED_DAEMON,
        &REMOVED,
    ];
    let shown: BTreeSet<_> = shown.into_iter().flatten().copied().collect();
    // The model's machines have nothing in the kernel that a reboot would have to end, and have one feed. Nobody puts their
    // disks back, and no storage keeps anybody from writing.
    let of_others = [
        RebootAfterRelease,
        DefinitionInForce,
        FenceWholeLevel,
        MemoryGoesOn,
        RegistersOnce,
        CutOffAfterLease,
    ];
    let of_the_lease = Condition::ALL.into_iter().filter(|c| !of_others.contains(c));
    assert_eq!(shown, of_the_lease.collect());
}
