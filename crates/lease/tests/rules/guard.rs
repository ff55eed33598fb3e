//! The guard while its incarnation lasts: what it sends, what it lets its daemon do, what it tells.

use regent_lease::holder::Right;
use regent_lease::io::ActId;
use regent_lease::{Effect, Frame, FromDaemon, Guard, Input, ToDaemon};
use regent_model::{BootId, Incarnation, NodeId, Round};

use crate::bench::{
    A, B, Bench, FIRST, W, X, address, held, keepalive, mount, mount_act, ms, of, promise, told, view,
};

fn keepalives(effects: &[Effect]) -> Vec<(NodeId, u64, bool)> {
    let sent = |effect: &Effect| match effect {
        Effect::Send { to, frame: Frame::Keepalive(k) } => Some((*to, k.number, k.renews)),
        _ => None,
    };
    effects.iter().filter_map(sent).collect()
}

fn refusal(effects: &[Effect]) -> Option<String> {
    told(effects).into_iter().find_map(|told| match told {
        ToDaemon::Done { result, .. } => result.err(),
        _ => None,
    })
}

fn hear(bench: &mut Bench, at: u64, from: NodeId) -> Vec<Effect> {
    let frame = Frame::Keepalive(keepalive(of(from, 1), at));
    bench.step(at, Input::Frame { from, frame })
}

#[test]
fn before_the_first_attach_nobody_is_acknowledged_and_nobody_acts() {
    let mut bench = Bench::started(Vec::new());
    assert_eq!(bench.tick(0), vec![]);
    assert_eq!(hear(&mut bench, 10, B), vec![]);
    assert_eq!(bench.say(20, FromDaemon::Configure(view(A, 5))), vec![], "it says nothing of promises");
    assert!(bench.hold(30, address()).is_err());
    assert_eq!(hear(&mut bench, 40, B), vec![]);
}

#[test]
fn the_first_attach_is_answered_with_a_welcome() {
    let mut bench = Bench::started(Vec::new());
    let welcome =
        ToDaemon::Welcome { incarnation: FIRST, boot: BootId("boot".into()), held: Vec::new(), clean: true };
    assert_eq!(told(&bench.attach(0)), vec![welcome]);
}

#[test]
fn keepalives_go_to_every_peer_at_every_heartbeat() {
    let mut bench = Bench::started(Vec::new());
    assert_eq!(keepalives(&bench.attach(0)), vec![(B, 1, true), (W, 1, true)]);
    assert_eq!(keepalives(&bench.tick(99)), vec![]);
    assert_eq!(keepalives(&bench.tick(101)), vec![(B, 2, true), (W, 2, true)]);
    assert_eq!(keepalives(&bench.tick(200)), vec![(B, 3, true), (W, 3, true)], "lateness does not add up");
    assert_eq!(keepalives(&bench.tick(470)).len(), 2, "missed ones are not sent afterwards");
    assert_eq!(keepalives(&bench.tick(569)), vec![]);
}

#[test]
fn a_frame_counts_only_for_the_node_that_sealed_it_and_only_from_a_peer() {
    let mut bench = Bench::attached();
    let frame = Frame::Keepalive(keepalive(of(W, 1), 1));
    assert_eq!(bench.step(1, Input::Frame { from: B, frame }), vec![]);
    assert_eq!(hear(&mut bench, 2, X), vec![]);
    let effects = hear(&mut bench, 3, B);
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, Effect::Send { to: B, frame: Frame::Ack(ack) } if ack.number == 3))
    );
    bench.acknowledged(4, X);
    assert_eq!(bench.guard.right(), Right::Seeking);
}

