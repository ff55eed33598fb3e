//! Which process is the application: the one a pid file names, or the whole control group.

use std::time::Duration;

use regent_model::action::{Notice, Op, Resource};
use regent_model::config::MainProcess;

use crate::support::{Node, PATIENCE, Process, app, application, eventually, sh};

fn with_pid_file(node: &Node, start: &str) -> (Resource, std::path::PathBuf) {
    let path = node.run_dir.0.join("app.pid");
    let start = start.replace("PIDFILE", &path.display().to_string());
    let mut config = application(&start, MainProcess::PidFile(path.clone()));
    config.start_timeout = Duration::from_millis(1500);
    (app(config), path)
}

fn pid(path: &std::path::Path) -> i32 {
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

#[test]
fn the_process_that_the_pid_file_names_is_watched_though_it_is_no_child() {
    let mut node = Node::new();
    let (resource, path) = with_pid_file(
        &node,
        "setsid sh -c 'sleep 0.2; echo $$ > PIDFILE; sleep 300' & setsid sleep 300 & exit 0",
    );
    node.run(Op::Acquire, &resource).runs();
    node.run(Op::Monitor, &resource).runs();
    sh(&format!("kill -9 {}", pid(&path)));
    let Notice::Exited { how, .. } = node.notice(PATIENCE).unwrap() else { panic!("no exit") };
    assert!(how.contains(&pid(&path).to_string()), "{how}");
    let failure = node.run(Op::Monitor, &resource).failed();
    assert!(failure.reason.contains("has ended, others still live"), "{failure:?}");
    assert!(failure.evidence.contains("sleep 300"), "{failure:?}");
    node.run(Op::Release, &resource).stopped();
}

#[test]
fn a_stale_pid_file_is_not_taken_for_the_application() {
    let mut node = Node::new();
    let (resource, path) = with_pid_file(&node, "exit 0");
    let mut stranger = Process::spawn("sleep 300");
    std::fs::write(&path, stranger.0.id().to_string()).unwrap();
    // The kernel tells ages apart by hundredths of a second.
    std::thread::sleep(Duration::from_millis(30));
    let failure = node.run(Op::Acquire, &resource).failed();
    assert!(failure.reason.contains("older than the start command"), "{failure:?}");
    node.run(Op::Release, &resource).stopped();
    assert!(stranger.is_alive());
    std::fs::write(&path, "4194303").unwrap();
    let failure = node.run(Op::Acquire, &resource).failed();
    assert!(failure.reason.contains("names no living process"), "{failure:?}");
}

#[test]
fn an_application_that_left_its_control_group_is_brought_back() {
    let mut node = Node::new();
    let outside = node.cgroup.0.join("elsewhere");
    std::fs::create_dir(&outside).unwrap();
    let script = format!(
        "setsid sh -c 'echo $$ > {0}/cgroup.procs; sleep 300 & echo $$ > PIDFILE; wait' & sleep 0.3; exit 0",
        outside.display()
    );
    let (resource, path) = with_pid_file(&node, &script);
    let answer = node.run(Op::Acquire, &resource).runs();
    assert!(answer.story().contains("was brought back"), "{}", answer.story());
    let inside = sh(&format!("cat {}/main/cgroup.procs", node.app_cgroup("app").display()));
    assert!(inside.lines().any(|l| l == pid(&path).to_string()) && inside.lines().count() == 2, "{inside}");
    assert_eq!(sh(&format!("cat {}/cgroup.procs", outside.display())), "");
    node.run(Op::Release, &resource).stopped();
}

#[test]
fn a_program_that_replaces_itself_by_its_pid_file_is_followed() {
    let mut node = Node::new();
    let script = "setsid sh -c 'echo $$ > PIDFILE; sleep 0.5; \
                  setsid sh -c \"echo \\$\\$ > PIDFILE; exec sleep 300\" & \
                  sleep 0.3; exit 0' & sleep 0.2; exit 0";
    let (resource, path) = with_pid_file(&node, script);
    node.run(Op::Acquire, &resource).runs();
    let first = pid(&path);
    eventually("the first process is gone", || !std::path::Path::new(&format!("/proc/{first}")).exists());
    assert_eq!(node.notice(Duration::from_millis(300)), None);
    node.run(Op::Monitor, &resource).runs();
    sh(&format!("kill {}", pid(&path)));
    assert!(node.notice(PATIENCE).is_some());
}

#[test]
fn a_control_group_is_the_application_until_its_last_process_ends() {
    let mut node = Node::new();
    let start = "sleep 0.4 & sleep 0.9 & exit 0";
    let resource = app(application(start, MainProcess::Cgroup));
    node.run(Op::Acquire, &resource).runs();
    assert_eq!(node.notice(Duration::from_millis(500)), None, "one of two is still there");
    let Notice::Exited { how, .. } = node.notice(PATIENCE).unwrap() else { panic!("no exit") };
    assert!(how.contains("last process"), "{how}");
    node.run(Op::Monitor, &resource).stopped();
}

#[test]
fn a_status_command_in_progress_does_not_hide_the_end_of_the_control_group() {
    let mut node = Node::new();
    let flag = node.run_dir.0.join("slow");
    let mut config = application("sleep 0.8 & exit 0", MainProcess::Cgroup);
    config.status = Some(format!("test ! -e {} || sleep 300", flag.display()));
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    std::fs::write(&flag, "").unwrap();
    let asking = node.begin(Op::Monitor, &resource, Duration::from_secs(3));
    assert!(node.notice(Duration::from_secs(2)).is_some(), "though the status command still runs");
    node.answer(asking, Duration::from_secs(4)).failed();
}

#[test]
fn a_probe_finds_one_that_was_started_by_hand_and_touches_nothing() {
    let mut node = Node::new();
    let (resource, path) = with_pid_file(&node, "exit 0");
    let mut stranger = Process::spawn("sleep 300");
    std::fs::write(&path, stranger.0.id().to_string()).unwrap();
    let failure = node.run(Op::Probe, &resource).failed();
    assert!(failure.reason.contains("not started by Regent"), "{failure:?}");
    assert!(stranger.is_alive());
}
