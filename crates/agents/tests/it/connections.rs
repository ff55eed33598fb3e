//! Clients that wait in the middle of a request, when the address that they wait for moves away.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use regent_model::action::{Notice, Op, Resource};
use regent_model::connection::{Change, Connection, ServiceAddress, TickleRun, Tickled};
use regent_model::{GroupName, action::Outcome};
use rustix::net::{AddressFamily, SocketType};

use crate::support::{Namespaces, Node, PATIENCE, address, carrier, sh};

/// Much longer than what is to be seen takes, and much shorter than a keepalive: who has heard nothing by then hangs.
const HANGS: Duration = Duration::from_secs(2);
/// What is to be seen is waited for as long as this: longer than the longest time between two looks, also where the
/// machine has much else to do.
const LONG: Duration = PATIENCE;

/// A client's network, and two nodes on it that can have the same address one after the other.
struct Net {
    client: Namespaces,
    nodes: [Namespaces; 2],
}

impl Net {
    fn new() -> Self {
        let net = Self { client: Namespaces::new(), nodes: [Namespaces::new(), Namespaces::new()] };
        let tids = [net.nodes[0].tid, net.nodes[1].tid];
        net.client.run(move || {
            sh("ip link add lan type bridge && ip link set lan up");
            sh("ip addr add 10.0.0.9/24 dev lan && ip addr add fd00::9/64 dev lan nodad");
            for (at, tid) in tids.into_iter().enumerate() {
                sh(&format!("ip link add port{at} type veth peer name eth0 netns {tid}"));
                sh(&format!("ip link set port{at} master lan && ip link set port{at} up"));
            }
        });
        for (at, node) in net.nodes.iter().enumerate() {
            node.run(move || {
                sh(&format!(
                    "ip addr add 10.0.0.{0}/24 dev eth0; ip addr add fd00::{0}/64 dev eth0 nodad",
                    at + 4
                ));
                sh("ip link set eth0 up");
                carrier("eth0");
            });
        }
        net
    }

    /// A client that has sent a request to `service`, knows that it arrived, and waits for the answer. What becomes of
    /// its wait, and when, comes later.
    fn waits_in_a_request(&self, service: SocketAddr) -> Waiting {
        waits_on(&self.client, service)
    }

    /// Nothing goes between the first node and the others any more; its kernel cannot say goodbye either.
    fn cut_first(&self) {
        self.client.run(|| {
            sh("ip link del port0");
        });
    }
}

/// The client's own address, and what becomes of its wait, and when.
type Waiting = (SocketAddr, mpsc::Receiver<(ErrorKind, Instant)>);

/// A client as [`Net::waits_in_a_request`] has it, on a machine of the net.
fn waits_on(machine: &Namespaces, service: SocketAddr) -> Waiting {
    waits_from(machine, None, service)
}

/// The same from one of the machine's addresses, or from the one that its kernel chooses.
fn waits_from(machine: &Namespaces, own: Option<IpAddr>, service: SocketAddr) -> Waiting {
    let (tell, told) = mpsc::channel();
    let peer = machine.run(move || {
        let mut client = connected(own, service);
        client.write_all(b"a request").unwrap();
        let peer = client.local_addr().unwrap();
        std::thread::spawn(move || {
            let kind = match client.read(&mut [0; 16]) {
                Ok(_) => ErrorKind::UnexpectedEof,
                Err(error) => error.kind(),
            };
            let _the_test_has_ended = tell.send((kind, Instant::now()));
        });
        peer
    });
    (peer, told)
}

/// Tried until it is no "no route to host": the kernel puts the route of a new IPv6 address in place a moment after the
/// address itself, in a worker of its own.
fn connected(own: Option<IpAddr>, service: SocketAddr) -> TcpStream {
    let until = Instant::now() + LONG;
    loop {
        match connect(own, service) {
            Err(error) if error.kind() == ErrorKind::HostUnreachable && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            tried => return tried.unwrap(),
        }
    }
}

fn connect(own: Option<IpAddr>, service: SocketAddr) -> std::io::Result<TcpStream> {
    let Some(own) = own else { return TcpStream::connect(service) };
    let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(own, 0))?;
    rustix::net::connect(&socket, &service)?;
    Ok(socket.into())
}

fn resource(service: SocketAddr, tickle: bool) -> Resource {
    let prefix = if service.is_ipv4() { 24 } else { 64 };
    match address(&service.ip().to_string(), prefix, Some("eth0")) {
        Resource::Address(mut config) => {
            std::sync::Arc::make_mut(&mut config).tickle = tickle;
            Resource::Address(config)
        }
        other => other,
    }
}

