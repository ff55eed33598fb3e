//! File systems of one node inside a shared one, and folders put elsewhere.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use regent_agents::acts;
use regent_model::action::{Op, Resource};
use regent_model::config::Backing;
use regent_model::holding::{Act, Holding};
use regent_model::{NodeName, ResourceName};

use crate::support::{Disk, Node, Process, eventually, filesystem, fs, isolated, sh};

fn named(name: &str, mut config: regent_model::config::FilesystemConfig) -> Resource {
    config.name = ResourceName::new(name).unwrap();
    fs(config)
}

fn shared(disk: &Disk) -> Resource {
    named("shared", filesystem(&disk.device, &disk.mount_point()))
}

/// A cache with a device of each node's own, as `node` sees it.
fn cache(own: &Disk, inside: &Disk, node: &str) -> Resource {
    let name = |n: &str| NodeName::new(n).unwrap();
    let mut config = filesystem(Path::new("/dev/null"), &inside.mount_point().join("adm/cache"));
    config.backing =
        Backing::Local([(name("lx4"), own.device.clone()), (name("lx5"), "/dev/no-such-disk".into())].into());
    named("cache", config.on(&name(node)))
}

fn bind(folder: PathBuf, mount: &Path) -> Resource {
    let mut config = filesystem(&folder, mount);
    config.backing = Backing::Bind;
    config.fstype = "bind".into();
    config.options = String::new();
    named("etc", config)
}

#[test]
fn a_nodes_own_file_system_is_mounted_inside_the_shared_one_and_released_before_it() {
    let (disk, own) = (Disk::new(), Disk::new());
    isolated(move || {
        let mut node = Node::new();
        let (outer, inner) = (shared(&disk), cache(&own, &disk, "lx4"));
        node.run(Op::Acquire, &outer).runs();
        node.run(Op::Acquire, &inner).runs();
        let point = disk.mount_point().join("adm/cache");
        assert!(
            sh(&format!("findmnt -no SOURCE {}", point.display())).contains(own.device.to_str().unwrap())
        );
        std::fs::write(point.join("chunk"), "of this node").unwrap();
        node.run(Op::Monitor, &inner).runs();
        node.run(Op::Release, &inner).stopped();
        assert!(!point.join("chunk").exists(), "the cache is not on the shared disk");
        node.run(Op::Release, &outer).stopped();
        assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
        let failure = node.run(Op::Acquire, &cache(&own, &disk, "lx5")).failed();
        assert!(failure.reason.contains("/dev/no-such-disk"), "{failure:?}");
    });
}

#[test]
fn a_folder_of_the_shared_file_system_is_put_elsewhere_through_the_guard() {
    let disk = Disk::new();
    isolated(move || {
        let mut node = Node::new();
        let (outer, point) = (shared(&disk), disk.folder.0.join("etc/openafs"));
        let folder = disk.mount_point().join("afs/etc");
        let resource = bind(folder.clone(), &point);
        node.run(Op::Probe, &resource).stopped();
        node.run(Op::Acquire, &outer).runs();
        let failure = node.run(Op::Acquire, &resource).failed();
        assert!(failure.reason.contains(&format!("mkdir -p {}", folder.display())), "{failure:?}");
        std::fs::create_dir_all(&folder).unwrap();
        node.run(Op::Acquire, &resource).runs();
        node.run(Op::Acquire, &resource).runs();
        node.run(Op::Probe, &resource).runs();
        node.run(Op::Monitor, &resource).runs();
        std::fs::write(point.join("KeyFile"), "k").unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("KeyFile")).unwrap(), "k");
        let list = format!("{:?}", node.guard.log());
        assert!(list.contains("perform folder"), "{list}");
        sh(&format!("umount {}", point.display()));
        node.run(Op::Monitor, &resource).stopped();
        node.run(Op::Acquire, &resource).runs();
        node.run(Op::Release, &resource).stopped();
        assert!(!point.join("KeyFile").exists());
        node.run(Op::Release, &outer).stopped();
        assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
    });
}

