//! Two nodes and their power switch, no third machine and no shared disk: who has turned the other one off goes on, and
//! nobody turns off who stops in order, or who has only come up.

use std::time::Duration;

use regent_api::Status;
use regent_model::journal::Entry;

use crate::arbiter::{NODES, alone, arbiter, says, word};
use crate::cluster::{Cluster, address_group, find, head, owner, peer, told};

/// Two nodes, and a group that moves only when its owner is lost.
fn two_nodes() -> String {
    let all = head("normal");
    let (witness, fence) = (all.find("[[witness]]").unwrap(), all.find("[[fence]]").unwrap());
    all[..witness].to_owned() + &all[fence..] + &address_group("rotating")
}

/// Waits until both vote and either would go on without the other, and gives the owner.
fn settled(cluster: &Cluster) -> String {
    let is_whole = |s: &Status| {
        s.nodes.iter().all(|n| n.state == "up" && n.voter)
            && arbiter(s).ready
            && s.quorate
            && find(s, "front").state == "online"
    };
    let status = cluster.wait_for("two that vote, and devices that would decide", is_whole);
    says(cluster, peer(status.node.as_str()), "the same", is_whole);
    owner(&status, "front")
}

/// Waits until `node` does nothing, and says why with this word.
fn nobody(cluster: &Cluster, node: &str, word: &str) {
    says(cluster, node, &format!("that it does not go on, and why: {word}"), |s| {
        !s.quorate && arbiter(s).why.as_ref().is_some_and(|why| why.contains(word))
    });
}

fn cuts(cluster: &Cluster) -> usize {
    let mut told: Vec<_> = NODES.iter().flat_map(|node| cluster.events(node)).collect();
    told.sort_by_key(|e| (e.node.clone(), e.number));
    told.dedup_by_key(|e| (e.node.clone(), e.number));
    told.iter().filter(|e| is_cut(e)).count()
}

fn is_cut(entry: &Entry) -> bool {
    entry.kind == "arbiter" && entry.text.contains("turning it off")
}

#[test]
fn of_two_nodes_who_turns_the_other_one_off_goes_on_and_nobody_is_turned_off_without_need() {
    let cluster = Cluster::up("arbfence", &two_nodes());
    let refused = cluster.on("lx4", &["arbiter", "fence"]);
    assert!(!refused.status.success() && told(&refused).contains("--yes"), "{}", told(&refused));
    cluster.order("lx4", &["arbiter", "fence", "--delay", "3s", "--yes"]);
    let home = settled(&cluster);
    let said = cluster.order(&home, &["arbiter", "status"]);
    assert!(said.contains("fence devices"), "{said}");
    let observer = cluster.watch();
    in_order(&cluster);
    assert_eq!(cuts(&cluster), 0, "{}", cluster.evidence());
    either_node(&cluster);
    between_the_two(&cluster);
    cut_off_from_all(&cluster);
    one_comes_up_alone(&cluster);
    no_device(&cluster);
    cluster.one_address(observer);
}

/// The owner stops in order, its machine runs on: the other one goes on, and turns nothing off.
fn in_order(cluster: &Cluster) {
    for _ in NODES {
        let stops = settled(cluster);
        let before = arbiter(&cluster.status_of(&stops).unwrap()).generation;
        cluster.order(&stops, &["node", "stop", "--takeover"]);
        let status = alone(cluster, peer(&stops));
        assert_eq!(arbiter(&status).generation, before + 1);
        // Longer than it would take to miss it.
        std::thread::sleep(Duration::from_secs(8));
        alone(cluster, peer(&stops));
        cluster.order(&stops, &["node", "start"]);
    }
}

/// The power of the owner, of either node in turn.
fn either_node(cluster: &Cluster) {
    for _ in NODES {
        let lost = settled(cluster);
        cluster.lab.off(&lost).unwrap();
        alone(cluster, peer(&lost));
        cluster.lab.on(&lost).unwrap();
    }
    let told = cluster.order(NODES[0], &["events", "--last", "500"]);
    assert!(told.contains("proof: fenced"), "what was cut need not be waited for: {told}");
}

/// Both live and do not hear each other: who has the group stays, the other one is cut once, comes up, and waits.
fn between_the_two(cluster: &Cluster) {
    let stays = settled(cluster);
    let other = peer(&stays);
    let (boot, before) = (cluster.boot(other), cuts(cluster));
    cluster.lab.split(&[stays.as_str()], &["client"]).unwrap();
    alone(cluster, &stays);
    nobody(cluster, other, "turns nobody off");
    std::thread::sleep(Duration::from_secs(8));
    let after = cluster.status_of(other).unwrap();
    assert!(!after.quorate, "{}", cluster.evidence());
    alone(cluster, &stays);
    assert_eq!(cuts(cluster), before + 1, "one cut, and no more\n{}", cluster.evidence());
    cluster.lab.join().unwrap();
    settled(cluster);
    assert_ne!(cluster.boot(other), boot, "it was cut");
}

/// The owner reaches nothing any more, the devices neither: the other one turns it off, and it waits when it is up again.
fn cut_off_from_all(cluster: &Cluster) {
    let lost = settled(cluster);
    cluster.lab.cut(&lost, None).unwrap();
    alone(cluster, peer(&lost));
    nobody(cluster, &lost, "turns nobody off");
    cluster.heal(&lost);
    settled(cluster);
}

/// Both go off, and one comes up: it cuts nobody, and waits for the other, or for a person.
fn one_comes_up_alone(cluster: &Cluster) {
    let node = settled(cluster);
    // Whoever of the two goes off last may have missed the other one for a moment.
    for node in NODES {
        cluster.lab.off(node).unwrap();
    }
    cluster.lab.on(&node).unwrap();
    let waits = |s: &Status| !s.quorate && arbiter(s).why.is_some();
    let status = says(cluster, &node, "that it waits, and why", waits);
    assert!(arbiter(&status).alone.is_none(), "{}", cluster.evidence());
    let told = || cluster.events(&node).iter().filter(|e| is_cut(e)).count();
    let before = told();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(told(), before, "{}", cluster.evidence());
    word(cluster, &node);
    alone(cluster, &node);
    cluster.lab.on(peer(&node)).unwrap();
    settled(cluster);
}

/// The device does not answer: nobody goes on, and why; when it does again, the one that is left does.
fn no_device(cluster: &Cluster) {
    let node = settled(cluster);
    let agent = regent_lab::FENCE_AGENT;
    let broken = format!(
        "cp -p {agent} {agent}.kept && printf '#!/bin/sh\\nexit 1\\n' > {agent}.new && chmod 755 {agent}.new && \
         mv {agent}.new {agent}"
    );
    cluster.lab.output(&node, &["sh", "-c", &broken]).unwrap();
    cluster.lab.off(peer(&node)).unwrap();
    nobody(cluster, &node, "could not be turned off");
    cluster.lab.output(&node, &["mv", &format!("{agent}.kept"), agent]).unwrap();
    alone(cluster, &node);
    cluster.lab.on(peer(&node)).unwrap();
    settled(cluster);
}
