//! Two interfaces on the clients' network, one on the other: swapping, networks lost, boot addresses replaced.

use std::time::{Duration, Instant};

use regent_lab::Direction;
use regent_model::event::EventName;

use crate::cluster::{Cluster, SERVICE, find, ledger_group};
use crate::machine::{LEDGER, process_of, sh};

const REPLACING: &str = "10.78.0.100";

fn config() -> String {
    let node = |name: &str, host: u8| {
        format!(
            r#"
[[node]]
name       = "{name}"
addresses  = ["10.77.0.{host}", "10.78.0.{host}"]
persistent = ["10.77.0.{host}{host}/24"]

  [[node.adapter]]
  interface = "eth0"
  network   = "clients"

  [[node.adapter]]
  interface = "eth2"
  network   = "clients"
  role      = "standby"

  [[node.adapter]]
  interface = "eth1"
  network   = "back"
  address   = "10.78.0.{host}{host}/24"
"#
        )
    };
    format!(
        r#"
[cluster]
name     = "ward7"
takeover = "normal"

[[network]]
name    = "clients"
on_down = "move"

[[network]]
name     = "back"
takeover = "replace"
{}{}
[[witness]]
name      = "wit"
addresses = ["10.77.0.3", "10.78.0.3"]

[[fence]]
name  = "power"
agent = "{}"
nodes = ["lx4", "lx5"]
{}
[[group]]
name  = "back"
nodes = ["lx4", "lx5"]
policy = {{ startup = "home", failover = "next", failback = "never" }}

  [[group.address]]
  address = "{REPLACING}/24"
"#,
        node("lx4", 4),
        node("lx5", 5),
        regent_lab::FENCE_AGENT,
        ledger_group("cascading", "\"fenced\"")
            .replace("\"cascading\"", "{ startup = \"home\", failover = \"next\", failback = \"never\" }")
    )
}

