//! The frames that ask who has an address, and what an answer looks like: ARP for IPv4, neighbour discovery for IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// The flag of an advertisement that answers a solicitation; who announces an address does not set it.
const SOLICITED: u8 = 0x40;
/// The option of an advertisement with the hardware address.
const TARGET_HARDWARE: [u8; 2] = [2, 1];

/// The question who has an address.
pub(super) struct Question {
    address: IpAddr,
    frame: Vec<u8>,
}

impl Question {
    /// As a machine with this hardware address and this address of its own asks; nothing where they are not of one kind.
    pub(super) fn new(mac: [u8; 6], own: IpAddr, address: IpAddr) -> Option<Self> {
        let frame = match (own, address) {
            (IpAddr::V4(own), IpAddr::V4(asked)) => request(mac, own, asked),
            (IpAddr::V6(own), IpAddr::V6(asked)) => solicitation(mac, own, asked),
            _ => return None,
        };
        Some(Self { address, frame })
    }

    /// The protocol of question and answer, as a packet socket wants it.
    pub(super) fn protocol(&self) -> u16 {
        u16::from_be_bytes(if self.address.is_ipv4() { ARP } else { IPV6 })
    }

    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The hardware address that a frame claims for the address as an answer.
    pub(super) fn claim(&self, frame: &[u8]) -> Option<[u8; 6]> {
        match self.address {
            IpAddr::V4(address) => reply(frame, address),
            IpAddr::V6(address) => advertised(frame, address),
        }
    }
}

fn request(mac: [u8; 6], own: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&ARP);
    frame.extend_from_slice(&[0, 1, 0x08, 0, 6, 4, 0, 1]); // Ethernet, IPv4, request
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&own.octets());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&address.octets());
    frame
}

fn reply(frame: &[u8], address: Ipv4Addr) -> Option<[u8; 6]> {
    let answers = frame.get(12..14)? == ARP && frame.get(20..22)? == [0, 2];
    let same = frame.get(28..32)? == address.octets();
    (answers && same).then(|| frame.get(22..28)?.try_into().ok())?
}

fn solicitation(mac: [u8; 6], own: Ipv6Addr, address: Ipv6Addr) -> Vec<u8> {
    let asked = address.octets();
    let [.., a, b, c] = asked;
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&asked);
    message.extend_from_slice(&[1, 1]); // the hardware address of who asks
    message.extend_from_slice(&mac);
    let length = u8::try_from(message.len()).unwrap_or(u8::MAX);
    let sum = checksum(&[&own.octets(), &group.octets(), &[0, 0, 0, length, 0, 0, 0, ICMPV6], &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![0x33, 0x33, 0xff, a, b, c];
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&IPV6);
    frame.extend_from_slice(&[0x60, 0, 0, 0, 0, length, ICMPV6, 255]);
    frame.extend_from_slice(&own.octets());
    frame.extend_from_slice(&group.octets());
    frame.extend_from_slice(&message);
    frame
}

/// Every part has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn advertised(frame: &[u8], address: Ipv6Addr) -> Option<[u8; 6]> {
    let is_one = frame.get(12..14)? == IPV6 && *frame.get(20)? == ICMPV6 && *frame.get(54)? == ADVERTISEMENT;
    let answers = is_one && frame.get(58)? & SOLICITED != 0 && frame.get(62..78)? == address.octets();
    if !answers {
        return None;
    }
    match frame.get(78..80) {
        Some(option) if option == TARGET_HARDWARE => frame.get(80..86)?.try_into().ok(),
        _ => frame.get(6..12)?.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::machine_of_mac;

    const MAC: [u8; 6] = [2, 0x4c, 0, 0, 0, 5];

    #[test]
    fn an_answer_claims_the_address_and_a_request_does_not() {
        let address: IpAddr = "10.77.0.100".parse().unwrap();
        let question = Question::new(MAC, address, address).unwrap();
        let mut frame = question.frame().to_vec();
        assert_eq!(question.claim(&frame), None);
        frame[21] = 2;
        assert_eq!(question.claim(&frame).and_then(machine_of_mac), Some(5));
        assert_eq!(question.claim(&frame[..20]), None);
        let other = Question::new(MAC, address, "10.77.0.101".parse().unwrap()).unwrap();
        assert_eq!(other.claim(&frame), None);
    }

    #[test]
    fn an_advertisement_claims_the_address_where_it_answers() {
        let (own, address) = ("fd77::200".parse().unwrap(), "fd77::100".parse().unwrap());
        let question = Question::new(MAC, own, address).unwrap();
        let mut frame = question.frame().to_vec();
        assert_eq!(&frame[..6], [0x33, 0x33, 0xff, 0, 1, 0]);
        let parts: [&[u8]; 3] = [&frame[22..54], &[0, 0, 0, 32, 0, 0, 0, ICMPV6], &frame[54..]];
        assert_eq!(checksum(&parts), 0, "the sum over a whole message is nothing");
        assert_eq!(question.claim(&frame), None, "a question");
        (frame[54], frame[78]) = (ADVERTISEMENT, 2);
        assert_eq!(question.claim(&frame), None, "an announcement");
        frame[58] = SOLICITED;
        assert_eq!(question.claim(&frame).and_then(machine_of_mac), Some(5));
        assert!(question.claim(&frame[..70]).is_none());
        assert!(Question::new(MAC, "10.77.0.1".parse().unwrap(), address).is_none());
    }
}
