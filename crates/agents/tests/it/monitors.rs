//! Further monitors, starts in the background, and what is run after a failure: with real processes.

use std::time::Duration;

use regent_model::action::{How, Notice, Op, Resource};
use regent_model::config::{
    ApplicationConfig, HungSignal, MainProcess, MonitorAction, MonitorTimes, Monitoring, StartIn, Watch,
    Watched,
};

use crate::support::{Cgroup, Node, PATIENCE, app, application, eventually, sh};

fn watch(what: Watched) -> Watch {
    let times = MonitorTimes::new(Duration::from_secs(1), Duration::from_millis(500), 1);
    Watch { name: "more".into(), what, times, hung_signal: HungSignal::Kill, action: MonitorAction::Recover }
}

fn watched(start: &str, what: Watched) -> ApplicationConfig {
    let monitoring = Monitoring { watches: vec![watch(what)], ..Default::default() };
    ApplicationConfig { monitoring, ..application(start, MainProcess::Cgroup) }
}

fn ask(node: &mut Node, resource: &Resource) -> crate::support::Answer {
    node.how = How::Watch(0);
    let answer = node.run(Op::Monitor, resource);
    node.how = How::Plain;
    answer
}

#[test]
fn a_custom_monitor_judges_by_its_exit_code_and_one_that_hangs_gets_its_signal() {
    let mut node = Node::new();
    let flag = node.run_dir.0.join("mode");
    let got = node.run_dir.0.join("got");
    std::fs::write(&flag, "0").unwrap();
    let line = format!(
        "trap 'echo $REGENT_ACTION > {1}; exit 0' ABRT; case $(cat {0}) in hang) sleep 300 & wait;; esac; exit $(cat {0})",
        flag.display(),
        got.display()
    );
    let mut config = watched("sleep 300 & exit 0", Watched::Command(line));
    config.monitoring.watches[0].hung_signal = HungSignal::Abrt;
    let mut patient = config.clone();
    patient.monitoring.watches[0].times.timeout = Duration::from_secs(4);
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    ask(&mut node, &resource).runs();
    std::fs::write(&flag, "3").unwrap();
    assert!(ask(&mut node, &resource).failed().reason.contains("exited with 3"));
    std::fs::write(&flag, "hang").unwrap();
    let answer = ask(&mut node, &resource);
    assert!(
        answer.took >= Duration::from_millis(450) && answer.took < Duration::from_secs(60),
        "{:?}",
        answer.took
    );
    assert!(answer.failed().timed_out);
    assert_eq!(
        std::fs::read_to_string(&got).unwrap().trim(),
        "monitor-0",
        "it got SIGABRT before it was killed"
    );
    // Its own monitor does not wait for the other.
    node.how = How::Watch(0);
    let slow = node.begin(Op::Monitor, &app(patient), Duration::from_secs(10));
    node.how = How::Plain;
    let own = node.run(Op::Monitor, &resource).runs();
    assert!(own.took < Duration::from_secs(3), "{:?}", own.took);
    node.answer(slow, PATIENCE);
    node.run(Op::Release, &resource).stopped();
}

#[test]
fn processes_are_counted_by_name_and_owner_exactly() {
    let mut node = Node::new();
    // A name that nobody else on the machine has; the kernel keeps 15 bytes of it.
    let name = format!("rgt-{}-sleeper", std::process::id());
    let program = node.run_dir.0.join(&name);
    std::fs::copy("/bin/sleep", &program).unwrap();
    let what = |owner: Option<&str>, instances| Watched::Processes {
        names: vec![name.clone()],
        owner: owner.map(str::to_owned),
        instances,
    };
    let start = format!("{0} 300 & {0} 300 & exit 0", program.display());
    let two = app(watched(&start, what(Some("root"), 2)));
    node.run(Op::Acquire, &two).runs();
    // Its shell may not have become it yet.
    eventually("both run", || ask(&mut node, &two).outcome == regent_model::action::Outcome::Running);
    let failure = ask(&mut node, &app(watched(&start, what(None, 1)))).failed();
    assert!(
        failure.reason.starts_with("2 process(es)") && failure.evidence.contains("sleeper 300"),
        "{failure:?}"
    );
    assert!(
        ask(&mut node, &app(watched(&start, what(Some("nobody"), 1))))
            .failed()
            .reason
            .contains("0 process(es)")
    );
    sh(&format!("head -n 1 {}/main/cgroup.procs | xargs kill", node.app_cgroup("app").display()));
    eventually("one is gone", || {
        node.how = How::Watch(0);
        let answer = node.run(Op::Monitor, &two);
        node.how = How::Plain;
        matches!(&answer.outcome, regent_model::action::Outcome::Failed(f) if f.reason.starts_with("1 process(es)"))
    });
    node.run(Op::Release, &two).stopped();
    let failure = ask(&mut node, &two).failed();
    assert!(failure.reason.contains("a shell script is not found by its name"), "{failure:?}");
}

