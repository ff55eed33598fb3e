//! Applications as operators meet them: stale files, a host name for the start, the environment, monitors that are slow
//! or suspended.

use std::time::Duration;

use regent_api::{GroupStatus, Status};

use crate::cluster::{Cluster, SERVICE, find, head, told};
use crate::machine::{DAEMON, process_of, sh};

const NAME: &str = "dce.ward7.example";

/// A server that leaves an endpoint map and credentials on the shared disk, and needs one host name on every node.
fn dce() -> String {
    format!(
        r#"
[[group]]
name     = "dce"
nodes    = ["lx4", "lx5"]
hostname = "{NAME}"

  [[group.filesystem]]
  device = "{}"
  mount  = "/srv/dce"
  type   = "ext4"

  [[group.address]]
  address = "{SERVICE}/24"

  [[group.application]]
  name  = "secd"
  start = """
    uname -n >> /srv/dce/names
    mkdir -p /srv/dce/creds
    test ! -e /run/hangs || sleep 30
    test ! -e /run/fails || exit 3
    touch /srv/dce/Ep.db /srv/dce/creds/cred-$REGENT_NODE
    echo $RPC_UNSUPPORTED_NETADDRS > /srv/dce/netaddrs
    sleep 86400 &
  """
  stale         = ["/srv/dce/Ep.db", "/srv/dce/creds/*"]
  retries       = 0
  restarts      = 5
  start_timeout = "40s"
  monitor       = [
    {{ interval = "1s", failures = 2 }},
    {{ kind = "custom", name = "answers", command = "sleep $(cat /run/slow 2>/dev/null || echo 0)", interval = "1s", timeout = "20s", slow_after = "700ms" }},
  ]
"#,
        regent_lab::DEFAULT_DEVICE
    )
}

fn secd(group: &GroupStatus) -> &regent_api::ResourceStatus {
    group.resources.iter().find(|r| r.name.as_str() == "secd").unwrap()
}

fn runs(status: &Status) -> bool {
    let group = find(status, "dce");
    group.state == "online" && secd(group).state == "running"
}

/// How often the node has told of something.
fn said(cluster: &Cluster, node: &str, what: &str) -> usize {
    cluster.events("lx5").iter().filter(|e| e.node.as_str() == node && e.text.contains(what)).count()
}

fn said_within(cluster: &Cluster, node: &str, what: &str, times: usize) {
    cluster.wait_for(&format!("{node} to say {what:?}"), |_| said(cluster, node, what) >= times);
}

fn kill_it(cluster: &Cluster, node: &str) {
    let pid = process_of(cluster, node, "sleep 86400").expect("it does not run");
    sh(cluster, node, &format!("kill {pid}"));
}

#[test]
fn an_application_starts_clean_and_under_its_name_and_is_watched_as_its_operator_wishes() {
    let cluster = Cluster::up("apps", &(head("normal") + &dce()));
    cluster.online_on("dce", "lx4");
    let own = sh(&cluster, "lx4", "uname -n");

    // A restart within one epoch keeps what it has built up.
    sh(&cluster, "lx4", "touch /srv/dce/creds/since");
    kill_it(&cluster, "lx4");
    said_within(&cluster, "lx4", "dce restarted on lx4", 1);
    assert_eq!(sh(&cluster, "lx4", "ls /srv/dce/creds"), "cred-lx4\nsince");
    assert_eq!(said(&cluster, "lx4", "stale file"), 0, "{}", cluster.evidence());
    assert_eq!(sh(&cluster, "lx4", "cat /srv/dce/names"), format!("{NAME}\n{NAME}"));
    assert_eq!(sh(&cluster, "lx4", "uname -n"), own);

    environment_is_the_nodes_own_at_this_moment(&cluster);
    suspended_it_is_left_alone_and_slow_it_is_no_failure(&cluster);

    // The daemon is killed in the middle of a start: the next one sets the name back.
    sh(&cluster, "lx4", "touch /run/hangs");
    cluster.order("lx4", &["group", "restart", "dce", "--no-wait"]);
    cluster.wait_for("the other name", |_| sh(&cluster, "lx4", "uname -n") == NAME);
    sh(
        &cluster,
        "lx4",
        &format!("rm /run/hangs; kill -KILL {}", process_of(&cluster, "lx4", DAEMON).unwrap()),
    );
    cluster.wait_for("the node's own name", |_| sh(&cluster, "lx4", "uname -n") == own);
    cluster.wait_for("it runs again", runs);
    assert!(
        said(&cluster, "lx4", "daemon was killed while the node had another name") > 0,
        "{}",
        cluster.evidence()
    );
    assert_eq!(
        said(&cluster, "lx4", "removed 3 stale files"),
        1,
        "once for the new epoch: {}",
        cluster.evidence()
    );

    // A start that fails leaves the node its name; the next node begins clean, also after the epoch before.
    sh(&cluster, "lx4", "touch /run/fails");
    cluster.order("lx4", &["group", "restart", "dce", "--no-wait"]);
    cluster.online_on("dce", "lx5");
    assert_eq!(sh(&cluster, "lx4", "uname -n"), own);
    said_within(&cluster, "lx4", "stale files", 2);
    assert_eq!(sh(&cluster, "lx5", "ls /srv/dce/creds"), "cred-lx5");
    assert_eq!(sh(&cluster, "lx5", "tail -n 1 /srv/dce/names"), NAME);

    // What is down is not restarted by mistake.
    cluster.order("lx5", &["group", "disable", "dce"]);
    let refused = cluster.on("lx5", &["group", "restart", "dce"]);
    assert!(
        !refused.status.success() && told(&refused).contains("regent group enable dce"),
        "{}",
        told(&refused)
    );
    cluster.one_writer();
}

