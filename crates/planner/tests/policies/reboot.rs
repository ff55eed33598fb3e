//! Groups whose release is complete only after a reboot of their node.

use crate::story::{address_group, story};
use crate::with_disk;

/// A group that is released only by a reboot, and one at home on the other node.
fn with_reboot() -> String {
    let dfs = with_disk().replacen("policy", "release = \"reboot\"\npolicy", 1);
    dfs + &address_group("web", r#"["lx5", "lx4"]"#, "\"cascading\"", "10.77.0.101/24")
}

#[test]
fn a_group_released_by_a_reboot_goes_home_after_the_standby_was_emptied_and_rebooted() {
    insta::assert_snapshot!(story(
        &with_reboot(),
        "up lx4
         up lx5
         silent lx4
         promised lx4
         fence confirms lx4
         up lx4
         silent lx5
         promised lx5
         up lx5"
    ));
}

#[test]
fn neither_a_release_nor_a_lapse_of_the_lease_lets_another_node_have_what_a_reboot_ends() {
    insta::assert_snapshot!(story(
        &with_reboot(),
        "up lx4
         up lx5
         stop lx4 graceful
         up lx4 clean
         disable g
         enable g
         silent lx4
         promised lx4
         up lx4 same-boot
         adopt g
         confirm-dead lx4"
    ));
}

#[test]
fn a_node_that_was_stopped_with_takeover_and_rebooted_for_it_comes_back_on_standby() {
    insta::assert_snapshot!(story(
        &with_reboot(),
        "up lx4
         up lx5
         stop lx4 takeover
         silent lx4
         up lx4
         active lx4"
    ));
}

#[test]
fn what_awaits_a_reboot_is_fenced_when_it_is_wanted_and_its_node_does_not_come_back() {
    insta::assert_snapshot!(story(
        &with_reboot(),
        "up lx4
         up lx5
         stop lx4 graceful
         silent lx4
         promised lx4
         enable g
         fence confirms lx4"
    ));
}
