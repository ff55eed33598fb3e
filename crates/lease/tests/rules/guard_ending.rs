//! The guard when its incarnation ends: why, in what order, until when; and what the next one finds.

use std::time::Duration;

use regent_lease::holder::{Bounds, Right};
use regent_lease::io::ActId;
use regent_lease::list::{HeldOver, Inherited};
use regent_lease::{Effect, Frame, FromDaemon, Input, ToDaemon};
use regent_model::holding::{Held, Holding};
use regent_model::timers::Timers;
use regent_model::{Epoch, Incarnation, Moment, NodeId};

use crate::bench::{A, B, Bench, FIRST, W, address, cgroup, group, held, mount, ms, of, told, view};

fn let_go(effects: &[Effect]) -> Option<(Vec<Held>, Moment)> {
    effects.iter().find_map(|effect| match effect {
        Effect::LetGo { held, deadline } => Some((held.clone(), *deadline)),
        _ => None,
    })
}

fn reason(effects: &[Effect]) -> Option<String> {
    told(effects).into_iter().find_map(|told| match told {
        ToDaemon::LettingGo { reason, .. } => Some(reason),
        _ => None,
    })
}

fn reset(effects: &[Effect]) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reset { reason } => Some(reason.as_str()),
        _ => None,
    })
}

/// Lets time pass with everybody acknowledging and the daemon saying what it says.
fn live(bench: &mut Bench, from: u64, to: u64, daemon: bool, voters: &[NodeId]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for at in (from..=to).step_by(100) {
        effects.extend(bench.tick(at));
        voters.iter().for_each(|voter| effects.extend(bench.acknowledged(at, *voter)));
        if daemon {
            effects.extend(bench.say(at, FromDaemon::Alive));
        }
    }
    effects
}

#[test]
fn l04_what_is_held_is_let_go_in_order_and_finished_when_the_lease_ends() {
    let inner = mount("/storage2/inner");
    let mut bench = Bench::holding(&[mount("/storage2"), inner.clone(), cgroup(), address()]);
    assert_eq!(let_go(&bench.tick(449)), None);
    let order = [address(), cgroup(), inner, mount("/storage2")].map(held).to_vec();
    assert_eq!(let_go(&bench.tick(450)), Some((order, ms(600))));
}

#[test]
fn l04_when_all_is_released_the_incarnation_is_over_and_the_next_begins_clean() {
    let mut bench = Bench::holding(&[address(), cgroup()]);
    bench.tick(450);
    assert!(!bench.released(460, address()).contains(&Effect::NewIncarnation));
    let effects = bench.released(470, cgroup());
    let took = Duration::from_millis(5);
    let released = vec![(held(address()), took), (held(cgroup()), took)];
    assert_eq!(told(&effects), vec![ToDaemon::LetGo { incarnation: FIRST, released }]);
    assert!(effects.contains(&Effect::NewIncarnation));
    let welcome = told(&bench.guard.reborn(ms(480), Incarnation(2)));
    assert!(matches!(
        &welcome[0],
        ToDaemon::Welcome { incarnation: Incarnation(2), clean: true, held, .. } if held.is_empty()
    ));
    assert_eq!(bench.guard.right(), Right::Seeking);
}

#[test]
fn l04_what_is_not_released_in_time_is_reset() {
    let mut bench = Bench::holding(&[address(), mount("/storage2")]);
    bench.tick(450);
    bench.released(460, address());
    assert_eq!(reset(&bench.tick(599)), None);
    let effects = bench.tick(600);
    assert!(reset(&effects).is_some_and(|why| why.contains("/storage2")), "{effects:?}");
    assert_eq!(bench.tick(700), vec![], "nothing follows a reset");
    assert_eq!(bench.attach(800), vec![]);
}

#[test]
fn l04_what_cannot_be_released_is_reset_at_once() {
    let mut bench = Bench::holding(&[mount("/storage2")]);
    bench.tick(450);
    let result = Err("target is busy".into());
    let effects = bench.step(460, Input::Released { held: held(mount("/storage2")), result });
    assert!(reset(&effects).is_some_and(|why| why.contains("busy")));
}

#[test]
fn l04_a_guard_that_slept_through_its_lease_resets() {
    let mut bench = Bench::holding(&[address()]);
    assert!(reset(&bench.say(700, FromDaemon::Alive)).is_some());
}

