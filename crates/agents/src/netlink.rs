//! Interfaces and addresses of this network namespace, asked of the kernel by netlink, one question at a
//! time.

use std::fmt;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkBuffer, NetlinkMessage, NlasIterator, Parseable,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::tc::TcMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

const RTM_NEWLINK: u16 = 16;
/// The multicast group for changes of interfaces, as a bit.
const LINK_CHANGES: u32 = 1;
const RTM_NEWADDR: u16 = 20;
const LINK_HEADER_BYTES: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_IFNAME: u16 = 3;
/// A dump that changed under our eyes is asked for again, at most so often.
const DUMP_ATTEMPTS: usize = 5;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// The `ARPHRD_*` number.
    pub(crate) kind: u16,
    /// The `IFF_*` bits.
    pub(crate) flags: u32,
    pub(crate) hardware: Vec<u8>,
    pub(crate) broadcast: Vec<u8>,
}

impl Link {
    /// Switched on by the administrator.
    pub(crate) fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// The cable (or its like) carries.
    pub(crate) fn has_carrier(&self) -> bool {
        const IFF_LOWER_UP: u32 = 1 << 16;
        self.flags & IFF_LOWER_UP != 0
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.flags & libc::IFF_LOOPBACK as u32 != 0
    }

    /// Whether neighbours find addresses on it by ARP.
    pub(crate) fn has_neighbours(&self) -> bool {
        !self.is_loopback() && self.flags & libc::IFF_NOARP as u32 == 0 && !self.hardware.is_empty()
    }
}

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) link: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) flags: AddressFlags,
    pub(crate) label: Option<String>,
    /// Who put it there (`IFA_PROTO`), as a number.
    pub(crate) protocol: Option<u8>,
}

/// The kernel's refusal, or a failure to talk to it.
#[derive(Debug)]
pub(crate) struct Error(io::Error);

impl Error {
    /// Whether the kernel answered with this error number.
    pub(crate) fn is(&self, errno: i32) -> bool {
        self.0.raw_os_error() == Some(errno)
    }

    fn garbled(what: impl fmt::Display) -> Self {
        Self(io::Error::new(io::ErrorKind::InvalidData, format!("netlink answer not understood: {what}")))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

/// Every interface of this namespace.
pub(crate) fn links() -> Result<Vec<Link>, Error> {
    let bodies = dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), RTM_NEWLINK)?;
    Ok(bodies.iter().filter_map(|body| parse_link(body)).collect())
}

/// Every address of this namespace.
pub(crate) fn addresses() -> Result<Vec<Address>, Error> {
    let bodies = dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), RTM_NEWADDR)?;
    Ok(bodies.iter().filter_map(|body| parse_address(body)).collect())
}

/// Adds an address. `EEXIST` when it is there.
pub(crate) fn add_address(message: AddressMessage) -> Result<(), Error> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    exchange(RouteNetlinkMessage::NewAddress(message), flags, |_| {}).map(|_| ())
}

/// Removes an address. `EADDRNOTAVAIL` when it is not there, `ENODEV` when the interface is not.
pub(crate) fn delete_address(link: u32, address: IpAddr, prefix: u8) -> Result<(), Error> {
    let message = address_message(link, address, prefix);
    exchange(RouteNetlinkMessage::DelAddress(message), NLM_F_REQUEST | NLM_F_ACK, |_| {}).map(|_| ())
}

/// Adds a route before those to the same network. `EEXIST` when this very one is there.
pub(crate) fn add_route(message: RouteMessage) -> Result<(), Error> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    exchange(RouteNetlinkMessage::NewRoute(message), flags, |_| {}).map(|_| ())
}

/// Removes a route. `ESRCH` when it is not there.
pub(crate) fn delete_route(message: RouteMessage) -> Result<(), Error> {
    exchange(RouteNetlinkMessage::DelRoute(message), NLM_F_REQUEST | NLM_F_ACK, |_| {}).map(|_| ())
}

/// Adds a queue, or the place for filters, to an interface. `EEXIST` when it is there.
pub(crate) fn add_queue(message: TcMessage) -> Result<(), Error> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    exchange(RouteNetlinkMessage::NewQueueDiscipline(message), flags, |_| {}).map(|_| ())
}

/// Asks for the queue of this handle and kind. `ENOENT` when there is none, `EINVAL` when it is of another kind.
pub(crate) fn find_queue(message: TcMessage) -> Result<(), Error> {
    let question = RouteNetlinkMessage::GetQueueDiscipline(message);
    exchange(question, NLM_F_REQUEST | NLM_F_ACK, |_| {}).map(|_| ())
}

