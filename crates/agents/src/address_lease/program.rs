//! The programs: what comes to, or goes from, an address whose lease has ended is dropped.
//!
//! Each packet is looked at beyond the link layer, so that it is all the same on what kind of interface it is: for IPv4
//! and IPv6 at the destination of what comes and the source of what goes, for ARP at the target's or the sender's
//! address, and for neighbour discovery also at the address that is asked for or told of. Everything else passes.

use crate::bpf::instruction;

/// What comes, or what goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

/// The verdict on what is none of ours: whoever is asked next decides.
pub(super) const PASS: i32 = -1;
/// The verdict on what must not be answered.
pub(super) const DROP: i32 = 2;

// Registers. The first six are given to calls and lost in them; two keep the packet and what it is.
const RESULT: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;
const PACKET: u8 = 6;
const KIND: u8 = 7;
const DEADLINE: u8 = 8;
const FRAME: u8 = 10;

// Where things lie in the frame: the address in 16 bytes, and one byte at work.
const ADDRESS: i16 = -16;
const MAPPED: i16 = -8;
const LAST_FOUR: i16 = -4;
const BYTE: i16 = -24;

// What the kernel does for programs.
const LOOK_UP: u32 = 1;
const PULL: u32 = 39;
const LOAD_BYTES: u32 = 68;
const BOOT_TIME: u32 = 125;

// Kinds of packets.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMPV6: u32 = 58;

/// Where the packet's length and kind lie in what a program is given.
const LENGTH: i16 = 0;
const PROTOCOL: i16 = 16;
/// Everything that is looked at lies in so many bytes, the link layer's included.
const HEADERS: u32 = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pass,
    Drop,
    Arp,
    Ipv6,
    Discovery,
    Judge,
    Pull,
}

/// One instruction of a program to be. Jumps lead to a place by name.
#[derive(Debug, Clone, Copy)]
enum Step {
    Do(u64),
    /// Operation, register, number.
    Jump(u8, u8, u32, Place),
    Here(Place),
}

const IF_EQUAL: u8 = 0x15;
const IF_OTHER: u8 = 0x55;
const IF_UNDER: u8 = 0xa5;
const ALWAYS: u8 = 0x05;

/// The program for one way, which looks for addresses in the table of this number.
pub(super) fn of(way: Way, table: u32) -> Vec<u64> {
    let kind = |ethertype: u16| u32::from(u16::from_ne_bytes(ethertype.to_be_bytes()));
    let mut steps = vec![copy(PACKET, FIRST), Step::Do(instruction(0x61, KIND, PACKET, PROTOCOL, 0))];
    if way == Way::In {
        steps.extend(pull());
    }
    steps.extend([
        // An address of IPv4 is looked for as IPv6 writes it: ::ffff:a.b.c.d.
        Step::Do(instruction(0x7a, FRAME, 0, ADDRESS, 0)),
        Step::Do(instruction(0x62, FRAME, 0, MAPPED, u32::from_ne_bytes([0, 0, 0xff, 0xff]))),
        Step::Jump(IF_EQUAL, KIND, kind(ARP), Place::Arp),
        Step::Jump(IF_EQUAL, KIND, kind(IPV6), Place::Ipv6),
        Step::Jump(IF_OTHER, KIND, kind(IPV4), Place::Pass),
        set(SECOND, if way == Way::In { 16 } else { 12 }),
    ]);
    steps.extend(load(LAST_FOUR, 4));
    steps.push(Step::Jump(ALWAYS, 0, 0, Place::Judge));
    steps.extend(arp(way));
    steps.extend([Step::Here(Place::Ipv6), set(SECOND, if way == Way::In { 24 } else { 8 })]);
    steps.extend(load(ADDRESS, 16));
    steps.extend(judge(table, Place::Discovery));
    steps.extend(discovery(way));
    steps.push(Step::Here(Place::Judge));
    steps.extend(judge(table, Place::Pass));
    steps.extend(end(Place::Drop, DROP));
    steps.extend(end(Place::Pass, PASS));
    assemble(&steps)
}

/// What comes may lie in pieces, its headers in any of them, and bytes are loaded from the first one alone: has the
/// headers moved there. Should that fail, there was no memory, and the stack behind cannot read them either.
fn pull() -> [Step; 6] {
    [
        Step::Do(instruction(0x61, SECOND, PACKET, LENGTH, 0)),
        Step::Jump(IF_UNDER, SECOND, HEADERS, Place::Pull),
        set(SECOND, HEADERS),
        Step::Here(Place::Pull),
        copy(FIRST, PACKET),
        call(PULL),
    ]
}