#[test]
fn a_start_in_the_background_is_not_waited_for_and_its_exit_code_is_told() {
    let mut node = Node::new();
    let mut config = application("sleep 5; sleep 300 & echo half; exit 4", MainProcess::Cgroup);
    config.monitoring.start_in = StartIn::Background;
    let resource = app(config);
    let answer = node.run(Op::Acquire, &resource).runs();
    assert!(answer.took < Duration::from_secs(4), "{:?}", answer.took);
    assert!(answer.story().contains("not waited for"), "{}", answer.story());
    node.run(Op::Monitor, &resource).runs();
    let Some(Notice::Told { warning, text, evidence, .. }) = node.notice(PATIENCE) else {
        panic!("nothing is told of its end")
    };
    assert!(warning && text.contains("exited with 4") && evidence.contains("half"), "{text}: {evidence}");
    node.run(Op::Monitor, &resource).runs();
    node.restart_daemon();
    node.run(Op::Probe, &resource).runs();
    node.run(Op::Release, &resource).stopped();
    assert!(!node.app_cgroup("app").exists());
}

#[test]
fn what_runs_before_a_start_is_taken_in_and_not_started_a_second_time() {
    let mut node = Node::new();
    let pid_file = node.run_dir.0.join("pid");
    let started = node.run_dir.0.join("started");
    let start = format!("touch {}; sleep 300 & echo $! > {}", started.display(), pid_file.display());
    let mut config = application(&start, MainProcess::PidFile(pid_file.clone()));
    let alive = format!("test -e {0} && kill -0 $(cat {0})", pid_file.display());
    config.monitoring.startup = Some((alive, Duration::from_secs(2)));
    config.stale = vec![started.display().to_string()];
    let resource = app(config);
    // Somebody has started it by hand.
    sh(&format!("setsid sleep 300 > /dev/null 2>&1 & echo $! > {}", pid_file.display()));
    node.run(Op::Probe, &resource).stopped();
    let story = node.run(Op::Acquire, &resource).runs().story();
    assert!(story.contains("nothing is started") && !started.exists(), "{story}");
    assert!(Cgroup::is_populated(&node.app_cgroup("app")), "the guard can end it");
    node.run(Op::Monitor, &resource).runs();
    node.run(Op::Release, &resource).stopped();
    assert!(!node.app_cgroup("app").exists());
    // Now it does not run, and is started.
    std::fs::remove_file(&pid_file).unwrap();
    let story = node.run(Op::Acquire, &resource).runs().story();
    assert!(story.contains("does not run yet") && started.exists(), "{story}");
    node.run(Op::Release, &resource).stopped();
}

#[test]
fn after_a_failure_cleanup_and_restart_take_the_places_of_stop_and_start_and_somebody_is_told() {
    let mut node = Node::new();
    let log = node.run_dir.0.join("log");
    let say = |what: &str| format!("echo {what} $REGENT_ACTION >> {}", log.display());
    let mut config = application(&format!("{}; sleep 300 & exit 0", say("start")), MainProcess::Cgroup);
    config.stop = Some(format!("{}; exit 1", say("stop")));
    config.monitoring.cleanup = Some(format!("{}; exit 1", say("cleanup")));
    config.monitoring.restart = Some(format!("{}; sleep 300 & exit 0", say("restart")));
    config.monitoring.notify = Some(say("notify"));
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    node.how = How::Notify;
    let notify = node.begin(Op::Monitor, &resource, Duration::from_secs(5));
    node.how = How::AfterFailure;
    node.run(Op::Release, &resource).stopped();
    let story = node.answer(notify, Duration::from_secs(5)).runs().story();
    assert!(story.contains("notify command exited with 0"), "{story}");
    node.run(Op::Acquire, &resource).runs();
    node.how = How::Plain;
    node.run(Op::Release, &resource).stopped();
    let log = std::fs::read_to_string(&log).unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    lines.retain(|l| *l != "notify notify");
    assert_eq!(lines, ["start start", "cleanup cleanup", "restart restart", "stop stop"]);
    assert!(log.contains("notify notify"));
}
