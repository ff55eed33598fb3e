//! Fence devices at two levels: operated by the cluster when an owner is lost, and tested by hand.

use crate::cluster::{Cluster, head, ledger_group, told};

/// A power distribution unit that does nothing, before the power switch of the lab.
fn levels() -> String {
    let first =
        "\n[[fence]]\nname = \"pdu\"\nagent = \"/bin/false\"\nnodes = [\"lx4\", \"lx5\"]\ntimeout = \"5s\"\n";
    head("normal").replacen("[[fence]]", "[[fence]]\nlevel = 2", 1)
        + first
        + &ledger_group("rotating", "\"fenced\"")
}

#[test]
fn devices_are_tested_by_hand_and_a_level_that_fails_is_followed_by_the_next() {
    let cluster = Cluster::up("fence", &levels());
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    let said = cluster.order("wit", &["fence", "list"]);
    assert!(said.find("pdu").unwrap() < said.find("power").unwrap(), "{said}");
    let doubtful = cluster.on("wit", &["fence", "status", "lx5"]);
    let said = told(&doubtful);
    assert_eq!(doubtful.status.code(), Some(1), "{said}");
    assert!(said.contains("unknown") && said.contains(" on"), "{said}");
    let owner = cluster.on("wit", &["fence", "test", "lx4", "--yes"]);
    assert!(told(&owner).contains("lx4 owns ledger") && told(&owner).contains("--move"), "{}", told(&owner));
    let first = cluster.on("wit", &["fence", "test", "lx5", "--level", "1", "--yes"]);
    assert!(!first.status.success() && told(&first).contains("FAILED"), "{}", told(&first));
    cluster.is_up("lx5");
    let boot = cluster.boot("lx5");
    let second = cluster.on("wit", &["fence", "test", "lx5", "--level", "2", "--yes", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&second.stdout).unwrap();
    assert_eq!(report["passed"], true, "{}\n{}", told(&second), cluster.evidence());
    assert!(report["steps"].as_array().unwrap().iter().all(|s| s["ms"].is_u64()), "{report}");
    assert_ne!(cluster.boot("lx5"), boot, "it was really off");
    let said = cluster.order("wit", &["events", "--last", "500"]);
    for words in [
        "tests the fence devices of lx5 by hand",
        "regent fence test lx5 by somebody: FAILED: ",
        "regent fence test lx5 by somebody: done: lx5 can be cut by power",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    cluster.is_up("lx5");
    cluster.lab.cut("lx4", None).unwrap();
    cluster.written_on(&writer, "lx5");
    let said = cluster.order("wit", &["events"]);
    for words in ["pdu could not cut lx4", "power confirms: lx4 is off", "proof: fenced"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    cluster.heal("lx4");
    cluster.is_up("lx4");
    cluster.nothing_lost(writer);
    cluster.one_writer();
}
