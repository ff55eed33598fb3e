//! The raw acts, as the guard performs them.

use std::path::Path;
use std::time::{Duration, Instant};

use regent_agents::acts;
use regent_model::holding::{Act, Holding};

use crate::support::{Cgroup, Disk, Folder, Process, eventually, interface, isolated, sh};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn mount(disk: &Disk, options: &str) -> Act {
    std::fs::create_dir_all(disk.mount_point()).unwrap();
    Act::Mount {
        device: disk.device.clone(),
        mount: disk.mount_point(),
        fstype: "ext4".into(),
        options: options.into(),
    }
}

#[test]
fn an_address_is_added_once_and_released_once_however_often_it_is_asked() {
    isolated(|| {
        interface("lan0", None);
        let add = |prefix| Act::AddAddress {
            interface: "lan0".into(),
            address: "10.0.0.50".parse().unwrap(),
            prefix,
            broadcast: None,
            label: Some("lan0:rg1".into()),
            replaces: None,
            from: None,
            leads: false,
        };
        acts::perform(&add(24)).unwrap();
        acts::perform(&add(24)).unwrap();
        let shown = sh("ip -o addr show dev lan0 && ip route");
        assert!(shown.contains("brd 10.0.0.255") && shown.contains("10.0.0.0/24 dev lan0"), "{shown}");
        let error = acts::perform(&add(16)).unwrap_err();
        assert!(error.contains("ip address del 10.0.0.50/24 dev lan0"), "{error}");
        for _ in 0..2 {
            acts::release(&add(24).holding(), soon()).unwrap();
        }
        assert!(!sh("ip -o addr").contains("10.0.0.50"));
        let gone = Holding::address("lan9", "10.0.0.50".parse().unwrap(), 24);
        acts::release(&gone, soon()).unwrap();
    });
}

#[test]
fn an_address_gets_the_broadcast_address_that_it_is_given() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/16"));
        let given = "10.0.0.0".parse().unwrap();
        for (address, broadcast) in [("10.0.0.50", Some(given)), ("10.0.0.51", None)] {
            let act = match Act::add_address("lan0", address.parse().unwrap(), 16) {
                Act::AddAddress { interface, address, prefix, label, replaces, from, leads, .. } => {
                    Act::AddAddress { interface, address, prefix, broadcast, label, replaces, from, leads }
                }
                other => other,
            };
            acts::perform(&act).unwrap();
            let shown = sh(&format!("ip -o -4 addr show dev lan0 to {address}"));
            assert_eq!(shown.contains("brd 10.0.0.0 "), broadcast.is_some(), "{shown}");
            acts::release(&act.holding(), soon()).unwrap();
        }
    });
}

#[test]
fn adding_to_an_interface_that_is_not_there_is_refused() {
    isolated(|| {
        let address = "10.0.0.50".parse().unwrap();
        let act = Act::add_address("lan0", address, 24);
        assert!(acts::perform(&act).unwrap_err().contains("no such interface"));
    });
}

#[test]
fn a_mount_takes_its_options_and_is_mounted_once() {
    let disk = Disk::new();
    isolated(move || {
        let act = mount(&disk, "noatime,nosuid,data=ordered,_netdev");
        acts::perform(&act).unwrap();
        acts::perform(&act).unwrap();
        let shown =
            sh(&format!("grep {} /proc/thread-self/mounts || grep {0} /proc/mounts", disk.device.display()));
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.contains("noatime") && shown.contains("nosuid"), "{shown}");
        acts::release(&act.holding(), soon()).unwrap();
        acts::release(&act.holding(), soon()).unwrap();
    });
}

#[test]
fn a_mount_that_the_kernel_refuses_is_told_in_its_own_words() {
    let disk = Disk::new();
    isolated(move || {
        let error = acts::perform(&mount(&disk, "no-such-option")).unwrap_err();
        assert!(error.contains("no-such-option") && error.contains("the kernel says"), "{error}");
        sh(&format!("dd if=/dev/zero of={} bs=4096 count=1 conv=notrunc status=none", disk.device.display()));
        let error = acts::perform(&mount(&disk, "")).unwrap_err();
        assert!(error.contains("superblock"), "{error}");
        let unknown = Act::Mount {
            device: disk.device.clone(),
            mount: disk.mount_point(),
            fstype: "nofs".into(),
            options: String::new(),
        };
        assert!(acts::perform(&unknown).unwrap_err().contains("\"nofs\""));
    });
}

#[test]
fn a_mount_over_somebody_elses_is_refused() {
    let disk = Disk::new();
    isolated(move || {
        let act = mount(&disk, "");
        sh(&format!("mount -t tmpfs other {}", disk.mount_point().display()));
        let error = acts::perform(&act).unwrap_err();
        assert!(error.contains("other (tmpfs) is mounted there"), "{error}");
    });
}

