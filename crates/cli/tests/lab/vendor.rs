//! An instance that its vendor's command drives, through a start, a power cut, an upgrade in place and one of which nobody
//! was told. The vendor's command is a stand-in: a script that keeps a registry of its node, and says little by its exit
//! codes.

use std::process::{Command, Output, Stdio};

use crate::cluster::{Cluster, find, head, owner, told, ward_group};
use crate::machine::{sh, troubles};

/// The vendor's command, and its registry: a machine's own, and there again after a power cut.
const TOOL: &str = "/var/lib/regent/vendor/ccontrol";
const DIRECTORY: &str = "/srv/ward/c52ha";

/// `create` and `update` are about the registry of the node alone; an instance runs where its process does.
const VENDOR: &str = r#"#!/bin/sh
name=$(echo "$2" | tr a-z A-Z)
list=/var/lib/regent/vendor/registry
field() { grep "^$name^" $list 2>/dev/null | cut -d^ -f$1; }
dir=$(field 2); version=$(field 3)
for word in "$@"; do
    case "$word" in directory=*) dir=${word#*=} ;; versionid=*) version=${word#*=} ;; esac
done
runs() { [ -e "$dir/pid" ] && grep -q sleep "/proc/$(cat $dir/pid)/cmdline" 2>/dev/null; }
case "$1" in
create|update) echo "$name^$dir^$version^" > $list; sync -f $list ;; # on its disk, also after a power cut
qlist)
    [ -n "$dir" ] || exit 1
    if runs; then s="running, since Sat Jun  7 10:00:00 2014"; else s="down, last used Fri Nov 10 2006"; fi
    echo "$name^$dir^$version^$s^cache.cpf^1972^57772^0^ok^" ;;
start)
    [ -e $dir/half ] && exit 0
    setsid sleep 86400 & echo $! > $dir/pid; echo lx > $dir/mgr/cache.ids
    until runs; do kill -0 "$(cat $dir/pid)" || exit 1; done
    exit 3 ;;
stop|force) kill -KILL $(cat $dir/pid); rm -f $dir/pid $dir/mgr/cache.ids ;;
esac
"#;

fn with_the_instance() -> String {
    format!(
        r#"
  [[group.application]]
  name     = "script"
  start    = "sleep 86401 & echo $! > /run/script.pid"
  pid_file = "/run/script.pid"
  retries  = 5

[[instance]]
name      = "cacheha1"
kind      = "cache"
vendor    = "{TOOL}"
directory = "{DIRECTORY}"
port      = 1972
autostart = true
networked = false
monitor   = {{ interval = "1s" }}
"#
    )
}

/// Installs the vendor's command on a node, in one go, as a package does it.
fn install(cluster: &Cluster, node: &str) {
    sh(
        cluster,
        node,
        &format!(
            "mkdir -p {0} && cat > {TOOL}.new <<'END'\n{VENDOR}\nEND\nchmod 755 {TOOL}.new && mv {TOOL}.new {TOOL} && sync -f {TOOL}",
            TOOL.trim_end_matches("/ccontrol")
        ),
    );
}

/// What `ccontrol all` prints on a node, but for whether it is up there.
fn all(cluster: &Cluster, node: &str) -> String {
    sh(cluster, node, "regent ccontrol all | cut -c 7-")
}

fn vendors(cluster: &Cluster, node: &str, words: &str) {
    sh(cluster, node, &format!("{TOOL} {words} || true"));
}

fn check(cluster: &Cluster, node: &str) -> Output {
    cluster.on(node, &["instance", "check"])
}

fn is_version(cluster: &Cluster, version: &str) {
    cluster.wait_for(&format!("{version} on both nodes"), |_| {
        let (one, two) = (all(cluster, "lx4"), all(cluster, "lx5"));
        one == two && one.contains(&format!("CACHEHA1       {version}"))
    });
}

fn pid_of(cluster: &Cluster, node: &str) -> String {
    sh(cluster, node, &format!("cat {DIRECTORY}/pid"))
}

#[test]
fn an_instance_of_a_vendor_is_taken_over_and_upgraded_in_place_and_every_node_knows_its_version() {
    let cluster = Cluster::up("vendor", &(head("fast") + &ward_group()));
    let first = owner(&cluster.wait_for("an owner", |s| find(s, "ward").owner.is_some()), "ward");
    assert_eq!(first, "lx4");
    for node in ["lx4", "lx5"] {
        install(&cluster, node);
    }
    let entry = format!("CACHEHA1 directory={DIRECTORY} versionid=5.2.0.300");
    sh(&cluster, "lx4", &format!("mkdir -p {DIRECTORY}/mgr"));
    vendors(&cluster, "lx4", &format!("create {entry}"));
    cluster.apply("lx4", &(head("fast") + &ward_group() + &with_the_instance()));
    cluster.wait_for("the instance to run", |_| {
        sh(&cluster, "lx4", "regent ccontrol all").contains("up    CACHEHA1")
    });
    is_version(&cluster, "5.2.0.300");

    the_second_nodes_registry_is_compared(&cluster, &entry);
    cluster.lab.off("lx4").unwrap();
    cluster.online_on("ward", "lx5");
    assert!(sh(&cluster, "lx5", "regent ccontrol all").contains("up    CACHEHA1"), "{}", cluster.evidence());
    cluster.lab.on("lx4").unwrap();
    cluster.is_up("lx4");
    is_version(&cluster, "5.2.0.300");

    nothing_moves_while_it_is_upgraded(&cluster);
    an_upgrade_of_which_nobody_was_told_is_noticed(&cluster);
    cluster.one_writer();
}

