//! What outlives the daemon: another one finds it, keeps it, and watches it.

use std::time::Duration;

use regent_model::action::{Notice, Op};
use regent_model::config::MainProcess;

use crate::support::{
    Disk, Node, PATIENCE, app, application, eventually, filesystem, fs, interface, isolated, sh,
};

fn main_pids(node: &Node) -> Vec<String> {
    sh(&format!("cat {}/main/cgroup.procs", node.app_cgroup("app").display()))
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_application_is_adopted_not_restarted_and_its_end_is_news_again() {
    for (start, main) in [
        ("echo $$ > PID; exec sleep 300", MainProcess::Child),
        ("setsid sh -c 'echo $$ > PID; exec sleep 300' & sleep 0.1; exit 0", MainProcess::Cgroup),
        ("setsid sh -c 'echo $$ > PID; exec sleep 300' & exit 0", MainProcess::PidFile("PID".into())),
    ] {
        let mut node = Node::new();
        let pid_file = node.run_dir.0.join("pid");
        let start = start.replace("PID", &pid_file.display().to_string());
        let main = match main {
            MainProcess::PidFile(_) => MainProcess::PidFile(pid_file.clone()),
            other => other,
        };
        let resource = app(application(&start, main));
        node.run(Op::Acquire, &resource).runs();
        let before = main_pids(&node);
        node.restart_daemon();
        node.run(Op::Probe, &resource).runs();
        node.run(Op::Monitor, &resource).runs();
        assert_eq!(main_pids(&node), before);
        sh(&format!("kill {}", std::fs::read_to_string(&pid_file).unwrap().trim()));
        let Some(Notice::Exited { .. }) = node.notice(PATIENCE) else {
            panic!("{resource:?}: no news of its end");
        };
        node.run(Op::Release, &resource).stopped();
        assert!(node.guard.holds_nothing());
    }
}

#[test]
fn an_adopted_application_is_stopped_like_any_other() {
    let mut node = Node::new();
    let resource = app(application("exec sleep 300", MainProcess::Child));
    node.run(Op::Acquire, &resource).runs();
    node.restart_daemon();
    node.run(Op::Release, &resource).stopped();
    assert!(!node.app_cgroup("app").exists() && node.guard.holds_nothing());
}

#[test]
fn an_acquire_adopts_what_runs() {
    let mut node = Node::new();
    let resource = app(application("exec sleep 300", MainProcess::Child));
    node.run(Op::Acquire, &resource).runs();
    let before = main_pids(&node);
    node.restart_daemon();
    node.run(Op::Acquire, &resource).runs();
    assert_eq!(main_pids(&node), before);
}

#[test]
fn an_application_that_is_not_well_is_not_adopted_as_well() {
    let mut node = Node::new();
    let flag = node.run_dir.0.join("well");
    std::fs::write(&flag, "").unwrap();
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.status = Some(format!("test -e {}", flag.display()));
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    let before = main_pids(&node);
    node.restart_daemon();
    std::fs::remove_file(&flag).unwrap();
    node.run(Op::Probe, &resource).failed();
    std::fs::write(&flag, "").unwrap();
    node.run(Op::Probe, &resource).runs();
    assert_eq!(main_pids(&node), before, "a look changes nothing");
}

#[test]
fn without_its_record_the_main_process_is_still_found() {
    let mut node = Node::new();
    let resource = app(application("sleep 301 & exec sleep 300", MainProcess::Child));
    node.run(Op::Acquire, &resource).runs();
    let main = std::fs::read_to_string(node.run_dir.0.join("applications/g1/app.json")).unwrap();
    std::fs::remove_dir_all(node.run_dir.0.join("applications")).unwrap();
    node.restart_daemon();
    node.run(Op::Probe, &resource).runs();
    let pid = main.split("\"pid\":").nth(1).unwrap().split(['}', ',']).next().unwrap();
    sh(&format!("kill {pid}"));
    let Notice::Exited { how, .. } = node.notice(PATIENCE).unwrap() else { panic!("no exit") };
    assert!(how.contains(pid), "{how} {main}");
}

#[test]
fn a_start_that_an_earlier_daemon_did_not_finish_is_not_called_running() {
    let mut node = Node::new();
    let mut config = application("sleep 300 & sleep 300", MainProcess::Cgroup);
    config.start_timeout = Duration::from_secs(30);
    let resource = app(config);
    node.begin(Op::Acquire, &resource, Duration::from_secs(30));
    let record = node.run_dir.0.join("applications/g1/app.json");
    eventually("it is starting", || record.exists());
    // The daemon's threads go on in this test; a killed daemon's would not. What is on record is the same.
    let hands = node.hands.take();
    node.restart_daemon();
    let failure = node.run(Op::Probe, &resource).failed();
    assert!(failure.reason.contains("begun by an earlier daemon"), "{failure:?}");
    node.run(Op::Release, &resource).stopped();
    drop(hands);
}

#[test]
fn nothing_is_adopted_where_nothing_runs() {
    let mut node = Node::new();
    let resource = app(application("exec sleep 300", MainProcess::Child));
    node.run(Op::Acquire, &resource).runs();
    node.run(Op::Release, &resource).stopped();
    node.restart_daemon();
    node.run(Op::Probe, &resource).stopped();
}

#[test]
fn a_mount_and_an_address_are_found_again() {
    let disk = Disk::new();
    isolated(move || {
        interface("lan0", Some("10.0.0.4/24"));
        let mut node = Node::new();
        let resources = [
            fs(filesystem(&disk.device, &disk.mount_point())),
            crate::support::address("10.0.0.50", 24, None),
        ];
        for resource in &resources {
            node.run(Op::Acquire, resource).runs();
        }
        node.restart_daemon();
        for resource in &resources {
            node.run(Op::Probe, resource).runs();
            node.run(Op::Monitor, resource).runs();
            node.run(Op::Release, resource).stopped();
        }
        assert!(node.guard.holds_nothing());
    });
}

#[test]
fn what_is_found_running_is_put_on_the_guards_list() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        sh("ip address add 10.0.0.50/24 dev lan0");
        let mut node = Node::new();
        node.run(Op::Probe, &crate::support::address("10.0.0.50", 24, None)).runs();
        assert!(!node.guard.holds_nothing(), "nobody would let go of it: {:?}", node.guard.log());
    });
}
