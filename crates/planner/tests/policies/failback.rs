//! Going back: by the calendar, after a while, where an operator moved it; and waiting for the home node.

use crate::story::{address_group, story};

fn with(lines: &str) -> String {
    address_group("g", r#"["lx4", "lx5"]"#, &format!("\"cascading\"\n{lines}"), "10.77.0.100/24")
}

fn first_available() -> String {
    let policy = r#"{ startup = "first-available", failover = "next", failback = "home" }"#;
    address_group("g", r#"["lx4", "lx5"]"#, policy, "10.77.0.100/24")
}

#[test]
fn a_move_is_remembered_when_its_node_is_lost_and_undone_by_restore() {
    insta::assert_snapshot!(story(
        &with(""),
        "up lx4\nup lx5\nmove g lx5\nsilent lx5\npromised lx5\nup lx5\nstandby lx5\nactive lx5\nrestore g\nrestore g"
    ));
}

#[test]
fn a_group_that_never_fails_back_stays_and_prefers_where_it_was_moved_at_the_next_loss() {
    let policy = r#"{ startup = "home", failover = "next", failback = "never" }"#;
    let group = address_group("g", r#"["lx4", "lx5"]"#, policy, "10.77.0.100/24");
    insta::assert_snapshot!(story(
        &group,
        "up lx4\nup lx5\nmove g lx5\nsilent lx5\npromised lx5\nup lx5\nsilent lx4\npromised lx4\nup lx4\nrestore g"
    ));
}

#[test]
fn a_move_to_a_node_that_cannot_run_it_is_over() {
    insta::assert_snapshot!(story(&with(""), "up lx4\nup lx5\nfailing lx5\nmove g lx5"));
}

#[test]
fn a_better_node_must_have_been_up_for_a_while() {
    insta::assert_snapshot!(story(
        &with("failback_after = \"2m\""),
        "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4\nheard lx4 for 90s\nheard lx4 for 120s"
    ));
}

#[test]
fn a_group_goes_back_in_the_minute_of_its_calendar() {
    insta::assert_snapshot!(story(
        &with("failback_at = \"sunday 02:00\""),
        "at 2026-11-20T12:00
         up lx4
         up lx5
         silent lx4
         promised lx4
         up lx4
         at 2026-11-22T01:59
         at 2026-11-22T02:00"
    ));
}

#[test]
fn one_date_is_tried_once_and_when_it_was_missed_the_group_stays() {
    insta::assert_snapshot!(story(
        &with("failback_at = \"2026-12-24 02:00\""),
        "at 2026-12-23T12:00
         up lx4
         up lx5
         silent lx4
         promised lx4
         at 2026-12-24T02:00
         at 2026-12-24T02:01
         up lx4
         move g lx4"
    ));
}

#[test]
fn after_a_move_by_hand_the_calendar_waits_for_the_return_of_that_node() {
    insta::assert_snapshot!(story(
        &with("failback_at = \"daily 02:00\""),
        "at 2026-11-20T12:00
         up lx4
         up lx5
         move g lx5
         at 2026-11-21T02:00
         at 2026-11-21T12:00
         silent lx5
         promised lx5
         up lx5"
    ));
}

#[test]
fn after_the_whole_cluster_was_down_a_group_waits_for_its_home_until_the_time_is_over() {
    insta::assert_snapshot!(story(&first_available(), "settling 30s\nup lx5\nsettling 10s\nsettling over"));
}

#[test]
fn the_home_node_ends_the_settling_time() {
    insta::assert_snapshot!(story(&first_available(), "settling 30s\nup lx5\nup lx4"));
}

#[test]
fn a_takeover_does_not_wait_for_the_settling_time() {
    insta::assert_snapshot!(story(
        &first_available(),
        "up lx4\nup lx5\nmet lx4\nmet lx5\nsettling 30s\nsilent lx4\npromised lx4"
    ));
}

#[test]
fn an_owner_that_nobody_heard_since_the_outage_is_waited_for() {
    insta::assert_snapshot!(story(
        &first_available(),
        "up lx4\nup lx5\nsilent lx4\nsilent lx5\nsettling 30s\nup lx5\nmet lx5\npromised lx4\nsettling over"
    ));
}
