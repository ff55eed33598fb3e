//! The way to a service address's subnet, where two interfaces of a node are in it: it leads over the one that
//! carries the address.
//!
//! The kernel takes the way over the interface that was in the subnet first, also when that one is deaf. For IPv4 a
//! route of ours comes before it; it names the address as its source, so that the kernel takes it away together with
//! the address. For IPv6 it has the smaller metric, and is taken away here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use crate::netlink::{self, Address, Link};
use crate::subnet;

/// Marks our routes for whoever lists them.
const PROTOCOL: u8 = 82;
/// Less than what the kernel gives its own routes of IPv6.
const METRIC_V6: u32 = 128;

/// Lets the way to the subnet lead over `link`, if another interface has an address in it, too.
pub(super) fn lead_over(
    link: &Link,
    links: &[Link],
    present: &[Address],
    address: IpAddr,
    prefix: u8,
) -> Result<(), netlink::Error> {
    let of_others = |a: &&Address| {
        let other = links.iter().find(|l| l.index == a.link);
        a.link != link.index && a.address != address && other.is_some_and(|l| !l.is_loopback())
    };
    let rivals = present.iter().filter(of_others);
    if !rivals.into_iter().any(|a| subnet::contains(address, prefix, a.address)) {
        return Ok(());
    }
    match netlink::add_route(route(link, address, prefix)) {
        Err(e) if e.is(libc::EEXIST) => Ok(()),
        done => done,
    }
}

/// The address is gone from `link`: the way leads wherever else there is one.
pub(super) fn lead_no_more(link: &Link, address: IpAddr, prefix: u8) {
    if address.is_ipv6() {
        // Mostly there is none.
        let _none_is_fine = netlink::delete_route(route(link, address, prefix));
    }
}

fn route(link: &Link, address: IpAddr, prefix: u8) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: prefix,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Other(PROTOCOL),
        scope: if address.is_ipv4() { RouteScope::Link } else { RouteScope::Universe },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Oif(link.index));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            let base = Ipv4Addr::from_bits(v4.to_bits() & mask);
            message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(base)));
            message.attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet(v4)));
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            let base = Ipv6Addr::from_bits(v6.to_bits() & mask);
            message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet6(base)));
            message.attributes.push(RouteAttribute::Priority(METRIC_V6));
        }
    }
    message
}
