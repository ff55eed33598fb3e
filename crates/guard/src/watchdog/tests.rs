//! A device that counts what is done to it, in the hands of real guards.

use std::cell::RefCell;
use std::collections::BTreeSet;

use regent_lease::io::{ActId, ClusterView, Effect, WatchdogWish};
use regent_lease::{FromDaemon, Input, ToDaemon};
use regent_model::holding::{Held, Holding};
use regent_model::ids::IncarnationOf;
use regent_model::{BootId, Epoch, GroupName, Incarnation, NodeId, Round};

use super::*;
use crate::held::tests::Folder;

#[derive(Default)]
struct Kennel {
    /// Its timeout, while it is armed.
    armed: Option<Duration>,
    feeds: u32,
    /// What the driver makes of every timeout.
    makes: Option<Duration>,
    absent: bool,
}

thread_local! {
    static KENNEL: RefCell<Kennel> = RefCell::default();
}

fn kennel<T>(look: impl FnOnce(&mut Kennel) -> T) -> T {
    KENNEL.with_borrow_mut(look)
}

struct Counting;

impl Device for Counting {
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<Duration> {
        let timeout = kennel(|k| k.makes.unwrap_or(timeout));
        kennel(|k| k.armed = Some(timeout));
        Ok(timeout)
    }

    fn feed(&mut self) -> io::Result<()> {
        kennel(|k| k.feeds += 1);
        Ok(())
    }

    fn disarm(&mut self) -> io::Result<()> {
        kennel(|k| k.armed = None);
        Ok(())
    }
}

fn open_counting(path: &Path) -> Result<Box<dyn Device>, String> {
    if kennel(|k| k.absent) {
        return Err(format!("{} is not there", path.display()));
    }
    kennel(|k| k.armed = Some(Duration::from_secs(60)));
    Ok(Box::new(Counting))
}

const ME: NodeId = NodeId(1);
const LEASE: Duration = Duration::from_secs(10);

fn group() -> GroupName {
    GroupName::new("db").unwrap()
}

/// The only voter of its cluster, whose lease was renewed this long ago, at the last.
struct Alone {
    guard: Guard,
    at: Moment,
}

impl Alone {
    fn renewed(ago: Duration, left: Vec<regent_lease::list::HeldOver>) -> Self {
        let at = Moment(clock::now().0 - u64::try_from(ago.as_nanos()).unwrap());
        let mut alone = Self { guard: Guard::new(ME, Incarnation(1), BootId("b".into()), left, at), at };
        let timers = Timers::for_lease(LEASE).unwrap();
        let cluster = ClusterView {
            applied: 1,
            voters: BTreeSet::from([ME]),
            peers: BTreeSet::new(),
            timers,
            largest_lease: timers.lease,
            registered: BTreeSet::from([IncarnationOf { node: ME, incarnation: Incarnation(1) }]),
            dead: BTreeSet::new(),
        };
        alone.say(FromDaemon::Attach { promises: Vec::new(), next_round: Round(1), cluster });
        let device = Some("/dev/watchdog7".into());
        alone.say(FromDaemon::Watchdog(WatchdogWish { device, groups: BTreeSet::from([group()]) }));
        alone
    }

    fn say(&mut self, said: FromDaemon) -> Vec<Effect> {
        self.guard.step(self.at, Input::Daemon(said))
    }

    fn hold(&mut self) -> Result<(), String> {
        let holding = Holding::Mount { device: "/dev/x".into(), mount: "/m".into() };
        let held = Held { group: group(), epoch: Epoch(1), holding };
        let said = FromDaemon::Hold { id: ActId(1), incarnation: Incarnation(1), held };
        let effects = self.say(said);
        let done = effects.into_iter().find_map(|effect| match effect {
            Effect::Tell(ToDaemon::Done { result, .. }) => Some(result),
            _ => None,
        });
        done.expect("it is answered")
    }
}

fn watchdog(folder: &Folder, guard: &Guard) -> Watchdog {
    Watchdog::begin(open_counting, folder.path().join("watchdog"), guard)
}

/// Every look is due at once.
fn tend(watchdog: &mut Watchdog, alone: &mut Alone) {
    watchdog.hurry();
    watchdog.tend(&mut alone.guard);
}

