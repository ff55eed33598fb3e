//! A real database of GT.M: made, recovered before every open, served by GT.CM, stopped, forced, killed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use regent_agents::{acts, instance_environment};
use regent_model::action::{Hand, Op, Resource};
use regent_model::config::{DataServer, InstanceConfig, InstanceKind};
use regent_model::holding::Holding;
use regent_model::ids::InstanceName;

use crate::instance::{be, by_hand, config, instance, node, told_running};
use crate::support::{Folder, Node, eventually, isolated, sh};

fn gtm(name: &str, directory: &Path, port: u16) -> InstanceConfig {
    InstanceConfig { port, ..config(name, InstanceKind::Gtm, directory) }
}

fn held(config: &InstanceConfig) -> Resource {
    instance(config.clone())
}

/// A process of somebody who uses the instance on its node.
fn user(node: &Node, config: &InstanceConfig, line: &str) -> Command {
    let environment = instance_environment(config, &node.run_dir.0).unwrap();
    let dist = environment.iter().find(|(key, _)| key == "gtm_dist").unwrap().1.clone();
    let mut command = Command::new(format!("{dist}/mumps"));
    command.args(["-run", "%XCMD", line]).envs(environment);
    command
}

fn m(node: &Node, config: &InstanceConfig, line: &str) -> String {
    let output = user(node, config, line).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
}

#[test]
fn a_database_is_made_with_journals_served_and_closed_and_one_that_is_there_is_kept() {
    isolated(|| {
        sh("ip link set lo up");
        let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
        let own = InstanceConfig { autostart: true, ..gtm("cacheha1", &folder.0, 6789) };
        let story = node.run(Op::Acquire, &held(&own)).runs().story();
        assert!(story.contains("made the new database") && story.contains("listens on port 6789"), "{story}");
        assert_eq!(told_running(&mut node), Some(true));
        assert_eq!(m(&node, &own, "set ^A(1)=42 write ^A(1)"), "42");
        let story = by_hand(&mut node, Hand::Stop, &held(&own)).stopped().story();
        assert!(story.contains("closed the database"), "{story}");
        let story = by_hand(&mut node, Hand::Start, &held(&own)).runs().story();
        assert!(story.contains("nothing to recover") && !story.contains("made"), "{story}");
        assert_eq!(m(&node, &own, "write ^A(1)"), "42");
        // A process of somebody else's is told to end, and the database is closed all the same.
        let mut other = user(&node, &own, "set ^B=1 hang 100").spawn().unwrap();
        eventually("it has begun", || m(&node, &own, "write $get(^B)") == "1");
        let story = node.run(Op::Release, &held(&own)).stopped().story();
        assert!(story.contains("as with mupip stop") && !story.contains("forced"), "{story}");
        assert!(other.wait().is_ok() && node.guard.holds_nothing());
        assert!(!folder.0.join("mgr/regent.ids").exists());
    });
}

#[test]
fn what_a_crash_left_is_recovered_before_anybody_opens_it_and_nothing_that_was_committed_is_lost() {
    isolated(|| {
        sh("ip link set lo up");
        let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
        let own = InstanceConfig { autostart: true, ..gtm("cacheha1", &folder.0, 6789) };
        let mut committed = 0;
        for epoch in 7..13 {
            let (name, boot) = if epoch % 2 == 1 { ("lx4", "boot-1") } else { ("lx5", "boot-2") };
            be(&mut node, name, boot, epoch);
            let story = node.run(Op::Acquire, &held(&own)).runs().story();
            if epoch > 7 {
                assert!(story.contains("was not stopped)") && story.contains("out: epoch"), "{story}");
                let found: u64 = m(&node, &own, "write $order(^T(\"\"),-1)").parse().unwrap();
                assert!(found >= committed, "{found} of {committed} are left");
            }
            // What it prints is committed; what others see of it may not be yet.
            let line = "for i=$order(^T(\"\"),-1)+1:1 tstart ():serial set ^T(i)=i tcommit  write i,!";
            let said = folder.0.join("said");
            let output = std::fs::File::create(&said).unwrap();
            let mut writer = user(&node, &own, line).stdout(output).spawn().unwrap();
            let last =
                || std::fs::read_to_string(&said).unwrap().lines().rev().nth(1).and_then(|l| l.parse().ok());
            eventually("it commits", || last() > Some(committed + 10));
            committed = last().unwrap();
            // What a lease's end does: everything in the control group is killed. The writer is somebody else's.
            let path = node.app_cgroup("instance-CACHEHA1");
            let holding = Holding::Cgroup { path, grace: Duration::ZERO };
            writer.kill().unwrap();
            acts::release(&holding, Instant::now() + Duration::from_secs(5)).unwrap();
            writer.wait().unwrap();
            node.restart_daemon();
        }
        let aside = std::fs::read_dir(&folder.0).unwrap().flatten();
        let aside = aside.filter(|e| e.file_name().to_string_lossy().contains(".mjl_")).count();
        assert!((1..=4).contains(&aside), "{aside} journals that were set aside are kept");
        node.run(Op::Acquire, &held(&own)).runs();
        node.run(Op::Release, &held(&own)).stopped();
    });
}

