//! The programs, put together by hand: a dozen instructions each, so that no compiler for them is needed.
//!
//! They get the address that a process asks for (`struct bpf_sock_addr` of `linux/bpf.h`), may write another one, and
//! say 1 for go on or 0 for refused.

use std::net::Ipv4Addr;

use regent_model::config::BindTo;

use crate::bpf::instruction;

/// Where the address lies that is asked for: IPv4, and the four words of IPv6.
const IP4: i16 = 4;
const IP6: [i16; 4] = [8, 12, 16, 20];
/// The third word of an IPv4 address as IPv6 writes it (`::ffff:a.b.c.d`).
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// Registers: the result, what is asked for, and a word at work.
const RESULT: u8 = 0;
const ASKED: u8 = 1;
const WORD: u8 = 2;

/// One instruction of a program to be. Jumps lead to a place by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Loads a word of what is asked for.
    Load(i16),
    /// Writes a word of it.
    Write(i16, u32),
    /// Goes on elsewhere unless the loaded word is this.
    Unless(u32, Place),
    /// A place to go to.
    Here(Place),
    /// Ends: 1 for go on, 0 for refused.
    End(i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Somebody asked for an address of his own choice: he gets it.
    Pass,
    /// It does not begin as a wildcard of IPv6 alone.
    PerhapsMapped,
}

/// For binds of IPv4 sockets.
pub(super) fn of_ipv4(to: BindTo) -> Vec<u64> {
    let mut steps = vec![Step::Load(IP4), Step::Unless(0, Place::Pass)];
    match to.v4 {
        Some(address) => steps.push(Step::Write(IP4, word(address))),
        None => steps.push(Step::End(0)),
    }
    steps.extend([Step::Here(Place::Pass), Step::End(1)]);
    assemble(&steps)
}

/// For binds of IPv6 sockets, also of those that take IPv4 too.
pub(super) fn of_ipv6(to: BindTo) -> Vec<u64> {
    let [one, two, three, four] = IP6;
    let mut steps = Vec::new();
    for at in [one, two] {
        steps.extend([Step::Load(at), Step::Unless(0, Place::Pass)]);
    }
    steps.extend([Step::Load(three), Step::Unless(0, Place::PerhapsMapped)]);
    steps.extend([Step::Load(four), Step::Unless(0, Place::Pass)]);
    match (to.v6, to.v4) {
        (Some(address), _) => {
            let words = address.octets();
            let (words, _) = words.as_chunks::<4>();
            steps.extend(IP6.into_iter().zip(words).map(|(at, w)| Step::Write(at, u32::from_ne_bytes(*w))));
            steps.push(Step::End(1));
        }
        (None, Some(address)) => {
            steps.extend([Step::Write(three, MAPPED), Step::Write(four, word(address)), Step::End(1)]);
        }
        (None, None) => steps.push(Step::End(0)),
    }
    steps.push(Step::Here(Place::PerhapsMapped));
    steps.extend([Step::Unless(MAPPED, Place::Pass), Step::Load(four), Step::Unless(0, Place::Pass)]);
    match to.v4 {
        Some(address) => steps.push(Step::Write(four, word(address))),
        None => steps.push(Step::End(0)),
    }
    steps.extend([Step::Here(Place::Pass), Step::End(1)]);
    assemble(&steps)
}

