//! Who carries an address: dumps of every node's addresses.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::clock::now_ns;
use crate::error::{Doing, Result};
use crate::folder::Folder;
use crate::lab::Lab;
use crate::run::first_process;
use crate::san::{DiskState, SanEvent, SanLog};
use crate::spec::Role;
use crate::sys;

/// A time in which a node carried an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The node.
    pub node: String,
    /// The address.
    pub address: IpAddr,
    /// From when on it was seen (ns of `CLOCK_MONOTONIC`).
    pub from: u64,
    /// Until when it was seen, or its power was cut.
    pub to: u64,
}

/// A time in which two nodes carried one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Double {
    /// The address.
    pub address: IpAddr,
    /// The nodes.
    pub nodes: [String; 2],
    /// From when on.
    pub from: u64,
    /// Until when.
    pub to: u64,
}

/// Looks at every node's addresses again and again.
pub struct Observer {
    stop: Arc<AtomicBool>,
    holdings: Arc<Mutex<Vec<Holding>>>,
    thread: JoinHandle<()>,
    folder: Folder,
}

impl Observer {
    /// Starts watching for `addresses` on every node, once `every` so long.
    ///
    /// # Errors
    /// When the lab does not answer.
    pub fn start(lab: &Lab, addresses: &[IpAddr], every: Duration) -> Result<Self> {
        lab.status()?;
        let (stop, holdings) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ending, kept) = (Arc::clone(&stop), Arc::clone(&holdings));
        let folder = lab.folder().clone();
        let mut watch = Watch {
            lab: Lab::in_folder(folder.clone()),
            addresses: addresses.to_vec(),
            eyes: BTreeMap::new(),
            open: BTreeMap::new(),
            asked: None,
        };
        let thread = std::thread::Builder::new()
            .name("observe".into())
            .spawn(move || {
                while !ending.load(Ordering::SeqCst) {
                    watch.look(&kept);
                    std::thread::sleep(every);
                }
                watch.close_all(&kept);
            })
            .doing(|| "start a thread".into())?;
        Ok(Self { stop, holdings, thread, folder })
    }

    /// Stops, and gives every holding. Those of a node whose power was cut end with the cut.
    #[must_use]
    pub fn stop(self) -> Vec<Holding> {
        self.stop.store(true, Ordering::SeqCst);
        let _its_holdings_are_here = self.thread.join();
        let holdings = std::mem::take(&mut *self.holdings.lock().unwrap_or_else(PoisonError::into_inner));
        let log = SanLog::read(&self.folder.san_log()).unwrap_or_default();
        end_with_power(holdings, &log)
    }
}

fn end_with_power(mut holdings: Vec<Holding>, log: &SanLog) -> Vec<Holding> {
    for event in &log.events {
        let SanEvent::Switch { at, node, to: DiskState::Cut } = event else { continue };
        for holding in holdings.iter_mut().filter(|h| h.node == *node && h.from < *at && *at < h.to) {
            holding.to = *at;
        }
    }
    holdings
}

/// The times in which two nodes carried one address.
#[must_use]
pub fn doubles(holdings: &[Holding]) -> Vec<Double> {
    let mut found = Vec::new();
    for (i, one) in holdings.iter().enumerate() {
        for two in &holdings[i + 1..] {
            let (from, to) = (one.from.max(two.from), one.to.min(two.to));
            if one.address == two.address && one.node != two.node && from < to {
                found.push(Double {
                    address: one.address,
                    nodes: [one.node.clone(), two.node.clone()],
                    from,
                    to,
                });
            }
        }
    }
    found.sort_by_key(|d| d.from);
    found
}

/// A node as long as it has power.
struct Eye {
    life: OwnedFd,
    route: OwnedFd,
}

struct Watch {
    lab: Lab,
    addresses: Vec<IpAddr>,
    eyes: BTreeMap<String, Eye>,
    /// Since when a node carries an address, and when that was last seen.
    open: BTreeMap<(String, IpAddr), (u64, u64)>,
    asked: Option<Instant>,
}

