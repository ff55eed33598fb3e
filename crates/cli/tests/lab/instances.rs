//! A database of GT.M as an instance of its group: started by the group's own script, by hand, and by the next node after
//! a power cut; never where its group is not.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, SERVICE, head, told, ward_group};
use crate::machine::sh;

const PORT: u16 = 1972;
const LOCK: &str = "/srv/ward/db/mgr/regent.ids";

/// The group's script starts the instance, and stops it.
fn ward() -> String {
    let more = format!(
        r#"
  [[group.application]]
  name     = "script"
  start    = "set -e; regent instance start cacheha1; sleep 86400 & echo $! > /run/script.pid"
  stop     = "regent instance stop cacheha1; kill $(cat /run/script.pid)"
  pid_file = "/run/script.pid"

[[instance]]
name      = "cacheha1"
kind      = "gtm"
directory = "/srv/ward/db"
port      = {PORT}
"#
    );
    ward_group() + &more
}

/// A line of M on a node, as somebody types it there.
fn m(cluster: &Cluster, node: &str, line: &str) -> String {
    let mumps = "exec $gtm_dist/mumps -run %XCMD \"$0\"";
    let output = cluster.on(node, &["env", "cacheha1", "--", "sh", "-c", mumps, line]);
    told(&output).trim().to_owned()
}

