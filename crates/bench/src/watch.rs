//! What is looked at while a fault is made: the client's answers, and who carries the address.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use regent_lab::observe::{Holding, Observer, doubles};
use regent_lab::probe::{Gap, Probe, Protocol, Reply, Series};
use regent_lab::{CLIENT, Lab};

use crate::service::{SERVICE, service_at};
use crate::{Result, sys};

/// The client asks once so often.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(2);
/// The nodes' addresses are looked at once so often.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Above what is measured at ordinary priority, so that a busy machine is not taken for a silent service; below
/// every real-time thread of those who are measured.
const PRIORITY: i32 = 1;

/// A running watch.
pub(crate) struct Watch {
    probe: Probe,
    observer: Observer,
}

/// What a watch has seen.
pub(crate) struct Seen {
    /// The client's answers.
    pub(crate) series: Series,
    /// Who carried the address when.
    holdings: Vec<Holding>,
}

impl Watch {
    /// Starts the client and the observer.
    ///
    /// # Errors
    /// When the client is off or the kernel refuses real-time scheduling.
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        // What a real-time thread starts is real-time too.
        std::thread::scope(|scope| {
            let starter = scope.spawn(|| -> Result<Self> {
                sys::schedule_at_once(PRIORITY)?;
                let observer = Observer::start(lab, &[IpAddr::V4(SERVICE)], LOOK_EVERY)?;
                let probe = Probe::start(lab, CLIENT, service_at(), Protocol::Udp, ASK_EVERY)?;
                Ok(Self { probe, observer })
            });
            starter.join().map_err(|_| "a thread died")?
        })
    }

    /// Waits for the first answer to a question asked after `after` by anybody who is `wanted`.
    pub(crate) fn answer(
        &self,
        after: u64,
        patience: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<Reply> {
        let end = Instant::now() + patience;
        loop {
            let latest = self.probe.latest();
            if latest.is_some_and(|r| r.sent >= after && wanted(node_of(&r.who))) {
                let series = self.probe.so_far();
                let found = series.replies.iter().find(|r| r.sent >= after && wanted(node_of(&r.who)));
                return found.cloned();
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Seen {
        let holdings = self.observer.stop();
        Seen { series: self.probe.stop(), holdings }
    }
}

/// The node in what answered.
pub(crate) fn node_of(who: &str) -> &str {
    who.split(' ').next().unwrap_or_default()
}

impl Seen {
    /// The longest silence that ends after `from` and begins before `until`, in milliseconds; infinite if the client
    /// heard nothing more until the end.
    pub(crate) fn silence(&self, from: u64, until: u64) -> f64 {
        let within = |gap: &Gap| gap.to > from && gap.from < until;
        let longest = self.series.gaps().filter(within).max_by_key(Gap::ns);
        longest.map_or(0.0, |gap| {
            let never = gap.after.is_none() && gap.ns() > 1_000_000_000;
            if never { f64::INFINITY } else { ms(gap.ns()) }
        })
    }

    /// How long two nodes carried the address between `from` and `until`, in milliseconds.
    pub(crate) fn two_owners(&self, from: u64, until: u64) -> f64 {
        let cut = |d: &regent_lab::observe::Double| d.to.min(until).saturating_sub(d.from.max(from));
        ms(doubles(&self.holdings).iter().map(cut).sum())
    }
}

/// Nanoseconds in milliseconds.
pub(crate) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(replies: &[u64], ended: u64) -> Seen {
        let reply = |ms: &u64| Reply { sent: ms * 1_000_000, at: ms * 1_000_000, who: "a -".into() };
        let series = Series {
            began: 0,
            ended: ended * 1_000_000,
            asked: 9,
            replies: replies.iter().map(reply).collect(),
        };
        let holding = |node: &str, from: u64, to: u64| Holding {
            node: node.into(),
            address: IpAddr::V4(SERVICE),
            from: from * 1_000_000,
            to: to * 1_000_000,
        };
        Seen { series, holdings: vec![holding("a", 0, 50), holding("b", 40, 90)] }
    }

    #[test]
    fn the_silence_of_a_fault_is_the_one_it_causes() {
        let seen = seen(&[2, 300, 302, 304, 404, 406], 408);
        assert_eq!(seen.silence(303_000_000, u64::MAX), 100.0);
        assert_eq!(seen.silence(0, 303_000_000), 298.0);
    }

    #[test]
    fn a_client_that_hears_nothing_more_is_told_as_never() {
        assert_eq!(seen(&[2, 4], 5_000).silence(3_000_000, u64::MAX), f64::INFINITY);
    }

    #[test]
    fn the_time_of_two_owners_is_counted_within_the_fault_only() {
        assert_eq!(seen(&[2], 100).two_owners(0, u64::MAX), 10.0);
        assert_eq!(seen(&[2], 100).two_owners(45_000_000, 48_000_000), 3.0);
    }
}
