//! The SAN: power cuts lose what a node had in memory and nothing else, and two writers are seen.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::time::{Duration, Instant};

use regent_lab::{DiskState, Lab, Power, two_writers};
use support::{eventually, sh, sh_output, up};

// Never a plain `sync` here: it waits for every disk of the one kernel that all machines share, hanging ones too.
const MOUNT: &str = "mkdir -p /mnt/d && mount -t ext4 /dev/san0 /mnt/d";

fn image(lab: &Lab) -> Vec<u8> {
    std::fs::read(lab.folder().image(0)).unwrap()
}

#[test]
fn after_a_power_cut_the_image_stays_and_the_peer_finds_what_was_synced() {
    let lab = up("cut");
    sh(&lab, "lx4", MOUNT);
    sh(
        &lab,
        "lx4",
        "cp /usr/bin/env /mnt/d/synced && sync /mnt/d/synced /mnt/d && echo lost > /mnt/d/unsynced",
    );
    // A writer that is busy at the moment of the cut.
    let mut busy = std::process::Command::new("sh");
    busy.args([
        "-c",
        "while :; do dd if=/dev/zero of=/mnt/d/busy bs=64k count=16 conv=notrunc,fsync 2>/dev/null; done",
    ]);
    let busy = lab.spawn("lx4", busy).unwrap();
    let idle = lab.san_log().unwrap().writes().count();
    let written = || lab.san_log().unwrap().writes().count();
    eventually("it is busy", Duration::from_secs(20), || written() > idle + 30);
    let at = lab.off("lx4").unwrap();
    let before = image(&lab);
    busy.wait().unwrap();
    lab.off_and_wait("lx4").unwrap();
    assert!(before == image(&lab), "something was written after the cut");
    let log = lab.san_log().unwrap();
    assert!(log.writes().all(|w| w.ended <= at), "a write ended after the cut was confirmed");
    let began = Instant::now();
    sh(&lab, "lx5", MOUNT);
    assert!(began.elapsed() < Duration::from_secs(5));
    sh(&lab, "lx5", "cmp /usr/bin/env /mnt/d/synced");
    assert!(
        !sh_output(&lab, "lx5", "grep -q lost /mnt/d/unsynced").status.success(),
        "a cut loses what was not synced"
    );
    sh(&lab, "lx5", "umount /mnt/d && e2fsck -fn /dev/san0");
    assert_eq!(two_writers(&lab.san_log().unwrap()), []);
}

#[test]
fn a_disk_goes_there_and_back_without_a_stale_block() {
    let lab = up("pingpong");
    for round in 0..3 {
        for node in ["lx4", "lx5"] {
            let script = format!(
                "{MOUNT}; cat /mnt/d/list 2>/dev/null | wc -l; echo {node} {round} >> /mnt/d/list; umount /mnt/d"
            );
            let expected = round * 2 + usize::from(node == "lx5");
            assert_eq!(sh(&lab, node, &script), expected.to_string());
        }
    }
    assert_eq!(two_writers(&lab.san_log().unwrap()), []);
    sh(&lab, "lx5", "e2fsck -fn /dev/san0");
}

#[test]
fn a_double_mount_is_seen() {
    let lab = up("double");
    sh(&lab, "lx4", MOUNT);
    sh(&lab, "lx5", MOUNT);
    sh(&lab, "lx4", "echo a > /mnt/d/a; sync -f /mnt/d");
    sh(&lab, "lx5", "echo b > /mnt/d/b; sync -f /mnt/d");
    let seen = two_writers(&lab.san_log().unwrap());
    assert!(!seen.is_empty());
}

#[test]
fn a_paused_owner_that_goes_on_writes_late_and_is_seen() {
    let lab = up("late");
    sh(&lab, "lx4", &format!("{MOUNT}; echo a > /mnt/d/a; sync -f /mnt/d; echo late > /mnt/d/late"));
    lab.pause("lx4", true).unwrap();
    let before = lab.san_log().unwrap().writes().count();
    std::thread::sleep(Duration::from_millis(200));
    sh(&lab, "lx5", &format!("{MOUNT}; cat /mnt/d/a; echo b > /mnt/d/b; sync -f /mnt/d"));
    let log = lab.san_log().unwrap();
    assert!(log.writes().count() > before);
    assert_eq!(two_writers(&log), []);
    lab.resume("lx4").unwrap();
    assert_eq!(lab.status().unwrap().machine("lx4").unwrap().disk, Some(DiskState::Ok));
    sh(&lab, "lx4", "sync -f /mnt/d");
    assert!(!two_writers(&lab.san_log().unwrap()).is_empty());
}

