//! The register: the contests of two nodes over one disk, and crashes, torn and late writes, damage, an older copy put
//! back, a node that was left behind.

mod world;

use regent_arbiter::mutants::Condition::{self, *};

use crate::register::world::{Budget, Disk};
use crate::search::{Found, search, shows};

const AT_ONCE: &[Condition] = &[WriteThenRead, AdoptAccepted, HigherBallotStops];
const CRASH: &[Condition] = &[ReadsOwnSlot];
const LATE: &[Condition] = &[OwnPlace];
const BEHIND: &[Condition] = &[LaterGenerationEnds];
const DAMAGE: &[Condition] = &[DamageIsNotBlank];
const RESTORE: &[Condition] = &[ForgottenArea];

pub(crate) const SHOWN: &[&[Condition]] = &[AT_ONCE, CRASH, LATE, BEHIND, DAMAGE, RESTORE];

/// Either may win.
const EITHER: &[&str] = &["A won", "B won"];

#[test]
fn a01_a02_a03_both_ask_at_once() {
    let budget = Budget { contests: [2, 2], ..Budget::default() };
    shows(&Disk { name: "both ask at once", budget }, EITHER, AT_ONCE);
}

#[test]
fn a06_nodes_crash() {
    let budget = Budget { contests: [2, 2], crashes: [1, 1], ..Budget::default() };
    shows(&Disk { name: "nodes crash", budget }, EITHER, CRASH);
}

#[test]
fn a04_writes_come_late() {
    let budget = Budget { contests: [3, 1], crashes: [2, 0], late: 2, ..Budget::default() };
    shows(&Disk { name: "writes come late", budget }, EITHER, LATE);
}

/// What a crash tears is not damage: the other copy is there, and a later life has it decided.
#[test]
fn a05_a_write_is_torn() {
    let budget = Budget { contests: [2, 1], crashes: [1, 0], torn: 1, fails: true, ..Budget::default() };
    let world = Disk { name: "a write is torn", budget };
    shows(&world, EITHER, &[]);
    let Found { sights, .. } = search(&world, regent_arbiter::mutants::Mutants::none());
    assert!(!sights.contains("damage"), "a torn write was taken for damage");
}

#[test]
fn a04_a_write_fails_and_may_have_landed() {
    let budget = Budget { contests: [2, 2], crashes: [1, 0], late: 1, fails: true, ..Budget::default() };
    shows(&Disk { name: "a write fails", budget }, EITHER, &[]);
}

#[test]
fn a07_a_node_was_left_behind() {
    let budget = Budget { contests: [2, 2], generations: 3, ..Budget::default() };
    shows(&Disk { name: "a node was left behind", budget }, EITHER, BEHIND);
}

#[test]
fn a08_the_area_is_damaged() {
    let budget = Budget { contests: [2, 2], damages: 1, ..Budget::default() };
    shows(&Disk { name: "the area is damaged", budget }, &["A won", "B won", "damage"], DAMAGE);
}

#[test]
fn a08_an_older_area_is_put_back() {
    let budget = Budget { contests: [2, 2], restores: 1, ..Budget::default() };
    shows(&Disk { name: "an older area is put back", budget }, EITHER, RESTORE);
}