impl Watch {
    fn look(&mut self, kept: &Mutex<Vec<Holding>>) {
        if self.asked.is_none_or(|at| at.elapsed() > Duration::from_millis(50)) {
            self.open_eyes();
        }
        let mut blind = Vec::new();
        for (node, eye) in &self.eyes {
            let carried =
                if is_dead(&eye.life) { Err(io::ErrorKind::NotFound.into()) } else { carried(&eye.route) };
            let now = now_ns();
            let carried = carried.unwrap_or_else(|_| {
                blind.push(node.clone());
                Vec::new()
            });
            for address in &self.addresses {
                let key = (node.clone(), *address);
                if carried.contains(address) {
                    self.open.entry(key).or_insert((now, now)).1 = now;
                } else if let Some((from, to)) = self.open.remove(&key) {
                    keep(kept, key, from, to);
                }
            }
        }
        for node in blind {
            self.eyes.remove(&node);
            self.asked = None;
        }
    }

    fn open_eyes(&mut self) {
        self.asked = Some(Instant::now());
        let Ok(status) = self.lab.status() else { return };
        for machine in status.machines.iter().filter(|m| m.role == Role::Node) {
            if self.eyes.contains_key(&machine.name) {
                continue;
            }
            let Ok(life) = first_process(machine) else { continue };
            let route = sys::in_network_of(life.as_fd(), || {
                let flags = SocketFlags::CLOEXEC;
                Ok(rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?)
            });
            if let Ok(route) = route {
                self.eyes.insert(machine.name.clone(), Eye { life, route });
            }
        }
    }

    fn close_all(&mut self, kept: &Mutex<Vec<Holding>>) {
        for (key, (from, to)) in std::mem::take(&mut self.open) {
            keep(kept, key, from, to);
        }
    }
}

fn keep(kept: &Mutex<Vec<Holding>>, (node, address): (String, IpAddr), from: u64, to: u64) {
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(Holding { node, address, from, to });
}

fn is_dead(life: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(life, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|n| n > 0)
}

const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST_DUMP: u16 = 1 | 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Every address in the network namespace of a netlink socket.
fn carried(route: &OwnedFd) -> io::Result<Vec<IpAddr>> {
    let mut request = Vec::with_capacity(24);
    request.extend_from_slice(&24_u32.to_ne_bytes());
    request.extend_from_slice(&RTM_GETADDR.to_ne_bytes());
    request.extend_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.resize(24, 0); // sequence number, port, and a header for any family and interface
    rustix::net::sendto(route, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let (length, _) = rustix::net::recv(route, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while let Some((kind, body, next)) = message(rest) {
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => return Err(io::Error::other("the kernel refuses to list addresses")),
                _ => found.extend(address_of(body)),
            }
            rest = next;
        }
    }
}

/// The first message: its kind, what follows its header, and the messages after it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn address_of(body: &[u8]) -> Option<IpAddr> {
    let mut rest = body.get(8..)?;
    let (mut local, mut plain) = (None, None);
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes(rest[..2].try_into().ok()?));
        let kind = u16::from_ne_bytes(rest[2..4].try_into().ok()?);
        let value = rest.get(4..length)?;
        let address = match value.len() {
            4 => <[u8; 4]>::try_from(value).ok().map(|b| IpAddr::V4(Ipv4Addr::from(b))),
            16 => <[u8; 16]>::try_from(value).ok().map(|b| IpAddr::V6(Ipv6Addr::from(b))),
            _ => None,
        };
        match kind {
            IFA_LOCAL => local = address,
            IFA_ADDRESS => plain = address,
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    local.or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(node: &str, from: u64, to: u64) -> Holding {
        Holding { node: node.into(), address: Ipv4Addr::LOCALHOST.into(), from, to }
    }

    #[test]
    fn two_nodes_with_one_address_are_seen_and_a_handover_is_not() {
        assert_eq!(doubles(&[holding("a", 0, 10), holding("b", 10, 20), holding("a", 20, 30)]), []);
        let seen = doubles(&[holding("a", 0, 15), holding("b", 10, 20)]);
        assert_eq!((seen.len(), seen[0].from, seen[0].to), (1, 10, 15));
    }

    #[test]
    fn a_holding_ends_when_the_power_is_cut() {
        let cut = SanEvent::Switch { at: 7, node: "a".into(), to: DiskState::Cut };
        let log = SanLog { events: vec![cut] };
        let ended =
            end_with_power(vec![holding("a", 0, 12), holding("b", 0, 12), holding("a", 20, 30)], &log);
        assert_eq!(ended.iter().map(|h| h.to).collect::<Vec<_>>(), [7, 12, 30]);
    }
}
