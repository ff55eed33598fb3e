//! Applications as commands: started, asked, watched, stopped; scripts that lie, hang and shout.

use std::time::{Duration, Instant};

use regent_model::action::{Notice, Op};
use regent_model::config::MainProcess;

use crate::support::{Cgroup, Node, PATIENCE, app, application, eventually, sh};

#[test]
fn a_foreground_process_is_started_seen_stopped_and_gone() {
    let mut node = Node::new();
    let resource = app(application("echo hello; exec sleep 300", MainProcess::Child));
    node.run(Op::Probe, &resource).stopped();
    node.run(Op::Acquire, &resource).runs();
    assert_eq!(node.guard.log(), ["hold populated=false"]);
    assert!(Cgroup::is_populated(&node.app_cgroup("app")));
    node.run(Op::Monitor, &resource).runs();
    node.run(Op::Acquire, &resource).runs();
    node.run(Op::Release, &resource).stopped();
    assert!(!node.app_cgroup("app").exists());
    assert!(node.guard.holds_nothing());
    assert_eq!(node.notice(Duration::from_millis(100)), None, "an end that was asked for is no news");
    node.run(Op::Release, &resource).stopped();
}

#[test]
fn a_start_command_that_goes_into_the_background_is_not_killed_with_its_script() {
    let mut node = Node::new();
    // Twice forked, in a session of its own, with its output open: as daemons are.
    let start = "(setsid sh -c 'sleep 300 & echo $! > /dev/null; wait' &) ; exit 0";
    let resource = app(application(start, MainProcess::Cgroup));
    let answer = node.run(Op::Acquire, &resource).runs();
    assert!(answer.took < Duration::from_secs(2), "{:?}", answer.took);
    node.run(Op::Monitor, &resource).runs();
    assert!(Cgroup::is_populated(&node.app_cgroup("app")));
    node.run(Op::Release, &resource).stopped();
    assert!(!node.app_cgroup("app").exists());
}

#[test]
fn a_start_that_exits_0_without_running_is_not_believed() {
    let mut node = Node::new();
    let mut config = application("sleep 300 & exit 0", MainProcess::Cgroup);
    config.status = Some("echo not me; exit 3".into());
    config.start_timeout = Duration::from_millis(600);
    let failure = node.run(Op::Acquire, &app(config)).failed();
    assert!(failure.timed_out && failure.reason.contains("exited with 3: not me"), "{failure:?}");
    assert!(!Cgroup::is_populated(&node.app_cgroup("app")), "nothing of it is left running");
    let mut config = application("exit 0", MainProcess::Cgroup);
    config.start_timeout = Duration::from_millis(300);
    let failure = node.run(Op::Acquire, &app(config)).failed();
    assert!(failure.reason.contains("left no process behind"), "{failure:?}");
}

#[test]
fn the_status_is_asked_until_it_says_that_it_runs() {
    let mut node = Node::new();
    let flag = node.run_dir.0.join("ready");
    let mut config =
        application(&format!("(sleep 0.5; touch {}; sleep 300) &", flag.display()), MainProcess::Cgroup);
    config.status = Some(format!("test -e {}", flag.display()));
    let answer = node.run(Op::Acquire, &app(config)).runs();
    assert!(flag.exists() && answer.took >= Duration::from_millis(450), "{:?}", answer.took);
    assert!(answer.story().contains("status asked"), "{}", answer.story());
}

#[test]
fn a_start_that_fails_is_told_with_its_output() {
    let mut node = Node::new();
    let start = "echo cannot open the database >&2; exit 7";
    for main in [MainProcess::Child, MainProcess::Cgroup] {
        let failure = node.run(Op::Acquire, &app(application(start, main))).failed();
        assert!(failure.reason.contains("exited with 7"), "{failure:?}");
        assert_eq!(failure.evidence, "cannot open the database");
        assert!(!failure.timed_out);
    }
}

