//! When a voter promises, when its promise matures, and what ends it.

use std::time::Duration;

use proptest::prelude::*;
use regent_lease::io::ClusterView;
use regent_lease::mutants::Mutants;
use regent_lease::{Keepalive, ToDaemon, Voter};
use regent_model::proof::Promise;
use regent_model::timers::{Timers, stretch};
use regent_model::{Moment, Round};

use crate::bench::{A, B, W, X, keepalive, ms, of, promise, told, view};
use crate::voter::{hear, hear_in, tick, voter};

fn restore(voter: &mut Voter, at: u64, durable: &[Promise], next_round: u64) -> Vec<ToDaemon> {
    let mut out = Vec::new();
    voter.restore(ms(at), &view(W, 1), durable, Round(next_round), &mut out);
    told(&out)
}

/// W has acknowledged A and B at 0.
fn voter_that_heard() -> Voter {
    let mut voter = voter();
    hear(&mut voter, 0, keepalive(of(A, 1), 1));
    hear(&mut voter, 0, keepalive(of(B, 1), 1));
    voter
}

fn is_about_a(told: &ToDaemon) -> bool {
    match told {
        ToDaemon::StorePromise(promise) | ToDaemon::PromiseMatured(promise) => promise.about.node == A,
        _ => false,
    }
}

fn about_a(told: Vec<ToDaemon>) -> Vec<ToDaemon> {
    told.into_iter().filter(is_about_a).collect()
}

#[test]
fn l01_what_was_never_heard_counts_as_acknowledged_at_first_sight() {
    let mut voter = voter();
    let a = promise(W, of(A, 1), 1);
    assert_eq!(about_a(tick(&mut voter, 450)), vec![], "450 ms stretched are a little more");
    assert_eq!(about_a(tick(&mut voter, 451)), vec![ToDaemon::StorePromise(a)]);
    voter.stored(a);
    assert_eq!(about_a(tick(&mut voter, 601)), vec![]);
    assert_eq!(about_a(tick(&mut voter, 602)), vec![ToDaemon::PromiseMatured(a)]);
}

#[test]
fn l01_a_life_that_registers_later_counts_from_when_it_was_seen() {
    let mut voter = voter();
    let mut later = view(W, 2);
    later.registered.insert(of(A, 2));
    voter.learn(ms(10_000), &later);
    let mut out = Vec::new();
    voter.tick(ms(10_400), &later, &mut out);
    assert!(!told(&out).contains(&ToDaemon::StorePromise(promise(W, of(A, 2), 1))));
}

#[test]
fn l01_a_restored_promise_refuses_at_once_and_matures_after_the_largest_lease() {
    let mut voter = voter();
    let a = promise(W, of(A, 1), 4);
    restore(&mut voter, 0, &[a], 5);
    let (ack, told) = hear(&mut voter, 10, keepalive(of(A, 1), 1));
    assert_eq!((ack, told.contains(&ToDaemon::PromisedButAlive(a))), (None, true));
    assert_eq!(about_a(tick(&mut voter, 601)), vec![]);
    assert_eq!(about_a(tick(&mut voter, 602)), vec![ToDaemon::PromiseMatured(a)]);
}

#[test]
fn l01_rounds_go_on_after_the_largest_ever_stored() {
    let mut voter = voter();
    restore(&mut voter, 0, &[], 9);
    assert_eq!(about_a(tick(&mut voter, 451)), vec![ToDaemon::StorePromise(promise(W, of(A, 1), 9))]);
}

#[test]
fn l02_acknowledging_has_ended_before_the_promise_is_stored() {
    let mut voter = voter_that_heard();
    let a = promise(W, of(A, 1), 1);
    assert_eq!(about_a(tick(&mut voter, 451)), vec![ToDaemon::StorePromise(a)]);
    assert_eq!(hear(&mut voter, 451, keepalive(of(A, 1), 2)).0, None);
    assert_eq!(about_a(tick(&mut voter, 5000)), vec![], "it is not durable");
    voter.stored(a);
    assert_eq!(hear(&mut voter, 5001, keepalive(of(A, 1), 3)).0, None);
    assert_eq!(about_a(tick(&mut voter, 5001)), vec![ToDaemon::PromiseMatured(a)]);
}

