//! Two interfaces on one network: swapping, replacing, persistent addresses, watching and asking.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use regent_agents::acts;
use regent_model::action::{NeighbourProbe, Notice, Op, Place, Upkeep};
use regent_model::config::Prefixed;
use regent_model::holding::{Act, Origin};

use crate::support::{Namespaces, Node, PATIENCE, address, carrier, eventually, isolated, sh};

const VIP: &str = "10.0.0.50";

/// A client with a bridge in a namespace of its own; the calling thread has `eth0` and `eth2` on that bridge.
fn network(eth0: &str, eth2: &str) -> Namespaces {
    let client = Namespaces::new();
    client.run(|| {
        sh("ip link add br0 type bridge forward_delay 0 mcast_snooping 0 && ip link set br0 up");
        sh("ip addr add 10.0.0.200/24 dev br0 && ip addr add fd00::200/64 dev br0 nodad");
    });
    for (name, own) in [("eth0", eth0), ("eth2", eth2)] {
        let tid = client.tid;
        sh(&format!("ip link add {name} type veth peer name p-{name} netns {tid} && ip link set {name} up"));
        if !own.is_empty() {
            sh(&format!("ip addr add {own} dev {name}"));
        }
        let port = format!("ip link set p-{name} master br0 && ip link set p-{name} up");
        client.run(move || sh(&port));
        carrier(name);
    }
    client
}

/// The interface's frames get lost, though its carrier stays.
fn deafen(client: &Namespaces, name: &str) {
    let line = format!("bridge link set dev p-{name} state 0");
    client.run(move || sh(&line));
}

/// Nobody listens at that port: the node says so, and can only if both ways lead where they should.
fn reaches_the_node() {
    let at = SocketAddr::new(VIP.parse().unwrap(), 9);
    let error = TcpStream::connect_timeout(&at, Duration::from_secs(10)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{error}");
}

fn place(interface: &str, replaces: Option<&str>) -> Place {
    Place { interface: interface.into(), replaces: replaces.map(prefixed), well: true }
}

fn prefixed(text: &str) -> Prefixed {
    let (address, prefix) = text.split_once('/').unwrap();
    Prefixed { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn on(interface: &str) -> String {
    sh(&format!("ip -o addr show dev {interface}"))
}

#[test]
fn a_swap_moves_the_address_and_who_is_connected_goes_on() {
    isolated(|| {
        // Both in the subnet, as is common today: the kernel would go on to answer over the deaf one.
        let client = network("10.0.0.4/24", "10.0.0.14/24");
        let mut node = Node::new();
        let vip = address(VIP, 24, None);
        node.places = vec![place("eth0", None), place("eth2", None)];
        node.run(Op::Probe, &vip).stopped();
        node.run(Op::Acquire, &vip).runs();
        assert!(on("eth0").contains(VIP) && !on("eth2").contains(VIP));
        let listener = TcpListener::bind((VIP, 7007)).unwrap();
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|n| n == 1) {
                stream.write_all(&byte).unwrap();
            }
        });
        let ask = |stream: &mut TcpStream, byte: u8| {
            stream.write_all(&[byte]).unwrap();
            let mut back = [0];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, [byte]);
        };
        let at = SocketAddr::new(VIP.parse().unwrap(), 7007);
        let connect = move || TcpStream::connect_timeout(&at, Duration::from_secs(10)).unwrap();
        let mut stream = client.run(connect);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        ask(&mut stream, 1);
        deafen(&client, "eth0");
        node.places.reverse();
        let answer = node.run(Op::Swap, &vip).runs();
        assert!(answer.story().contains("move 10.0.0.50/24 from eth0 to eth2"), "{}", answer.story());
        assert!(!on("eth0").contains(VIP) && on("eth2").contains(VIP));
        ask(&mut stream, 2);
        let order = node.guard.log().join("\n");
        let (held, dropped) = (order.find("perform address 10.0.0.50/24 on eth2"), order.find("drop"));
        assert!(held.unwrap() < dropped.unwrap(), "both on the list while it moves:\n{order}");
        node.run(Op::Monitor, &vip).runs();
        node.run(Op::Probe, &vip).runs();
        node.run(Op::Swap, &vip).runs();
        drop(stream);
        echo.join().unwrap();
        node.run(Op::Release, &vip).stopped();
        assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
        let routes = sh("ip route show 10.0.0.0/24");
        assert!(!routes.contains("proto 82"), "the way goes with the address: {routes}");
    });
}

