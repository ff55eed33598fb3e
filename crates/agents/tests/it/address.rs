//! Service addresses, seen from this node and from its neighbour.

use std::net::IpAddr;
use std::time::Duration;

use regent_agents::acts;
use regent_model::action::Op;
use regent_model::holding::{Act, Holding};

use crate::support::{Namespaces, Node, address, carrier, eventually, interface, isolated, sh};
use crate::sys::Sniffer;

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

#[test]
fn acquire_adds_the_address_where_its_subnet_is_with_a_label_and_release_removes_it() {
    isolated(|| {
        interface("lan0", Some("192.9.1.4/16"));
        interface("lan1", Some("10.1.1.4/24"));
        let mut node = Node::new();
        let vip = address("192.9.202.197", 16, None);
        node.run(Op::Probe, &vip).stopped();
        node.run(Op::Acquire, &vip).runs();
        let shown = sh("ip -o addr show dev lan0");
        assert!(shown.contains("192.9.202.197/16") && shown.contains("lan0:rg1"), "{shown}");
        assert!(shown.contains("noprefixroute"), "{shown}");
        node.run(Op::Probe, &vip).runs();
        node.run(Op::Monitor, &vip).runs();
        node.run(Op::Release, &vip).stopped();
        assert!(!sh("ip -o addr").contains("192.9.202.197"));
        assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
        node.run(Op::Release, &vip).stopped();
    });
}

#[test]
fn acquire_again_changes_nothing_and_a_second_address_gets_another_label() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        let mut node = Node::new();
        node.run(Op::Acquire, &address("10.0.0.50", 24, None)).runs();
        node.run(Op::Acquire, &address("10.0.0.50", 24, None)).runs();
        node.run(Op::Acquire, &address("10.0.0.51", 24, Some("lan0"))).runs();
        let shown = sh("ip -o addr show dev lan0");
        assert_eq!(shown.matches("10.0.0.50/24").count(), 1, "{shown}");
        assert!(shown.contains("lan0:rg2"), "{shown}");
    });
}

#[test]
fn a_label_that_would_be_too_long_is_left_out() {
    isolated(|| {
        interface("enp0s20f0u1u2", Some("10.0.0.4/24"));
        let mut node = Node::new();
        node.run(Op::Acquire, &address("10.0.0.50", 24, None)).runs();
        assert!(sh("ip -o addr").contains("10.0.0.50/24"));
    });
}

#[test]
fn without_an_interface_in_the_subnet_the_failure_names_what_there_is() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        let mut node = Node::new();
        let failure = node.run(Op::Acquire, &address("172.16.0.9", 24, None)).failed();
        assert!(failure.reason.contains("lan0: 10.0.0.4/24"), "{failure:?}");
        let failure = node.run(Op::Acquire, &address("10.0.0.9", 24, Some("lan7"))).failed();
        assert!(failure.reason.contains("lan7") && failure.evidence.contains("lan0"), "{failure:?}");
        assert!(node.guard.log().is_empty(), "{:?}", node.guard.log());
    });
}

#[test]
fn the_guards_refusal_is_the_failure_and_nothing_is_added() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        let mut node = Node::new();
        *node.guard.refuses.lock().unwrap() = Some("the lease has ended".into());
        let failure = node.run(Op::Acquire, &address("10.0.0.50", 24, None)).failed();
        assert!(failure.reason.contains("the lease has ended"), "{failure:?}");
        assert!(!sh("ip -o addr").contains("10.0.0.50"));
    });
}

#[test]
fn a_link_without_carrier_fails_the_acquire_and_the_monitor() {
    isolated(|| {
        interface("a0", Some("10.0.0.4/24"));
        let mut node = Node::new();
        let vip = address("10.0.0.50", 24, None);
        node.run(Op::Acquire, &vip).runs();
        sh("ip link set peer-a0 down");
        let failure = node.run(Op::Monitor, &vip).failed();
        assert!(failure.reason.contains("a0 has no carrier"), "{failure:?}");
        node.run(Op::Release, &vip).stopped();
        let failure = node.run(Op::Acquire, &vip).failed();
        assert!(failure.reason.contains("no carrier"), "{failure:?}");
        sh("ip link set a0 down");
        assert!(node.run(Op::Acquire, &vip).failed().reason.contains("ip link set a0 up"));
    });
}

#[test]
fn an_address_that_vanished_is_seen_by_the_monitor() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        let mut node = Node::new();
        let vip = address("10.0.0.50", 24, None);
        node.run(Op::Acquire, &vip).runs();
        sh("ip addr del 10.0.0.50/24 dev lan0");
        let answer = node.run(Op::Monitor, &vip).stopped();
        assert!(answer.story().contains("no longer on this node"), "{}", answer.story());
    });
}

#[test]
fn a_version_six_address_answers_at_once_and_is_never_a_source() {
    isolated(|| {
        interface("a0", None);
        sh("ip -6 addr add fd00::4/64 dev a0 nodad");
        let mut node = Node::new();
        let vip = address("fd00::99", 64, None);
        node.run(Op::Acquire, &vip).runs();
        let shown = sh("ip -o -6 addr show dev a0");
        let line = shown.lines().find(|l| l.contains("fd00::99")).unwrap();
        assert!(line.contains("nodad") && line.contains("deprecated"), "{line}");
        assert!(!line.contains("tentative"), "{line}");
        node.run(Op::Monitor, &vip).runs();
        node.run(Op::Release, &vip).stopped();
    });
}

