//! Commands around cluster events, as scripts of the users' own: when they run, and what happens when they fail.

use regent_model::journal::Entry;

use crate::cluster::{Cluster, SERVICE, head, ledger_group};
use crate::machine::sh;
use regent_lab::ledger::LEDGER_PORT;

/// What the scripts note, and what makes them fail.
const LOG: &str = "/usr/local/etc/event-log";
const INSTEAD: &str = "/usr/local/etc/event-instead";
const LOCKED: &str = "/usr/local/etc/event-locked";

/// The guide's four places for a script, each on its node. A script notes when it was run, what it was told, and what of
/// the group is there. (It stands in the configuration itself: a machine of the lab forgets its files with its power.)
fn places() -> String {
    let places = [
        ("node_down", "post", "lx5", "start"),
        ("node_down", "pre", "lx4", "stop"),
        ("node_up", "pre", "lx5", "stop"),
        ("node_up", "post", "lx4", "start"),
    ];
    let table = |(event, when, node, role): (&str, &str, &str, &str)| {
        format!(
            "\n[[event]]\nname = \"{event}\"\nnodes = [\"{node}\"]\n{when} = \"\"\"\n\
             disk=down; grep -q ' /srv/ledger ' /proc/self/mounts && disk=up\n\
             address=down; grep -q '{SERVICE}$' /proc/net/fib_trie && address=up\n\
             echo $(date +%s%N) {role} $* disk=$disk address=$address group=$REGENT_GROUPS >> {LOG}\n\
             if test -e {LOCKED}; then echo the door is locked >&2; exit 3; fi\n\"\"\"\n"
        )
    };
    places.into_iter().map(table).collect()
}

/// On the standby the event's own command takes the place of the application's start script.
fn own_start() -> String {
    format!(
        "\n[[event]]\nname = \"start_server\"\nnodes = [\"lx5\"]\ncommand = \"\"\"\n\
         echo started $1 instead >> {INSTEAD}\n\
         exec regent lab ledger serve --listen {SERVICE}:{LEDGER_PORT} --file /srv/ledger/ledger\n\"\"\"\n"
    )
}

/// What the scripts noted on these nodes since the last look, by time.
fn noted(cluster: &Cluster, nodes: &[&str]) -> Vec<String> {
    let read = |node: &&str| sh(cluster, node, &format!("touch {LOG}; cat {LOG}; : > {LOG}")) + "\n";
    let text: String = nodes.iter().map(read).collect();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.iter().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
}

/// The newest entry of that node and kind whose text contains `words`: where it stands in its journal, and when.
#[track_caller]
fn last(entries: &[Entry], node: &str, kind: &str, words: &str) -> (u64, u64) {
    let found =
        entries.iter().rev().find(|e| e.node.as_str() == node && e.kind == kind && e.text.contains(words));
    let Some(entry) = found else {
        let all = entries.iter().filter(|e| e.node.as_str() == node);
        let all: Vec<String> = all.map(|e| format!("{} {}: {}", e.number, e.kind, e.text)).collect();
        panic!("no {kind} {words:?} on {node} among\n{}", all.join("\n"));
    };
    (entry.number, entry.wall_ms)
}

#[track_caller]
fn in_order(entries: &[Entry], node: &str, steps: &[(&str, &str)]) {
    let at: Vec<u64> = steps.iter().map(|(kind, words)| last(entries, node, kind, words).0).collect();
    assert!(at.is_sorted(), "{steps:?} on {node} stand at {at:?}");
}

#[test]
fn scripts_around_node_up_and_node_down_run_in_the_order_of_the_guide_and_a_failed_one_blocks() {
    let config = head("fast") + &places() + &own_start() + &ledger_group("cascading", "\"fenced\"");
    let cluster = Cluster::up("evts", &config);
    cluster.online_on("ledger", "lx4");
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    noted(&cluster, &["lx4", "lx5"]);

    // A crash: the start script after storage and address and before the application; no stop script.
    cluster.lab.off("lx4").unwrap();
    cluster.written_on(&writer, "lx5");
    assert_eq!(noted(&cluster, &["lx5"]), ["start node_down 0 lx4 disk=up address=up group=ledger"]);
    assert_eq!(sh(&cluster, "lx5", &format!("cat {INSTEAD}")).trim(), "started ledger instead");
    let told = cluster.events("lx5");
    in_order(
        &told,
        "lx5",
        &[
            ("event_start", "node_down lx4"),
            ("acquire", "filesystem"),
            ("acquire", "address"),
            ("event_command", "post command of node_down lx4"),
            ("event_complete", "node_down_complete lx4"),
            ("acquire", "application"),
        ],
    );

    // The return: the survivor's stop script and release, and only then the owner, whose start script comes last.
    cluster.lab.on("lx4").unwrap();
    cluster.written_on(&writer, "lx4");
    assert_eq!(
        noted(&cluster, &["lx4", "lx5"]),
        [
            "stop node_up lx4 disk=up address=up group=ledger",
            "start node_up 0 lx4 disk=up address=up group=ledger",
        ]
    );
    let on_the_owner = sh(&cluster, "lx4", &format!("ls {INSTEAD} 2>&1 || true"));
    assert!(on_the_owner.contains("No such"), "it is limited to the standby: {on_the_owner}");
    let told = cluster.events("lx4");
    in_order(
        &told,
        "lx5",
        &[
            ("event_command", "pre command of node_up lx4"),
            ("release", "application"),
            ("release", "filesystem"),
            ("event_complete", "node_up lx4"),
        ],
    );
    in_order(
        &told,
        "lx4",
        &[
            ("event_start", "node_up lx4"),
            ("acquire", "address"),
            ("event_command", "post command of node_up lx4"),
            ("acquire", "application"),
        ],
    );
    let survivor = last(&told, "lx5", "event_complete", "done: node_up lx4").1;
    assert!(survivor <= last(&told, "lx4", "event_start", "begins: node_up lx4").1, "{}", cluster.evidence());

    a_stop_with_takeover(&cluster);
    a_failing_script_blocks_until_resumed(&cluster);
    cluster.written_on(&writer, "lx5");
    the_journal_can_be_followed_and_summed_up(&cluster);
    cluster.nothing_lost(writer);
    cluster.one_writer();
}

