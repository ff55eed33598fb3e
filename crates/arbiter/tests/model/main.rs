//! Exhaustive models of the arbiter: the real code in small worlds, and every order of everything that may happen in
//! them. With all conditions on nothing goes wrong; with any one of them switched off something does, and the search
//! prints a shortest way there (`--nocapture`).
//!
//! - [`register`]: two nodes, one disk: never two winners of one generation.
//! - [`generations`]: two nodes with guards and logs, and a register that decides: never two owners, and nothing that
//!   was committed is lost.
//! - [`fencing`]: two nodes that may turn each other off: never two winners of one generation.
//! - [`words`]: two nodes and people who say which one is off: never two that go on alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "in a test, a panic is the failure, and a way to it is there to be read"
)]

mod bytes;
mod fencing;
mod generations;
mod register;
mod rules;
mod search;
mod words;

use std::collections::BTreeSet;

use regent_arbiter::mutants::Condition;

#[test]
fn every_condition_is_shown_to_be_needed() {
    let shown = [register::SHOWN, generations::SHOWN, fencing::SHOWN, words::SHOWN];
    let shown: BTreeSet<Condition> =
        shown.into_iter().flatten().flat_map(|shown| shown.iter()).copied().collect();
    assert_eq!(shown, Condition::ALL.into_iter().collect());
}
