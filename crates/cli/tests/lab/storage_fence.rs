//! A fence device at the storage: a lost owner is cut off from the disks when its lease has ended, what it writes later is
//! refused, and it registers there again in its next life.

use std::time::{Duration, Instant};

use regent_model::BootId;

use crate::cluster::{Cluster, find, head, ledger_group, owner, peer, told};

fn config() -> String {
    let power = head("normal");
    let begins = power.find("[[fence]]").unwrap();
    let storage = format!(
        "[[fence]]\nname = \"san\"\nagent = \"{}\"\nkind = \"storage\"\nnodes = [\"lx4\", \"lx5\"]\ndisks = [\"{}\"]\n\
         timeout = \"5s\"\n",
        regent_lab::STORAGE_AGENT,
        regent_lab::DEFAULT_DEVICE
    );
    format!("{}{storage}{}", &power[..begins], ledger_group("rotating", "\"lease-ended\", \"storage\""))
}

#[test]
fn a_lost_owner_is_cut_off_from_the_disks_and_comes_back_to_them_in_another_life() {
    let cluster = Cluster::up("storage", &config());
    let writer = cluster.writer(1);
    let status = cluster.status().unwrap();
    assert_eq!(find(&status, "ledger").guarantee_class, "storage");
    // Whoever was registered first.
    let first = owner(&status, "ledger");
    let (first, second) = (first.as_str(), peer(&first));
    cluster.written_on(&writer, first);
    let boot = cluster.boot(first);

    // A machine that stands still, and whose last writes are on their way still: they come when it goes on, much later.
    cluster.lab.pause(first, true).unwrap();
    cluster.written_on(&writer, second);
    let said = cluster.order("wit", &["events"]);
    for words in [
        format!("cutting {first} off from its disks by san"),
        format!("san confirms: {first} is cut off from its disks"),
        "proof: its lease ended, and san confirmed".to_owned(),
    ] {
        assert!(said.contains(&words), "{words}: {said}");
    }
    cluster.lab.resume(first).unwrap();
    cluster.wait_for("another boot", |s| {
        let is_back = |boot_now: &BootId| *boot_now != boot;
        s.nodes
            .iter()
            .any(|n| n.name.as_str() == first && n.state == "up" && n.boot.as_ref().is_some_and(is_back))
    });
    registered(&cluster, second, 2);
    let refused = told(&cluster.on(second, &["fence", "off", first, "--yes"]));
    assert!(refused.contains("Regent alone operates them"), "{refused}");
    cluster.order("wit", &["group", "move", "ledger", first]);
    cluster.written_on(&writer, first);

    // Who cannot register is given nothing on these disks, and says why.
    let broken = "printf '#!/bin/sh\\nexit 1\\n' > /usr/sbin/fence_lab_san";
    assert!(cluster.lab.output(second, &["sh", "-c", broken]).unwrap().status.success());
    cluster.order(second, &["node", "stop", "--takeover"]);
    cluster.order(second, &["node", "start"]);
    cluster.wait_for("a node that is not registered", |s| {
        let says = |t: &String| t.contains("not registered at the disks of the fence device san");
        s.nodes.iter().any(|n| n.troubles.iter().any(says))
    });
    let said = cluster.order("wit", &["explain", "ledger"]);
    assert!(said.contains("is not registered at /dev/san0"), "{said}");
    cluster.nothing_lost(writer);
    cluster.one_writer();
}

/// Waits until so many nodes are registered at their disks.
fn registered(cluster: &Cluster, asked: &str, nodes: usize) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let said = told(&cluster.on(asked, &["fence", "status"]));
        if said.matches(" registered").count() == nodes {
            return;
        }
        assert!(Instant::now() < until, "{said}\n{}", cluster.evidence());
        std::thread::sleep(Duration::from_millis(100));
    }
}
