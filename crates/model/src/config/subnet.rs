//! Arithmetic on addresses and prefixes.

use std::net::{IpAddr, Ipv4Addr};

/// An address as a number, its low `bits(address)` bits used.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The ones where an address of that family and prefix has its host part.
fn host_mask(address: IpAddr, prefix: u8) -> u128 {
    let host_bits = u32::from(bits(address).saturating_sub(prefix));
    if host_bits >= 128 { u128::MAX } else { (1 << host_bits) - 1 }
}

/// Whether both lie in one subnet of that prefix length.
pub(super) fn share(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    a.is_ipv4() == b.is_ipv4() && (number(a) ^ number(b)) & !host_mask(a, prefix) == 0
}

/// Whether both look as if they were on one network: the same /24, or /64 for IPv6.
pub(super) fn look_alike(a: IpAddr, b: IpAddr) -> bool {
    share(a, b, if a.is_ipv4() { 24 } else { 64 })
}

/// The first address of its subnet, as text with the prefix.
pub(super) fn network_text(address: IpAddr, prefix: u8) -> String {
    let network = number(address) & !host_mask(address, prefix);
    match address {
        IpAddr::V4(_) => {
            format!("{}/{prefix}", Ipv4Addr::from(u32::try_from(network).unwrap_or(0)))
        }
        IpAddr::V6(_) => format!("{}/{prefix}", std::net::Ipv6Addr::from(network)),
    }
}

/// Whether it is the first address of its subnet, which names the network (IPv4) or any of its routers
/// (IPv6).
pub(super) fn is_network(address: IpAddr, prefix: u8) -> bool {
    prefix < bits(address) - 1 && number(address) & host_mask(address, prefix) == 0
}

/// Whether it is the last address of its subnet, which is everybody's (IPv4 only).
pub(super) fn is_broadcast(address: IpAddr, prefix: u8) -> bool {
    let mask = host_mask(address, prefix);
    address.is_ipv4() && prefix < 31 && number(address) & mask == mask
}

/// The last address of its subnet, where that is everybody's (IPv4 only).
pub(super) fn last(address: IpAddr, prefix: u8) -> Option<Ipv4Addr> {
    let last = number(address) | host_mask(address, prefix);
    (address.is_ipv4() && prefix < 31).then(|| Ipv4Addr::from(u32::try_from(last).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_compared_by_their_prefix() {
        assert!(share(ip("192.9.202.197"), ip("192.9.1.1"), 16));
        assert!(!share(ip("192.9.202.197"), ip("192.9.1.1"), 24));
        assert!(share(ip("fd00:77::10"), ip("fd00:77::4"), 64));
        assert!(!share(ip("fd00:77::10"), ip("fd00:78::4"), 64));
        assert!(!share(ip("0.0.0.1"), ip("::1"), 1));
        assert!(share(ip("::1"), ip("::1"), 128) && !share(ip("::1"), ip("::2"), 128));
    }

    #[test]
    fn the_first_and_the_last_address_are_nobodys() {
        assert!(is_network(ip("10.1.0.0"), 16) && !is_network(ip("10.1.0.1"), 16));
        assert!(is_broadcast(ip("10.1.255.255"), 16) && !is_broadcast(ip("10.1.0.255"), 16));
        assert!(is_network(ip("fd00::"), 64) && !is_network(ip("fd00::1"), 64));
        assert!(!is_network(ip("10.1.0.0"), 31) && !is_broadcast(ip("10.1.0.1"), 32));
        assert!(!is_broadcast(ip("fd00::ffff:ffff:ffff:ffff"), 64));
        assert_eq!(last(ip("192.9.202.197"), 16), Some(Ipv4Addr::new(192, 9, 255, 255)));
        assert_eq!((last(ip("10.0.0.1"), 31), last(ip("fd00::1"), 64)), (None, None));
        assert_eq!(network_text(ip("192.9.202.197"), 16), "192.9.0.0/16");
        assert_eq!(network_text(ip("fd00::10"), 64), "fd00::/64");
    }
}