#[test]
fn a_start_that_hangs_is_killed_with_all_it_made_and_told_with_its_output() {
    let mut node = Node::new();
    let mut config = application(
        "echo waiting for the disk; trap '' TERM; setsid sleep 300 & sleep 300",
        MainProcess::Cgroup,
    );
    config.start_timeout = Duration::from_millis(500);
    let answer = node.run(Op::Acquire, &app(config));
    assert!(answer.took < Duration::from_secs(2), "{:?}", answer.took);
    let failure = answer.failed();
    assert!(failure.timed_out && failure.evidence == "waiting for the disk", "{failure:?}");
    assert!(!Cgroup::is_populated(&node.app_cgroup("app")));
}

#[test]
fn the_deadline_of_the_request_ends_a_start_that_would_take_longer() {
    let mut node = Node::new();
    let mut config = application("sleep 300", MainProcess::Cgroup);
    config.start_timeout = Duration::from_secs(60);
    let limit = Duration::from_millis(700);
    let answer = node.within(Op::Acquire, &app(config), limit);
    assert!(answer.took < Duration::from_secs(10), "far less than the start may take: {:?}", answer.took);
    assert!(answer.failed().timed_out);
    // On a busy machine the deadline may be told before the hand has come back from what it killed.
    eventually("the start to be over", || {
        node.hands().hung() == 0 && !Cgroup::is_populated(&node.app_cgroup("app"))
    });
}

#[test]
fn a_status_command_that_hangs_is_killed_at_its_limit_and_said_to_have_timed_out() {
    let mut node = Node::new();
    let flag = node.run_dir.0.join("hang");
    let mut config = application("exec sleep 300", MainProcess::Child);
    let status =
        format!("test -e {} || exit 0; echo asking; trap '' TERM; sleep 300 & sleep 300", flag.display());
    config.status = Some(status);
    config.monitor.timeout = Duration::from_millis(400);
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    std::fs::write(&flag, "").unwrap();
    let answer = node.run(Op::Monitor, &resource);
    assert!(answer.took < Duration::from_secs(2), "{:?}", answer.took);
    let failure = answer.failed();
    assert!(failure.timed_out && failure.evidence == "asking", "{failure:?}");
    let folders = std::fs::read_dir(node.app_cgroup("app")).unwrap().flatten();
    let commands = folders.filter(|e| e.file_name().to_string_lossy().starts_with("cmd-")).count();
    assert_eq!(commands, 0, "the command's control group is gone");
    std::fs::remove_file(&flag).unwrap();
    node.run(Op::Monitor, &resource).runs();
}

#[test]
fn a_status_command_that_leaves_a_daemon_with_its_output_open_does_not_hang() {
    let mut node = Node::new();
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.status = Some("setsid sleep 300 & echo fine".into());
    let resource = app(config);
    let answer = node.run(Op::Acquire, &resource).runs();
    assert!(answer.took < Duration::from_secs(2), "{:?}", answer.took);
    node.run(Op::Monitor, &resource).runs();
    let procs = sh(&format!("cat {}/main/cgroup.procs", node.app_cgroup("app").display()));
    assert_eq!(procs.lines().count(), 1, "what the status command left is gone");
}

#[test]
fn a_status_that_fails_is_told_with_its_output() {
    let mut node = Node::new();
    let flag = node.run_dir.0.join("sick");
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.status = Some(format!("test ! -e {} || {{ echo too many connections; exit 4; }}", flag.display()));
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    std::fs::write(&flag, "").unwrap();
    let failure = node.run(Op::Monitor, &resource).failed();
    assert!(failure.reason.contains("exited with 4") && failure.evidence == "too many connections");
}

