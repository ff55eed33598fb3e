//! What is done around cluster events.

use super::*;
use regent_model::config::OnError;
use regent_model::event::EventName;
use std::time::Duration;

/// [`GOOD`] with a table at its end.
fn event(lines: &str) -> String {
    format!("{GOOD}\n[[event]]\n{lines}\n")
}

/// The text has one error, with these words in its message and its help.
#[track_caller]
fn finds(text: &str, message: &str, help: &str) {
    let parsed = parse(text);
    let list = listed(text, &parsed);
    let [found] = parsed.findings.as_slice() else { panic!("one error expected, found:\n{list}") };
    assert_eq!((found.severity, parsed.config.is_none()), (Severity::Error, true), "{list}");
    assert!(found.message.contains(message) && found.help.contains(help), "{list}");
}

#[test]
fn an_event_has_commands_for_all_nodes_and_the_cluster_says_what_a_failure_does() {
    let config = good(&event("name = \"node_down\"\npost = \"/bin/a\"\npre = [\"/bin/b\", \"/bin/c\"]"));
    let event = &config.events[0];
    assert_eq!(event.name, EventName::NodeDown);
    assert_eq!((event.post.as_slice(), event.pre.len()), (&["/bin/a".to_owned()][..], 2));
    assert!(event.is_for(&config.nodes[0].name) && event.on_error.is_none() && event.timeout.is_none());
    assert_eq!(config.event_rules.on_error, OnError::Block);
    assert_eq!(config.event_rules.event_limit + config.event_rules.group_limit, Duration::from_secs(360));
}

#[test]
fn the_commands_of_a_group_come_after_those_of_the_cluster_and_only_where_they_are_meant() {
    let text = with(
        "[[group.address]]",
        "[[group.event]]\nname = \"node_up\"\nnodes = [\"lx5\"]\npost = \"/bin/own\"\n\n[[group.address]]",
    );
    let config = good(&format!("{text}\n[[event]]\nname = \"node_up\"\npost = \"/bin/all\"\n"));
    let db = [config.groups[0].name.clone()];
    let lines = |node: usize, groups: &[regent_model::GroupName]| -> Vec<String> {
        let node = &config.nodes[node].name;
        config.around(EventName::NodeUp, node, groups).flat_map(|(_, e)| e.post.clone()).collect()
    };
    assert_eq!(lines(1, &db), ["/bin/all", "/bin/own"]);
    assert_eq!(lines(0, &db), ["/bin/all"]);
    assert_eq!(lines(1, &[]), ["/bin/all"]);
}

#[test]
fn an_event_that_is_not_known_or_never_happens_is_refused() {
    finds(&event("name = \"node_dwon\"\npost = \"/bin/a\""), "no event \"node_dwon\"", "node_down");
    finds(&event("name = \"site_up\"\npost = \"/bin/a\""), "never happens", "regent event list");
    finds(&event("name = \"node_up\""), "nothing is done", "post =");
}

#[test]
fn where_the_guard_acts_no_command_takes_its_place() {
    for name in ["node_down", "get_disk_vg_fs", "acquire_service_addr", "rg_move_acquire"] {
        finds(
            &event(&format!("name = \"{name}\"\ncommand = \"/bin/a\"")),
            "cannot be replaced",
            "`pre` or `post`",
        );
    }
    for name in ["start_server", "network_down", "fail_standby", "config_too_long", "cluster_notify"] {
        good(&event(&format!("name = \"{name}\"\ncommand = \"/bin/a\"")));
    }
}

#[test]
fn recovery_and_its_count_come_together() {
    let recovery = |lines: &str| event(&format!("name = \"node_up\"\npre = \"/bin/a\"\n{lines}"));
    finds(&recovery("recovery = \"/bin/b\""), "never tried", "recovery_count = 1");
    finds(&recovery("recovery_count = 2"), "counts nothing", "recovery =");
    assert_eq!(good(&recovery("recovery = \"/bin/b\"\nrecovery_count = 2")).events[0].recovery_count, 2);
}

#[test]
fn an_event_names_nodes_that_are_there_and_a_groups_event_concerns_the_group() {
    finds(&event("name = \"node_up\"\npre = \"/bin/a\"\nnodes = [\"lx9\"]"), "no node `lx9`", "lx4");
    let of_group =
        |lines: &str| with("[[group.address]]", &format!("[[group.event]]\n{lines}\n\n[[group.address]]"));
    finds(&of_group("name = \"network_down\"\npre = \"/bin/a\""), "concerns no group", "[[event]]");
    let stranger = of_group("name = \"node_up\"\npre = \"/bin/a\"\nnodes = [\"lx5\"]")
        .replace("[\"lx4\", \"lx5\"]\npolicy", "[\"lx4\"]\npolicy");
    refused(&stranger, "\"lx5\"", "`lx5` never has `db`", "lx4");
    refused(&event("name = \"node_up\"\npre = [\"/bin/a\", \"\"]"), "\"\"", "holds no command", "pre =");
}
