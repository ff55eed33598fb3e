//! Real partitions: the owner is cut off from everything, and there is never an instant with two owners.

use std::time::Duration;

use crate::cluster::{Cluster, address_group, head, ledger_group, owner, peer};

/// How many partitions each of the two tests makes.
const PARTITIONS: usize = 10;

#[test]
fn ten_partitions_of_an_address_only_group_have_one_owner_at_every_instant() {
    let cluster = Cluster::up("parta", &(head("fast") + &address_group("rotating")));
    let observer = cluster.watch();
    for round in 0..PARTITIONS {
        let status = cluster.wait_for("the group online", |s| s.groups[0].state == "online");
        let from = owner(&status, "front");
        let to = peer(&from);
        cluster.is_up(to);
        cluster.lab.cut(&from, None).unwrap();
        cluster.online_on("front", to);
        std::thread::sleep(Duration::from_millis(50 * round as u64));
        cluster.heal(&from);
        cluster.is_up(&from);
    }
    cluster.one_address(observer);
}

#[test]
fn ten_partitions_with_a_shared_disk_have_one_owner_and_one_writer_at_every_instant() {
    let cluster = Cluster::up("partd", &(head("fast") + &ledger_group("rotating", "\"fenced\"")));
    let (observer, writer) = (cluster.watch(), cluster.writer(1));
    for _ in 0..PARTITIONS {
        let status = cluster.wait_for("the group online", |s| s.groups[0].state == "online");
        let from = owner(&status, "ledger");
        let to = peer(&from);
        cluster.is_up(to);
        cluster.written_on(&writer, &from);
        cluster.lab.cut(&from, None).unwrap();
        cluster.written_on(&writer, to);
        cluster.heal(&from);
        cluster.is_up(&from);
    }
    cluster.nothing_lost(writer);
    cluster.one_address(observer);
    cluster.one_writer();
}
