//! Further monitors, and what follows a failure.

use super::*;
use regent_model::config::{Diagnose, HungSignal, MonitorAction, OnFailure, StartIn, Watched};
use std::time::Duration;

/// [`GOOD`] with lines more in its application.
fn application(lines: &str) -> String {
    with("name = \"cache\"\n", &format!("name = \"cache\"\n{lines}\n"))
}

#[test]
fn one_monitor_stays_what_it_was_and_several_say_what_they_look_at() {
    let app =
        good(&application("monitor = { interval = \"7s\", failures = 2, of = 5, slow_after = \"2s\" }"))
            .groups[0]
            .applications[0]
            .clone();
    assert_eq!(
        (app.monitor.interval, app.monitor.timeout),
        (Duration::from_secs(7), Duration::from_secs(20))
    );
    assert_eq!(
        (app.monitor.failures, app.monitor.of, app.monitor.slow_after),
        (2, 5, Some(Duration::from_secs(2)))
    );
    let list = "monitor = [{ failures = 3 }, { kind = \"custom\", command = \"/c\", interval = \"9s\", \
                hung_signal = \"ABRT\" }, { kind = \"process\", processes = [\"slapd\"], owner = \"root\" }]";
    let app = good(&application(list)).groups[0].applications[0].clone();
    let [custom, process] = app.monitoring.watches.as_slice() else { panic!("{:?}", app.monitoring) };
    assert_eq!((app.monitor.failures, app.monitor.of), (3, 3));
    assert_eq!((custom.what.clone(), custom.hung_signal), (Watched::Command("/c".into()), HungSignal::Abrt));
    assert_eq!(custom.times.timeout, Duration::from_secs(9), "the interval where none is given");
    assert!(matches!(&process.what, Watched::Processes { names, instances: 1, .. } if names == &["slapd"]));
}

#[test]
fn monitors_that_cannot_be_right_are_found() {
    let one = |line: &str| application(&format!("monitor = {line}"));
    refused(&one("{ failures = 3, of = 2 }"), "2", "never among 2 checks", "of = 6");
    warned(&one("{ slow_after = \"30s\" }"), "\"30s\"", "never slow", "less than `timeout`");
    refused(&one("{ kind = \"proces\" }"), "\"proces\"", "`kind` cannot be", "\"process\"");
    refused(
        &one("[{ interval = \"1s\" }, { interval = \"2s\" }]"),
        "{ interval = \"2s\" }",
        "given twice",
        "kind =",
    );
    refused(
        &one("{ kind = \"process\", processes = [\"/usr/sbin/slapd\"] }"),
        "\"/usr/sbin/slapd\"",
        "is a path",
        "\"slapd\"",
    );
    refused(
        &one("{ kind = \"process\", processes = [\"a\", \"b\"], instances = 2 }"),
        "2",
        "one each",
        "a monitor of its own",
    );
    warned(&one("{ kind = \"process\", processes = [\"ksh\"] }"), "\"ksh\"", "shell script", "custom");
    refused(
        &one("{ kind = \"startup\", command = \"/up\" }"),
        "\"/up\"",
        "which processes it is",
        "pid_file",
    );
    refused(
        &one("{ kind = \"custom\", command = \"/c\", hung_signal = \"SEGV\" }"),
        "\"SEGV\"",
        "cannot be",
        "ABRT",
    );
}

#[test]
fn what_follows_a_failure_is_said_once_for_the_application() {
    let lines = "start_in = \"background\"\nstabilisation = \"30s\"\non_failure = \"notify\"\nnotify = \"/n\"\n\
                 cleanup = \"/c\"\nrestart = \"/r\"";
    let monitoring = good(&application(lines)).groups[0].applications[0].monitoring.clone();
    assert_eq!((monitoring.start_in, monitoring.on_failure), (StartIn::Background, OnFailure::Notify));
    assert_eq!(monitoring.stabilisation, Some(Duration::from_secs(30)));
    let commands = [monitoring.notify, monitoring.cleanup, monitoring.restart].map(Option::unwrap);
    assert_eq!(commands, ["/n", "/c", "/r"]);
    let both = "start_in = \"background\"\nforeground = true";
    refused(&application(both), "\"background\"", "goes on by itself", "start_in = \"foreground\"");
    let named = application("start_in = \"background\"").replacen(
        "policy = \"cascading\"",
        "policy = \"cascading\"\nhostname = \"dce\"",
        1,
    );
    refused(&named, "\"cache\"", "set back too early", "start_in = \"foreground\"");
}

