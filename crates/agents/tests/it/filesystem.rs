//! File systems on loop devices: probed, checked, mounted, monitored.

use std::time::{Duration, Instant};

use regent_model::action::{Op, Resource};
use regent_model::config::{Check, FilesystemConfig};

use crate::support::{Disk, Node, Process, filesystem, fs, interface, isolated, sh};

fn resource(disk: &Disk, change: impl FnOnce(&mut FilesystemConfig)) -> Resource {
    let mut config = filesystem(&disk.device, &disk.mount_point());
    change(&mut config);
    fs(config)
}

#[test]
fn acquire_makes_the_mount_point_and_mounts_and_release_shows_the_device_free() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let resource = resource(&disk, |_| {});
        node.run(Op::Probe, &resource).stopped();
        node.run(Op::Acquire, &resource).runs();
        node.run(Op::Probe, &resource).runs();
        node.run(Op::Acquire, &resource).runs();
        node.run(Op::Monitor, &resource).runs();
        let record = std::fs::read_to_string(disk.mount_point().join(".regent-monitor")).unwrap();
        assert!(record.contains("node lx4\n") && record.contains("epoch 7\n"), "{record}");
        assert_eq!(record.len(), 512);
        let answer = node.run(Op::Release, &resource).stopped();
        assert!(answer.story().contains("is free"), "{}", answer.story());
        assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
        node.run(Op::Release, &resource).stopped();
        sh(&format!("fsck.ext4 -fn {}", disk.device.display()));
    });
}

#[test]
fn a_probe_tells_another_device_there_and_this_device_elsewhere() {
    let (disk, other) = (Disk::new(), Disk::new());
    isolated(move || {
        let mut node = Node::new();
        let resource = resource(&disk, |_| {});
        let point = disk.mount_point();
        std::fs::create_dir_all(&point).unwrap();
        sh(&format!("mount {} {}", other.device.display(), point.display()));
        let failure = node.run(Op::Probe, &resource).failed();
        assert!(failure.reason.contains(&format!("umount {}", point.display())), "{failure:?}");
        let failure = node.run(Op::Acquire, &resource).failed();
        assert!(failure.reason.contains("is mounted there"), "{failure:?}");
        sh(&format!("umount {} && mount {} /mnt", point.display(), disk.device.display()));
        let failure = node.run(Op::Probe, &resource).failed();
        assert!(failure.reason.contains("umount /mnt"), "{failure:?}");
        let failure = node.run(Op::Acquire, &resource).failed();
        assert!(failure.reason.contains("in use") && failure.evidence.contains("/mnt"), "{failure:?}");
        sh("umount /mnt");
    });
}

#[test]
fn a_device_that_is_missing_or_is_none_is_named() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let missing = resource(&disk, |c| c.device = "/dev/no-such-disk".into());
        node.run(Op::Probe, &missing).stopped();
        let failure = node.run(Op::Acquire, &missing).failed();
        assert!(failure.reason.contains("/dev/no-such-disk"), "{failure:?}");
        node.run(Op::Release, &missing).stopped();
        let none = resource(&disk, |c| c.device = disk.folder.0.join("image"));
        assert!(node.run(Op::Acquire, &none).failed().reason.contains("not a block device"));
    });
}

#[test]
fn a_superblock_with_errors_is_checked_and_repaired_under_the_guards_eyes() {
    let disk = Disk::new();
    isolated(move || {
        sh(&format!("debugfs -w -R 'ssv state 3' {} 2>/dev/null", disk.device.display()));
        let mut node = Node::new();
        let answer = node.run(Op::Acquire, &resource(&disk, |_| {})).runs();
        assert!(answer.story().contains("superblock says that errors"), "{}", answer.story());
        let log = node.guard.log();
        assert!(log[0] == "hold populated=false" && log[1].starts_with("drop processes"), "{log:?}");
        assert!(log[2].starts_with("perform"), "{log:?}");
        let state = sh(&format!("dumpe2fs -h {} 2>/dev/null | grep state", disk.device.display()));
        assert!(!state.contains("errors"), "{state}");
        node.run(Op::Release, &resource(&disk, |_| {})).stopped();
    });
}

