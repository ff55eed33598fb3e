//! Groups that depend on each other, a move that is remembered, and what was simulated held against what happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use regent_cli::follow::wall_ms;
use serde_json::Value;

use crate::cluster::{Cluster, find, head, owner};

/// Clients on both nodes, a server that needs them, and a child of the server that is at home on the other node.
fn groups() -> String {
    let app = |name: &str, more: &str| {
        format!(
            "\n  [[group.application]]\n  name = \"{name}\"\n  start = \"exec sleep infinity\"\n  foreground = true\n  {more}\n"
        )
    };
    let address = |last: u8| format!("\n  [[group.address]]\n  address = \"10.77.0.{last}/24\"\n");
    let nodes = |name: &str, nodes: &str, more: &str| {
        format!("\n[[group]]\nname = \"{name}\"\nnodes = {nodes}\n{more}\n")
    };
    let both = "[\"lx4\", \"lx5\"]";
    [
        nodes("rpc", both, "policy = \"concurrent\""),
        app("rpcd", ""),
        nodes("dce", both, ""),
        address(100),
        app("kdc", "clients = [\"rpc\"]"),
        nodes("dfs", "[\"lx5\", \"lx4\"]", "parent = \"dce\""),
        address(101),
        app("fx", ""),
    ]
    .concat()
}

/// What `regent simulate` says of every group: where it would be, and its state.
fn simulated(cluster: &Cluster, words: &[&str]) -> (Value, BTreeMap<String, Option<String>>) {
    let all: Vec<&str> = ["simulate"].iter().chain(words).chain(&["--json"]).copied().collect();
    let said = cluster.on("wit", &all);
    assert!(said.status.success(), "{said:?}\n{}", cluster.evidence());
    let value: Value = serde_json::from_slice(&said.stdout).unwrap();
    let groups = value["groups"].as_array().unwrap();
    let to = groups
        .iter()
        .map(|g| (g["name"].as_str().unwrap().to_owned(), g["to"].as_str().map(str::to_owned)))
        .collect();
    (value, to)
}

/// The journal's epochs and steps of these groups, in order: `lx4 acquire dce`.
fn steps(cluster: &Cluster, after: u64) -> Vec<String> {
    cluster
        .events("wit")
        .iter()
        .filter(|e| e.wall_ms >= after && ["online", "release_begins", "assigned"].contains(&e.kind.as_str()))
        .filter_map(|e| Some(format!("{} {} {}", e.node, e.kind, e.group.as_ref()?)))
        .collect()
}

fn place(steps: &[String], step: &str) -> usize {
    steps.iter().position(|s| s == step).unwrap_or_else(|| panic!("{step} is not among {steps:#?}"))
}

#[test]
fn clients_parents_and_remembered_moves_do_what_was_simulated() {
    let cluster = Cluster::up("poli", &(head("normal") + &groups()));
    let status = cluster.status().unwrap();
    assert_eq!((owner(&status, "dce").as_str(), owner(&status, "dfs").as_str()), ("lx4", "lx5"));
    assert_eq!((owner(&status, "rpc@lx4").as_str(), owner(&status, "rpc@lx5").as_str()), ("lx4", "lx5"));
    let shown = cluster.order("lx5", &["status"]);
    assert!(shown.contains("GROUP rpc online on lx4, lx5"), "{shown}");

    a_group_waits_for_its_clients(&cluster);
    a_loss_goes_as_simulated(&cluster);
    a_move_is_remembered(&cluster);
}