#[test]
fn a_group_that_needs_a_watchdog_is_acquired_once_one_is_fed() {
    let folder = Folder::new("dog-gate");
    let mut alone = Alone::renewed(Duration::ZERO, Vec::new());
    let mut watchdog = watchdog(&folder, &alone.guard);
    let why = alone.hold().unwrap_err();
    assert!(why.contains("db needs a watchdog, and none is fed on this node"), "{why}");
    kennel(|k| k.absent = true);
    tend(&mut watchdog, &mut alone);
    let why = alone.hold().unwrap_err();
    assert!(why.ends_with("/dev/watchdog7 is not there"), "{why}");
    assert_eq!(watchdog.state(), WatchdogState::Unfed("/dev/watchdog7 is not there".into()));
    kennel(|k| k.absent = false);
    tend(&mut watchdog, &mut alone);
    assert_eq!(alone.hold(), Ok(()));
    let wanted = timeout_wanted(&Timers::for_lease(LEASE).unwrap());
    assert_eq!(watchdog.state(), WatchdogState::Fed(wanted));
    assert_eq!(kennel(|k| (k.armed, k.feeds)), (Some(wanted), 1));
    watchdog.leave();
    assert_eq!(kennel(|k| k.armed), None);
    assert!(!folder.path().join("watchdog").exists());
}

#[test]
fn a_device_is_fed_while_the_last_renewal_of_what_is_held_is_young_enough_and_always_when_nothing_is_held() {
    let folder = Folder::new("dog-feed");
    let mut empty = Alone::renewed(Duration::from_secs(30), Vec::new());
    let mut watchdog = watchdog(&folder, &empty.guard);
    tend(&mut watchdog, &mut empty);
    tend(&mut watchdog, &mut empty);
    assert_eq!(kennel(|k| k.feeds), 2);
    // 10 s of lease, less three timeouts of 1 s and the latency: fed until 6.7 s after the renewal.
    for (ago, feeds) in [(1, 3), (6, 4), (7, 4), (9, 4)] {
        let mut holding = Alone::renewed(Duration::from_secs(ago), Vec::new());
        holding.guard.watchdog_is(Ok(()));
        holding.hold().unwrap();
        tend(&mut watchdog, &mut holding);
        assert_eq!(kennel(|k| k.feeds), feeds, "{ago} s");
        assert!(kennel(|k| k.armed).is_some(), "it is armed all the time");
    }
}

#[test]
fn a_driver_that_rounds_up_too_far_is_not_trusted() {
    let folder = Folder::new("dog-rounds");
    let mut alone = Alone::renewed(Duration::ZERO, Vec::new());
    let mut watchdog = watchdog(&folder, &alone.guard);
    kennel(|k| k.makes = Some(Duration::from_secs(8)));
    tend(&mut watchdog, &mut alone);
    let why = alone.hold().unwrap_err();
    assert!(why.contains("makes 8 s of the 1 s asked for, too long for a lease of 10s"), "{why}");
    assert_eq!(kennel(|k| k.armed), None, "it is disarmed again");
    kennel(|k| k.makes = Some(Duration::from_secs(2)));
    tend(&mut watchdog, &mut alone);
    assert_eq!(alone.hold(), Ok(()), "2 s fit a lease of 10 s");
    let noted = watchdog.read_note().map(|(_, timeout)| timeout);
    assert_eq!(noted, Some(Duration::from_secs(2)), "the next guard judges by what the driver took");
}

#[test]
fn the_next_guard_takes_up_what_its_predecessor_left_armed_while_the_lease_of_that_allows_it() {
    let folder = Folder::new("dog-next");
    let mut first = Alone::renewed(Duration::ZERO, Vec::new());
    let mut before = watchdog(&folder, &first.guard);
    tend(&mut before, &mut first);
    first.hold().unwrap();
    let left = first.guard.leaves();
    drop(before);
    kennel(|k| *k = Kennel::default());
    let next = Guard::new(ME, Incarnation(2), BootId("b".into()), left, clock::now());
    let mut taken_up = watchdog(&folder, &next);
    assert!(kennel(|k| k.armed).is_some(), "before anybody says which one");
    taken_up.due = Moment(0);
    taken_up.tend(&mut { next });
    assert_eq!(kennel(|k| k.feeds), 1);

    let mut old = Alone::renewed(Duration::from_secs(8), Vec::new());
    old.guard.watchdog_is(Ok(()));
    old.hold().unwrap();
    let late = Guard::new(ME, Incarnation(2), BootId("b".into()), old.guard.leaves(), clock::now());
    kennel(|k| *k = Kennel::default());
    let mut left_alone = watchdog(&folder, &late);
    left_alone.tend(&mut { late });
    assert_eq!(kennel(|k| (k.armed, k.feeds)), (None, 0), "arming feeds, so it is not touched");
}

#[test]
fn what_is_no_watchdog_is_refused_with_words() {
    let why = |path: &str| open(Path::new(path)).err().unwrap();
    assert!(why("/dev/null").contains("/dev/null is no watchdog device"), "{}", why("/dev/null"));
    assert!(why("/nowhere/watchdog0").contains("its driver is not loaded"), "{}", why("/nowhere/watchdog0"));
}