/// A line of M on the client, whose globals are the instance's: over the network, by its service address.
fn over_the_network(cluster: &Cluster, line: &str) -> String {
    let script = format!(
        r#"
        gtm_dist=$(ls -d /usr/lib/*/fis-gtm/V* | tail -n 1)
        export gtm_dist gtmgbldir=/tmp/far.gld gtm_tmp=/tmp gtmroutines="$gtm_dist/libgtmutil.so $gtm_dist"
        export GTCM_cacheha1='[{SERVICE}]:{PORT}'
        test -e /tmp/far.gld || printf 'change -segment DEFAULT -file="cacheha1:/srv/ward/db/mumps.dat"\nexit\n' |
            $gtm_dist/mumps -run GDE > /dev/null 2>&1
        exec $gtm_dist/mumps -run %XCMD '{line}'
        "#
    );
    told(&cluster.lab.output("client", &["sh", "-c", &script]).unwrap()).trim().to_owned()
}

fn refused(cluster: &Cluster, node: &str, words: &[&str]) -> String {
    let output = cluster.on(node, words);
    assert_eq!(output.status.code(), Some(1), "{words:?} on {node}: {}", told(&output));
    told(&output)
}

fn said(cluster: &Cluster, what: &str) -> bool {
    cluster.events("lx5").iter().any(|e| e.text.contains(what))
}

#[test]
fn an_instance_runs_where_its_group_is_and_nowhere_else_also_by_hand_and_after_a_power_cut() {
    let cluster = Cluster::up("inst", &(head("normal") + &ward()));
    cluster.online_on("ward", "lx4");
    cluster.wait_for("the script to start it", |_| said(&cluster, "CACHEHA1 is up on lx4"));
    assert!(said(&cluster, "made the new database"), "{}", cluster.evidence());
    assert!(sh(&cluster, "lx4", &format!("cat {LOCK}")).contains("node=lx4"));
    assert_eq!(m(&cluster, "lx4", "set ^A=1 write ^A"), "1");
    assert_eq!(over_the_network(&cluster, "set ^A=^A+1 write ^A"), "2");

    let listens = sh(&cluster, "lx4", &format!("ss -Hltn 'sport = :{PORT}'"));
    assert!(
        listens.lines().count() == 1 && listens.contains(SERVICE),
        "on the service address alone: {listens}"
    );
    from_one_address_too_many(&cluster);
    on_storage_that_both_see(&cluster);
    by_hand_on_the_node_that_has_it(&cluster);
    let wrong = refused(&cluster, "lx5", &["instance", "start", "cacheha1"]);
    assert!(wrong.contains("which lx4 has") && wrong.contains("on lx4: regent instance start"), "{wrong}");
    let wrong = refused(&cluster, "lx5", &["env", "cacheha1", "--", "true"]);
    assert!(wrong.contains("lx4 has its group"), "{wrong}");

    // Somebody commits in a loop; what is printed is committed.
    let printed = std::env::temp_dir().join(format!("regent-test-{}.commits", cluster.name));
    let line = "for i=1:1 tstart ():serial set ^T(i)=i tcommit  write i,!";
    let mumps = "exec $gtm_dist/mumps -run %XCMD \"$0\"";
    let mut writer = Command::new("regent");
    writer.args(["env", "cacheha1", "--", "sh", "-c", mumps, line]);
    writer.stdin(Stdio::null()).stdout(std::fs::File::create(&printed).unwrap()).stderr(Stdio::null());
    let writer = cluster.lab.spawn("lx4", writer).unwrap();
    let committed = || {
        // The last line may be half a number, and errors may follow.
        std::fs::read_to_string(&printed).unwrap().lines().rev().skip(1).find_map(|l| l.parse::<u64>().ok())
    };
    let began = Instant::now();
    while committed() < Some(100) {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing is committed\n{}", cluster.evidence());
        std::thread::sleep(Duration::from_millis(20));
    }
    cluster.lab.off("lx4").unwrap();
    let _killed = writer.wait();
    cluster.online_on("ward", "lx5");
    cluster.wait_for("the script to start it there", |_| said(&cluster, "CACHEHA1 is up on lx5"));
    let (last, found) = (committed().unwrap(), m(&cluster, "lx5", "write $order(^T(\"\"),-1),\" \",^A"));
    let _ = std::fs::remove_file(&printed);
    let count: u64 = found.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{found}"));
    assert!(count >= last && found.ends_with(" 2"), "{last} were committed, found {found}");
    assert!(said(&cluster, "recovered the database from its journals"), "{}", cluster.evidence());
    assert!(said(&cluster, "the lock file names lx4"), "{}", cluster.evidence());
    assert!(sh(&cluster, "lx5", &format!("cat {LOCK}")).contains("node=lx5"));
    assert_eq!(over_the_network(&cluster, "write ^A"), "2");

    // The node that is back has no right to it.
    cluster.lab.on("lx4").unwrap();
    cluster.is_up("lx4");
    let wrong = refused(&cluster, "lx4", &["instance", "start", "cacheha1"]);
    assert!(wrong.contains("which lx5 has"), "{wrong}");

    // Down with its group, by the script; then nobody has it.
    cluster.order("lx5", &["group", "disable", "ward"]);
    let closed = cluster.events("lx5");
    let closed = closed.iter().any(|e| e.node.as_str() == "lx5" && e.text.contains("closed the database"));
    assert!(closed, "lx4 did it before: {}", cluster.evidence());
    let wrong = refused(&cluster, "lx5", &["instance", "start", "cacheha1"]);
    assert!(wrong.contains("no node has ward"), "{wrong}");
    cluster.one_writer();
}

/// The wrong node has the very files before it, and no lock file in them: it starts nothing all the same.
fn on_storage_that_both_see(cluster: &Cluster) {
    let mount = format!("mkdir -p /srv/ward && mount -o ro,noload {} /srv/ward", regent_lab::DEFAULT_DEVICE);
    sh(cluster, "lx4", &format!("rm {LOCK} && sync -f /srv/ward"));
    sh(cluster, "lx5", &mount);
    let there = sh(cluster, "lx5", &format!("ls /srv/ward/db; test -e {LOCK} || echo no lock"));
    assert!(there.contains("mumps.dat") && there.contains("no lock"), "{there}");
    for words in [&["ccontrol", "start", "cacheha1", "quietly"][..], &["instance", "start", "cacheha1"]] {
        let wrong = refused(cluster, "lx5", words);
        assert!(wrong.contains("which lx4 has"), "{wrong}");
    }
    let runs =
        sh(cluster, "lx5", &format!("ss -Hltn 'sport = :{PORT}'; fuser -m /srv/ward 2>/dev/null || true"));
    assert_eq!(runs, "", "nothing runs there");
    let cgroup = "find /sys/fs/cgroup -type d -name instance-CACHEHA1";
    assert_eq!(sh(cluster, "lx5", &format!("{cgroup} 2>/dev/null || true")), "");
    sh(cluster, "lx5", "umount /srv/ward && rmdir /srv/ward");
    assert_eq!(over_the_network(cluster, "write ^A"), "2");
}

/// The client is one application server, which is as many as there may be; and is one too many where none may be.
fn from_one_address_too_many(cluster: &Cluster) {
    let told =
        || crate::machine::troubles(cluster, "lx4").iter().any(|t| t.contains("CACHEHA1 is used from"));
    let at_most = |most: &str| {
        let key = format!("max_application_servers={most}");
        cluster.order("lx4", &["instance", "update", "cacheha1", &key]);
    };
    at_most("0");
    let far = Command::new("sh");
    let client = cluster.lab.spawn("client", connected(far)).unwrap();
    cluster.wait_for("one address too many to be told of", |_| told());
    assert_eq!(cluster.on("lx4", &["instance", "check"]).status.code(), Some(1));
    let shown = cluster.order("lx4", &["instance", "status", "cacheha1"]);
    assert!(shown.contains("at most 0 application servers (1 now; more are told of"), "{shown}");
    at_most("1");
    cluster.wait_for("it to be over", |_| !told());
    let _ended = client.kill().and_then(|()| client.wait());
}

/// Stays connected to the instance.
fn connected(mut shell: Command) -> Command {
    let line =
        format!("import socket,time; s=socket.create_connection(('{SERVICE}',{PORT})); time.sleep(300)");
    shell.args(["-c", "exec python3 -c \"$0\"", &line]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell
}

fn by_hand_on_the_node_that_has_it(cluster: &Cluster) {
    let stopped = cluster.order("lx4", &["instance", "stop", "cacheha1"]);
    assert!(stopped.contains("CACHEHA1 is down on lx4"), "{stopped}");
    assert_eq!(sh(cluster, "lx4", &format!("test -e {LOCK} || echo gone")), "gone");
    let down = refused(cluster, "lx4", &["env", "cacheha1", "--", "true"]);
    assert!(down.contains("CACHEHA1 is down") || down.contains("cacheha1 is down"), "{down}");
    assert!(over_the_network(cluster, "write ^A").contains("NETDBOPNERR"));
    let status = cluster.wait_for("it to be shown as down", |s| {
        let group = crate::cluster::find(s, "ward");
        group.resources.iter().any(|r| r.name.as_str() == "instance-CACHEHA1" && r.state == "stopped")
    });
    assert_eq!(crate::cluster::find(&status, "ward").state, "online", "a stop by hand is no failure");
    // The daemon goes; the next one knows that it is held, and down.
    let daemon = crate::machine::process_of(cluster, "lx4", crate::machine::DAEMON).unwrap();
    sh(cluster, "lx4", &format!("kill -KILL {daemon}"));
    cluster.wait_for("the next daemon", |_| {
        let tried = cluster.on("lx4", &["instance", "start", "cacheha1"]);
        tried.status.success()
    });
    assert_eq!(over_the_network(cluster, "write ^A"), "2");
    assert!(sh(cluster, "lx4", &format!("cat {LOCK}")).contains("node=lx4"));
}