#[test]
fn releasing_the_first_address_of_a_subnet_leaves_another_groups_address_alone() {
    isolated(|| {
        interface("lan0", None);
        sh("echo 0 > /proc/sys/net/ipv4/conf/lan0/promote_secondaries");
        let mut node = Node::new();
        let (first, second) =
            (address("10.0.0.50", 24, Some("lan0")), address("10.0.0.51", 24, Some("lan0")));
        node.run(Op::Acquire, &first).runs();
        node.run(Op::Acquire, &second).runs();
        node.run(Op::Release, &first).stopped();
        let shown = sh("ip -o addr show dev lan0");
        assert!(!shown.contains("10.0.0.50/") && shown.contains("10.0.0.51/24"), "{shown}");
    });
}

#[test]
fn a_probe_that_finds_the_address_on_the_wrong_interface_says_what_to_type() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        interface("lan1", Some("10.1.0.4/24"));
        sh("ip addr add 10.0.0.50/24 dev lan1");
        let mut node = Node::new();
        let failure = node.run(Op::Probe, &address("10.0.0.50", 24, Some("lan0"))).failed();
        assert!(failure.reason.contains("ip address del 10.0.0.50/24 dev lan1"), "{failure:?}");
    });
}

/// Two nodes on one wire; the first is where the test's hands work.
fn wire() -> (Namespaces, Namespaces) {
    let (here, there) = (Namespaces::new(), Namespaces::new());
    let peer = there.tid;
    here.run(move || {
        sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
        sh(&format!("ip link add a0 type veth peer name b0 netns {peer}"));
        sh("ip addr add 10.0.0.4/24 dev a0 && ip link set a0 up");
    });
    there.run(|| {
        sh("ip addr add 10.0.0.5/24 dev b0 && ip link set b0 up");
    });
    (here, there)
}

#[test]
fn the_neighbour_learns_of_the_takeover_at_once_and_hears_it_again() {
    let (here, there) = wire();
    let sniffer = there.run(|| {
        // The address was at another machine until now.
        sh("ip neigh add 10.0.0.50 lladdr 02:00:00:00:00:77 dev b0 nud reachable");
        Sniffer::new(ARP)
    });
    let mut node = here.run(Node::new);
    let node = here.run(move || {
        node.run(Op::Acquire, &address("10.0.0.50", 24, None)).runs();
        node
    });
    let hardware = here.run(|| {
        let shown = sh("ip -o link show a0");
        shown.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    });
    eventually("the neighbour's table changes", || {
        let hardware = hardware.clone();
        there.run(move || sh("ip neigh show 10.0.0.50").contains(&hardware))
    });
    // At once, and after 0.2, 0.5 and 1.2 s; each time in both forms.
    let mut frames = Vec::new();
    let mut heard = |operation: u8| {
        frames.extend(std::iter::from_fn(|| sniffer.next()));
        let ours = |f: &&Vec<u8>| f[7] == operation && f[14..18] == [10, 0, 0, 50] && f[14..18] == f[24..28];
        frames.iter().filter(ours).count()
    };
    eventually("four requests", || heard(1) >= 4);
    eventually("four replies", || heard(2) >= 4);
    assert!(frames.iter().filter(|f| f[7] == 2).all(|f| f[8..14] == f[18..24]), "target hardware is filled");
    here.run(move || drop(node));
}

#[test]
fn nothing_is_announced_once_the_address_is_released_or_the_guard_took_it_away() {
    let (here, there) = wire();
    let sniffer = there.run(|| Sniffer::new(ARP));
    let mut node = here.run(Node::new);
    let node = here.run(move || {
        for vip in ["10.0.0.50", "10.0.0.51"] {
            node.run(Op::Acquire, &address(vip, 24, None)).runs();
        }
        node.run(Op::Release, &address("10.0.0.50", 24, None)).stopped();
        let taken = Holding::address("a0", ip("10.0.0.51"), 24);
        acts::release(&taken, std::time::Instant::now() + Duration::from_secs(1)).unwrap();
        node
    });
    while sniffer.next().is_some() {}
    std::thread::sleep(Duration::from_millis(1400));
    let late: Vec<Vec<u8>> =
        std::iter::from_fn(|| sniffer.next()).filter(|f| f[14..17] == [10, 0, 0]).collect();
    assert!(late.iter().all(|f| f[17] != 50 && f[17] != 51), "{late:?}");
    here.run(move || drop(node));
}

#[test]
fn an_unsolicited_advertisement_with_override_reaches_the_neighbour() {
    let (here, there) = (Namespaces::new(), Namespaces::new());
    let peer = there.tid;
    here.run(move || {
        sh(&format!("ip link add a0 type veth peer name b0 netns {peer}"));
        sh("ip link set a0 up && ip -6 addr add fd00::4/64 dev a0 nodad");
    });
    let sniffer = there.run(|| {
        sh("ip link set b0 up && ip -6 addr add fd00::5/64 dev b0 nodad");
        sh("ip -6 neigh add fd00::99 lladdr 02:00:00:00:00:77 dev b0 nud reachable");
        Sniffer::new(IPV6)
    });
    here.run(|| {
        carrier("a0");
        let act = Act::add_address("a0", ip("fd00::99"), 64);
        acts::perform(&act).unwrap();
        acts::announce("a0", ip("fd00::99")).unwrap();
    });
    eventually("the neighbour's table changes", || {
        !there.run(|| sh("ip -6 neigh show fd00::99")).contains("02:00:00:00:00:77")
    });
    let is_ours =
        |f: &Vec<u8>| f.len() >= 72 && f[6] == 58 && f[40] == 136 && f[7] == 255 && f[44] & 0x20 != 0;
    let frames: Vec<Vec<u8>> = std::iter::from_fn(|| sniffer.next()).filter(is_ours).collect();
    let IpAddr::V6(vip) = ip("fd00::99") else { unreachable!() };
    assert!(frames.iter().any(|f| f[8..24] == vip.octets() && f[48..64] == vip.octets()), "{frames:?}");
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