#[test]
fn l02_a_promise_that_was_not_stored_is_asked_for_again() {
    let mut voter = voter_that_heard();
    tick(&mut voter, 451);
    let again = restore(&mut voter, 500, &[], 1);
    assert_eq!(about_a(again), vec![ToDaemon::StorePromise(promise(W, of(A, 1), 1))]);
}

#[test]
fn l03_the_wait_follows_the_lease_of_the_keepalive() {
    let mut voter = voter();
    let mut shorter = view(W, 2);
    shorter.timers = Timers::fast();
    voter.learn(ms(0), &shorter);
    // The cluster has a shorter lease by now; A does not know that yet.
    assert!(hear_in(&mut voter, 100, keepalive(of(A, 1), 1), &shorter).0.is_some());
    let a = promise(W, of(A, 1), 1);
    let mut tick_in = |at, stored| {
        let mut out = Vec::new();
        if stored {
            voter.stored(a);
        }
        voter.tick(ms(at), &shorter, &mut out);
        about_a(told(&out))
    };
    assert_eq!(tick_in(551, false), vec![ToDaemon::StorePromise(a)]);
    assert_eq!(tick_in(701, true), vec![], "600 ms, stretched, since 100 ms");
    assert_eq!(tick_in(702, true), vec![ToDaemon::PromiseMatured(a)]);
}

#[test]
fn l03_a_longer_lease_acknowledged_before_a_shorter_one_still_counts() {
    let mut voter = voter();
    hear(&mut voter, 0, keepalive(of(A, 1), 1));
    let short = Keepalive { lease: Duration::from_millis(120), ..keepalive(of(A, 1), 2) };
    hear(&mut voter, 10, short);
    let a = promise(W, of(A, 1), 1);
    assert_eq!(
        about_a(tick(&mut voter, 101)),
        vec![ToDaemon::StorePromise(a)],
        "its silence is judged by 120 ms"
    );
    voter.stored(a);
    assert_eq!(about_a(tick(&mut voter, 601)), vec![]);
    assert_eq!(about_a(tick(&mut voter, 602)), vec![ToDaemon::PromiseMatured(a)]);
}

#[test]
fn l05_only_the_round_that_is_withdrawn_is_forgotten() {
    let mut voter = voter();
    let (old, new) = (promise(W, of(A, 1), 4), promise(W, of(A, 1), 5));
    restore(&mut voter, 0, &[new], 6);
    voter.withdrawn(ms(10), old);
    assert_eq!(hear(&mut voter, 20, keepalive(of(A, 1), 1)).0, None);
    voter.withdrawn(ms(30), new);
    assert!(hear(&mut voter, 40, keepalive(of(A, 1), 2)).0.is_some());
}

#[test]
fn l05_after_a_withdrawal_silence_counts_anew_and_the_next_promise_has_a_new_round() {
    let mut voter = voter_that_heard();
    tick(&mut voter, 451);
    voter.withdrawn(ms(1000), promise(W, of(A, 1), 1));
    assert_eq!(about_a(tick(&mut voter, 1450)), vec![]);
    let again = about_a(tick(&mut voter, 1451));
    assert_eq!(again, vec![ToDaemon::StorePromise(promise(W, of(A, 1), 3))], "round 2 was about B");
}

#[test]
fn a_node_whose_lease_has_grown_is_given_its_time_when_the_promise_is_withdrawn() {
    let mut voter = voter();
    hear(&mut voter, 0, Keepalive { lease: Duration::from_millis(120), ..keepalive(of(A, 1), 1) });
    let a = promise(W, of(A, 1), 1);
    assert_eq!(about_a(tick(&mut voter, 91)), vec![ToDaemon::StorePromise(a)]);
    assert_eq!(hear(&mut voter, 100, keepalive(of(A, 1), 2)).0, None, "600 ms by now");
    voter.withdrawn(ms(110), a);
    assert_eq!(about_a(tick(&mut voter, 208)), vec![], "between two of its keepalives");
    assert!(hear(&mut voter, 209, keepalive(of(A, 1), 3)).0.is_some());
}

#[test]
fn l05_a_promise_that_was_withdrawn_while_the_daemon_was_away_is_forgotten() {
    let mut voter = voter_that_heard();
    tick(&mut voter, 451);
    voter.stored(promise(W, of(A, 1), 1));
    restore(&mut voter, 500, &[promise(W, of(B, 1), 2)], 3);
    assert!(hear(&mut voter, 510, keepalive(of(A, 1), 2)).0.is_some());
    assert_eq!(hear(&mut voter, 510, keepalive(of(B, 1), 2)).0, None);
}

