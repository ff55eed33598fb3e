//! One incarnation's lease.

use std::collections::BTreeSet;

use proptest::prelude::*;
use regent_lease::holder::{Occasion, Right, TRANSITIONS};
use regent_lease::mutants::Mutants;
use regent_lease::{Ack, Holder, Keepalive};
use regent_model::timers::Timers;
use regent_model::{Moment, NodeId};

use crate::bench::{A, B, FIRST, W, X, ms};

fn holder() -> Holder {
    let mut holder = Holder::new(A, FIRST, Mutants::none());
    holder.set_voters(ms(0), &BTreeSet::from([A, B, W]));
    holder
}

fn send(holder: &mut Holder, at: u64) -> Keepalive {
    holder.keepalive(ms(at), &Timers::normal(), true)
}

fn acknowledge(holder: &mut Holder, at: u64, voter: NodeId, keepalive: Keepalive) {
    let Keepalive { node, incarnation, number, .. } = keepalive;
    holder.acknowledged(ms(at), Ack { voter, node, incarnation, number });
}

#[test]
fn rule2_a_majority_makes_the_lease_valid_and_the_own_vote_is_one_of_it() {
    let mut holder = holder();
    let keepalive = send(&mut holder, 0);
    assert_eq!(holder.right(), Right::Seeking);
    acknowledge(&mut holder, 10, B, keepalive);
    assert_eq!(holder.right(), Right::Valid);
}

#[test]
fn rule2_the_lease_counts_from_the_moment_of_sending() {
    let mut holder = holder();
    let keepalive = send(&mut holder, 100);
    acknowledge(&mut holder, 400, B, keepalive);
    assert_eq!(holder.ends().map(|ends| ends.deadline), Some(ms(700)));
}

#[test]
fn rule2_a_seeking_incarnation_has_nothing_to_lapse() {
    let mut holder = holder();
    send(&mut holder, 0);
    assert_eq!(holder.look(ms(1_000_000)), Right::Seeking);
}

#[test]
fn l03_every_keepalive_counts_with_the_lease_that_it_carried() {
    let mut holder = holder();
    let long = holder.keepalive(ms(0), &Timers::slow(), true);
    let short = holder.keepalive(ms(100), &Timers::fast(), true);
    acknowledge(&mut holder, 110, B, short);
    assert_eq!(holder.ends().map(|ends| ends.deadline), Some(ms(220)));
    acknowledge(&mut holder, 120, B, long);
    assert_eq!(holder.ends().map(|ends| ends.deadline), Some(ms(4000)));
}

#[test]
fn l04_letting_go_is_due_while_there_is_time_for_it() {
    let mut holder = holder();
    let keepalive = send(&mut holder, 0);
    acknowledge(&mut holder, 10, B, keepalive);
    assert_eq!(holder.look(ms(449)), Right::Valid);
    assert_eq!(holder.look(ms(450)), Right::LettingGo);
    assert_eq!(holder.ends().map(|ends| ends.deadline), Some(ms(600)));
}

#[test]
fn l08_the_voters_before_judge_until_the_new_ones_have_acknowledged() {
    let mut holder = holder();
    let keepalive = send(&mut holder, 0);
    acknowledge(&mut holder, 10, B, keepalive);
    holder.set_voters(ms(20), &BTreeSet::from([A, B, W, X]));
    assert_eq!(holder.right(), Right::Valid);
    assert!(!holder.valid_under_current_set(ms(20)), "two of four are no majority");
    acknowledge(&mut holder, 30, X, keepalive);
    assert!(holder.valid_under_current_set(ms(30)));
}

#[test]
fn l08_what_a_learner_has_acknowledged_counts_once_it_votes() {
    let mut holder = holder();
    let keepalive = send(&mut holder, 0);
    acknowledge(&mut holder, 10, X, keepalive);
    assert_eq!(holder.right(), Right::Seeking);
    holder.set_voters(ms(20), &BTreeSet::from([A, B, X]));
    assert_eq!(holder.right(), Right::Valid);
}

#[test]
fn l11_an_acknowledgement_that_comes_late_revives_nothing() {
    let mut holder = holder();
    let first = send(&mut holder, 0);
    let second = send(&mut holder, 400);
    acknowledge(&mut holder, 10, B, first);
    acknowledge(&mut holder, 450, B, second);
    assert_eq!(holder.right(), Right::LettingGo);
    holder.all_released();
    acknowledge(&mut holder, 460, W, second);
    assert_eq!(holder.right(), Right::Over);
}

#[test]
fn an_acknowledgement_of_another_incarnation_or_of_nothing_sent_counts_nothing() {
    let mut holder = holder();
    let keepalive = send(&mut holder, 0);
    acknowledge(&mut holder, 1, B, Keepalive { number: 77, ..keepalive });
    acknowledge(&mut holder, 1, B, Keepalive { incarnation: FIRST.next(), ..keepalive });
    acknowledge(&mut holder, 1, B, Keepalive { node: B, ..keepalive });
    let silent = holder.keepalive(ms(2), &Timers::normal(), false);
    acknowledge(&mut holder, 3, B, silent);
    acknowledge(&mut holder, 600, B, keepalive);
    assert_eq!((holder.right(), holder.ends()), (Right::Seeking, None));
}

#[test]
fn the_table_of_rights_reads_so() {
    let lines = TRANSITIONS.map(|(from, occasion, to)| format!("{from:<10} | {occasion:?} | {to}"));
    let table = [
        "seeking    | Acknowledged | valid",
        "seeking    | ToldToLetGo | letting go",
        "valid      | ReleaseDue | letting go",
        "valid      | ToldToLetGo | letting go",
        "letting go | AllReleased | over",
    ];
    assert_eq!(lines, table);
    assert_eq!(Right::Over.after(Occasion::Acknowledged), Right::Over);
}

proptest! {
    #[test]
    fn rule2_the_deadline_is_the_majority_th_best(
        size in 1..8_u64,
        acks in prop::collection::vec((1..8_u64, 0..8_u64), 0..40),
    ) {
        let voters: BTreeSet<NodeId> = (1..=size).map(NodeId).collect();
        let mut holder = Holder::new(A, FIRST, Mutants::none());
        holder.set_voters(ms(0), &voters);
        let sent: Vec<Keepalive> = (0..8).map(|n| send(&mut holder, n * 10)).collect();
        let mut best = vec![0; size as usize + 1];
        best[1] = 600 + 70;
        for (voter, number) in acks {
            acknowledge(&mut holder, 80, NodeId(voter), sent[number as usize]);
            if let Some(best) = best.get_mut(voter as usize) {
                *best = u64::max(*best, 600 + number * 10);
            }
        }
        // A majority agrees on a deadline if each of it granted at least that: the largest such one.
        let granted_by = |deadline: u64| best[1..].iter().filter(|b| **b >= deadline).count();
        let majority = size as usize / 2 + 1;
        let expected: Option<Moment> =
            best.iter().copied().filter(|d| *d > 0 && granted_by(*d) >= majority).max().map(ms);
        prop_assert_eq!(holder.ends().map(|ends| ends.deadline), expected);
    }
}
