//! The kernel's list of TCP sockets: read for some addresses, and single ones ended, by netlink (`inet_diag`).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr as Port, protocols::NETLINK_SOCK_DIAG};
use regent_model::connection::Connection;

/// The older question, about all families at once: the kernel goes through its table once and not twice.
const TCP_DIAG: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const HEADER_BYTES: usize = 16;
/// `inet_diag_req_v2`, and the socket's identity in it.
const REQUEST_BYTES: usize = 56;
const IDENTITY_BYTES: usize = 48;
/// `inet_diag_msg`; the identity is behind its first four bytes, as in the request.
const ANSWER_BYTES: usize = 72;
const IDENTITY_AT: usize = 4;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
/// The operations of a filter: go on elsewhere; compare the own address.
const JUMP: u8 = 1;
const OWN_ADDRESS: u8 = 7;
const OPERATION_BYTES: usize = 4;
/// Offsets in a filter have 16 bits.
const ADDRESSES_PER_QUESTION: usize = 1000;
/// More sockets are not read: whoever has so many does not get all of them recorded anyhow.
const SOCKETS_MAX: usize = 65_536;

/// The states of a socket, as the kernel numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct States(u32);

impl States {
    const ESTABLISHED: u32 = 1 << 1;
    const FIN_WAIT_1: u8 = 4;
    const CLOSE_WAIT: u32 = 1 << 8;
    const LAST_ACK: u8 = 9;
    const CLOSING: u8 = 11;
    /// Somebody may be waiting at the other end: it is established, or the client has said that it sends no more.
    pub(crate) const WAITED_FOR: Self = Self(Self::ESTABLISHED | Self::CLOSE_WAIT);
    /// All that are connections: SYN_SENT to LAST_ACK, and CLOSING, without TIME_WAIT, CLOSE and LISTEN.
    pub(crate) const OPEN: Self = Self(0b1011_0011_1110);
}

/// A socket that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) address: IpAddr,
    pub(crate) connection: Connection,
    state: u8,
    family: u8,
    identity: [u8; IDENTITY_BYTES],
}

impl Found {
    /// This end has closed it; what was sent before is on its way.
    pub(crate) fn is_ending(&self) -> bool {
        [States::FIN_WAIT_1, States::LAST_ACK, States::CLOSING].contains(&self.state)
    }

    /// What names it among all sockets.
    pub(crate) fn key(&self) -> (SocketAddr, u16) {
        (self.connection.peer, self.connection.port)
    }
}

/// A way to ask the kernel of the network namespace in which it was made.
pub(crate) struct Diag {
    socket: Socket,
    sequence: u32,
    /// The kernel understands the older question.
    at_once: bool,
}

