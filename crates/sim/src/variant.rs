//! The clusters that are simulated: what runs where, and what proves a takeover.

use std::fmt;

use crate::rng::Rng;

/// A cluster to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// One group of an address and an application, at the fast timers.
    AddressFast,
    /// The same at the normal timers.
    AddressNormal,
    /// Hot standby with a shared file system: taken over on a fence device's confirmation only.
    Fenced,
    /// Hot standby with a shared file system that is content with the end of the lease, a fence device beside it.
    LeaseEnded,
    /// Two groups, each at home on the other's standby.
    Mutual,
    /// One rotating group with a file system: it stays where it is.
    Rotating,
    /// Three nodes that vote, no witness, two groups.
    ThreeNodes,
    /// One group of an address and an application; two more witnesses join a running cluster.
    Growing,
    /// The same with a third node and a second witness that join; and members are removed, so that they take the places of
    /// others.
    Replacing,
    /// One group of an address and an application, with a lease of 20 s: a thousandth of it is long.
    AddressSlow,
    /// Two groups, each at home on the other's standby, with commands around the events.
    Events,
    /// Hot standby with a shared file system whose release is complete only after a reboot, and a group at home on
    /// the standby.
    Reboots,
    /// Clients on both nodes, a group that goes only where they are, and one that lives as long as that.
    Related,
    /// Hot standby with a shared file system, on machines with two feeds: each has a device, and a third one cuts the
    /// machine when they fail.
    Levels,
    /// Hot standby with a shared file system: taken over when the lease has ended and the owner is cut off from its disk.
    Storage,
    /// Two groups with shared file systems, each at home on the other's standby, on disks of two devices at the storage that
    /// are asked together, and a power switch when they fail; one of the groups is content with the power, too.
    Disks,
    /// Two nodes and a disk that decides between them; one group of an address and an application.
    Pair,
    /// The same with two groups, one of them on shared storage with a fence device.
    PairFenced,
    /// The same without the disk: who has turned the other one off goes on.
    PairByFence,
}

