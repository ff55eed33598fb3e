//! Whole clusters in virtual time: named scenarios with their full journal, and what must hold for every seed.

#![allow(clippy::unwrap_used, reason = "a scenario that cannot be read ends the test")]

use regent_sim::scenario::Scenario;
use regent_sim::{Options, run};

/// Plays a scenario and gives its journal.
fn check(text: &str) -> String {
    Scenario::read(text).unwrap().play().unwrap().join("\n")
}

#[test]
fn the_owner_loses_power_and_the_peer_takes_over() {
    insta::assert_snapshot!(check("cluster address-fast\nfrom 5000\nuntil 6000\n5000 off lx4"));
}

#[test]
fn the_new_owner_ends_what_clients_had_with_the_one_that_was_lost() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 6500\n4000 clients 3\n5000 off lx4"
    ));
}

#[test]
fn clients_are_known_to_the_next_owner_also_when_the_group_is_moved_and_lost_right_after() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 9000\n4000 clients 2\n5000 ask lx4 group move web lx5\n\
         7000 clients 5\n8000 off lx5"
    ));
}

#[test]
fn a_list_of_clients_that_a_peer_missed_while_it_was_away_is_asked_for() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 9000\nuntil 10500\n2000 off lx5\n4000 clients 4\n5000 on lx5\n9000 off lx4"
    ));
}

#[test]
fn a_daemon_that_adopts_what_runs_resets_nobody() {
    let told = check("cluster address-fast\nfrom 4500\nuntil 9000\n4000 clients 3\n5000 kill lx4 500");
    assert!(told.contains("runs already: adopted") && !told.contains("reset 3 connections"), "{told}");
}

#[test]
fn a_shared_disk_is_taken_over_when_the_device_confirms() {
    insta::assert_snapshot!(check("cluster fenced\nfrom 5000\nuntil 8000\n5000 off lx4"));
}

#[test]
fn the_daemon_is_killed_and_what_runs_is_adopted() {
    insta::assert_snapshot!(check("cluster address-fast\nfrom 5000\nuntil 7000\n5000 kill lx4 500"));
}

#[test]
fn the_owner_is_cut_off_lets_go_in_time_and_comes_back() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 9000\n5000 cut lx4 | lx5 wit\n7000 heal"
    ));
}

#[test]
fn a_node_stopped_gracefully_takes_its_group_down_and_brings_it_back() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 9000\n5000 ask lx4 node stop graceful\n7000 start lx4\n9000 settled"
    ));
}

#[test]
fn a_node_stopped_for_a_takeover_gives_its_group_to_the_peer() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 9000\n5000 ask lx4 node stop takeover\n7000 start lx4\n9000 settled"
    ));
}

#[test]
fn a_node_stopped_by_force_leaves_its_group_running_and_adopts_it_when_it_starts() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 9000\n5000 ask lx4 node stop forced\n\
         6000 ask lx5 group move web lx5\n7000 start lx4\n9000 settled"
    ));
}

#[test]
fn a_cascading_group_goes_home_when_its_node_returns() {
    insta::assert_snapshot!(check(
        "cluster lease-ended\nfrom 5000\nuntil 12000\n5000 off lx4\n8000 on lx4\n12000 settled"
    ));
}

#[test]
fn a_change_under_a_running_group_waits_for_its_restart_also_when_its_daemon_begins_anew() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 9000\n5000 ask lx4 apply 10.77.0.100 10.77.0.110\n5500 kill lx4 300\n\
         7000 ask lx5 group restart web"
    ));
}

#[test]
fn what_a_group_was_acquired_with_is_not_given_to_another_one() {
    insta::assert_snapshot!(check(
        "cluster mutual\nfrom 5000\nuntil 7000\n5000 ask lx4 apply 10.77.0.100 10.77.0.110\n\
         5500 ask lx4 apply 10.77.0.100 10.77.0.110 10.77.0.101 10.77.0.100\n6000 ask lx5 group restart east\n\
         6500 ask lx4 apply 10.77.0.100 10.77.0.110 10.77.0.101 10.77.0.100"
    ));
}

#[test]
fn a_group_that_is_taken_out_is_taken_down_as_it_was_acquired() {
    insta::assert_snapshot!(check(
        "cluster mutual\nfrom 5000\nuntil 6500\n5000 ask lx4 apply east away 10.77.0.100 10.77.0.110"
    ));
}

