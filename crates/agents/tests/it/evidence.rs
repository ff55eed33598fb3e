//! Evidence before recovery: what is in it, and that it ends.

use std::path::Path;
use std::time::Duration;

use regent_agents::evidence::{list, show};
use regent_model::action::{How, Op, Resource};
use regent_model::config::{ApplicationConfig, Diagnose, InstanceCommands, InstanceKind, MainProcess};
use regent_model::evidence::EvidenceHead;

use crate::support::{Answer, Cgroup, Folder, Node, app, application, eventually};

fn diagnosed(start: &str, command: Option<String>, budget_ms: u64) -> ApplicationConfig {
    let diagnose = Diagnose { command, budget: Duration::from_millis(budget_ms) };
    ApplicationConfig { diagnose: Some(diagnose), ..application(start, MainProcess::Cgroup) }
}

/// What the engine asks for before it acts on a failure.
fn gather(node: &mut Node, resource: &Resource, why: &str, budget: Duration) -> Answer {
    node.how = How::Evidence;
    node.variables = vec![("REGENT_FAILURE".into(), why.into())];
    let answer = node.within(Op::Monitor, resource, budget);
    node.how = How::Plain;
    node.variables.clear();
    answer
}

fn kept(node: &Node) -> Vec<(EvidenceHead, String)> {
    let folder = node.run_dir.0.join("evidence");
    list(&folder).iter().map(|head| show(&folder, &head.id()).unwrap()).collect()
}

#[test]
fn of_an_application_that_hangs_stack_open_files_sockets_and_last_words_are_kept() {
    let mut node = Node::new();
    let data = node.run_dir.0.join("data");
    std::fs::write(&data, "0123456789").unwrap();
    let python = "import socket,time,sys; s=socket.create_server((\"127.0.0.1\",0)); \
                  f=open(sys.argv[1]); f.read(4); f.seek(4); print(\"ready to hang\",flush=True); time.sleep(300)";
    let start = format!("python3 -c '{python}' {} & exit 0", data.display());
    let command = "echo failure=$REGENT_FAILURE action=$REGENT_ACTION pids=$REGENT_PIDS";
    let mut config = diagnosed(&start, Some(command.into()), 5000);
    config.status = Some(format!("echo all is well; test -e {}", data.display()));
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    let output = node.run_dir.0.join("output/g1/app/start");
    eventually("it hangs", || std::fs::read_to_string(&output).is_ok_and(|t| t.contains("ready")));
    node.run(Op::Monitor, &resource).runs();
    let answer = gather(&mut node, &resource, "it does not answer", Duration::from_secs(5)).runs();
    assert!(
        answer.story().contains("evidence lx4/1 is kept: regent evidence g1 --show lx4/1"),
        "{}",
        answer.story()
    );
    let (head, text) = kept(&node).pop().unwrap();
    assert!(head.complete && head.reason == "it does not answer" && head.epoch == node.epoch, "{head:?}");
    let pid = std::fs::read_to_string(node.app_cgroup("app").join("main/cgroup.procs")).unwrap();
    let pid = pid.lines().next().unwrap();
    for needle in [
        format!("failure=it does not answer action=diagnose pids={pid}"),
        format!("{pid} python3 [S (sleeping)]"),
        format!("{} at byte 4", data.display()),
        "listening, 0 connection(s) wait to be accepted".into(),
        "ready to hang".into(),
        "all is well".into(),
        "status: exited with 0 after".into(),
        "MemAvailable".into(),
    ] {
        assert!(text.contains(&needle), "{needle} is not in:\n{text}");
    }
    let stack = std::fs::read_to_string(format!("/proc/{pid}/stack"));
    let stack = stack.unwrap_or_else(|_| "its kernel stack cannot be read".into());
    assert!(text.contains(stack.lines().next().unwrap()), "{stack} is not in:\n{text}");
    assert!(Cgroup::is_populated(&node.app_cgroup("app")), "it was looked at and not touched");
    std::fs::remove_file(&data).unwrap();
    node.run(Op::Release, &resource).stopped();
}

