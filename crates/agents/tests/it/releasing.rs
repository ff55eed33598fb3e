//! Releasing a file system that somebody keeps busy.

use std::time::Duration;

use regent_model::action::{Op, Resource};

use crate::support::{Disk, Node, Process, eventually, filesystem, fs, isolated, sh};

fn resource(disk: &Disk, force: bool) -> Resource {
    let mut config = filesystem(&disk.device, &disk.mount_point());
    config.force_unmount = force;
    fs(config)
}

#[test]
fn without_the_right_to_kill_the_holders_are_named_and_live() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let resource = resource(&disk, false);
        node.run(Op::Acquire, &resource).runs();
        let point = disk.mount_point();
        let mut works = Process::spawn(&format!("sh -c 'cd {}; exec sleep 301'", point.display()));
        let mut opens = Process::spawn(&format!("sleep 302 > {}/a-file", point.display()));
        sh(&format!("cp /bin/sleep {0}/tool && sync {0}/tool", point.display()));
        let mut runs = Process::spawn(&format!("{}/tool 303", point.display()));
        eventually("all hold it", || {
            let cwd = std::fs::read_link(format!("/proc/{}/cwd", works.0.id()));
            let exe = std::fs::read_link(format!("/proc/{}/exe", runs.0.id()));
            cwd.is_ok_and(|p| p == point)
                && exe.is_ok_and(|p| p.starts_with(&point))
                && point.join("a-file").exists()
        });
        let answer = node.run(Op::Release, &resource);
        assert!(answer.story().contains("a-file"), "{}", answer.story());
        let failure = answer.failed();
        assert!(failure.reason.contains("force_unmount"), "{failure:?}");
        for (process, holds) in [(&mut works, "works in"), (&mut opens, "has open"), (&mut runs, "runs")] {
            let id = format!("process {} (", process.0.id());
            let line = failure.evidence.lines().find(|l| l.contains(&id));
            assert!(line.is_some_and(|l| l.contains(holds)), "{id} {holds}: {failure:?}");
            assert!(process.is_alive());
        }
        assert!(!node.guard.holds_nothing());
        drop((works, opens, runs));
        node.run(Op::Release, &resource).stopped();
        assert!(node.guard.holds_nothing());
    });
}

#[test]
fn with_the_right_to_kill_holders_get_term_first_and_then_kill() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let resource = resource(&disk, true);
        node.run(Op::Acquire, &resource).runs();
        let point = disk.mount_point();
        let said = disk.folder.0.join("said");
        let stubborn = format!(
            "sh -c \"cd {}; trap 'echo asked >> {}' TERM; touch ready; while :; do sleep 0.05; done\"",
            point.display(),
            said.display()
        );
        let mut stubborn = Process::spawn(&stubborn);
        eventually("it holds the mount", || point.join("ready").exists());
        let answer = node.within(Op::Release, &resource, Duration::from_secs(3)).stopped();
        assert!(std::fs::read_to_string(&said).unwrap().contains("asked"));
        assert!(!stubborn.is_alive());
        let story = answer.story();
        assert!(story.contains("SIGTERM to") && story.contains("SIGKILL to"), "{story}");
        assert!(node.guard.holds_nothing());
        sh(&format!("fsck.ext4 -fn {}", disk.device.display()));
    });
}

#[test]
fn what_is_mounted_on_it_goes_first() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let forced = resource(&disk, true);
        node.run(Op::Acquire, &forced).runs();
        let inner = disk.mount_point().join("inner");
        std::fs::create_dir(&inner).unwrap();
        sh(&format!("mount -t tmpfs nested {}", inner.display()));
        let failure = node.run(Op::Release, &resource(&disk, false)).failed();
        assert!(failure.evidence.contains("nested is mounted on it"), "{failure:?}");
        node.run(Op::Release, &forced).stopped();
    });
}

#[test]
fn an_unmount_that_another_namespace_survives_is_not_called_released() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let polite = resource(&disk, false);
        node.run(Op::Acquire, &polite).runs();
        let ready = disk.folder.0.join("ready");
        let script =
            format!("unshare -m --propagation private sh -c 'touch {}; exec sleep 300'", ready.display());
        let mut other = Process::spawn(&script);
        eventually("the namespace is there", || ready.exists());
        let failure = node.run(Op::Release, &polite).failed();
        assert!(failure.reason.contains("not released"), "{failure:?}");
        assert!(failure.evidence.contains("the mount namespace of process"), "{failure:?}");
        assert!(!node.guard.holds_nothing());
        node.run(Op::Release, &resource(&disk, true)).stopped();
        assert!(other.is_alive(), "the process itself holds nothing");
        assert!(node.guard.holds_nothing());
    });
}