#[test]
fn a_held_group_stays_down_when_its_owner_is_lost_until_it_is_resumed() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 9000\n5000 ask lx4 group hold web upgrade in place\n5500 off lx4\n\
         8000 ask lx5 group resume web"
    ));
}

#[test]
fn what_fails_in_a_held_group_is_told_and_mended_when_it_is_resumed() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 12000\n5000 ask lx4 group hold web\n5500 apps-die lx4\n7000 kill lx4 300\n\
         9000 ask lx5 group resume web\n12000 settled"
    ));
}

#[test]
fn a_rotating_group_stays_when_its_last_node_returns() {
    insta::assert_snapshot!(check(
        "cluster rotating\nfrom 5000\nuntil 12000\n5000 off lx4\n8000 on lx4\n12000 settled"
    ));
}

#[test]
fn a_group_is_blocked_for_want_of_proof_until_a_person_gives_their_word() {
    insta::assert_snapshot!(check(
        "cluster fenced\nfrom 5000\nuntil 22000\n5000 fence-fails 1000\n5000 off lx4\n\
         15000 ask lx5 group move db lx5\n16000 ask lx5 confirm-dead lx4"
    ));
}

#[test]
fn a_word_that_nobody_could_use_is_good_no_more_after_its_minutes() {
    insta::assert_snapshot!(check(
        "cluster fenced\nfrom 4500\nuntil 80000\n4000 ask lx4 node standby lx5\n5000 fence-fails 1000\n5000 off lx4\n\
         8000 ask lx5 confirm-dead lx4 1\n70000 ask lx5 node start lx5\n75000 fence-fails 0"
    ));
}

/// Its state is that of its last time, in which it had the group itself.
#[test]
fn a_node_that_has_just_booted_judges_an_order_when_it_knows_how_things_stand() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 7300\nuntil 9000\n5000 off lx4\n7000 on lx4\n7311 ask lx4 group move web lx4\n9000 settled"
    ));
}

#[test]
fn a_group_that_starts_nowhere_has_failed_and_says_why() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 25000\n5000 starts-fail 1000\n5000 ask lx4 group restart web\n\
         20000 starts-fail 0\n21000 ask lx5 group enable web\n25000 settled"
    ));
}

#[test]
fn what_could_not_be_taken_down_is_taken_down_once_more_when_an_operator_has_mended_it() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 12000\n5000 agents-fail 1000\n5100 ask lx4 group restart web\n\
         9000 agents-fail 0\n9500 ask lx4 group restart web\n12000 settled"
    ));
}

#[test]
fn a_fence_that_fails_is_tried_again_until_it_succeeds() {
    insta::assert_snapshot!(check(
        "cluster fenced\nfrom 5000\nuntil 20000\n5000 fence-fails 1000\n5000 cut lx4 | lx5 wit\n\
         9000 fence-fails 0\n15000 heal\n20000 settled"
    ));
}

#[test]
fn a_daemon_absent_for_six_seconds_makes_its_guard_let_go() {
    insta::assert_snapshot!(check(
        "cluster address-normal\nfrom 5000\nuntil 17000\n5000 kill lx4 6000\n17000 settled"
    ));
}

/// Both stood in the log before the node heard of either. The start took the stop back in the log but not in the guard,
/// whose incarnation was never to have a lease again.
#[test]
fn a_start_that_follows_a_forced_stop_at_once_leaves_nobody_without_lease() {
    insta::assert_snapshot!(check(
        "cluster address-normal\nfrom 5000\nuntil 14000\n5000 mute lx4 | lx5 wit\n\
         5100 ask lx5 node stop forced lx4\n5200 ask lx5 node start lx4\n5500 heal\n10000 start lx4\n14000 settled"
    ));
}

#[test]
fn a_machine_that_lost_its_state_is_replaced_under_its_name() {
    insta::assert_snapshot!(check(
        "cluster address-normal\nfrom 5000\nuntil 16000\n5000 wipe lx4 2000\n16000 settled"
    ));
}

#[test]
fn a_node_whose_disk_is_put_back_is_a_voter_no_more_and_joins_anew() {
    insta::assert_snapshot!(check(
        "cluster address-normal\nfrom 5000\nuntil 18000\n5000 copy lx4\n5100 ask lx5 group move web lx5\n\
         6500 put-back lx4 200\n18000 settled"
    ));
}

#[test]
fn witnesses_join_a_running_cluster_and_vote() {
    insta::assert_snapshot!(check(
        "cluster growing\nfrom 5000\nuntil 14000\n5000 join wi2\n7000 join wi3\n10000 off wit\n10100 off lx5\n\
         13000 on wit\n13000 on lx5\n14000 settled"
    ));
}

