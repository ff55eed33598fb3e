//! A state that is damaged, a disk that is full or slow: the node says so, and the cluster goes on.

use std::time::Duration;

use regent_lab::DiskState;

use crate::cluster::{Cluster, address_group, find, head, ledger_group, told};
use crate::machine::{LEDGER, process_of, sh, troubles};

/// Damages a file of `lx5`'s state while it has no power, boots it, and expects it to refuse with these words; then
/// goes the way that it names, and is a member again.
fn refuses_and_comes_back(cluster: &Cluster, damage: &str, words: &[&str]) {
    let epoch = find(&cluster.status().unwrap(), "front").epoch;
    sh(cluster, "lx5", &format!("cd /var/lib/regent; {damage}; sync -f ."));
    cluster.lab.off_and_wait("lx5").unwrap();
    cluster.lab.on("lx5").unwrap();
    let console = cluster.lab.folder().console("lx5");
    let refused = |text: &str| words.iter().all(|w| text.contains(w));
    cluster.wait_for("the refusal", |_| {
        std::fs::read(&console).is_ok_and(|c| refused(&String::from_utf8_lossy(&c)))
    });
    let output = cluster.on("lx5", &["node", "start"]);
    let said = told(&output);
    assert!(!output.status.success() && refused(&said), "{damage}: {said}");
    let status = cluster.wait_for("the cluster without lx5", |s| {
        s.nodes.iter().any(|n| n.name.as_str() == "lx5" && n.state == "down")
    });
    assert_eq!(find(&status, "front").epoch, epoch, "the owner is not disturbed");

    // The way that the message names.
    let way = said.split("mkdir ").nth(1).unwrap().split(',').next().unwrap();
    assert!(way.starts_with("/var/lib/regent.damaged && mv /var/lib/regent/"), "{said}");
    sh(cluster, "lx5", &format!("mkdir {way}"));
    let token = cluster.order("lx4", &["token"]);
    let token =
        token.split_ascii_whitespace().find(|w| w.starts_with("regent-token-")).unwrap_or(token.trim());
    cluster
        .order("lx5", &["join", token, "--node", "lx5", "--address", "10.77.0.5", "--address", "10.78.0.5"]);
    cluster.wait_for("lx5 votes again", |s| {
        s.nodes.iter().any(|n| n.name.as_str() == "lx5" && n.state == "up" && n.voter)
    });
    sh(cluster, "lx5", "rm -rf /var/lib/regent.damaged");
}

#[test]
fn a_damaged_or_older_state_is_refused_with_a_way_back_that_works() {
    let cluster = Cluster::up("dmg", &(head("normal") + &address_group("cascading")));
    cluster.online_on("front", "lx4");
    let log = "for f in log/state-*; do printf x | dd of=$f bs=1 seek=700 conv=notrunc; done 2>/dev/null";
    refuses_and_comes_back(&cluster, log, &["is damaged", "own nothing"]);
    let short = "for f in log/state-*; do truncate -s 5000 $f; done";
    refuses_and_comes_back(&cluster, short, &["cut short", "own nothing"]);
    refuses_and_comes_back(
        &cluster,
        "echo rubbish > incarnation",
        &["does not hold a number", "owns nothing"],
    );
    refuses_and_comes_back(
        &cluster,
        "echo '{\"cluster\":' > identity.json",
        &["identity.json", "owns nothing"],
    );
    put_back(&cluster);
}

/// The state as of a backup, in which everything is in order.
fn put_back(cluster: &Cluster) {
    sh(cluster, "lx5", "cd /var/lib/regent; mkdir .copy; cp -a * .copy/");
    for to in ["lx5", "lx4"] {
        cluster.order("lx4", &["group", "move", "front", to]);
        cluster.online_on("front", to);
    }
    refuses_and_comes_back(
        cluster,
        "rm -rf *; mv .copy/* .; rmdir .copy",
        &["has forgotten what it told", "An older copy of its state"],
    );
    let told = cluster.events("lx4");
    let by_a_peer = |e: &&regent_model::journal::Entry| e.kind == "forgotten" && e.node.as_str() != "lx5";
    assert!(told.iter().any(|e| by_a_peer(&e)), "{}", cluster.evidence());
}

