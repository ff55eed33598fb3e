//! Which addresses of a node are not a group's own: what servers that would register at every address they find
//! are told to leave alone.

use std::net::IpAddr;

/// So many addresses fit into `RPC_UNSUPPORTED_NETADDRS`, as DCE documents it.
pub const NETADDRS_MAX: usize = 10;
/// The group's own addresses, separated by blanks.
pub const SERVICE_ADDRESSES: &str = "REGENT_SERVICE_ADDRESSES";
/// Every other address of the node, separated by blanks.
pub const EXCLUDED_ADDRESSES: &str = "REGENT_EXCLUDED_ADDRESSES";
/// The same for servers of DCE: IPv4 only, separated by colons.
pub const UNSUPPORTED_NETADDRS: &str = "RPC_UNSUPPORTED_NETADDRS";

/// Every address of a node that is not a group's own: IPv4 first, each once, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exclusion(Vec<IpAddr>);

impl Exclusion {
    /// Everything of `others` that is not in `own`.
    #[must_use]
    pub fn new(own: &[IpAddr], others: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut all: Vec<IpAddr> = Vec::new();
        for address in others {
            if !own.contains(&address) && !all.contains(&address) {
                all.push(address);
            }
        }
        all.sort_by_key(IpAddr::is_ipv6);
        Self(all)
    }

    /// All of them.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.0
    }

    /// All of them, separated by blanks.
    #[must_use]
    pub fn in_words(&self) -> String {
        joined(&self.0, " ")
    }

    /// The IPv4 addresses, separated by colons: one of IPv6 holds colons itself and has no place there.
    #[must_use]
    pub fn netaddrs(&self) -> String {
        joined(self.ipv4(), ":")
    }

    fn ipv4(&self) -> &[IpAddr] {
        &self.0[..self.0.iter().take_while(|a| a.is_ipv4()).count()]
    }

    fn ipv6(&self) -> &[IpAddr] {
        &self.0[self.ipv4().len()..]
    }

    /// What the form with colons does not carry, each in one sentence; nothing when it carries everything.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let (v4, v6) = (self.ipv4().len(), self.ipv6());
        if v4 > NETADDRS_MAX {
            remarks.push(format!(
                "{UNSUPPORTED_NETADDRS} holds {v4} addresses, and DCE reads at most {NETADDRS_MAX}"
            ));
        }
        if !v6.is_empty() {
            remarks.push(format!(
                "{UNSUPPORTED_NETADDRS} leaves out {}, because an IPv6 address holds colons itself; \
                 {EXCLUDED_ADDRESSES} has everything",
                joined(v6, ", ")
            ));
        }
        remarks
    }
}

fn joined(addresses: &[IpAddr], between: &str) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

/// The addresses in a text in which blanks or commas separate them; what is none is passed over.
#[must_use]
pub fn addresses_in(text: &str) -> Vec<IpAddr> {
    text.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> Vec<IpAddr> {
        addresses_in(text)
    }

    #[test]
    fn every_other_address_of_the_node_is_excluded_once_and_the_own_never() {
        // The guide's example: boot, service and standby adapter.
        let all = list("9.3.240.1 9.3.240.2 9.3.240.66 9.3.240.1");
        let exclusion = Exclusion::new(&list("9.3.240.2"), all);
        assert_eq!(exclusion.netaddrs(), "9.3.240.1:9.3.240.66");
        assert_eq!(exclusion.in_words(), "9.3.240.1 9.3.240.66");
        assert!(exclusion.remarks().is_empty());
    }

    #[test]
    fn ipv6_has_no_place_between_colons_and_more_than_ten_are_too_many_and_both_are_said() {
        let many = (1..=11).map(|n| IpAddr::from([10, 0, 0, n]));
        let exclusion = Exclusion::new(&[], list("fd00::4").into_iter().chain(many));
        assert!(exclusion.netaddrs().starts_with("10.0.0.1:10.0.0.2:"), "{}", exclusion.netaddrs());
        assert!(!exclusion.netaddrs().contains("fd00") && exclusion.in_words().ends_with(" fd00::4"));
        let remarks = exclusion.remarks();
        assert!(remarks[0].contains("holds 11 addresses") && remarks[1].contains("leaves out fd00::4"));
    }

    proptest! {
        #[test]
        fn nothing_of_the_own_is_ever_excluded_and_nothing_else_forgotten(
            own in proptest::collection::vec(0_u8..20, 0..4),
            others in proptest::collection::vec(0_u8..20, 0..30),
        ) {
            let at = |n: &u8| IpAddr::from([10, 0, 0, *n]);
            let own: Vec<_> = own.iter().map(at).collect();
            let exclusion = Exclusion::new(&own, others.iter().map(at));
            prop_assert!(own.iter().all(|a| !exclusion.addresses().contains(a)));
            for other in others.iter().map(at).filter(|a| !own.contains(a)) {
                prop_assert_eq!(exclusion.addresses().iter().filter(|a| **a == other).count(), 1);
            }
        }
    }
}