fn of(service: SocketAddr) -> ServiceAddress {
    ServiceAddress { group: GroupName::new("g1").unwrap(), address: service.ip() }
}

/// The first node has the address, and a server on it that takes one request and never answers.
fn serve(net: &Net, service: SocketAddr, wild: bool) -> (Node, mpsc::Receiver<TcpStream>) {
    net.nodes[0].run(move || {
        let mut node = Node::new();
        node.run(Op::Acquire, &resource(service, true)).runs();
        let at: SocketAddr =
            if wild { (std::net::Ipv6Addr::UNSPECIFIED, service.port()).into() } else { service };
        let listener = TcpListener::bind(at).unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                client.read_exact(&mut [0; 9]).unwrap();
                if tell.send(client).is_err() {
                    return;
                }
            }
        });
        (node, told)
    })
}

fn change_within(node: &mut Node, time: Duration) -> Option<Change> {
    loop {
        match node.notice(time)? {
            Notice::Connections { change, .. } => return Some(change),
            _ => continue,
        }
    }
}

fn next_change(node: &mut Node) -> Change {
    change_within(node, LONG).expect("it is told what has changed")
}

fn tickled(node: &mut Node) -> Tickled {
    loop {
        if let Notice::Tickled(tickled) = node.notice(LONG).expect("it says what it did") {
            return tickled;
        }
    }
}

/// Where a client runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// On a machine of its own.
    Itself,
    /// On the node that is to have the address next.
    NextOwner,
}

/// Power cut, takeover: the client's wait ends when the new owner speaks, and not before.
fn taken_over(service: &str, wild: bool, on: On) {
    let service: SocketAddr = service.parse().unwrap();
    let net = Net::new();
    let client = if on == On::Itself { &net.client } else { &net.nodes[1] };
    let (first, requests) = serve(&net, service, wild);
    let recorded = of(service);
    let mut first = net.nodes[0].run(move || {
        first.hands().record(vec![recorded]);
        first
    });
    let change = next_change(&mut first);
    assert!(change.whole && change.opened.is_empty(), "{change:?}");
    let (peer, wait) = waits_on(client, service);
    let _request = requests.recv().unwrap();
    let change = next_change(&mut first);
    assert_eq!(change.opened, [Connection { peer, port: service.port() }]);

    net.cut_first();
    let (mut second, up) = net.nodes[1].run(move || {
        let mut node = Node::new();
        node.run(Op::Acquire, &resource(service, true)).runs();
        (node, Instant::now())
    });
    assert!(wait.recv_timeout(HANGS).is_err(), "without a word the client waits");
    let begun = Instant::now();
    net.nodes[1].run(move || {
        second.hands().tickle(TickleRun { of: of(service), connections: change.opened });
        let done = tickled(&mut second);
        assert_eq!((done.sent, &done.error), (1, &None), "{done:?}");
        let (kind, at) = wait.recv_timeout(LONG).expect("the client hears of it");
        assert_eq!(kind, ErrorKind::ConnectionReset);
        assert!(at > begun, "only the new owner tells it");
        second.run(Op::Release, &resource(service, true)).stopped();
    });
    assert!(up < begun);
    net.nodes[0].run(move || drop(first));
}

#[test]
fn a_client_that_waits_is_back_at_once_after_the_new_owner_has_spoken() {
    taken_over("10.0.0.99:7", false, On::Itself);
}

#[test]
fn the_same_over_the_newer_protocol() {
    taken_over("[fd00::99]:7", false, On::Itself);
}

#[test]
fn the_same_with_a_server_that_listens_everywhere_for_both() {
    taken_over("10.0.0.99:7", true, On::Itself);
}

#[test]
fn a_client_on_the_very_node_that_takes_the_address_over_is_back_at_once_too() {
    taken_over("10.0.0.99:7", false, On::NextOwner);
    taken_over("[fd00::99]:7", false, On::NextOwner);
}

#[test]
fn a_release_resets_a_client_on_the_node_itself_whichever_of_its_addresses_it_has() {
    for (service, own) in [("10.0.0.99:7", "10.0.0.4"), ("[fd00::99]:7", "fd00::4")] {
        let service: SocketAddr = service.parse().unwrap();
        let net = Net::new();
        let (mut node, requests) = serve(&net, service, false);
        // From the service address itself both ends are the address's; the node's own is not.
        let (_, wait) = waits_from(&net.nodes[0], Some(service.ip()), service);
        let (_, other) = waits_from(&net.nodes[0], Some(own.parse().unwrap()), service);
        let _requests = [requests.recv().unwrap(), requests.recv().unwrap()];
        let story = net.nodes[0].run(move || {
            let released = node.run(Op::Release, &resource(service, true)).stopped();
            assert!(node.guard.holds_nothing());
            released.story()
        });
        assert!(story.contains(&format!("of {}", service.ip())) && story.contains("reset "), "{story}");
        for wait in [wait, other] {
            let (kind, _) = wait.recv_timeout(LONG).expect("the client hears of it");
            assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted), "{kind:?}");
        }
    }
}

