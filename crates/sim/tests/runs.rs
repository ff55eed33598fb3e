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
