//! Init scripts as applications: asked for their word, and not believed for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use regent_model::action::{Notice, Op, Resource};
use regent_model::config::{ApplicationConfig, MainProcess};

use crate::support::{Node, PATIENCE, app, application, eventually, sh};

/// As the configuration makes them of `script = "PATH ARGUMENTS"`.
fn scripted(path: &Path, arguments: &str) -> ApplicationConfig {
    let call = |verb| format!("{} {verb} {arguments}", path.display());
    ApplicationConfig {
        script: Some(format!("{} {arguments}", path.display())),
        stop: Some(call("stop")),
        status: Some(call("status")),
        start_timeout: Duration::from_millis(1500),
        ..application(&call("start"), MainProcess::None)
    }
}

/// A script whose service is a file called after its argument: it runs while that is there.
fn script(node: &Node, start: &str, stop: &str) -> PathBuf {
    let path = node.run_dir.0.join("init-script");
    let runs = node.run_dir.0.join("$2.runs");
    let text = format!(
        "#!/bin/sh\nRUNS={}\ncase $1 in\nstart) {start} ;;\nstop) {stop} ;;\n\
         status) if test -e $RUNS; then echo up; else echo down; exit 3; fi ;;\n\
         *) echo usage; exit 2 ;;\nesac\n",
        runs.display()
    );
    std::fs::write(&path, text).unwrap();
    sh(&format!("chmod 755 {}", path.display()));
    path
}

#[test]
fn a_script_whose_service_leaves_no_process_here_runs_as_long_as_its_status_says_so() {
    let mut node = Node::new();
    let path = script(&node, "touch $RUNS", "rm -f $RUNS");
    let resource = app(scripted(&path, "inst"));
    node.run(Op::Probe, &resource).stopped();
    let story = node.run(Op::Acquire, &resource).runs().story();
    assert!(story.contains("status asked"), "{story}");
    assert_eq!(
        node.notice(Duration::from_millis(200)),
        None,
        "that nothing lives in its control group is no news"
    );
    node.run(Op::Monitor, &resource).runs();
    // Another daemon finds it, though not one process of it is there.
    node.restart_daemon();
    node.run(Op::Probe, &resource).runs();
    assert!(!node.guard.holds_nothing());
    std::fs::remove_file(node.run_dir.0.join("inst.runs")).unwrap();
    node.run(Op::Monitor, &resource).stopped();
    node.run(Op::Acquire, &resource).runs();
    node.run(Op::Release, &resource).stopped();
    assert!(node.guard.holds_nothing() && !node.run_dir.0.join("inst.runs").exists());
    node.run(Op::Probe, &resource).stopped();
}

#[test]
fn a_script_that_says_it_started_or_stopped_is_asked_for_its_status() {
    let mut node = Node::new();
    let path = script(&node, "echo started", "echo stopped");
    let resource = app(scripted(&path, "inst"));
    let failure = node.run(Op::Acquire, &resource).failed();
    assert!(failure.reason.contains("the status command exited with 3: down"), "{failure:?}");
    node.run(Op::Release, &resource).stopped();
    std::fs::write(node.run_dir.0.join("inst.runs"), "").unwrap();
    node.run(Op::Acquire, &resource).runs();
    let failure = node.run(Op::Release, &resource).failed();
    assert!(failure.reason.contains("its status command still says it runs"), "{failure:?}");
    std::fs::remove_file(node.run_dir.0.join("inst.runs")).unwrap();
    node.run(Op::Release, &resource).stopped();
}

#[test]
fn a_script_without_a_status_is_told_how_to_say_so() {
    let mut node = Node::new();
    let path = script(&node, "exit 0", "exit 0");
    let mut config = scripted(&path, "inst");
    config.status = Some(format!("{} condition inst", path.display()));
    let failure = node.run(Op::Acquire, &app(config)).failed();
    assert!(failure.reason.contains("status = \"none\""), "{failure:?}");
}

#[test]
fn without_a_status_the_exit_codes_of_start_and_stop_count() {
    let mut node = Node::new();
    let stop = "test ! -e $RUNS.stays";
    let path = script(&node, "test ! -e $RUNS.broken", stop);
    let resource = app(ApplicationConfig { status: None, ..scripted(&path, "inst") });
    let (broken, stays) = (node.run_dir.0.join("inst.runs.broken"), node.run_dir.0.join("inst.runs.stays"));
    std::fs::write(&broken, "").unwrap();
    let failure = node.run(Op::Acquire, &resource).failed();
    assert!(failure.reason.contains("the start command exited with 1"), "{failure:?}");
    // One that never ran may well fail to stop.
    std::fs::write(&stays, "").unwrap();
    node.run(Op::Release, &resource).stopped();
    std::fs::remove_file(&broken).unwrap();
    let story = node.run(Op::Acquire, &resource).runs().story();
    assert!(story.contains("it has no status"), "{story}");
    node.run(Op::Monitor, &resource).runs();
    node.restart_daemon();
    node.run(Op::Probe, &resource).runs();
    let failure = node.run(Op::Release, &resource).failed();
    assert!(failure.reason.contains("the stop command exited with 1"), "{failure:?}");
    std::fs::remove_file(&stays).unwrap();
    node.run(Op::Release, &resource).stopped();
    assert!(node.guard.holds_nothing());
}

#[test]
fn what_a_script_leaves_in_its_control_group_is_ended_with_it_and_told_of_only_if_it_is_wanted() {
    let mut node = Node::new();
    let path = script(&node, "touch $RUNS; sleep 0.3 & sleep 300 &", "rm $RUNS; exit 0");
    let config = |main| ApplicationConfig {
        main,
        stop_timeout: Duration::from_millis(300),
        ..scripted(&path, "inst")
    };
    let told: Resource = app(config(MainProcess::None));
    node.run(Op::Acquire, &told).runs();
    let main = node.app_cgroup("app").join("main/cgroup.procs");
    let count = |main: &Path| sh(&format!("cat {}", main.display())).lines().count();
    eventually("the first has ended", || count(&main) == 1);
    sh(&format!("kill $(cat {})", main.display()));
    assert_eq!(node.notice(Duration::from_millis(300)), None);
    node.run(Op::Release, &told).stopped();
    let watched = app(config(MainProcess::Cgroup));
    node.run(Op::Acquire, &watched).runs();
    sh(&format!("kill $(cat {})", main.display()));
    assert!(matches!(node.notice(PATIENCE), Some(Notice::Exited { .. })));
    node.run(Op::Release, &watched).stopped();
    assert!(!node.app_cgroup("app").exists());
}
