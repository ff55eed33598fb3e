//! Each policy as a story: what happens, line by line, and what the planner makes of it. The owners of the story
//! do at once what the log tells them; proofs and silence are part of the story.

#![allow(clippy::unwrap_used, reason = "a story that does not hold together ends the test")]

mod failback;
mod figures;
mod fixed_point;
mod held;
mod networks;
mod reboot;
mod relations;
mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use regent_model::config::parse;
use regent_model::ids::{Incarnation, IncarnationOf, NodeId, NodeName, Round};
use regent_model::proof::Promise;
use regent_model::state::{Command, Member, Proposal, ProposalId, State};
use regent_model::{BootId, Epoch};
use story::{HEAD, address_group, name, story};

fn cascading() -> String {
    address_group("g", r#"["lx4", "lx5"]"#, "\"cascading\"", "10.77.0.100/24")
}

fn rotating() -> String {
    address_group("g", r#"["lx4", "lx5"]"#, "\"rotating\"", "10.77.0.100/24")
}

fn with_disk() -> String {
    format!(
        "{}\n[[group.filesystem]]\ndevice = \"/dev/san0\"\nmount = \"/srv\"\ntype = \"ext4\"\n",
        cascading()
    )
}

#[test]
fn cascading_takes_over_and_gives_back() {
    insta::assert_snapshot!(story(
        &cascading(),
        "up lx5
         up lx4
         silent lx4
         promised lx4
         up lx4"
    ));
}

#[test]
fn cascading_starts_at_home_and_can_be_moved_to_start_elsewhere() {
    insta::assert_snapshot!(story(&cascading(), "up lx5\nmove g lx5\nup lx4"));
}

#[test]
fn rotating_stays_where_it_is_when_the_lost_node_returns() {
    insta::assert_snapshot!(story(
        &rotating(),
        "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4\nmove g lx4"
    ));
}

#[test]
fn two_rotating_groups_start_on_two_nodes_and_share_one_after_a_loss() {
    let groups = format!(
        "{}{}",
        address_group("g1", r#"["lx4", "lx5"]"#, "\"rotating\"", "10.77.0.100/24"),
        address_group("g2", r#"["lx4", "lx5"]"#, "\"rotating\"", "10.77.0.101/24")
    );
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nsilent lx5\npromised lx5\nup lx5"));
}

#[test]
fn mutual_takeover_is_two_cascading_groups_with_crossed_lists() {
    let groups = format!(
        "{}{}",
        address_group("g1", r#"["lx4", "lx5"]"#, "\"cascading\"", "10.77.0.100/24"),
        address_group("g2", r#"["lx5", "lx4"]"#, "\"cascading\"", "10.77.0.101/24")
    );
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4"));
}

#[test]
fn a_group_that_never_fails_back_and_one_that_never_fails_over() {
    let never = r#"{ startup = "first-available", failover = "next", failback = "never" }"#;
    let stay = r#"{ startup = "first-available", failover = "stay", failback = "never" }"#;
    let groups = format!(
        "{}{}",
        address_group("goes", r#"["lx4", "lx5"]"#, never, "10.77.0.100/24"),
        address_group("stays", r#"["lx4", "lx5"]"#, stay, "10.77.0.101/24")
    );
    insta::assert_snapshot!(story(&groups, "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4"));
}

#[test]
fn a_shared_disk_waits_for_the_fence_device_and_the_end_of_the_lease_is_not_enough() {
    insta::assert_snapshot!(story(
        &with_disk(),
        "up lx4
         up lx5
         silent lx4
         promised lx4
         fence fails lx4
         fence confirms lx4"
    ));
}

#[test]
fn a_shared_disk_is_free_when_its_node_comes_back_rebooted() {
    insta::assert_snapshot!(story(&with_disk(), "up lx4\nup lx5\nsilent lx4\npromised lx4\nup lx4"));
}

#[test]
fn the_operators_word_ends_an_ownership_and_is_recorded_as_word() {
    insta::assert_snapshot!(story(
        &with_disk(),
        "up lx4\nup lx5\nsilent lx4\npromised lx4\nconfirm-dead lx4"
    ));
}

#[test]
fn a_graceful_stop_takes_the_group_down_until_its_node_returns() {
    insta::assert_snapshot!(story(
        &cascading(),
        "up lx4\nup lx5\nstop lx4 graceful\nsilent lx4\npromised lx4\nup lx4 clean"
    ));
}

#[test]
fn a_graceful_stop_of_a_node_that_is_not_the_home_brings_the_group_back_there() {
    insta::assert_snapshot!(story(
        &rotating(),
        "up lx4\nup lx5\nmove g lx5\nstop lx5 graceful\nsilent lx5\npromised lx5\nup lx5 clean"
    ));
}

#[test]
fn a_stop_with_takeover_moves_the_group() {
    insta::assert_snapshot!(story(
        &cascading(),
        "up lx4\nup lx5\nstop lx4 takeover\nsilent lx4\npromised lx4\nup lx4 clean"
    ));
}

#[test]
fn a_forced_stop_leaves_the_group_and_the_end_of_the_lease_proves_nothing() {
    insta::assert_snapshot!(story(
        &cascading(),
        "up lx4\nup lx5\nstop lx4 forced\nsilent lx4\npromised lx4\nup lx4 unclean\nadopt g"
    ));
}

#[test]
fn a_forced_stop_is_not_answered_by_cutting_the_power() {
    insta::assert_snapshot!(story(&with_disk(), "up lx4\nup lx5\nstop lx4 forced\nsilent lx4\npromised lx4"));
}

#[test]
fn standby_moves_groups_away_and_active_brings_them_back() {
    insta::assert_snapshot!(story(&cascading(), "up lx4\nup lx5\nstandby lx4\nactive lx4"));
}

#[test]
fn a_group_that_fails_at_home_goes_on_and_fails_for_good_when_no_node_is_left() {
    insta::assert_snapshot!(story(
        &cascading(),
        "failing lx4
         up lx4
         up lx5
         failing lx5
         restart g
         mended lx4
         enable g"
    ));
}

#[test]
fn a_group_returns_to_a_node_where_it_failed_when_the_one_that_ran_it_is_lost() {
    insta::assert_snapshot!(story(
        &rotating(),
        "failing lx4
         up lx4
         up lx5
         mended lx4
         silent lx5
         promised lx5"
    ));
}

#[test]
fn disabling_takes_down_and_enabling_starts_afresh() {
    insta::assert_snapshot!(story(&cascading(), "up lx4\nup lx5\ndisable g\nenable g"));
}

#[test]
fn an_entry_that_cites_a_withdrawn_promise_does_nothing() {
    let mut told = String::new();
    let text = format!("{HEAD}{}", cascading());
    let config = parse(&text).config.unwrap();
    let members = BTreeMap::from([(1, "lx4"), (2, "lx5"), (3, "w")].map(|(id, n)| {
        (NodeId(id), Member { name: NodeName::new(n).unwrap(), witness: n == "w", votes: true })
    }));
    let voters: BTreeSet<NodeId> = members.keys().copied().collect();
    let mut state = State::founded(config, text, members);
    let about = IncarnationOf { node: NodeId(1), incarnation: Incarnation(1) };
    let promises: Vec<Promise> = [2, 3].map(|v| Promise { voter: NodeId(v), about, round: Round(7) }).into();
    let down = Command::NodeDown {
        about,
        proof: regent_model::proof::Proof::LeaseEnded { promises: promises.clone() },
        takeovers: Vec::new(),
    };
    let commands = [
        Command::NodeUp { about, boot: BootId("a".into()), clean: true },
        Command::Assign { group: name("g"), after: Epoch(0), to: about },
        Command::Withdraw(promises[0]),
        down,
    ];
    for (number, command) in (1..).zip(commands) {
        let id = ProposalId { node: NodeId(3), session: 1, number };
        let _ = writeln!(told, "{:?}", state.apply(&Proposal { id, command }, &voters));
    }
    assert!(told.ends_with("[Void(\"1 of 3 voters promised: no majority for 1/1\")]\n"), "{told}");
    assert!(!state.is_ended(about));
}

#[test]
fn when_a_level_of_fence_devices_fails_the_next_is_tried_by_another_node_and_a_lost_operator_is_replaced() {
    let feeds = "\n[[fence]]\nname = \"feed-b\"\nagent = \"/usr/sbin/fence_lab\"\nnodes = [\"lx4\"]\n";
    let bmc = "\n[[fence]]\nname = \"bmc\"\nagent = \"/usr/sbin/fence_lab\"\nnodes = [\"lx4\"]\nlevel = 2\n";
    insta::assert_snapshot!(story(
        &format!("{}{feeds}{bmc}", with_disk()),
        "up lx4
         up lx5
         silent lx4
         promised lx4
         fence fails lx4
         fence fails lx4
         fence fails lx4
         silent lx5
         fence confirms lx4"
    ));
}

#[test]
fn who_is_to_be_cut_off_from_disks_loses_the_lease_first_and_is_cut_off_by_who_is_registered_there() {
    let san = "\n[[fence]]\nname = \"san\"\nagent = \"/usr/sbin/fence_scsi\"\nkind = \"storage\"\n\
               nodes = [\"lx4\", \"lx5\"]\ndisks = [\"/dev/san0\"]\nlevel = 2\n";
    let needs = with_disk().replacen("[[group]]\n", "[[group]]\nneeds = [\"lease-ended\", \"storage\"]\n", 1);
    insta::assert_snapshot!(story(
        &format!("{san}{needs}"),
        "up lx4
         registered lx4
         up lx5
         silent lx4
         promised lx4
         registered lx5
         fence fails lx4
         fence confirms lx4
         up lx4
         registered lx4"
    ));
}
