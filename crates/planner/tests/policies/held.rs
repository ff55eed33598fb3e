//! What an operator holds, what goes home when its home node joins, and what changes under groups that run.

use crate::story::{address_group, story};

fn with(policy: &str) -> String {
    address_group("g", r#"["lx4", "lx5"]"#, policy, "10.77.0.100/24")
}

const JOIN: &str = r#"{ startup = "home", failover = "next", failback = "join" }"#;

#[test]
fn a_held_group_stays_down_when_its_owner_is_lost_and_comes_up_when_it_is_resumed() {
    insta::assert_snapshot!(story(
        &with("\"cascading\""),
        "up lx4\nup lx5\nhold g upgrade in place\nsilent lx4\npromised lx4\nresume g\nhold g\nup lx4\nresume g"
    ));
}

#[test]
fn a_held_group_goes_nowhere_by_itself_and_where_an_operator_wants_it() {
    insta::assert_snapshot!(story(
        &with("\"cascading\""),
        "up lx4
         up lx5
         hold g
         standby lx4
         active lx4
         lost lx4 1
         found lx4 1
         move g lx5
         restore g
         restart g
         disable g
         enable g
         stop lx4 takeover"
    ));
}

#[test]
fn no_power_is_cut_for_what_is_held_and_would_stay_down() {
    let disk = "\n[[group.filesystem]]\ndevice = \"/dev/san0\"\nmount = \"/srv\"\ntype = \"ext4\"\n";
    insta::assert_snapshot!(story(
        &format!("{}{disk}", with("\"cascading\"")),
        "up lx4\nup lx5\nhold g\nsilent lx4\npromised lx4\nresume g\nfence confirms lx4"
    ));
}

#[test]
fn a_machine_is_not_rebooted_under_a_held_group() {
    let reboots =
        address_group("dfs", r#"["lx4", "lx5"]"#, "\"cascading\"\nrelease = \"reboot\"", "10.77.0.101/24");
    insta::assert_snapshot!(story(
        &format!("{}{reboots}", with("\"cascading\"")),
        "up lx4\nup lx5\nhold g\nmove dfs lx5\nresume g"
    ));
}

#[test]
fn a_group_goes_home_only_when_its_home_node_joins_also_after_a_move_by_hand() {
    insta::assert_snapshot!(story(
        &with(JOIN),
        "up lx4
         up lx5
         silent lx4
         promised lx4
         up lx4
         move g lx5
         standby lx4
         active lx4
         up lx5
         up lx4
         hold g
         move g lx5
         up lx4
         resume g"
    ));
}

#[test]
fn the_policy_that_goes_home_when_the_node_joins_moves_nothing_when_it_is_switched_to() {
    insta::assert_snapshot!(story(
        &with(r#"{ startup = "home", failover = "next", failback = "never" }"#),
        "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4\napply \"never\" \"join\"\nup lx4"
    ));
}

#[test]
fn a_group_runs_on_as_it_was_acquired_and_another_node_gets_what_is_configured() {
    insta::assert_snapshot!(story(
        &with("\"cascading\"").replace("[\"lx4\", ", "[\"lx4\","),
        "up lx4\nup lx5\napply 10.77.0.100 10.77.0.110\napply \"lx4\",\"lx5\" \"lx5\"\nup lx4\napply \"g\" \"h\""
    ));
}

#[test]
fn a_held_group_that_is_moved_by_an_operator_is_fenced_and_taken_over_though_its_owner_is_silent() {
    let disk = "\n[[group.filesystem]]\ndevice = \"/dev/san0\"\nmount = \"/srv\"\ntype = \"ext4\"\n";
    insta::assert_snapshot!(story(
        &format!("{}{disk}", with("\"cascading\"")),
        "up lx4\nup lx5\nhold g\nsilent lx4\npromised lx4\nmove g lx5\nfence confirms lx4"
    ));
}