#[test]
fn a_command_that_prints_without_end_does_not_fill_the_disk() {
    let mut node = Node::new();
    let resource = app(application(
        "yes a rather long line that is printed again and again; sleep 300",
        MainProcess::Child,
    ));
    node.run(Op::Acquire, &resource).runs();
    let path = node.run_dir.0.join("output/g1/app/start");
    let mut largest = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        largest = largest.max(std::fs::metadata(&path).unwrap().len());
        std::thread::sleep(Duration::from_millis(1));
    }
    // Unbounded it would be gigabytes by now.
    assert!(largest < 600 << 20, "{} MiB", largest >> 20);
    node.run(Op::Release, &resource).stopped();
    let left = std::fs::metadata(&path).unwrap().len();
    assert!(left < 600 << 20, "{left}");
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.status = Some("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo the end".into());
    node.run(Op::Acquire, &app(config)).runs();
    let length = std::fs::metadata(node.run_dir.0.join("output/g1/app/status")).unwrap().len();
    assert!(length <= 1 << 20, "{length}");
}

#[test]
fn the_stop_command_stops_it_and_its_own_failure_does_not_keep_it_up() {
    let mut node = Node::new();
    let pid = node.run_dir.0.join("pid");
    let start = format!("echo $$ > {}; exec sleep 300", pid.display());
    let mut config = application(&start, MainProcess::Child);
    config.stop = Some(format!("kill $(cat {}); echo stopping", pid.display()));
    let resource = app(config.clone());
    node.run(Op::Acquire, &resource).runs();
    let story = node.run(Op::Release, &resource).stopped().story();
    assert!(story.contains("stop command exited with 0") && story.contains("stopping"), "{story}");
    assert!(!story.contains("were killed"), "{story}");
    config.stop = Some("echo no server; exit 1".into());
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    let story = node.run(Op::Release, &resource).stopped().story();
    assert!(story.contains("exited with 1") && story.contains("no server"), "{story}");
}

#[test]
fn a_stop_command_that_hangs_is_killed_and_the_processes_after_it() {
    let mut node = Node::new();
    let mut config = application("trap '' TERM; while :; do sleep 0.1; done", MainProcess::Child);
    config.stop = Some("sleep 300".into());
    config.stop_timeout = Duration::from_millis(500);
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    let answer = node.run(Op::Release, &resource).stopped();
    assert!(answer.took < Duration::from_secs(3), "{:?}", answer.took);
    assert!(answer.story().contains("were killed"), "{}", answer.story());
    assert!(!node.app_cgroup("app").exists());
}

#[test]
fn without_a_stop_command_there_is_term_and_then_kill() {
    let mut node = Node::new();
    let (said, ready) = (node.run_dir.0.join("said"), node.run_dir.0.join("ready"));
    // It runs as soon as there is a shell; what that does with a signal it has yet to read.
    let on_term =
        |what: &str| format!("trap '{what}' TERM; touch {}; while :; do sleep 0.05; done", ready.display());
    let listens = || eventually("the trap", || std::fs::remove_file(&ready).is_ok());
    let start = on_term(&format!("echo bye > {}; exit 0", said.display()));
    let resource = app(application(&start, MainProcess::Child));
    node.run(Op::Acquire, &resource).runs();
    listens();
    node.run(Op::Release, &resource).stopped();
    assert_eq!(std::fs::read_to_string(&said).unwrap(), "bye\n");
    let mut config = application(&on_term(""), MainProcess::Child);
    config.stop_timeout = Duration::from_millis(300);
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    listens();
    let story = node.run(Op::Release, &resource).stopped().story();
    assert!(story.contains("were killed"), "{story}");
}

#[test]
fn a_stop_that_leaves_it_running_by_its_status_is_a_failure() {
    let mut node = Node::new();
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.status = Some("true".into());
    let resource = app(config.clone());
    node.run(Op::Acquire, &resource).runs();
    let failure = node.run(Op::Release, &resource).failed();
    assert!(failure.reason.contains("still says it runs"), "{failure:?}");
    assert!(!node.guard.holds_nothing());
    config.status = Some("false".into());
    node.run(Op::Release, &app(config)).stopped();
    assert!(node.guard.holds_nothing());
}