#[test]
fn restarts_that_can_never_be_used_up_are_warned_of_and_the_default_has_room() {
    let lines = "restarts = 3\nwindow = \"2m\"\nstabilisation = \"50s\"\nmonitor = { interval = \"10s\" }";
    warned(
        &application(lines),
        "\"2m\"",
        "3 restarts of 60 s each do not fall into 2 m",
        "window = \"198s\"",
    );
    let lines = "restarts = 3\nstabilisation = \"290s\"\nmonitor = { interval = \"10s\" }";
    let limits = good(&application(lines)).groups[0].applications[0].limits;
    assert_eq!(limits.window, Duration::from_secs(990), "3 x (290 + 10) s and 10 % more");
}

#[test]
fn every_further_command_is_known_so_that_its_absence_can_be_told_before_it_is_needed() {
    let lines = "pid_file = \"/run/c.pid\"\nnotify = \"/n\"\nmonitor = [{ kind = \"custom\", command = \"/c\" }, { kind = \
                 \"startup\", command = \"/s\" }, { kind = \"process\", processes = [\"p\"], owner = \"dce\" }]";
    let monitoring = good(&application(lines)).groups[0].applications[0].monitoring.clone();
    assert_eq!(
        monitoring.commands(),
        [("notify", "/n"), ("startup monitor", "/s"), ("custom monitor", "/c")]
    );
    assert_eq!(monitoring.owners().collect::<Vec<_>>(), ["dce"]);
    refused(&application("notify = \"a\\u0000b\""), "\"cache\"", "holds a zero byte", "as you would type it");
}

#[test]
fn a_process_monitor_names_somebody_and_a_user_that_can_be_one() {
    let process = |more: &str| application(&format!("monitor = {{ kind = \"process\", {more} }}"));
    refused(&process("processes = []"), "[]", "names nobody", "[\"slapd\"]");
    refused(&process("processes = [\"a\"], owner = \"a b\""), "\"a b\"", "no name of a user", "for example");
}

#[test]
fn a_monitor_may_only_observe_and_says_so_by_itself() {
    let list = "monitor = [{ failures = 3 }, { kind = \"custom\", command = \"/c\", action = \"observe\" }]";
    let app = good(&application(list)).groups[0].applications[0].clone();
    assert_eq!(app.monitoring.action, MonitorAction::Recover);
    assert_eq!(app.monitoring.watches[0].action, MonitorAction::Observe);
    let app = good(&application("monitor = { action = \"observe\" }")).groups[0].applications[0].clone();
    assert_eq!(app.monitoring.action, MonitorAction::Observe);
    refused(
        &application("monitor = { action = \"notify\" }"),
        "\"notify\"",
        "`action` cannot be",
        "\"recover\", \"observe\"",
    );
}

#[test]
fn evidence_is_gathered_unless_it_is_turned_off() {
    let read = |line: &str| good(&application(line)).groups[0].applications[0].diagnose.clone();
    assert_eq!(read(""), Some(Diagnose { command: None, budget: Duration::from_secs(5) }));
    assert_eq!(read("diagnose = true"), read(""));
    assert_eq!(read("diagnose = false"), None);
    let own = Diagnose { command: Some("/d".into()), budget: Duration::from_secs(9) };
    assert_eq!(read("diagnose = { command = \"/d\", timeout = \"9s\" }"), Some(own));
    let one = |line: &str| application(&format!("diagnose = {line}"));
    refused(&one("\"/d\""), "\"/d\"", "must be a table", "command = ");
    refused(&one("{ timeout = \"0s\" }"), "\"0s\"", "cannot be zero", "10s");
    refused(&one("{ budget = \"2s\" }"), "budget", "unknown key `budget`", "command, timeout");
    warned(&one("{ timeout = \"5m\" }"), "\"5m\"", "up to 5 m", "shorter");
}