#[test]
fn forced_down_it_starts_again_with_what_was_committed() {
    isolated(|| {
        sh("ip link set lo up");
        let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
        let own = gtm("cacheha1", &folder.0, 6789);
        node.run(Op::Acquire, &held(&own)).runs();
        by_hand(&mut node, Hand::Start, &held(&own)).runs();
        let mut other =
            user(&node, &own, "tstart ():serial set ^C=1 tcommit  set ^D=1 hang 100").spawn().unwrap();
        eventually("it is committed", || m(&node, &own, "write $get(^C)") == "1");
        by_hand(&mut node, Hand::Force, &held(&own)).stopped();
        assert!(!other.wait().unwrap().success(), "whoever had it open was ended");
        by_hand(&mut node, Hand::Start, &held(&own)).runs();
        assert_eq!(m(&node, &own, "write ^C"), "1");
        node.run(Op::Release, &held(&own)).stopped();
    });
}

#[test]
fn a_port_that_is_taken_is_told_and_nothing_is_left_running() {
    isolated(|| {
        sh("ip link set lo up");
        let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
        let _taken = std::net::TcpListener::bind("0.0.0.0:6789").unwrap();
        let own = gtm("cacheha1", &folder.0, 6789);
        node.run(Op::Acquire, &held(&own)).runs();
        let failed = by_hand(&mut node, Hand::Start, &held(&own)).failed();
        assert!(failed.reason.contains("port 6789 is taken on this node: process"), "{failed:?}");
        by_hand(&mut node, Hand::Status, &held(&own)).stopped();
        assert!(!folder.0.join("mgr/regent.ids").exists());
        node.run(Op::Release, &held(&own)).stopped();
    });
}

#[test]
fn globals_of_another_instance_are_reached_by_its_server_and_not_with_the_network_off() {
    isolated(|| {
        sh("ip link set lo up");
        let (one, two, mut node) = (Folder::new(), Folder::new(), node("lx4", "boot-1", 7));
        let server = InstanceConfig { autostart: true, ..gtm("cacheha2", &two.0, 6790) };
        let own = InstanceConfig {
            autostart: true,
            data_servers: vec![DataServer {
                name: InstanceName::new("cacheha2").unwrap(),
                address: "127.0.0.1:6790".parse().unwrap(),
                database: Some(two.0.join("mumps.dat")),
                globals: vec!["Y*".into(), "ORDERS".into()],
            }],
            ..gtm("cacheha1", &one.0, 6789)
        };
        for config in [&server, &own] {
            node.run(Op::Acquire, &held(config)).runs();
        }
        assert_eq!(m(&node, &own, "set ^Yes=1,^ORDERS(3)=4,^LOCAL=5 write ^Yes+^ORDERS(3)"), "5");
        assert_eq!(m(&node, &server, "write ^Yes,^ORDERS(3),$data(^LOCAL)"), "140", "it is there");
        let off = InstanceConfig { networked: false, ..own.clone() };
        by_hand(&mut node, Hand::Stop, &held(&own)).stopped();
        by_hand(&mut node, Hand::Start, &held(&off)).runs();
        let said = m(&node, &off, "set ^Yes=2");
        assert!(said.contains("NETDBOPNERR"), "out of reach, and never written elsewhere: {said}");
        assert_eq!(m(&node, &off, "write ^LOCAL"), "5");
        by_hand(&mut node, Hand::Status, &held(&off)).runs();
        by_hand(&mut node, Hand::Stop, &held(&off)).stopped();
        assert_eq!(m(&node, &server, "write ^Yes"), "1");
        for config in [&own, &server] {
            node.run(Op::Release, &held(config)).stopped();
        }
    });
}
