//! A lab comes up, is used, and goes down without a trace.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::time::Duration;

use regent_lab::{Folder, Lab, Power};
use support::{Ender, eventually, pings, sh, spec, traces, up};

#[test]
fn machines_have_names_addresses_and_the_disk_and_down_leaves_nothing() {
    let spec = spec("life");
    let _ender = Ender(Folder::of(&spec.name).unwrap());
    let lab = Lab::up(&spec).unwrap();
    assert!(!traces(&spec.name).is_empty());
    assert_eq!(sh(&lab, "lx4", "hostname; cat /etc/hostname"), "lx4\nlx4");
    assert_eq!(sh(&lab, "lx5", "echo $REGENT_LAB_NODE $$ | cut -d' ' -f1; cat /proc/1/comm"), "lx5\ninit");
    let addresses = sh(&lab, "client", "ip -br addr show dev eth1");
    assert!(addresses.contains("10.78.0.200/24") && addresses.contains("fd78::200/64"), "{addresses}");
    assert!(pings(&lab, "client", "10.77.0.4") && pings(&lab, "lx4", "10.78.0.5"));
    assert_eq!(sh(&lab, "lx4", "getent hosts 10.77.0.3 | tr -s ' '"), "10.77.0.3 wit");
    assert_eq!(sh(&lab, "lx4", "blockdev --getsize64 --getro /dev/san0"), "67108864\n0");
    assert!(!sh(&lab, "wit", "ls /dev").contains("san0"));
    lab.down().unwrap();
    assert_eq!(traces(&spec.name), Default::default());
    assert!(!Folder::of(&spec.name).unwrap().path().exists());
}

#[test]
fn a_leashed_lab_ends_with_its_holder() {
    let name = {
        let lab = up("leash");
        lab.status().unwrap().name
    };
    assert_eq!(traces(&name), Default::default());
}

#[test]
fn a_lab_whose_leash_was_taken_off_stays_until_it_is_taken_down() {
    let spec = spec("stay");
    let ender = Ender(Folder::of(&spec.name).unwrap());
    let lab = Lab::up_leashed(&spec).unwrap().stay().unwrap();
    drop(lab);
    std::thread::sleep(Duration::from_millis(500));
    let lab = Lab::attach(&spec.name).unwrap();
    assert_eq!(sh(&lab, "lx4", "echo here").trim(), "here");
    drop(ender);
    assert_eq!(traces(&spec.name), Default::default());
}

#[test]
fn down_clears_away_what_a_killed_fabric_leaves() {
    let spec = spec("orphan");
    let _ender = Ender(Folder::of(&spec.name).unwrap());
    let lab = Lab::up(&spec).unwrap();
    sh(&lab, "lx4", "mkdir -p /mnt/d && mount /dev/san0 /mnt/d && echo x > /mnt/d/x");
    let fabric = rustix::process::Pid::from_raw(lab.status().unwrap().fabric).unwrap();
    let client = lab.spawn("client", {
        let mut command = std::process::Command::new("sleep");
        command.arg("1000");
        command
    });
    rustix::process::kill_process(fabric, rustix::process::Signal::KILL).unwrap();
    // Everything dies with the fabric, even what was started later.
    client.unwrap().wait().unwrap();
    let folder = lab.folder().clone();
    assert!(Lab::attach(&spec.name).unwrap_err().to_string().contains("regent lab down"));
    regent_lab::down(&folder).unwrap();
    assert_eq!(traces(&spec.name), Default::default());
}

#[test]
fn two_labs_live_side_by_side() {
    let (one, two) = (up("one"), up("two"));
    sh(&one, "lx4", "ip addr add 10.77.0.100/24 dev eth0");
    assert!(pings(&one, "client", "10.77.0.100"));
    assert!(!pings(&two, "client", "10.77.0.100"));
    drop(one);
    assert!(pings(&two, "client", "10.77.0.4"));
}

#[test]
fn a_second_lab_of_the_same_name_is_refused_and_harms_nobody() {
    let lab = up("same");
    let error = Lab::up(&spec("same")).unwrap_err().to_string();
    assert!(error.contains("regent lab down"), "{error}");
    assert!(pings(&lab, "client", "10.77.0.4"));
}

