//! Clients that wait in the middle of a request when the address that they wait for goes elsewhere. They have no
//! keepalive, and nothing left to send: without a word they would wait for ever.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use regent_model::journal::Entry;

use crate::cluster::{Cluster, find, head};

/// An address whose clients are told, and one whose clients are not.
const TOLD: &str = "10.77.0.100";
const QUIET: &str = "10.77.0.101";
const OWN: u16 = 7421;
/// Of somebody who listens everywhere and is none of the group's.
const STRANGER: u16 = 7422;
const SOON: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3);

fn config() -> String {
    let server = |name: &str, address: &str| {
        format!(
            "\n[[group.application]]\nname = \"{name}\"\nforeground = true\n\
             start = \"exec regent lab ledger serve --listen {address}:{OWN} --file /tmp/{name}\"\n"
        )
    };
    head("fast")
        + "\n[[group]]\nname = \"front\"\nnodes = [\"lx4\", \"lx5\"]\npolicy = \"rotating\"\n"
        + &format!("[[group.address]]\naddress = \"{TOLD}/24\"\n")
        + &format!("[[group.address]]\naddress = \"{QUIET}/24\"\ntickle = false\n")
        + &server("told", TOLD)
        + &server("quiet", QUIET)
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// How a client's wait ended, and when.
type End = (std::io::Result<usize>, Duration);

/// A client that has sent half a request, which arrived, and waits.
fn waiting(cluster: &Cluster, address: &str, port: u16) -> Receiver<End> {
    let at: SocketAddr = format!("{address}:{port}").parse().unwrap();
    let (tell, told) = channel();
    let (connected, is_connected) = channel();
    let wait = move || {
        let mut client = TcpStream::connect(at).unwrap();
        client.write_all(b"half a requ").unwrap();
        connected.send(()).unwrap();
        let read = client.read(&mut [0; 16]);
        let _the_test_has_ended = tell.send((read, wall()));
    };
    drop(cluster.lab.thread_on("client", "waiting", wait).unwrap());
    is_connected.recv_timeout(Duration::from_secs(5)).expect("it is served");
    told
}

/// How many connections of the address everybody knows of.
fn recorded(cluster: &Cluster, machine: &str, address: &str) -> Option<u32> {
    let status = cluster.status_of(machine)?;
    find(&status, "front").resources.iter().find(|r| r.name.as_str() == address)?.connections
}

fn wait_recorded(cluster: &Cluster, machine: &str, count: u32) {
    cluster.wait_for("the peer knows who is connected", |_| recorded(cluster, machine, TOLD) == Some(count));
}

fn told_of<'a>(entries: &'a [Entry], node: &str, what: &str) -> Option<&'a Entry> {
    entries.iter().rev().find(|e| e.node.as_str() == node && e.text.contains(what))
}

#[test]
fn a_client_that_waits_in_the_middle_of_a_request_hears_of_a_takeover_and_of_a_move_at_once() {
    let cluster = Cluster::up("tickle", &config());
    cluster.online_on("front", "lx4");
    let (told, quiet) = (waiting(&cluster, TOLD, OWN), waiting(&cluster, QUIET, OWN));
    wait_recorded(&cluster, "lx5", 1);
    assert_eq!(recorded(&cluster, "lx5", QUIET), None, "nothing is recorded where it is switched off");
    power_cut(&cluster, &told, &quiet);
    cluster.lab.on("lx4").unwrap();
    cluster.is_up("lx4");
    planned_move(&cluster);
}

fn power_cut(cluster: &Cluster, told: &Receiver<End>, quiet: &Receiver<End>) {
    cluster.lab.off("lx4").unwrap();
    cluster.online_on("front", "lx5");
    let (ended, at) = told.recv_timeout(LONG).unwrap_or_else(|_| panic!("it waits\n{}", cluster.evidence()));
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let entries = cluster.events("lx5");
    let up = told_of(&entries, "lx5", &format!("address {TOLD} is up")).expect("the takeover is told");
    let since = at.saturating_sub(Duration::from_millis(up.wall_ms));
    assert!(since < SOON, "{since:?} after the address was up\n{}", cluster.evidence());
    let said = told_of(&entries, "lx5", &format!("reset 1 connection of {TOLD} that lx4 had"));
    assert!(said.is_some_and(|e| e.took.is_some()), "{}", cluster.evidence());
    assert!(quiet.recv_timeout(LONG).is_err(), "without being told it waits");
}

/// The group's own applications say goodbye when they are stopped; a stranger on the node does not.
fn planned_move(cluster: &Cluster) {
    let (tell, accepted) = channel();
    let stranger = move || {
        let listener = TcpListener::bind(("0.0.0.0", STRANGER)).unwrap();
        for client in listener.incoming().take(2) {
            tell.send(client.unwrap()).unwrap();
        }
    };
    drop(cluster.lab.thread_on("lx5", "stranger", stranger).unwrap());
    std::thread::sleep(Duration::from_millis(200));
    let (told, quiet) = (waiting(cluster, TOLD, STRANGER), waiting(cluster, QUIET, STRANGER));
    let _held: Vec<TcpStream> = accepted.iter().take(2).collect();
    cluster.order("lx4", &["group", "move", "front", "lx4"]);
    cluster.online_on("front", "lx4");
    let (ended, at) = told.recv_timeout(LONG).unwrap_or_else(|_| panic!("it waits\n{}", cluster.evidence()));
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let entries = cluster.events("lx5");
    let reset = told_of(&entries, "lx5", &format!("reset 1 connection of {TOLD}")).expect("it is told");
    assert_eq!(reset.kind, "step", "it was reset before the address went: {reset:?}");
    let gone = told_of(&entries, "lx5", &format!("address {TOLD} is down")).expect("the move is told");
    assert!(at <= Duration::from_millis(gone.wall_ms) + SOON, "{}", cluster.evidence());
    assert!(quiet.recv_timeout(LONG).is_err(), "without being told it waits");
}
