//! A process that waits in the middle of a request which arrived, when the server's node is lost: it has nothing left to
//! send, so nobody but the new owner can tell it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cluster::Cluster;
use crate::far::Far;
use crate::machine::sh;

const SERVER: &str = "[^ ]*gtcm_gnp_server";

/// The servers on this node do nothing any more; their kernel still takes in what arrives.
fn servers_stop(cluster: &Cluster, node: &str) {
    let script = format!(
        "for p in /proc/[0-9]*; do if tr '\\0' ' ' < $p/cmdline | grep -q '^{SERVER}'; then \
         kill -STOP ${{p#/proc/}} && echo stopped; fi; done"
    );
    let said = sh(cluster, node, &script);
    assert!(said.contains("stopped"), "no server on {node}\n{}", cluster.evidence());
}

/// How many bytes the process's machine has sent to the port and not seen acknowledged.
fn under_way(cluster: &Cluster, machine: &str, address: &str, port: u16) -> u32 {
    let count = format!(
        "ss -Htn state established dst {address} and dport = :{port} | awk '{{ n += $2 }} END {{ print n + 0 }}'"
    );
    sh(cluster, machine, &count).parse().unwrap()
}

/// Lets `far` wait in a request to the instance on `node`, and cuts the power. Gives how long after the address was up on
/// `next` it heard of it.
pub(crate) fn hears_of_a_power_cut(
    cluster: &Cluster,
    far: &mut Far,
    machine: &str,
    (address, port): (&str, u16),
    (node, next): (&str, &str),
) -> Duration {
    let is_recorded = |status: Option<regent_api::Status>| {
        let resources = status.map(|s| s.groups.into_iter().flat_map(|g| g.resources).collect::<Vec<_>>());
        let of = |r: &regent_api::ResourceStatus| r.name.as_str() == address && r.connections == Some(1);
        resources.is_some_and(|all| all.iter().any(of))
    };
    cluster.wait_for("its connection to be known", |_| is_recorded(cluster.status_of(next)));
    servers_stop(cluster, node);
    far.begins("set ^YF=\"held\" write ^YF,!");
    let arrived = || under_way(cluster, machine, address, port) == 0;
    // Not before it has left: the process may not have begun when the first look is taken.
    assert_eq!(far.answers(Duration::from_millis(500)), None, "nobody answers it");
    cluster.wait_for("the request to arrive", |_| arrived());
    cluster.lab.off(node).unwrap();
    let answer = far.answers(Duration::from_secs(60));
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(answer.is_some_and(|a| a.starts_with("ERR")), "it hangs\n{}", cluster.evidence());
    let entries = cluster.events(next);
    let up = format!("address {address} is up");
    let up = entries.iter().rev().find(|e| e.node.as_str() == next && e.text.contains(&up)).unwrap();
    at.saturating_sub(Duration::from_millis(up.wall_ms))
}
