//! Records who is connected: looks now and then, and tells what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use regent_model::action::Notice;
use regent_model::connection::{Change, Connection, RECORDED_MAX, ServiceAddress};

use super::diag::{Diag, States, by_address};
use crate::clock::Reporter;
use crate::report::Report;
use crate::sync::{lock, wait_until};

/// How often it looks, at the most.
const EVERY: Duration = Duration::from_millis(250);
/// How often at the least, however much a look costs.
const EVERY_MAX: Duration = Duration::from_secs(5);
/// A look may take this part of one processor's time until the next: a machine with a large table of sockets is looked
/// at less often.
const SHARE: u32 = 2000;
/// A kernel that does not answer is asked again after this.
const AGAIN: Duration = Duration::from_secs(10);
const TOPIC: &str = "connections";

#[derive(Default)]
struct State {
    /// What was told of each address; nothing before the first time.
    told: BTreeMap<ServiceAddress, Option<BTreeSet<Connection>>>,
    /// How many found no room, as told.
    beyond: BTreeMap<ServiceAddress, u32>,
    running: bool,
}

struct Shared {
    report: Reporter,
    state: Mutex<State>,
    changed: Condvar,
}

pub(super) struct Recorder(Arc<Shared>);

impl Recorder {
    pub(super) fn new(report: Reporter) -> Self {
        Self(Arc::new(Shared { report, state: Mutex::default(), changed: Condvar::new() }))
    }

    pub(super) fn record(&self, addresses: Vec<ServiceAddress>) {
        let mut state = lock(&self.0.state);
        state.told.retain(|of, _| addresses.contains(of));
        state.beyond.retain(|of, _| addresses.contains(of));
        for of in addresses {
            state.told.entry(of).or_default();
        }
        self.0.changed.notify_all();
        if state.running || state.told.is_empty() {
            return;
        }
        let shared = self.0.clone();
        match std::thread::Builder::new().name("regent-clients".into()).spawn(move || shared.work()) {
            Ok(_) => state.running = true,
            Err(error) => tracing::error!(%error, "nobody records who is connected"),
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut diag: Option<Diag> = None;
        let mut in_trouble = false;
        let mut cost_before = Duration::ZERO;
        loop {
            let addresses: Vec<IpAddr> = lock(&self.state).told.keys().map(|of| of.address).collect();
            let (begun, before) = (Instant::now(), processor_time());
            let looked = look(&mut diag, &addresses);
            let pause = match looked {
                Ok(found) => {
                    if std::mem::take(&mut in_trouble) {
                        let text = "connections of service addresses are recorded again".to_owned();
                        (self.report)(Report::Notice(Notice::Well { topic: TOPIC.into(), text }));
                    }
                    self.tell(&addresses, found);
                    let cost = processor_time().saturating_sub(before);
                    pause_after(cost.min(std::mem::replace(&mut cost_before, cost)))
                }
                Err(error) => {
                    if !std::mem::replace(&mut in_trouble, true) {
                        (self.report)(Report::Notice(trouble(&error)));
                    }
                    AGAIN
                }
            };
            let until = begun + pause;
            let mut state = lock(&self.state);
            // An address that is new is looked at at once.
            while !state.told.is_empty()
                && !state.told.values().any(Option::is_none)
                && Instant::now() < until
            {
                state = wait_until(&self.changed, state, Some(until));
            }
            if state.told.is_empty() {
                state.running = false;
                return;
            }
            if in_trouble && Instant::now() < until {
                drop(wait_until(&self.changed, state, Some(until)));
            }
        }
    }

    fn tell(&self, looked_at: &[IpAddr], mut found: BTreeMap<IpAddr, Vec<Connection>>) {
        let mut state = lock(&self.state);
        let State { told, beyond, .. } = &mut *state;
        for (of, told) in told.iter_mut().filter(|(of, _)| looked_at.contains(&of.address)) {
            let there: BTreeSet<Connection> =
                found.remove(&of.address).unwrap_or_default().into_iter().collect();
            let beyond = beyond.entry(of.clone()).or_default();
            let Some(change) = difference(told, there, beyond) else { continue };
            // Under the lock, so that the order of telling is that of looking, and nothing is told of an address that
            // is recorded no more.
            (self.report)(Report::Notice(Notice::Connections { of: of.clone(), change }));
        }
    }
}

/// What this thread has used so far. On a busy machine the clock on the wall would tell of others' work.
fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(used).unwrap_or_default()
}