#[test]
fn a_valid_lease_is_told_once_and_again_after_an_attach() {
    let mut bench = Bench::attached();
    let valid = ToDaemon::LeaseValid { incarnation: FIRST };
    let confirmed = ToDaemon::Confirmed { incarnation: FIRST, applied: 1 };
    assert_eq!(told(&bench.acknowledged(1, B)), vec![valid.clone(), confirmed.clone()]);
    assert_eq!(told(&bench.acknowledged(2, W)), vec![]);
    bench.step(3, Input::DaemonGone);
    let again = told(&bench.attach(4));
    assert!(again.contains(&valid) && again.contains(&confirmed));
}

#[test]
fn l08_every_view_is_confirmed_when_its_voters_have_acknowledged() {
    let mut bench = Bench::valid();
    let mut more = view(A, 2);
    more.voters.insert(X);
    more.peers.insert(X);
    assert_eq!(told(&bench.say(10, FromDaemon::Configure(more))), vec![]);
    assert_eq!(bench.guard.right(), Right::Valid, "the voters before still judge");
    let refused = bench.hold(20, address()).unwrap_err();
    assert!(refused.contains("voters have changed"), "{refused}");
    let confirmed = ToDaemon::Confirmed { incarnation: FIRST, applied: 2 };
    assert_eq!(told(&bench.acknowledged(30, X)), vec![confirmed]);
    assert_eq!(bench.hold(40, address()), Ok(()));
}

#[test]
fn l09_an_older_view_is_ignored() {
    let mut bench = Bench::attached();
    let mut newer = view(A, 7);
    newer.dead.insert(of(B, 1));
    bench.say(1, FromDaemon::Configure(newer));
    bench.say(2, FromDaemon::Configure(view(A, 6)));
    assert!(!hear(&mut bench, 3, B).iter().any(|e| matches!(e, Effect::Send { frame: Frame::Ack(_), .. })));
}

#[test]
fn l12_nothing_is_acquired_without_a_valid_lease() {
    let mut bench = Bench::attached();
    let why = refusal(&bench.perform(1, 1, FIRST)).unwrap();
    assert!(why.contains("no majority"), "{why}");
    assert_eq!(bench.guard.held(), vec![]);
}

#[test]
fn l12_nothing_is_acquired_for_another_incarnation() {
    let mut bench = Bench::valid();
    let why = refusal(&bench.perform(1, 1, Incarnation(2))).unwrap();
    assert!(why.contains("incarnation is 1, not 2"), "{why}");
}

#[test]
fn l12_an_act_is_on_the_list_before_it_is_performed_and_must_begin_in_time() {
    let mut bench = Bench::valid();
    let effects = bench.perform(10, 7, FIRST);
    assert_eq!(effects, vec![Effect::Perform { id: ActId(7), act: mount_act(), not_after: ms(450) }]);
    assert_eq!(bench.guard.held(), vec![held(mount("/storage2"))]);
    let done = bench.step(20, Input::Performed { id: ActId(7), result: Ok(()) });
    assert_eq!(told(&done), vec![ToDaemon::Done { id: ActId(7), result: Ok(()) }]);
    assert_eq!(bench.guard.held(), vec![held(mount("/storage2"))]);
}

#[test]
fn l12_an_act_that_the_machine_was_too_slow_for_goes_through_the_gate_once_more() {
    let mut bench = Bench::valid();
    bench.perform(10, 7, FIRST);
    bench.tick(300);
    bench.acknowledged(310, B);
    let late = || Input::NotBegun { id: ActId(7), act: mount_act() };
    let again = bench.step(460, late());
    let Some(Effect::Perform { id: ActId(7), act, not_after }) = again.first() else {
        panic!("the lease went on: {again:?}")
    };
    assert!(*act == mount_act() && *not_after > ms(460));
    assert_eq!(bench.guard.held(), vec![held(mount("/storage2"))]);

    let ends = *not_after;
    let effects = bench.guard.step(ends, late());
    assert!(!effects.iter().any(|e| matches!(e, Effect::Perform { .. })), "it has not: {effects:?}");
    assert!(refusal(&effects).is_some());
    assert_eq!(bench.guard.held(), vec![]);
    assert_eq!(bench.guard.step(ends, late()), vec![], "an act that is over does not begin again");
}

