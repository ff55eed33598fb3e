//! Members that are removed: one that runs, one whose machine never comes back, a witness; and one that comes back all the
//! same.

use crate::cluster::{Cluster, address_group, find, head, owner, told};
use crate::machine::sh;

/// Three nodes and two witnesses.
fn five() -> String {
    let node = |table: &str, name: &str, host: u8| {
        format!("\n[[{table}]]\nname = \"{name}\"\naddresses = [\"10.77.0.{host}\", \"10.78.0.{host}\"]\n")
    };
    let group = address_group("cascading").replace("[\"lx4\", \"lx5\"]", "[\"lx4\", \"lx5\", \"lx6\"]");
    let fenced = "nodes = [\"lx4\", \"lx5\"]";
    head("normal").replace(fenced, &fenced.replace(']', ", \"lx6\"]"))
        + &node("node", "lx6", 6)
        + &node("witness", "wi2", 7)
        + &group
}

/// Waits until these, and nobody else, are members, vote and are up.
fn are_members(cluster: &Cluster, names: &[&str]) {
    cluster.wait_for(&format!("{names:?} as the members"), |s| {
        let up = |n: &regent_api::NodeStatus| n.voter && n.state == "up";
        s.nodes.len() == names.len()
            && s.leaving.is_empty()
            && names.iter().all(|name| s.nodes.iter().any(|n| n.name.as_str() == *name && up(n)))
    });
}

/// It must be refused, with these words.
fn refused(cluster: &Cluster, node: &str, words: &[&str], with: &str) -> String {
    let output = cluster.on(node, words);
    let said = told(&output);
    let plain = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!output.status.success() && plain.contains(with), "{words:?}: {said}");
    plain
}

#[test]
fn members_are_removed_in_order_or_when_dead_and_one_that_comes_back_is_told_and_joins_anew() {
    let cluster = Cluster::up("remove", &five());
    cluster.online_on("front", "lx4");
    are_members(&cluster, &["lx4", "lx5", "lx6", "wit", "wi2"]);
    refused(
        &cluster,
        "lx4",
        &["node", "remove", "lx4", "--yes"],
        "on another member: regent node remove lx4",
    );
    refused(&cluster, "lx5", &["node", "remove", "lx4", "--dead", "--yes"], "it is not dead");
    refused(&cluster, "lx5", &["node", "remove", "lx9", "--yes"], "no node and no witness lx9");

    // The owner, which runs: its group goes to the next one first.
    let said = cluster.order("lx5", &["node", "remove", "lx4", "--yes"]);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["lx4 lets go of front", "lx4 is no member any more", "regent key rotate"] {
        assert!(said.contains(words), "{said}");
    }
    are_members(&cluster, &["lx5", "lx6", "wit", "wi2"]);
    cluster.online_on("front", "lx5");
    assert!(!cluster.order("lx5", &["config", "show"]).contains("lx4"));
    comes_back(&cluster);

    // A witness in the place of another, and a node whose machine is lost.
    cluster.order("lx5", &["node", "remove", "wit", "--yes"]);
    are_members(&cluster, &["lx4", "lx5", "lx6", "wi2"]);
    cluster.lab.off("lx6").unwrap();
    cluster.wait_for("the end of lx6", |s| {
        s.nodes.iter().any(|n| n.name.as_str() == "lx6" && n.state == "down")
    });
    cluster.order("lx5", &["node", "remove", "lx6", "--dead", "--yes"]);
    are_members(&cluster, &["lx4", "lx5", "wi2"]);
    let said = refused(&cluster, "lx5", &["node", "remove", "wi2", "--yes"], "would be two votes");
    assert!(said.contains("regent token --witness"), "{said}");

    // Those that are left go on as a cluster of three.
    let status = cluster.status().unwrap();
    assert_eq!((owner(&status, "front"), find(&status, "front").state.as_str()), ("lx5".into(), "online"));
    cluster.lab.off("lx5").unwrap();
    let at = || cluster.status_of("lx4").filter(|s| s.quorate).map(|s| owner(&s, "front"));
    let began = std::time::Instant::now();
    while at().as_deref() != Some("lx4") {
        assert!(began.elapsed().as_secs() < 30, "{}", cluster.evidence());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// The machine that was removed is started all the same: it is told, stays away, and joins anew the way it is told.
fn comes_back(cluster: &Cluster) {
    let said = refused(cluster, "lx4", &["node", "start"], "was removed from the cluster ward7");
    refused(cluster, "lx4", &["status"], "was removed from the cluster ward7");
    let way = said.split("again: ").nth(1).unwrap().split(',').next().unwrap();
    assert!(way.starts_with("mkdir /var/lib/regent.removed && mv /var/lib/regent/"), "{said}");
    are_members(cluster, &["lx5", "lx6", "wit", "wi2"]);
    sh(cluster, "lx4", way);
    let token = cluster.order("lx5", &["token"]);
    let token =
        token.split_ascii_whitespace().find(|w| w.starts_with("regent-token-")).unwrap_or(token.trim());
    let addresses = ["--address", "10.77.0.4", "--address", "10.78.0.4"];
    cluster.order("lx4", &[&["join", token, "--node", "lx4"], &addresses[..]].concat());
    are_members(cluster, &["lx4", "lx5", "lx6", "wit", "wi2"]);
    let text = cluster.order("lx5", &["config", "show"]);
    let list = "[\"lx5\", \"lx6\"]";
    assert!(text.contains(&format!("nodes = {list}")), "{text}");
    cluster.apply("lx5", &text.replace(list, "[\"lx5\", \"lx6\", \"lx4\"]"));
}