#[test]
fn l04_a_guard_that_slept_resets_nothing_where_the_kernel_has_ended_all_that_is_left() {
    let mut bench = Bench::holding(&[address()]);
    bench.guard.kernel_ends_addresses(true);
    let effects = bench.say(700, FromDaemon::Alive);
    assert_eq!(reset(&effects), None);
    // The timers' release budget from then on: the lease is over.
    assert_eq!(let_go(&effects), Some((vec![held(address())], ms(700) + Timers::normal().release_budget())));
    bench.acknowledged(705, B);
    assert_eq!(bench.guard.right(), Right::LettingGo, "no lease comes back");
    assert!(bench.hold(706, mount("/b")).is_err());
    assert!(bench.released(710, address()).contains(&Effect::NewIncarnation));

    let mut bench = Bench::holding(&[address()]);
    bench.guard.kernel_ends_addresses(true);
    bench.say(700, FromDaemon::Alive);
    assert!(reset(&bench.tick(900)).is_some(), "that is its only chance");
}

#[test]
fn l04_a_guard_that_slept_while_it_let_go_resets_nothing_where_only_ended_addresses_are_left() {
    let mut bench = Bench::holding(&[address(), mount("/storage2")]);
    bench.guard.kernel_ends_addresses(true);
    bench.tick(450);
    bench.released(460, mount("/storage2"));
    assert_eq!(reset(&bench.tick(700)), None);
    assert!(bench.released(710, address()).contains(&Effect::NewIncarnation));
}

#[test]
fn l04_anything_else_or_an_address_that_the_kernel_does_not_end_is_reset_as_ever() {
    let mut bench = Bench::holding(&[address(), mount("/storage2")]);
    bench.guard.kernel_ends_addresses(true);
    assert!(reset(&bench.tick(700)).is_some());
    let mut bench = Bench::holding(&[address()]);
    bench.guard.kernel_ends_addresses(true);
    bench.guard.kernel_ends_addresses(false);
    assert!(reset(&bench.tick(700)).is_some());
    let mut bench = Bench::holding(&[address()]);
    bench.guard.kernel_ends_addresses(true);
    bench.tick(450);
    let stuck = Input::Released { held: held(address()), result: Err("no such device".into()) };
    assert!(reset(&bench.step(460, stuck)).is_some());
}

#[test]
fn l06_the_next_guard_resets_nothing_where_it_finds_only_ended_addresses() {
    let before = Bench::holding(&[address()]);
    let mut next = Bench::started(before.guard.leaves());
    next.guard.kernel_ends_addresses(true);
    let effects = next.tick(700);
    assert_eq!(reset(&effects), None);
    assert!(let_go(&effects).is_some());
}

#[test]
fn l04_an_act_under_way_is_waited_for_and_let_go() {
    let mut bench = Bench::valid();
    bench.perform(440, 1, FIRST);
    let effects = bench.tick(450);
    assert_eq!((let_go(&effects), effects.contains(&Effect::NewIncarnation)), (None, false));
    let effects = bench.step(500, Input::Performed { id: ActId(1), result: Ok(()) });
    assert_eq!(let_go(&effects), Some((vec![held(mount("/storage2"))], ms(600))));
    assert!(bench.released(510, mount("/storage2")).contains(&Effect::NewIncarnation));

    let mut bench = Bench::valid();
    bench.perform(440, 1, FIRST);
    bench.tick(450);
    let failed = bench.step(500, Input::Performed { id: ActId(1), result: Err("no".into()) });
    assert!(failed.contains(&Effect::NewIncarnation));
}

#[test]
fn l11_a_lapsed_lease_is_final_though_nothing_was_held() {
    let mut bench = Bench::valid();
    let effects = bench.tick(450);
    assert_eq!(
        reason(&effects).as_deref(),
        Some("no majority of the voters has acknowledged this node in time")
    );
    assert!(effects.contains(&Effect::NewIncarnation));
    bench.acknowledged(451, B);
    bench.acknowledged(452, W);
    assert_eq!(bench.guard.right(), Right::Over);
}

#[test]
fn l11_an_incarnation_that_lets_go_renews_nothing() {
    let mut bench = Bench::holding(&[address()]);
    bench.tick(450);
    bench.tick(550);
    assert!(bench.last.is_some_and(|keepalive| !keepalive.renews));
    assert!(bench.hold(560, cgroup()).is_err());
}