#[test]
fn l12_an_act_that_failed_leaves_nothing_unless_it_was_held_before() {
    let mut bench = Bench::valid();
    bench.perform(10, 7, FIRST);
    assert!(refusal(&bench.perform(11, 8, FIRST)).is_some(), "one act for it is under way");
    bench.step(20, Input::Performed { id: ActId(7), result: Err("no such device".into()) });
    assert_eq!(bench.guard.held(), vec![]);
    assert_eq!(bench.hold(30, mount("/storage2")), Ok(()));
    bench.perform(40, 9, FIRST);
    bench.step(50, Input::Performed { id: ActId(9), result: Err("mounted already".into()) });
    assert_eq!(bench.guard.held(), vec![held(mount("/storage2"))]);
}

#[test]
fn l12_only_what_is_held_as_said_is_dropped() {
    let mut bench = Bench::holding(&[address()]);
    let mut drop_it = |held| refusal(&bench.say(10, FromDaemon::Drop { id: ActId(1), held }));
    let mut other_epoch = held(address());
    other_epoch.epoch = other_epoch.epoch.next();
    assert!(drop_it(other_epoch).is_some());
    assert_eq!(drop_it(held(mount("/nowhere"))), None);
    assert_eq!(drop_it(held(address())), None);
    assert_eq!(bench.guard.held(), vec![]);
}

#[test]
fn a_paused_guard_finds_out_before_it_acts() {
    let mut bench = Bench::valid();
    let effects = bench.perform(451, 1, FIRST);
    let told = told(&effects);
    assert!(matches!(&told[0], ToDaemon::LettingGo { .. }), "{told:?}");
    assert!(refusal(&effects).is_some());
    assert!(effects.contains(&Effect::NewIncarnation));
}

#[test]
fn promises_stand_while_the_daemon_is_away() {
    let mut bench = Bench::attached();
    hear(&mut bench, 10, B);
    bench.step(20, Input::DaemonGone);
    assert!(told(&bench.tick(500)).contains(&ToDaemon::StorePromise(promise(A, of(B, 1), 1))));
    assert!(!hear(&mut bench, 510, B).iter().any(|e| matches!(e, Effect::Send { frame: Frame::Ack(_), .. })));
    assert!(!told(&bench.tick(2000)).iter().any(|told| matches!(told, ToDaemon::PromiseMatured(_))));
    let (promises, next_round) = (Vec::new(), Round(1));
    let again = bench.say(2100, FromDaemon::Attach { promises, next_round, cluster: view(A, 1) });
    assert!(told(&again).contains(&ToDaemon::StorePromise(promise(A, of(B, 1), 1))));
    let stored = bench.say(2200, FromDaemon::PromiseStored(promise(A, of(B, 1), 1)));
    assert!(told(&stored).contains(&ToDaemon::PromiseMatured(promise(A, of(B, 1), 1))));
}

#[test]
fn a_guard_that_is_called_when_it_asks_to_be_misses_nothing() {
    let mut bench = Bench::holding(&[address()]);
    let mut now = ms(0);
    let mut begun = None;
    while begun.is_none() {
        let next = bench.guard.next_wake(now);
        assert!(next > now && next <= now + bench.guard.poll_interval(), "{now} -> {next}");
        now = next;
        let effects = bench.guard.step(now, Input::Tick);
        begun = effects.iter().any(|e| matches!(e, Effect::LetGo { .. })).then_some(now);
    }
    assert_eq!(begun, Some(ms(450)));
}

#[test]
fn a_guard_may_not_be_reborn_before_its_incarnation_is_over() {
    let mut guard: Guard = Bench::valid().guard;
    let early = std::panic::catch_unwind(move || guard.reborn(ms(1), Incarnation(2)));
    assert!(early.is_err());
}
