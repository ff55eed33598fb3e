//! Who answers for an IPv4 address: ARP requests from the client, and every answer to them.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};

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
pub struct ArpWatch {
    stop: Arc<AtomicBool>,
    rounds: Arc<Mutex<Vec<Round>>>,
    thread: JoinHandle<Option<()>>,
}

impl ArpWatch {
    /// Starts asking for `address` from a machine on a network, once `every` so long.
    ///
    /// # Errors
    /// When the machine is off, or has no IPv4 address on that network.
    pub fn start(
        lab: &Lab,
        machine: &str,
        network: usize,
        address: Ipv4Addr,
        every: Duration,
    ) -> Result<Self> {
        let status = lab.status()?;
        let names: Vec<String> = status.machines.iter().map(|m| m.name.clone()).collect();
        let index = names.iter().position(|n| n == machine);
        let place = status.machine(machine).and_then(|m| m.networks.iter().find(|n| n.network == network));
        let own = place.and_then(|n| {
            n.addresses.iter().find_map(|c| match c.address {
                std::net::IpAddr::V4(v4) => Some(v4),
                std::net::IpAddr::V6(_) => None,
            })
        });
        let (Some(index), Some(own)) = (index, own) else {
            return Err(LabError::new(format!(
                "{machine} has no IPv4 address on the network of eth{network}"
            )));
        };
        let request = request(mac_of(index, network), own, address);
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ending, kept) = (Arc::clone(&stop), Arc::clone(&rounds));
        let (tell, told) = std::sync::mpsc::channel();
        let thread = lab.thread_on(machine, "arp", move || {
            let socket = sys::arp_socket(&format!("eth{network}"));
            let socket = match socket {
                Ok(socket) => socket,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _who_waits_is_there = tell.send(Ok(()));
            while !ending.load(Ordering::SeqCst) {
                let round = ask(&socket, &request, address, &names, every);
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

fn request(mac: [u8; 6], own: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]); // ARP, Ethernet, IPv4, request
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&own.octets());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&address.octets());
    frame
}

/// The hardware address that a frame claims for `address` as an answer.
fn claim(frame: &[u8], address: Ipv4Addr) -> Option<[u8; 6]> {
    let answers = frame.get(12..14)? == [0x08, 0x06] && frame.get(20..22)? == [0, 2];
    let same = frame.get(28..32)? == address.octets();
    (answers && same).then(|| frame.get(22..28)?.try_into().ok())?
}

fn ask(socket: &OwnedFd, request: &[u8], address: Ipv4Addr, names: &[String], every: Duration) -> Round {
    let at = now_ns();
    let end = at + u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
    let _silence_shows = rustix::net::send(socket, request, SendFlags::empty());
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
        let Some(mac) = claim(&frame[..length.min(frame.len())], address) else { continue };
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

    #[test]
    fn an_answer_claims_the_address_and_a_request_does_not() {
        let address = Ipv4Addr::new(10, 77, 0, 100);
        let mut frame = request([2, 0x4c, 0, 0, 0, 5], address, address);
        assert_eq!(claim(&frame, address), None);
        frame[21] = 2;
        assert_eq!(claim(&frame, address).and_then(machine_of_mac), Some(5));
        assert_eq!(claim(&frame, Ipv4Addr::LOCALHOST), None);
        assert_eq!(claim(&frame[..20], address), None);
    }
}