#[test]
fn a_release_kills_who_keeps_the_mount_busy_and_shows_the_device_free() {
    let disk = Disk::new();
    isolated(move || {
        let act = mount(&disk, "");
        acts::perform(&act).unwrap();
        let mut holder = Process::spawn(&format!("sleep 300 > {}/file", disk.mount_point().display()));
        eventually("the file is open", || disk.mount_point().join("file").exists());
        assert!(holder.is_alive());
        let took = acts::release(&act.holding(), soon()).unwrap();
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(!holder.is_alive());
        sh(&format!("fsck.ext4 -fn {}", disk.device.display()));
    });
}

#[test]
fn a_release_unmounts_the_copy_in_another_mount_namespace_too() {
    let disk = Disk::new();
    isolated(move || {
        let act = mount(&disk, "");
        acts::perform(&act).unwrap();
        let ready = disk.folder.0.join("ready");
        let script =
            format!("unshare -m --propagation private sh -c 'touch {}; exec sleep 300'", ready.display());
        let mut other = Process::spawn(&script);
        eventually("the namespace is there", || ready.exists());
        acts::release(&act.holding(), soon()).unwrap();
        assert!(other.is_alive(), "its processes are not to blame");
        sh(&format!("fsck.ext4 -fn {}", disk.device.display()));
    });
}

#[test]
fn a_release_unmounts_the_device_from_every_other_place_too() {
    let disk = Disk::new();
    isolated(move || {
        let act = mount(&disk, "");
        acts::perform(&act).unwrap();
        sh(&format!("mount --bind {} /mnt", disk.mount_point().display()));
        let mut holder = Process::spawn("sleep 300 > /mnt/file");
        eventually("the file is open", || disk.mount_point().join("file").exists());
        acts::release(&act.holding(), soon()).unwrap();
        assert!(!holder.is_alive());
        sh(&format!("fsck.ext4 -fn {}", disk.device.display()));
    });
}

#[test]
fn a_device_that_something_else_claims_is_not_released() {
    let disk = Disk::new();
    isolated(move || {
        use std::os::unix::fs::OpenOptionsExt;
        let act = mount(&disk, "");
        acts::perform(&act).unwrap();
        acts::release(&act.holding(), soon()).unwrap();
        let claim =
            std::fs::File::options().read(true).custom_flags(libc::O_EXCL).open(&disk.device).unwrap();
        let begun = Instant::now();
        let error = acts::release(&act.holding(), begun + Duration::from_millis(300)).unwrap_err();
        assert!(error.contains("still claimed"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        drop(claim);
        acts::release(&act.holding(), soon()).unwrap();
    });
}

#[test]
fn a_device_that_is_not_there_and_not_mounted_is_released() {
    isolated(|| {
        let holding = Holding::Mount { device: "/dev/no-such-disk".into(), mount: "/no/such/place".into() };
        acts::release(&holding, soon()).unwrap();
    });
}

#[test]
fn a_cgroup_is_emptied_whatever_its_processes_do_and_removed_with_those_in_it() {
    let top = Cgroup::new();
    let inner = top.0.join("app/main");
    std::fs::create_dir_all(&inner).unwrap();
    let script = "trap '' TERM HUP; setsid sh -c \"trap '' TERM; sleep 300 & sleep 300\" & sleep 300";
    let join = format!("echo $$ > {}/cgroup.procs; {script}", inner.display());
    let mut process = std::process::Command::new("/bin/sh").arg("-c").arg(join).spawn().unwrap();
    let count = || std::fs::read_to_string(inner.join("cgroup.procs")).unwrap().lines().count();
    eventually("all of them live", || count() >= 5);
    let holding = Holding::Cgroup { path: top.0.join("app"), grace: Duration::ZERO };
    let took = acts::release(&holding, soon()).unwrap();
    process.wait().unwrap();
    assert!(took < Duration::from_secs(10), "the sleeps would take 300 s: {took:?}");
    assert!(!top.0.join("app").exists());
    acts::release(&holding, soon()).unwrap();
}

#[test]
fn a_grace_lets_a_process_end_by_itself() {
    let (top, folder) = (Cgroup::new(), Folder::new());
    let said = folder.0.join("said");
    let script = format!(
        "echo $$ > {}/cgroup.procs; trap 'echo bye > {1}; exit' TERM; touch {1}; \
         while :; do sleep 0.05; done",
        top.0.display(),
        said.display()
    );
    let mut process = std::process::Command::new("/bin/sh").arg("-c").arg(script).spawn().unwrap();
    eventually("it is ready", || said.exists());
    let holding = Holding::Cgroup { path: top.0.clone(), grace: Duration::from_secs(3) };
    acts::release(&holding, soon()).unwrap();
    process.wait().unwrap();
    assert_eq!(std::fs::read_to_string(&said).unwrap(), "bye\n");
}

#[test]
fn nobody_joins_a_cgroup_that_was_released() {
    let top = Cgroup::new();
    let path = top.0.join("app");
    std::fs::create_dir(&path).unwrap();
    let door = std::fs::File::options().write(true).open(path.join("cgroup.procs")).unwrap();
    acts::release(&Holding::Cgroup { path: path.clone(), grace: Duration::ZERO }, soon()).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = std::io::Write::write(&mut &door, b"0").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    assert!(Path::new(&path).exists());
}
