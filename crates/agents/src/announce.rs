//! Telling the neighbours that an address lives here now: gratuitous ARP in both forms, and the unsolicited
//! neighbour advertisement.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sockopt};

use crate::netlink::{self, Link};
use crate::sys;

pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const FLAG_OVERRIDE: u8 = 0x20;
const OPTION_SOURCE_HARDWARE: u8 = 1;
const OPTION_TARGET_HARDWARE: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Receivers drop advertisements that could have passed a router.
const HOPS: u8 = 255;

/// Announces `address` on `interface`: for IPv4 a gratuitous ARP request and a gratuitous reply, for IPv6 an
/// unsolicited neighbour advertisement that overrides. On an interface without neighbours (loopback, a
/// tunnel) there is nobody to tell, which is no error.
///
/// It is sent whether or not the address is on the interface: whoever calls sees to that.
///
/// # Errors
/// The interface is not there, or the kernel refuses to send; nothing is changed.
pub fn announce(interface: &str, address: IpAddr) -> Result<(), String> {
    Speaker::default().announce(interface, address)
}

/// Announces again and again by the same socket, made when it is first needed: it belongs to the network
/// namespace of the thread that speaks first.
#[derive(Default)]
pub(crate) struct Speaker {
    frames: Option<OwnedFd>,
}

impl Speaker {
    /// See [`announce`].
    pub(crate) fn announce(&mut self, interface: &str, address: IpAddr) -> Result<(), String> {
        let fail = |what: &dyn std::fmt::Display| format!("cannot announce {address} on {interface}: {what}");
        let links = netlink::links().map_err(|e| fail(&e))?;
        let link = links.iter().find(|l| l.name == interface).ok_or_else(|| fail(&"no such interface"))?;
        if !link.has_neighbours() {
            return Ok(());
        }
        match address {
            IpAddr::V4(address) => self.tell_by_arp(link, address).map_err(|e| fail(&e)),
            IpAddr::V6(address) => advertise(link, address).map_err(|e| fail(&e)),
        }
    }

    fn tell_by_arp(&mut self, link: &Link, address: Ipv4Addr) -> io::Result<()> {
        let socket = match self.frames.take() {
            Some(socket) => socket,
            None => sys::frame_socket()?,
        };
        let socket = self.frames.insert(socket);
        for operation in [ARP_REQUEST, ARP_REPLY] {
            let frame = gratuitous_arp(link, operation, address);
            sys::send_frame(socket, link.index, ETHERTYPE_ARP, &link.broadcast, &frame)?;
        }
        Ok(())
    }
}

/// An ARP message that says of itself that `address` is at our hardware address. The target's hardware
/// address is filled in too: some receivers know a gratuitous reply only by that.
fn gratuitous_arp(link: &Link, operation: u16, address: Ipv4Addr) -> Vec<u8> {
    let own = hardware(link);
    arp(link, operation, (own, address), (own, address))
}

/// A question for the hardware address of `target` that names no address of the asker: nobody's table changes.
pub(crate) fn arp_question(link: &Link, target: Ipv4Addr) -> Vec<u8> {
    let own = hardware(link);
    arp(link, ARP_REQUEST, (own, Ipv4Addr::UNSPECIFIED), (&vec![0; own.len()], target))
}

fn hardware(link: &Link) -> &[u8] {
    &link.hardware[..link.hardware.len().min(sys::HARDWARE_BYTES_MAX)]
}

fn arp(link: &Link, operation: u16, sender: (&[u8], Ipv4Addr), target: (&[u8], Ipv4Addr)) -> Vec<u8> {
    let mut frame = Vec::with_capacity(8 + 2 * (sender.0.len() + 4));
    frame.extend(link.kind.to_be_bytes());
    frame.extend(ETHERTYPE_IPV4.to_be_bytes());
    frame.push(sender.0.len() as u8);
    frame.push(4);
    frame.extend(operation.to_be_bytes());
    for (hardware, address) in [sender, target] {
        frame.extend(hardware);
        frame.extend(address.octets());
    }
    frame
}

/// Who answers in an ARP message, if it is an answer.
pub(crate) fn arp_answer_of(frame: &[u8]) -> Option<Ipv4Addr> {
    let hardware_bytes = usize::from(*frame.get(4)?);
    if frame.get(6..8)? != ARP_REPLY.to_be_bytes() {
        return None;
    }
    let sender: [u8; 4] = frame.get(8 + hardware_bytes..12 + hardware_bytes)?.try_into().ok()?;
    Some(sender.into())
}

