//! The cluster's key is changed under load, with a takeover in the middle, and a node that is down comes back.

use crate::cluster::{Cluster, find, head, ledger_group};
use crate::machine::sh;

/// Which keys the machine has by its file: their numbers, and whether each is used.
fn keys(cluster: &Cluster, machine: &str) -> String {
    sh(cluster, machine, "cut -d' ' -f1,2 /etc/regent/key | tr '\\n' ' '")
}

fn key_is(cluster: &Cluster, number: u32, machines: &[&str]) {
    cluster.wait_for(&format!("key number {number}"), |s| {
        s.key_change.is_none() && machines.iter().all(|m| keys(cluster, m) == format!("{number} use"))
    });
}

#[test]
fn the_key_is_changed_under_load_with_a_takeover_in_the_middle_and_a_node_that_was_down_is_given_it() {
    let cluster = Cluster::up("key", &(head("normal") + &ledger_group("cascading", "\"fenced\"")));
    cluster.online_on("ledger", "lx4");
    let epoch = find(&cluster.status().unwrap(), "ledger").epoch;
    let (writer, observer) = (cluster.writer(1), cluster.watch());
    cluster.written_on(&writer, "lx4");
    ["lx5", "lx4"].iter().for_each(|node| cluster.is_up(node));
    let said = cluster.order("lx4", &["key", "rotate"]);
    assert!(said.contains("number 1"), "{said}");
    key_is(&cluster, 1, &["lx4", "lx5", "wit"]);
    cluster.written_on(&writer, "lx4");
    assert_eq!(find(&cluster.status().unwrap(), "ledger").epoch, epoch, "no group notices");
    // It stands in the middle, because the witness's daemon does, when the owner that ordered it is lost.
    sh(&cluster, "wit", "kill -STOP $(cat /run/regent/daemon.lock)");
    sh(
        &cluster,
        "lx4",
        "timeout 5 regent key rotate > /tmp/said 2>&1; grep -q 'waits for wit' /tmp/said || regent key status | grep 'waits for wit'",
    );
    cluster.lab.off("lx4").unwrap();
    sh(&cluster, "wit", "kill -CONT $(cat /run/regent/daemon.lock)");
    cluster.online_on("ledger", "lx5");
    cluster.written_on(&writer, "lx5");
    let stands = cluster.wait_for("a change that waits for lx4", |s| {
        s.key_change
            .as_ref()
            .is_some_and(|c| c.silent.iter().any(|n| n.as_str() == "lx4") && c.waits_for.is_empty())
    });
    let next = stands.key_change.and_then(|change| change.next).unwrap_or_default();
    assert!(next.contains("regent key rotate --without lx4"), "{next}");
    let shown = cluster.order("lx5", &["status"]);
    assert!(shown.contains("is being changed") && shown.contains("--without lx4"), "{shown}");
    cluster.order("lx5", &["key", "rotate", "--without", "lx4"]);
    key_is(&cluster, 2, &["lx5", "wit"]);
    cluster.written_on(&writer, "lx5");
    cluster.lab.on("lx4").unwrap();
    cluster.is_up("lx4");
    key_is(&cluster, 2, &["lx4", "lx5", "wit"]);
    // The group goes home, and is not read on its way.
    cluster.online_on("ledger", "lx4");
    cluster.written_on(&writer, "lx4");
    cluster.one_address(observer);
    cluster.nothing_lost(writer);
    cluster.one_writer();
}
