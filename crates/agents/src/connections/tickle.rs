//! Makes clients notice that their connection is no more: an acknowledgement that fits no connection, from the address
//! and port that the client talks to. The client answers with what it believes, and the kernel here, which has no such
//! connection, answers that with a reset. Where the connection does exist here, nothing happens.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use regent_model::action::Notice;
use regent_model::connection::{Connection, RECORDED_MAX, TickleRun, Tickled};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sockopt};

use crate::clock::Reporter;
use crate::report::Report;
use crate::sync::{lock, wait_until};

/// When it is sent, since the beginning. Each may be lost, also the client's answer: it may still think that the address
/// is where it was; and a client answers such a thing only every half second.
const ROUNDS_MS: [u64; 5] = [0, 250, 800, 1500, 2200];
/// So many are sent in a row, then there is a pause.
const IN_A_ROW: usize = 32;
const PAUSE: Duration = Duration::from_millis(1);
/// How long one round may wait for the kernel to take what is sent: a client that does not answer to ARP keeps no other
/// from being told for longer.
const PATIENCE: Duration = Duration::from_millis(100);
const SEGMENT_BYTES: usize = 20;
const ACK: u8 = 0x10;
const WINDOW: u16 = 1234;

#[derive(Default)]
struct State {
    /// What is under way, by address: the number of the newest run.
    current: BTreeMap<IpAddr, u64>,
    last: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub(super) struct Tickler {
    shared: Arc<Shared>,
    report: Reporter,
}

impl Tickler {
    pub(super) fn new(report: Reporter) -> Self {
        Self { shared: Arc::default(), report }
    }

    pub(super) fn start(&self, mut run: TickleRun) {
        run.connections.truncate(RECORDED_MAX);
        run.connections.retain(Connection::is_possible);
        let number = {
            let mut state = lock(&self.shared.state);
            state.last += 1;
            let number = state.last;
            state.current.insert(run.of.address, number);
            number
        };
        // A run before this one for the same address ends.
        self.shared.changed.notify_all();
        let (shared, report, of) = (self.shared.clone(), self.report.clone(), run.of.clone());
        let work = move || shared.work(&run, number, &report);
        if let Err(error) = std::thread::Builder::new().name("regent-tickle".into()).spawn(work) {
            let error = Some(format!("cannot make a thread: {error}"));
            let tickled = Tickled { of, sent: 0, took: Duration::ZERO, error };
            (self.report)(Report::Notice(Notice::Tickled(tickled)));
        }
    }

    pub(super) fn stop(&self, address: IpAddr) {
        lock(&self.shared.state).current.remove(&address);
        self.shared.changed.notify_all();
    }

    pub(super) fn stop_all(&self) {
        lock(&self.shared.state).current.clear();
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn work(&self, run: &TickleRun, number: u64, report: &Reporter) {
        let address = run.of.address;
        let begun = Instant::now();
        for (round, after) in ROUNDS_MS.iter().enumerate() {
            if !self.is_wanted_at(address, number, begun + Duration::from_millis(*after)) {
                return;
            }
            let done = send_to_all(address, &run.connections, round);
            if round == 0 {
                let (sent, error) = match &done {
                    Ok(Sent { count, failed }) => (*count, failed.clone()),
                    Err(error) => (0, Some(error.to_string())),
                };
                let tickled = Tickled { of: run.of.clone(), sent, took: begun.elapsed(), error };
                report(Report::Notice(Notice::Tickled(tickled)));
            }
            // The address is not here any more, or nothing may be sent: the rounds to come would fare no better.
            if let Err(error) = done {
                tracing::info!(%address, %error, "clients are told no more");
                break;
            }
        }
        let mut state = lock(&self.state);
        if state.current.get(&address) == Some(&number) {
            state.current.remove(&address);
        }
    }

    /// Waits until then. False when it is not wanted any more.
    fn is_wanted_at(&self, address: IpAddr, number: u64, at: Instant) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.current.get(&address) != Some(&number) {
                return false;
            }
            if Instant::now() >= at {
                return true;
            }
            state = wait_until(&self.changed, state, Some(at));
        }
    }
}

struct Sent {
    count: u32,
    failed: Option<String>,
}