/// Where the clients are down nothing is acquired; who runs already stays, and the status says so.
fn a_group_waits_for_its_clients(cluster: &Cluster) {
    cluster.order("lx5", &["group", "disable", "rpc@lx5"]);
    let (_, to) = simulated(cluster, &["--lose", "lx4"]);
    assert_eq!(to["dce"], None, "{to:?}");
    cluster.order("lx5", &["group", "disable", "rpc"]);
    let status = cluster.wait_for("the clients down", |s| find(s, "rpc@lx4").state == "disabled");
    let dce = find(&status, "dce");
    assert_eq!((dce.state.as_str(), dce.owner.as_ref().map(|o| o.as_str())), ("online", Some("lx4")));
    assert!(dce.warnings.iter().any(|w| w.contains("rpc") && w.contains("stays")), "{:?}", dce.warnings);
    cluster.order("lx4", &["group", "enable", "rpc"]);
    cluster
        .wait_for("the clients up", |s| ["rpc@lx4", "rpc@lx5"].iter().all(|g| find(s, g).state == "online"));
    let said = cluster.on("lx4", &["group", "move", "rpc", "lx5"]);
    assert!(!said.status.success(), "{said:?}");
}

/// The power of the parent's node is cut: the child elsewhere is released, and acquired when the parent is online.
fn a_loss_goes_as_simulated(cluster: &Cluster) {
    let (value, to) = simulated(cluster, &["--lose", "lx4"]);
    let explained = cluster.order("wit", &["explain", "dce"]);
    assert!(explained.contains("if lx4 were lost now") && explained.contains("online on lx5"), "{explained}");
    let of = |name: &str| {
        let groups = value["groups"].as_array().unwrap();
        groups.iter().find(|g| g["name"] == name).unwrap().clone()
    };
    let measured = of("dfs")["parts"].as_array().unwrap().iter().any(|p| p["from"]["measured"].is_u64());
    assert!(measured, "the journal has measured dfs on lx5: {value:#}");
    let (began, at) = (wall_ms(), Instant::now());
    cluster.lab.off("lx4").unwrap();
    cluster.wait_for("everything where it was simulated", |s| {
        to.iter().all(|(name, node)| match node {
            Some(node) => {
                let g = find(s, name);
                g.state == "online" && g.owner.as_ref().is_some_and(|o| o.as_str() == node)
            }
            None => find(s, name).state != "online",
        }) && steps_done(cluster, began)
    });
    let took = at.elapsed();
    let foreseen = Duration::from_millis(of("dfs")["downtime_ms"].as_f64().unwrap() as u64);
    assert!(foreseen > Duration::ZERO && foreseen < took + Duration::from_secs(5), "{foreseen:?} {took:?}");
    let steps = steps(cluster, began);
    assert!(place(&steps, "lx5 online dce") < place(&steps, "lx5 online dfs"), "{steps:#?}");
    assert!(place(&steps, "lx5 release_begins dfs") < place(&steps, "lx5 online dfs"), "{steps:#?}");
    cluster.lab.on("lx4").unwrap();
    cluster.online_on("dce", "lx4");
    cluster.online_on("dfs", "lx5");
}

/// The child was released and is online again.
fn steps_done(cluster: &Cluster, after: u64) -> bool {
    steps(cluster, after).iter().any(|s| s == "lx5 online dfs")
}

/// A move outlives the loss of its node, and is undone by hand. The child goes first, and comes back last.
fn a_move_is_remembered(cluster: &Cluster) {
    let began = wall_ms();
    cluster.order("lx4", &["group", "move", "dce", "lx5"]);
    cluster.wait_for("the child back", |s| find(s, "dfs").state == "online");
    let moved = steps(cluster, began);
    assert!(place(&moved, "lx5 release_begins dfs") < place(&moved, "lx4 release_begins dce"), "{moved:#?}");
    assert!(place(&moved, "lx5 online dce") < place(&moved, "lx5 online dfs"), "{moved:#?}");
    cluster.lab.off("lx5").unwrap();
    cluster.online_on("dce", "lx4");
    let why = find(&cluster.status().unwrap(), "dce").why.clone();
    assert!(why.contains("remembered") && why.contains("--restore"), "{why}");
    cluster.lab.on("lx5").unwrap();
    cluster.online_on("dce", "lx5");
    cluster.order("wit", &["group", "move", "dce", "--restore"]);
    cluster.online_on("dce", "lx4");
    cluster.online_on("dfs", "lx5");
    let said = cluster.on("wit", &["group", "move", "dce", "--restore"]);
    assert!(!said.status.success(), "{said:?}");
}
