//! The programs as the kernel runs them, on packets that go nowhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::program::{DROP, PASS};
use super::*;

const FOUR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);
const SIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 0x100);
const OTHER_SIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 7);
const MANY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x100);
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

fn frame(ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(body);
    frame.resize(frame.len().max(64), 0);
    frame
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    body.extend(from.octets());
    body.extend(to.octets());
    frame(0x0800, &body)
}

fn arp(sender: Ipv4Addr, target: Ipv4Addr, hardware: u8) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, hardware, 4, 0, 1];
    for address in [sender, target] {
        body.extend(vec![2; usize::from(hardware)]);
        body.extend(address.octets());
    }
    frame(0x0806, &body)
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, message: &[u8]) -> Vec<u8> {
    let mut body = vec![0x60, 0, 0, 0, 0, message.len() as u8, next, 255];
    body.extend(from.octets());
    body.extend(to.octets());
    body.extend(message);
    frame(0x86dd, &body)
}

fn discovery(from: Ipv6Addr, to: Ipv6Addr, kind: u8, about: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(about.octets());
    ipv6(from, to, 58, &message)
}

fn verdict(doors: &Doors, way: Way, frame: &[u8]) -> i32 {
    let (_, program) = doors.0.programs.iter().find(|(w, _)| *w == way).unwrap();
    bpf::run_over(program.as_fd(), frame).unwrap()
}

/// Packets that come, and packets that go, of the two addresses.
fn of_ours() -> Vec<(Way, Vec<u8>)> {
    vec![
        (Way::In, ipv4(OTHER, FOUR)),
        (Way::In, arp(OTHER, FOUR, 6)),
        (Way::In, arp(OTHER, FOUR, 20)),
        (Way::In, ipv6(OTHER_SIX, SIX, 6, &[0; 20])),
        (Way::In, discovery(OTHER_SIX, MANY, SOLICITATION, SIX)),
        (Way::Out, ipv4(FOUR, OTHER)),
        (Way::Out, arp(FOUR, OTHER, 6)),
        (Way::Out, arp(FOUR, FOUR, 20)),
        (Way::Out, ipv6(SIX, OTHER_SIX, 17, &[0; 8])),
        (Way::Out, discovery(OTHER_SIX, MANY, ADVERTISEMENT, SIX)),
    ]
}

/// Packets that have nothing to do with them, or come from whoever has them now.
fn of_others() -> Vec<(Way, Vec<u8>)> {
    let mut all = vec![
        (Way::In, ipv4(FOUR, OTHER)),
        (Way::Out, ipv4(OTHER, FOUR)),
        (Way::In, arp(FOUR, OTHER, 6)),
        (Way::Out, arp(OTHER, FOUR, 6)),
        (Way::In, ipv6(SIX, OTHER_SIX, 6, &[0; 20])),
        (Way::In, discovery(SIX, OTHER_SIX, ADVERTISEMENT, SIX)),
        (Way::Out, discovery(OTHER_SIX, MANY, SOLICITATION, SIX)),
        // The bytes of a solicitation that is none.
        (Way::In, ipv6(OTHER_SIX, MANY, 17, &discovery(SIX, SIX, SOLICITATION, SIX)[54..78])),
    ];
    for way in [Way::In, Way::Out] {
        all.push((way, frame(0x88cc, &FOUR.octets())));
        all.push((way, ipv4(OTHER, OTHER)));
    }
    all
}

#[test]
fn what_an_address_gets_and_says_passes_until_its_moment_and_not_after() {
    let (mut deadlines, doors) = begin().unwrap();
    let both = |end: Moment| [(IpAddr::from(FOUR), end), (IpAddr::from(SIX), end)].into_iter();
    let check = |wanted: i32, when: &str| {
        for (n, (way, frame)) in of_ours().iter().enumerate() {
            assert_eq!(verdict(&doors, *way, frame), wanted, "packet {n}, {way:?}: {when}");
        }
        for (n, (way, frame)) in of_others().iter().enumerate() {
            assert_eq!(verdict(&doors, *way, frame), PASS, "foreign packet {n}, {way:?}: {when}");
        }
    };
    check(PASS, "nothing is limited");
    deadlines.keep(both(Moment(boot_time().0 + 60_000_000_000))).unwrap();
    check(PASS, "the lease is valid");
    deadlines.keep(both(boot_time())).unwrap();
    check(DROP, "the lease has ended");
    deadlines.keep(both(NEVER)).unwrap();
    check(PASS, "held without lease");
    deadlines.keep(both(Moment(0))).unwrap();
    check(DROP, "what an earlier life left has ended");
    deadlines.keep(std::iter::empty()).unwrap();
    check(PASS, "it was let go of");
}

#[test]
fn an_address_ends_by_itself_with_nobody_telling_the_kernel() {
    let (mut deadlines, doors) = begin().unwrap();
    let end = Moment(boot_time().0 + 30_000_000);
    deadlines.keep([(FOUR.into(), end)].into_iter()).unwrap();
    let frame = ipv4(OTHER, FOUR);
    let dropped_at = loop {
        let before = boot_time();
        let passed = verdict(&doors, Way::In, &frame) == PASS;
        assert!(!passed || before <= end, "it passes after the end");
        if !passed {
            break boot_time();
        }
    };
    assert!(dropped_at >= end, "it was dropped before its end");
}

#[test]
fn an_address_named_twice_ends_at_the_later_moment() {
    let (mut deadlines, doors) = begin().unwrap();
    let later = Moment(boot_time().0 + 60_000_000_000);
    deadlines.keep([(FOUR.into(), Moment(1)), (FOUR.into(), later)].into_iter()).unwrap();
    assert_eq!(verdict(&doors, Way::In, &ipv4(OTHER, FOUR)), PASS);
    deadlines.keep([(FOUR.into(), Moment(1))].into_iter()).unwrap();
    assert_eq!(verdict(&doors, Way::In, &ipv4(OTHER, FOUR)), DROP);
}

#[test]
fn more_addresses_than_there_is_room_for_are_said_and_the_others_are_limited() {
    let (mut deadlines, doors) = begin().unwrap();
    let all = (0..=ADDRESSES_MAX).map(|n| (IpAddr::from(Ipv4Addr::from_bits(0x0a09_0064 + n)), Moment(1)));
    assert!(deadlines.keep(all).unwrap_err().contains("cannot limit"));
    assert_eq!(verdict(&doors, Way::In, &ipv4(OTHER, FOUR)), DROP);
    deadlines.keep(std::iter::once((IpAddr::from(OTHER), Moment(1)))).unwrap();
    assert_eq!(verdict(&doors, Way::In, &ipv4(OTHER, FOUR)), PASS);
}
