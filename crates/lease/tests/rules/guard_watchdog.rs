//! When a watchdog may be fed, and what waits for one.

use std::collections::BTreeSet;
use std::time::Duration;

use regent_lease::FromDaemon;
use regent_lease::io::WatchdogWish;
use regent_model::watchdog::reach;

use crate::bench::{Bench, FIRST, group, mount, ms};

/// A device that fires at once: what is left of its reach is its latency, 250 ms and the error of the clocks.
const AT_ONCE: Duration = Duration::ZERO;

#[test]
fn a_feed_is_allowed_while_the_machine_would_be_reset_before_the_lease_of_anything_held_ends() {
    assert!(reach(AT_ONCE) > Duration::from_millis(250) && reach(AT_ONCE) < Duration::from_millis(251));
    let bench = Bench::holding(&[mount("/a")]);
    assert!(bench.guard.may_feed(ms(349), AT_ONCE));
    assert!(!bench.guard.may_feed(ms(350), AT_ONCE), "the lease ends at 600");
    assert!(!bench.guard.may_feed(ms(0), Duration::from_secs(1)), "one of a second never fits this lease");
}

#[test]
fn what_an_earlier_incarnation_held_limits_the_feeding_until_it_is_let_go() {
    let mut before = Bench::holding(&[mount("/a")]);
    before.tick(100);
    let next = Bench::started(before.guard.leaves());
    assert!(next.guard.may_feed(ms(349), AT_ONCE) && !next.guard.may_feed(ms(350), AT_ONCE));
}

#[test]
fn a_machine_that_holds_nothing_or_nothing_by_lease_is_fed_whatever_its_lease() {
    assert!(Bench::attached().guard.may_feed(ms(9_000), AT_ONCE));
    assert!(Bench::valid().guard.may_feed(ms(9_000), AT_ONCE));
    let mut bench = Bench::holding(&[mount("/a")]);
    bench.say(100, FromDaemon::HeldWithoutLease { incarnation: FIRST });
    assert!(bench.guard.may_feed(ms(9_000), AT_ONCE));
}

#[test]
fn a_machine_that_is_being_reset_is_fed_no_more() {
    let mut bench = Bench::holding(&[mount("/a")]);
    assert!(bench.guard.may_feed(ms(100), AT_ONCE));
    bench.tick(700);
    assert!(!bench.guard.may_feed(ms(100), AT_ONCE));
}

#[test]
fn only_a_group_that_needs_a_watchdog_waits_for_one() {
    let mut bench = Bench::valid();
    assert_eq!(bench.hold(10, mount("/a")), Ok(()));
    let wish = |groups| FromDaemon::Watchdog(WatchdogWish { device: Some("/dev/watchdog0".into()), groups });
    bench.say(20, wish(BTreeSet::from([group()])));
    let why = bench.hold(30, mount("/b")).unwrap_err();
    assert!(why.contains("needs a watchdog, and none is fed"), "{why}");
    bench.guard.watchdog_is(Ok(()));
    assert_eq!(bench.hold(40, mount("/b")), Ok(()));
    bench.guard.watchdog_is(Err("it was unplugged".into()));
    let why = bench.hold(50, mount("/c")).unwrap_err();
    assert!(why.ends_with("it was unplugged"), "{why}");
    bench.say(60, wish(BTreeSet::new()));
    assert_eq!(bench.hold(70, mount("/c")), Ok(()));
}
