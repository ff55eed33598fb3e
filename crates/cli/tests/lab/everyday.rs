//! What happens to a site every day, and moves nothing: upgrades, power cycles, lost packets, late answers, busy
//! machines, clocks that are set.

use std::process::{Command, Stdio};
use std::time::Duration;

use regent_lab::Running;
use regent_model::Epoch;

use crate::cluster::{Cluster, address_group, find, head, ledger_group, owner, peer};
use crate::machine::{DAEMON, GUARD, LEDGER, process_of, python, sh};

fn pause(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

fn epoch_of(cluster: &Cluster, group: &str) -> Epoch {
    let online = |s: &regent_api::Status| find(s, group).state == "online";
    find(&cluster.wait_for("the group online", online), group).epoch
}

/// The group is where it was, and was never elsewhere meanwhile.
fn has_not_moved(cluster: &Cluster, group: &str, epoch: Epoch, after: &str) {
    assert_eq!(epoch_of(cluster, group), epoch, "it moved: {after}\n{}", cluster.evidence());
}

/// The process that serves on `node`: if it is still the same, no client was ever sent away.
fn service(cluster: &Cluster, node: &str) -> String {
    process_of(cluster, node, LEDGER).unwrap_or_else(|| panic!("nothing serves\n{}", cluster.evidence()))
}

/// Processes that never rest, until this is dropped.
struct Busy(Vec<Running>);

impl Busy {
    /// Two loops for each core, at the usual priority; with `disk` also somebody who writes and syncs.
    fn new(cluster: &Cluster, disk: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let mut lines = vec!["while :; do :; done"; 2 * cores];
        if disk {
            lines.push(
                "while :; do dd if=/dev/zero of=/var/lib/regent/busy bs=256k count=64 conv=fsync; done",
            );
        }
        let start = |line: &&str| {
            let mut command = Command::new("sh");
            command.args(["-c", line]).stdout(Stdio::null()).stderr(Stdio::null());
            cluster.lab.spawn("lx4", command).unwrap()
        };
        Self(lines.iter().map(start).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.iter().for_each(|running| running.kill().unwrap());
    }
}

#[test]
fn an_upgrade_and_kills_of_the_daemon_under_load_move_nothing_and_leave_the_guard_alone() {
    let cluster = Cluster::up("upgr", &(head("normal") + &ledger_group("cascading", "\"fenced\"")));
    cluster.online_on("ledger", "lx4");
    let epoch = epoch_of(&cluster, "ledger");
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    let (guard, before) = (process_of(&cluster, "lx4", GUARD), process_of(&cluster, "lx4", DAEMON).unwrap());
    // Another file in its place, as a package does; the lab holds the old one there by a mount.
    sh(
        &cluster,
        "lx4",
        "cd /usr/local/bin; cp regent /tmp/new; echo another build >> /tmp/new; umount -l regent; mv /tmp/new regent",
    );
    let ledger = service(&cluster, "lx4");
    let busy = Busy::new(&cluster, false);
    sh(&cluster, "lx4", &format!("kill -TERM {before}"));
    cluster
        .wait_for("the new daemon", |_| process_of(&cluster, "lx4", DAEMON).is_some_and(|pid| pid != before));
    let mut daemon = process_of(&cluster, "lx4", DAEMON).unwrap();
    let runs = sh(&cluster, "lx4", &format!("tail -c 14 /proc/{daemon}/exe"));
    assert_eq!(runs, "another build");
    for _ in 0..3 {
        pause(0.8);
        sh(&cluster, "lx4", &format!("kill -KILL {daemon}"));
        let killed = daemon.clone();
        cluster
            .wait_for("a daemon", |_| process_of(&cluster, "lx4", DAEMON).is_some_and(|pid| pid != killed));
        daemon = process_of(&cluster, "lx4", DAEMON).unwrap();
    }
    pause(1.0);
    drop(busy);
    assert_eq!(process_of(&cluster, "lx4", GUARD), guard);
    assert_eq!(service(&cluster, "lx4"), ledger, "it was restarted\n{}", cluster.evidence());
    has_not_moved(&cluster, "ledger", epoch, "an upgrade and three kills");
    cluster.nothing_lost(writer);
}

#[test]
fn after_a_whole_site_power_loss_every_order_of_booting_ends_with_one_owner() {
    let cluster = Cluster::up("boots", &(head("fast") + &address_group("cascading")));
    let observer = cluster.watch();
    for order in [["lx4", "lx5", "wit"], ["lx5", "wit", "lx4"], ["wit", "lx5", "lx4"]] {
        for machine in order {
            cluster.lab.off_and_wait(machine).unwrap();
        }
        if order[0] == "wit" {
            // All at once.
            std::thread::scope(|scope| {
                for machine in order {
                    let lab = &cluster.lab;
                    scope.spawn(move || lab.on(machine).unwrap());
                }
            });
        } else {
            for machine in order {
                cluster.lab.on(machine).unwrap();
            }
        }
        cluster.online_on("front", "lx4");
        let epoch = epoch_of(&cluster, "front");
        pause(1.0);
        has_not_moved(&cluster, "front", epoch, "the boots were over");
    }
    cluster.one_address(observer);
}

#[test]
fn a_node_that_flaps_is_left_by_its_group_once_and_no_ping_pong_follows() {
    let cluster = Cluster::up("flap", &(head("fast") + &address_group("rotating")));
    let observer = cluster.watch();
    let first = cluster.wait_for("an owner", |s| find(s, "front").state == "online");
    let (flapping, other) = (owner(&first, "front"), peer(&owner(&first, "front")));
    let epoch = epoch_of(&cluster, "front");
    for round in 0..5_u32 {
        cluster.lab.off_and_wait(&flapping).unwrap();
        cluster.online_on("front", other);
        cluster.lab.on(&flapping).unwrap();
        pause(0.3 * f64::from(round));
    }
    cluster.is_up(&flapping);
    pause(1.0);
    has_not_moved(&cluster, "front", Epoch(epoch.0 + 1), "five power cycles");
    cluster.online_on("front", other);
    cluster.one_address(observer);
}

#[test]
fn a_network_that_loses_a_fifth_of_its_packets_moves_nothing() {
    let cluster = Cluster::up("lossy", &(head("normal") + &address_group("cascading")));
    cluster.online_on("front", "lx4");
    let epoch = epoch_of(&cluster, "front");
    cluster.lab.lossy("lx4", None, 20).unwrap();
    pause(12.0);
    has_not_moved(&cluster, "front", epoch, "a fifth of the packets of lx4 was lost");
    let told = cluster.events("lx4");
    assert!(!told.iter().any(|e| e.kind == "letting_go"), "{}", cluster.evidence());
}

#[test]
fn peers_that_answer_late_and_an_owner_that_is_frozen_for_less_than_its_lease_move_nothing() {
    let cluster = Cluster::up("late", &(head("normal") + &address_group("cascading")));
    cluster.online_on("front", "lx4");
    let epoch = epoch_of(&cluster, "front");
    for _ in 0..5 {
        // Both voters whose acknowledgements the owner needs are late at once.
        for machine in ["lx5", "wit"] {
            cluster.lab.pause(machine, false).unwrap();
        }
        pause(0.2);
        for machine in ["lx5", "wit"] {
            cluster.lab.resume(machine).unwrap();
        }
        pause(0.5);
    }
    has_not_moved(&cluster, "front", epoch, "its voters were late");
    for silent in [false, true, false, true] {
        cluster.lab.pause("lx4", silent).unwrap();
        pause(0.2);
        cluster.lab.resume("lx4").unwrap();
        pause(0.8);
    }
    has_not_moved(&cluster, "front", epoch, "it was frozen for a moment");
}

#[test]
fn fast_keeps_its_owner_while_every_core_is_busy() {
    let cluster = Cluster::up("busyf", &(head("fast") + &address_group("cascading")));
    cluster.online_on("front", "lx4");
    let epoch = epoch_of(&cluster, "front");
    let busy = Busy::new(&cluster, false);
    pause(12.0);
    has_not_moved(&cluster, "front", epoch, "every core was busy");
    drop(busy);
}

#[test]
fn normal_keeps_its_owner_while_every_core_and_its_disk_are_busy() {
    let cluster = Cluster::up("busyn", &(head("normal") + &address_group("cascading")));
    cluster.online_on("front", "lx4");
    let epoch = epoch_of(&cluster, "front");
    let busy = Busy::new(&cluster, true);
    pause(12.0);
    has_not_moved(&cluster, "front", epoch, "every core and the disk were busy");
    drop(busy);
}

#[test]
fn a_partition_that_heals_and_a_lost_node_that_comes_back_begin_no_epoch_under_rotating() {
    let cluster = Cluster::up("back", &(head("fast") + &ledger_group("rotating", "\"fenced\"")));
    let first = cluster.wait_for("an owner", |s| find(s, "ledger").state == "online");
    let (lost, other) = (owner(&first, "ledger"), peer(&owner(&first, "ledger")));
    cluster.lab.off(&lost).unwrap();
    cluster.online_on("ledger", other);
    let epoch = epoch_of(&cluster, "ledger");
    let writer = cluster.writer(1);
    cluster.written_on(&writer, other);
    let ledger = service(&cluster, other);
    cluster.lab.on(&lost).unwrap();
    cluster.is_up(&lost);
    pause(1.0);
    has_not_moved(&cluster, "ledger", epoch, "the lost node came back");
    cluster.lab.cut(&lost, None).unwrap();
    pause(1.0);
    cluster.heal(&lost);
    cluster.is_up(&lost);
    pause(1.0);
    has_not_moved(&cluster, "ledger", epoch, "the partition healed");
    assert_eq!(service(&cluster, other), ledger, "it was restarted\n{}", cluster.evidence());
    cluster.nothing_lost(writer);
}

/// A library that is loaded into every process of a machine and moves its wall clock by the seconds in a file.
const STEP: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>
static long offset(void) {
    long seconds = 0;
    FILE *file = fopen("/etc/clock-offset", "r");
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += offset();
    return result;
}
"#;

#[test]
fn a_wall_clock_that_is_set_by_hours_in_either_direction_moves_nothing() {
    let cluster = Cluster::up("clock", &(head("normal") + &ledger_group("cascading", "\"fenced\"")));
    cluster.online_on("ledger", "lx4");
    for machine in ["lx5", "lx4"] {
        python(&cluster, machine, "import sys; open('/tmp/step.c', 'w').write(sys.stdin.read())", STEP);
        sh(
            &cluster,
            machine,
            "cc -shared -fPIC -o /usr/local/lib/step.so /tmp/step.c -ldl && echo /usr/local/lib/step.so > /etc/ld.so.preload",
        );
        // Guard and daemon begin anew, with the library.
        cluster.order(machine, &["node", "stop", "--takeover"]);
        cluster.order(machine, &["node", "start"]);
        cluster.is_up(machine);
        let loaded = sh(&cluster, machine, "grep -l step.so /proc/[0-9]*/maps | wc -l");
        assert!(
            loaded.parse::<u32>().unwrap() >= 3,
            "supervisor, guard and daemon have the library: {loaded}"
        );
    }
    cluster.online_on("ledger", "lx4");
    let epoch = epoch_of(&cluster, "ledger");
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    let ledger = service(&cluster, "lx4");
    let newest = |machine: &str| {
        let entries = cluster.events(machine);
        entries.iter().rev().find(|e| e.node.as_str() == machine).map_or(0, |e| e.wall_ms)
    };
    for (machine, hours) in [("lx4", 10_i64), ("lx4", -10), ("lx5", 10), ("lx5", -10), ("lx4", 0)] {
        let before = newest(machine);
        sh(&cluster, machine, &format!("echo {} > /etc/clock-offset", hours * 3600));
        // Something for its journal: its daemon begins anew.
        let daemon = process_of(&cluster, machine, DAEMON).unwrap();
        sh(&cluster, machine, &format!("kill -KILL {daemon}"));
        cluster.wait_for("its word", |_| newest(machine).abs_diff(before) > 9 * 3_600_000);
        pause(1.0);
        has_not_moved(&cluster, "ledger", epoch, &format!("the clock of {machine} was set by {hours} h"));
    }
    assert_eq!(service(&cluster, "lx4"), ledger, "it was restarted\n{}", cluster.evidence());
    cluster.nothing_lost(writer);
}
