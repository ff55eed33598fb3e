//! Generations: two nodes with their guards, logs and stores, and a register that decides each generation once (which
//! the model of the register shows). Within a generation consensus is taken for granted: its leader has the longer
//! log, and what all voters have stored is committed. Between generations nothing is taken for granted.
//!
//! Two owners: the log of B's generation has ended A's lease and given its group to B, and A's guard still holds it.
//! Lost: a node applies something else than what was committed, or what it applied is taken out of its log.

mod actions;
mod state;

use regent_arbiter::mutants::Condition::{self, *};

use crate::generations::state::{Begins, Budget, Pair};
use crate::search::shows;

const LOGS: &[Condition] = &[WholeLog, OldIsRefused, NotedDurably, OnlyVoters];
const REJOINED: &[Condition] = &[VotersDurable];
const GROWN: &[Condition] = &[NothingChanging];
const LEASES: &[Condition] = &[LeasesSettled];

pub(crate) const SHOWN: &[&[Condition]] = &[LOGS, REJOINED, GROWN, LEASES];

#[test]
fn a09_a12_a13_a14_nothing_committed_is_lost() {
    let budget = Budget { data: 2, crashes: 1, ..Budget::default() };
    let world =
        Pair { name: "two founders", begins: Begins::Founded, guards: false, ticks: 0, asks: 3, budget };
    shows(&world, &["A alone", "B alone"], LOGS);
}

#[test]
fn a11_a_node_that_comes_back_votes_again() {
    let budget = Budget { data: 1, crashes: 1, joins: 1, ..Budget::default() };
    let world =
        Pair { name: "one comes back", begins: Begins::Alone, guards: false, ticks: 0, asks: 3, budget };
    shows(&world, &["A alone", "B alone", "joined again"], REJOINED);
}

#[test]
fn a09_a_third_vote_is_on_its_way() {
    let budget = Budget { data: 2, crashes: 1, thirds: 1, ..Budget::default() };
    let world =
        Pair { name: "a third vote", begins: Begins::Founded, guards: false, ticks: 0, asks: 2, budget };
    shows(&world, &["A alone", "B alone", "three vote"], GROWN);
}

#[test]
fn the_owner_is_cut_off() {
    let budget = Budget { deliveries: 1, ..Budget::default() };
    let name = "the owner is cut off";
    let world = Pair { name, begins: Begins::Founded, guards: true, ticks: 5, asks: 2, budget };
    shows(&world, &["A holds alone", "B owns"], &[]);
}

#[test]
fn a10_the_owner_is_cut_off_when_the_other_has_just_come_back() {
    let name = "the owner is cut off from one that has just come back";
    let budget = Budget { deliveries: 1, joins: 1, ..Budget::default() };
    let world = Pair { name, begins: Begins::Alone, guards: true, ticks: 5, asks: 3, budget };
    shows(&world, &["A holds alone", "B owns"], LEASES);
}
