//! What a contest says when it cannot go on, and when a node may not ask.

use std::collections::BTreeSet;

use regent_arbiter::mutants::Mutants;
use regent_arbiter::record::{AreaId, Look, Record};
use regent_arbiter::standing::{Arbiter, NotNow, Readiness, may_settle};
use regent_arbiter::{Contest, Effect, Generation, Input, Outcome, Slot, Standing};
use regent_model::NodeId;

const AREA: AreaId = AreaId([3; 16]);
const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const NEXT: Generation = Generation(2);

fn contest() -> Contest {
    let (contest, first) = Contest::new(AREA, ME, OTHER, NEXT, (4, 0), (3, 2));
    assert_eq!(first, Effect::Read);
    contest
}

fn slot(record: Record) -> Slot {
    let mut slot = Slot::formatted(AREA, record.node, 2);
    slot.places[1] = [Look::Whole(record); 2];
    slot
}

fn own() -> Record {
    Record { life: 3, sequence: 2, ..Record::blank(AREA, ME) }
}

fn slots(own: Record) -> Input {
    Input::Slots { own: slot(own), other: slot(Record::blank(AREA, OTHER)) }
}

fn over(outcome: Outcome) -> Option<Effect> {
    Some(Effect::Over(outcome))
}

#[test]
fn a_lone_node_wins_in_three_writes() {
    let mut contest = contest();
    for sequence in 1..=3 {
        if sequence < 3 {
            let Some(Effect::Write(record)) = contest.step(slots(own())) else { panic!("no write") };
            assert_eq!(record.written(), (4, sequence));
        }
        let next = contest.step(Input::Written);
        assert_eq!(next, if sequence < 3 { Some(Effect::Read) } else { over(Outcome::Won(NEXT)) });
        if sequence == 2 {
            let Some(Effect::Write(record)) = contest.step(slots(own())) else { panic!("no note") };
            assert_eq!(record.decided, Some(ME));
        }
    }
    assert_eq!(contest.step(Input::Written), None, "it is over");
}

#[test]
fn who_comes_up_in_a_generation_that_a_word_began_sees_that_the_other_asked_for_one_between() {
    let later = Generation(4);
    let other = |generation| Record { life: 1, sequence: 1, generation, ..Record::blank(AREA, OTHER) };
    let looks = |shared: Option<u64>, generation| {
        let (contest, _) = Contest::new(AREA, ME, OTHER, later, (4, 0), (3, 2));
        let contest = shared.map(Generation).into_iter().fold(contest, Contest::unless_parted_since);
        let mut contest = contest;
        contest.step(Input::Slots { own: slot(own()), other: slot(other(generation)) })
    };
    assert_eq!(looks(Some(2), Generation(3)), over(Outcome::Parted(Generation(3))));
    assert!(matches!(looks(Some(2), Generation(2)), Some(Effect::Write(_))), "they had that log in common");
    assert!(matches!(looks(None, Generation(3)), Some(Effect::Write(_))), "a person's word passes over it");
    assert_eq!(looks(Some(2), Generation(5)), over(Outcome::Behind(Generation(5))));
}

#[test]
fn a_write_that_may_still_land_ends_what_this_life_writes() {
    let mut contest = contest();
    assert!(matches!(contest.step(slots(own())), Some(Effect::Write(_))));
    assert_eq!(contest.step(Input::WriteFailed), over(Outcome::Unsure));
    assert!(contest.is_unsure());
}

#[test]
fn what_is_decided_stays_decided_when_its_note_fails() {
    let mut contest = contest();
    contest.step(slots(own()));
    contest.step(Input::Written);
    contest.step(slots(own()));
    contest.step(Input::Written);
    assert!(matches!(contest.step(slots(own())), Some(Effect::Write(_))));
    assert_eq!(contest.step(Input::WriteFailed), over(Outcome::Won(NEXT)));
    assert!(contest.is_unsure());
}

#[test]
fn an_unreadable_disk_can_be_asked_again() {
    let mut contest = contest();
    assert_eq!(contest.step(Input::ReadFailed), over(Outcome::Unread));
    assert!(!contest.is_unsure());
}