#[test]
fn a_guard_that_dies_while_its_daemon_reaches_nobody_lets_go_before_the_peer_takes_over() {
    insta::assert_snapshot!(check(
        "cluster address-normal\nfrom 5000\nuntil 9000\n5000 mute lx4 | lx5 wit\n5000 kill-guard lx4 5\n\
         6500 heal\n9000 settled"
    ));
}

#[test]
fn a_leader_is_removed_and_told_when_it_comes_back_and_the_one_that_joined_has_its_place() {
    let told = check(
        "cluster replacing\nfrom 5000\nuntil 30000\n5000 join wit\n8000 ask lx5 group move web lx4\n\
         12000 remove lx4\n20000 start lx4\n30000 settled",
    );
    let steps = [
        "lx4 is to leave the cluster",
        "lx4 leaves (takeover)",
        "web online on lx5",
        "lx4 is down: lease ended",
        "lx4 is no member any more",
        "lx4 was removed from the cluster ward7",
    ];
    let mut rest = told.as_str();
    for step in steps {
        let at = rest.find(step).unwrap_or_else(|| panic!("{step}, in\n{told}"));
        rest = &rest[at..];
    }
}

#[test]
fn a_joining_node_begins_when_those_that_were_there_have_let_go() {
    insta::assert_snapshot!(check(
        "cluster events\nfrom 8000\nuntil 12000\n5000 off lx4\n8000 on lx4\n12000 settled"
    ));
}

#[test]
fn after_a_crash_the_commands_of_the_standby_run_around_storage_and_addresses_and_before_applications() {
    insta::assert_snapshot!(check("cluster events\nfrom 5000\nuntil 8000\n5000 off lx4"));
}

#[test]
fn a_leaving_node_is_through_with_its_commands_before_the_peer_takes_over() {
    insta::assert_snapshot!(check("cluster events\nfrom 5000\nuntil 8000\n5000 ask lx4 node stop takeover"));
}

#[test]
fn a_node_that_leaves_gracefully_runs_its_commands_and_the_peer_takes_nothing() {
    insta::assert_snapshot!(check("cluster events\nfrom 5000\nuntil 8000\n5000 ask lx4 node stop graceful"));
}

#[test]
fn a_node_that_leaves_by_force_releases_nothing_and_tells_its_event() {
    insta::assert_snapshot!(check("cluster events\nfrom 5000\nuntil 8000\n5000 ask lx4 node stop forced"));
}

#[test]
fn a_command_that_fails_is_tried_again_after_its_recovery() {
    insta::assert_snapshot!(check(
        "cluster events\nfrom 5000\nuntil 8000\n5000 events-fail before\n5000 off lx4"
    ));
}

#[test]
fn a_command_that_fails_for_good_blocks_the_events_of_its_node_until_a_person_resumes() {
    insta::assert_snapshot!(check(
        "cluster events\nfrom 8000\nuntil 17000\n5000 off lx4\n8000 events-fail before\n8000 on lx4\n\
         12000 events-fail nothing\n12000 ask lx4 event resume lx5\n17000 settled"
    ));
}

#[test]
fn an_event_that_goes_on_after_a_failure_says_so() {
    insta::assert_snapshot!(check(
        "cluster events\nfrom 5000\nuntil 8000\n5000 events-fail moving\n5000 ask lx4 group move web lx4\n8000 settled"
    ));
}

#[test]
fn a_daemon_that_restarts_in_the_middle_of_an_event_says_so_and_nothing_waits_for_it() {
    insta::assert_snapshot!(check("cluster events\nfrom 5000\nuntil 9000\n5000 off lx4\n5510 kill lx5 200"));
}

#[test]
fn an_application_that_dies_is_restarted_and_the_event_is_complete_when_it_is_up() {
    insta::assert_snapshot!(check(
        "cluster address-fast\nfrom 5000\nuntil 7000\n5000 apps-die lx4\n7000 settled"
    ));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=5 {
        let options = Options::default();
        assert_eq!(run(seed, &options).hash, run(seed, &options).hash, "seed {seed}");
    }
}

#[test]
fn no_seed_shows_two_owners_or_a_group_that_does_not_come_back() {
    for seed in 10_001..=10_012 {
        let options = Options::default();
        let report = run(seed, &options);
        assert!(report.violations.is_empty(), "{:?}\n{}", report.violations, report.replay(&options));
        assert!(report.events > 1_000, "seed {seed} did nothing");
    }
}

