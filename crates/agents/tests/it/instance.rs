//! Instances of databases: held with their group, started and stopped by hand, ended with the release and the lease.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use regent_agents::acts;
use regent_model::action::{Hand, How, Notice, Op, Outcome, Resource};
use regent_model::config::{InstanceCommands, InstanceConfig, InstanceKind, MonitorTimes, RestartLimits};
use regent_model::holding::Holding;
use regent_model::ids::InstanceName;

use crate::support::{Answer, Cgroup, Folder, Node, eventually};

pub(crate) fn config(name: &str, kind: InstanceKind, directory: &Path) -> InstanceConfig {
    let name = InstanceName::new(name).unwrap();
    InstanceConfig {
        resource: name.resource(),
        name,
        kind,
        directory: directory.to_owned(),
        port: 1972,
        address: None,
        autostart: false,
        default: false,
        networked: true,
        data_servers: Vec::new(),
        max_data_servers: 2,
        max_application_servers: 1,
        license_servers: Vec::new(),
        vendor: None,
        user: None,
        commands: InstanceCommands::default(),
        diagnose: None,
        start_timeout: Duration::from_secs(15),
        stop_timeout: Duration::from_secs(10),
        monitor: MonitorTimes::new(Duration::ZERO, Duration::from_secs(30), 2),
        limits: RestartLimits { retries: 0, restarts: 0, window: Duration::from_secs(600) },
        hostname: None,
    }
}

pub(crate) fn instance(config: InstanceConfig) -> Resource {
    Resource::Instance(Arc::new(config))
}

/// A node that says who it is, as the engine does.
pub(crate) fn node(name: &str, boot: &str, epoch: u64) -> Node {
    let mut node = Node::new();
    be(&mut node, name, boot, epoch);
    node
}