fn environment_is_the_nodes_own_at_this_moment(cluster: &Cluster) {
    assert_eq!(sh(cluster, "lx4", "cat /srv/dce/netaddrs"), "10.77.0.4:10.78.0.4");
    // An address that no file knows.
    sh(cluster, "lx4", "ip address add 192.168.77.1/32 dev lo");
    let all = "10.77.0.4:10.78.0.4:192.168.77.1";
    let print = ["env", "dce", "--", "sh", "-c", "echo $RPC_UNSUPPORTED_NETADDRS $REGENT_SERVICE_ADDRESSES"];
    assert_eq!(cluster.order("lx4", &print).trim(), format!("{all} {SERVICE}"));
    assert!(
        cluster.order("lx4", &["env", "dce"]).contains(&format!("export RPC_UNSUPPORTED_NETADDRS='{all}'"))
    );
    let file = "/run/environment";
    cluster.order("lx4", &["env", "dce", "--write", file]);
    cluster.order("lx4", &["env", "dce", "--write", file]);
    let text = sh(cluster, "lx4", &format!("cat {file}"));
    assert_eq!(text.matches(all).count(), 1, "{text}");
    assert!(!text.contains("REGENT_EPOCH"), "{text}");
    cluster.order("lx4", &["env", "dce", "--write", file, "--remove"]);
    assert_eq!(sh(cluster, "lx4", &format!("cat {file}")), "");
    let elsewhere = cluster.order("lx5", &["env", "dce"]);
    assert!(elsewhere.contains("dce does not run on lx5: it runs on lx4"), "{elsewhere}");
}

fn suspended_it_is_left_alone_and_slow_it_is_no_failure(cluster: &Cluster) {
    let before = said(cluster, "lx4", "restarting it here");
    cluster.order("lx5", &["application", "suspend", "dce", "secd"]);
    cluster.wait_for("it suspended", |s| secd(find(s, "dce")).suspended);
    said_within(cluster, "lx4", "its monitors are suspended", 1);
    kill_it(cluster, "lx4");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(said(cluster, "lx4", "restarting it here"), before, "{}", cluster.evidence());
    assert!(cluster.order("lx5", &["status"]).contains("not watched"));
    cluster.order("lx5", &["application", "resume", "dce", "secd"]);
    said_within(cluster, "lx4", "restarting it here", before + 1);
    cluster.wait_for("it runs again", |s| runs(s) && !secd(find(s, "dce")).suspended);
    let wrong = cluster.on("lx5", &["application", "suspend", "dce", "cdsd"]);
    assert!(told(&wrong).contains("the applications of dce are: secd"), "{}", told(&wrong));

    sh(cluster, "lx4", "echo 1 > /run/slow");
    cluster.wait_for("it slow", |s| secd(find(s, "dce")).state == "slow");
    sh(cluster, "lx4", "rm /run/slow");
    cluster.wait_for("it as quick as before", runs);
    assert_eq!(said(cluster, "lx4", "restarting it here"), before + 1, "{}", cluster.evidence());
}