#[test]
fn l11_an_incarnation_that_the_log_has_ended_lets_go_at_once() {
    let mut bench = Bench::holding(&[address()]);
    let mut ended = view(A, 2);
    ended.dead.insert(of(A, 1));
    let effects = bench.say(100, FromDaemon::Configure(ended));
    assert_eq!(reason(&effects).as_deref(), Some("the log has ended this incarnation"));
    assert_eq!(let_go(&effects), Some((vec![held(address())], ms(600))));
}

#[test]
fn a_missing_daemon_lets_go_of_what_is_held_though_the_lease_is_valid() {
    let mut bench = Bench::holding(&[address()]);
    live(&mut bench, 100, 3000, true, &[B]);
    let gone = bench.step(3001, Input::DaemonGone);
    assert_eq!(reason(&gone), None);
    assert_eq!(reason(&live(&mut bench, 3100, 7900, false, &[B])), None);
    assert_eq!(bench.guard.right(), Right::Valid);
    let effects = bench.tick(8000);
    assert_eq!(reason(&effects).as_deref(), Some("the daemon was not heard for 5 s"));
    assert_eq!(let_go(&effects), Some((vec![held(address())], ms(7900 + 600))));
}

#[test]
fn a_missing_daemon_of_a_node_that_holds_nothing_changes_nothing() {
    let mut bench = Bench::valid();
    assert_eq!(reason(&live(&mut bench, 100, 9000, false, &[B])), None);
    assert_eq!(bench.guard.right(), Right::Valid);
}

#[test]
fn l10_what_is_held_without_lease_stays_and_no_more_is_acquired() {
    let mut bench = Bench::holding(&[address()]);
    bench.say(100, FromDaemon::HeldWithoutLease { incarnation: FIRST });
    assert!(bench.hold(110, cgroup()).is_err());
    let effects = live(&mut bench, 200, 20_000, false, &[]);
    assert_eq!((reason(&effects), reset(&effects)), (None, None));
    assert_eq!(bench.guard.held(), vec![held(address())]);
    assert!(bench.last.is_some_and(|keepalive| !keepalive.renews));
}

fn left(holding: Holding, right: Inherited) -> Vec<HeldOver> {
    vec![HeldOver { held: held(holding), by: FIRST, right }]
}

fn lease_until(release_due: u64, deadline: u64) -> Inherited {
    Inherited::Lease(Bounds { release_due: ms(release_due), deadline: ms(deadline) })
}

/// The second incarnation, that found an address of the first one's.
fn restarted(right: Inherited) -> Bench {
    let mut bench = Bench::started(Vec::new());
    let boot = regent_model::BootId("boot".into());
    bench.guard = regent_lease::Guard::new(A, Incarnation(2), boot, left(address(), right), ms(0));
    bench
}

fn adopted(incarnation: u64) -> FromDaemon {
    FromDaemon::Rename { incarnation: Incarnation(incarnation), group: group(), epoch: Epoch(2) }
}

#[test]
fn l06_a_guard_leaves_its_list_and_the_end_of_its_lease() {
    let bench = Bench::holding(&[address()]);
    assert_eq!(bench.guard.leaves(), left(address(), lease_until(450, 600)));
}

#[test]
fn l06_what_is_held_over_is_let_go_when_the_lease_before_ends() {
    let mut bench = restarted(lease_until(450, 600));
    let welcome = told(&bench.attach(10));
    assert!(matches!(&welcome[0], ToDaemon::Welcome { clean: false, held, .. } if held.len() == 1));
    bench.acknowledged(20, B);
    assert_eq!(bench.guard.right(), Right::Valid, "its own lease does not help: nothing is adopted");
    let effects = bench.tick(450);
    assert_eq!(let_go(&effects), Some((vec![held(address())], ms(600))));
}

#[test]
fn l06_what_is_held_over_is_let_go_though_no_daemon_ever_attached() {
    let mut bench = restarted(lease_until(450, 600));
    assert_eq!(let_go(&bench.tick(449)), None);
    assert_eq!(let_go(&bench.tick(450)), Some((vec![held(address())], ms(600))));
}