/// From now on requests are those of this node, under this ownership.
pub(crate) fn be(node: &mut Node, name: &str, boot: &str, epoch: u64) {
    node.node = name.to_owned();
    node.epoch = regent_model::Epoch(epoch);
    node.variables = [("REGENT_BOOT", boot), ("REGENT_INCARNATION", "3")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
}

pub(crate) fn by_hand(node: &mut Node, hand: Hand, resource: &Resource) -> Answer {
    node.how = How::ByHand(hand);
    let answer = node.run(hand.op(), resource);
    node.how = How::Plain;
    answer
}

/// The last word of the agent on whether it runs.
pub(crate) fn told_running(node: &mut Node) -> Option<bool> {
    let mut last = None;
    while let Some(notice) = node.notice(Duration::from_millis(50)) {
        if let Notice::Instance { runs, .. } = notice {
            last = Some(runs);
        }
    }
    last
}

/// A server that can be asked whether it runs, by a file.
fn commands(folder: &Path) -> InstanceConfig {
    let pid = folder.join("pid").display().to_string();
    let mut config = config("index", InstanceKind::Command, folder);
    config.commands = InstanceCommands {
        start: Some(format!("setsid sleep 1000 & echo $! > {pid}")),
        stop: Some(format!("kill $(cat {pid}); rm {pid}")),
        force: None,
        status: Some(format!("grep -q sleep /proc/$(cat {pid})/cmdline")),
        version: Some("echo index 2.1".into()),
    };
    config
}

#[test]
fn an_instance_is_held_and_started_by_hand_and_its_lock_file_says_who_runs_it() {
    let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
    let index = instance(commands(&folder.0));
    let lock = folder.0.join("mgr/regent.ids");
    node.run(Op::Probe, &index).stopped();
    let held = node.run(Op::Acquire, &index).runs();
    assert!(held.story().contains("guard's list"), "{}", held.story());
    assert_eq!(node.guard.list.lock().unwrap().len(), 1);
    assert!(!lock.exists(), "it is not started");
    assert_eq!(told_running(&mut node), Some(false));
    by_hand(&mut node, Hand::Status, &index).stopped();

    by_hand(&mut node, Hand::Start, &index).runs();
    by_hand(&mut node, Hand::Status, &index).runs();
    assert_eq!(told_running(&mut node), Some(true));
    let text = std::fs::read_to_string(&lock).unwrap();
    assert!(text.contains("node=lx4\nincarnation=3\nepoch=7\nboot=boot-1\n"), "{text}");
    assert!(Cgroup::is_populated(&node.app_cgroup("instance-INDEX")), "it runs where the guard ends it");
    assert!(by_hand(&mut node, Hand::Start, &index).runs().story().contains("runs already"));
    node.run(Op::Monitor, &index).runs();

    by_hand(&mut node, Hand::Stop, &index).stopped();
    assert!(!lock.exists());
    assert_eq!(told_running(&mut node), Some(false));
    node.run(Op::Monitor, &index).runs();
    node.run(Op::Release, &index).stopped();
    assert!(node.guard.holds_nothing());
}

#[test]
fn a_release_ends_what_was_started_by_hand_and_a_start_that_comes_late_finds_nothing() {
    let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
    let index = instance(commands(&folder.0));
    node.run(Op::Acquire, &index).runs();
    by_hand(&mut node, Hand::Start, &index).runs();
    node.run(Op::Release, &index).stopped();
    assert!(!node.app_cgroup("instance-INDEX").exists() && !folder.0.join("mgr/regent.ids").exists());
    let late = by_hand(&mut node, Hand::Start, &index).failed();
    assert!(late.reason.contains("not held on this node any more"), "{late:?}");

    // Held again under another ownership: what was asked under the one before does not start either.
    node.epoch = regent_model::Epoch(8);
    node.run(Op::Acquire, &index).runs();
    node.epoch = regent_model::Epoch(7);
    by_hand(&mut node, Hand::Start, &index).failed();
    // The guard has let go: the daemon, which does not know yet, starts nothing.
    node.epoch = regent_model::Epoch(8);
    let path = node.app_cgroup("instance-INDEX");
    let holding = Holding::Cgroup { path, grace: Duration::ZERO };
    acts::release(&holding, std::time::Instant::now() + Duration::from_secs(5)).unwrap();
    by_hand(&mut node, Hand::Start, &index).failed();
    assert!(!folder.0.join("pid").exists());
}

#[test]
fn a_start_by_hand_in_progress_is_ended_by_the_release() {
    let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
    let mut slow = commands(&folder.0);
    slow.commands.start = Some(format!("echo x > {}; sleep 1000", folder.0.join("begun").display()));
    let slow = instance(slow);
    node.run(Op::Acquire, &slow).runs();
    node.how = How::ByHand(Hand::Start);
    let start = node.begin(Op::Acquire, &slow, Duration::from_secs(20));
    node.how = How::Plain;
    eventually("it starts", || folder.0.join("begun").exists());
    node.run(Op::Release, &slow).stopped();
    assert!(node.answer(start, Duration::from_secs(5)).failed().reason.contains("release"));
    assert!(!node.app_cgroup("instance-INDEX").exists());
    assert!(node.guard.holds_nothing());
}

#[test]
fn the_next_daemon_goes_on_with_what_is_held_and_tells_its_end() {
    let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
    let index = instance(commands(&folder.0));
    node.run(Op::Acquire, &index).runs();
    node.restart_daemon();
    assert_eq!(node.run(Op::Probe, &index).runs().outcome, Outcome::Running, "held, and down");
    assert_eq!(told_running(&mut node), Some(false));
    by_hand(&mut node, Hand::Start, &index).runs();
    node.restart_daemon();
    node.run(Op::Probe, &index).runs();
    assert_eq!(told_running(&mut node), Some(true));
    let pid = std::fs::read_to_string(folder.0.join("pid")).unwrap();
    crate::support::sh(&format!("kill -9 {}", pid.trim()));
    let told = node
        .wait(Duration::from_secs(5), |r| matches!(r, regent_agents::Report::Notice(Notice::Exited { .. })));
    assert!(told.is_some(), "its end is news");
    assert!(node.run(Op::Monitor, &index).failed().reason.contains("was not stopped"));
    // On the same node a start works, whatever the lock file says.
    let again = by_hand(&mut node, Hand::Start, &index).runs();
    assert!(again.story().contains("was up here under epoch 7"), "{}", again.story());
    by_hand(&mut node, Hand::Force, &index).stopped();
    node.run(Op::Release, &index).stopped();
}

#[test]
fn a_lock_of_another_node_is_taken_under_a_later_ownership_and_its_proof_is_told() {
    let (folder, mut node) = (Folder::new(), node("lx5", "boot-2", 12));
    let index = instance(InstanceConfig { autostart: true, ..commands(&folder.0) });
    std::fs::create_dir(folder.0.join("mgr")).unwrap();
    let lock = folder.0.join("mgr/regent.ids");
    std::fs::write(&lock, "node=lx4\nepoch=13\nboot=b\n").unwrap();
    let refused = node.run(Op::Acquire, &index).failed();
    assert!(refused.reason.contains("lx4 started it under epoch 13"), "{refused:?}");
    assert!(!folder.0.join("pid").exists(), "nothing was started");
    std::fs::write(&lock, "node=lx4\nepoch=11\nboot=b\n").unwrap();
    let story = node.run(Op::Acquire, &index).runs().story();
    assert!(story.contains("names lx4 (epoch 11)") && story.contains("proof (lease-ended"), "{story}");
    assert!(std::fs::read_to_string(&lock).unwrap().contains("node=lx5\n"));
    // Removed by hand, it changes nothing: it still runs, is not started twice, and is stopped.
    std::fs::remove_file(&lock).unwrap();
    assert!(by_hand(&mut node, Hand::Start, &index).runs().story().contains("runs already"));
    node.run(Op::Release, &index).stopped();
}

/// Plays a vendor's command: it keeps what it was told in a folder, and its exit codes are worth nothing.
const VENDOR: &str = r#"#!/bin/sh
dir=DIR
case "$1" in
qlist) if [ -e $dir/up ]; then s="running, since Sat Jun  7 10:00:00 2014"; else s="down, last used Fri"; fi
    echo "CACHEHA1^$dir^5.2.0.400^$s^cache.cpf^1972^57772^0^ok^" ;;