#[test]
fn a_machine_comes_back_new_but_keeps_its_persistent_folders() {
    let lab = up("boots");
    let before = lab.status().unwrap();
    sh(
        &lab,
        "lx4",
        "cd /var/lib/regent; echo a > kept; sync kept .; echo lost > lost; echo b > /tmp/gone; echo c > /run/gone; echo d > /root/gone",
    );
    sh(&lab, "lx4", "test $(cat /proc/sys/kernel/random/boot_id) = $REGENT_BOOT_ID");
    lab.off_and_wait("lx4").unwrap();
    let off = lab.status().unwrap();
    assert_eq!(off.machine("lx4").unwrap().power, Power::Off);
    assert!(lab.output("lx4", &["true"]).unwrap_err().to_string().contains("regent lab on lx4"));
    lab.on("lx4").unwrap();
    assert!(lab.on("lx4").unwrap_err().to_string().contains("on already"));
    let after = lab.status().unwrap();
    assert_ne!(before.machine("lx4").unwrap().boot_id, after.machine("lx4").unwrap().boot_id);
    assert_eq!(after.machine("lx4").unwrap().boot, 2);
    assert_eq!(
        sh(
            &lab,
            "lx4",
            "cat /var/lib/regent/kept; ! grep lost /var/lib/regent/lost 2>/dev/null; ls -A /tmp; ls /run/gone /root/gone 2>/dev/null || true"
        ),
        "a"
    );
    assert!(pings(&lab, "client", "10.77.0.4"));
}

#[test]
fn a_machine_cannot_reach_the_host() {
    let lab = up("tame");
    let denied = "test ! -e /proc/sysrq-trigger || test -c /proc/sysrq-trigger; \
                  test ! -e /dev/watchdog; test ! -e /dev/vda; ! mknod /tmp/x b 7 0 2>/dev/null; \
                  ! sh -c 'echo 1 > /proc/sys/vm/drop_caches' 2>/dev/null; ! date -s @0 >/dev/null 2>&1; \
                  echo 1 > /proc/sys/net/ipv4/ip_forward; touch /etc/only-here";
    sh(&lab, "lx4", &format!("set -e\n{denied}"));
    assert!(!std::path::Path::new("/etc/only-here").exists());
}

#[test]
fn a_reboot_from_inside_brings_the_machine_back() {
    let lab = up("reboot");
    let reboot = "import ctypes; ctypes.CDLL(None).reboot(0x1234567)";
    let _dies_with_it = lab.output("lx5", &["python3", "-c", reboot]).unwrap();
    eventually("lx5 runs again", Duration::from_secs(10), || {
        let status = lab.status().unwrap();
        let lx5 = status.machine("lx5").unwrap();
        lx5.boot == 2 && lx5.power == Power::On
    });
}

#[test]
fn a_lab_whose_starter_dies_half_way_goes_down_by_itself() {
    let spec = spec("half");
    let _ender = Ender(Folder::of(&spec.name).unwrap());
    let starter = std::process::Command::new("python3")
        .args([
            "-c",
            "import socket,subprocess,sys,json,os\n\
            a,b=socket.socketpair()\n\
            os.makedirs(sys.argv[2])\n\
            open(sys.argv[2]+'/spec.json','w').write(sys.argv[3])\n\
            subprocess.Popen([sys.argv[1],'fabric',sys.argv[2]],stdin=b)",
        ])
        .arg(&spec.executable)
        .arg(Folder::of(&spec.name).unwrap().path())
        .arg(serde_json::to_string(&spec).unwrap())
        .status();
    assert!(starter.unwrap().success());
    eventually("nothing is left", Duration::from_secs(20), || traces(&spec.name).is_empty());
}

#[test]
fn a_lab_that_cannot_be_built_leaves_nothing_and_says_why() {
    let mut spec = spec("wrong");
    spec.machine_mut("lx5").unwrap().command = vec!["/no/such/daemon".into()];
    let error = Lab::up(&spec).unwrap_err().to_string();
    assert!(error.contains("cannot start /no/such/daemon on lx5"), "{error}");
    assert_eq!(traces(&spec.name), Default::default());
}
