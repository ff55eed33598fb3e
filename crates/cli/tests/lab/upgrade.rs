//! Regent itself is upgraded one machine at a time, by the walk of `docs/upgrade.md`, while clients write on: from the
//! release under test to the one after it, which is this build taken for it (`regent_guard::release`).

use std::time::{Duration, Instant};

use regent_api::Status;

use crate::cluster::{Cluster, find, owner, peer, told};
use crate::drill::{active_active, nothing_lost, writers};
use crate::machine::{DAEMON, GUARD, process_of, sh};

/// What is said when the last member reads the next format.
const RAISED: &str = "every member reads format 2: it is in force";

const PATIENCE: Duration = Duration::from_secs(30);

/// Puts the executables of a release so many ahead onto a machine, as a package manager does: another file takes the
/// name, nobody writes into the one that runs.
fn install(cluster: &Cluster, machine: &str, ahead: u8) {
    let script = format!(
        "mkdir -p /tmp/release && cd /tmp/release && echo {ahead} > releases-ahead || exit 1; \
         for name in regent regent-guard; do \
         cp /usr/local/bin/$name .$name && mv -f .$name $name || exit 1; done"
    );
    sh(cluster, machine, &script);
}

fn version(ahead: u8) -> String {
    let own = env!("CARGO_PKG_VERSION");
    if ahead == 0 { own.to_owned() } else { format!("{own}+{ahead}") }
}

/// Starts what is installed. Gives whether it runs, and what was said.
fn start(cluster: &Cluster, machine: &str) -> (bool, String) {
    let script = "PATH=/tmp/release:$PATH setsid regent node start >/tmp/start.log 2>&1 </dev/null; \
                  echo $? >>/tmp/start.log; cat /tmp/start.log";
    let said = sh(cluster, machine, script);
    (said.ends_with('0'), said)
}

fn stop(cluster: &Cluster, machine: &str) {
    let (asked, mode) = if machine == "wit" { ("lx4", "--graceful") } else { (peer(machine), "--takeover") };
    let said = cluster.order(asked, &["node", "stop", machine, mode]);
    assert!(said.contains(&format!("{machine} has left the cluster")), "{said}");
    if machine != "wit" {
        both_on(cluster, peer(machine));
    }
}

/// The walk for one machine.
fn upgrade(cluster: &Cluster, machine: &str, ahead: u8) {
    stop(cluster, machine);
    install(cluster, machine, ahead);
    let (runs, said) = start(cluster, machine);
    assert!(runs, "{said}");
    runs_release(cluster, machine, ahead);
    for beginning in [DAEMON, GUARD] {
        let runs = executable(cluster, machine, beginning);
        assert!(runs.starts_with("/tmp/release/"), "{machine} runs {runs}");
    }
}

/// Waits until everybody is up and votes, and the machine runs this release.
fn runs_release(cluster: &Cluster, machine: &str, ahead: u8) -> Status {
    let is_so = |s: &Status| {
        let votes = s.nodes.iter().all(|n| n.state == "up" && n.voter);
        let runs = s.nodes.iter().any(|n| {
            n.name.as_str() == machine
                && n.version.as_deref() == Some(&version(ahead))
                && n.reads == Some(1 + ahead)
        });
        votes && runs
    };
    cluster.wait_for(&format!("{machine} up with release +{ahead}"), is_so)
}

fn both_on(cluster: &Cluster, node: &str) {
    cluster.wait_for(&format!("both services on {node}"), |s| {
        s.groups.iter().all(|g| g.state == "online" && g.owner.as_ref().is_some_and(|o| o.as_str() == node))
    });
}

fn all_online(cluster: &Cluster) {
    cluster.wait_for("both services online", |s| s.groups.iter().all(|g| g.state == "online"));
}

/// The executable of the process that begins so.
fn executable(cluster: &Cluster, machine: &str, beginning: &str) -> String {
    let pid = process_of(cluster, machine, beginning).unwrap_or_else(|| panic!("{beginning} on {machine}"));
    sh(cluster, machine, &format!("readlink /proc/{pid}/exe"))
}