/// The owner's stop script before its release; the peer only when the owner is through.
fn a_stop_with_takeover(cluster: &Cluster) {
    cluster.order("lx4", &["node", "stop", "--takeover"]);
    cluster.online_on("ledger", "lx5");
    assert_eq!(
        noted(cluster, &["lx4", "lx5"]),
        [
            "stop node_down lx4 takeover disk=up address=up group=ledger",
            "start node_down 0 lx4 takeover disk=up address=up group=ledger",
        ]
    );
    cluster.order("lx4", &["node", "start"]);
    cluster.online_on("ledger", "lx4");
    let told = cluster.events("lx4");
    in_order(
        &told,
        "lx4",
        &[
            ("event_command", "pre command of node_down lx4 takeover"),
            ("release", "application"),
            ("release", "filesystem"),
            ("event_complete", "node_down lx4 takeover"),
        ],
    );
    let gone = last(&told, "lx4", "event_complete", "done: node_down lx4 takeover").1;
    assert!(gone <= last(&told, "lx5", "acquire", "filesystem").1, "{}", cluster.evidence());
    noted(cluster, &["lx4", "lx5"]);
}

/// A script that fails holds the events of its node, and says so, until a person resumes them from another node.
fn a_failing_script_blocks_until_resumed(cluster: &Cluster) {
    sh(cluster, "lx4", &format!(": > {LOCKED}"));
    cluster.order("lx4", &["node", "stop", "--takeover", "--no-wait"]);
    let status = cluster.wait_for("a blocked event", |s| {
        s.nodes
            .iter()
            .any(|n| n.name.as_str() == "lx4" && n.troubles.iter().any(|t| t.contains("is blocked")))
    });
    let troubles = &status.nodes.iter().find(|n| n.name.as_str() == "lx4").unwrap().troubles;
    assert!(troubles.iter().any(|t| t.contains("regent event resume --node lx4")), "{troubles:?}");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(
        noted(cluster, &["lx4", "lx5"]),
        ["stop node_down lx4 takeover disk=up address=up group=ledger"]
    );
    let queue = cluster.order("lx5", &["event", "queue"]);
    assert!(queue.contains("blocked") && queue.contains("the door is locked"), "{queue}");
    let status = cluster.status().unwrap();
    assert_eq!(crate::cluster::owner(&status, "ledger"), "lx4", "nothing moves before it is resumed");

    sh(cluster, "lx4", &format!("rm {LOCKED}"));
    cluster.order("lx5", &["event", "resume", "--node", "lx4"]);
    cluster.online_on("ledger", "lx5");
    let refused = cluster.on("lx5", &["event", "resume"]);
    assert!(!refused.status.success());
}

/// One line an entry, in a file; and a summary of every event.
fn the_journal_can_be_followed_and_summed_up(cluster: &Cluster) {
    let said = cluster.order("lx5", &["events", "--summary", "--json"]);
    let sums: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
    let crash =
        sums.iter().find(|s| s["event"] == "node_down" && s["arguments"].as_array().unwrap().len() == 1);
    let crash = crash.unwrap_or_else(|| panic!("no crash in {said}"));
    assert_eq!((&crash["node"], &crash["state"]), (&"lx5".into(), &"done".into()));
    assert_eq!(crash["acquired"].as_array().unwrap().len(), 2, "{crash}");
    let numbers: Vec<u64> =
        sums.iter().filter(|s| s["node"] == "lx5").filter_map(|s| s["number"].as_u64()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let file = cluster.lab.output("lx5", &["sh", "-c", "tail -n 1 /var/lib/regent/journal.log"]).unwrap();
    let entry: Entry = serde_json::from_slice(&file.stdout).unwrap();
    assert_eq!(entry.node.as_str(), "lx5");
}
