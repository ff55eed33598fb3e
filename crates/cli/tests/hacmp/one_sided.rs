//! One-sided takeover: the cell comes and goes beside what the other node does for itself.

use crate::cell::{bound_to_the_service_address, cell_of, only_live_endpoints};
use crate::clients::Clients;
use crate::cluster::{Cluster, find, owner};
use crate::journal::{Chapter, in_order};
use crate::machine::{LEDGER, process_of, sh};
use crate::stops;

#[test]
fn one_sided_takeover_brings_the_cell_to_a_node_at_work_and_nobody_takes_over_for_that_one() {
    let cluster = cell_of("ost", "one-sided-takeover", None);
    cluster.order("lx5", &["group", "restart", "work"]);
    cluster.online_on("work", "lx5");
    let work = process_of(&cluster, "lx5", LEDGER).unwrap();
    let clients = Clients::of_dce(&cluster, "lx4");
    clients.go_on(&cluster, "at the start");

    let chapter = Chapter::begin();
    cluster.lab.off("lx4").unwrap();
    cluster.online_on("dce", "lx5");
    clients.go_on(&cluster, "after the power cut");
    undisturbed(&cluster, &work);
    // Neither the node's addresses nor that of its own work: only the cell's.
    bound_to_the_service_address(&cluster, "lx5");
    only_live_endpoints(&cluster);
    let printed = chapter.printed(&cluster, "lx5", "dce");
    in_order(
        &printed,
        &[
            "Removing DCE Files",
            "Starting DCE",
            "Finished Starting DCE",
            "Starting DFS",
            "Finished Starting DFS",
        ],
    );

    let chapter = Chapter::begin();
    cluster.lab.on("lx4").unwrap();
    cluster.online_on("dce", "lx4");
    clients.go_on(&cluster, "after the reintegration");
    undisturbed(&cluster, &work);
    let printed = chapter.printed(&cluster, "lx5", "dce");
    in_order(&printed, &["Stopping DFS", "Finished Stopping DFS", "Stopping DCE", "Finished Stopping DCE"]);

    // The other side: the cell does not notice, and the work waits for its node.
    let epoch = find(&cluster.status().unwrap(), "dce").epoch;
    cluster.lab.off_and_wait("lx5").unwrap();
    clients.go_on(&cluster, "without lx5");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let status = cluster.wait_for("lx5 lost", |s| find(s, "work").state != "online");
    assert_eq!((owner(&status, "dce").as_str(), find(&status, "dce").epoch), ("lx4", epoch));
    assert!(!sh(&cluster, "lx4", "ip -o addr").contains("10.77.0.101"), "nobody takes over for lx5");
    cluster.lab.on("lx5").unwrap();
    cluster.online_on("work", "lx5");

    let work = process_of(&cluster, "lx5", LEDGER).unwrap();
    stops::gracefully(&cluster, "dce", "lx4");
    clients.go_on(&cluster, "after a graceful stop");
    stops::with_takeover(&cluster, "dce", "lx4");
    clients.go_on(&cluster, "after a stop with takeover");
    stops::comes_back(&cluster, "lx4");
    cluster.online_on("dce", "lx4");
    let go_on = || clients.go_on(&cluster, "while nobody manages it");
    stops::by_force(&cluster, "dce", "lx4", "krb5kdc", go_on);
    clients.go_on(&cluster, "after a forced stop");
    undisturbed(&cluster, &work);

    clients.lost_nothing(&cluster);
    cluster.one_writer();
}

fn undisturbed(cluster: &Cluster, work: &str) {
    assert_eq!(
        process_of(cluster, "lx5", LEDGER).as_deref(),
        Some(work),
        "the node's own work was disturbed"
    );
    let listens = sh(cluster, "lx5", "ss -Hlnt");
    assert!(listens.contains("10.77.0.101:7007"), "{listens}");
}
