//! Two nodes, one disk, no third machine: whatever is lost, exactly one owner wherever one is possible, none otherwise,
//! and `status` says why.

use std::time::{Duration, Instant};

use regent_api::{ArbiterStatus, Status};
use regent_lab::DiskState;

use crate::cluster::{Cluster, address_group, find, head, owner, peer, regent, told};

/// The disk that decides.
const DISK: &str = "/dev/san9";
pub(crate) const NODES: [&str; 2] = ["lx4", "lx5"];
const PATIENCE: Duration = Duration::from_secs(60);

/// Two nodes and nothing else.
fn two_nodes() -> String {
    let all = head("normal");
    let witness = all.find("[[witness]]").unwrap();
    all[..witness].to_owned() + &address_group("rotating")
}

pub(crate) fn arbiter(status: &Status) -> &ArbiterStatus {
    status.arbiter.as_ref().unwrap_or_else(|| panic!("status says nothing of the arbiter"))
}

fn is_online(status: &Status) -> bool {
    status.quorate && find(status, "front").state == "online"
}

/// Waits until `machine` itself says so.
pub(crate) fn says(cluster: &Cluster, machine: &str, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
    let began = Instant::now();
    loop {
        if let Some(status) = cluster.status_of(machine).filter(|s| is_so(s)) {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "{machine}: waited in vain for {what}\n{}", cluster.evidence());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until both vote and the disk would decide, and gives the owner.
fn settled(cluster: &Cluster) -> String {
    let is_whole = |s: &Status| {
        s.nodes.iter().all(|n| n.state == "up" && n.voter && n.troubles.is_empty())
            && arbiter(s).ready
            && is_online(s)
    };
    let status = cluster.wait_for("two that vote, and a disk that would decide", is_whole);
    let other = peer(status.node.as_str());
    says(cluster, other, "the same", is_whole);
    owner(&status, "front")
}

/// Waits until `node` goes on alone, with the group, and says so.
pub(crate) fn alone(cluster: &Cluster, node: &str) -> Status {
    says(cluster, node, "the group where one votes alone", |s| {
        let here = find(s, "front").owner.as_ref().is_some_and(|o| o.as_str() == node);
        let named = arbiter(s).alone.as_ref().is_some_and(|(name, _)| name.as_str() == node);
        is_online(s) && here && named
    })
}

/// Waits until `node` has let go of everything and says why nobody, or somebody else, goes on: with this word.
fn nobody(cluster: &Cluster, node: &str, word: &str) {
    let status = says(cluster, node, &format!("that it does not go on, and why: {word}"), |s| {
        let lapsed = s.nodes.iter().any(|n| n.name.as_str() == node && n.lease_valid == Some(false));
        !s.quorate && lapsed && arbiter(s).why.as_ref().is_some_and(|why| why.contains(word))
    });
    assert!(arbiter(&status).alone.as_ref().is_none_or(|(name, _)| name.as_str() != node));
}

fn set_up() -> Cluster {
    let cluster = Cluster::up_with("arbiter", &two_nodes(), &["--arbiter-disk", DISK]);
    let refused = cluster.on("lx4", &["arbiter", "init", DISK]);
    assert!(!refused.status.success() && told(&refused).contains("--yes"), "{}", told(&refused));
    let absent = cluster.on("lx4", &["arbiter", "init", "/dev/san8", "--yes"]);
    assert!(told(&absent).contains("there is no /dev/san8"), "{}", told(&absent));
    // A file that each has of its own, under one name, is no shared disk.
    for node in NODES {
        cluster.lab.output(node, &["truncate", "-s", "16M", "/var/lib/regent/own"]).unwrap();
    }
    let other = cluster.on("lx4", &["arbiter", "init", "/var/lib/regent/own", "--yes"]);
    assert!(told(&other).contains("is another disk on lx5"), "{}", told(&other));
    let said = cluster.order("lx5", &["arbiter", "init", DISK, "--yes"]);
    assert!(said.contains("found there by lx4 and lx5"), "{said}");
    let again = cluster.on("lx4", &["arbiter", "init", DISK, "--yes"]);
    assert!(told(&again).contains("an area of this cluster's arbiter already"), "{}", told(&again));
    cluster
}

#[test]
fn whatever_two_nodes_and_a_disk_lose_there_is_one_owner_where_one_is_possible_and_none_otherwise() {
    let cluster = set_up();
    let home = settled(&cluster);
    let said = cluster.order(&home, &["arbiter", "status"]);
    assert!(said.contains("decides when one of the two is lost"), "{said}");
    let observer = cluster.watch();
    either_node(&cluster);
    either_network(&cluster);
    the_disk_on_one_side(&cluster);
    both_networks(&cluster);
    nothing_left(&cluster);
    by_a_word(&cluster);
    words_at_both(&cluster);
    cluster.one_address(observer);
}

/// The power of the owner, of either node in turn.
fn either_node(cluster: &Cluster) {
    for _ in NODES {
        let lost = settled(cluster);
        let before = arbiter(&cluster.status_of(&lost).unwrap()).generation;
        cluster.lab.off(&lost).unwrap();
        let status = alone(cluster, peer(&lost));
        assert_eq!(arbiter(&status).generation, before + 1);
        cluster.lab.on(&lost).unwrap();
    }
}

/// One network of the two: nothing is asked, nothing moves.
fn either_network(cluster: &Cluster) {
    for network in [0, 1] {
        let owner = settled(cluster);
        let before = cluster.status_of(&owner).unwrap();
        cluster.lab.cut(&owner, Some(network)).unwrap();
        says(cluster, &owner, "a silent network", |s| {
            s.nodes.iter().any(|n| n.networks.get(network).is_some_and(|at| at.heard == Some(false)))
        });
        let during = cluster.status_of(&owner).unwrap();
        assert!(is_online(&during), "{}", cluster.evidence());
        assert_eq!(find(&during, "front").epoch, find(&before, "front").epoch);
        assert_eq!(arbiter(&during).generation, arbiter(&before).generation);
        cluster.heal(&owner);
    }
}

/// The owner's way to the disk, and then the other node: nobody could prove anything, until the disk is back.
fn the_disk_on_one_side(cluster: &Cluster) {
    let node = settled(cluster);
    cluster.lab.disk(&node, DiskState::Error).unwrap();
    says(cluster, &node, "the disk in trouble", |s| {
        let own = s.nodes.iter().find(|n| n.name.as_str() == node);
        own.is_some_and(|n| n.troubles.iter().any(|t| t.contains(DISK)))
    });
    assert!(is_online(&cluster.status_of(&node).unwrap()), "the disk alone is no loss");
    // Who has the disk goes on, whoever was the owner.
    cluster.lab.cut(&node, None).unwrap();
    alone(cluster, peer(&node));
    nobody(cluster, &node, "disk");
    cluster.heal(&node);
    cluster.lab.disk(&node, DiskState::Ok).unwrap();
    let node = settled(cluster);
    // Nobody is left who has the disk.
    cluster.lab.disk(&node, DiskState::Error).unwrap();
    cluster.lab.off(peer(&node)).unwrap();
    nobody(cluster, &node, "disk");
    cluster.lab.disk(&node, DiskState::Ok).unwrap();
    alone(cluster, &node);
    cluster.lab.on(peer(&node)).unwrap();
}

/// Both networks at once, and the disk in sight of both: one of the two, and the other knows that it is not.
fn both_networks(cluster: &Cluster) {
    let node = settled(cluster);
    cluster.lab.cut(&node, None).unwrap();
    let began = Instant::now();
    let winner = loop {
        let named = |node: &&&str| {
            let status = cluster.status_of(node)?;
            let (name, _) = arbiter(&status).alone.clone()?;
            (name.as_str() == **node).then_some(())
        };
        let winners: Vec<&&str> = NODES.iter().filter(|node| named(node).is_some()).collect();
        assert!(winners.len() < 2, "both were named\n{}", cluster.evidence());
        if let Some(winner) = winners.first() {
            break **winner;
        }
        assert!(began.elapsed() < PATIENCE, "nobody was named\n{}", cluster.evidence());
        std::thread::sleep(Duration::from_millis(50));
    };
    alone(cluster, winner);
    nobody(cluster, peer(winner), winner);
    cluster.heal(&node);
}

/// Both networks, and the disk on both sides: nobody goes on, until one has the disk again.
fn nothing_left(cluster: &Cluster) {
    let node = settled(cluster);
    for node in NODES {
        cluster.lab.disk(node, DiskState::Hang).unwrap();
    }
    cluster.lab.cut(&node, None).unwrap();
    for node in NODES {
        nobody(cluster, node, "disk");
    }
    for node in NODES {
        cluster.lab.disk(node, DiskState::Ok).unwrap();
    }
    cluster.heal(&node);
    settled(cluster);
}

/// Gives a person's word on `node` that the other one is off, as soon as it has listened for it.
pub(crate) fn word(cluster: &Cluster, node: &str) {
    let began = Instant::now();
    loop {
        let other = peer(node);
        let said = cluster.on(node, &["node", "confirm-dead", other, "--why", "its plug is out", "--yes"]);
        if said.status.success() {
            assert!(told(&said).contains("goes on alone"), "{}", told(&said));
            return;
        }
        assert!(told(&said).contains("in a moment"), "{}", told(&said));
        assert!(began.elapsed() < PATIENCE, "the word is not taken\n{}", cluster.evidence());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What was on the disk is lost, for both.
fn lose_the_disk(cluster: &Cluster, node: &str) {
    let of = format!("of={DISK}");
    cluster.lab.output(node, &["dd", "if=/dev/zero", &of, "bs=1M", "count=6", "oflag=direct"]).unwrap();
}

/// Both go off without a disk, and one comes back: it waits for a person's word. The other one follows, and a new area is made
/// while both run.
fn by_a_word(cluster: &Cluster) {
    let node = settled(cluster);
    let before = arbiter(&cluster.status_of(&node).unwrap()).generation;
    lose_the_disk(cluster, &node);
    for node in NODES {
        cluster.lab.off(node).unwrap();
    }
    cluster.lab.on(&node).unwrap();
    nobody(cluster, &node, "disk");
    word(cluster, &node);
    let status = alone(cluster, &node);
    assert_eq!(
        arbiter(&status).generation,
        before + 2,
        "one is passed over: the other may have been named for it"
    );
    // A word is good for one life: who comes up again waits for the other, or for another word.
    cluster.lab.off(&node).unwrap();
    cluster.lab.on(&node).unwrap();
    let waits =
        |s: &Status| !s.quorate && arbiter(s).why.as_ref().is_some_and(|why| why.contains("alone voted"));
    let status = says(cluster, &node, "that it waits", waits);
    assert!(arbiter(&status).alone.is_none() && !is_online(&status), "{}", cluster.evidence());
    word(cluster, &node);
    alone(cluster, &node);
    cluster.lab.on(peer(&node)).unwrap();
    let votes = |s: &Status| s.nodes.iter().all(|n| n.state == "up" && n.voter) && is_online(s);
    says(cluster, peer(&node), "that both vote", votes);
    let said = cluster.order(&node, &["arbiter", "init", DISK, "--force", "--yes"]);
    assert!(said.contains("found there by lx4 and lx5"), "{said}");
}

/// Each went on alone by a word while the other one was off: who comes up last owns nothing, and gives up what it had.
fn words_at_both(cluster: &Cluster) {
    let first = settled(cluster);
    let second = peer(&first);
    lose_the_disk(cluster, &first);
    cluster.lab.off(second).unwrap();
    nobody(cluster, &first, "disk");
    word(cluster, &first);
    alone(cluster, &first);
    cluster.lab.off(&first).unwrap();
    cluster.lab.on(second).unwrap();
    nobody(cluster, second, "disk");
    word(cluster, second);
    alone(cluster, second);
    cluster.lab.on(&first).unwrap();
    let began = Instant::now();
    while !told(&cluster.on(&first, &["status"])).contains("one of the two too many") {
        assert!(began.elapsed() < PATIENCE, "{first} does not find out\n{}", cluster.evidence());
        std::thread::sleep(Duration::from_millis(100));
    }
    alone(cluster, second);
}

#[test]
fn an_example_of_two_nodes_and_a_disk_is_brought_up_as_it_is() {
    let example = include_str!("../../../../examples/two-nodes-disk.toml");
    let cluster = Cluster::up("twodisk", example);
    settled(&cluster);
    let said = regent(&["status", &format!("--lab={}", cluster.name)]);
    assert!(told(&said).contains("arbiter disk /dev/disk/by-id/"), "{}", told(&said));
}