#[test]
fn an_acquire_takes_the_first_interface_that_works() {
    isolated(|| {
        let client = network("10.0.0.4/24", "");
        let mut node = Node::new();
        node.places = vec![place("eth0", None), place("eth2", None)];
        sh("ip link set eth0 down");
        node.run(Op::Acquire, &address(VIP, 24, None)).runs();
        assert!(on("eth2").contains(VIP));
        let notice = node.notice(PATIENCE);
        assert!(
            matches!(&notice, Some(Notice::Carried { interface: Some(i), .. }) if i == "eth2"),
            "{notice:?}"
        );
        let refused = node.run(Op::Swap, &address(VIP, 24, None)).failed();
        assert!(refused.reason.contains("ip link set eth0 up"), "{refused:?}");
        assert!(on("eth2").contains(VIP), "a swap that fails leaves it where it was");
        drop(client);
    });
}

#[test]
fn a_service_address_takes_the_boot_addresss_place_and_gives_it_back() {
    isolated(|| {
        let client = network("10.0.0.4/24", "10.9.0.4/24");
        let mut node = Node::new();
        let vip = address(VIP, 24, None);
        let (eth0, eth2) = (place("eth0", Some("10.0.0.4/24")), place("eth2", Some("10.9.0.4/24")));
        node.places = vec![eth0.clone(), eth2.clone()];
        node.run(Op::Acquire, &vip).runs();
        assert!(on("eth0").contains(VIP) && !on("eth0").contains("10.0.0.4/"), "{}", on("eth0"));
        client.run(reaches_the_node);
        node.places = vec![eth2, eth0];
        node.run(Op::Swap, &vip).runs();
        assert!(on("eth0").contains("10.0.0.4/24") && !on("eth0").contains(VIP), "{}", on("eth0"));
        assert!(on("eth2").contains(VIP) && !on("eth2").contains("10.9.0.4/"), "{}", on("eth2"));
        client.run(reaches_the_node);
        // The next daemon finds it where it is, and adopts it there.
        node.restart_daemon();
        node.run(Op::Probe, &vip).runs();
        node.run(Op::Release, &vip).stopped();
        assert!(on("eth2").contains("10.9.0.4/24") && !on("eth2").contains(VIP), "{}", on("eth2"));
        assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
    });
}

#[test]
fn the_end_of_a_lease_takes_the_address_wherever_it_is_and_brings_the_boot_address_back() {
    isolated(|| {
        let client = network("10.0.0.4/24", "10.9.0.4/24");
        for replace in [false, true] {
            let mut node = Node::new();
            let boot = |text| replace.then_some(text);
            node.places = vec![place("eth0", boot("10.0.0.4/24")), place("eth2", boot("10.9.0.4/24"))];
            node.run(Op::Acquire, &address(VIP, 24, None)).runs();
            node.places.reverse();
            node.run(Op::Swap, &address(VIP, 24, None)).runs();
            // What the guard does when the lease ends: everything on its list.
            let held: Vec<_> = node.guard.list.lock().unwrap().iter().cloned().collect();
            assert_eq!(held.len(), 1, "{held:?}");
            for one in held {
                acts::release(&one.holding, Instant::now() + Duration::from_secs(5)).unwrap();
            }
            assert!(!sh("ip -o addr").contains(VIP));
            assert!(on("eth0").contains("10.0.0.4/24") && on("eth2").contains("10.9.0.4/24"));
        }
        drop(client);
    });
}

#[test]
fn an_act_that_fails_half_way_leaves_nothing_of_it() {
    isolated(|| {
        let client = network("10.0.0.4/24", "10.9.0.4/24");
        // Not as it was put there, so that it does not go when it is asked to.
        sh(&format!("ip addr add {VIP}/16 dev eth0"));
        let failure = acts::perform(&Act::AddAddress {
            interface: "eth2".into(),
            address: VIP.parse().unwrap(),
            prefix: 24,
            broadcast: None,
            label: None,
            replaces: Some(prefixed("10.9.0.4/24")),
            from: Some(Origin { interface: "eth0".into(), replaces: None }),
            leads: true,
        });
        assert!(failure.unwrap_err().contains("it is still there"));
        assert!(on("eth0").contains(VIP), "{}", on("eth0"));
        assert!(on("eth2").contains("10.9.0.4/24") && !on("eth2").contains(VIP), "{}", on("eth2"));
        drop(client);
    });
}

#[test]
fn a_swap_that_the_guard_refuses_leaves_the_address_where_it_was() {
    isolated(|| {
        let client = network("10.0.0.4/24", "10.9.0.4/24");
        let mut node = Node::new();
        let vip = address(VIP, 24, None);
        node.places = vec![place("eth0", None), place("eth2", None)];
        node.run(Op::Acquire, &vip).runs();
        *node.guard.refuses.lock().unwrap() = Some("the lease has ended".into());
        node.places.reverse();
        let failure = node.run(Op::Swap, &vip).failed();
        assert!(failure.reason.contains("the lease has ended"), "{failure:?}");
        assert!(on("eth0").contains(VIP) && !on("eth2").contains(VIP));
        drop(client);
    });
}

