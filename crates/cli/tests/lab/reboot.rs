//! A group whose release is complete only after a reboot of its node, because something of it lives on in the kernel.

use crate::cluster::{Cluster, SERVICE, find, head};
use regent_lab::ledger::LEDGER_PORT;

/// The ledger on the shared disk, over which its start script also lays another file system: the kernel then keeps the
/// disk open whatever is stopped; and a group at home on the standby.
fn groups() -> String {
    format!(
        r#"
[[group]]
name    = "ledger"
nodes   = ["lx4", "lx5"]
release = "reboot"

  [[group.filesystem]]
  device = "{}"
  mount  = "/srv/ledger"
  type   = "ext4"
  release_timeout = "1s"

  [[group.address]]
  address = "{SERVICE}/24"

  [[group.application]]
  name       = "ledger"
  start      = """
    mkdir -p /mnt/kept && mount -t overlay -o lowerdir=/srv/ledger:/srv kept /mnt/kept
    exec regent lab ledger serve --listen {SERVICE}:{LEDGER_PORT} --file /srv/ledger/ledger
  """
  foreground = true

[[group]]
name  = "web"
nodes = ["lx5", "lx4"]

  [[group.application]]
  name       = "web"
  start      = "exec sleep 100000"
  foreground = true
"#,
        regent_lab::DEFAULT_DEVICE
    )
}

#[test]
fn reintegration_empties_and_reboots_the_standby_before_the_home_node_has_what_only_a_reboot_ends() {
    let cluster = Cluster::up("reboot", &(head("fast") + &groups()));
    cluster.online_on("ledger", "lx4");
    cluster.online_on("web", "lx5");
    let (observer, writer) = (cluster.watch(), cluster.writer(1));
    cluster.written_on(&writer, "lx4");

    cluster.lab.off("lx4").unwrap();
    cluster.online_on("ledger", "lx5");
    cluster.written_on(&writer, "lx5");
    let before = cluster.boot("lx5");

    cluster.lab.on("lx4").unwrap();
    cluster.online_on("ledger", "lx4");
    let status = cluster.wait_for("the ledger", |s| find(s, "ledger").state == "online");
    assert_eq!(find(&status, "ledger").proof, "rebooted", "{status:#?}");
    assert_ne!(cluster.boot("lx5"), before, "the standby was rebooted");
    cluster.written_on(&writer, "lx4");
    cluster.online_on("web", "lx5");

    let told = cluster.events("lx4");
    let at = |kind: &str, words: &str| {
        let found = told.iter().position(|e| e.kind == kind && e.text.contains(words));
        found.unwrap_or_else(|| panic!("no {kind} with {words:?} in {told:#?}"))
    };
    let left = at("release_failed", "the reboot will end it");
    let down = at("awaits_reboot", "ledger is down on lx5");
    let emptied = at("release_begins", "takes web down: its node is to be rebooted");
    let reboots = at("reboot", "lx5 reboots");
    let taken = at("assigned", "proof: rebooted");
    let order = [left, down, emptied, reboots, taken];
    assert!(order.is_sorted(), "{order:?} in {told:#?}");

    cluster.nothing_lost(writer);
    cluster.one_address(observer);
    cluster.one_writer();
}
