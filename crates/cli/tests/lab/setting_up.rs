//! Set-up as the guide walks it: storage and address first, software installed on them, the application later, then the
//! standby; and what the nodes are held against meanwhile.

use regent_api::GroupStatus;

use crate::cluster::{Cluster, SERVICE, find, head, told};
use crate::machine::{DAEMON, process_of, sh};

const START: &str = "/opt/cell/bin/start";
const OTHER_SERVICE: &str = "10.77.0.111";

/// A group of storage and an address; the applications are `more`.
fn cell(more: &str) -> String {
    let folder = "{ path = \"/opt/cell/bin\", mode = \"0755\" }";
    head("normal")
        + &format!(
            r#"
[[group]]
name    = "cell"
nodes   = ["lx4", "lx5"]
prepare = {{ directories = [{folder}], links = {{ "/cell" = "/.../cell/fs" }} }}

  [[group.filesystem]]
  type   = "bind"
  device = "/var/cell/krb5"
  mount  = "/krb5"

  [[group.filesystem]]
  device = "{}"
  mount  = "/var/cell"
  type   = "ext4"

  [[group.address]]
  address = "{SERVICE}/24"
{more}
"#,
            regent_lab::DEFAULT_DEVICE
        )
}

fn application() -> String {
    format!(
        "\n  [[group.application]]\n  name = \"cell\"\n  role = \"server\"\n  state = [\"/krb5\", \"/var/cell\"]\n  \
         start = \"{START} /krb5/conf\"\n  not_at_boot = [\"cell\"]\n  ports = [\"7788/tcp\"]\n"
    )
}

fn install(cluster: &Cluster, node: &str, text: &str) {
    sh(cluster, node, &format!("cat > {START} <<'END'\n#!/bin/sh\n{text}\nEND\nchmod 755 {START}"));
}

fn mount_id(cluster: &Cluster, node: &str) -> String {
    sh(cluster, node, "findmnt -no ID /var/cell")
}

fn group(cluster: &Cluster) -> GroupStatus {
    find(&cluster.status().unwrap(), "cell").clone()
}

#[test]
fn software_is_set_up_on_a_group_without_application_which_is_added_later_and_disturbs_nothing() {
    let storage = cell("").replace(
        "  [[group.filesystem]]\n  type   = \"bind\"\n  device = \"/var/cell/krb5\"\n  mount  = \"/krb5\"\n",
        "",
    );
    let cluster = Cluster::up("setup", &storage);
    cluster.online_on("cell", "lx4");
    // The highest node: storage and address are there, software is installed and configured on them.
    let said = cluster.order("lx4", &["prepare", "cell"]);
    assert!(said.contains("lx5: done: make the link /cell"), "{said}");
    assert!(cluster.order("lx5", &["prepare"]).contains("lx4: nothing to do"));
    sh(&cluster, "lx5", "test -d /opt/cell/bin && test \"$(readlink /cell)\" = /.../cell/fs");
    sh(&cluster, "lx4", "mkdir -p /var/cell/krb5 && echo configured > /var/cell/krb5/conf");
    install(&cluster, "lx4", "test -s $1 || exit 1\nsetsid sleep 4711 & echo $! > /run/cell.pid");
    // What is added comes up in its place, and nothing else is touched.
    let (epoch, mount) = (group(&cluster).epoch, mount_id(&cluster, "lx4"));
    let said = cluster.apply("lx4", &cell(&application()));
    assert!(!said.contains("group restart"), "{said}");
    cluster.wait_for("what was added", |s| {
        let group = find(s, "cell");
        group.resources.len() == 4 && group.resources.iter().all(|r| r.state == "running")
    });
    assert_eq!(group(&cluster).epoch, epoch, "one ownership");
    assert_eq!(mount_id(&cluster, "lx4"), mount, "nothing was mounted anew");
    assert_eq!(sh(&cluster, "lx4", "cat /krb5/conf").trim(), "configured");
    sides(&cluster);
    // Both nodes are seen to have let go.
    let said = cluster.order("lx4", &["group", "disable", "cell"]);
    for node in ["lx4", "lx5"] {
        let line = format!("{node}: unmounted and released: ");
        let line = said.lines().find(|l| l.starts_with(&line)).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains("/var/cell") && line.contains("/krb5") && line.contains(SERVICE), "{line}");
    }
    // The standby: installed, not configured.
    install(&cluster, "lx5", "test -s $1 || exit 1\nsetsid sleep 4711 & echo $! > /run/cell.pid");
    let output = cluster.on("lx5", &["verify", "--nodes"]);
    assert!(output.status.success(), "{}", told(&output));
    cluster.order("lx4", &["group", "enable", "cell"]);
    cluster.order("lx4", &["group", "move", "cell", "lx5"]);
    cluster.online_on("cell", "lx5");
    assert_eq!(sh(&cluster, "lx5", "cat /krb5/conf").trim(), "configured");
    edited(&cluster);
    held(&cluster);
    cluster.one_writer();
}