/// Adds a filter to an interface, or replaces the one that is there; `EEXIST` where it must not.
pub(crate) fn set_filter(message: TcMessage, may_replace: bool) -> Result<(), Error> {
    let exclusive = if may_replace { 0 } else { NLM_F_EXCL };
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | exclusive;
    exchange(RouteNetlinkMessage::NewTrafficFilter(message), flags, |_| {}).map(|_| ())
}

/// Removes a filter.
pub(crate) fn delete_filter(message: TcMessage) -> Result<(), Error> {
    exchange(RouteNetlinkMessage::DelTrafficFilter(message), NLM_F_REQUEST | NLM_F_ACK, |_| {}).map(|_| ())
}

/// A socket that becomes readable whenever an interface changes.
pub(crate) fn link_changes() -> Result<Socket, Error> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, LINK_CHANGES))?;
    Ok(socket)
}

/// The message that names an address, for adding more to it.
pub(crate) fn address_message(link: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix;
    message.header.index = link;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    message
}

/// The bits of `flags` that fit into the old one-byte field of the header.
pub(crate) fn header_flags(flags: AddressFlags) -> AddressHeaderFlags {
    AddressHeaderFlags::from_bits_retain((flags.bits() & 0xff) as u8)
}

fn dump(question: RouteNetlinkMessage, wanted: u16) -> Result<Vec<Vec<u8>>, Error> {
    for _ in 0..DUMP_ATTEMPTS {
        let mut bodies = Vec::new();
        let whole = exchange(question.clone(), NLM_F_REQUEST | NLM_F_DUMP, |message| {
            if message.message_type() == wanted {
                bodies.push(message.payload().to_vec());
            }
        })?;
        if whole {
            return Ok(bodies);
        }
    }
    Err(Error::garbled("the list changes faster than it can be read"))
}

/// Asks and hears the whole answer. False when the kernel says that a dump was disturbed by a change.
fn exchange(
    question: RouteNetlinkMessage,
    flags: u16,
    mut each: impl FnMut(&NetlinkBuffer<&[u8]>),
) -> Result<bool, Error> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut message = NetlinkMessage::from(question);
    message.header.flags = flags;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let mut whole = true;
    loop {
        let (datagram, from) = socket.recv_from_full()?;
        if from.port_number() != 0 {
            continue;
        }
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let one = NetlinkBuffer::new_checked(rest).map_err(Error::garbled)?;
            whole &= one.flags() & NLM_F_DUMP_INTR == 0;
            match one.message_type() {
                NLMSG_DONE => return Ok(whole),
                NLMSG_ERROR => return acknowledgement(one.payload()).map(|()| whole),
                _ => each(&one),
            }
            let aligned = (one.length() as usize).next_multiple_of(4);
            rest = rest.get(aligned..).unwrap_or_default();
        }
    }
}

fn acknowledgement(payload: &[u8]) -> Result<(), Error> {
    let code = payload.first_chunk::<4>().ok_or_else(|| Error::garbled("a short acknowledgement"))?;
    match i32::from_ne_bytes(*code) {
        0 => Ok(()),
        code => Err(Error(io::Error::from_raw_os_error(code.abs()))),
    }
}

/// Reads only what is needed: a newer kernel's unknown attributes must not hide an interface.
fn parse_link(body: &[u8]) -> Option<Link> {
    let kind = u16::from_ne_bytes(*body.get(2..4)?.first_chunk()?);
    let index = u32::from_ne_bytes(*body.get(4..8)?.first_chunk()?);
    let flags = u32::from_ne_bytes(*body.get(8..12)?.first_chunk()?);
    let mut link = Link { index, name: String::new(), kind, flags, hardware: vec![], broadcast: vec![] };
    for attribute in NlasIterator::new(body.get(LINK_HEADER_BYTES..)?) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            IFLA_IFNAME => {
                let bytes = attribute.value().split(|b| *b == 0).next()?;
                link.name = String::from_utf8_lossy(bytes).into_owned();
            }
            IFLA_ADDRESS => link.hardware = attribute.value().to_vec(),
            IFLA_BROADCAST => link.broadcast = attribute.value().to_vec(),
            _ => {}
        }
    }
    Some(link)
}

fn parse_address(body: &[u8]) -> Option<Address> {
    let message = AddressMessage::parse(body).ok()?;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let (mut local, mut peer, mut label, mut protocol) = (None, None, None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(address),
            AddressAttribute::Address(address) => peer = Some(address),
            AddressAttribute::Label(text) => label = Some(text),
            AddressAttribute::Flags(all) => flags = all,
            AddressAttribute::Protocol(who) => protocol = Some(who.into()),
            _ => {}
        }
    }
    // On a point-to-point link the "address" is the other end's; "local" is ours.
    let address = local.or(peer)?;
    Some(Address {
        link: message.header.index,
        address,
        prefix: message.header.prefix_len,
        flags,
        label,
        protocol,
    })
}