#[test]
fn persistent_addresses_are_kept_up_move_with_their_interface_and_go_when_they_are_not_wanted() {
    isolated(|| {
        let client = network("10.0.0.4/24", "10.9.0.4/24");
        let mut node = Node::new();
        let upkeep = |interface: Option<&str>| Upkeep {
            persistent: vec![(prefixed("10.0.0.44/24"), interface.map(str::to_owned))],
            boot: vec![(prefixed("10.9.0.4/24"), "eth2".into())],
            service: vec![VIP.parse().unwrap()],
            ..Upkeep::default()
        };
        let well = |node: &mut Node| {
            let notice = node.notice(PATIENCE);
            assert!(matches!(notice, Some(Notice::Well { .. })), "{notice:?}");
        };
        node.hands().keep(upkeep(None));
        well(&mut node);
        assert!(on("eth0").contains("10.0.0.44/24"), "where its subnet is: {}", on("eth0"));
        sh("ip addr del 10.9.0.4/24 dev eth2");
        node.hands().keep(upkeep(Some("eth2")));
        well(&mut node);
        assert!(on("eth2").contains("10.0.0.44/24") && !on("eth0").contains("10.0.0.44/"), "{}", on("eth2"));
        assert!(on("eth2").contains("10.9.0.4/24"), "a boot address that was lost is back");
        // Where a service address has the boot address's place, it stays away.
        sh("ip addr del 10.9.0.4/24 dev eth2 && ip addr add 10.0.0.50/24 dev eth2");
        node.restart_daemon();
        assert!(on("eth2").contains("10.0.0.44/24"), "it stays when the daemon goes");
        node.hands().keep(upkeep(Some("eth2")));
        well(&mut node);
        assert!(!on("eth2").contains("10.9.0.4/24"));
        node.hands().keep(Upkeep::default());
        well(&mut node);
        assert!(!sh("ip -o addr").contains("10.0.0.44/"));
        assert!(on("eth0").contains("10.0.0.4/24"), "what is not ours stays");
        node.hands().keep(Upkeep {
            persistent: vec![(prefixed("10.0.0.44/24"), Some("eth7".into()))],
            ..Upkeep::default()
        });
        let notice = node.notice(PATIENCE);
        assert!(
            matches!(&notice, Some(Notice::Trouble { text, .. }) if text.contains("10.0.0.44/24")),
            "{notice:?}"
        );
        drop(client);
    });
}

#[test]
fn the_state_of_an_interface_is_told_when_it_changes() {
    isolated(|| {
        let client = network("10.0.0.4/24", "");
        let mut node = Node::new();
        let watch = ["eth0", "eth7"].map(str::to_owned).to_vec();
        node.hands().keep(Upkeep { watch, ..Upkeep::default() });
        let mut links = |wanted: &str, is_so: &dyn Fn(&Option<String>) -> bool| {
            eventually(wanted, || {
                matches!(node.notice(Duration::from_secs(10)), Some(Notice::Link { interface, fault })
                    if wanted.contains(&interface) && is_so(&fault))
            });
        };
        links("eth0 works", &|fault| fault.is_none());
        links("eth7 is missing", &|fault| fault.as_ref().is_some_and(|f| f.contains("no interface eth7")));
        client.run(|| sh("ip link set p-eth0 down"));
        links("eth0 has no carrier", &|fault| fault.as_ref().is_some_and(|f| f.contains("no carrier")));
        client.run(|| sh("ip link set p-eth0 up"));
        links("eth0 works again", &|fault| fault.is_none());
        sh("ip link set eth0 down");
        links("eth0 is off", &|fault| fault.as_ref().is_some_and(|f| f.contains("ip link set eth0 up")));
    });
}

#[test]
fn neighbours_answer_where_the_interface_hears_and_not_where_it_is_deaf() {
    isolated(|| {
        let client = network("10.0.0.4/24", "");
        let mut node = Node::new();
        let mut ask = |targets: &[&str]| {
            node.hands().ask_neighbours(NeighbourProbe {
                network: 3,
                interfaces: vec!["eth0".into(), "eth2".into()],
                own: None,
                targets: targets.iter().map(|t| t.parse().unwrap()).collect(),
            });
            match node.notice(Duration::from_secs(10)) {
                Some(Notice::Neighbours { network: 3, answered }) => {
                    answered.into_iter().map(|(_, answered)| answered).collect::<Vec<_>>()
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ask(&["10.0.0.200"]), [true, true]);
        assert_eq!(ask(&["10.0.0.199"]), [false, false]);
        eventually("IPv6 works on both", || ask(&["fd00::200"]) == [true, true]);
        deafen(&client, "eth0");
        assert_eq!(ask(&["10.0.0.199", "10.0.0.200"]), [false, true]);
        assert_eq!(ask(&["fd00::200"]), [false, true]);
        sh("ip link set eth2 down");
        assert_eq!(ask(&["10.0.0.200"]), [false, false]);
    });
}
