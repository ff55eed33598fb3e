//! One-for-one hot standby with cascading resources.

use crate::cell::{
    bound_to_the_service_address, cell_with, log_in, must_log_in_again, only_live_endpoints, programs,
    register, until_it_works,
};
use crate::clients::Clients;
use crate::cluster::{Cluster, SERVICE, find};
use crate::journal::{Chapter, in_order};
use crate::machine::sh;
use crate::replicas::{REPLICA, Replicas};
use crate::stops;
use crate::system_control::SystemControl;

/// What the group consists of, in the guide's order; the last file system is the node's own, inside a shared one.
const RESOURCES: [&str; 8] =
    ["krb5", "var-dce", "etc-dce", "vicepa", "var-dce-adm-dfs-cache", SERVICE, "dce", "dfs"];

/// The steps in which a node acquires all of it.
fn acquired(node: &str) -> Vec<String> {
    RESOURCES.iter().map(|r| format!("{node} acquire {r}")).collect()
}

/// Those in which it releases all of it: the other way round.
fn released(node: &str) -> Vec<String> {
    RESOURCES.iter().rev().map(|r| format!("{node} release {r}")).collect()
}

#[test]
fn hot_standby_cascading_walks_the_guides_whole_list_and_no_acknowledged_write_is_lost() {
    let cluster = cell_with("hsc", "hot-standby-cascading", None, &format!("-r {REPLICA}"));
    the_nodes_are_prepared(&cluster);
    bound_to_the_service_address(&cluster, "lx4");
    let clients = Clients::of_dce(&cluster, "lx4").and_of_dfs(&cluster);
    clients.go_on(&cluster, "at the start");

    let replicas = Replicas::begin(&cluster, "lx4");
    replicas.follow(&cluster, "at-the-start");
    let common = SystemControl::begin(&cluster, "lx4");
    common.distributes(&cluster, "at-the-start");

    a_power_cut_of_the_owner(&cluster, &clients, &replicas);
    common.distributes(&cluster, "after-the-power-cut");
    reintegration(&cluster, &clients, &replicas);
    common.distributes(&cluster, "after-the-reintegration");
    the_three_ways_to_stop(&cluster, &clients, replicas);

    clients.lost_nothing(&cluster);
    cluster.one_writer();
}

/// What the guide has done by hand on every node is made on all of them by one command, and only once.
fn the_nodes_are_prepared(cluster: &Cluster) {
    let look = "test -d /... && readlink /: && readlink /.: && grep '^kerberos5[[:space:]]' /etc/services";
    for node in ["lx4", "lx5"] {
        let output = cluster.lab.output(node, &["sh", "-c", look]).unwrap();
        assert!(!output.status.success(), "it is there already on {node}");
    }
    cluster.order("lx4", &["prepare", "dce"]);
    for node in ["lx4", "lx5"] {
        let found = sh(cluster, node, look);
        let found: Vec<&str> = found.split_ascii_whitespace().collect();
        let expected = ["/.../cell.example/fs", "/.../cell.example", "kerberos5", "88/udp", "kdc"];
        assert_eq!(found, expected, "on {node}");
    }
    let again = cluster.order("lx5", &["prepare", "dce"]);
    assert_eq!(again.matches("nothing to do").count(), 2, "{again}");
}

fn a_power_cut_of_the_owner(cluster: &Cluster, clients: &Clients, replicas: &Replicas) {
    register(cluster, "lx4", 200_001);
    assert!(programs(cluster).contains("200001"));
    log_in(cluster, "lx4");
    let chapter = Chapter::begin();
    cluster.lab.off("lx4").unwrap();
    replicas.answer_alone(cluster, "at-the-start");
    cluster.online_on("dce", "lx5");
    clients.go_on(cluster, "after the power cut");
    replicas.follow(cluster, "after-the-power-cut");
    assert!(programs(cluster).is_empty(), "a server that is gone is still listed");
    only_live_endpoints(cluster);
    must_log_in_again(cluster, "lx5");
    bound_to_the_service_address(cluster, "lx5");
    let time = format!("timeout 20 chronyd -x -u root -Q -t 8 'server {SERVICE} iburst maxsamples 1'");
    until_it_works(cluster, "client", "the time", &time);

    assert_eq!(chapter.steps(cluster, "lx5", "dce"), acquired("lx5"), "no stop script after a crash");
    let printed = chapter.printed(cluster, "lx5", "dce");
    in_order(
        &printed,
        &[
            "Removing DCE Files",
            "Starting DCE",
            "Starting security",
            "Finished Starting DCE",
            "Starting DFS",
            "Finished Starting DFS",
        ],
    );
}