/// What is changed under the group waits for its restart, also when the daemon begins anew meanwhile.
fn edited(cluster: &Cluster) {
    let epoch = group(cluster).epoch;
    let next = cell(&format!("{}  monitor = {{ interval = \"1s\" }}\n", application()))
        .replace("/krb5/conf\"", "/krb5/next\"")
        .replace(SERVICE, OTHER_SERVICE);
    sh(cluster, "lx5", "cp /krb5/conf /krb5/next");
    let waits = "takes effect when cell is next enabled, moved or restarted: ";
    let said = cluster.apply("lx4", &next);
    assert!(said.contains(waits) && said.contains("application cell changes"), "{said}");
    let daemon = process_of(cluster, "lx5", DAEMON).unwrap();
    sh(cluster, "lx5", &format!("kill -9 {daemon}"));
    cluster.wait_for("the daemon that begins anew", |s| {
        let group = find(s, "cell");
        group.epoch == epoch && group.resources.iter().all(|r| r.state == "running")
    });
    let status = group(cluster);
    assert!(status.pending.is_some_and(|text| text.contains(waits)));
    let there = |address: &str| sh(cluster, "lx5", &format!("ip -o addr | grep -c {address}/ || true"));
    assert_eq!((there(SERVICE).trim(), there(OTHER_SERVICE).trim()), ("1", "0"));
    cluster.order("lx4", &["group", "restart", "cell"]);
    cluster.online_on("cell", "lx5");
    assert_eq!((there(SERVICE).trim(), there(OTHER_SERVICE).trim()), ("0", "1"));
    assert_eq!(group(cluster).pending, None);
}

/// What ends in a held group is told, and left to whoever works on it.
fn held(cluster: &Cluster) {
    let epoch = group(cluster).epoch;
    cluster.order("lx4", &["group", "hold", "cell", "--why", "upgrade in place"]);
    sh(cluster, "lx5", "kill $(cat /run/cell.pid)");
    let state = |s: &regent_api::Status| find(s, "cell").resources.last().map(|r| r.state.clone());
    cluster.wait_for("the failure", |s| state(s).as_deref() == Some("failed"));
    let said = cluster.order("lx4", &["status"]);
    assert!(said.contains("cell held") && said.contains(": upgrade in place"), "{said}");
    assert_eq!(group(cluster).epoch, epoch, "nothing was done");
    cluster.order("lx4", &["group", "resume", "cell"]);
    cluster.wait_for("what was mended", |s| state(s).as_deref() == Some("running"));
    assert_eq!(group(cluster).held, None);
}

/// Every way in which the standby does not fit is said, with what to type, and a silent node is said too.
fn sides(cluster: &Cluster) {
    let output = cluster.on("lx4", &["verify", "--nodes"]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("scp -p lx4:{START} lx5:{START}")), "{said}");
    install(cluster, "lx5", "exit 1");
    sh(
        cluster,
        "lx5",
        "rm /cell; mkdir -p /krb5; touch /krb5/own; mkdir -p /etc/rc3.d; touch /etc/rc3.d/S20cell",
    );
    let said = told(&cluster.on("lx4", &["verify", "--nodes"]));
    for word in [
        "is not the same",
        "not prepared: to do: make the link /cell",
        "the server cell looks configured on lx5",
        "S20cell",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let json = cluster.on("lx4", &["verify", "--nodes", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json["differences"].as_array().is_some_and(|d| d.len() >= 4), "{json}");
    sh(cluster, "lx5", "rm /krb5/own /etc/rc3.d/S20cell");
    cluster.order("lx5", &["prepare", "cell"]);
}