#[test]
fn nodes_are_upgraded_one_by_one_and_the_newer_format_is_in_force_when_the_last_one_reads_it() {
    let said = check(
        "cluster address-fast\nfrom 4500\nuntil 16000\n\
         5000 release lx4 2\n5000 ask lx4 node stop takeover\n6500 start lx4\n\
         8000 release wit 2\n8000 kill wit 300\n\
         9500 release lx5 2\n9500 ask lx5 node stop takeover\n11000 start lx5\n16000 settled",
    );
    let raised = "every member reads format 2: it is in force";
    assert_eq!(said.matches(raised).count(), 1, "{said}");
    insta::assert_snapshot!(said);
}

#[test]
fn a_node_goes_back_to_the_release_before_until_the_last_one_is_upgraded_and_refuses_to_run_after_that() {
    let said = check(
        "cluster address-fast\nfrom 4500\nuntil 16000\n\
         5000 release lx4 2\n5000 kill lx4 300\n6000 release lx5 2\n6000 kill lx5 300\n\
         7000 release lx4 1\n7000 kill lx4 300\n8000 release wit 2\n8000 kill wit 300\n\
         9000 release lx4 2\n9000 kill lx4 300\n\
         12000 release lx4 1\n12000 kill lx4 300",
    );
    let (before, after) = said.split_once("every member reads format 2: it is in force").unwrap();
    assert!(!before.contains("refuses"), "{said}");
    assert!(!said.contains("VIOLATION"), "{said}");
    assert!(after.contains("lx4 refuses to run: ") && after.contains("none can go back"), "{said}");
    insta::assert_snapshot!(said);
}

#[test]
fn a_stop_that_is_taken_back_leaves_nobody_waiting_for_its_groups() {
    insta::assert_snapshot!(check(
        "cluster events\nfrom 5000\nuntil 12000\n5000 ask lx4 node stop takeover\n5012 ask lx5 node start lx4\n\
         8000 ask lx4 group move db lx5\n12000 settled"
    ));
}

#[test]
fn a_node_stopped_by_force_while_a_group_is_on_its_way_up_leaves_all_the_same() {
    insta::assert_snapshot!(check(
        "cluster events\nfrom 5000\nuntil 18000\n5000 ask lx4 group move db lx5\n5060 ask lx5 node stop forced\n\
         12000 start lx5\n18000 settled"
    ));
}

#[test]
fn the_last_of_two_that_are_stopped_together_stops_in_order_and_goes_on_when_it_starts() {
    insta::assert_snapshot!(check(
        "cluster pair\nfrom 5000\nuntil 40000\n5000 ask lx4 node stop takeover\n5020 ask lx5 node stop takeover\n\
         12000 start lx4"
    ));
}

#[test]
fn of_two_nodes_that_are_parted_one_turns_the_other_off_which_comes_up_and_turns_nobody_off() {
    let told =
        check("cluster pair-by-fence\nfrom 8000\nuntil 14000\n8000 cut lx4 | lx5\n12000 heal\n14000 settled");
    assert_eq!(told.matches("turning it off").count(), 1, "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn one_of_two_that_stops_in_order_names_the_other_and_is_not_turned_off() {
    let told = check(
        "cluster pair-by-fence\nfrom 8000\nuntil 24000\n8000 ask lx4 node stop takeover\n16000 start lx4\n24000 settled",
    );
    assert!(!told.contains("turning it off"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn two_that_stop_together_turn_nobody_off_and_go_on_when_both_are_started() {
    let told = check(
        "cluster pair-by-fence\nfrom 8000\nuntil 26000\n8000 ask lx4 node stop takeover\n\
         8020 ask lx5 node stop takeover\n16000 start lx4\n18000 start lx5\n26000 settled",
    );
    assert!(!told.contains("turning it off"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
#[cfg(feature = "mutants")]
fn who_comes_up_and_turns_the_other_one_off_ends_with_two_that_go_on() {
    use regent_sim::{ArbiterCondition, Variant};
    let options = |arbiter_mutant| Options {
        variant: Some(Variant::PairByFence),
        arbiter_mutant,
        ..Options::default()
    };
    let two = |seed, mutant| {
        let violations = run(seed, &options(mutant)).violations;
        violations.iter().any(|v| v.what.contains("both lead") || v.two_owners)
    };
    assert!((1..=8).any(|seed| two(seed, Some(ArbiterCondition::QuorumSinceBoot))));
    assert!(!(1..=8).any(|seed| two(seed, None)));
}