fn until(cluster: &Cluster, what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "waited in vain for {what}\n{}",
            cluster.evidence()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn on(cluster: &Cluster, node: &str, interface: &str, address: &str) -> bool {
    sh(cluster, node, &format!("ip -o addr show dev {interface}")).contains(&format!(" {address}/"))
}

/// How often an event was raised on a node, so far.
fn raised(cluster: &Cluster, event: EventName, args: &[&str]) -> usize {
    let of = |e: &regent_model::journal::Entry| {
        let note = e.event.as_ref().filter(|n| e.kind == "event_start" && n.event.name == event);
        note.is_some_and(|n| n.event.args == args)
    };
    cluster.events("wit").iter().filter(|e| of(e)).count()
}

#[test]
fn an_interface_fails_and_the_service_goes_on_over_the_standby_before_anything_moves() {
    let cluster = Cluster::up("nic", &config());
    let observer = cluster.watch();
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    let epoch = |group: &str| find(&cluster.status().unwrap(), group).epoch;
    let (first, service) = (epoch("ledger"), process_of(&cluster, "lx4", LEDGER));
    assert!(service.is_some());
    until(&cluster, "the persistent address", || on(&cluster, "lx4", "eth0", "10.77.0.44"));
    assert!(on(&cluster, "lx4", "eth1", REPLACING) && !on(&cluster, "lx4", "eth1", "10.78.0.44"));
    assert!(on(&cluster, "lx5", "eth1", "10.78.0.55"), "who owns nothing has its boot address");

    // The cable of the service adapter is pulled: the kernel says so at once.
    cluster.lab.cut_interface("lx4", "eth0", Direction::Cable).unwrap();
    until(&cluster, "the service address on eth2", || on(&cluster, "lx4", "eth2", SERVICE));
    cluster.written_on(&writer, "lx4");
    until(&cluster, "the persistent address on eth2", || on(&cluster, "lx4", "eth2", "10.77.0.44"));
    assert!(!on(&cluster, "lx4", "eth0", SERVICE) && !on(&cluster, "lx4", "eth0", "10.77.0.44"));
    let swapped = ["lx4", "clients", "eth0", "eth2"];
    until(&cluster, "swap_adapter", || raised(&cluster, EventName::SwapAdapterComplete, &swapped) == 1);
    let words = ["FAILED: it has no carrier", "10.77.0.44 (persistent)", SERVICE];
    let shown = || {
        let said = cluster.order("wit", &["status"]);
        words.iter().all(|w| said.contains(w))
    };
    until(&cluster, "the status to show it", shown);

    // It returns, and is the standby now: nothing moves back.
    cluster.lab.heal_interface("lx4", "eth0").unwrap();
    until(&cluster, "join_standby", || raised(&cluster, EventName::JoinStandby, &["lx4", "eth0"]) == 1);
    assert!(on(&cluster, "lx4", "eth2", SERVICE));

    // The other one carries on, and hears nobody: only the neighbours can tell.
    cluster.lab.cut_interface("lx4", "eth2", Direction::Both).unwrap();
    until(&cluster, "the service address on eth0", || on(&cluster, "lx4", "eth0", SERVICE));
    cluster.written_on(&writer, "lx4");
    assert_eq!(process_of(&cluster, "lx4", LEDGER), service, "nothing above the address was restarted");
    assert_eq!(epoch("ledger"), first, "{}", cluster.evidence());
    assert_eq!(raised(&cluster, EventName::NetworkDown, &["lx4", "clients"]), 0, "{}", cluster.evidence());

    // Now the last one goes, too: this node alone has lost the network, and the group goes where it is.
    cluster.lab.cut_interface("lx4", "eth0", Direction::Both).unwrap();
    cluster.online_on("ledger", "lx5");
    cluster.written_on(&writer, "lx5");
    until(&cluster, "network_down", || raised(&cluster, EventName::NetworkDown, &["lx4", "clients"]) == 1);
    let back = find(&cluster.status().unwrap(), "back").clone();
    assert!(back.owner.as_ref().is_some_and(|o| o.as_str() == "lx4"), "its network works: {back:?}");
    cluster.lab.heal("lx4", None).unwrap();
    until(&cluster, "network_up", || raised(&cluster, EventName::NetworkUp, &["lx4", "clients"]) == 1);
    assert_eq!(raised(&cluster, EventName::NetworkDown, &["-1", "clients"]), 0, "{}", cluster.evidence());

    whole_network(&cluster);
    cluster.written_on(&writer, "lx5");
    replaced(&cluster);
    cluster.one_writer();
    cluster.nothing_lost(writer);
    cluster.one_address(observer);
}

/// A network that everybody has lost moves nothing.
fn whole_network(cluster: &Cluster) {
    let before = find(&cluster.status().unwrap(), "back").epoch;
    for machine in ["lx4", "lx5", "wit"] {
        cluster.lab.cut(machine, Some(1)).unwrap();
    }
    until(cluster, "network_down for all", || raised(cluster, EventName::NetworkDown, &["-1", "back"]) >= 2);
    for machine in ["lx4", "lx5", "wit"] {
        cluster.lab.heal(machine, Some(1)).unwrap();
    }
    until(cluster, "network_up for all", || raised(cluster, EventName::NetworkUp, &["-1", "back"]) >= 2);
    assert_eq!(find(&cluster.status().unwrap(), "back").epoch, before, "{}", cluster.evidence());
}

/// A service address in a boot address's place, through the end of a lease and a takeover.
fn replaced(cluster: &Cluster) {
    // Its lease ends: the guard takes the service address away, and the boot address comes back.
    cluster.lab.cut("lx4", None).unwrap();
    cluster.online_on("back", "lx5");
    assert!(on(cluster, "lx5", "eth1", REPLACING) && !on(cluster, "lx5", "eth1", "10.78.0.55"));
    assert!(on(cluster, "lx4", "eth1", "10.78.0.44") && !on(cluster, "lx4", "eth1", REPLACING));
    cluster.heal("lx4");
    cluster.is_up("lx4");
    // Its next life may not be registered yet.
    let moved = || cluster.on("wit", &["group", "move", "back", "lx4"]).status.success();
    until(cluster, "the group to move back", moved);
    cluster.online_on("back", "lx4");
    assert!(on(cluster, "lx5", "eth1", "10.78.0.55"), "released, and the boot address is back");
    assert!(on(cluster, "lx4", "eth0", "10.77.0.44") && on(cluster, "lx5", "eth0", "10.77.0.55"));
}