#[test]
fn an_owner_whose_state_disk_is_full_keeps_its_service_says_so_and_goes_on_when_there_is_room() {
    let config = head("normal") + &ledger_group("cascading", "\"fenced\"");
    let cluster = Cluster::up("full", &config);
    cluster.online_on("ledger", "lx4");
    let epoch = find(&cluster.status().unwrap(), "ledger").epoch;
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    let ledger = process_of(&cluster, "lx4", LEDGER).unwrap();
    sh(
        &cluster,
        "lx4",
        "cd /var/lib/regent; dd if=/dev/zero of=a bs=64k 2>/dev/null; dd if=/dev/zero of=b bs=512 2>/dev/null; true",
    );
    // What the log takes in meanwhile is more than what is prepared for it.
    for round in 0..5 {
        let padding = format!("# {round} {}\n", "x".repeat(90)).repeat(800);
        let file = format!("cat > /tmp/c.toml <<'E'\n{config}{padding}E\nregent apply /tmp/c.toml");
        sh(&cluster, "lx5", &file);
    }
    cluster.wait_for("the full disk told", |_| {
        troubles(&cluster, "lx4").iter().any(|t| t.contains("disk is full"))
    });
    std::thread::sleep(Duration::from_secs(2));
    let status = cluster.status().unwrap();
    assert_eq!((find(&status, "ledger").state.as_str(), find(&status, "ledger").epoch), ("online", epoch));
    sh(&cluster, "lx4", "rm /var/lib/regent/a /var/lib/regent/b");
    cluster.wait_for("all well again", |_| troubles(&cluster, "lx4").is_empty());
    let told = cluster.events("lx5");
    assert!(told.iter().any(|e| e.kind == "state_disk" && e.text.contains("room")), "{}", cluster.evidence());
    assert_eq!(process_of(&cluster, "lx4", LEDGER), Some(ledger), "it was restarted\n{}", cluster.evidence());
    cluster.nothing_lost(writer);
    // It takes part again: what was committed meanwhile is there, and it releases and acquires.
    cluster.order("lx4", &["group", "move", "ledger", "lx5"]);
    cluster.online_on("ledger", "lx5");
}

#[test]
fn a_daemon_that_finds_no_room_at_its_start_says_so_and_begins_by_itself_when_there_is() {
    let cluster = Cluster::up("room", &(head("normal") + &address_group("cascading")));
    cluster.online_on("front", "lx4");
    sh(
        &cluster,
        "lx5",
        "cd /var/lib/regent; dd if=/dev/zero of=a bs=64k 2>/dev/null; dd if=/dev/zero of=b bs=512 2>/dev/null; sync -f .",
    );
    cluster.lab.off_and_wait("lx5").unwrap();
    cluster.lab.on("lx5").unwrap();
    let console = cluster.lab.folder().console("lx5");
    cluster.wait_for("it said", |_| {
        std::fs::read(&console).is_ok_and(|c| String::from_utf8_lossy(&c).contains("No space left"))
    });
    sh(&cluster, "lx5", "rm /var/lib/regent/a /var/lib/regent/b");
    cluster.is_up("lx5");
    cluster.online_on("front", "lx4");
}

#[test]
fn a_slow_and_a_hanging_state_disk_of_the_owner_move_nothing() {
    let cluster = Cluster::up("slow", &(head("normal") + &address_group("cascading")));
    cluster.online_on("front", "lx4");
    let epoch = find(&cluster.status().unwrap(), "front").epoch;
    for state in [DiskState::Slow(300), DiskState::Hang] {
        cluster.lab.own_disk("lx4", state).unwrap();
        let touched = cluster.order("lx5", &["node", "standby"]);
        assert!(!touched.is_empty());
        std::thread::sleep(Duration::from_secs(2));
        cluster.order("lx5", &["node", "start"]);
        std::thread::sleep(Duration::from_secs(1));
        cluster.lab.own_disk("lx4", DiskState::Ok).unwrap();
        let status = cluster.wait_for("the group online", |s| find(s, "front").state == "online");
        assert_eq!(find(&status, "front").epoch, epoch, "{state}: it moved\n{}", cluster.evidence());
    }
}
