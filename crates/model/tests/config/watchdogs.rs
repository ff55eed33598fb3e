//! Watchdog devices: who must have one, what the lease must leave them, and what they guarantee.

use std::collections::BTreeSet;

use super::*;
use regent_model::NodeName;
use regent_model::config::{Guarantee, guarantee, guarantees};
use regent_model::proof::Need;

/// [`GOOD`] with a lease of 6 s, a watchdog in both nodes, and `db`, which mounts a shared disk, content with it.
fn watched() -> String {
    with("\"normal\"", "\"6s\"")
        .replacen("name = \"lx4\"\n", "name = \"lx4\"\nwatchdog = \"/dev/watchdog0\"\n", 1)
        .replacen("name = \"lx5\"\n", "name = \"lx5\"\nwatchdog = \"/dev/watchdog1\"\n", 1)
        .replacen(
            "policy = \"cascading\"\n",
            "policy = \"cascading\"\nneeds = [\"lease-ended\", \"watchdog\"]\n",
            1,
        )
}

#[test]
fn a_shared_writer_may_be_content_with_the_end_of_a_lease_that_a_watchdog_enforces() {
    let config = good(&watched());
    assert_eq!(config.groups[0].needs, [Need::LeaseEnded, Need::Watchdog]);
    assert_eq!(config.nodes[1].watchdog.as_deref(), Some(std::path::Path::new("/dev/watchdog1")));
    let said = &guarantees(&config)[0];
    assert_eq!(said.class, Guarantee::Watchdog);
    assert_eq!(said.proofs, ["released", "rebooted", "lease-ended"]);
    assert!(
        said.sentence.contains("its watchdog (1 s) resets the machine within that time"),
        "{}",
        said.sentence
    );
    // The lease on the fastest clock, and a heartbeat for the commit.
    assert_eq!(said.worst_case.map(|d| d.as_millis()), Some(6_013 + 750));
}

#[test]
fn where_no_watchdog_is_fed_the_class_is_the_guards() {
    let config = good(&watched());
    let unwatched = BTreeSet::from([NodeName::new("lx5").unwrap()]);
    let said = guarantee(&config, &config.groups[0], &BTreeSet::new(), &unwatched);
    assert_eq!(said.class, Guarantee::Guard);
    assert!(said.sentence.contains("on lx5 no watchdog is fed"), "{}", said.sentence);
}

#[test]
fn a_node_without_a_watchdog_cannot_own_what_needs_one() {
    let text = watched().replacen("watchdog = \"/dev/watchdog1\"\n", "", 1);
    refused(
        &text,
        "[\"lease-ended\", \"watchdog\"]",
        "needs a watchdog, and `lx5` has none",
        "[[node]] of lx5",
    );
}

#[test]
fn a_watchdog_proves_nothing_by_itself() {
    let text = watched().replacen("[\"lease-ended\", \"watchdog\"]", "[\"watchdog\"]", 1);
    refused(
        &text,
        "[\"watchdog\"]",
        "needs a watchdog but not the end of a lease",
        "needs = [\"lease-ended\", \"watchdog\"]",
    );
}

#[test]
fn a_lease_that_leaves_a_watchdog_no_time_is_refused() {
    let text = watched().replacen("\"6s\"", "\"5s\"", 1);
    refused(&text, "\"/dev/watchdog0\"", "a lease of 5 s leaves it no time", "takeover = \"5020ms\"");
    let text = with("name = \"lx4\"\n", "name = \"lx4\"\nwatchdog = \"watchdog0\"\n");
    refused(&text, "\"watchdog0\"", "is not an absolute path", "\"/dev/watchdog0\"");
}

#[test]
fn what_is_not_let_go_before_the_watchdog_fires_is_warned_of() {
    let mounts: String = (0..30)
        .map(|n| format!("[[group.filesystem]]\ndevice = \"/dev/v{n}\"\nmount = \"/v{n}\"\ntype = \"xfs\"\n"))
        .collect();
    let text = watched().replacen("\"6s\"", "\"5020ms\"", 1).replacen(
        "[[group.address]]",
        &format!("{mounts}[[group.address]]"),
        1,
    );
    warned(&text, "\"db\"", "kill 5 ms + unmount 31 x 10 ms", "takeover = \"5650ms\" or slower");
}
