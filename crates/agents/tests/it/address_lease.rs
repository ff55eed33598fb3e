//! The kernel's own leases of addresses, at real interfaces.

use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use regent_agents::acts;
use regent_agents::address_lease::{self, Deadlines, NEVER};
use regent_model::Moment;
use regent_model::holding::Act;

use crate::support::{Namespaces, PATIENCE, carrier, eventually, sh};

const SERVICE: &str = "10.0.0.50";
const SERVICE_SIX: &str = "fd00::50";

fn until(deadlines: &mut Deadlines, end: Moment) {
    let both = [SERVICE, SERVICE_SIX].map(|a| (a.parse::<IpAddr>().unwrap(), end));
    deadlines.keep(both.into_iter()).unwrap();
}

/// Whether somebody at the other end refuses a connection, which only who has the address does.
fn is_answered(address: &str, patience: Duration) -> bool {
    sh("ip neigh flush all");
    let at = (address.parse::<IpAddr>().unwrap(), 9).into();
    let refused = TcpStream::connect_timeout(&at, patience).unwrap_err();
    refused.kind() == std::io::ErrorKind::ConnectionRefused
}

/// A node with both service addresses and one of its own, and a client of it.
struct Pair {
    node: Namespaces,
    client: Namespaces,
}

impl Pair {
    fn new() -> Self {
        let (node, client) = (Namespaces::new(), Namespaces::new());
        let there = client.tid;
        node.run(move || {
            sh("ip link add lan0 type veth peer name out0");
            sh(&format!(
                "ip link set out0 netns {there} && ip link set lan0 up && ip addr add 10.0.0.4/24 dev lan0"
            ));
        });
        client.run(|| {
            sh("ip link set out0 up && ip addr add 10.0.0.9/24 dev out0 && ip addr add fd00::9/64 dev out0 nodad");
            carrier("out0");
        });
        node.run(|| {
            carrier("lan0");
            for (address, prefix) in [(SERVICE, 24), (SERVICE_SIX, 64)] {
                acts::perform(&Act::add_address("lan0", address.parse().unwrap(), prefix)).unwrap();
            }
        });
        Self { node, client }
    }

    /// What is answered must be within any time, what is not is waited for a moment.
    fn services_are_answered(&self, wanted: bool, when: &'static str) {
        self.client.run(move || {
            for address in [SERVICE, SERVICE_SIX] {
                let patience = if wanted { PATIENCE } else { Duration::from_millis(300) };
                assert_eq!(is_answered(address, patience), wanted, "{address}: {when}");
            }
            assert!(is_answered("10.0.0.4", PATIENCE), "the node's own address: {when}");
        });
    }
}

#[test]
fn the_kernel_alone_ends_service_addresses_and_no_other() {
    let pair = Pair::new();
    let (mut deadlines, doors) = address_lease::begin().unwrap();
    until(&mut deadlines, Moment(1));
    pair.services_are_answered(true, "nothing stands at the interface");
    let there = doors.clone();
    pair.node.run(move || there.stand_everywhere().unwrap());
    pair.services_are_answered(false, "its lease has ended");
    until(&mut deadlines, NEVER);
    pair.services_are_answered(true, "held without lease");

    // Another guard comes, with a table of its own; what the one before knew does not count any more.
    until(&mut deadlines, Moment(1));
    let (mut next, doors_of_next) = address_lease::begin().unwrap();
    until(&mut next, NEVER);
    let there = doors_of_next.clone();
    pair.node.run(move || there.stand_everywhere().unwrap());
    pair.services_are_answered(true, "the next guard has a right to it");
    drop((deadlines, doors));

    // Whoever takes the filters away finds them back, and what the process kept is kept when it is gone.
    until(&mut next, Moment(1));
    let there = doors_of_next.clone();
    pair.node.run(move || {
        sh("tc qdisc del dev lan0 clsact");
        there.stand_at("lan0").unwrap();
    });
    drop(next);
    pair.services_are_answered(false, "nobody is there who could renew it");
    pair.node.run(move || {
        doors_of_next.leave();
        assert_eq!(sh("tc filter show dev lan0 ingress; tc filter show dev lan0 egress").trim(), "");
    });
    pair.services_are_answered(true, "nothing stands there any more");
}

#[test]
fn an_address_that_has_ended_is_not_announced() {
    let pair = Pair::new();
    let (mut deadlines, doors) = address_lease::begin().unwrap();
    pair.node.run(move || doors.stand_everywhere().unwrap());
    let known = |address: &'static str| {
        pair.client.run(move || {
            sh("sysctl -qw net.ipv4.conf.out0.arp_accept=1");
            sh("ip neigh show").contains(address)
        })
    };
    let announce = || pair.node.run(|| acts::announce("lan0", SERVICE.parse().unwrap()));
    assert!(!known(SERVICE));
    until(&mut deadlines, Moment(1));
    assert!(announce().is_err(), "the kernel says that it did not go out");
    assert!(!known(SERVICE), "it was announced");
    until(&mut deadlines, NEVER);
    eventually("it is announced", || {
        announce().unwrap();
        known(SERVICE)
    });
}
