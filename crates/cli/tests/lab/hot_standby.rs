//! The owner loses power, the peer has the address, the disk and the application, the client goes on.

use crate::cluster::{Cluster, find, head, ledger_group};

#[test]
fn cascading_takes_over_at_a_power_cut_and_gives_back_and_nothing_acknowledged_is_lost() {
    let cluster = Cluster::up("casc", &(head("fast") + &ledger_group("cascading", "\"fenced\"")));
    cluster.online_on("ledger", "lx4");
    let (observer, writer) = (cluster.watch(), cluster.writer(1));
    cluster.written_on(&writer, "lx4");

    cluster.lab.off("lx4").unwrap();
    cluster.written_on(&writer, "lx5");
    let status = cluster.wait_for("the proof", |s| find(s, "ledger").state == "online");
    assert_eq!(find(&status, "ledger").proof, "fenced");

    cluster.lab.on("lx4").unwrap();
    cluster.written_on(&writer, "lx4");
    cluster.online_on("ledger", "lx4");

    cluster.nothing_lost(writer);
    cluster.one_address(observer);
    cluster.one_writer();
    acquired_in_order(&cluster);
}

/// Storage, address, application; and the release before the acquire at the reintegration.
fn acquired_in_order(cluster: &Cluster) {
    let entries = cluster.events("lx4");
    let told: Vec<(String, String, String)> = entries
        .iter()
        .filter(|e| ["acquire", "release"].contains(&e.kind.as_str()))
        .map(|e| {
            let resource = e.resource.as_ref().map(ToString::to_string).unwrap_or_default();
            (e.node.to_string(), e.kind.clone(), resource)
        })
        .collect();
    let of = |node: &str, kind: &str| -> Vec<String> {
        told.iter().filter(|(n, k, _)| n == node && k == kind).map(|(_, _, r)| r.clone()).collect()
    };
    let up = of("lx5", "acquire");
    assert_eq!(up.len(), 3, "{told:?}");
    assert_eq!(up[2], "ledger");
    let mut down = of("lx5", "release");
    down.reverse();
    assert_eq!(up, down, "released in reverse order: {told:?}");
}

#[test]
fn rotating_stays_where_it_is_when_the_lost_node_returns() {
    let cluster = Cluster::up("rot", &(head("fast") + &ledger_group("rotating", "\"fenced\"")));
    let first = cluster.wait_for("an owner", |s| find(s, "ledger").owner.is_some());
    let owner = crate::cluster::owner(&first, "ledger");
    let peer = crate::cluster::peer(&owner);
    let writer = cluster.writer(1);
    cluster.written_on(&writer, &owner);
    cluster.lab.off(&owner).unwrap();
    cluster.written_on(&writer, peer);
    cluster.lab.on(&owner).unwrap();
    cluster.is_up(&owner);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let status = cluster.wait_for("the group online", |s| find(s, "ledger").state == "online");
    assert_eq!(crate::cluster::owner(&status, "ledger"), peer, "it must not move back");
    cluster.nothing_lost(writer);
    cluster.one_writer();
}

#[test]
fn a_whole_site_power_loss_ends_with_one_owner_and_every_acknowledged_write() {
    let cluster = Cluster::up("site", &(head("fast") + &ledger_group("cascading", "\"fenced\"")));
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    for machine in ["lx4", "lx5", "wit"] {
        cluster.lab.off_and_wait(machine).unwrap();
    }
    for machine in ["lx5", "wit", "lx4"] {
        cluster.lab.on(machine).unwrap();
    }
    cluster.wait_for("the group online again", |s| find(s, "ledger").state == "online");
    cluster.online_on("ledger", "lx4");
    cluster.written_on(&writer, "lx4");
    cluster.nothing_lost(writer);
    cluster.one_writer();
}

#[test]
fn a_founder_that_is_cut_off_after_its_return_neither_leads_nor_owns() {
    let cluster = Cluster::up("found", &(head("fast") + &ledger_group("cascading", "\"fenced\"")));
    let (observer, writer) = (cluster.watch(), cluster.writer(1));
    cluster.lab.off_and_wait("lx4").unwrap();
    cluster.online_on("ledger", "lx5");
    cluster.lab.on("lx4").unwrap();
    cluster.lab.cut("lx4", None).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    // It began the cluster alone; that must not mean that it is one alone.
    if let Some(status) = cluster.status_of("lx4") {
        assert!(!status.quorate, "{status:#?}");
    }
    cluster.written_on(&writer, "lx5");
    cluster.heal("lx4");
    cluster.online_on("ledger", "lx4");
    cluster.nothing_lost(writer);
    cluster.one_address(observer);
    cluster.one_writer();
}
