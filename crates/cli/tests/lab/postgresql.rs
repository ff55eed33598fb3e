//! A real database: power cuts and partitions in a row between the two nodes, a client that commits rows and
//! remembers each one that was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use regent_lab::{DiskState, SanEvent};

use crate::cluster::{Cluster, SERVICE, head, owner, peer, told};

fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("the package postgresql is not installed");
    versions.filter_map(|v| Some(v.ok()?.path().join("bin"))).max().expect("no version of PostgreSQL")
}

fn group(with_database: bool) -> String {
    let storage = format!(
        r#"
[[group]]
name   = "pg"
nodes  = ["lx4", "lx5"]
policy = "rotating"

  [[group.filesystem]]
  device = "{}"
  mount  = "/srv/pg"
  type   = "ext4"

  [[group.address]]
  address = "{SERVICE}/24"
"#,
        regent_lab::DEFAULT_DEVICE
    );
    if !with_database {
        return storage;
    }
    let bin = programs();
    // The pid file of the other node's server would keep ours from starting if a process here happened to have
    // its number; the proof that came with this ownership says that it is gone.
    format!(
        r#"{storage}
  [[group.application]]
  name       = "postgresql"
  user       = "postgres"
  start      = "rm -f /srv/pg/data/postmaster.pid; exec {bin}/postgres -D /srv/pg/data -c listen_addresses={SERVICE} -c unix_socket_directories="
  stop       = "{bin}/pg_ctl -D /srv/pg/data -m fast -w stop"
  status     = "{bin}/pg_isready -q -h {SERVICE}"
  monitor    = {{ interval = "2s", timeout = "5s", failures = 3 }}
  foreground = true
"#,
        bin = bin.display()
    )
}

const CLIENT: &str = r#"
i=1
while :; do
    if timeout 3 psql -qAtX "host=SERVICE user=postgres dbname=postgres connect_timeout=1 tcp_user_timeout=1000" \
        -c "insert into kept values ($i) on conflict do nothing" >/dev/null 2>&1
    then echo "$i"; i=$((i+1)); else sleep 0.05; fi
done
"#;

/// How many times the owner loses power, and how many times it is cut off.
const ROUNDS: usize = 10;

#[test]
fn postgresql_survives_ten_power_cuts_and_ten_partitions_in_a_row_and_no_acknowledged_row_is_lost() {
    let cluster = Cluster::up("pg", &(head("normal") + &group(false)));
    let first = owner(&cluster.status().unwrap(), "pg");
    prepare(&cluster, &first);

    let log = std::env::temp_dir().join(format!("regent-test-{}.rows", cluster.name));
    let mut psql = Command::new("sh");
    psql.args(["-c", &CLIENT.replace("SERVICE", SERVICE)]);
    psql.stdout(std::fs::File::create(&log).unwrap()).stderr(Stdio::null()).stdin(Stdio::null());
    let client = cluster.lab.spawn("client", psql).unwrap();
    let acknowledged = || std::fs::read_to_string(&log).unwrap().lines().count();
    let postmasters = Postmasters::watch(&cluster);

    let mut from = first;
    for round in 1..=2 * ROUNDS {
        let to = peer(&from);
        grows(&cluster, &acknowledged, &format!("rows before round {round}"));
        cluster.is_up(to);
        if round <= ROUNDS {
            cluster.lab.off(&from).unwrap();
        } else {
            cluster.lab.cut(&from, None).unwrap();
        }
        cluster.online_on("pg", to);
        grows(&cluster, &acknowledged, &format!("rows after round {round}"));
        if round <= ROUNDS {
            cluster.lab.on(&from).unwrap();
        } else {
            cluster.heal(&from);
        }
        cluster.is_up(&from);
        from = to.to_owned();
    }

    client.kill().unwrap();
    let _ = client.wait();
    let doubles = postmasters.stop(&cluster);
    assert!(doubles.is_empty(), "two postmasters at once: {doubles:?}\n{}", cluster.evidence());
    cluster.one_writer();
    let kept = rows(&cluster);
    let rows: BTreeSet<u64> =
        std::fs::read_to_string(&log).unwrap().lines().filter_map(|l| l.parse().ok()).collect();
    let _ = std::fs::remove_file(&log);
    let lost: Vec<&u64> = rows.difference(&kept).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged rows are lost: {lost:?}", lost.len(), rows.len());
    assert!(rows.len() > 100, "only {} rows were written", rows.len());
}

