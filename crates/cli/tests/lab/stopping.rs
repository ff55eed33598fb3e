//! The three ways in which a node stops, and how it comes back.

use crate::cluster::{Cluster, find, head, ledger_group};

fn has_stopped(cluster: &Cluster, node: &str) {
    cluster.wait_for(&format!("{node} stopped"), |s| {
        s.nodes.iter().any(|n| n.name.as_str() == node && n.state == "stopped")
    });
}

#[test]
fn a_node_stops_gracefully_with_takeover_and_forced_and_comes_back_each_time() {
    let cluster = Cluster::up("stop", &(head("normal") + &ledger_group("cascading", "\"fenced\"")));
    cluster.online_on("ledger", "lx4");
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");

    // Graceful: released, nobody takes over, and it returns with its node.
    cluster.order("lx4", &["node", "stop", "--graceful"]);
    has_stopped(&cluster, "lx4");
    let status = cluster.wait_for("the group at rest", |s| find(s, "ledger").owner.is_none());
    assert_eq!(find(&status, "ledger").state, "offline");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(find(&cluster.status().unwrap(), "ledger").owner.is_none(), "nobody may take over");
    cluster.order("lx4", &["node", "start"]);
    cluster.online_on("ledger", "lx4");
    cluster.written_on(&writer, "lx4");

    // With takeover: released here, then acquired there; cascading brings it back with its node.
    cluster.order("lx4", &["node", "stop", "--takeover"]);
    cluster.online_on("ledger", "lx5");
    cluster.written_on(&writer, "lx5");
    has_stopped(&cluster, "lx4");
    cluster.order("lx4", &["node", "start"]);
    cluster.online_on("ledger", "lx4");
    cluster.written_on(&writer, "lx4");

    // Forced: everything stays up, unmanaged, nobody takes over, and it is adopted at the next start.
    let before = writer.count().0;
    cluster.order("lx4", &["node", "stop", "--forced"]);
    cluster.wait_for("the group unmanaged", |s| find(s, "ledger").state == "unmanaged");
    std::thread::sleep(std::time::Duration::from_secs(3));
    cluster.written_on(&writer, "lx4");
    assert!(writer.count().0 > before, "the service must go on");
    assert!(cluster.status_of("lx4").is_none(), "no daemon may be left");
    cluster.order("lx4", &["node", "start"]);
    cluster.online_on("ledger", "lx4");
    cluster.written_on(&writer, "lx4");
    let told = cluster.events("lx4");
    let adopted = told.iter().filter(|e| e.kind == "adopt").count();
    assert!(adopted >= 3, "adopted {adopted} of 3 resources\n{}", cluster.evidence());

    // Standby: it votes, but owns nothing.
    cluster.order("lx4", &["node", "standby"]);
    cluster.online_on("ledger", "lx5");
    cluster.order("lx4", &["node", "start"]);
    cluster.online_on("ledger", "lx4");

    cluster.nothing_lost(writer);
    cluster.one_writer();
}
