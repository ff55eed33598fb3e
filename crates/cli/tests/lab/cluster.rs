//! A cluster under test: brought up by the command a user types, looked at by the command a user types.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use regent_api::{GroupStatus, Status};
use regent_lab::ledger::{LEDGER_PORT, LedgerWriter, audit, read_ledger};
use regent_lab::observe::{Observer, doubles};
use regent_lab::{Lab, two_writers};
use regent_model::BootId;

/// The service address of every cluster under test.
pub(crate) const SERVICE: &str = "10.77.0.100";

/// How long anything may take before the test gives up: generous, because CI machines are slow; figures are the
/// benchmark's business.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lab with a cluster in it. Dropping it takes everything down.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) lab: Lab,
    pub(crate) folder: PathBuf,
}

/// The head of a configuration: two nodes, a witness, two networks, the power switch.
pub(crate) fn head(takeover: &str) -> String {
    format!(
        r#"
[cluster]
name     = "ward7"
takeover = "{takeover}"

[[node]]
name      = "lx4"
addresses = ["10.77.0.4", "10.78.0.4"]

[[node]]
name      = "lx5"
addresses = ["10.77.0.5", "10.78.0.5"]

[[witness]]
name      = "wit"
addresses = ["10.77.0.3", "10.78.0.3"]

[[fence]]
name  = "power"
agent = "{}"
nodes = ["lx4", "lx5"]
"#,
        regent_lab::FENCE_AGENT
    )
}

/// A group with the shared disk, the service address and the ledger.
pub(crate) fn ledger_group(policy: &str, needs: &str) -> String {
    format!(
        r#"
[[group]]
name   = "ledger"
nodes  = ["lx4", "lx5"]
policy = "{policy}"
needs  = [{needs}]

  [[group.filesystem]]
  device = "{}"
  mount  = "/srv/ledger"
  type   = "ext4"

  [[group.address]]
  address = "{SERVICE}/24"

  [[group.application]]
  name       = "ledger"
  start      = "exec regent lab ledger serve --listen {SERVICE}:{LEDGER_PORT} --file /srv/ledger/ledger"
  foreground = true
"#,
        regent_lab::DEFAULT_DEVICE
    )
}

/// A group with the shared disk and the service address, and room for more.
pub(crate) fn ward_group() -> String {
    format!(
        r#"
[[group]]
name   = "ward"
nodes  = ["lx4", "lx5"]
policy = "rotating"

  [[group.filesystem]]
  device = "{}"
  mount  = "/srv/ward"
  type   = "ext4"

  [[group.address]]
  address = "{SERVICE}/24"
"#,
        regent_lab::DEFAULT_DEVICE
    )
}

/// A group that is an address and nothing else.
pub(crate) fn address_group(policy: &str) -> String {
    format!(
        "\n[[group]]\nname = \"front\"\nnodes = [\"lx4\", \"lx5\"]\npolicy = \"{policy}\"\n\n\
         [[group.address]]\naddress = \"{SERVICE}/24\"\n"
    )
}

impl Cluster {
    /// Brings a cluster up with this configuration, and waits until every group is online.
    pub(crate) fn up(name: &str, config: &str) -> Self {
        Self::up_with(name, config, &[])
    }

