//! What must not move a group: one network lost, the daemon killed, a short pause.

use std::time::Duration;

use regent_lab::probe::{Probe, Protocol};

use crate::cluster::{Cluster, SERVICE, find, head, ledger_group};
use crate::machine::{DAEMON, process_of};

#[test]
fn losing_one_network_killing_the_daemon_and_pausing_it_briefly_move_nothing() {
    let cluster = Cluster::up("calm", &(head("normal") + &ledger_group("cascading", "\"fenced\"")));
    cluster.online_on("ledger", "lx4");
    let epoch = cluster.status().unwrap().groups[0].epoch;
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");

    // The network that the client is not on: it must not notice anything.
    let to = format!("{SERVICE}:{}", regent_lab::ledger::LEDGER_PORT).parse().unwrap();
    let probe = Probe::start(&cluster.lab, "client", to, Protocol::Udp, Duration::from_millis(5)).unwrap();
    cluster.lab.cut("lx4", Some(1)).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let seen = cluster.wait_for("the lost network shown", |s| {
        s.node.as_str() != "lx4"
            && s.nodes.iter().any(|n| n.name.as_str() == "lx4" && n.networks[1].heard == Some(false))
    });
    assert_eq!(find(&seen, "ledger").state, "online");
    cluster.lab.heal("lx4", Some(1)).unwrap();

    let before = process_of(&cluster, "lx4", DAEMON).unwrap();
    let _ = cluster.lab.output("lx4", &["kill", "-9", &before]).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let after = process_of(&cluster, "lx4", DAEMON).unwrap();
    assert!(after != before, "the daemon was not killed\n{}", cluster.evidence());

    let _ = cluster.lab.output("lx4", &["kill", "-STOP", &after]).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let _ = cluster.lab.output("lx4", &["kill", "-CONT", &after]).unwrap();
    std::thread::sleep(Duration::from_secs(1));

    let series = probe.stop();
    let gap = series.longest_gap();
    let status = cluster.wait_for("the group online", |s| find(s, "ledger").state == "online");
    assert_eq!(find(&status, "ledger").epoch, epoch, "it moved\n{}", cluster.evidence());
    // A busy machine may delay an answer; a restart of the ledger could not hide below this.
    assert!(
        gap.as_ref().is_none_or(|g| g.ns() < 400_000_000),
        "the client saw a gap: {gap:?}\n{}",
        cluster.evidence()
    );
    cluster.nothing_lost(writer);
}

#[test]
fn an_application_that_dies_is_restarted_where_it_is() {
    let cluster = Cluster::up("appk", &(head("normal") + &ledger_group("cascading", "\"fenced\"")));
    cluster.online_on("ledger", "lx4");
    let epoch = cluster.status().unwrap().groups[0].epoch;
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    let ledger = process_of(&cluster, "lx4", "regent lab ledger serve").unwrap();
    let _ = cluster.lab.output("lx4", &["kill", "-9", &ledger]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    cluster.written_on(&writer, "lx4");
    let status = cluster.wait_for("the group online", |s| find(s, "ledger").state == "online");
    assert_eq!(find(&status, "ledger").epoch, epoch, "a local restart begins no epoch");
    let told = cluster.events("lx4");
    assert!(told.iter().any(|e| e.kind == "exited"), "the journal does not tell\n{}", cluster.evidence());
    cluster.nothing_lost(writer);
}