/// An address as it lies in memory.
fn word(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// How many instructions a step becomes.
fn length(step: Step) -> usize {
    match step {
        Step::Load(_) | Step::Unless(..) => 1,
        Step::Write(..) | Step::End(_) => 2,
        Step::Here(_) => 0,
    }
}

fn assemble(steps: &[Step]) -> Vec<u64> {
    let place_of = |place: Place| {
        let at = steps.iter().position(|s| *s == Step::Here(place)).unwrap_or(steps.len());
        steps[..at].iter().map(|s| length(*s)).sum::<usize>()
    };
    let mut code = Vec::new();
    for step in steps {
        match *step {
            Step::Load(at) => code.push(instruction(0x61, WORD, ASKED, at, 0)),
            Step::Write(at, value) => {
                code.push(instruction(0xb4, WORD, 0, 0, value));
                code.push(instruction(0x63, ASKED, WORD, at, 0));
            }
            Step::Unless(value, place) => {
                let distance = place_of(place) - (code.len() + 1);
                let distance = i16::try_from(distance).unwrap_or(i16::MAX);
                code.push(instruction(0x56, WORD, 0, distance, value));
            }
            Step::Here(_) => {}
            Step::End(result) => {
                code.push(instruction(0xb7, RESULT, 0, 0, result.cast_unsigned()));
                code.push(instruction(0x95, 0, 0, 0, 0));
            }
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program over what is asked for, as the kernel would: the result, and what is asked for afterwards.
    fn run(program: &[u64], asked: [u32; 6]) -> (u32, [u32; 6]) {
        let (mut registers, mut memory, mut at) = ([0_u32; 3], asked, 0_usize);
        loop {
            let bytes = program[at].to_ne_bytes();
            let (to, from) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
            let distance = i16::from_ne_bytes([bytes[2], bytes[3]]);
            let number = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let cell = usize::try_from(distance / 4).unwrap();
            at += 1;
            match bytes[0] {
                0x61 => registers[to] = memory[cell],
                0x63 => memory[cell] = registers[from],
                0xb4 | 0xb7 => registers[to] = number,
                0x56 if registers[to] != number => at += usize::try_from(distance).unwrap(),
                0x56 => {}
                0x95 => return (registers[0], memory),
                other => panic!("{other:#x}"),
            }
        }
    }

    fn asked6(address: &str) -> [u32; 6] {
        let octets = address.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let (words, _) = octets.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|w| u32::from_ne_bytes(*w)).collect();
        [10, 0, words[0], words[1], words[2], words[3]]
    }

    fn bound6(to: BindTo, asked: &str) -> Option<String> {
        let (result, memory) = run(&of_ipv6(to), asked6(asked));
        let bytes: Vec<u8> = memory[2..].iter().flat_map(|w| w.to_ne_bytes()).collect();
        let bytes: [u8; 16] = bytes.try_into().unwrap();
        (result == 1).then(|| std::net::Ipv6Addr::from(bytes).to_string())
    }

    fn to(v4: Option<&str>, v6: Option<&str>) -> BindTo {
        BindTo { v4: v4.map(|a| a.parse().unwrap()), v6: v6.map(|a| a.parse().unwrap()) }
    }

    #[test]
    fn only_a_wildcard_of_ipv4_is_written_over() {
        let service = to(Some("10.77.0.100"), None);
        let ask = |to, address: [u8; 4]| run(&of_ipv4(to), [2, u32::from_ne_bytes(address), 0, 0, 0, 0]);
        assert_eq!(ask(service, [0; 4]), (1, [2, word(Ipv4Addr::new(10, 77, 0, 100)), 0, 0, 0, 0]));
        let own = [127, 0, 0, 1];
        assert_eq!(ask(service, own), (1, [2, u32::from_ne_bytes(own), 0, 0, 0, 0]));
        assert_eq!(ask(to(None, Some("fd00::100")), [0; 4]).0, 0, "refused");
        assert_eq!(ask(to(None, Some("fd00::100")), own).0, 1);
    }

    #[test]
    fn wildcards_of_ipv6_go_to_its_address_or_to_that_of_ipv4() {
        let (four, six) = (to(Some("10.77.0.100"), None), to(None, Some("fd00::100")));
        let both = to(Some("10.77.0.100"), Some("fd00::100"));
        assert_eq!(bound6(four, "::").as_deref(), Some("::ffff:10.77.0.100"));
        assert_eq!(bound6(six, "::").as_deref(), Some("fd00::100"));
        assert_eq!(bound6(both, "::").as_deref(), Some("fd00::100"));
        assert_eq!(bound6(both, "::ffff:0.0.0.0").as_deref(), Some("::ffff:10.77.0.100"));
        assert_eq!(bound6(six, "::ffff:0.0.0.0"), None, "refused");
        assert_eq!(bound6(to(None, None), "::"), None, "refused");
        for own in ["::1", "fd00::4", "::ffff:127.0.0.1", "1::", "0:0:1::", "::1:0:0", "::1:0"] {
            for to in [four, six, both] {
                let own: std::net::Ipv6Addr = own.parse().unwrap();
                assert_eq!(bound6(to, &own.to_string()), Some(own.to_string()), "{to:?}");
            }
        }
    }
}