#[test]
fn a_main_process_that_dies_is_news_with_its_end_and_its_last_words() {
    let mut node = Node::new();
    let start = "echo started; sleep 0.5; echo out of memory; exit 9";
    let resource = app(application(start, MainProcess::Child));
    node.run(Op::Acquire, &resource).runs();
    let Notice::Exited { how, epoch, resource: name, .. } = node.notice(PATIENCE).unwrap() else {
        panic!("no exit")
    };
    assert!(how.contains("exited with 9") && how.ends_with("out of memory"), "{how}");
    assert_eq!((epoch.0, name.as_str()), (7, "app"));
    assert_eq!(node.notice(Duration::from_millis(100)), None);
    let story = node.run(Op::Monitor, &resource).stopped().story();
    assert!(story.contains("out of memory"), "{story}");
    node.run(Op::Acquire, &resource).runs();
    node.run(Op::Release, &resource).stopped();
}

#[test]
fn a_release_calls_off_a_start_in_progress() {
    let mut node = Node::new();
    let mut config = application("sleep 300", MainProcess::Cgroup);
    config.start_timeout = Duration::from_secs(30);
    let resource = app(config);
    let acquire = node.begin(Op::Acquire, &resource, Duration::from_secs(30));
    eventually("it is starting", || Cgroup::is_populated(&node.app_cgroup("app")));
    let answer = node.run(Op::Release, &resource).stopped();
    assert!(answer.took < Duration::from_secs(2), "{:?}", answer.took);
    assert!(node.answer(acquire, Duration::from_secs(1)).failed().reason.contains("release"));
    assert!(node.guard.holds_nothing());
}

#[test]
fn a_start_that_the_guard_overtook_starts_nothing() {
    let mut node = Node::new();
    let marker = node.run_dir.0.join("marker");
    // The guard lets go of everything between its answer and the daemon's next step, as after a long pause.
    *node.guard.on_hold.lock().unwrap() = Some(Box::new(|held| {
        let until = Instant::now() + Duration::from_secs(5);
        regent_agents::acts::release(&held.holding, until).unwrap();
    }));
    let resource =
        app(application(&format!("touch {}; exec sleep 300", marker.display()), MainProcess::Child));
    let failure = node.run(Op::Acquire, &resource).failed();
    assert!(failure.reason.contains("control group"), "{failure:?}");
    assert!(!marker.exists() && !node.app_cgroup("app").exists());
}

#[test]
fn the_guards_refusal_starts_nothing() {
    let mut node = Node::new();
    let marker = node.run_dir.0.join("marker");
    *node.guard.refuses.lock().unwrap() = Some("the lease has ended".into());
    let resource = app(application(&format!("touch {}", marker.display()), MainProcess::Child));
    assert!(node.run(Op::Acquire, &resource).failed().reason.contains("the lease has ended"));
    assert!(!marker.exists());
}

#[test]
fn commands_get_their_environment_and_a_clean_process() {
    let mut node = Node::new();
    let script = "env; echo signals $(grep SigIgn /proc/self/status); \
                  echo session $(cut -d' ' -f6 /proc/self/stat) $$; \
                  echo in $(readlink /proc/self/fd/0) $(pwd) $(umask); exec sleep 300";
    let resource = app(application(script, MainProcess::Child));
    node.run(Op::Acquire, &resource).runs();
    let printed = || std::fs::read_to_string(node.run_dir.0.join("output/g1/app/start")).unwrap();
    // It counts as started before a busy machine has come to its last line.
    eventually("all is printed", || printed().contains("\nin "));
    let output = printed();
    for line in [
        "REGENT_NODE=lx4",
        "REGENT_GROUP=g1",
        "REGENT_RESOURCE=app",
        "REGENT_EPOCH=7",
        "REGENT_ACTION=start",
        "REGENT_SERVICE_ADDRESSES=10.0.0.99",
        "REGENT_EXCLUDED_ADDRESSES=",
        "HOME=/root",
        "signals SigIgn: 0000000000000000",
        "in /dev/null / 0022",
    ] {
        assert!(output.contains(line), "{line}: {output}");
    }
    assert!(!output.contains("CARGO"), "{output}");
    let session = output.lines().find_map(|l| l.strip_prefix("session ")).unwrap();
    let (session, pid) = session.split_once(' ').unwrap();
    assert_eq!(session, pid, "its own session");
}