#[test]
fn a_release_resets_who_is_connected_before_the_address_goes() {
    for (service, tickle) in [("10.0.0.99:7", true), ("[fd00::99]:7", true), ("10.0.0.99:7", false)] {
        let service: SocketAddr = service.parse().unwrap();
        let net = Net::new();
        let (mut node, requests) = serve(&net, service, true);
        let (peer, wait) = net.waits_in_a_request(service);
        let _request = requests.recv().unwrap();
        let story = net.nodes[0].run(move || {
            let released = node.run(Op::Release, &resource(service, tickle)).stopped();
            assert!(node.guard.holds_nothing());
            released.story()
        });
        if tickle {
            assert!(story.contains(&format!("reset 1 connection of {}", service.ip())), "{story}");
            assert!(story.contains(&peer.to_string()), "{story}");
            let (kind, _) = wait.recv_timeout(LONG).expect("the client hears of it");
            assert_eq!(kind, ErrorKind::ConnectionReset);
        } else {
            assert!(!story.contains("reset"), "{story}");
            assert!(wait.recv_timeout(HANGS).is_err(), "nobody tells it");
        }
    }
}

#[test]
fn what_a_server_said_last_still_arrives() {
    let service: SocketAddr = "10.0.0.99:7".parse().unwrap();
    let net = Net::new();
    let (mut node, requests) = serve(&net, service, false);
    let mut client = net.client.run(move || {
        let mut client = connected(None, service);
        client.write_all(b"a request").unwrap();
        client
    });
    let mut server = requests.recv().unwrap();
    net.nodes[0].run(move || {
        server.write_all(&[7; 100_000]).unwrap();
        drop(server);
        node.run(Op::Release, &resource(service, true)).stopped();
    });
    let mut heard = Vec::new();
    let _reset_or_end = client.read_to_end(&mut heard);
    assert_eq!(heard.len(), 100_000);
}

#[test]
fn nothing_is_sent_from_an_address_that_is_not_here() {
    let service: SocketAddr = "10.0.0.99:7".parse().unwrap();
    let net = Net::new();
    net.nodes[0].run(move || {
        let mut node = Node::new();
        let peer = "10.0.0.9:4000".parse().unwrap();
        node.hands().tickle(TickleRun { of: of(service), connections: vec![Connection { peer, port: 7 }] });
        let done = tickled(&mut node);
        assert!(done.sent == 0 && done.error.is_some(), "{done:?}");
    });
}

#[test]
fn recording_is_told_by_differences_and_ends_when_told_to() {
    let service: SocketAddr = "10.0.0.99:7".parse().unwrap();
    let net = Net::new();
    let (mut node, requests) = serve(&net, service, false);
    let node_thread = net.nodes[0].run(move || {
        node.hands().record(vec![of(service)]);
        assert!(next_change(&mut node).whole);
        node
    });
    node = node_thread;
    let (first, _one) = net.waits_in_a_request(service);
    let _held = requests.recv().unwrap();
    assert_eq!(next_change(&mut node).opened[0].peer, first);
    let (second, _two) = net.waits_in_a_request(service);
    let closing = requests.recv().unwrap();
    let change = next_change(&mut node);
    assert_eq!((change.whole, change.opened.len(), change.opened[0].peer), (false, 1, second));
    drop(closing);
    let change = next_change(&mut node);
    assert_eq!((change.opened.len(), change.closed[0].peer), (0, second));
    node.hands().record(Vec::new());
    let (_, _three) = net.waits_in_a_request(service);
    let _held_too = requests.recv().unwrap();
    assert_eq!(change_within(&mut node, HANGS), None);
    // It begins anew with all there are.
    let mut node = net.nodes[0].run(move || {
        node.hands().record(vec![of(service)]);
        node
    });
    let change = next_change(&mut node);
    assert_eq!((change.whole, change.opened.len()), (true, 2));
    net.nodes[0].run(move || {
        assert_eq!(node.run(Op::Release, &resource(service, true)).outcome, Outcome::Stopped);
    });
}