/// Cuts the power of a node, whose services the other one takes over, and boots it.
fn lose(cluster: &Cluster, node: &str) {
    cluster.lab.off_and_wait(node).unwrap();
    both_on(cluster, peer(node));
    cluster.lab.on(node).unwrap();
    cluster.is_up(node);
}

/// Exchanges the daemon alone, under its guard and this group.
fn exchange_daemon(cluster: &Cluster, node: &str, ahead: u8, group: &str) {
    let epoch = find(&cluster.status().unwrap(), group).epoch;
    let daemon = process_of(cluster, node, DAEMON).unwrap();
    install(cluster, node, ahead);
    sh(cluster, node, &format!("kill {daemon}"));
    let status = runs_release(cluster, node, ahead);
    assert_eq!((owner(&status, group).as_str(), find(&status, group).epoch), (node, epoch));
}

/// A machine begins anew with this release, and joins again under its name.
fn joins(cluster: &Cluster, machine: &str, ahead: u8) -> (bool, String) {
    sh(cluster, machine, "find /var/lib/regent /etc/regent -mindepth 1 -delete");
    install(cluster, machine, ahead);
    let token = cluster.order("lx4", &["token", "--witness"]);
    let token = token.trim();
    let script = format!(
        "PATH=/tmp/release:$PATH setsid regent witness {token} --node {machine} --address 10.77.0.3 \
         --address 10.78.0.3 >/tmp/join.log 2>&1 </dev/null; echo $? >>/tmp/join.log; cat /tmp/join.log"
    );
    let began = Instant::now();
    loop {
        let said = sh(cluster, machine, &script);
        // That it is gone is proven by its silence, a moment after it has left.
        if !said.contains("nothing proves that it is gone") || began.elapsed() > PATIENCE {
            return (said.ends_with('0'), said);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn regent_is_upgraded_to_the_next_release_one_machine_at_a_time_with_the_services_on_the_others() {
    let cluster = Cluster::up("upgrade", &active_active());
    let writers = writers(&cluster);
    a_release_is_left_out(&cluster);
    upgrade(&cluster, "wit", 1);
    upgrade(&cluster, "lx4", 1);
    let status = cluster.status_of("lx5").unwrap();
    assert_eq!(status.format, 1, "lx5 reads no newer one");
    let said = cluster.order("lx5", &["status"]);
    assert!(said.contains("format 1 stays in force for lx5"), "{said}");
    mixed(&cluster);
    the_last_one(&cluster);
    no_way_back(&cluster);
    all_online(&cluster);
    nothing_lost(&cluster, writers);
}

/// A machine on which a release was left out reads nothing of what the others have written, and goes back.
fn a_release_is_left_out(cluster: &Cluster) {
    stop(cluster, "wit");
    install(cluster, "wit", 2);
    let (runs, said) = start(cluster, "wit");
    assert!(!runs && said.contains("it is in format 1, and this release of Regent reads 2 to 3"), "{said}");
    assert!(said.contains("install the release between"), "{said}");
    install(cluster, "wit", 0);
    let (runs, said) = start(cluster, "wit");
    assert!(runs, "{said}");
    runs_release(cluster, "wit", 0);
}

/// Two releases in one cluster: takeover in both directions, another configuration, newcomers of either release.
fn mixed(cluster: &Cluster) {
    cluster.order("lx4", &["group", "move", "one", "lx4"]);
    cluster.online_on("one", "lx4");
    lose(cluster, "lx5");
    runs_release(cluster, "lx5", 0);
    // Nobody may use what the next release brings.
    let output = cluster.on("lx4", &["group", "hold", "one"]);
    assert!(!output.status.success() && told(&output).contains("not every member runs a release"));
    for (node, text) in [("lx4", "# by the next release\n"), ("lx5", "")] {
        cluster.apply(
            node,
            &(active_active()
                .replace("takeover = \"normal\"", "takeover = \"normal\"\nsettling_time = \"2s\"")
                + text),
        );
        cluster.apply(node, &active_active());
    }
    let witness = |ahead: u8| {
        stop(cluster, "wit");
        let (joined, said) = joins(cluster, "wit", ahead);
        assert!(joined, "{said}");
        runs_release(cluster, "wit", ahead);
    };
    witness(0);
    witness(1);
    assert_eq!(cluster.status_of("lx4").unwrap().format, 1);
    cluster.order("lx4", &["group", "move", "two", "lx5"]);
    cluster.online_on("two", "lx5");
    // Also a daemon goes back under a guard of the next release.
    let guard = process_of(cluster, "lx4", GUARD);
    exchange_daemon(cluster, "lx4", 0, "one");
    assert_eq!(process_of(cluster, "lx4", GUARD), guard, "the guard outlives the daemon");
    // What boots is the release before: until the last one is upgraded, a machine may go back.
    lose(cluster, "lx4");
    runs_release(cluster, "lx4", 0);
    upgrade(cluster, "lx4", 1);
}

/// The last machine: its daemon is exchanged under its services and its guard, and then the guard.
fn the_last_one(cluster: &Cluster) {
    upgrade(cluster, "lx5", 0);
    cluster.order("lx5", &["group", "move", "two", "lx5"]);
    cluster.online_on("two", "lx5");
    assert!(cluster.events("lx4").iter().all(|e| e.text != RAISED));
    let guard = process_of(cluster, "lx5", GUARD);
    exchange_daemon(cluster, "lx5", 1, "two");
    assert_eq!(process_of(cluster, "lx5", GUARD), guard, "the guard outlives the daemon");
    cluster.wait_for("the next format", |s| s.format == 2);
    assert!(cluster.events("lx4").iter().any(|e| e.text == RAISED));
    assert!(!cluster.order("lx4", &["status"]).contains("releases:"));
    cluster.order("lx5", &["group", "hold", "two"]);
    cluster.order("lx4", &["group", "resume", "two"]);
    cluster.order("lx4", &["group", "move", "two", "lx4"]);
    the_guard_was_forgotten(cluster);
    cluster.order("lx4", &["group", "move", "two", "lx5"]);
    upgrade(cluster, "lx5", 1);
}

/// The guard of lx5 is still of the first release when the one after the next is installed: its daemon says so, and both
/// begin anew.
fn the_guard_was_forgotten(cluster: &Cluster) {
    let daemon = process_of(cluster, "lx5", DAEMON).unwrap();
    install(cluster, "lx5", 2);
    sh(cluster, "lx5", &format!("kill {daemon}"));
    cluster.wait_for("lx5 gone", |s| s.nodes.iter().any(|n| n.name.as_str() == "lx5" && n.state == "down"));
    let said = told(&cluster.on("lx5", &["status"]));
    assert!(said.contains("the guard of this machine is of another release"), "{said}");
    assert!(said.contains("this side speaks 2 to 3, the other 1 to 1"), "{said}");
    let (runs, said) = start(cluster, "lx5");
    assert!(runs, "{said}");
    runs_release(cluster, "lx5", 2);
}

/// Who goes back now refuses to run, says what to do, and has changed nothing.
fn no_way_back(cluster: &Cluster) {
    stop(cluster, "lx4");
    install(cluster, "lx4", 0);
    let (runs, said) = start(cluster, "lx4");
    assert!(!runs && said.contains("it is in format 2, and this release of Regent reads 1 to 1"), "{said}");
    assert!(said.contains("once all of them run it, none can go back"), "{said}");
    both_on(cluster, "lx5");
    install(cluster, "lx4", 1);
    let (runs, said) = start(cluster, "lx4");
    assert!(runs, "{said}");
    runs_release(cluster, "lx4", 1);
    cluster.order("lx4", &["group", "move", "one", "lx4"]);
    // A machine with the release before is not let in either.
    stop(cluster, "wit");
    let (joined, said) = joins(cluster, "wit", 0);
    assert!(!joined && said.contains("runs another release of Regent"), "{said}");
    assert!(said.contains("install the release here that the members run"), "{said}");
    let (joined, said) = joins(cluster, "wit", 1);
    assert!(joined, "{said}");
    runs_release(cluster, "wit", 1);
}