/// # Errors
/// There is no socket to be had that sends from this address: it is not here.
fn send_to_all(address: IpAddr, connections: &[Connection], round: usize) -> io::Result<Sent> {
    let socket = socket_at(address)?;
    let mut sent = Sent { count: 0, failed: None };
    let give_up = Instant::now() + PATIENCE;
    for (at, connection) in connections.iter().enumerate() {
        if at > 0 && at % IN_A_ROW == 0 {
            std::thread::sleep(PAUSE);
        }
        let Some(segment) = segment(address, connection, round) else { continue };
        match send(&socket, connection, &segment, give_up) {
            Ok(()) => sent.count += 1,
            Err(error) => {
                sent.failed.get_or_insert_with(|| format!("{}: {error}", connection.peer));
            }
        }
    }
    Ok(sent)
}

/// A socket for whole TCP segments from this address, which must be on this node.
fn socket_at(address: IpAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::RAW, flags, Some(ipproto::TCP))?;
    // It would get a copy of everything that arrives; nothing of it is read.
    let _as_it_is_then = sockopt::set_socket_recv_buffer_size(&socket, 1);
    match address {
        IpAddr::V4(address) => rustix::net::bind(&socket, &SocketAddrV4::new(address, 0))?,
        IpAddr::V6(address) => rustix::net::bind(&socket, &SocketAddrV6::new(address, 0, 0, 0))?,
    }
    Ok(socket)
}

fn send(socket: &OwnedFd, connection: &Connection, segment: &[u8], give_up: Instant) -> io::Result<()> {
    loop {
        let sent = match connection.peer.ip() {
            IpAddr::V4(peer) => {
                rustix::net::sendto(socket, segment, SendFlags::empty(), &SocketAddrV4::new(peer, 0))
            }
            IpAddr::V6(peer) => {
                rustix::net::sendto(socket, segment, SendFlags::empty(), &SocketAddrV6::new(peer, 0, 0, 0))
            }
        };
        match sent {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::AGAIN) if Instant::now() < give_up => std::thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The datagram: an acknowledgement of nothing, its number another one each round, as one of them may fit by chance.
/// Nothing where client and address are not of the same kind.
fn segment(address: IpAddr, connection: &Connection, round: usize) -> Option<[u8; SEGMENT_BYTES]> {
    let number = (round as u32).wrapping_mul(0x5555_5555);
    let mut segment = [0; SEGMENT_BYTES];
    segment[..2].copy_from_slice(&connection.port.to_be_bytes());
    segment[2..4].copy_from_slice(&connection.peer.port().to_be_bytes());
    segment[4..8].copy_from_slice(&number.to_be_bytes());
    segment[12] = (SEGMENT_BYTES as u8 / 4) << 4;
    segment[13] = ACK;
    segment[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    let mut pseudo = match (address, connection.peer.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => return None,
    };
    pseudo.extend([0, libc::IPPROTO_TCP as u8]);
    pseudo.extend((SEGMENT_BYTES as u16).to_be_bytes());
    let sum = checksum(&[&pseudo, &segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    Some(segment)
}

/// The Internet checksum of parts, each of an even number of bytes.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segment_is_an_acknowledgement_between_the_two_ports_with_a_right_checksum() {
        for (from, peer) in [("10.77.0.100", "10.77.0.9:4321"), ("fd00::100", "[fd00::9]:4321")] {
            let (from, connection): (IpAddr, _) =
                (from.parse().unwrap(), Connection { peer: peer.parse().unwrap(), port: 6789 });
            let one = segment(from, &connection, 1).unwrap();
            assert_eq!(one[..4], [0x1a, 0x85, 0x10, 0xe1]);
            assert_eq!((one[12], one[13]), (0x50, ACK));
            let octets = |a: IpAddr| match a {
                IpAddr::V4(a) => a.octets().to_vec(),
                IpAddr::V6(a) => a.octets().to_vec(),
            };
            let pseudo = [octets(from), octets(connection.peer.ip()), vec![0, 6, 0, 20]].concat();
            assert_eq!(checksum(&[&pseudo, &one]), 0, "whoever adds it all up gets nothing");
            assert_ne!(one[4..8], segment(from, &connection, 2).unwrap()[4..8]);
        }
    }

    #[test]
    fn a_client_of_another_kind_than_the_address_is_sent_nothing() {
        let connection = Connection { peer: "[fd00::9]:4321".parse().unwrap(), port: 6789 };
        assert_eq!(segment("10.77.0.100".parse().unwrap(), &connection, 0), None);
    }
}
