//! Whom a voter acknowledges, and what it tells of its peers.

use std::time::Duration;

use regent_lease::mutants::Mutants;
use regent_lease::{Ack, Effect, Keepalive, ToDaemon, Voter};
use regent_model::timers::Timers;

use crate::bench::{A, B, W, keepalive, ms, of, promise, told, view};

/// W's vote, after its daemon attached at 0.
pub(crate) fn voter() -> Voter {
    let mut voter = Voter::new(W, Mutants::none());
    voter.learn(ms(0), &view(W, 1));
    voter
}

/// What W answers A's keepalive.
pub(crate) fn hear(voter: &mut Voter, at: u64, keepalive: Keepalive) -> (Option<Ack>, Vec<ToDaemon>) {
    hear_in(voter, at, keepalive, &view(W, 1))
}

pub(crate) fn hear_in(
    voter: &mut Voter,
    at: u64,
    keepalive: Keepalive,
    view: &regent_lease::io::ClusterView,
) -> (Option<Ack>, Vec<ToDaemon>) {
    let mut out = Vec::new();
    let ack = voter.heard(ms(at), view, &keepalive, &mut out);
    (ack, told(&out))
}

pub(crate) fn tick(voter: &mut Voter, at: u64) -> Vec<ToDaemon> {
    let mut out: Vec<Effect> = Vec::new();
    voter.tick(ms(at), &view(W, 1), &mut out);
    told(&out)
}

#[test]
fn a_keepalive_is_acknowledged_by_its_number() {
    let (ack, _) = hear(&mut voter(), 10, keepalive(of(A, 1), 7));
    assert_eq!(ack, Some(Ack { voter: W, node: A, incarnation: of(A, 1).incarnation, number: 7 }));
}

#[test]
fn a_keepalive_that_renews_nothing_is_heard_and_not_acknowledged() {
    let (ack, told) = hear(&mut voter(), 10, Keepalive { renews: false, ..keepalive(of(A, 1), 1) });
    assert_eq!((ack, told), (None, vec![ToDaemon::PeerHeard(of(A, 1))]));
}

#[test]
fn l01_a_lease_larger_than_the_largest_known_is_not_acknowledged() {
    let mut voter = voter();
    let lease = Timers::normal().lease;
    let longer = Keepalive { lease: lease + Duration::from_nanos(1), ..keepalive(of(A, 1), 1) };
    assert_eq!(hear(&mut voter, 10, longer).0, None);
    assert!(hear(&mut voter, 20, keepalive(of(A, 1), 2)).0.is_some());
}

#[test]
fn l09_the_dead_are_never_acknowledged_and_neither_are_their_earlier_lives() {
    let mut voter = voter();
    let mut after = view(W, 2);
    after.dead.insert(of(A, 2));
    voter.learn(ms(5), &after);
    assert_eq!(hear_in(&mut voter, 10, keepalive(of(A, 1), 1), &after).0, None);
    assert_eq!(hear_in(&mut voter, 10, keepalive(of(A, 2), 1), &after).0, None);
    assert!(hear_in(&mut voter, 10, keepalive(of(A, 3), 1), &after).0.is_some());
    assert!(hear_in(&mut voter, 10, keepalive(of(B, 1), 1), &after).0.is_some());
}

#[test]
fn l09_a_promise_about_the_dead_may_be_forgotten() {
    let mut voter = voter();
    assert!(tick(&mut voter, 452).contains(&ToDaemon::StorePromise(promise(W, of(A, 1), 1))));
    let mut after = view(W, 2);
    after.dead.insert(of(A, 1));
    voter.learn(ms(500), &after);
    assert_eq!(hear_in(&mut voter, 510, keepalive(of(A, 1), 1), &after).0, None);
    let mut out = Vec::new();
    voter.stored(promise(W, of(A, 1), 1));
    voter.tick(ms(9000), &after, &mut out);
    assert!(!told(&out).contains(&ToDaemon::PromiseMatured(promise(W, of(A, 1), 1))));
}

#[test]
fn a_new_life_that_is_heard_does_not_end_the_one_before() {
    let mut voter = voter();
    assert!(hear(&mut voter, 10, keepalive(of(A, 2), 1)).0.is_some());
    assert!(hear(&mut voter, 20, keepalive(of(A, 1), 9)).0.is_some());
}

#[test]
fn a_peer_is_told_when_first_heard_when_silent_and_when_heard_again() {
    let mut voter = voter();
    assert_eq!(hear(&mut voter, 0, keepalive(of(A, 1), 1)).1, vec![ToDaemon::PeerHeard(of(A, 1))]);
    assert_eq!(hear(&mut voter, 100, keepalive(of(A, 1), 2)).1, vec![]);
    // Half of 450 ms, stretched; B was never heard, which is told as silence, too.
    let b = ToDaemon::PeerSilent { peer: of(B, 1), silence: Duration::from_millis(226) };
    assert_eq!(tick(&mut voter, 226), vec![b]);
    let a = ToDaemon::PeerSilent { peer: of(A, 1), silence: Duration::from_millis(226) };
    assert_eq!(tick(&mut voter, 326), vec![a]);
    assert_eq!(tick(&mut voter, 336), vec![]);
    assert_eq!(hear(&mut voter, 340, keepalive(of(A, 1), 3)).1, vec![ToDaemon::PeerHeard(of(A, 1))]);
}
