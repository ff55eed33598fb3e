//! The guide's test procedure as a command, on two services that run on two nodes, with a client for each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use regent_lab::ledger::{LedgerWriter, audit, read_ledger};
use regent_lab::observe::{Observer, doubles};

use crate::cluster::{Cluster, head, regent, told};

/// How long a service may take until its client is answered again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two services, each at home on one node with an address, a disk and a ledger of its own; neither moves back by itself.
/// The first one's address has a portal.
pub(crate) fn active_active() -> String {
    let group = |name: &str, nodes: &str, number: u8, portal: &str| {
        format!(
            r#"
[[group]]
name   = "{name}"
nodes  = [{nodes}]
policy = {{ startup = "home", failover = "next", failback = "never" }}

  [[group.filesystem]]
  device = "/dev/sdc{number}"
  mount  = "/srv/{name}"
  type   = "ext4"

  [[group.address]]
  address = "10.77.0.10{number}/24"{portal}

  [[group.application]]
  name       = "ledger"
  start      = "exec regent lab ledger serve --listen {} --file /srv/{name}/ledger"
  foreground = true
"#,
            at(number)
        )
    };
    // Not the fastest: a time away that is too short to be told from a slow answer is not reported.
    head("normal")
        + &group("one", "\"lx4\", \"lx5\"", 1, "\n  portal = 8080")
        + &group("two", "\"lx5\", \"lx4\"", 2, "")
}

pub(crate) fn at(number: u8) -> SocketAddr {
    format!("10.77.0.10{number}:7700").parse().unwrap()
}

pub(crate) fn writers(cluster: &Cluster) -> Vec<(SocketAddr, LedgerWriter)> {
    let every = Duration::from_millis(5);
    let writer = |n| (at(n), LedgerWriter::start(&cluster.lab, "client", at(n), 1, every, None).unwrap());
    [1, 2].map(writer).into_iter().collect()
}

