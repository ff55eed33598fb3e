//! Asking a service address again and again, as a client would, and measuring the silence.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::now_ns;
use crate::error::Result;
use crate::lab::Lab;

/// How a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One datagram per question: the truest picture of an address.
    Udp,
    /// One connection per question: `COUNT` and its answer.
    Tcp,
}

/// An answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// When the question was sent (ns of `CLOCK_MONOTONIC`).
    pub sent: u64,
    /// When the answer was there.
    pub at: u64,
    /// What answered: for the ledger over UDP the node and its epoch.
    pub who: String,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// From the last answer before, or the beginning of probing.
    pub from: u64,
    /// To the first answer after, or the end of probing.
    pub to: u64,
    /// Who answered last before.
    pub before: Option<String>,
    /// Who answered first after.
    pub after: Option<String>,
}

impl Gap {
    /// How long it was, in ns.
    #[must_use]
    pub fn ns(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// Everything a probe heard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Series {
    /// When probing began.
    pub began: u64,
    /// When it ended, or now if it still runs.
    pub ended: u64,
    /// How many questions were asked.
    pub asked: u64,
    /// The answers, in the order they came.
    pub replies: Vec<Reply>,
}

impl Series {
    /// Every silence between two answers, before the first, and after the last.
    pub fn gaps(&self) -> impl Iterator<Item = Gap> {
        let edges = std::iter::once((self.began, None))
            .chain(self.replies.iter().map(|r| (r.at, Some(&r.who))))
            .chain([(self.ended, None)]);
        let next = edges.clone().skip(1);
        edges.zip(next).map(|((from, before), (to, after))| Gap {
            from,
            to,
            before: before.cloned(),
            after: after.cloned(),
        })
    }

    /// The longest silence.
    #[must_use]
    pub fn longest_gap(&self) -> Option<Gap> {
        self.gaps().max_by_key(Gap::ns)
    }

    /// The first answer to a question asked after a time.
    #[must_use]
    pub fn first_after(&self, time: u64) -> Option<&Reply> {
        self.replies.iter().filter(|r| r.sent >= time).min_by_key(|r| r.at)
    }

    /// The first answer, to a question asked after a time, that begins with `who`.
    #[must_use]
    pub fn first_from(&self, who: &str, time: u64) -> Option<&Reply> {
        self.replies.iter().filter(|r| r.sent >= time && r.who.starts_with(who)).min_by_key(|r| r.at)
    }
}

/// A probe that runs.
pub struct Probe {
    stop: Arc<AtomicBool>,
    series: Arc<Mutex<Series>>,
    thread: JoinHandle<Option<()>>,
}

impl Probe {
    /// Starts asking `to` from a machine of the lab, once `every` so long.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn start(
        lab: &Lab,
        machine: &str,
        to: SocketAddr,
        protocol: Protocol,
        every: Duration,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let series = Arc::new(Mutex::new(Series { began: now_ns(), ..Series::default() }));
        let (ending, kept) = (Arc::clone(&stop), Arc::clone(&series));
        let thread = lab.thread_on(machine, "probe", move || match protocol {
            Protocol::Udp => ask_datagrams(to, every, &ending, &kept),
            Protocol::Tcp => ask_connections(to, every, &ending, &kept),
        })?;
        Ok(Self { stop, series, thread })
    }

    /// What it has heard so far.
    #[must_use]
    pub fn so_far(&self) -> Series {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner).clone();
        series.ended = now_ns();
        series
    }

    /// The last answer it has heard so far.
    #[must_use]
    pub fn latest(&self) -> Option<Reply> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner).replies.last().cloned()
    }

    /// Stops, and gives everything it heard.
    #[must_use]
    pub fn stop(self) -> Series {
        self.stop.store(true, Ordering::SeqCst);
        let _its_series_is_here = self.thread.join();
        let mut series = std::mem::take(&mut *self.series.lock().unwrap_or_else(PoisonError::into_inner));
        series.ended = now_ns();
        series
    }
}

/// The questions are not kept back by answers that do not come: each has its time of sending in it.
fn ask_datagrams(to: SocketAddr, every: Duration, stop: &AtomicBool, series: &Mutex<Series>) {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let Ok(socket) = UdpSocket::bind(any) else { return };
    let step = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(100_000);
    let mut next = now_ns();
    let mut heard = [0; 600];
    while !stop.load(Ordering::SeqCst) {
        if now_ns() >= next {
            let _no_route_is_silence_too = socket.send_to(format!("{}", now_ns()).as_bytes(), to);
            series.lock().unwrap_or_else(PoisonError::into_inner).asked += 1;
            next = (next + step).max(now_ns().saturating_sub(step));
        }
        // A timeout of the socket itself would be rounded to the kernel's ticks, which are longer than a pause.
        let left = next.saturating_sub(now_ns()).clamp(50_000, 100_000_000);
        let wait = Timespec { tv_sec: 0, tv_nsec: left.cast_signed() };
        if poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&wait)).unwrap_or(0) == 0 {
            continue;
        }
        let Ok(length) = socket.recv(&mut heard) else { continue };
        let text = String::from_utf8_lossy(&heard[..length]);
        let Some((who, sent)) = text.rsplit_once(' ') else { continue };
        let Ok(sent) = sent.parse() else { continue };
        let reply = Reply { sent, at: now_ns(), who: who.to_owned() };
        series.lock().unwrap_or_else(PoisonError::into_inner).replies.push(reply);
    }
}

fn ask_connections(to: SocketAddr, every: Duration, stop: &AtomicBool, series: &Mutex<Series>) {
    while !stop.load(Ordering::SeqCst) {
        let sent = now_ns();
        let who = ask_once(to);
        let mut series = series.lock().unwrap_or_else(PoisonError::into_inner);
        series.asked += 1;
        if let Some(who) = who {
            series.replies.push(Reply { sent, at: now_ns(), who });
        }
        drop(series);
        std::thread::sleep(every);
    }
}

fn ask_once(to: SocketAddr) -> Option<String> {
    let limit = Duration::from_millis(200);
    let mut stream = TcpStream::connect_timeout(&to, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(b"COUNT\n").ok()?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    (!answer.is_empty()).then(|| answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_measured_from_answer_to_answer_and_at_both_ends() {
        let reply = |sent, at, who: &str| Reply { sent, at, who: who.into() };
        let replies = vec![reply(1, 2, "a 1"), reply(5, 6, "a 1"), reply(40, 41, "b 2")];
        let series = Series { began: 0, ended: 50, asked: 9, replies };
        let gap = series.longest_gap().unwrap();
        assert_eq!((gap.from, gap.to, gap.ns()), (6, 41, 35));
        assert_eq!((gap.before.as_deref(), gap.after.as_deref()), (Some("a 1"), Some("b 2")));
        assert_eq!(series.first_after(6).unwrap().at, 41);
        assert_eq!(series.first_from("b", 0).unwrap().at, 41);
        let silent = Series { began: 10, ended: 30, asked: 4, replies: Vec::new() };
        assert_eq!(silent.longest_gap().unwrap().ns(), 20);
    }
}
