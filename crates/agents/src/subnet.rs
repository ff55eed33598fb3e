//! Which network an address belongs to.

use std::net::IpAddr;

/// Whether `address` lies in the network of `base`/`prefix`. Addresses of different families never do; a
/// prefix longer than the address is taken as the whole address.
pub(crate) fn contains(base: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (base, address) {
        (IpAddr::V4(b), IpAddr::V4(a)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            (b.to_bits() ^ a.to_bits()) & mask == 0
        }
        (IpAddr::V6(b), IpAddr::V6(a)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            (b.to_bits() ^ a.to_bits()) & mask == 0
        }
        _ => false,
    }
}

/// The broadcast address of an IPv4 network that has one.
pub(crate) fn broadcast(address: IpAddr, prefix: u8) -> Option<std::net::Ipv4Addr> {
    match address {
        IpAddr::V4(a) if prefix < 31 => {
            let hosts = u32::MAX >> prefix;
            Some(std::net::Ipv4Addr::from_bits(a.to_bits() | hosts))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_found_in_its_subnet_and_not_in_another() {
        assert!(contains(ip("192.9.1.4"), 16, ip("192.9.202.197")));
        assert!(!contains(ip("192.9.1.4"), 24, ip("192.9.202.197")));
        assert!(contains(ip("10.0.0.1"), 0, ip("203.0.113.9")));
        assert!(!contains(ip("10.0.0.1"), 32, ip("10.0.0.2")));
        assert!(contains(ip("fd00::1"), 64, ip("fd00::ffff")));
        assert!(!contains(ip("fd00::1"), 64, ip("fd00:0:0:1::1")));
        assert!(!contains(ip("::"), 0, ip("10.0.0.1")));
    }

    #[test]
    fn the_broadcast_address_ends_in_ones_and_point_to_point_has_none() {
        assert_eq!(broadcast(ip("192.9.202.197"), 16), Some(Ipv4Addr::new(192, 9, 255, 255)));
        assert_eq!(broadcast(ip("10.0.0.1"), 31), None);
        assert_eq!(broadcast(ip("fd00::1"), 64), None);
    }

    proptest! {
        #[test]
        fn a_network_contains_exactly_what_shares_its_prefix(base: u32, other: u32, prefix in 0u8..=32) {
            let same = (0..prefix).all(|bit| (base ^ other) & (1 << (31 - bit)) == 0);
            let (base_ip, other_ip) = (Ipv4Addr::from_bits(base), Ipv4Addr::from_bits(other));
            let inside = contains(base_ip.into(), prefix, other_ip.into());
            prop_assert_eq!(inside, same);
        }

        #[test]
        fn the_same_holds_for_version_six(base: u128, flip in 0u32..128, prefix in 0u8..=128) {
            let other = base ^ (1u128 << (127 - flip));
            let (base_ip, other_ip) = (Ipv6Addr::from_bits(base), Ipv6Addr::from_bits(other));
            let inside = contains(base_ip.into(), prefix, other_ip.into());
            prop_assert_eq!(inside, u32::from(prefix) <= flip);
        }
    }
}
