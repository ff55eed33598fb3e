//! Orders are given once, and waited for until they have their effect.

use std::time::Duration;

use regent_api::{GroupVerb, NodeVerb, Request};
use regent_model::Epoch;
use regent_model::journal::Level;
use regent_model::state::StopMode;

use super::samples::{Scripted, blocked, entry, failed, group_name, healthy, node_name, with_group};
use crate::args::{GroupCommand, WaitArgs};
use crate::follow::{Steps, wall_ms};
use crate::orders;
use crate::screen::Screen;
use crate::settle::{Verdict, Wish, judge};
use crate::trouble::Exit;

fn wait(ms: u64) -> WaitArgs {
    WaitArgs { no_wait: false, wait: Duration::from_millis(ms) }
}

fn online(after: Option<u64>, on: Option<&str>) -> Wish {
    Wish::Online { group: group_name("cacheha1"), after: after.map(Epoch), on: on.map(node_name) }
}

#[test]
fn online_is_online_only_on_the_right_node_and_under_a_later_epoch() {
    let settled = |wish: &Wish, status| matches!(judge(wish, &status), Verdict::Settled(_));
    assert!(settled(&online(None, None), healthy()));
    assert!(settled(&online(Some(6), Some("lx4")), healthy()));
    assert!(!settled(&online(Some(7), None), healthy()), "the epoch is still the one before");
    assert!(!settled(&online(None, Some("lx5")), healthy()), "it runs elsewhere");
    assert!(!settled(&online(None, None), with_group("acquiring", Some("lx4"), 8)));
}