#[test]
fn an_area_that_knows_less_or_more_than_the_node_decides_nothing() {
    let older = Record { sequence: 1, ..own() };
    assert_eq!(contest().step(slots(older)), over(Outcome::Forgotten));
    let later = Record { life: 9, ..own() };
    assert_eq!(contest().step(slots(later)), over(Outcome::Overtaken));
}

#[test]
fn the_note_of_the_winner_is_enough_to_know_that_one_has_lost() {
    let decided = Record { generation: NEXT, decided: Some(OTHER), ..Record::blank(AREA, OTHER) };
    let input = Input::Slots { own: slot(own()), other: slot(Record { life: 1, ..decided }) };
    assert_eq!(contest().step(input), over(Outcome::Lost(NEXT)));
}

fn standing() -> Standing {
    Standing {
        me: ME,
        generation: Generation(1),
        entered: Generation(1),
        voters: BTreeSet::from([ME, OTHER]),
        changing: false,
        settled: true,
        quorum_since_boot: false,
    }
}

fn may(standing: &Standing, arbiter: Arbiter) -> Result<(NodeId, Generation), NotNow> {
    standing.may_ask(arbiter, Mutants::none())
}

#[test]
fn only_a_settled_voter_of_two_asks() {
    assert_eq!(may(&standing(), Arbiter::Disk), Ok((OTHER, NEXT)));
    assert_eq!(may(&standing(), Arbiter::Fence), Err(NotNow::NoQuorumSinceBoot));
    let three = Standing { voters: BTreeSet::from([ME, OTHER, NodeId(3)]), ..standing() };
    assert_eq!(may(&three, Arbiter::Disk), Err(NotNow::Voters(3)));
    let alone = Standing { voters: BTreeSet::from([ME]), ..standing() };
    assert_eq!(may(&alone, Arbiter::Disk), Err(NotNow::Voters(1)));
    let learner = Standing { voters: BTreeSet::from([OTHER]), ..standing() };
    assert_eq!(may(&learner, Arbiter::Disk), Err(NotNow::NoVoter));
    let unsettled = Standing { settled: false, ..standing() };
    assert_eq!(may(&unsettled, Arbiter::Disk), Err(NotNow::NotSettled));
    let changing = Standing { changing: true, ..standing() };
    assert_eq!(may(&changing, Arbiter::Disk), Err(NotNow::Changing));
    let behind = Standing { generation: NEXT, ..standing() };
    assert_eq!(may(&behind, Arbiter::Disk), Err(NotNow::LeftBehind(NEXT)));
}

#[test]
fn a_generation_that_was_passed_meanwhile_is_not_won() {
    let won = |standing: &Standing, outcome| standing.is_won(outcome, Arbiter::Disk, Mutants::none());
    assert_eq!(won(&standing(), Outcome::Won(NEXT)), Some(NEXT));
    assert_eq!(won(&standing(), Outcome::Won(Generation(3))), None);
    assert_eq!(won(&standing(), Outcome::Lost(NEXT)), None);
    let changing = Standing { changing: true, ..standing() };
    assert_eq!(won(&changing, Outcome::Won(NEXT)), None);
}

#[test]
fn two_are_settled_when_both_know_it_and_every_lease_rests_on_both() {
    let settles = |members: &[Readiness]| may_settle(10, members, Mutants::none());
    let voter = Readiness { lease_confirmed: Some(10), voters_durable: Some(10) };
    let learner = Readiness { voters_durable: None, ..voter };
    assert!(settles(&[voter, voter, learner]));
    assert!(
        settles(&[voter, Readiness { lease_confirmed: None, ..voter }]),
        "it is down, and its life is over"
    );
    assert!(!settles(&[voter, Readiness { lease_confirmed: Some(9), ..voter }]));
    assert!(!settles(&[voter, voter, Readiness { lease_confirmed: Some(9), ..learner }]));
    assert!(!settles(&[voter, Readiness { voters_durable: Some(9), ..voter }]));
}