#[test]
fn a_diagnose_command_that_hangs_is_killed_at_its_budget_and_what_was_seen_is_kept() {
    let mut node = Node::new();
    let command = "echo so far; trap '' TERM INT; sleep 300 & sleep 300";
    let resource = app(diagnosed("sleep 300 & exit 0", Some(command.into()), 1000));
    node.run(Op::Acquire, &resource).runs();
    let answer = gather(&mut node, &resource, "it hangs", Duration::from_millis(1000)).runs();
    assert!(answer.took >= Duration::from_millis(500), "it had its time: {:?}", answer.took);
    let (head, text) = kept(&node).pop().unwrap();
    assert!(!head.complete && head.took_ms <= 1000, "{head:?}");
    assert!(text.contains("did not end in its time and was killed") && text.contains("so far"), "{text}");
    assert!(text.contains("=== open files"), "the standard set is there:\n{text}");
    assert!(answer.story().contains("not all that was to be seen"), "{}", answer.story());
    let folders = std::fs::read_dir(node.app_cgroup("app")).unwrap().flatten();
    let commands = folders.filter(|e| e.file_name().to_string_lossy().starts_with("cmd-")).count();
    assert_eq!(commands, 0, "nothing of it is left");
    node.run(Op::Release, &resource).stopped();
}

#[test]
fn a_release_that_is_asked_for_ends_the_gathering_of_evidence() {
    let mut node = Node::new();
    let resource = app(diagnosed("sleep 300 & exit 0", Some("sleep 300".into()), 60_000));
    node.run(Op::Acquire, &resource).runs();
    node.how = How::Evidence;
    let gathering = node.begin(Op::Monitor, &resource, Duration::from_secs(60));
    node.how = How::Plain;
    let begun = std::time::Instant::now();
    node.run(Op::Release, &resource).stopped();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    node.answer(gathering, Duration::from_secs(5));
}

#[test]
fn a_start_that_fails_and_a_stop_that_hangs_leave_evidence_before_anything_is_killed() {
    let mut node = Node::new();
    let mut config = diagnosed(
        "sleep 299 & until grep -q ^sleep /proc/$!/cmdline; do :; done; echo half way; exit 4",
        Some("echo pids: $REGENT_PIDS".into()),
        3000,
    );
    node.run(Op::Acquire, &app(config.clone())).failed();
    let (head, text) = kept(&node).pop().unwrap();
    assert!(head.reason.starts_with("its start failed: the start command exited with 4"), "{head:?}");
    assert!(text.contains("sleep 299") && text.contains("half way") && text.contains("pids: "), "{text}");
    assert!(!Cgroup::is_populated(&node.app_cgroup("app")), "what it left is ended as ever");
    node.run(Op::Release, &app(config.clone())).stopped();

    config.start = "trap '' TERM; sleep 298 & exit 0".into();
    config.stop = Some("sleep 297".into());
    config.stop_timeout = Duration::from_millis(500);
    let resource = app(config);
    node.run(Op::Acquire, &resource).runs();
    let answer = node.run(Op::Release, &resource).stopped();
    assert_eq!(kept(&node).len(), 2, "once for one stop: {}", answer.story());
    let (head, text) = kept(&node).remove(0);
    assert_eq!(head.reason, "its stop command did not end in its time");
    assert!(text.contains("sleep 297") && text.contains("sleep 298"), "the command itself, too:\n{text}");
}

#[test]
fn a_check_that_hangs_is_looked_at_once_before_it_is_killed_and_nothing_is_where_it_is_turned_off() {
    let mut node = Node::new();
    let mut config = diagnosed("sleep 300 & exit 0", Some("echo not for this".into()), 3000);
    node.run(Op::Acquire, &app(config.clone())).runs();
    config.status = Some("sleep 296".into());
    config.monitor.timeout = Duration::from_millis(300);
    let resource = app(config.clone());
    for _ in 0..3 {
        assert!(node.within(Op::Monitor, &resource, Duration::from_secs(3)).failed().timed_out);
    }
    let all = kept(&node);
    assert_eq!(all.len(), 1, "the first that hangs counts");
    assert!(all[0].1.contains("sleep 296") && !all[0].1.contains("not for this"), "{}", all[0].1);
    config.diagnose = None;
    config.status = None;
    let resource = app(config);
    gather(&mut node, &resource, "it hangs", Duration::from_secs(3)).runs();
    node.run(Op::Release, &resource).stopped();
    assert_eq!(kept(&node).len(), 1);
}