/// What the standby's own registry of the vendor does not know is told before the instance comes there.
fn the_second_nodes_registry_is_compared(cluster: &Cluster, entry: &str) {
    let found = check(cluster, "lx4");
    assert_eq!(found.status.code(), Some(1), "{}", told(&found));
    let next = format!("{TOOL} create CACHEHA1 directory={DIRECTORY} versionid=5.2.0.300");
    let text = told(&found);
    assert!(text.contains("is not in its vendor's registry on lx5") && text.contains(&next), "{text}");
    cluster.wait_for("it to be told", |_| {
        troubles(cluster, "lx5").iter().any(|t| t.contains("vendor's registry"))
    });
    vendors(cluster, "lx5", &format!("create {entry}"));
    let found = check(cluster, "lx4");
    assert!(found.status.success(), "{}", told(&found));
    cluster.wait_for("it to be over", |_| troubles(cluster, "lx5").is_empty());
}

/// The installation ends the instance, and somebody the application: both are left as they are.
fn nothing_moves_while_it_is_upgraded(cluster: &Cluster) {
    let before = find(&cluster.status().unwrap(), "ward").epoch;
    let (old, had) = (pid_of(cluster, "lx5"), "test $(cat $REGENT_INSTANCE_DIRECTORY/pid)");
    let line = format!(
        "{had} && touch $REGENT_INSTANCE_DIRECTORY/half && kill -KILL $(cat $REGENT_INSTANCE_DIRECTORY/pid) \
         $(cat /run/script.pid); until test -e /tmp/go; do sleep 0.1; done; rm $REGENT_INSTANCE_DIRECTORY/half; \
         {TOOL} update $REGENT_INSTANCE versionid=5.2.0.400; regent ccontrol start cacheha1 quietly"
    );
    let mut upgrade = Command::new("regent");
    upgrade.args(["instance", "upgrade", "cacheha1", "--", "sh", "-c", &line]);
    upgrade.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = cluster.lab.spawn("lx5", upgrade).unwrap();
    let left = |what: &str| {
        let words = |text: &str| text.contains(what) && text.contains("because ward is held");
        cluster.events("lx5").iter().any(|e| words(&e.text))
    };
    cluster.wait_for("both failures to be left as they are", |_| left("CACHEHA1") && left("script"));
    let group = find(&cluster.status().unwrap(), "ward").clone();
    assert_eq!((group.owner.as_ref().map(|o| o.as_str()), group.epoch), (Some("lx5"), before));
    assert_eq!(pid_of(cluster, "lx5"), old, "nobody started it meanwhile");
    sh(cluster, "lx5", "touch /tmp/go");
    let ended = running.wait_with_output().unwrap();
    // It is whole, and the registry that the vendor keeps on the other node is an old one still.
    let text = told(&ended);
    assert_eq!(ended.status.code(), Some(1), "{text}\n{}", cluster.evidence());
    assert!(text.contains("ward stays held") && text.contains("regent group resume ward"), "{text}");
    let next = format!("on lx4: {TOOL} update CACHEHA1 directory={DIRECTORY} versionid=5.2.0.400");
    assert!(text.contains(&next), "{text}");
    is_version(cluster, "5.2.0.400");
    vendors(cluster, "lx4", "update CACHEHA1 versionid=5.2.0.400");
    let found = check(cluster, "lx4");
    assert!(found.status.success(), "{}", told(&found));
    cluster.order("lx5", &["group", "resume", "ward"]);
    cluster.wait_for("the application to run again", |s| {
        let group = find(s, "ward");
        group.state == "online" && group.resources.iter().all(|r| r.state == "running")
    });
    let group = find(&cluster.status().unwrap(), "ward").clone();
    assert_eq!(
        (group.owner.as_ref().map(|o| o.as_str()), group.epoch),
        (Some("lx5"), before),
        "nothing moved"
    );
    assert_ne!(pid_of(cluster, "lx5"), old);

    // Once more, with nothing that is left to be mended: its group goes on by itself.
    vendors(cluster, "lx4", "update CACHEHA1 versionid=5.2.0.401");
    let line = format!("{TOOL} update $REGENT_INSTANCE versionid=5.2.0.401");
    let said = cluster.order("lx5", &["instance", "upgrade", "cacheha1", "--", "sh", "-c", &line]);
    assert!(
        said.contains("version 5.2.0.401 in the registry of every node (it was 5.2.0.400); ward goes on"),
        "{said}"
    );
    is_version(cluster, "5.2.0.401");
}

/// Another program in the place of the one that tells the version: it is read again at the next look.
fn an_upgrade_of_which_nobody_was_told_is_noticed(cluster: &Cluster) {
    vendors(cluster, "lx5", "update CACHEHA1 versionid=5.2.0.500");
    install(cluster, "lx5");
    is_version(cluster, "5.2.0.500");
    install(cluster, "lx4");
    cluster.wait_for("the other node's own registry to be told of", |_| {
        troubles(cluster, "lx4")
            .iter()
            .any(|t| t.contains("is version 5.2.0.401 in its vendor's registry on lx4"))
    });
}
