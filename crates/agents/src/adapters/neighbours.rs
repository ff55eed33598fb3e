//! Who is there on a network: asked of the neighbours out of each interface, by ARP and by neighbour solicitation.
//!
//! A question names no address of the asker, so that nobody's tables change by it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::time::{Duration, Instant};

use regent_model::action::NeighbourProbe;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::SendFlags;

use crate::announce;
use crate::netlink::{self, Link};
use crate::sys;

/// How often a question is asked, and how long each time an answer is waited for.
const ATTEMPTS: usize = 3;
const WAIT: Duration = Duration::from_millis(150);

/// Asks on every interface at the same time; says on which somebody answered.
pub(super) fn ask(probe: &NeighbourProbe) -> Vec<(String, bool)> {
    let links = match netlink::links() {
        Ok(links) => links,
        Err(error) => {
            tracing::warn!(%error, "cannot ask the neighbours");
            return Vec::new();
        }
    };
    let interfaces =
        if probe.interfaces.is_empty() { of_address(probe, &links) } else { probe.interfaces.clone() };
    let on = |name: &String| {
        let link = links.iter().find(|l| &l.name == name);
        let link = link.filter(|l| l.is_up() && l.has_carrier() && l.has_neighbours());
        (name.clone(), link.is_some_and(|link| answered(link, &probe.targets)))
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = interfaces.iter().map(|name| scope.spawn(move || on(name))).collect();
        asked.into_iter().filter_map(|one| one.join().ok()).collect()
    })
}

/// The interface that carries this node's own address on the network.
fn of_address(probe: &NeighbourProbe, links: &[Link]) -> Vec<String> {
    let addresses = netlink::addresses().unwrap_or_default();
    let at = addresses.iter().find(|a| Some(a.address) == probe.own).map(|a| a.link);
    links.iter().filter(|l| Some(l.index) == at).map(|l| l.name.clone()).collect()
}

fn answered(link: &Link, targets: &[IpAddr]) -> bool {
    let v4: Vec<Ipv4Addr> =
        targets.iter().filter_map(|t| if let IpAddr::V4(a) = t { Some(*a) } else { None }).collect();
    let v6: Vec<Ipv6Addr> =
        targets.iter().filter_map(|t| if let IpAddr::V6(a) = t { Some(*a) } else { None }).collect();
    let said = |result: std::io::Result<bool>| {
        result.unwrap_or_else(|error| {
            tracing::warn!(interface = %link.name, %error, "cannot ask the neighbours");
            false
        })
    };
    (!v4.is_empty() && said(by_arp(link, &v4))) || (!v6.is_empty() && said(by_solicitation(link, &v6)))
}

fn by_arp(link: &Link, targets: &[Ipv4Addr]) -> std::io::Result<bool> {
    let socket = sys::arp_socket(link.index)?;
    for _ in 0..ATTEMPTS {
        for target in targets {
            let question = announce::arp_question(link, *target);
            sys::send_frame(&socket, link.index, announce::ETHERTYPE_ARP, &link.broadcast, &question)?;
        }
        if heard(&socket, |frame| announce::arp_answer_of(frame).is_some_and(|from| targets.contains(&from)))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn by_solicitation(link: &Link, targets: &[Ipv6Addr]) -> std::io::Result<bool> {
    let socket = announce::neighbour_socket()?;
    sys::bind_to_interface(&socket, &link.name)?;
    for _ in 0..ATTEMPTS {
        for target in targets {
            let low = target.octets();
            let group = Ipv6Addr::new(
                0xff02,
                0,
                0,
                0,
                0,
                1,
                0xff00 | u16::from(low[13]),
                u16::from_be_bytes([low[14], low[15]]),
            );
            let to = SocketAddrV6::new(group, 0, 0, link.index);
            let question = announce::solicitation(&link.hardware, *target);
            rustix::net::sendto(&socket, &question, SendFlags::empty(), &to)?;
        }
        let from_one = |message: &[u8]| announce::advertised(message).is_some_and(|at| targets.contains(&at));
        if heard(&socket, from_one) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits a moment for a message that is an answer.
fn heard(socket: &OwnedFd, is_answer: impl Fn(&[u8]) -> bool) -> bool {
    let until = Instant::now() + WAIT;
    let mut buffer = [0_u8; 2048];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
        if poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)).is_err() {
            continue;
        }
        while let Ok(length) = rustix::io::read(socket, &mut buffer) {
            if is_answer(&buffer[..length]) {
                return true;
            }
        }
    }
}
