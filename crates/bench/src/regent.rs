//! Regent itself, brought up by the commands that a user types.

use std::time::{Duration, Instant};

use regent_api::Status;
use regent_lab::{FENCE_AGENT, Lab, LabSpec, MachineSpec, Role};
use regent_model::journal::Entry;
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde_json::{Value, json};

use crate::Result;
use crate::contestant::{Contestant, said};
use crate::service::{DEVICE, Kind, MOUNT, NODES, PREFIX, SERVICE, ledger_words, peer};
use crate::stand::{answering, at_boot};
use crate::steps::{Step, general};
use crate::watch::ms;

const CONFIG: &str = "/etc/bench.toml";
const GROUP: &str = "service";
const PATIENCE: Duration = Duration::from_secs(30);

/// Regent with a profile and a group.
pub(crate) struct Regent {
    /// `takeover`, as the user writes it.
    pub(crate) profile: &'static str,
    /// What the group consists of.
    pub(crate) kind: Kind,
}

impl Regent {
    fn config(&self) -> String {
        let mut text = format!("[cluster]\nname     = \"bench\"\ntakeover = \"{}\"\n", self.profile);
        for (what, name, host) in [("node", NODES[0], 4), ("node", NODES[1], 5), ("witness", "wit", 3)] {
            text += &format!(
                "\n[[{what}]]\nname      = \"{name}\"\naddresses = [\"10.77.0.{host}\", \"10.78.0.{host}\"]\n"
            );
        }
        if self.kind == Kind::Ext4 {
            text += &format!(
                "\n[[fence]]\nname  = \"power\"\nagent = \"{FENCE_AGENT}\"\nnodes = [\"lx4\", \"lx5\"]\n"
            );
        }
        text += &format!(
            "\n[[group]]\nname   = \"{GROUP}\"\nnodes  = [\"lx4\", \"lx5\"]\npolicy = \"rotating\"\n"
        );
        if self.kind == Kind::Ext4 {
            text += &format!(
                "\n  [[group.filesystem]]\n  device = \"{DEVICE}\"\n  mount  = \"{MOUNT}\"\n  type   = \"ext4\"\n"
            );
        }
        text += &format!("\n  [[group.address]]\n  address = \"{SERVICE}/{PREFIX}\"\n");
        if self.kind != Kind::Address {
            let start = ledger_words(self.kind.folder()).join(" ");
            // It is killed in every run, which is no reason to leave the node.
            text += &format!(
                "\n  [[group.application]]\n  name       = \"ledger\"\n  start      = \"exec {start}\"\n  \
                 foreground = true\n  restarts   = 1000\n"
            );
        }
        text
    }

    /// What the first machine says that answers and is in touch with a majority.
    fn status(lab: &Lab) -> Option<Status> {
        ["wit", "lx5", "lx4"].iter().find_map(|machine| {
            let text = said(lab, machine, &["regent", "status", "--json"]).ok()?;
            serde_json::from_str(&text).ok().filter(|s: &Status| s.quorate)
        })
    }
}

impl Contestant for Regent {
    fn prepare(&self, spec: &mut LabSpec) {
        let run = "exec regent node run\n";
        let folder = "mkdir -p /run/ledger\n";
        at_boot(spec, Role::Node, &format!("{folder}{}{run}", answering(self.kind)));
        at_boot(spec, Role::Witness, run);
        *spec = spec.clone().file(CONFIG, 0o644, self.config());
    }

    fn form(&self, lab: &Lab) -> Result<()> {
        let spec = lab.folder().record()?.spec;
        let member = |machine: &MachineSpec, words: &[&str]| -> Result<()> {
            let mut line: Vec<String> =
                std::iter::once("regent").chain(words.iter().copied()).map(str::to_owned).collect();
            line.extend(["--node".to_owned(), machine.name.clone()]);
            for address in (0..machine.addresses.len()).filter_map(|network| machine.address(network)) {
                line.extend(["--address".to_owned(), address.to_string()]);
            }
            said(lab, &machine.name, &line).map(|_| ())
        };
        let machine = |name: &str| spec.machine(name).ok_or("no such machine");
        member(machine(NODES[0])?, &["init", "bench"])?;
        let end = Instant::now() + PATIENCE;
        while Self::status(lab).is_none() {
            if Instant::now() > end {
                return Err("the first node does not become a cluster".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let token = |words: &[&str]| said(lab, NODES[0], words);
        member(machine(NODES[1])?, &["join", token(&["regent", "token"])?.trim()])?;
        member(machine("wit")?, &["witness", token(&["regent", "token", "--witness"])?.trim()])?;
        said(lab, NODES[0], &["regent", "apply", CONFIG]).map(|_| ())
    }

    fn is_steady(&self, lab: &Lab) -> bool {
        let well = |status: &Status| {
            let nodes = status.nodes.len() == 3 && status.nodes.iter().all(|n| n.voter && n.state == "up");
            nodes && !status.groups.is_empty() && status.groups.iter().all(|g| g.state == "online")
        };
        Self::status(lab).is_some_and(|status| well(&status))
    }

    fn order_move(&self, lab: &Lab, from: &str, to: &str) -> Result<()> {
        said(lab, from, &["regent", "group", "move", GROUP, to]).map(|_| ())
    }

    fn steps(&self, lab: &Lab, from: u64, until: u64, owner: &str) -> Vec<Step> {
        let ask = |m: &str| said(lab, m, &["regent", "events", "--json", "--last", "400"]).ok();
        let texts: Vec<String> = ["wit", peer(owner)].into_iter().filter_map(ask).collect();
        let Some(text) = texts.iter().max_by_key(|t| t.len()) else { return Vec::new() };
        let entries: Vec<Entry> = serde_json::from_str(text).unwrap_or_default();
        let roles = [(owner.to_owned(), "OLD".to_owned()), (peer(owner).to_owned(), "NEW".to_owned())];
        let roles: Vec<_> = roles.into_iter().chain([("wit".to_owned(), "WIT".to_owned())]).collect();
        let ahead = boot_clock_ahead();
        let mut found = Vec::new();
        for entry in entries {
            let at = entry.at.0.saturating_sub(ahead);
            if (from..until).contains(&at) {
                let who = general(entry.node.as_str(), &roles);
                found.push(Step {
                    what: format!("{who}  {}", general(&entry.text, &roles)),
                    at_ms: ms(at - from),
                    took_ms: entry.took.map(|t| t.as_secs_f64() * 1e3),
                });
            }
        }
        found
    }

    fn evidence(&self, lab: &Lab) -> String {
        let mut text = String::new();
        for machine in [NODES[0], NODES[1], "wit"] {
            for words in [&["regent", "status"][..], &["regent", "events", "--last", "80"]] {
                let answer = said(lab, machine, words).unwrap_or_else(|why| why.to_string());
                text += &format!("---- {} on {machine}\n{answer}\n", words.join(" "));
            }
        }
        text
    }

    fn about(&self, lab: &Lab) -> Value {
        let version = said(lab, NODES[0], &["regent", "--version"]).unwrap_or_default();
        json!({ "version": version.trim(), "configuration": self.config() })
    }
}

/// The journal's clock is the boot clock, the lab's the monotonic one; they differ by the time the machine slept.
fn boot_clock_ahead() -> u64 {
    let ns = |t: Timespec| {
        u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
    };
    ns(clock_gettime(ClockId::Boottime)).saturating_sub(ns(clock_gettime(ClockId::Monotonic)))
}
