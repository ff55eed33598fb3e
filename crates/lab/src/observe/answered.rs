//! Who answers for an address: requests of ARP, or neighbour solicitations, from the client, and every answer to them.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};

use super::question::Question;
use crate::clock::now_ns;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::switch::{mac_of, machine_of_mac};
use crate::sys;

/// One question, and the machines that answered before the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// When it was asked (ns of `CLOCK_MONOTONIC`).
    pub at: u64,
    /// Who answered, each once, in the order of the first answers.
    pub answered: Vec<String>,
}

/// Times in which two machines answered for the address: from the first to the last of successive such rounds. A
/// single round shows a hand-over: the old owner's answer to the question before may still be under way.
#[must_use]
pub fn answered_by_two(rounds: &[Round]) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    for pair in rounds.windows(2).filter(|pair| pair.iter().all(|r| r.answered.len() > 1)) {
        match found.last_mut() {
            Some(last) if last.1 == pair[0].at => last.1 = pair[1].at,
            _ => found.push((pair[0].at, pair[1].at)),
        }
    }
    found
}

/// Asks again and again who has an address.
pub struct AddressWatch {
    stop: Arc<AtomicBool>,
    rounds: Arc<Mutex<Vec<Round>>>,
    thread: JoinHandle<Option<()>>,
}

impl AddressWatch {
    /// Starts asking for `address` from a machine on a network, once `every` so long.
    ///
    /// # Errors
    /// When the machine is off, or has no address of that kind on that network.
    pub fn start(lab: &Lab, machine: &str, network: usize, address: IpAddr, every: Duration) -> Result<Self> {
        let status = lab.status()?;
        let names: Vec<String> = status.machines.iter().map(|m| m.name.clone()).collect();
        let index = names.iter().position(|n| n == machine);
        let place = status.machine(machine).and_then(|m| m.networks.iter().find(|n| n.network == network));
        let own = place
            .and_then(|n| n.addresses.iter().map(|c| c.address).find(|a| a.is_ipv4() == address.is_ipv4()));
        let question = index.zip(own).and_then(|(i, own)| Question::new(mac_of(i, network), own, address));
        let Some(question) = question else {
            let kind = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(LabError::new(format!(
                "{machine} has no {kind} address on the network of eth{network}"
            )));
        };
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ending, kept) = (Arc::clone(&stop), Arc::clone(&rounds));
        let (tell, told) = std::sync::mpsc::channel();
        let thread = lab.thread_on(machine, "asks", move || {
            let socket = sys::packet_socket(&format!("eth{network}"), question.protocol());
            let socket = match socket {
                Ok(socket) => socket,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _who_waits_is_there = tell.send(Ok(()));
            while !ending.load(Ordering::SeqCst) {
                let round = ask(&socket, &question, &names, every);
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(round);
            }
        })?;
        let opened = told.recv().unwrap_or_else(|_| Err(io::Error::other("a thread died")));
        opened.map_err(|e| LabError::new(format!("cannot open a packet socket on {machine}: {e}")))?;
        Ok(Self { stop, rounds, thread })
    }

    /// Gives the rounds since it was last asked, and forgets them.
    #[must_use]
    pub fn take(&self) -> Vec<Round> {
        std::mem::take(&mut *self.rounds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops, and gives every round that was not yet taken.
    #[must_use]
    pub fn stop(self) -> Vec<Round> {
        self.stop.store(true, Ordering::SeqCst);
        let _its_rounds_are_here = self.thread.join();
        std::mem::take(&mut *self.rounds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn ask(socket: &OwnedFd, question: &Question, names: &[String], every: Duration) -> Round {
    let at = now_ns();
    let end = at + u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
    let _silence_shows = rustix::net::send(socket, question.frame(), SendFlags::empty());
    let mut answered: Vec<String> = Vec::new();
    let mut frame = [0; 128];
    loop {
        let left = end.saturating_sub(now_ns());
        if left == 0 {
            return Round { at, answered };
        }
        let wait = Timespec { tv_sec: 0, tv_nsec: left.min(100_000_000).cast_signed() };
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        if poll(&mut fds, Some(&wait)).unwrap_or(0) == 0 {
            continue;
        }
        let Ok((length, _)) = rustix::net::recv(socket, &mut frame[..], RecvFlags::DONTWAIT) else {
            continue;
        };
        let Some(mac) = question.claim(&frame[..length.min(frame.len())]) else { continue };
        let name = machine_of_mac(mac).and_then(|i| names.get(i).cloned());
        let name = name.unwrap_or_else(|| format!("{mac:02x?}"));
        if !answered.contains(&name) {
            answered.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_successive_rounds_with_two_answers_count() {
        let round = |at, who: &[&str]| Round { at, answered: who.iter().map(|w| (*w).to_owned()).collect() };
        let both = &["a", "b"];
        let rounds = [
            round(1, &["a"]),
            round(2, both),
            round(3, &["b"]),
            round(4, both),
            round(5, both),
            round(6, both),
        ];
        assert_eq!(answered_by_two(&rounds), [(4, 6)]);
        assert_eq!(answered_by_two(&rounds[..3]), []);
    }
}