fn reintegration(cluster: &Cluster, clients: &Clients, replicas: &Replicas) {
    register(cluster, "lx5", 200_002);
    let (chapter, before) = (Chapter::begin(), cluster.boot("lx5"));
    cluster.lab.on("lx4").unwrap();
    cluster.online_on("dce", "lx4");
    assert_ne!(
        cluster.boot("lx5"),
        before,
        "DFS asks for a reboot of the standby before its owner has it again"
    );
    assert_eq!(find(&cluster.status().unwrap(), "dce").proof, "rebooted");
    clients.go_on(cluster, "after the reintegration");
    replicas.follow(cluster, "after-the-reintegration");
    cluster.is_up("lx5");
    assert!(programs(cluster).is_empty(), "a server that was stopped is still listed");
    must_log_in_again(cluster, "lx4");

    let steps = [released("lx5"), acquired("lx4")].concat();
    assert_eq!(chapter.steps(cluster, "lx4", "dce"), steps, "released there, then acquired here");
    in_order(
        &chapter.printed(cluster, "lx5", "dce"),
        &["Stopping DFS", "Finished Stopping DFS", "Stopping DCE", "Finished Stopping DCE"],
    );
    in_order(
        &chapter.printed(cluster, "lx4", "dce"),
        &["Removing DCE Files", "Finished Starting DCE", "Starting DFS", "Finished Starting DFS"],
    );
}

fn the_three_ways_to_stop(cluster: &Cluster, clients: &Clients, replicas: Replicas) {
    // Gracefully: down, and nobody takes over, not even later. What DFS keeps in the kernel awaits a reboot.
    cluster.order("lx4", &["node", "stop", "--graceful"]);
    let at_rest = |s: &regent_api::Status| find(s, "dce").state == "awaits reboot";
    cluster.wait_for("the group at rest", at_rest);
    replicas.answer_alone(cluster, "after-the-reintegration");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(at_rest(&cluster.status().unwrap()), "nobody may take over");
    let there = sh(cluster, "lx5", "ip -o addr; cat /proc/mounts");
    assert!(!there.contains(SERVICE) && !there.contains("/var/dce"), "{there}");
    until_it_works(cluster, "lx4", "the node's return", "regent node start");
    cluster.online_on("dce", "lx4");
    clients.go_on(cluster, "after a graceful stop");

    // With takeover: the stop script runs on the owner before anything is done on the standby.
    let chapter = Chapter::begin();
    // Ordered on the other node, because this one is rebooted on the way.
    cluster.order("lx5", &["node", "stop", "--takeover", "lx4"]);
    cluster.online_on("dce", "lx5");
    clients.go_on(cluster, "after a stop with takeover");
    let replicas = replicas.begin_anew(cluster, "after-the-power-cut");
    assert_eq!(chapter.steps(cluster, "lx5", "dce"), [released("lx4"), acquired("lx5")].concat());
    until_it_works(cluster, "lx4", "the return after the reboot", "regent node start");
    cluster.online_on("dce", "lx4");

    // Forced: the cell goes on without Regent, and is taken back as it is.
    let go_on = || clients.go_on(cluster, "while nobody manages it");
    stops::by_force(cluster, "dce", "lx4", "krb5kdc", go_on);
    clients.go_on(cluster, "after a forced stop");
    replicas.follow(cluster, "at-the-end");
}