impl Diag {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        Ok(Self { socket, sequence: 0, at_once: true })
    }

    /// The sockets of these addresses that are in one of these states.
    ///
    /// # Errors
    /// The kernel's; the way is then of no use any more.
    pub(crate) fn list(&mut self, addresses: &[IpAddr], states: States) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for some in addresses.chunks(ADDRESSES_PER_QUESTION) {
            if self.at_once {
                let body = older_request(states.0);
                match self.dump(TCP_DIAG, body, &filter(some), &mut found) {
                    Ok(()) => continue,
                    Err(error) => tracing::info!(%error, "the kernel is asked about one family at a time"),
                }
                self.at_once = false;
            }
            // A socket for IPv6 may have a client of IPv4.
            for family in [libc::AF_INET, libc::AF_INET6] {
                let of_family: Vec<IpAddr> =
                    some.iter().filter(|a| family == libc::AF_INET6 || a.is_ipv4()).copied().collect();
                if !of_family.is_empty() {
                    let body = request(family as u8, states.0, &[0; IDENTITY_BYTES]);
                    self.dump(SOCK_DIAG_BY_FAMILY, body, &filter(&of_family), &mut found)?;
                }
            }
        }
        Ok(found)
    }

    fn dump(
        &mut self,
        kind: u16,
        mut body: Vec<u8>,
        filter: &[u8],
        found: &mut Vec<Found>,
    ) -> io::Result<()> {
        body.extend((4 + filter.len() as u16).to_ne_bytes());
        body.extend(INET_DIAG_REQ_BYTECODE.to_ne_bytes());
        body.extend(filter);
        self.ask(kind, NLM_F_REQUEST | NLM_F_DUMP, &body)?;
        let sequence = self.sequence;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let one = NetlinkBuffer::new_checked(rest).map_err(garbled)?;
                if one.sequence_number() == sequence {
                    match one.message_type() {
                        NLMSG_DONE => return Ok(()),
                        NLMSG_ERROR => return acknowledged(one.payload()),
                        _ => found.extend(parse(one.payload())),
                    }
                }
                rest = rest.get((one.length() as usize).next_multiple_of(4)..).unwrap_or_default();
            }
            if found.len() > SOCKETS_MAX {
                // The rest of the answer goes with the way that it comes on.
                *self = Self::open()?;
                return Ok(());
            }
        }
    }

    /// Ends a socket: whoever has it gets an error, the other end a reset. False when it was gone already.
    ///
    /// # Errors
    /// The kernel's: `EOPNOTSUPP` when it cannot do this at all.
    pub(crate) fn destroy(&mut self, found: &Found) -> io::Result<bool> {
        self.ask(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, &request(found.family, u32::MAX, &found.identity))?;
        let sequence = self.sequence;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let one = NetlinkBuffer::new_checked(datagram.as_slice()).map_err(garbled)?;
            if one.sequence_number() != sequence || one.message_type() != NLMSG_ERROR {
                continue;
            }
            return match acknowledged(one.payload()) {
                Ok(()) => Ok(true),
                // Where it was a listener may be found: that one is not meant.
                Err(error) if [Some(libc::ENOENT), Some(libc::ESTALE)].contains(&error.raw_os_error()) => {
                    Ok(false)
                }
                Err(error) => Err(error),
            };
        }
    }

    /// Whether this kernel can end a socket; asked by a socket that there cannot be.
    pub(crate) fn can_destroy(&mut self) -> io::Result<bool> {
        let nobody = Found {
            address: Ipv4Addr::UNSPECIFIED.into(),
            connection: Connection { peer: (Ipv4Addr::UNSPECIFIED, 0).into(), port: 0 },
            state: 1,
            family: libc::AF_INET as u8,
            identity: [0; IDENTITY_BYTES],
        };
        match self.destroy(&nobody) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        self.socket.send_to(&bytes, &Port::new(0, 0), 0).map(drop)
    }
}

fn request(family: u8, states: u32, identity: &[u8; IDENTITY_BYTES]) -> Vec<u8> {
    let mut body = Vec::with_capacity(REQUEST_BYTES);
    body.extend([family, libc::IPPROTO_TCP as u8, 0, 0]);
    body.extend(states.to_ne_bytes());
    body.extend(identity);
    body
}

/// `inet_diag_req`: of any family.
fn older_request(states: u32) -> Vec<u8> {
    let mut body = vec![0; 4 + IDENTITY_BYTES];
    body.extend(states.to_ne_bytes());
    body.extend([0; 4]);
    body
}

/// A program for the kernel that lets sockets of these addresses through.
fn filter(addresses: &[IpAddr]) -> Vec<u8> {
    let octets = |address: &IpAddr| match address {
        IpAddr::V4(a) => (libc::AF_INET as u8, a.octets().to_vec()),
        IpAddr::V6(a) => (libc::AF_INET6 as u8, a.octets().to_vec()),
    };
    let mut program: Vec<u8> = Vec::new();
    // From its end: what follows must be known to jump over it.
    for (at, address) in addresses.iter().enumerate().rev() {
        let (family, octets) = octets(address);
        let compare_bytes = OPERATION_BYTES + 8 + octets.len();
        let last = at + 1 == addresses.len();
        let mut one = Vec::with_capacity(compare_bytes + OPERATION_BYTES);
        // Jumping four bytes too far is "no", jumping to the very end is "yes".
        one.extend([OWN_ADDRESS, compare_bytes as u8]);
        one.extend((compare_bytes as u16 + OPERATION_BYTES as u16).to_ne_bytes());
        one.extend([family, (octets.len() * 8) as u8, 0, 0]);
        one.extend((-1_i32).to_ne_bytes());
        one.extend(octets);
        if !last {
            one.extend([JUMP, OPERATION_BYTES as u8]);
            one.extend((OPERATION_BYTES as u16 + program.len() as u16).to_ne_bytes());
        }
        one.append(&mut program);
        program = one;
    }
    program
}