#[test]
fn what_needs_a_person_is_a_failure_with_its_advice() {
    for status in [blocked(), failed()] {
        let advice = status.groups[0].advice.clone().unwrap();
        match judge(&online(None, None), &status) {
            Verdict::Failed { next, .. } => assert_eq!(next, advice),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn of_several_wishes_one_that_cannot_come_true_is_told_first_and_one_that_is_open_next() {
    let done = online(None, Some("lx4"));
    let open = online(None, Some("lx5"));
    let gone = Wish::Disabled { group: group_name("gone") };
    let judged =
        |wishes: &[&Wish]| judge(&Wish::Every(wishes.iter().copied().cloned().collect()), &healthy());
    assert!(matches!(judged(&[&done, &open, &gone]), Verdict::Failed { .. }));
    assert!(matches!(judged(&[&done, &open]), Verdict::Waiting(_)));
    let Verdict::Settled(both) = judged(&[&done, &done]) else { panic!("both have their effect") };
    assert_eq!(both.matches("cacheha1 is online on lx4").count(), 2, "{both}");
    let Verdict::Settled(none) = judged(&[]) else { panic!("there is nothing to wait for") };
    assert!(none.contains("nothing is waited for"), "{none}");
}

#[test]
fn a_move_waits_until_the_group_is_online_there() {
    let daemon = Scripted::new(vec![
        healthy(),
        healthy(),
        with_group("releasing", Some("lx4"), 7),
        with_group("acquiring", Some("lx5"), 8),
        with_group("online", Some("lx5"), 8),
    ]);
    let verb = GroupCommand::Move {
        group: "cacheha1".into(),
        node: Some("lx5".into()),
        restore: false,
        wait: wait(5_000),
    };
    orders::group(&daemon, &Screen::silent(), &verb).unwrap();
    let order = Request::Group { group: "cacheha1".into(), verb: GroupVerb::Move { to: "lx5".into() } };
    assert_eq!(*daemon.orders.borrow(), [order]);
}

#[test]
fn a_move_that_does_not_settle_ends_with_4() {
    let daemon = Scripted::new(vec![healthy(), with_group("releasing", Some("lx4"), 7)]);
    let verb = GroupCommand::Move {
        group: "cacheha1".into(),
        node: Some("lx5".into()),
        restore: false,
        wait: wait(200),
    };
    let trouble = orders::group(&daemon, &Screen::silent(), &verb).unwrap_err();
    assert_eq!(trouble.exit, Exit::Unsettled);
    assert!(trouble.what.contains("cacheha1 is releasing on lx4"), "{trouble}");
}

#[test]
fn an_enabled_group_that_fails_everywhere_ends_with_1() {
    let mut lasting = failed();
    lasting.lease = Duration::ZERO;
    let daemon = Scripted::new(vec![lasting]);
    let verb = GroupCommand::Enable { group: "cacheha1".into(), wait: wait(5_000) };
    let trouble = orders::group(&daemon, &Screen::silent(), &verb).unwrap_err();
    assert_eq!(trouble.exit, Exit::Refused);
    assert_eq!(trouble.next, ["mend the cause, then: regent group enable cacheha1"]);
}

#[test]
fn a_failure_that_passes_is_waited_through() {
    let daemon = Scripted::new(vec![healthy(), failed(), with_group("acquiring", Some("lx5"), 8), healthy()]);
    let verb = GroupCommand::Enable { group: "cacheha1".into(), wait: wait(5_000) };
    orders::group(&daemon, &Screen::silent(), &verb).unwrap();
}

#[test]
fn what_is_refused_is_not_waited_for() {
    let daemon = Scripted::new(vec![healthy()]).that_refuses("lx5 is on standby", "regent node start lx5");
    let verb = GroupCommand::Move {
        group: "cacheha1".into(),
        node: Some("lx5".into()),
        restore: false,
        wait: wait(60_000),
    };
    let trouble = orders::group(&daemon, &Screen::silent(), &verb).unwrap_err();
    assert_eq!((trouble.exit, trouble.next.len()), (Exit::Refused, 1));
}

#[test]
fn unknown_names_are_told_with_the_known_ones_and_nothing_is_ordered() {
    let daemon = Scripted::new(vec![healthy()]);
    let verb = GroupCommand::Disable { group: "cache".into(), wait: wait(1) };
    let trouble = orders::group(&daemon, &Screen::silent(), &verb).unwrap_err();
    assert_eq!(trouble.next, ["the groups are: cacheha1"]);
    let verb = GroupCommand::Move {
        group: "cacheha1".into(),
        node: Some("lx9".into()),
        restore: false,
        wait: wait(1),
    };
    let trouble = orders::group(&daemon, &Screen::silent(), &verb).unwrap_err();
    assert_eq!(trouble.next, ["the nodes are: lx4, lx5, wit"]);
    assert!(daemon.orders.borrow().is_empty());
}

#[test]
fn a_node_that_stops_itself_takes_the_daemon_along() {
    let daemon = Scripted::new(vec![healthy(), healthy()]).then_gone();
    orders::stop_node(&daemon, &Screen::silent(), None, StopMode::Graceful, &wait(20_000)).unwrap();
    let verb = NodeVerb::Stop(StopMode::Graceful);
    assert_eq!(*daemon.orders.borrow(), [Request::Node { node: Some("lx5".into()), verb }]);
}

#[test]
fn a_stop_with_takeover_waits_for_the_other_node_to_have_the_group() {
    let wish = Wish::Stopped { node: node_name("lx4"), groups: vec![group_name("cacheha1")] };
    let mut status = with_group("acquiring", Some("lx5"), 8);
    status.nodes[0].state = "stopped".into();
    assert!(matches!(judge(&wish, &status), Verdict::Waiting(_)));
    status.groups[0].state = "online".into();
    let words = "lx4 has left the cluster; cacheha1 is online on lx5";
    assert_eq!(judge(&wish, &status), Verdict::Settled(words.into()));
}

#[test]
fn confirm_dead_asks_a_person_and_wants_a_reason() {
    let daemon = Scripted::new(vec![blocked()]);
    let trouble = orders::confirm_dead(&daemon, &Screen::silent(), "lx4", (" ", None), true).unwrap_err();
    assert_eq!(trouble.exit, Exit::Usage);
    assert!(daemon.orders.borrow().is_empty());
    orders::confirm_dead(&daemon, &Screen::silent(), "lx4", ("pulled its plug", Some(5)), true).unwrap();
    match &daemon.orders.borrow()[0] {
        Request::ConfirmDead { node, who, why, minutes } => {
            assert_eq!((node.as_str(), why.as_str(), *minutes), ("lx4", "pulled its plug", Some(5)));
            assert!(!who.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn while_waiting_only_what_happens_now_is_told() {
    let now = wall_ms();
    let old = entry("wit", 7, now - 60_000, Level::Notice, "long ago");
    let daemon = Scripted::new(vec![healthy()]).with_events(vec![old.clone()]);
    let manner = crate::look::manner(&Screen::silent(), false);
    let mut waiting = Steps::from_now(&daemon, manner.clone()).unwrap();
    let mut following = Steps::learnt_from_now(&daemon, manner).unwrap();
    daemon.happen(entry("lx4", 3, now - 60_000, Level::Notice, "learnt late"));
    daemon.happen(entry("lx5", 9, now + 5, Level::Notice, "now"));
    let texts = |steps: &mut Steps| -> Vec<String> {
        steps.news(&daemon).unwrap().into_iter().map(|e| e.text).collect()
    };
    assert_eq!(texts(&mut waiting), ["now"]);
    assert_eq!(texts(&mut following), ["learnt late", "now"]);
    assert!(texts(&mut following).is_empty());
}

#[test]
fn a_node_on_standby_has_settled_when_no_group_is_on_the_way() {
    let wish = Wish::Node { node: node_name("lx4"), state: "standby" };
    let mut status = with_group("acquiring", Some("lx5"), 8);
    assert!(matches!(judge(&wish, &status), Verdict::Waiting(_)), "it is up");
    status.nodes[0].state = "standby".into();
    assert!(matches!(judge(&wish, &status), Verdict::Waiting(_)), "its group moves");
    status.groups[0].state = "online".into();
    assert_eq!(judge(&wish, &status), Verdict::Settled("lx4 is on standby and owns nothing".into()));
}