start) echo "$@" >> $dir/log; [ -e $dir/broken ] && exit 0; setsid sleep 1000 & echo up > $dir/up; echo lx4 > $dir/mgr/cache.ids; exit 3 ;;
stop|stopnoshut) echo "$@" >> $dir/log; [ -e $dir/stubborn ] && exit 0; rm -f $dir/up $dir/mgr/cache.ids ;;
force) read answer; echo "$@ $answer" >> $dir/log; rm -f $dir/up ;;
esac
"#;

fn vendor(folder: &Path) -> InstanceConfig {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("ccontrol");
    std::fs::write(&path, VENDOR.replace("DIR", &folder.display().to_string())).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(folder.join("mgr")).unwrap();
    let mut config = config("cacheha1", InstanceKind::Cache, folder);
    config.vendor = Some(path);
    (config.start_timeout, config.stop_timeout) = (Duration::from_secs(2), Duration::from_secs(2));
    config
}

#[test]
fn a_vendors_command_is_believed_for_what_it_shows_and_not_for_its_exit_code() {
    let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
    let cache = instance(vendor(&folder.0));
    let said = |name: &str| std::fs::read_to_string(folder.0.join(name)).unwrap_or_default();
    node.run(Op::Acquire, &cache).runs();
    by_hand(&mut node, Hand::Start, &cache).runs();
    by_hand(&mut node, Hand::Stop, &cache).stopped();
    assert_eq!(said("log"), "start CACHEHA1 quietly\nstop CACHEHA1 quietly\n");
    // What somebody says besides goes on to it.
    let with = |node: &mut Node, words: &[&str]| node.words = words.iter().map(|w| (*w).to_owned()).collect();
    with(&mut node, &["nostu", "/c/other.cpf"]);
    by_hand(&mut node, Hand::Start, &cache).runs();
    with(&mut node, &["stopnoshut", "bypass"]);
    by_hand(&mut node, Hand::Stop, &cache).stopped();
    with(&mut node, &[]);
    let told = "start CACHEHA1 quietly nostu /c/other.cpf\nstopnoshut CACHEHA1 quietly bypass\n";
    assert!(said("log").ends_with(told), "{}", said("log"));
    std::fs::write(folder.0.join("broken"), "").unwrap();
    let failed = by_hand(&mut node, Hand::Start, &cache).failed();
    assert!(failed.reason.contains("does not run"), "its exit code was 0: {failed:?}");
    assert!(!folder.0.join("mgr/regent.ids").exists(), "it is not up");
    node.run(Op::Monitor, &cache).runs();
    std::fs::remove_file(folder.0.join("broken")).unwrap();

    by_hand(&mut node, Hand::Start, &cache).runs();
    std::fs::write(folder.0.join("stubborn"), "").unwrap();
    let left = by_hand(&mut node, Hand::Stop, &cache).failed();
    assert!(left.reason.contains("asked to stop and is not down"), "{left:?}");
    by_hand(&mut node, Hand::Status, &cache).runs();
    // A release does not leave it at that.
    let story = node.run(Op::Release, &cache).stopped().story();
    assert!(story.contains("forced down") && said("log").ends_with("force CACHEHA1 quietly Y\n"), "{story}");
}

#[test]
fn a_vendors_lock_file_goes_under_a_new_ownership_and_never_otherwise() {
    let (folder, mut node) = (Folder::new(), node("lx5", "boot-2", 12));
    let cache = instance(vendor(&folder.0));
    let ids = folder.0.join("mgr/cache.ids");
    std::fs::write(&ids, "lx4 0x3f").unwrap();
    let story = node.run(Op::Acquire, &cache).runs().story();
    assert!(story.contains("removed") && story.contains("lease-ended") && !ids.exists(), "{story}");
    // What is there now was written under this ownership.
    std::fs::write(&ids, "lx4 0x3f").unwrap();
    node.run(Op::Acquire, &cache).runs();
    node.restart_daemon();
    node.run(Op::Probe, &cache).runs();
    by_hand(&mut node, Hand::Start, &cache).runs();
    by_hand(&mut node, Hand::Force, &cache).stopped();
    assert!(ids.exists());
    node.run(Op::Release, &cache).stopped();
}
