//! Commands of cluster events: their end, what they leave, and a look at what takes so long.

use std::time::Duration;

use regent_agents::Report;
use regent_model::action::{CommandEnd, EventRun, LookRun, RunId};

use crate::support::{Node, eventually};

fn begin(node: &Node, id: u64, line: &str, timeout: Option<Duration>) -> RunId {
    let id = RunId(id);
    node.hands().event(EventRun {
        id,
        what: "pre of node_down lx4".into(),
        line: line.into(),
        args: vec!["lx4".into(), "a b".into()],
        timeout,
        environment: vec![("REGENT_EVENT".into(), "node_down".into())],
    });
    id
}

fn end(node: &mut Node, id: RunId) -> CommandEnd {
    match node.wait(Duration::from_secs(10), |r| matches!(r, Report::Ran { id: of, .. } if *of == id)) {
        Some(Report::Ran { end, .. }) => end,
        other => panic!("{other:?}"),
    }
}

fn look(node: &mut Node) -> String {
    node.hands().look(LookRun { id: RunId(99), group: None });
    match node.wait(Duration::from_secs(10), |r| matches!(r, Report::Seen { .. })) {
        Some(Report::Seen { text, .. }) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_events_command_gets_its_arguments_and_what_it_leaves_running_goes_on() {
    let mut node = Node::new();
    let pid = node.run_dir.0.join("left");
    let script = node.run_dir.0.join("script");
    let left = format!("sleep 300 > /dev/null 2>&1 & echo $! > {}", pid.display());
    std::fs::write(&script, format!("echo $REGENT_EVENT: $#: $2; {left}; exit 3")).unwrap();
    let id = begin(&node, 1, &format!("/bin/sh {}", script.display()), None);
    let end = end(&mut node, id);
    assert_eq!(
        (end.code, end.words.as_str(), end.output.trim()),
        (Some(3), "exited with 3", "node_down: 2: a b")
    );
    let pid = std::fs::read_to_string(&pid).unwrap();
    eventually("what it left is the other program by now", || {
        std::fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).unwrap().contains("300")
    });
}

#[test]
fn an_events_command_that_hangs_can_be_looked_at_and_is_killed_whole_at_its_timeout() {
    let mut node = Node::new();
    assert!(look(&mut node).contains("no process is at work"));
    let pid = node.run_dir.0.join("left");
    let line = format!(": $#; echo begun; sleep 299 & echo $! > {}; wait", pid.display());
    let id = begin(&node, 2, &line, Some(Duration::from_secs(2)));
    eventually("its processes are seen", || look(&mut node).contains("sleep 299"));
    assert!(look(&mut node).contains("pre of node_down lx4"));
    let end = end(&mut node, id);
    assert_eq!((end.code, end.output.trim()), (None, "begun"));
    assert!(end.words.contains("did not end in its time"), "{}", end.words);
    let pid = std::fs::read_to_string(&pid).unwrap();
    eventually("nothing of it is left", || {
        std::fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default().is_empty()
    });
}