fn parse(body: &[u8]) -> Option<Found> {
    let body = body.get(..ANSWER_BYTES)?;
    let (family, state) = (body[0], body[1]);
    let identity: [u8; IDENTITY_BYTES] = *body.get(IDENTITY_AT..)?.first_chunk()?;
    let port = |at: usize| u16::from_be_bytes([identity[at], identity[at + 1]]);
    let address = |at: usize| -> Option<IpAddr> {
        if i32::from(family) == libc::AF_INET {
            let octets: [u8; 4] = *identity.get(at..)?.first_chunk()?;
            return Some(Ipv4Addr::from(octets).into());
        }
        let octets: [u8; 16] = *identity.get(at..)?.first_chunk()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
    };
    let connection = Connection { peer: SocketAddr::new(address(20)?, port(2)), port: port(0) };
    Some(Found { address: address(4)?, connection, state, family, identity })
}

fn acknowledged(payload: &[u8]) -> io::Result<()> {
    let code = payload.first_chunk::<4>().ok_or_else(|| garbled("a short acknowledgement"))?;
    match i32::from_ne_bytes(*code) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.abs())),
    }
}

fn garbled(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the kernel's list of sockets is not understood: {what}"),
    )
}

/// The connections among the sockets, by address.
pub(crate) fn by_address(found: Vec<Found>) -> BTreeMap<IpAddr, Vec<Connection>> {
    let mut all: BTreeMap<IpAddr, Vec<Connection>> = BTreeMap::new();
    for one in found {
        if one.connection.is_possible() && one.connection.peer.ip() != one.address {
            all.entry(one.address).or_default().push(one.connection);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel does.
    fn lets_through(program: &[u8], own: IpAddr) -> bool {
        let mut rest = program;
        let mut steps = 0;
        while !rest.is_empty() {
            steps += 1;
            assert!(steps < 10_000);
            let yes = usize::from(rest[1]);
            let no = usize::from(u16::from_ne_bytes([rest[2], rest[3]]));
            let octets = match own {
                IpAddr::V4(a) => a.octets().to_vec(),
                IpAddr::V6(a) => a.octets().to_vec(),
            };
            let holds = rest[0] == OWN_ADDRESS && rest[12..].starts_with(&octets) && yes == 12 + octets.len();
            let step = if holds { yes } else { no };
            if step > rest.len() {
                assert_eq!(step, rest.len() + 4, "the kernel takes only this for a no");
                return false;
            }
            rest = &rest[step..];
        }
        true
    }

    #[test]
    fn a_filter_lets_each_of_its_addresses_through_and_no_other() {
        let all: Vec<IpAddr> =
            ["10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2"].iter().map(|a| a.parse().unwrap()).collect();
        for count in 1..=all.len() {
            let program = filter(&all[..count]);
            for (at, address) in all.iter().enumerate() {
                assert_eq!(lets_through(&program, *address), at < count, "{address} of {count}");
            }
            assert!(!lets_through(&program, "10.0.0.9".parse().unwrap()));
        }
    }

    #[test]
    fn the_longest_filter_fits_its_offsets() {
        let many: Vec<IpAddr> =
            (0..ADDRESSES_PER_QUESTION).map(|n| Ipv6Addr::from(n as u128).into()).collect();
        assert!(u16::try_from(filter(&many).len()).is_ok());
        assert!(lets_through(&filter(&many), many[ADDRESSES_PER_QUESTION - 1]));
    }

    #[test]
    fn a_client_of_the_older_protocol_on_a_socket_of_the_newer_is_known_by_its_own_address() {
        let mut body = vec![0; ANSWER_BYTES];
        body[0] = libc::AF_INET6 as u8;
        body[1] = 1;
        body[4..8].copy_from_slice(&[0, 80, 15, 160]);
        body[8..24].copy_from_slice(&"::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap().octets());
        body[24..40].copy_from_slice(&"::ffff:10.0.0.9".parse::<Ipv6Addr>().unwrap().octets());
        let found = parse(&body).unwrap();
        assert_eq!(found.address, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(found.connection, Connection { peer: "10.0.0.9:4000".parse().unwrap(), port: 80 });
        (0..ANSWER_BYTES).for_each(|cut| assert_eq!(parse(&body[..cut]), None));
    }
}