/// Waits until both services answer their clients.
fn both_are_written(cluster: &Cluster, writers: &[(SocketAddr, LedgerWriter)]) {
    for (address, writer) in writers {
        let (before, began) = (writer.count().0, Instant::now());
        while writer.count().0 < before + 20 {
            assert!(began.elapsed() < PATIENCE, "nothing is written at {address}\n{}", cluster.evidence());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Every number that was acknowledged is there, once and in order, and never had a disk two writers.
pub(crate) fn nothing_lost(cluster: &Cluster, writers: Vec<(SocketAddr, LedgerWriter)>) {
    both_are_written(cluster, &writers);
    for (address, writer) in writers {
        let acknowledged = writer.stop();
        let audit = audit(&acknowledged, &read_ledger(&cluster.lab, "client", address).unwrap());
        assert!(audit.is_clean(), "{address}: {audit:?}\n{}", cluster.evidence());
        assert!(audit.acknowledged > 100, "{address}: only {} were written", audit.acknowledged);
    }
    cluster.one_writer();
}

#[test]
fn the_guides_procedure_holds_on_two_services_and_a_failing_expectation_makes_a_drill_fail() {
    let cluster = Cluster::up("drill", &active_active());
    let addresses = [at(1).ip(), at(2).ip()];
    let observer = Observer::start(&cluster.lab, &addresses, Duration::from_millis(2)).unwrap();
    let writers = writers(&cluster);
    the_guides_procedure(&cluster);
    a_failing_plan(&cluster);
    nothing_lost(&cluster, writers);
    let doubles = doubles(&observer.stop());
    assert!(doubles.is_empty(), "an address on two nodes: {doubles:?}");
    on_a_live_cluster(&cluster);
}

fn the_guides_procedure(cluster: &Cluster) {
    let lab = format!("--lab={}", cluster.name);
    let saved = cluster.folder.join("guide");
    let output = regent(&["drill", &lab, "--report", saved.to_str().unwrap()]);
    let said = told(&output);
    assert!(output.status.success(), "{said}\n{}", cluster.evidence());
    assert!(said.contains("result every expectation held"), "{said}");
    let text = std::fs::read_to_string(saved.with_extension("txt")).unwrap();
    assert!(
        said.contains(text.split("\nThe plan\n").next().unwrap()),
        "what is saved is what was shown:\n{text}"
    );
    let report = std::fs::read(saved.with_extension("json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let steps = report["steps"].as_array().unwrap();
    let step =
        |words: &str| steps.iter().find(|s| s["step"] == words).unwrap_or_else(|| panic!("{words}: {said}"));
    // The first loss takes one service away, the second takes both, and each is told with both nodes.
    // On a busy machine an answer may be late; a takeover is what another node answers after.
    let taken_over = |words: &str| -> Vec<(String, String, String)> {
        let text = |o: &serde_json::Value, key: &str| o[key].as_str().unwrap_or_default().to_owned();
        let away = step(words)["away"].as_array().unwrap();
        let told = away.iter().map(|o| (text(o, "address"), text(o, "before"), text(o, "after")));
        told.filter(|(_, before, after)| before != after).collect()
    };
    let told = |address: &str, before: &str, after: &str| (address.into(), before.into(), after.into());
    assert_eq!(taken_over("FAIL_NODE lx4 power"), [told("10.77.0.101", "lx4", "lx5")], "{said}");
    let both = [told("10.77.0.101", "lx5", "lx4"), told("10.77.0.102", "lx5", "lx4")];
    assert_eq!(taken_over("FAIL_NODE lx5 power"), both, "{said}");
    assert_eq!(step("EXPECT 10.77.0.102 ANSWERS FROM lx5 WITHIN 10s")["outcome"], "ok");
    assert_eq!(step("PROBE 10.77.0.101:8080")["outcome"], "ok", "the portal is asked by itself");
    assert!(said.contains("10.77.0.101 (one, its portal, TCP port 8080)"), "{said}");
    cluster.online_on("one", "lx4");
    cluster.online_on("two", "lx5");
}

fn a_failing_plan(cluster: &Cluster) {
    let plan = cluster.folder.join("fails.drill");
    std::fs::write(
        &plan,
        "PROBE 10.77.0.101:7700\nNETWORK_DOWN lx5 2\nFAIL_NODE lx4\nEXPECT one ONLINE ON lx5 WITHIN 0s\n\
                           EXPECT 10.77.0.101 ANSWERS FROM lx5\n",
    )
    .unwrap();
    let lab = format!("--lab={}", cluster.name);
    let saved = cluster.folder.join("fails");
    let output = regent(&["drill", plan.to_str().unwrap(), &lab, "--report", saved.to_str().unwrap()]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("step 4 (line 4) failed") && said.contains("not run"), "{said}");
    assert!(
        said.contains("mended: lx4 has power again") && said.contains("mended: lx5 is connected"),
        "{said}"
    );
    cluster.is_up("lx4");
    cluster.is_up("lx5");
    let refused = regent(&["drill", "--check", plan.to_str().unwrap(), &lab]);
    assert!(refused.status.success(), "it warns, and is valid: {}", told(&refused));
    assert!(told(&refused).contains("the plan does not return it"));
}

/// From the witness, by the fence device of the configuration, with a consent for each step that hurts.
fn on_a_live_cluster(cluster: &Cluster) {
    cluster.wait_for("both services online", |s| s.groups.iter().all(|g| g.state == "online"));
    cluster.order("lx5", &["group", "move", "one", "lx4"]);
    let plan = "FAIL_NODE lx4\nEXPECT one ONLINE ON lx5 WITHIN 30s\nEXPECT 10.77.0.101 ANSWERS FROM lx5 WITHIN 10s\n\
                RETURN_NODE lx4\nEXPECT lx4 UP\n";
    let write = format!("cat > /tmp/live.drill <<'END'\n{plan}END");
    assert!(cluster.lab.output("wit", &["sh", "-c", &write]).unwrap().status.success());
    let drill = ["drill", "/tmp/live.drill", "--report", "/tmp/live"];
    let refused = cluster.on("wit", &drill);
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    assert!(told(&refused).contains("--yes-i-consent-to 'FAIL_NODE lx4 power'"), "{}", told(&refused));
    cluster.online_on("one", "lx4");
    let consented = [&drill[..], &["--yes-i-consent-to", "FAIL_NODE lx4"]].concat();
    let said = cluster.order("wit", &consented);
    assert!(said.contains("the power of lx4 is cut, confirmed by power"), "{said}");
    assert!(said.contains("lx4 answered before, lx5 after"), "{said}");
}