#[test]
fn where_evidence_cannot_be_written_it_is_said_and_nothing_else_suffers() {
    let mut node = Node::new();
    std::fs::write(node.run_dir.0.join("evidence"), "no folder").unwrap();
    let resource = app(diagnosed("sleep 300 & exit 0", None, 3000));
    node.run(Op::Acquire, &resource).runs();
    let answer = gather(&mut node, &resource, "it hangs", Duration::from_secs(3)).runs();
    assert!(answer.story().contains("evidence is not kept: cannot keep evidence in"), "{}", answer.story());
    assert!(
        answer.story().contains("=== processes"),
        "what was seen goes to the journal: {}",
        answer.story()
    );
    node.run(Op::Release, &resource).stopped();
}

/// A script that starts a database, and the database: each in a control group of its own.
fn started_by_a_script(node: &mut Node, folder: &Path) -> (Resource, Resource) {
    let pid = folder.join("pid").display().to_string();
    let commands = InstanceCommands {
        start: Some(format!("setsid sleep 86402 & echo $! > {pid}")),
        stop: Some("true".into()),
        status: Some(format!("grep -q sleep /proc/$(cat {pid})/cmdline")),
        ..InstanceCommands::default()
    };
    let mut config = crate::instance::config("cacheha1", InstanceKind::Command, folder);
    let command = Some("echo failure=$REGENT_FAILURE pids=$REGENT_PIDS".to_owned());
    config.diagnose = Some(Diagnose { command: command.clone(), budget: Duration::from_secs(5) });
    (config.commands, config.autostart) = (commands, true);
    config.stop_timeout = Duration::from_secs(1);
    let script = app(diagnosed("sleep 86403 & exit 0", command, 5000));
    let instance = crate::instance::instance(config);
    node.run(Op::Acquire, &instance).runs();
    node.run(Op::Acquire, &script).runs();
    (script, instance)
}

#[test]
fn evidence_of_a_script_around_a_database_shows_the_database_which_has_evidence_of_its_own() {
    let (folder, mut node) = (Folder::new(), Node::new());
    let (script, instance) = started_by_a_script(&mut node, &folder.0);
    let pids = |resource: &str| {
        let main = node.app_cgroup(resource).join("main/cgroup.procs");
        std::fs::read_to_string(main).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let (own, database) = (pids("app"), pids("instance-CACHEHA1"));
    gather(&mut node, &script, "it says no", Duration::from_secs(5)).runs();
    let (head, text) = kept(&node).pop().unwrap();
    assert!(head.complete && head.application.as_str() == "app", "{head:?}");
    let both = format!("failure=it says no pids={} {}", own.join(" "), database.join(" "));
    assert!(text.contains(&both) && text.contains("sleep 86402"), "{both} is not in:\n{text}");
    assert!(text.contains("--- instance-CACHEHA1"), "{text}");

    gather(&mut node, &instance, "it does not answer", Duration::from_secs(5)).runs();
    let of_it = |node: &Node| {
        let all = kept(node).into_iter().filter(|(head, _)| head.application.as_str() == "instance-CACHEHA1");
        all.collect::<Vec<_>>()
    };
    let (head, text) = of_it(&node).pop().unwrap();
    assert!(head.complete && head.reason == "it does not answer", "{head:?}");
    let alone = format!("failure=it does not answer pids={}", database.join(" "));
    assert!(
        text.contains(&alone) && text.contains("status: exited with 0 after"),
        "{alone} is not in:\n{text}"
    );

    // One that does not stop is looked at before it is forced down.
    node.run(Op::Release, &script).stopped();
    let story = node.run(Op::Release, &instance).stopped().story();
    assert!(story.contains("evidence lx4/3 is kept") && story.contains("forced down"), "{story}");
    let all = of_it(&node);
    assert!(all.len() == 2 && all.iter().any(|(head, _)| head.reason.contains("is not down")), "{all:?}");
    assert!(node.guard.holds_nothing());
}
