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

#[test]
fn a_foreign_ingress_queue_is_said_with_what_to_type_and_nothing_is_put_into_it() {
    let pair = Pair::new();
    let (mut deadlines, doors) = address_lease::begin().unwrap();
    until(&mut deadlines, Moment(1));
    let there = doors.clone();
    let typed = pair.node.run(move || {
        sh("tc qdisc add dev lan0 ingress");
        let why = there.stand_everywhere().unwrap_err();
        assert!(why.contains("lan0") && why.contains("\"ingress\""), "{why}");
        assert_eq!(there.stand_at("lan0").unwrap_err(), why);
        assert_eq!(sh("tc filter show dev lan0 ingress").trim(), "", "nothing of ours is in it");
        why
    });
    pair.services_are_answered(true, "nothing can stand there");

    let there = doors.clone();
    pair.node.run(move || {
        let lines: Vec<_> =
            typed.split('"').filter(|part| part.starts_with("tc ")).map(str::to_owned).collect();
        assert_eq!(lines.len(), 2, "{typed}");
        lines.iter().for_each(|line| drop(sh(line)));
        there.stand_everywhere().unwrap();
    });
    pair.services_are_answered(false, "its lease has ended");

    // The other kind comes while the process runs.
    pair.node.run(move || {
        sh("tc qdisc del dev lan0 clsact && tc qdisc add dev lan0 ingress");
        assert!(doors.stand_everywhere().is_err());
    });
}

/// Sends an echo request to the service address, of which only the link layer's header lies in the first piece.
const IN_PIECES: &str = r#"
import socket, struct
def checksum(b):
    total = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    total = (total >> 16) + (total & 0xffff)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xffff)
echo = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"x" * 6000
echo = echo[:2] + checksum(echo) + echo[4:]
addresses = socket.inet_aton("10.0.0.9") + socket.inet_aton("10.0.0.50")
head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(echo), 1, 0, 64, 1, 0) + addresses
head = head[:10] + checksum(head) + head[12:]
hardware = lambda text: bytes.fromhex(text.replace(":", ""))
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
SOL_PACKET, PACKET_VNET_HDR = 263, 15
raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
raw.bind(("out0", 0))
pieces = struct.pack("=BBHHHH", 0, 0, 14, 0, 0, 0)
raw.send(pieces + hardware("NODE") + hardware("CLIENT") + struct.pack("!H", 0x0800) + head + echo)
"#;

/// The name of the column, then its number.
const ECHOES: &str = r#"awk '$1 == "Icmp:" { for (i = 1; i <= NF; i++) if ($i == "InEchos") at = i; print $at }' \
    /proc/net/snmp | tail -n 1"#;

#[test]
fn packets_that_come_in_pieces_are_ended_like_all_others() {
    let pair = Pair::new();
    let (mut deadlines, doors) = address_lease::begin().unwrap();
    until(&mut deadlines, NEVER);
    let of_node = pair.node.run(move || {
        doors.stand_everywhere().unwrap();
        sh("ip link set lan0 mtu 9000 && ip -br link show lan0 | awk '{ print $3 }'")
    });
    let of_client =
        pair.client.run(|| sh("ip link set out0 mtu 9000 && ip -br link show out0 | awk '{ print $3 }'"));
    let program = IN_PIECES.replace("NODE", of_node.trim()).replace("CLIENT", of_client.trim());
    // Whether it is answered says nothing here, for the answer would end on its way out.
    let ask = || {
        let line = format!("python3 -c '{program}'");
        pair.client.run(move || sh(&line));
        std::thread::sleep(Duration::from_millis(100));
        pair.node.run(|| sh(ECHOES).trim().parse::<u64>().unwrap())
    };
    eventually("it comes while it is held without lease", || ask() > 0);
    until(&mut deadlines, Moment(1));
    let before = ask();
    assert_eq!(ask(), before, "its lease has ended");
}