#[test]
fn an_erroring_disk_errors_and_a_hanging_one_hangs_until_it_is_well() {
    let lab = up("switches");
    let write = "dd if=/dev/zero of=/dev/san0 bs=4k count=1 seek=99 oflag=direct conv=notrunc 2>&1";
    sh(&lab, "lx4", write);
    lab.disk("lx4", DiskState::Error).unwrap();
    assert!(!sh_output(&lab, "lx4", write).status.success());
    sh(&lab, "lx5", write);
    lab.disk("lx4", DiskState::Slow(120)).unwrap();
    let began = Instant::now();
    sh(&lab, "lx4", write);
    assert!(began.elapsed() >= Duration::from_millis(120));
    lab.disk("lx4", DiskState::Hang).unwrap();
    let mut hung = std::process::Command::new("sh");
    hung.args(["-c", write]);
    let hung = lab.spawn("lx4", hung).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!hung.has_ended(), "it hangs");
    sh(&lab, "lx5", write); // and nobody else does
    assert_eq!(lab.status().unwrap().machine("lx4").unwrap().disk, Some(DiskState::Hang));
    lab.disk("lx4", DiskState::Ok).unwrap();
    assert!(hung.wait().unwrap().success());
    assert!(lab.disk("wit", DiskState::Hang).unwrap_err().to_string().contains("no shared disk"));
    assert!(lab.disk("lx4", DiskState::Cut).is_err());
}

#[test]
fn one_disk_of_two_can_be_ill_alone() {
    let mut spec = support::spec("single");
    spec.share(&["/dev/san1".into()]);
    let lab = Lab::up_leashed(&spec).unwrap();
    let write = |disk: &str| {
        sh_output(&lab, "lx4", &format!("dd if=/dev/zero of={disk} bs=4k count=1 oflag=direct 2>&1"))
    };
    let second = std::path::Path::new("/dev/san1");
    lab.single_disk("lx4", second, DiskState::Error).unwrap();
    assert!(write("/dev/san0").status.success() && !write("/dev/san1").status.success());
    sh(&lab, "lx5", "dd if=/dev/zero of=/dev/san1 bs=4k count=1 oflag=direct 2>&1");
    lab.single_disk("lx4", second, DiskState::Hang).unwrap();
    let mut hung = std::process::Command::new("dd");
    hung.args(["if=/dev/zero", "of=/dev/san1", "bs=4k", "count=1", "oflag=direct"]);
    let hung = lab.spawn("lx4", hung).unwrap();
    assert!(write("/dev/san0").status.success());
    lab.disk("lx4", DiskState::Error).unwrap();
    assert!(!write("/dev/san0").status.success() && !hung.wait().unwrap().success());
    lab.disk("lx4", DiskState::Ok).unwrap();
    lab.off_and_wait("lx4").unwrap();
    lab.on("lx4").unwrap();
    assert!(write("/dev/san1").status.success(), "another boot, another path");
    assert!(lab.single_disk("lx4", std::path::Path::new("/dev/san7"), DiskState::Ok).is_err());
}

#[test]
fn an_earlier_copy_of_a_machines_own_disk_is_put_back() {
    let lab = up("putback");
    let copy = lab.folder().machine("lx4").join("copy");
    let write = |word: &str| format!("echo {word} > /var/lib/regent/word; sync -f /var/lib/regent");
    sh(&lab, "lx4", &write("first"));
    lab.copy_own_disk("lx4", &copy).unwrap();
    sh(&lab, "lx4", &write("second"));
    lab.put_own_disk_back("lx4", &copy).unwrap();
    assert_eq!(lab.status().unwrap().machine("lx4").unwrap().power, Power::Off);
    lab.on("lx4").unwrap();
    assert_eq!(sh(&lab, "lx4", "cat /var/lib/regent/word"), "first");
}

#[test]
fn a_node_with_a_hanging_disk_can_be_powered_off_and_on() {
    let lab = up("hung");
    sh(&lab, "lx4", MOUNT);
    lab.disk("lx4", DiskState::Hang).unwrap();
    let mut stuck = std::process::Command::new("sh");
    stuck.args(["-c", "echo x > /mnt/d/x; sync /mnt/d/x"]);
    let stuck = lab.spawn("lx4", stuck).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    lab.off("lx4").unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    stuck.wait().unwrap();
    lab.on("lx4").unwrap();
    sh(&lab, "lx4", &format!("{MOUNT}; touch /mnt/d/y; umount /mnt/d"));
}

#[test]
fn a_read_only_loop_device_does_not_stick() {
    let lab = up("setro");
    for _ in 0..2 {
        sh(&lab, "lx4", "test $(blockdev --getro /dev/san0) = 0; blockdev --setro /dev/san0");
        lab.off_and_wait("lx4").unwrap();
        lab.on("lx4").unwrap();
    }
    eventually("writable", Duration::from_secs(1), || sh(&lab, "lx4", "blockdev --getro /dev/san0") == "0");
}