#[test]
fn damage_that_fsck_does_not_repair_unasked_is_left_to_a_person() {
    let disk = Disk::new();
    isolated(move || {
        // Two inodes that claim the same blocks.
        let device = disk.device.display();
        sh(&format!("debugfs -w -R 'clri <2>' {device} 2>/dev/null"));
        let mut node = Node::new();
        let failure = node.run(Op::Acquire, &resource(&disk, |c| c.check = Check::Always)).failed();
        assert!(failure.reason.contains(&format!("fsck.ext4 -f {device}")), "{failure:?}");
        assert!(!failure.evidence.is_empty());
        assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
    });
}

#[test]
fn check_always_checks_a_clean_file_system_and_never_does_not() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        for (check, checked) in [(Check::Always, true), (Check::Never, false), (Check::Auto, false)] {
            let resource = resource(&disk, |c| c.check = check);
            let answer = node.run(Op::Acquire, &resource).runs();
            assert_eq!(answer.story().contains("fsck.ext4: clean"), checked, "{check:?}: {}", answer.story());
            node.run(Op::Release, &resource).stopped();
        }
    });
}

#[test]
fn a_file_system_that_turned_read_only_is_not_well() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let resource = resource(&disk, |_| {});
        node.run(Op::Acquire, &resource).runs();
        sh(&format!("mount -o remount,ro {}", disk.mount_point().display()));
        let failure = node.run(Op::Monitor, &resource).failed();
        assert!(failure.reason.contains("read-only"), "{failure:?}");
        node.run(Op::Release, &resource).stopped();
    });
}

#[test]
fn a_file_system_that_is_meant_to_be_read_only_is_well() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let resource = resource(&disk, |c| c.options = "ro,noatime".into());
        node.run(Op::Acquire, &resource).runs();
        node.run(Op::Monitor, &resource).runs();
        assert!(!disk.mount_point().join(".regent-monitor").exists());
        node.run(Op::Release, &resource).stopped();
    });
}

#[test]
fn a_mount_that_vanished_is_seen() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let resource = resource(&disk, |_| {});
        node.run(Op::Acquire, &resource).runs();
        sh(&format!("umount {}", disk.mount_point().display()));
        let answer = node.run(Op::Monitor, &resource).stopped();
        assert!(answer.story().contains("no longer mounted"), "{}", answer.story());
    });
}

#[test]
fn a_full_file_system_is_no_reason_to_fail_over() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let resource = resource(&disk, |_| {});
        node.run(Op::Acquire, &resource).runs();
        for size in ["64k", "4k", "512"] {
            let file = disk.mount_point().join(size);
            sh(&format!("dd if=/dev/zero of={} bs={size} 2>/dev/null || true", file.display()));
        }
        let answer = node.run(Op::Monitor, &resource).runs();
        assert!(answer.story().contains("is full"), "{}", answer.story());
        node.run(Op::Release, &resource).stopped();
    });
}

/// Stops every write to a file system, and lets them go on in the end.
struct Frozen(String);