#[test]
fn a_user_is_become_with_groups_and_home_and_may_print() {
    let mut node = Node::new();
    let mut config = application(
        "id -un; id -Gn; echo $HOME; echo again >> /dev/stdout; exec sleep 300",
        MainProcess::Child,
    );
    config.user = Some("nobody".into());
    let resource = app(config.clone());
    node.run(Op::Acquire, &resource).runs();
    let output = std::fs::read_to_string(node.run_dir.0.join("output/g1/app/start")).unwrap();
    assert!(output.starts_with("nobody\nnogroup\n") && output.ends_with("again\n"), "{output}");
    node.run(Op::Release, &resource).stopped();
    config.user = Some("nobody-here".into());
    let failure = node.run(Op::Acquire, &app(config)).failed();
    assert!(failure.reason.contains("no user \"nobody-here\""), "{failure:?}");
}

#[test]
fn a_grace_that_was_changed_meanwhile_leaves_nothing_on_the_guards_list() {
    let mut node = Node::new();
    let mut config = application("exec sleep 300", MainProcess::Child);
    node.run(Op::Acquire, &app(config.clone())).runs();
    config.lapse_grace = Duration::from_secs(1);
    node.run(Op::Release, &app(config)).stopped();
    assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
}

#[test]
fn a_foreground_process_that_dies_while_its_status_is_asked_has_not_started() {
    let mut node = Node::new();
    let mut config = application("sleep 0.2; exit 5", MainProcess::Child);
    config.status = Some("sleep 0.6".into());
    let failure = node.run(Op::Acquire, &app(config)).failed();
    assert!(failure.reason.contains("exited with 5"), "{failure:?}");
}

#[test]
fn a_status_command_that_is_missing_is_an_error_that_says_so_and_no_answer() {
    let mut node = Node::new();
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.status = Some("/nowhere/status".into());
    let answer = node.run(Op::Acquire, &app(config.clone()));
    assert!(answer.took < Duration::from_secs(3), "waiting mends it not: {:?}", answer.took);
    let failure = answer.failed();
    assert!(
        failure.reason.contains("cannot be run") && failure.reason.contains("/nowhere/status"),
        "{failure:?}"
    );
    assert!(!failure.timed_out && !Cgroup::is_populated(&node.app_cgroup("app")));

    // One that was there at the start, and is not any more.
    let script = node.run_dir.0.join("status");
    std::fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    config.status = Some(script.display().to_string());
    node.run(Op::Acquire, &app(config.clone())).runs();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let failure = node.run(Op::Monitor, &app(config)).failed();
    assert!(failure.reason.contains("cannot be run") && failure.reason.contains("126"), "{failure:?}");
}

#[test]
fn a_process_of_a_pid_file_is_not_passed_over_when_the_status_command_cannot_be_run() {
    let mut node = Node::new();
    let mut stranger = std::process::Command::new("sleep").arg("300").spawn().unwrap();
    let pid_file = node.run_dir.0.join("pid");
    std::fs::write(&pid_file, format!("{}\n", stranger.id())).unwrap();
    let mut config = application("exit 0", MainProcess::PidFile(pid_file));
    config.status = Some("/nowhere/status".into());
    let failure = node.run(Op::Probe, &app(config)).failed();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(failure.reason.contains("nobody can tell"), "{failure:?}");
}