/// Of two looks in a row the cheaper counts: one alone may have paid for something else, as the first does that opens the
/// way to the kernel.
fn pause_after(cost: Duration) -> Duration {
    (cost * SHARE).clamp(EVERY, EVERY_MAX)
}

fn look(diag: &mut Option<Diag>, addresses: &[IpAddr]) -> std::io::Result<BTreeMap<IpAddr, Vec<Connection>>> {
    let way = match diag.take() {
        Some(way) => way,
        None => Diag::open()?,
    };
    // A way on which something went wrong is not used again.
    let mut way = way;
    let found = way.list(addresses, States::WAITED_FOR)?;
    *diag = Some(way);
    Ok(by_address(found))
}

/// What is new since it was told last; brings that up to date. What is recorded keeps its room.
fn difference(
    told: &mut Option<BTreeSet<Connection>>,
    there: BTreeSet<Connection>,
    beyond: &mut u32,
) -> Option<Change> {
    let whole = told.is_none();
    let record = told.get_or_insert_default();
    let closed: Vec<Connection> = record.difference(&there).copied().collect();
    closed.iter().for_each(|c| {
        record.remove(c);
    });
    let room = RECORDED_MAX.saturating_sub(record.len());
    let mut fresh: Vec<Connection> = there.difference(record).copied().collect();
    let left = u32::try_from(fresh.len().saturating_sub(room)).unwrap_or(u32::MAX);
    fresh.truncate(room);
    record.extend(&fresh);
    let changed = std::mem::replace(beyond, left) != left;
    let is_news = whole || changed || !fresh.is_empty() || !closed.is_empty();
    is_news.then_some(Change { whole, opened: fresh, closed, beyond: left })
}

fn trouble(error: &std::io::Error) -> Notice {
    Notice::Trouble {
        topic: TOPIC.to_owned(),
        text: format!(
            "this node cannot tell who is connected to its service addresses ({error}): after a takeover clients may \
             wait for their own keepalive"
        ),
        advice: "type: modprobe tcp_diag; or switch it off with `tickle = false` at the addresses".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(numbers: std::ops::Range<u32>) -> BTreeSet<Connection> {
        let one = |n: u32| Connection {
            peer: ([10, 0, (n >> 8) as u8, n as u8], 1024 + (n % 60_000) as u16).into(),
            port: 80,
        };
        numbers.map(one).collect()
    }

    #[test]
    fn a_look_takes_a_two_thousandth_of_a_processor_and_comes_at_least_every_few_seconds() {
        let us = Duration::from_micros;
        assert_eq!(pause_after(us(20)), Duration::from_millis(250));
        assert_eq!(pause_after(us(500)), Duration::from_millis(1000));
        assert_eq!(pause_after(us(900_000)), Duration::from_secs(5));
    }

    #[test]
    fn what_is_used_is_the_threads_own_time() {
        let before = processor_time();
        std::thread::sleep(Duration::from_millis(30));
        assert!(processor_time().saturating_sub(before) < Duration::from_millis(10));
    }

    #[test]
    fn all_is_told_at_first_even_when_it_is_nothing_and_then_what_changes() {
        let (mut told, mut beyond) = (None, 0);
        let first = difference(&mut told, some(0..0), &mut beyond).unwrap();
        assert!(first.whole && first.opened.is_empty());
        assert_eq!(difference(&mut told, some(0..0), &mut beyond), None);
        let next = difference(&mut told, some(0..3), &mut beyond).unwrap();
        assert!(!next.whole && next.opened.len() == 3 && next.closed.is_empty());
        let next = difference(&mut told, some(2..4), &mut beyond).unwrap();
        assert_eq!((next.opened.len(), next.closed.len(), next.beyond), (1, 2, 0));
        assert_eq!(told, Some(some(2..4)));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_gets_room_when_others_go() {
        let (mut told, mut beyond) = (None, 0);
        let max = RECORDED_MAX as u32;
        let first = difference(&mut told, some(0..max + 10), &mut beyond).unwrap();
        assert_eq!((first.opened.len(), first.beyond), (RECORDED_MAX, 10));
        assert_eq!(difference(&mut told, some(0..max + 10), &mut beyond), None);
        let record = told.clone().unwrap();
        let gone: BTreeSet<Connection> =
            some(0..max + 10).into_iter().filter(|c| record.iter().take(4).all(|r| r != c)).collect();
        let next = difference(&mut told, gone, &mut beyond).unwrap();
        assert_eq!((next.opened.len(), next.closed.len(), next.beyond), (4, 4, 6));
    }
}
