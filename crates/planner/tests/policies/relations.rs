//! Dependencies between groups and concurrent groups, as stories.

use crate::story::story;

fn group(name: &str, nodes: &str, more: &str, address: &str) -> String {
    format!(
        "\n[[group]]\nname = \"{name}\"\nnodes = {nodes}\n{more}\n\n[[group.address]]\naddress = \"10.77.0.{address}/24\"\n"
    )
}

const BOTH: &str = r#"["lx4", "lx5"]"#;
const OTHER_WAY: &str = r#"["lx5", "lx4"]"#;

fn parent_here_child_there() -> String {
    format!("{}{}", group("dce", BOTH, "", "100"), group("dfs", OTHER_WAY, "parent = \"dce\"", "101"))
}

fn concurrent(more: &str) -> String {
    format!(
        "\n[[group]]\nname = \"clients\"\nnodes = {BOTH}\npolicy = \"concurrent\"\n{more}\n\n\
         [[group.application]]\nname = \"rpc\"\nstart = \"rpcbind\"\n"
    )
}

fn needs_clients(policy: &str) -> String {
    format!(
        "{}\n[[group]]\nname = \"dce\"\nnodes = {BOTH}\npolicy = {policy}\n\n[[group.application]]\nname = \"kdc\"\n\
         start = \"krb5kdc\"\nclients = [\"clients\"]\n",
        concurrent("")
    )
}

#[test]
fn a_parent_is_acquired_first_and_its_child_released_first() {
    insta::assert_snapshot!(story(
        &parent_here_child_there(),
        "up lx5\nup lx4\nmove dce lx5\ndisable dce\nenable dce\nrestart dce"
    ));
}

#[test]
fn a_crash_of_the_parents_node_restarts_the_child_elsewhere() {
    insta::assert_snapshot!(story(
        &parent_here_child_there(),
        "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4"
    ));
}

#[test]
fn a_crash_of_the_node_with_both_brings_up_the_parent_then_the_child() {
    let groups =
        format!("{}{}", group("dce", BOTH, "", "100"), group("dfs", BOTH, "parent = \"dce\"", "101"));
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nsilent lx4\npromised lx4\nstop lx5 takeover"));
}

#[test]
fn a_parent_that_fails_takes_its_child_along() {
    insta::assert_snapshot!(story(
        &parent_here_child_there(),
        "up lx4\nup lx5\nbreaks dce application kdc: exit status 1"
    ));
}

#[test]
fn a_child_goes_down_and_comes_back_without_its_parent_noticing() {
    insta::assert_snapshot!(story(
        &parent_here_child_there(),
        "up lx4\nup lx5\nsilent lx5\npromised lx5\nup lx5\ndisable dfs\nenable dfs"
    ));
}

#[test]
fn three_levels_come_up_in_order_and_go_down_in_reverse() {
    let groups = format!(
        "{}{}{}",
        group("a", BOTH, "parent = \"b\"", "100"),
        group("b", BOTH, "parent = \"c\"", "101"),
        group("c", BOTH, "", "102")
    );
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nstop lx4 takeover"));
}

#[test]
fn a_forced_stop_of_the_parents_node_leaves_the_child_alone() {
    insta::assert_snapshot!(story(
        &parent_here_child_there(),
        "up lx4\nup lx5\nstop lx4 forced\nsilent lx4\npromised lx4\nup lx4 unclean\nadopt dce"
    ));
}

#[test]
fn after_orders_the_start_and_nothing_more() {
    let groups =
        format!("{}{}", group("dce", BOTH, "", "100"), group("dfs", BOTH, "after = [\"dce\"]", "101"));
    insta::assert_snapshot!(story(
        &groups,
        "disable dce\nup lx4\nup lx5\nenable dce\ndisable dce\nrestart dfs"
    ));
}

#[test]
fn same_node_follows() {
    let groups = format!(
        "{}{}",
        group("app", OTHER_WAY, "same_node_as = \"db\"", "100"),
        group("db", BOTH, "", "101")
    );
    insta::assert_snapshot!(story(
        &groups,
        "up lx5\nup lx4\nmove db lx5\nsilent lx5\npromised lx5\nup lx5\nstandby lx4"
    ));
}

#[test]
fn different_nodes_are_kept_and_the_higher_priority_keeps_the_last_node() {
    let groups = format!(
        "{}{}",
        group("prod", BOTH, "different_node_from = [\"test\"]\npriority = \"high\"", "100"),
        group(
            "test",
            OTHER_WAY,
            "priority = \"low\"\npolicy = { startup = \"first-available\", failover = \"next\", failback = \"home\" }",
            "101"
        )
    );
    insta::assert_snapshot!(story(
        &groups,
        "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4\nsilent lx5\npromised lx5\nup lx5"
    ));
}

#[test]
fn without_priorities_who_runs_keeps_its_node() {
    let groups = format!(
        "{}{}",
        group("one", BOTH, "different_node_from = [\"two\"]", "100"),
        group("two", OTHER_WAY, "", "101")
    );
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4"));
}

#[test]
fn a_concurrent_group_runs_on_every_node_and_stays_where_it_is() {
    insta::assert_snapshot!(story(
        &concurrent(""),
        "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4\ndisable clients@lx4\nstandby lx5\nactive lx5"
    ));
}

#[test]
fn a_group_goes_only_where_its_clients_are_up_and_stays_when_they_fail() {
    insta::assert_snapshot!(story(
        &needs_clients("\"cascading\""),
        "up lx4
         up lx5
         disable clients@lx5
         silent lx4
         promised lx4
         enable clients@lx5
         disable clients@lx5
         up lx4"
    ));
}

#[test]
fn rotating_groups_of_two_networks_share_a_node_and_those_of_one_do_not() {
    let rotating = "policy = \"rotating\"";
    let groups = format!(
        "{}{}{}",
        group("a", BOTH, rotating, "100"),
        group("b", BOTH, rotating, "101"),
        "\n[[group]]\nname = \"c\"\nnodes = [\"lx4\", \"lx5\"]\npolicy = \"rotating\"\n\n[[group.address]]\naddress = \"10.78.0.100/24\"\n"
    );
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4"));
}