/// As a user sets it up: storage and address first, then the database is made there, then it becomes the application.
fn prepare(cluster: &Cluster, node: &str) {
    let bin = programs();
    let make = format!(
        "mkdir -p /srv/pg/data && chown postgres /srv/pg/data && chmod 700 /srv/pg/data && \
         runuser -u postgres -- {0}/initdb -D /srv/pg/data -k -A trust >/dev/null && \
         echo 'host all all 10.77.0.0/24 trust' >> /srv/pg/data/pg_hba.conf && sync -f /srv/pg/data/pg_hba.conf",
        bin.display()
    );
    let output = cluster.lab.output(node, &["sh", "-c", &make]).unwrap();
    assert!(output.status.success(), "{}", told(&output));
    cluster.apply(node, &(head("normal") + &group(true)));
    cluster.order(node, &["group", "restart", "pg"]);
    cluster.wait_for("the database", |s| s.groups[0].state == "online" && s.groups[0].resources.len() == 3);
    let table = "create table kept (n bigint primary key)";
    let output = psql(cluster, table);
    assert!(output.status.success(), "{}\n{}", told(&output), cluster.evidence());
}

fn psql(cluster: &Cluster, statement: &str) -> std::process::Output {
    let at = format!("host={SERVICE} user=postgres dbname=postgres connect_timeout=5");
    cluster.lab.output("client", &["psql", "-qAtX", &at, "-c", statement]).unwrap()
}

fn rows(cluster: &Cluster) -> BTreeSet<u64> {
    let output = psql(cluster, "select n from kept");
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8_lossy(&output.stdout).lines().filter_map(|l| l.parse().ok()).collect()
}

fn grows(cluster: &Cluster, count: &impl Fn() -> usize, what: &str) {
    let (began, before) = (Instant::now(), count());
    while count() < before + 5 {
        assert!(began.elapsed() < Duration::from_secs(60), "no {what}\n{}", cluster.evidence());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// When the database's control group had a process in it, per node.
struct Postmasters {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeMap<String, Vec<(u64, u64)>>>,
}

impl Postmasters {
    fn watch(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ending, lab) = (Arc::clone(&stop), cluster.name.clone());
        let thread = std::thread::spawn(move || {
            let mut seen: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
            let mut last: BTreeMap<String, bool> = BTreeMap::new();
            while !ending.load(Ordering::SeqCst) {
                for node in ["lx4", "lx5"] {
                    let at = regent_lab::now_ns();
                    let there = is_populated(&lab, node);
                    let spans = seen.entry(node.to_owned()).or_default();
                    match (there, last.insert(node.to_owned(), there).unwrap_or(false)) {
                        (true, true) => spans.last_mut().unwrap().1 = at,
                        (true, false) => spans.push((at, at)),
                        _ => {}
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            seen
        });
        Self { stop, thread }
    }

    /// The times in which both nodes had one; a node without power has none, whatever is still being cleared away.
    fn stop(self, cluster: &Cluster) -> Vec<(u64, u64)> {
        self.stop.store(true, Ordering::SeqCst);
        let mut seen = self.thread.join().unwrap();
        assert!(seen.values().all(|spans| !spans.is_empty()), "the watch saw no database: {seen:?}");
        for event in &cluster.lab.san_log().unwrap().events {
            let SanEvent::Switch { at, node, to: DiskState::Cut } = event else { continue };
            for span in seen.get_mut(node).into_iter().flatten().filter(|s| s.0 < *at && *at < s.1) {
                span.1 = *at;
            }
        }
        let mut doubles = Vec::new();
        for one in &seen["lx4"] {
            for two in &seen["lx5"] {
                let (from, to) = (one.0.max(two.0), one.1.min(two.1));
                if from < to {
                    doubles.push((from, to));
                }
            }
        }
        doubles
    }
}

/// Whether a process of the database lives on a node: looked up in the control groups, from outside.
fn is_populated(lab: &str, node: &str) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let Some(v2) = mounts.lines().find(|l| l.contains(" - cgroup2 ")).and_then(|l| l.split(' ').nth(4))
    else {
        return false;
    };
    let root = PathBuf::from(v2).join("regent-lab").join(lab).join(node);
    find_populated(&root)
}

fn find_populated(folder: &std::path::Path) -> bool {
    if folder.ends_with("pg/postgresql") {
        return std::fs::read_to_string(folder.join("cgroup.events"))
            .is_ok_and(|t| t.contains("populated 1"));
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.filter_map(Result::ok).map(|e| e.path()).filter(|p| p.is_dir()).any(|p| find_populated(&p))
}