#[test]
fn l06_what_is_adopted_under_a_valid_lease_stays_by_this_lease() {
    let mut bench = restarted(lease_until(450, 600));
    bench.attach(10);
    bench.acknowledged(20, B);
    bench.say(30, adopted(2));
    let effects = live(&mut bench, 110, 2010, true, &[B]);
    assert_eq!(reason(&effects), None);
    assert_eq!(bench.guard.held()[0].epoch, Epoch(2));
    assert_eq!(let_go(&bench.tick(2010 + 450)).map(|(_, deadline)| deadline), Some(ms(2010 + 600)));
}

#[test]
fn l06_what_another_incarnation_adopted_is_not_this_ones() {
    let mut bench = restarted(lease_until(450, 600));
    bench.attach(10);
    bench.acknowledged(20, B);
    bench.say(30, adopted(1));
    assert!(let_go(&bench.tick(450)).is_some());
}

#[test]
fn l06_what_is_adopted_without_a_lease_stays_no_longer_than_before() {
    let mut bench = restarted(lease_until(450, 600));
    bench.attach(10);
    bench.say(30, adopted(2));
    assert_eq!(let_go(&bench.tick(450)).map(|(_, deadline)| deadline), Some(ms(600)));
}

#[test]
fn l10_what_is_held_over_without_lease_waits_for_its_adoption() {
    let mut bench = restarted(Inherited::WithoutLease);
    assert_eq!(reason(&bench.tick(20_000)), None, "not even a daemon is needed");
    bench.attach(20_001);
    assert!(bench.last.is_some_and(|keepalive| keepalive.renews), "this incarnation seeks its lease");
    bench.acknowledged(20_002, B);
    bench.say(20_003, adopted(2));
    assert_eq!(reason(&live(&mut bench, 20_101, 22_001, true, &[B])), None);
    assert!(let_go(&bench.tick(22_001 + 450)).is_some(), "from now on by its lease");
}

#[test]
fn l10_a_word_about_an_earlier_incarnation_is_not_about_this_one() {
    let mut bench = restarted(lease_until(450, 600));
    bench.attach(10);
    bench.say(20, FromDaemon::HeldWithoutLease { incarnation: FIRST });
    assert_eq!(let_go(&bench.tick(450)), Some((vec![held(address())], ms(600))));
}

#[test]
fn l10_a_word_about_this_incarnation_covers_what_was_left_to_it() {
    let mut bench = restarted(lease_until(450, 600));
    bench.attach(10);
    bench.say(20, FromDaemon::HeldWithoutLease { incarnation: Incarnation(2) });
    assert_eq!(reason(&bench.tick(20_000)), None);
    assert_eq!(bench.guard.leaves(), left(address(), Inherited::WithoutLease));
}

#[test]
fn l10_a_word_that_comes_while_letting_go_comes_too_late() {
    let mut bench = Bench::holding(&[address()]);
    bench.tick(450);
    bench.say(460, FromDaemon::HeldWithoutLease { incarnation: FIRST });
    assert!(reset(&bench.tick(600)).is_some());
}

#[test]
fn an_attach_while_letting_go_tells_so_again() {
    let mut bench = Bench::holding(&[address()]);
    bench.tick(450);
    bench.step(460, Input::DaemonGone);
    assert!(reason(&bench.attach(470)).is_some());
}

#[test]
fn acknowledging_goes_on_while_the_own_incarnation_is_over() {
    let mut bench = Bench::valid();
    bench.tick(450);
    assert_eq!(bench.guard.right(), Right::Over);
    let frame = Frame::Keepalive(crate::bench::keepalive(of(B, 1), 1));
    let effects = bench.step(451, Input::Frame { from: B, frame });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Send { to: B, frame: Frame::Ack(_) })));
}

#[test]
fn what_the_daemon_dropped_meanwhile_is_not_missed_when_it_cannot_be_released() {
    let mut bench = Bench::holding(&[address(), cgroup()]);
    bench.tick(450);
    bench.say(455, FromDaemon::Drop { id: ActId(1), held: held(cgroup()) });
    let result = Err("no such folder".into());
    let effects = bench.step(460, Input::Released { held: held(cgroup()), result });
    assert_eq!(reset(&effects), None);
    assert!(bench.released(470, address()).contains(&Effect::NewIncarnation));
}