#[test]
fn l05_that_a_promised_incarnation_lives_is_told_once_per_lease() {
    let mut voter = voter_that_heard();
    tick(&mut voter, 451);
    let alive = ToDaemon::PromisedButAlive(promise(W, of(A, 1), 1));
    let mut told_at = Vec::new();
    for at in (500..1800).step_by(100) {
        if hear(&mut voter, at, keepalive(of(A, 1), at)).1.contains(&alive) {
            told_at.push(at);
        }
    }
    assert_eq!(told_at, vec![500, 1100, 1700]);
    let silent = Keepalive { renews: false, ..keepalive(of(A, 1), 99) };
    assert!(!hear(&mut voter, 9000, silent).1.contains(&alive), "it does not want its lease back");
}

#[test]
fn l07_no_voter_promises_about_its_own_node() {
    let mut voter = voter();
    let told = tick(&mut voter, 100_000);
    let about: Vec<_> = told
        .iter()
        .filter_map(|told| match told {
            ToDaemon::StorePromise(promise) => Some(promise.about.node),
            _ => None,
        })
        .collect();
    assert_eq!(about, vec![A, B]);
}

#[test]
fn a_learner_acknowledges_and_promises_nothing() {
    let mut voter = Voter::new(X, Mutants::none());
    let view = view(X, 1);
    voter.learn(ms(0), &view);
    assert!(hear_in(&mut voter, 0, keepalive(of(A, 1), 1), &view).0.is_some());
    let mut out = Vec::new();
    voter.tick(ms(100_000), &view, &mut out);
    assert!(told(&out).iter().all(|told| matches!(told, ToDaemon::PeerSilent { .. })));
}

#[test]
fn after_an_attach_everything_is_told_again() {
    let mut voter = voter_that_heard();
    tick(&mut voter, 451);
    let durable = [promise(W, of(A, 1), 1)];
    voter.stored(durable[0]);
    tick(&mut voter, 700);
    hear(&mut voter, 750, keepalive(of(B, 1), 2));
    let told = restore(&mut voter, 800, &durable, 2);
    assert_eq!(told, vec![ToDaemon::StorePromise(promise(W, of(B, 1), 2)), ToDaemon::PeerHeard(of(B, 1))]);
    let told = tick(&mut voter, 800);
    assert!(told.contains(&ToDaemon::PromiseMatured(durable[0])));
    assert!(told.iter().any(|told| matches!(told, ToDaemon::PeerSilent { peer, .. } if peer.node == A)));
}

proptest! {
    /// Whatever a voter hears and however long its store takes: when its promise is told to be mature, no lease
    /// that it acknowledged can be valid on a clock that is as slow as clocks may be.
    #[test]
    fn l03_a_mature_promise_outlives_every_acknowledged_lease(
        heard in prop::collection::vec((1..200_u64, 120..=600_u64), 1..30),
        stores_after in 0..500_u64,
    ) {
        let view = ClusterView { timers: Timers::fast(), ..view(W, 1) };
        let mut voter = Voter::new(W, Mutants::none());
        voter.learn(ms(0), &view);
        let (mut now, mut asked, mut matured) = (0, None, None);
        let mut last_valid = Moment(0);
        let mut heard = heard.into_iter();
        while matured.is_none() {
            let (gap, lease) = heard.next().unwrap_or((50, 0));
            now += gap;
            let lease_ms = Duration::from_millis(lease);
            if lease > 0 {
                let keepalive = Keepalive { lease: lease_ms, ..keepalive(of(A, 1), now) };
                if hear_in(&mut voter, now, keepalive, &view).0.is_some() {
                    last_valid = last_valid.max(ms(now) + stretch(lease_ms));
                }
            }
            if let Some((promise, at)) = asked && now >= at + stores_after {
                voter.stored(promise);
            }
            let mut out = Vec::new();
            voter.tick(ms(now), &view, &mut out);
            for told in about_a(told(&out)) {
                match told {
                    ToDaemon::StorePromise(promise) => asked = Some((promise, now)),
                    ToDaemon::PromiseMatured(_) => matured = Some(ms(now)),
                    _ => {}
                }
            }
        }
        prop_assert!(matured >= Some(last_valid));
    }
}