/// The addresses in ARP lie behind hardware addresses, whose length it says.
fn arp(way: Way) -> Vec<Step> {
    let mut steps = vec![Step::Here(Place::Arp), set(SECOND, 4)];
    steps.extend(load(BYTE, 1));
    steps.push(Step::Do(instruction(0x71, SECOND, FRAME, BYTE, 0)));
    match way {
        Way::In => steps.extend([
            Step::Do(instruction(0x67, SECOND, 0, 0, 1)),
            Step::Do(instruction(0x07, SECOND, 0, 0, 12)),
        ]),
        Way::Out => steps.push(Step::Do(instruction(0x07, SECOND, 0, 0, 8))),
    }
    steps.extend(load(LAST_FOUR, 4));
    steps.push(Step::Jump(ALWAYS, 0, 0, Place::Judge));
    steps
}

/// What asks for a neighbour, or tells of one, need not come from it or go to it.
fn discovery(way: Way) -> Vec<Step> {
    let message = if way == Way::In { 135 } else { 136 };
    let mut steps = vec![Step::Here(Place::Discovery)];
    for (at, wanted) in [(6, ICMPV6), (40, message)] {
        steps.push(set(SECOND, at));
        steps.extend(load(BYTE, 1));
        steps.push(Step::Do(instruction(0x71, SECOND, FRAME, BYTE, 0)));
        steps.push(Step::Jump(IF_OTHER, SECOND, wanted, Place::Pass));
    }
    steps.push(set(SECOND, 48));
    steps.extend(load(ADDRESS, 16));
    steps
}

/// Drops, if the address is in the table and its time is over; goes on elsewhere otherwise.
fn judge(table: u32, otherwise: Place) -> Vec<Step> {
    const PSEUDO_TABLE: u8 = 1;
    const IF_LESS: u8 = 0xad;
    vec![
        Step::Do(instruction(0x18, FIRST, PSEUDO_TABLE, 0, table)),
        Step::Do(0),
        copy(SECOND, FRAME),
        Step::Do(instruction(0x07, SECOND, 0, 0, i32::from(ADDRESS).cast_unsigned())),
        call(LOOK_UP),
        Step::Jump(IF_EQUAL, RESULT, 0, otherwise),
        Step::Do(instruction(0x79, DEADLINE, RESULT, 0, 0)),
        call(BOOT_TIME),
        // The result is less than the deadline.
        Step::Jump(IF_LESS, RESULT, 0, otherwise),
        Step::Jump(ALWAYS, 0, 0, Place::Drop),
    ]
}

/// Loads so many bytes of the packet, from where the second register says, into the frame. A packet that is too short
/// passes: nobody answers it. One that goes out has what is looked at in its first piece, for this machine wrote it;
/// what a program sends as raw frames from a ring of its own may not, and passes.
fn load(to: i16, bytes: u32) -> [Step; 7] {
    const FROM_NETWORK_HEADER: u32 = 1;
    [
        copy(FIRST, PACKET),
        copy(3, FRAME),
        Step::Do(instruction(0x07, 3, 0, 0, i32::from(to).cast_unsigned())),
        set(4, bytes),
        set(5, FROM_NETWORK_HEADER),
        call(LOAD_BYTES),
        Step::Jump(IF_OTHER, RESULT, 0, Place::Pass),
    ]
}

fn end(place: Place, verdict: i32) -> [Step; 3] {
    [Step::Here(place), set(RESULT, verdict.cast_unsigned()), Step::Do(instruction(0x95, 0, 0, 0, 0))]
}

fn copy(to: u8, from: u8) -> Step {
    Step::Do(instruction(0xbf, to, from, 0, 0))
}

fn set(to: u8, number: u32) -> Step {
    Step::Do(instruction(0xb7, to, 0, 0, number))
}

fn call(what: u32) -> Step {
    Step::Do(instruction(0x85, 0, 0, 0, what))
}

fn assemble(steps: &[Step]) -> Vec<u64> {
    let length = |step: &Step| usize::from(!matches!(step, Step::Here(_)));
    let place_of = |place: Place| {
        let at = steps.iter().position(|s| matches!(s, Step::Here(p) if *p == place));
        steps[..at.unwrap_or(steps.len())].iter().map(length).sum::<usize>()
    };
    let mut code = Vec::new();
    for step in steps {
        match *step {
            Step::Do(what) => code.push(what),
            Step::Jump(operation, register, number, place) => {
                let distance = place_of(place).saturating_sub(code.len() + 1);
                let distance = i16::try_from(distance).unwrap_or(i16::MAX);
                // The one comparison of two registers is with the deadline.
                let with = if operation & 0x08 != 0 { DEADLINE } else { 0 };
                code.push(instruction(operation, register, with, distance, number));
            }
            Step::Here(_) => {}
        }
    }
    code
}
