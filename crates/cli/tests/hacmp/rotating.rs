//! One-for-one hot standby with rotating resources, with the host name of the cell.

use crate::cell::{cell_of, log_in, must_log_in_again, only_live_endpoints, programs, register};
use crate::clients::Clients;
use crate::cluster::{Cluster, find, owner, peer};
use crate::journal::{Chapter, in_order};
use crate::machine::sh;
use crate::stops;

/// The host name that the cell knows.
const NAME: &str = "dce.cell.example";

#[test]
fn hot_standby_rotating_lends_its_host_name_and_stays_where_it_is_when_the_lost_node_returns() {
    let cluster = cell_of("hsr", "hot-standby-rotating", Some(NAME));
    let first = owner(&cluster.status().unwrap(), "dce");
    let second = peer(&first);
    runs_under_its_name(&cluster, &first);
    let clients = Clients::of_dce(&cluster, NAME).and_of_dfs(&cluster);
    clients.go_on(&cluster, "at the start");

    register(&cluster, &first, 200_001);
    log_in(&cluster, &first);
    let chapter = Chapter::begin();
    cluster.lab.off(&first).unwrap();
    cluster.online_on("dce", second);
    clients.go_on(&cluster, "after the power cut");
    cleared(&cluster, second);
    runs_under_its_name(&cluster, second);
    in_order(
        &chapter.told(&cluster, second, "dce"),
        &["dcecred_alice", "application dce is up", "application dfs is up"],
    );
    in_order(&chapter.told(&cluster, second, "dce"), &[NAME, "start command exited with 0", NAME]);

    // No reintegration: it is the standby from now on.
    let epoch = find(&cluster.status().unwrap(), "dce").epoch;
    cluster.lab.on(&first).unwrap();
    cluster.is_up(&first);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let status = cluster.wait_for("the cell", |s| find(s, "dce").state == "online");
    assert_eq!(
        (owner(&status, "dce").as_str(), find(&status, "dce").epoch),
        (second, epoch),
        "it must not move"
    );

    // The endpoint map is written down when it is stopped; the next owner must not believe it.
    register(&cluster, second, 200_002);
    cluster.order(second, &["node", "stop", "--takeover"]);
    cluster.online_on("dce", &first);
    clients.go_on(&cluster, "after a stop with takeover");
    cleared(&cluster, &first);
    runs_under_its_name(&cluster, &first);
    stops::comes_back(&cluster, second);

    stops::gracefully(&cluster, "dce", &first);
    clients.go_on(&cluster, "after a graceful stop");
    runs_under_its_name(&cluster, &first);
    let go_on = || clients.go_on(&cluster, "while nobody manages it");
    stops::by_force(&cluster, "dce", &first, "krb5kdc", go_on);
    clients.go_on(&cluster, "after a forced stop");

    clients.lost_nothing(&cluster);
    cluster.one_writer();
}

/// Nothing that the owner before left is believed.
fn cleared(cluster: &Cluster, node: &str) {
    assert!(programs(cluster).is_empty(), "a server that is gone is still listed");
    only_live_endpoints(cluster);
    must_log_in_again(cluster, node);
}

/// The servers were started as the cell's machine, and the node has its own name again.
fn runs_under_its_name(cluster: &Cluster, node: &str) {
    assert_eq!(sh(cluster, node, "hostname"), node);
    let login = sh(cluster, node, "klist -c FILE:/var/dce/security/creds/dcecred_self");
    assert!(login.contains(&format!("hosts/{NAME}/self")), "{login}");
}
