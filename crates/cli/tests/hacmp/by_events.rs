//! The servers started and stopped around cluster events instead of as application servers.

use crate::cell::{cell_of, until_it_works};
use crate::clients::Clients;
use crate::cluster::find;
use crate::journal::{Chapter, until_in_order};
use crate::machine::{process_of, sh};

#[test]
fn the_servers_are_started_and_stopped_around_node_down_and_node_up_in_the_guides_order() {
    let cluster = cell_of("evt", "hot-standby-events", None);
    // The group came up by an order, with no event around it: the first start is the operator's, with the group's words.
    sh(&cluster, "lx4", "regent env dce -- /usr/local/lib/hacmp/both-server.start");
    let clients = Clients::of_dce(&cluster, "lx4");
    clients.go_on(&cluster, "at the start");

    // A crash: no stop script anywhere, and the standby starts what it has taken over.
    let chapter = Chapter::begin();
    cluster.lab.off("lx4").unwrap();
    cluster.online_on("dce", "lx5");
    clients.go_on(&cluster, "after the power cut");
    until_it_works(&cluster, "lx5", "DFS", "/usr/local/lib/hacmp/status.dfs");
    let started = ["10.77.0.100 is up", "Finished Starting DCE", "Finished Starting DFS"];
    until_in_order(|| chapter.everything(&cluster, "lx5"), &started);
    let told = chapter.everything(&cluster, "lx5");
    assert!(!told.iter().any(|t| t.contains("Stopping DCE")), "no stop script after a crash: {told:#?}");

    // Reintegration: stopped on the standby before it gives anything back, started on the owner when it has all.
    let chapter = Chapter::begin();
    cluster.lab.on("lx4").unwrap();
    cluster.online_on("dce", "lx4");
    clients.go_on(&cluster, "after the reintegration");
    let stopped = ["Finished Stopping DFS", "Finished Stopping DCE", "10.77.0.100 is down"];
    until_in_order(|| chapter.everything(&cluster, "lx5"), &stopped);
    until_it_works(&cluster, "lx4", "DFS", "/usr/local/lib/hacmp/status.dfs");
    until_in_order(|| chapter.everything(&cluster, "lx4"), &started);
    assert_eq!(process_of(&cluster, "lx5", "krb5kdc"), None);

    // The standby's own end disturbs nothing.
    let before = process_of(&cluster, "lx4", "krb5kdc").unwrap();
    cluster.lab.off_and_wait("lx5").unwrap();
    cluster.lab.on("lx5").unwrap();
    cluster.is_up("lx5");
    clients.go_on(&cluster, "after the standby was away");
    assert_eq!(process_of(&cluster, "lx4", "krb5kdc"), Some(before));

    // With takeover: stopped on the owner before the standby begins.
    let chapter = Chapter::begin();
    cluster.order("lx4", &["node", "stop", "--takeover"]);
    cluster.online_on("dce", "lx5");
    clients.go_on(&cluster, "after a stop with takeover");
    assert_eq!(find(&cluster.status().unwrap(), "dce").state, "online");
    let moved = [
        "Finished Stopping DCE",
        "lx4: address 10.77.0.100 is down",
        "lx5: address 10.77.0.100 is up",
        "Finished Starting DCE",
    ];
    until_in_order(|| chapter.everything(&cluster, "lx5"), &moved);
    clients.lost_nothing(&cluster);
    cluster.one_writer();
}
