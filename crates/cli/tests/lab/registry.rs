//! The registry of instances with real daemons: the guide's own commands on the second node, what a plain user sees, and
//! what a node really has held against it.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, SERVICE, find, head, told};

const DIRECTORY: &str = "/srv/c/c52ha";

fn group() -> String {
    format!(
        r#"
[[group]]
name  = "cacheha1"
nodes = ["lx4", "lx5"]

  [[group.filesystem]]
  device = "{}"
  mount  = "/srv/c"
  type   = "ext4"

  [[group.address]]
  address = "{SERVICE}/24"
"#,
        regent_lab::DEFAULT_DEVICE
    )
}

/// A line for the shell of a machine, in which `ccontrol` is the command.
fn shell(cluster: &Cluster, machine: &str, line: &str) -> Output {
    let line = format!("ccontrol() {{ regent ccontrol \"$@\"; }}; {line}");
    cluster.lab.output(machine, &["sh", "-c", &line]).unwrap()
}

/// What it prints; it must succeed.
fn says(cluster: &Cluster, machine: &str, line: &str) -> String {
    let output = shell(cluster, machine, line);
    assert!(output.status.success(), "{line} on {machine}: {}\n{}", told(&output), cluster.evidence());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What does not fit, as `status` shows it on a node.
fn troubles(cluster: &Cluster, machine: &str) -> Vec<String> {
    let status = cluster.status_of(machine).expect("it answers");
    status.nodes.into_iter().flat_map(|n| n.troubles).filter(|t| t.contains("CACHEHA1")).collect()
}

fn until(what: &str, cluster: &Cluster, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(25), "{what}\n{}", cluster.evidence());
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn what_is_registered_on_one_node_is_so_on_both_and_is_held_against_what_each_has() {
    let cluster = Cluster::up("registry", &(head("fast") + &group()));
    cluster.online_on("cacheha1", "lx4");
    says(&cluster, "lx4", &format!("mkdir -p {DIRECTORY}/mgr"));
    registered_on_both(&cluster);
    held_against_what_is_there(&cluster);
    without_a_daemon(&cluster);
}

/// The guide's way for the second node, whichever node it is typed on.
fn registered_on_both(cluster: &Cluster) {
    let guides = format!("ccontrol create cacheha1 directory=\"{DIRECTORY}\" versionid=\"5.2.0.400\"");
    let blind = shell(cluster, "lx5", &guides);
    assert!(
        told(&blind).contains("here (yet): what is CACHEHA1?") && !blind.status.success(),
        "{}",
        told(&blind)
    );
    // One whose version nobody reads but whoever tells it.
    let create = format!("{guides} kind=command start=true");
    let done = says(cluster, "lx4", &create);
    assert!(done.contains("of the kind command, with the free port 1972"), "{done}");
    for node in ["lx4", "lx5"] {
        until(&format!("registered on {node}"), cluster, || {
            let row =
                says(cluster, node, "ccontrol all | grep -i cacheha1 | awk '{print $1, $2, $3, $4, $5}'");
            row == format!("dn CACHEHA1 5.2.0.400 1972 {DIRECTORY}")
        });
        assert!(says(cluster, node, &create).contains("already, with the same values"));
        let other = shell(cluster, node, "ccontrol create CacheHA1 directory=/srv/c/other");
        assert_eq!(other.status.code(), Some(1));
        let text = told(&other);
        assert!(text.contains(DIRECTORY) && text.contains("/srv/c/other"), "both are shown: {text}");
    }
    // Anybody may read it, and nobody but root and its group may change it.
    let plain = "setpriv --reuid 65534 --regid 65534 --clear-groups sh -c";
    let read =
        format!("{plain} \"regent ccontrol list cacheha1 | grep -i directory | awk {{'print \\$2'}}\"");
    assert_eq!(says(cluster, "lx5", &read), DIRECTORY);
    let write = format!("{plain} 'regent ccontrol update cacheha1 versionid=6'");
    assert_eq!(shell(cluster, "lx5", &write).status.code(), Some(1));
    says(cluster, "lx5", "ccontrol update cacheha1 versionid=5.2.0.401 quietly");
    until("the version is told to the other node", cluster, || {
        says(cluster, "lx4", "ccontrol qlist cacheha1 | cut -d^ -f3") == "5.2.0.401"
    });
    // It moves as its group does.
    cluster.order("lx4", &["group", "move", "cacheha1", "lx5"]);
    assert_eq!(
        says(cluster, "lx5", "ccontrol list cacheha1 | grep versionid | awk '{print $2}'"),
        "5.2.0.401"
    );
    cluster.order("lx4", &["group", "move", "cacheha1", "lx4"]);
}

/// What a node has and should not is told once, shown until it is over, and found when all are asked.
fn held_against_what_is_there(cluster: &Cluster) {
    cluster.order("lx4", &["instance", "check"]);
    says(cluster, "lx5", "mkdir -p /srv/c/c52ha && touch /srv/c/c52ha/left-behind");
    until("the folder under the mount point is found", cluster, || {
        troubles(cluster, "lx4").iter().any(|t| t.contains("on lx5 itself"))
    });
    let check = cluster.on("lx4", &["instance", "check"]);
    assert_eq!(check.status.code(), Some(1), "{}", told(&check));
    assert!(told(&check).contains("on lx5 itself"), "{}", told(&check));
    says(cluster, "lx5", "rm -r /srv/c/c52ha");
    until("it is over", cluster, || troubles(cluster, "lx4").is_empty());
    let about = |text: &str| text.contains("CACHEHA1") && text.contains("on lx5 itself");
    let told_times = cluster.events("lx4").iter().filter(|e| about(&e.text)).count();
    assert_eq!(told_times, 1, "it is told once\n{}", cluster.evidence());
    assert_eq!(
        find(&cluster.status().unwrap(), "cacheha1").state,
        "online",
        "nothing was moved because of it"
    );
}

/// A command without its daemon says so, with the exit code that scripts know, and starts nothing.
fn without_a_daemon(cluster: &Cluster) {
    cluster.order("lx5", &["node", "stop", "--takeover"]);
    for line in ["ccontrol all", "ccontrol list cacheha1", "ccontrol start cacheha1 quietly"] {
        let output = shell(cluster, "lx5", line);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", told(&output));
        assert!(told(&output).contains("does not run") && output.stdout.is_empty(), "{}", told(&output));
    }
    cluster.order("lx4", &["group", "disable", "cacheha1"]);
    says(cluster, "lx4", "ccontrol delete cacheha1");
    assert_eq!(shell(cluster, "lx4", "ccontrol list cacheha1").status.code(), Some(1));
}