/// Whom a neighbour advertisement tells of, if it is one.
pub(crate) fn advertised(message: &[u8]) -> Option<Ipv6Addr> {
    if *message.first()? != NEIGHBOUR_ADVERTISEMENT {
        return None;
    }
    let target: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    Some(target.into())
}

/// A socket for messages about neighbours that are sent to many.
pub(crate) fn neighbour_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(ipproto::ICMPV6))?;
    sockopt::set_ipv6_multicast_hops(&socket, u32::from(HOPS))?;
    Ok(socket)
}

/// The body of a question for the hardware address of `target`; the kernel fills in the checksum.
pub(crate) fn solicitation(hardware: &[u8], target: Ipv6Addr) -> Vec<u8> {
    neighbour_message([NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0], OPTION_SOURCE_HARDWARE, hardware, target)
}

/// The body of the advertisement; the kernel fills in the checksum.
fn advertisement(hardware: &[u8], address: Ipv6Addr) -> Vec<u8> {
    let header = [NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, FLAG_OVERRIDE, 0, 0, 0];
    neighbour_message(header, OPTION_TARGET_HARDWARE, hardware, address)
}

fn neighbour_message(header: [u8; 8], option: u8, hardware: &[u8], address: Ipv6Addr) -> Vec<u8> {
    let mut message = header.to_vec();
    message.extend(address.octets());
    let option_bytes = (2 + hardware.len()).next_multiple_of(8);
    message.push(option);
    message.push((option_bytes / 8) as u8);
    message.extend(hardware);
    message.resize(24 + option_bytes, 0);
    message
}

fn advertise(link: &Link, address: Ipv6Addr) -> rustix::io::Result<()> {
    let socket = neighbour_socket()?;
    sockopt::set_ipv6_unicast_hops(&socket, Some(HOPS))?;
    // The source is the address itself; where the kernel refuses (still tentative), its own choice will do.
    let _ = rustix::net::bind(&socket, &SocketAddrV6::new(address, 0, 0, link.index));
    let to = SocketAddrV6::new(ALL_NODES, 0, 0, link.index);
    rustix::net::sendto(&socket, &advertisement(&link.hardware, address), SendFlags::empty(), &to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let hardware = vec![2, 0, 0, 0, 0, 9];
        Link { index: 1, name: "e".into(), kind: 1, flags: 0, hardware, broadcast: vec![255; 6] }
    }

    #[test]
    fn a_gratuitous_frame_names_the_address_and_the_hardware_on_both_sides() {
        let frame = gratuitous_arp(&link(), ARP_REPLY, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(frame[..8], [0, 1, 8, 0, 6, 4, 0, 2]);
        assert_eq!(frame[8..18], [2, 0, 0, 0, 0, 9, 10, 0, 0, 9]);
        assert_eq!(frame[8..18], frame[18..28]);
        assert_eq!(frame.len(), 28);
    }

    #[test]
    fn a_question_names_no_address_of_the_asker_and_only_an_answer_is_one() {
        let question = arp_question(&link(), Ipv4Addr::new(10, 0, 0, 5));
        assert_eq!(question.len(), 28);
        assert_eq!((&question[14..18], &question[24..]), (&[0; 4][..], &[10, 0, 0, 5][..]));
        assert_eq!(arp_answer_of(&question), None);
        let answer = gratuitous_arp(&link(), ARP_REPLY, Ipv4Addr::new(10, 0, 0, 5));
        assert_eq!(arp_answer_of(&answer), Some(Ipv4Addr::new(10, 0, 0, 5)));
        (0..answer.len()).for_each(|cut| assert!(arp_answer_of(&answer[..cut]).is_none() || cut >= 18));
    }

    #[test]
    fn an_advertisement_overrides_and_carries_the_hardware_in_whole_eights() {
        let message = advertisement(&[2, 0, 0, 0, 0, 9], "fd00::9".parse().unwrap());
        assert_eq!((message[0], message[4]), (136, 0x20));
        assert_eq!(advertised(&message), Some("fd00::9".parse().unwrap()));
        assert_eq!(advertised(&message[..23]), None);
        assert_eq!(advertised(&solicitation(&[2, 0, 0, 0, 0, 9], "fd00::9".parse().unwrap())), None);
        assert_eq!(message[24..32], [2, 1, 2, 0, 0, 0, 0, 9]);
        assert_eq!(advertisement(&[7; 20], Ipv6Addr::LOCALHOST).len() % 8, 0);
    }
}