impl Frozen {
    fn new(disk: &Disk) -> Self {
        let point = disk.mount_point().display().to_string();
        sh(&format!("fsfreeze -f {point}"));
        Self(point)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = std::process::Command::new("fsfreeze").arg("-u").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_hangs_fails_the_monitor_in_time_and_blocks_nothing_else() {
    let disk = Disk::new();
    isolated(move || {
        interface("lan0", Some("10.0.0.4/24"));
        let mut node = Node::new();
        let resource = resource(&disk, |_| {});
        node.run(Op::Acquire, &resource).runs();
        node.run(Op::Monitor, &resource).runs();
        let frozen = Frozen::new(&disk);
        let limit = Duration::from_secs(3);
        let begun = Instant::now();
        let hanging = node.begin(Op::Monitor, &resource, limit);
        let address = crate::support::address("10.0.0.50", 24, None);
        node.run(Op::Acquire, &address).runs();
        assert!(begun.elapsed() < limit, "the address did not wait for the disk");
        let failure = node.answer(hanging, limit * 2).failed();
        assert!(failure.timed_out && failure.reason.contains("write durably"), "{failure:?}");
        assert_eq!(node.hands().hung(), 1);
        // The next check does not hang behind the first, nor make another thread hang.
        let failure = node.within(Op::Monitor, &resource, limit).failed();
        assert!(failure.timed_out && failure.reason.contains("does not end"), "{failure:?}");
        assert_eq!(node.hands().hung(), 1);
        drop(frozen);
        crate::support::eventually("the thread ends", || node.hands().hung() == 0);
        node.run(Op::Monitor, &resource).runs();
        node.run(Op::Release, &resource).stopped();
    });
}

#[test]
fn a_check_that_hangs_does_not_pass_its_deadline() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        // A tool of that name that never ends; only this mount namespace sees it.
        let tool = disk.folder.0.join("fsck.ext4");
        std::fs::write(&tool, "#!/bin/sh\necho working on it\nsleep 300 &\nwait\n").unwrap();
        sh(&format!("chmod +x {0} && mount --bind {0} $(command -v fsck.ext4)", tool.display()));
        let resource = resource(&disk, |c| c.check = Check::Always);
        let limit = Duration::from_millis(1200);
        let answer = node.within(Op::Acquire, &resource, limit);
        // A busy machine may wake the waiting test late.
        assert!(answer.took <= limit + Duration::from_secs(5), "{:?}", answer.took);
        let failure = answer.failed();
        assert!(failure.timed_out && failure.evidence.contains("working on it"), "{failure:?}");
        assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
        assert_eq!(
            std::fs::read_dir(node.cgroup.0.join("g1"))
                .map_or(0, |d| d.flatten().filter(|e| e.path().is_dir()).count()),
            0
        );
    });
}

#[test]
fn the_guards_refusal_leaves_nothing_mounted() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        *node.guard.refuses.lock().unwrap() = Some("the lease has ended".into());
        let failure = node.run(Op::Acquire, &resource(&disk, |_| {})).failed();
        assert!(failure.reason.contains("the lease has ended"), "{failure:?}");
        node.run(Op::Probe, &resource(&disk, |_| {})).stopped();
    });
}

#[test]
fn a_probe_that_finds_the_device_claimed_in_another_namespace_says_by_whom() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let ready = disk.folder.0.join("ready");
        let script = format!(
            "unshare -m sh -c 'mount {} /mnt && touch {}; exec sleep 300'",
            disk.device.display(),
            ready.display()
        );
        let _other = Process::spawn(&script);
        crate::support::eventually("it is mounted", || ready.exists());
        let failure = node.run(Op::Probe, &resource(&disk, |_| {})).failed();
        assert!(failure.evidence.contains("the mount namespace of process"), "{failure:?}");
    });
}

#[test]
fn a_device_name_that_went_away_is_seen_and_the_device_is_released_all_the_same() {
    let disk = Disk::new();
    isolated(move || {
        let link = disk.folder.0.join("by-name");
        std::os::unix::fs::symlink(&disk.device, &link).unwrap();
        let mut node = Node::new();
        let resource = resource(&disk, |c| c.device = link.clone());
        node.run(Op::Acquire, &resource).runs();
        std::fs::remove_file(&link).unwrap();
        let failure = node.run(Op::Monitor, &resource).failed();
        assert!(failure.reason.contains("there is no device"), "{failure:?}");
        node.run(Op::Release, &resource).stopped();
        sh(&format!("fsck.ext4 -fn {}", disk.device.display()));
    });
}