impl Variant {
    /// Those of which a seed chooses one.
    pub const ANY: [Self; 14] = [
        Self::AddressFast,
        Self::AddressNormal,
        Self::Fenced,
        Self::LeaseEnded,
        Self::Mutual,
        Self::Rotating,
        Self::ThreeNodes,
        Self::Growing,
        Self::Reboots,
        Self::Related,
        Self::Events,
        Self::Levels,
        Self::Pair,
        Self::PairFenced,
    ];

    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::AddressFast,
        Self::AddressNormal,
        Self::Fenced,
        Self::LeaseEnded,
        Self::Mutual,
        Self::Rotating,
        Self::ThreeNodes,
        Self::Growing,
        Self::Replacing,
        Self::AddressSlow,
        Self::Reboots,
        Self::Related,
        Self::Events,
        Self::Levels,
        Self::Storage,
        Self::Disks,
        Self::Pair,
        Self::PairFenced,
        Self::PairByFence,
    ];

    /// That of a seed.
    pub(crate) fn of(seed: u64, rng: &mut Rng) -> Self {
        let any = *rng.pick(&Self::ANY);
        // By a stream of its own: the other seeds are as they were.
        let half = |stream: u64| Rng::new(seed ^ stream).chance(500);
        match any {
            Self::Growing if half(0x5245_504C) => Self::Replacing,
            Self::LeaseEnded if half(0x5343_5349) => Self::Storage,
            Self::Levels if half(0x5343_5349) => Self::Disks,
            Self::Pair if half(0x4355_5453) => Self::PairByFence,
            _ => any,
        }
    }

    /// How many of its nodes and witnesses, in the order of the file, found the cluster. The others join it.
    pub(crate) fn founders(self) -> usize {
        if self.is_pair() { 2 } else { 3 }
    }

    /// Whether it is two nodes and an arbiter.
    pub(crate) fn is_pair(self) -> bool {
        matches!(self, Self::Pair | Self::PairFenced | Self::PairByFence)
    }

    /// Its name on the command line and in scenarios.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AddressFast => "address-fast",
            Self::AddressNormal => "address-normal",
            Self::Fenced => "fenced",
            Self::LeaseEnded => "lease-ended",
            Self::Mutual => "mutual",
            Self::Rotating => "rotating",
            Self::ThreeNodes => "three-nodes",
            Self::Growing => "growing",
            Self::Replacing => "replacing",
            Self::AddressSlow => "address-slow",
            Self::Reboots => "reboots",
            Self::Related => "related",
            Self::Events => "events",
            Self::Levels => "levels",
            Self::Storage => "storage",
            Self::Disks => "disks",
            Self::Pair => "pair",
            Self::PairFenced => "pair-fenced",
            Self::PairByFence => "pair-by-fence",
        }
    }

    /// The variant of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.name() == name)
    }

    /// The head of its configuration: who is there.
    fn members(self) -> String {
        let takeover = match self {
            Self::AddressFast => "fast",
            Self::AddressSlow => "20s",
            _ => "normal",
        };
        let third = match self {
            Self::ThreeNodes => Some(("node", "lx6")),
            _ if self.is_pair() => None,
            _ => Some(("witness", "wit")),
        };
        let mut text = head(takeover, third);
        match self {
            Self::PairByFence => text += "\n[arbiter]\nfence = true\n",
            Self::Pair | Self::PairFenced => text += ARBITER,
            _ => {}
        }
        if self == Self::Replacing {
            text = text.replace("\n[[witness]]", &(node("lx6", 9) + "\n[[witness]]"));
            text += &witness("wi2", 7);
        }
        if self == Self::Growing {
            text += &witness("wi2", 7);
            text += &witness("wi3", 8);
        }
        text
    }

    /// Its configuration, as a user would write it.
    #[must_use]
    pub fn config(self) -> String {
        let mut text = self.members();
        match self {
            Self::Replacing => text += &group("web", &["lx4", "lx5", "lx6"], "cascading", "", 100),
            Self::AddressFast | Self::AddressNormal | Self::AddressSlow | Self::Growing | Self::Pair => {
                text += &group("web", &["lx4", "lx5"], "cascading", "", 100);
            }
            Self::Fenced | Self::Levels => {
                text += if self == Self::Levels { FEEDS } else { FENCE };
                text += &group("db", &["lx4", "lx5"], "cascading", "needs = [\"fenced\"]", 100);
                text += &storage("sda");
            }
            Self::LeaseEnded => {
                text += FENCE;
                let needs = "needs = [\"lease-ended\", \"fenced\"]";
                text += &group("db", &["lx4", "lx5"], "cascading", needs, 100);
                text += &storage("sda");
            }
            Self::Storage | Self::Disks => text += &self.at_storage(),
            Self::Mutual | Self::PairFenced | Self::PairByFence => {
                text += FENCE;
                text += &group("east", &["lx4", "lx5"], "cascading", "", 100);
                let needs = "needs = [\"fenced\"]";
                text += &group("west", &["lx5", "lx4"], "cascading", needs, 101);
                text += &storage("sdb");
            }
            Self::Reboots => {
                text += FENCE;
                text += &group("dfs", &["lx4", "lx5"], "cascading", "release = \"reboot\"", 100);
                text += &storage("sda");
                text += &group("web", &["lx5", "lx4"], "cascading", "", 101);
            }
            Self::Related => {
                text += FENCE;
                text += CLIENTS;
                text += &group("base", &["lx4", "lx5"], "cascading", "needs = [\"fenced\"]", 100);
                text += "  clients = [\"clients\"]\n";
                text += &storage("sda");
                text += &group("child", &["lx5", "lx4"], "cascading", "parent = \"base\"", 101);
            }
            Self::Events => {
                text += EVENTS;
                text += FENCE;
                text += &group("db", &["lx4", "lx5"], "cascading", "needs = [\"lease-ended\"]", 100);
                text += &storage("sda");
                text += &group("web", &["lx5", "lx4"], "cascading", "", 101);
                text += GROUP_EVENT;
            }
            Self::Rotating => {
                text += FENCE;
                text += &group("db", &["lx4", "lx5"], "rotating", "needs = [\"lease-ended\"]", 100);
                text += &storage("sda");
                text += INSTANCE;
            }
            Self::ThreeNodes => {
                text += FENCE;
                text += &group("web", &["lx4", "lx5", "lx6"], "cascading", "", 100);
                let needs = "needs = [\"fenced\"]";
                text += &group("db", &["lx6", "lx4", "lx5"], "rotating", needs, 101);
                text += &storage("sda");
            }
        }
        text
    }

    /// Devices at the storage, and groups that need them.
    fn at_storage(self) -> String {
        let needs = "needs = [\"lease-ended\", \"storage\"]";
        let db = group("db", &["lx4", "lx5"], "cascading", needs, 100) + &storage("sda");
        if self == Self::Storage {
            return SAN.to_owned() + &db;
        }
        let needs = "needs = [\"lease-ended\", \"storage\", \"fenced\"]";
        let files = group("files", &["lx5", "lx4"], "cascading", needs, 101) + &storage("sdb1");
        [SAN, SECOND_SAN, &db, &files].concat()
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

const FENCE: &str = r#"
[[fence]]
name    = "power"
agent   = "/usr/sbin/fence_power"
nodes   = ["lx4", "lx5"]
action  = "reboot"
timeout = "2s"
"#;

const ARBITER: &str = r#"
[arbiter]
disk = "/dev/disk/by-id/area"
area = "00112233445566778899aabbccddeeff"
"#;

const FEEDS: &str = r#"
[[fence]]
name    = "feed-a"
agent   = "/usr/sbin/fence_pdu"
nodes   = ["lx4", "lx5"]
timeout = "2s"

[[fence]]
name    = "feed-b"
agent   = "/usr/sbin/fence_pdu"
nodes   = ["lx4", "lx5"]
timeout = "2s"

[[fence]]
name    = "bmc"
agent   = "/usr/sbin/fence_bmc"
nodes   = ["lx4", "lx5"]
level   = 2
timeout = "2s"
"#;

const SAN: &str = r#"
[[fence]]
name    = "san"
agent   = "/usr/sbin/fence_scsi"
kind    = "storage"
nodes   = ["lx4", "lx5"]
disks   = ["/dev/sda", "/dev/new-sda"]
timeout = "2s"
"#;

const SECOND_SAN: &str = r#"
[[fence]]
name    = "san-b"
agent   = "/usr/sbin/fence_scsi"
kind    = "storage"
nodes   = ["lx4", "lx5"]
disks   = ["/dev/sdb", "/dev/new-sdb"]
timeout = "2s"

[[fence]]
name    = "power"
agent   = "/usr/sbin/fence_power"
nodes   = ["lx4", "lx5"]
level   = 2
action  = "reboot"
timeout = "2s"
"#;

const INSTANCE: &str = r#"
[[instance]]
name      = "data"
kind      = "gtm"
directory = "/srv/sda/data"
port      = 1972
start_timeout = "3s"
stop_timeout  = "2s"
"#;

const CLIENTS: &str = r#"
[[group]]
name   = "clients"
nodes  = ["lx4", "lx5"]
policy = "concurrent"

  [[group.application]]
  name    = "client"
  start   = "/opt/client start"
  stop    = "/opt/client stop"
  status  = "/opt/client status"
  monitor = { interval = "1s", timeout = "1s", failures = 2 }
  start_timeout = "3s"
  stop_timeout  = "2s"
  restarts = 2
  window = "30s"
"#;

const EVENTS: &str = r#"
[[event]]
name           = "node_down"
pre            = "/opt/before"
post           = "/opt/after"
recovery       = "/opt/mend"
recovery_count = 1

[[event]]
name = "node_up"
pre  = "/opt/before"
post = "/opt/after"

[[event]]
name     = "rg_move"
pre      = "/opt/moving"
on_error = "continue"

[[event]]
name   = "start_server"
notify = "/opt/tell"

[[event]]
name = "event_error"
pre  = "/opt/mail"
"#;

const GROUP_EVENT: &str = r#"
  [[group.event]]
  name = "node_down"
  post = "/opt/web-is-here"
"#;

fn head(takeover: &str, third: Option<(&str, &str)>) -> String {
    let mut text = format!("[cluster]\nname = \"ward7\"\ntakeover = \"{takeover}\"\n");
    for (at, (table, name)) in [("node", "lx4"), ("node", "lx5")].into_iter().chain(third).enumerate() {
        let n = at + 4;
        text +=
            &format!("\n[[{table}]]\nname = \"{name}\"\naddresses = [\"10.77.0.{n}\", \"10.78.0.{n}\"]\n");
    }
    text
}

/// The same configuration with another `takeover`.
pub(crate) fn with_takeover(text: &str, takeover: &str) -> String {
    let line = |line: &str| match line.starts_with("takeover") {
        true => format!("takeover = \"{takeover}\"\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn node(name: &str, host: u8) -> String {
    witness(name, host).replace("[[witness]]", "[[node]]")
}

fn witness(name: &str, host: u8) -> String {
    format!("\n[[witness]]\nname = \"{name}\"\naddresses = [\"10.77.0.{host}\", \"10.78.0.{host}\"]\n")
}

fn group(name: &str, nodes: &[&str], policy: &str, needs: &str, host: u8) -> String {
    let nodes: Vec<String> = nodes.iter().map(|n| format!("\"{n}\"")).collect();
    format!(
        r#"
[[group]]
name   = "{name}"
nodes  = [{nodes}]
policy = "{policy}"
{needs}

  [[group.address]]
  address = "10.77.0.{host}/24"
  monitor = {{ interval = "1s", timeout = "1s", failures = 2 }}
  acquire_timeout = "2s"
  release_timeout = "2s"

  [[group.application]]
  name    = "{name}-app"
  start   = "/opt/{name} start"
  stop    = "/opt/{name} stop"
  status  = "/opt/{name} status"
  monitor = {{ interval = "1s", timeout = "1s", failures = 2 }}
  start_timeout = "3s"
  stop_timeout  = "2s"
  restarts = 2
  window = "30s"
"#,
        nodes = nodes.join(", ")
    )
}

/// A file system for the group that the text ends with.
fn storage(device: &str) -> String {
    format!(
        r#"
  [[group.filesystem]]
  device = "/dev/{device}"
  mount  = "/srv/{device}"
  type   = "ext4"
  monitor = {{ interval = "1s", timeout = "1s", failures = 2 }}
  acquire_timeout = "4s"
  release_timeout = "3s"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use regent_model::config::{Severity, parse};

    #[test]
    fn every_variant_is_a_good_configuration() {
        for variant in Variant::ALL {
            let text = variant.config();
            let parsed = parse(&text);
            let errors: Vec<_> = parsed.findings.iter().filter(|f| f.severity == Severity::Error).collect();
            assert!(parsed.config.is_some(), "{variant}: {errors:?}");
            assert_eq!(Variant::named(variant.name()), Some(variant));
        }
    }
}