    /// The same with further words for `regent lab up`.
    pub(crate) fn up_with(name: &str, config: &str, words: &[&str]) -> Self {
        let name = format!("{name}{}", std::process::id() % 10_000);
        let folder = std::env::temp_dir().join(format!("regent-test-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("cluster.toml");
        std::fs::write(&file, config).unwrap();
        let all = ["lab", "up", file.to_str().unwrap(), "--name", &name];
        let all: Vec<&str> = all.into_iter().chain(words.iter().copied()).collect();
        let output = regent(&all);
        let told = told(&output);
        if !output.status.success() {
            let _ = regent(&["lab", "down", "--name", &name]);
            panic!("lab up failed:\n{told}");
        }
        let lab = Lab::attach(&name).unwrap();
        let cluster = Self { name, lab, folder };
        let groups = config.lines().any(|line| line == "[[group]]");
        cluster.wait_for("every group online", |s| {
            s.groups.is_empty() != groups && s.groups.iter().all(|g| g.state == "online")
        });
        cluster
    }

    /// Runs `regent` on a machine.
    pub(crate) fn on(&self, machine: &str, words: &[&str]) -> Output {
        let all: Vec<&str> = std::iter::once("regent").chain(words.iter().copied()).collect();
        self.lab
            .output(machine, &all)
            .unwrap_or_else(|e| panic!("regent {} on {machine}: {e}\n{}", words.join(" "), self.evidence()))
    }

    /// The same, which must succeed.
    pub(crate) fn order(&self, machine: &str, words: &[&str]) -> String {
        let output = self.on(machine, words);
        let said = told(&output);
        assert!(
            output.status.success(),
            "regent {} on {machine}:\n{said}\n{}",
            words.join(" "),
            self.evidence()
        );
        said
    }

    /// What this machine says about the cluster, if its daemon answers.
    pub(crate) fn status_of(&self, machine: &str) -> Option<Status> {
        let output = self.lab.output(machine, &["regent", "status", "--json"]).ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// What the first machine says that answers and is in touch with a majority.
    pub(crate) fn status(&self) -> Option<Status> {
        ["wit", "lx5", "lx4"].iter().filter_map(|m| self.status_of(m)).find(|s| s.quorate)
    }

    /// Waits until the cluster is as it should be.
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            if let Some(status) = self.status().filter(|s| is_so(s)) {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}\n{}", self.evidence());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until `group` is online on `node`.
    pub(crate) fn online_on(&self, group: &str, node: &str) {
        self.wait_for(&format!("{group} online on {node}"), |s| {
            let group = find(s, group);
            group.state == "online" && group.owner.as_ref().is_some_and(|o| o.as_str() == node)
        });
    }

    /// Puts this configuration in force.
    pub(crate) fn apply(&self, node: &str, config: &str) -> String {
        let write = format!("cat > /tmp/next.toml <<'END'\n{config}\nEND");
        assert!(self.lab.output(node, &["sh", "-c", &write]).unwrap().status.success());
        self.order(node, &["apply", "/tmp/next.toml"])
    }

    /// Which boot of `node` this is.
    pub(crate) fn boot(&self, node: &str) -> BootId {
        let status = self.wait_for("every boot known", |s| s.nodes.iter().all(|n| n.boot.is_some()));
        status.nodes.into_iter().find(|n| n.name.as_str() == node).unwrap().boot.unwrap()
    }

    /// Waits until `node` is up again.
    pub(crate) fn is_up(&self, node: &str) {
        self.wait_for(&format!("{node} up"), |s| {
            s.nodes.iter().any(|n| n.name.as_str() == node && n.state == "up")
        });
    }

    /// Everything that helps to understand a failure.
    pub(crate) fn evidence(&self) -> String {
        let mut text = String::new();
        for machine in ["lx4", "lx5", "wit"] {
            for words in [&["regent", "status"][..], &["regent", "events", "--last", "60"][..]] {
                let said = self.lab.output(machine, words).map_or_else(|e| e.to_string(), |o| told(&o));
                text.push_str(&format!("\n---- {} on {machine}\n{said}", words.join(" ")));
            }
        }
        text
    }

    /// A client that writes to the ledger, without end.
    pub(crate) fn writer(&self, first: u64) -> LedgerWriter {
        LedgerWriter::start(&self.lab, "client", ledger_at(), first, Duration::from_millis(5), None).unwrap()
    }

    /// Waits until the writer got an acknowledgement from `node`.
    pub(crate) fn written_on(&self, writer: &LedgerWriter, node: &str) {
        let began = Instant::now();
        let count = writer.count().0;
        loop {
            let (now, last) = writer.count();
            if now > count && last.is_some_and(|a| a.node == node) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no write was acknowledged by {node}\n{}", self.evidence());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the writer and compares with the ledger: every acknowledged number must be there, once, in order.
    pub(crate) fn nothing_lost(&self, writer: LedgerWriter) {
        let acknowledged = writer.stop();
        let ledger = read_ledger(&self.lab, "client", ledger_at()).unwrap();
        let audit = audit(&acknowledged, &ledger);
        assert!(audit.is_clean(), "{audit:?}\n{}", self.evidence());
        assert!(audit.acknowledged > 0, "nothing was written");
    }

    /// The shared disk was never written by two nodes at once.
    pub(crate) fn one_writer(&self) {
        let overlaps = two_writers(&self.lab.san_log().unwrap());
        assert!(overlaps.is_empty(), "two writers: {overlaps:?}\n{}", self.evidence());
    }

    /// Heals every network of a machine. One that is just being fenced has no ports for a moment.
    pub(crate) fn heal(&self, machine: &str) {
        let began = Instant::now();
        while let Err(error) = self.lab.heal(machine, None) {
            assert!(began.elapsed() < PATIENCE, "{machine} cannot be healed: {error}\n{}", self.evidence());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts to watch who carries the service address.
    pub(crate) fn watch(&self) -> Observer {
        let address: IpAddr = SERVICE.parse().unwrap();
        Observer::start(&self.lab, &[address], Duration::from_millis(2)).unwrap()
    }

    /// The service address was never carried by two nodes at once.
    pub(crate) fn one_address(&self, observer: Observer) {
        let holdings = observer.stop();
        assert!(!holdings.is_empty(), "the observer saw nothing");
        let doubles = doubles(&holdings);
        assert!(doubles.is_empty(), "two owners: {doubles:?}\n{}", self.evidence());
    }

    /// The words of the journal, as `regent events` has them.
    pub(crate) fn events(&self, machine: &str) -> Vec<regent_model::journal::Entry> {
        let said = self.on(machine, &["events", "--last", "2000", "--json"]);
        let text = String::from_utf8_lossy(&said.stdout);
        let entries: Vec<_> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        if entries.is_empty() { serde_json::from_str(&text).unwrap_or_default() } else { entries }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let output = regent(&["lab", "down", "--name", &self.name]);
        let _ = std::fs::remove_dir_all(&self.folder);
        if !output.status.success() && !std::thread::panicking() {
            panic!("lab down failed:\n{}", told(&output));
        }
    }
}

/// The group of that name.
pub(crate) fn find<'a>(status: &'a Status, group: &str) -> &'a GroupStatus {
    status.groups.iter().find(|g| g.name.as_str() == group).unwrap()
}

/// The node that owns the group.
pub(crate) fn owner(status: &Status, group: &str) -> String {
    find(status, group).owner.as_ref().unwrap().to_string()
}

/// The other of the two nodes.
pub(crate) fn peer(node: &str) -> &'static str {
    if node == "lx4" { "lx5" } else { "lx4" }
}

fn ledger_at() -> SocketAddr {
    format!("{SERVICE}:{LEDGER_PORT}").parse().unwrap()
}

/// Runs `regent` on the machine of the test.
pub(crate) fn regent(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_regent")).args(words).output().unwrap()
}

/// What a command printed.
pub(crate) fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
