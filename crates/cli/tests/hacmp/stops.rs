//! The three ways in which an operator stops the node of a group whose release needs no reboot.

use std::time::Duration;

use crate::cell::until_it_works;
use crate::cluster::{Cluster, find, peer};
use crate::machine::process_of;

/// Down, and nobody takes over, not even later; back with its node.
pub(crate) fn gracefully(cluster: &Cluster, group: &str, node: &str) {
    cluster.order(node, &["node", "stop", "--graceful"]);
    let at_rest = |s: &regent_api::Status| find(s, group).owner.is_none();
    cluster.wait_for("the group at rest", at_rest);
    std::thread::sleep(Duration::from_secs(2));
    assert!(at_rest(&cluster.status().unwrap()), "nobody may take over\n{}", cluster.evidence());
    comes_back(cluster, node);
    cluster.online_on(group, node);
}

/// Released here, then acquired by the peer.
pub(crate) fn with_takeover(cluster: &Cluster, group: &str, node: &str) {
    cluster.order(node, &["node", "stop", "--takeover"]);
    cluster.online_on(group, peer(node));
}

/// It runs on without Regent, which `meanwhile` sees, and is taken back as it is.
pub(crate) fn by_force(cluster: &Cluster, group: &str, node: &str, command: &str, meanwhile: impl FnOnce()) {
    let before = process_of(cluster, node, command).unwrap();
    cluster.order(node, &["node", "stop", "--forced"]);
    cluster.wait_for("the group unmanaged", |s| find(s, group).state == "unmanaged");
    meanwhile();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(find(&cluster.status().unwrap(), group).state, "unmanaged", "nobody may take over");
    comes_back(cluster, node);
    cluster.online_on(group, node);
    assert_eq!(process_of(cluster, node, command).unwrap(), before, "it must not be started anew");
}

pub(crate) fn comes_back(cluster: &Cluster, node: &str) {
    until_it_works(cluster, node, "the node's return", "regent node start");
    cluster.is_up(node);
}
