//! The programs stand at the interfaces, as filters of the kernel's traffic control: whatever comes in or goes out
//! passes them, ARP and frames made by programs included.

use netlink_packet_core::DefaultNla;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use crate::netlink::{self, Error, Link};

use super::program::Way;

/// Ours among the filters of an interface. They are asked in the order of their priorities.
const PRIORITY: u32 = 1;
/// Each way has its own, so that neither program can ever take the other's place.
const HANDLE_IN: u32 = u32::from_be_bytes(*b"Rgnt");
const HANDLE_OUT: u32 = HANDLE_IN + 1;
/// Every kind of packet, as the kernel writes it.
const ALL_KINDS: u16 = 3;

// Of linux/rtnetlink.h and linux/pkt_cls.h.
const OPTIONS: u16 = 2;
const NESTED: u16 = 1 << 15;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const ACTS_ITSELF: u32 = 1;

/// Puts a program at an interface, in the place of what an earlier guard put there, if there is such.
pub(super) fn put(link: &Link, way: Way, program: u32) -> Result<(), Error> {
    netlink::set_filter(message(link, way, Some(program)), true)
}

/// The same, unless one of ours stands there.
pub(super) fn keep(link: &Link, way: Way, program: u32) -> Result<(), Error> {
    match netlink::set_filter(message(link, way, Some(program)), false) {
        Err(e) if e.is(libc::EEXIST) => Ok(()),
        done => done,
    }
}

/// Takes it away.
pub(super) fn take(link: &Link, way: Way) -> Result<(), Error> {
    match netlink::delete_filter(message(link, way, None)) {
        // No such filter, no filters at all, no interface.
        Err(e) if [libc::ENOENT, libc::EINVAL, libc::ENODEV].into_iter().any(|n| e.is(n)) => Ok(()),
        done => done,
    }
}

/// Makes the place for filters at an interface, if there is none. An `ingress` queue, which somebody else put there, is
/// none, though it takes filters: it asks those for what goes out about what comes in.
pub(super) fn prepare(link: &Link) -> Result<(), Refusal> {
    let mut message = TcMessage::with_index(link.index.cast_signed());
    message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
    message.header.parent = TcHandle::CLSACT;
    message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    match netlink::add_queue(message.clone()) {
        Err(e) if e.is(libc::EEXIST) => {}
        done => return done.map_err(Refusal::Kernel),
    }
    // One is there: the kernel compares its kind with ours.
    match netlink::find_queue(message) {
        Err(e) if e.is(libc::EINVAL) => Err(Refusal::Taken),
        done => done.map_err(Refusal::Kernel),
    }
}

/// Why programs cannot stand at an interface.
#[derive(Debug)]
pub(super) enum Refusal {
    Kernel(Error),
    /// The place is taken by a queue of another kind.
    Taken,
}

fn message(link: &Link, way: Way, program: Option<u32>) -> TcMessage {
    let mut message = TcMessage::with_index(link.index.cast_signed());
    let minor = if way == Way::In { TcHandle::MIN_INGRESS } else { TcHandle::MIN_EGRESS };
    message.header.parent = TcHandle { major: u16::MAX, minor };
    message.header.handle = if way == Way::In { HANDLE_IN } else { HANDLE_OUT }.into();
    message.header.info = PRIORITY << 16 | u32::from(ALL_KINDS.to_be());
    message.attributes.push(TcAttribute::Kind("bpf".to_owned()));
    if let Some(program) = program {
        let mut options = Vec::new();
        attribute(&mut options, BPF_FD, &program.to_ne_bytes());
        attribute(&mut options, BPF_NAME, b"regent address lease\0");
        attribute(&mut options, BPF_FLAGS, &ACTS_ITSELF.to_ne_bytes());
        message.attributes.push(TcAttribute::Other(DefaultNla::new(OPTIONS | NESTED, options)));
    }
    message
}

fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}
