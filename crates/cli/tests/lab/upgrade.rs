//! Regent itself is upgraded one machine at a time, by the walk of `docs/upgrade.md`, while clients write on.

use crate::cluster::{Cluster, find};
use crate::drill::{active_active, nothing_lost, writers};
use crate::machine::{DAEMON, GUARD, process_of, sh};

/// Puts new executables onto a machine, and gives their folder: the machine runs them from then on.
fn install(cluster: &Cluster, machine: &str) {
    // Another file with the same content: a running one is replaced as a package manager does, not written into.
    sh(
        cluster,
        machine,
        "for name in regent regent-guard; do at=$(command -v $name) && \
         mkdir -p /tmp/release && cp \"$at\" /tmp/release/$name || exit 1; done",
    );
}

/// The executable of the process that begins so.
fn executable(cluster: &Cluster, machine: &str, beginning: &str) -> String {
    let pid = process_of(cluster, machine, beginning).unwrap_or_else(|| panic!("{beginning} on {machine}"));
    sh(cluster, machine, &format!("readlink /proc/{pid}/exe"))
}

#[test]
fn regent_is_upgraded_one_machine_at_a_time_with_the_services_on_the_others() {
    let cluster = Cluster::up("upgrade", &active_active());
    let writers = writers(&cluster);
    for machine in ["wit", "lx4", "lx5"] {
        let other = if machine == "lx4" { "lx5" } else { "lx4" };
        let mode = if machine == "wit" { "--graceful" } else { "--takeover" };
        let said = cluster.order(other, &["node", "stop", machine, mode]);
        assert!(said.contains(&format!("{machine} has left the cluster")), "{said}");
        if machine != "wit" {
            cluster.wait_for("both services on the other node", |s| {
                s.groups
                    .iter()
                    .all(|g| g.state == "online" && g.owner.as_ref().is_some_and(|o| o.as_str() == other))
            });
        }
        install(&cluster, machine);
        sh(
            &cluster,
            machine,
            "PATH=/tmp/release:$PATH setsid regent node start >/tmp/start.log 2>&1 </dev/null",
        );
        cluster.is_up(machine);
        cluster.wait_for("every node up", |s| s.nodes.iter().all(|n| n.state == "up" && n.voter));
        for beginning in [DAEMON, GUARD] {
            let runs = executable(&cluster, machine, beginning);
            assert!(runs.starts_with("/tmp/release/"), "{machine} runs {runs}");
        }
    }
    let status = cluster.wait_for("both services online", |s| s.groups.iter().all(|g| g.state == "online"));
    assert!(
        ["one", "two"].iter().all(|g| find(&status, g).owner.as_ref().is_some_and(|o| o.as_str() == "lx4"))
    );
    cluster.order("lx4", &["group", "move", "two", "lx5"]);
    nothing_lost(&cluster, writers);
}
