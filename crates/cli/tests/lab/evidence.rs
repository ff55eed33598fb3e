//! What operators find out about an application that failed, from any node, before and after its group has moved.

use serde_json::Value;

use crate::cluster::{Cluster, SERVICE, find, head};
use crate::machine::{python, sh};

/// Its status hangs on demand; so does the operator's own look at it. What only observes never moves it.
fn db() -> String {
    format!(
        r#"
[[group]]
name  = "db"
nodes = ["lx4", "lx5"]
needs = ["lease-ended"]

  [[group.address]]
  address = "{SERVICE}/24"
  portal  = 8080

  [[group.application]]
  name     = "db"
  start    = "echo said at its start; sleep 86400 & echo $! > /run/db.pid"
  status   = "test ! -e /run/hangs || sleep 77; kill -0 $(cat /run/db.pid)"
  monitor  = [
    {{ interval = "1s", timeout = "1s", failures = 2 }},
    {{ kind = "custom", name = "deep", command = "test ! -e /run/deep", interval = "1s", failures = 1, action = "observe" }},
  ]
  diagnose = {{ command = "echo $REGENT_FAILURE, said $REGENT_NODE; sleep 60", timeout = "2s" }}
  restarts = 0
"#
    )
}

/// What a client reads at the service address, whoever has it; nothing while nobody answers.
fn portal(cluster: &Cluster, path: &str) -> String {
    let script = format!(
        "import urllib.request\ntry:\n  print(urllib.request.urlopen('http://{SERVICE}:8080{path}', timeout=1).read().decode())\n\
         except OSError:\n  pass"
    );
    python(cluster, "client", &script, "")
}

fn portal_names(cluster: &Cluster, node: &str) {
    let title = format!("<title>db on {node}</title>");
    cluster.wait_for(&format!("the portal to name {node}"), |_| portal(cluster, "/").contains(&title));
}

fn listed(cluster: &Cluster, node: &str) -> Vec<Value> {
    let output = cluster.on(node, &["evidence", "db", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    value["evidence"].as_array().unwrap().clone()
}

#[test]
fn what_failed_is_looked_at_before_it_moves_and_seen_from_any_node() {
    let cluster = Cluster::up("evidence", &(head("normal") + &db()));
    cluster.online_on("db", "lx4");

    // The page on the service address names its node, also when that node is lost and when it is back.
    portal_names(&cluster, "lx4");
    let at = portal(&cluster, "/status.json");
    let at: Value = serde_json::from_str(&at).unwrap();
    assert_eq!((&at["group"], &at["state"]), (&"db".into(), &"online".into()), "{at}");
    let copy = sh(&cluster, "lx4", &format!("cat {}", at["about"]["configuration"].as_str().unwrap()));
    assert!(copy.contains("portal  = 8080"), "{copy}");
    cluster.lab.off("lx4").unwrap();
    portal_names(&cluster, "lx5");
    cluster.lab.on("lx4").unwrap();
    cluster.online_on("db", "lx4");
    portal_names(&cluster, "lx4");

    // An observer tells, and nothing moves.
    sh(&cluster, "lx4", "touch /run/deep");
    cluster.wait_for("the observer", |s| find(s, "db").resources.iter().any(|r| r.state == "unwell"));
    cluster.wait_for("its evidence", |_| !listed(&cluster, "lx5").is_empty());
    sh(&cluster, "lx4", "rm /run/deep");
    cluster.wait_for("it is content", |s| find(s, "db").resources.iter().all(|r| r.state == "running"));
    cluster.online_on("db", "lx4");

    // Its status hangs: a look at the check itself, then one at everything, and it runs on the other node.
    sh(&cluster, "lx4", "touch /run/hangs");
    cluster.online_on("db", "lx5");
    portal_names(&cluster, "lx5");
    let all = listed(&cluster, "lx5");
    let reasons: Vec<&str> = all.iter().filter_map(|e| e["reason"].as_str()).collect();
    let hung = "the status command did not end in its time and was killed";
    assert_eq!(reasons, [hung, "its status command did not end in its time", "its command exited with 1"]);
    assert!(all.iter().all(|e| e["node"] == "lx4" && e["took_ms"].as_u64() <= Some(2000)), "{all:?}");
    let text = cluster.order("lx5", &["evidence", "db", "--show", "last"]);
    for needle in [&format!("{hung}, said lx4"), "said at its start", "sleep [S (sleeping)]", "sleep 86400"] {
        assert!(text.contains(needle), "{needle} is not in:\n{text}");
    }
    assert!(cluster.order("lx5", &["evidence", "--show", "lx4/2"]).contains("sleep 77"));
    let named = cluster.events("lx5").iter().any(|e| e.text.contains("regent evidence db --show lx4/3"));
    assert!(named, "{}", cluster.evidence());
}