#[test]
fn what_else_is_mounted_where_a_folder_belongs_is_left_alone() {
    let (disk, other) = (Disk::new(), Disk::new());
    isolated(move || {
        let mut node = Node::new();
        node.run(Op::Acquire, &shared(&disk)).runs();
        let folder = disk.mount_point().join("x");
        std::fs::create_dir_all(&folder).unwrap();
        sh(&format!("mount {} /mnt", other.device.display()));
        let resource = bind(folder, Path::new("/mnt"));
        let failure = node.run(Op::Probe, &resource).failed();
        assert!(failure.reason.contains("umount /mnt"), "{failure:?}");
        let failure = node.run(Op::Acquire, &resource).failed();
        assert!(failure.reason.contains("is mounted there"), "{failure:?}");
        node.run(Op::Release, &resource).stopped();
        assert!(sh("findmnt -no SOURCE /mnt").contains(other.device.to_str().unwrap()));
        sh("umount /mnt");
    });
}

#[test]
fn at_the_end_of_a_lease_whoever_works_in_the_folder_there_is_killed_and_nobody_else() {
    let disk = Disk::new();
    isolated(move || {
        let folder = disk.mount_point().join("afs");
        let point = disk.folder.0.join("elsewhere");
        std::fs::create_dir_all(disk.mount_point()).unwrap();
        std::fs::create_dir_all(&point).unwrap();
        let mount = Act::Mount {
            device: disk.device.clone(),
            mount: disk.mount_point(),
            fstype: "ext4".into(),
            options: "nodev".into(),
        };
        acts::perform(&mount).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        let put = Act::Bind { folder: folder.clone(), mount: point.clone(), options: "ro,nosuid".into() };
        for _ in 0..2 {
            acts::perform(&put).unwrap();
        }
        let options = sh(&format!("findmnt -no VFS-OPTIONS {}", point.display()));
        assert!(options.contains("ro") && options.contains("nosuid"), "{options}");
        assert!(options.contains("nodev"), "what the file system is mounted with is kept: {options}");
        assert!(std::fs::write(point.join("x"), "x").is_err(), "read-only there");
        std::fs::write(folder.join("x"), "x").unwrap();
        let mut there = Process::spawn(&format!("tail -f {}/x", point.display()));
        let mut here = Process::spawn(&format!("tail -f {}/x", folder.display()));
        let mut library = Process::spawn(&format!(
            "python3 -c 'import mmap, os, time; f = open(\"{}/x\"); m = mmap.mmap(f.fileno(), 0, prot=1); \
             os.closerange(3, 64); time.sleep(300)'",
            point.display()
        ));
        let opened = |p: &Process| sh(&format!("ls -l /proc/{}/fd 2>/dev/null || true", p.0.id()));
        let maps = |p: &Process| sh(&format!("cat /proc/{}/maps", p.0.id()));
        eventually("all have it open", || {
            opened(&there).contains("elsewhere/x")
                && opened(&here).contains("afs/x")
                && maps(&library).contains("elsewhere/x")
                && !opened(&library).contains("elsewhere/x")
        });
        let soon = Instant::now() + Duration::from_secs(5);
        acts::release(&Holding::Bind { folder: folder.clone(), mount: point.clone() }, soon).unwrap();
        assert!(!point.join("x").exists());
        eventually("who was there is gone", || !there.is_alive() && !library.is_alive());
        assert!(here.is_alive(), "the file system is another holding");
        acts::release(&mount.holding(), soon).unwrap();
        sh(&format!("fsck.ext4 -fn {}", disk.device.display()));
    });
}

#[test]
fn an_option_of_the_file_system_is_refused_for_a_folder_of_it() {
    let disk = Disk::new();
    isolated(move || {
        let put =
            Act::Bind { folder: disk.folder.0.clone(), mount: "/mnt".into(), options: "data=journal".into() };
        assert!(acts::perform(&put).unwrap_err().contains("give it there"));
        assert!(!sh("cat /proc/self/mounts").contains(" /mnt "));
    });
}
