//! Fence devices: reading `[[fence]]`, and the order in which a node's devices are tried.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::draft::{Draft, FenceDraft};
use super::finding::{Finding, Findings};
use super::members::free_table;
use super::reader::{Reader, Zero};
use super::storage_fence::Barrier;
use super::tree::{At, Table};
use super::{Config, scalar, storage_fence};
use crate::ids::NodeName;

/// How long one call of a fence agent may take, unless the configuration says otherwise.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Calls of a fence agent until a node is confirmed off: status, off, and status until it says off.
const CALLS: u32 = 3;

/// Options that Regent itself gives to a fence agent.
const RESERVED: [&str; 4] = ["action", "plug", "port", "nodename"];

/// What stands in the place of a secret where a configuration is shown to whoever may not have it.
pub const HIDDEN: &str = "(not shown)";

/// Whether the option of a fence device of this name keeps a secret. The path of a script that prints one is none.
#[must_use]
pub fn is_secret(option: &str) -> bool {
    const WORDS: [&str; 8] =
        ["passw", "passphrase", "secret", "privkey", "token", "community", "_pass", "api_key"];
    let option = option.to_ascii_lowercase();
    !option.ends_with("_script")
        && (WORDS.iter().any(|word| option.contains(word)) || option.contains("apikey") || option == "pass")
}

/// What a fence device does to a node that must be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceAction {
    /// Off, confirmed, and on again if it was on.
    Reboot,
    /// Off, confirmed; a person brings it back.
    Off,
}

/// What a fence device cuts a node off from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceKind {
    /// Its power, or it stops the machine as a whole: everything on it ends.
    Power,
    /// Disks. The machine, its addresses and its processes go on.
    Storage,
}

/// A fence device: an executable that speaks the fence agent interface (options as `key=value` lines on its
/// standard input; actions `status`, `off`, `on`; for `status` exit 0 is on and 2 is off).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceConfig {
    /// The device's name.
    pub name: String,
    /// What it cuts a node off from.
    pub kind: FenceKind,
    /// The disks that it cuts a node off from, whole, as every one of its nodes calls them; none for one that cuts power.
    pub disks: Vec<PathBuf>,
    /// The executable.
    pub agent: PathBuf,
    /// The nodes it can cut.
    pub nodes: Vec<NodeName>,
    /// The key by which each of its nodes is known at the disks; none for one that cuts power.
    pub keys: BTreeMap<NodeName, String>,
    /// What the device calls a node (`plug`), where it differs from the node's name.
    pub plugs: BTreeMap<NodeName, String>,
    /// Further options for the agent.
    pub options: BTreeMap<String, String>,
    /// What to do.
    pub action: FenceAction,
    /// When it is tried: all devices of a node's lowest level together, those of the next when that fails.
    pub level: u8,
    /// How long one call of the agent may take.
    pub timeout: Duration,
    /// How many more times it is tried before it, and with it its level, has failed.
    pub retries: u32,
    /// What it waits before it cuts a node that [`Self::delays`] does not name.
    pub delay: Duration,
    /// What it waits before it cuts these nodes.
    pub delays: BTreeMap<NodeName, Duration>,
}

impl FenceConfig {
    /// What it waits before it cuts `victim`.
    #[must_use]
    pub fn delay_of(&self, victim: &NodeName) -> Duration {
        self.delays.get(victim).copied().unwrap_or(self.delay)
    }

    /// The longest that it may take until it has confirmed that `victim` is off, or has failed.
    #[must_use]
    pub fn limit(&self, victim: &NodeName) -> Duration {
        // One at the storage is asked before and afterwards whether who operates it is registered.
        let itself = if self.kind == FenceKind::Storage { 2 } else { 0 };
        let tries = CALLS.saturating_mul(self.retries.saturating_add(1)).saturating_add(itself);
        self.delay_of(victim).saturating_add(self.timeout.saturating_mul(tries))
    }

    /// The longest that it may take to say whether a node is off.
    #[must_use]
    pub fn check_limit(&self) -> Duration {
        self.timeout.saturating_mul(if self.kind == FenceKind::Storage { 2 } else { 1 })
    }

    /// What the agent said, without the values of options that are secret: its output is told and kept, and one that is
    /// talkative repeats what it was given.
    #[must_use]
    pub fn without_secrets(&self, output: String) -> String {
        let shown = self.options.iter().filter(|(key, value)| is_secret(key) && !value.is_empty());
        let mut values: Vec<&str> = shown.map(|(_, value)| value.as_str()).collect();
        // One may be a part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(output, |text, value| text.replace(value, "[hidden]"))
    }
}

/// The devices of one level of a node: together they cut it off, and each must confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceLevel<'a> {
    /// Its number.
    pub level: u8,
    /// Its devices, in the order of the file; at least one.
    pub devices: Vec<&'a Arc<FenceConfig>>,
}

impl FenceLevel<'_> {
    /// Whether it cuts off from disks: one of its devices does, and so it proves nothing about the rest of the machine.
    #[must_use]
    pub fn is_storage(&self) -> bool {
        self.devices.iter().any(|device| device.kind == FenceKind::Storage)
    }

    /// What its devices at the storage cut a node off from, by their names.
    #[must_use]
    pub fn barriers(&self) -> BTreeMap<String, Barrier> {
        self.devices.iter().filter_map(|device| Some((device.name.clone(), device.barrier()?))).collect()
    }

    /// The longest that it may take until `victim` is confirmed off, or the level has failed. The devices work at
    /// the same time; where there are several, each is asked once more when all are through.
    #[must_use]
    pub fn limit(&self, victim: &NodeName) -> Duration {
        let most = |of: &dyn Fn(&FenceConfig) -> Duration| {
            self.devices.iter().map(|device| of(device)).max().unwrap_or_default()
        };
        let again =
            if self.devices.len() > 1 { most(&|device| device.check_limit()) } else { Duration::ZERO };
        most(&|device| device.limit(victim)).saturating_add(again)
    }
}

impl Config {
    /// The fence devices that can cut `node`, in the order of the file.
    pub fn fences_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a Arc<FenceConfig>> {
        self.fences.iter().filter(move |f| f.nodes.contains(node))
    }

    /// The levels of fence devices of `node`, in the order in which they are tried.
    #[must_use]
    pub fn fence_levels(&self, node: &NodeName) -> Vec<FenceLevel<'_>> {
        let mut levels: BTreeMap<u8, Vec<&Arc<FenceConfig>>> = BTreeMap::new();
        for device in self.fences.iter().filter(|f| f.nodes.contains(node)) {
            levels.entry(device.level).or_default().push(device);
        }
        levels.into_iter().map(|(level, devices)| FenceLevel { level, devices }).collect()
    }
}

/// Reads a `[[fence]]`.
pub(super) fn fence(table: Table, findings: &mut Findings) -> FenceDraft {
    let mut reader = Reader::new("[[fence]]", table, findings);
    let name = reader.need_name("\"power\"");
    let agent = reader.need_path("agent", "agent", "\"/usr/sbin/fence_ipmilan\"");
    reader.require("nodes", "[\"lx4\", \"lx5\"]");
    let nodes = reader.texts("nodes", "[\"lx4\", \"lx5\"]");
    let plugs = free_table(&mut reader, "plugs", "{ lx4 = \"3\" }", &[]);
    let kind = reader.choice("kind", &[("power", FenceKind::Power), ("storage", FenceKind::Storage)]);
    let is_storage = kind.as_ref().is_some_and(|kind| kind.value == FenceKind::Storage);
    let disks = storage_fence::disks(&mut reader, kind.as_ref());
    let reserved: Vec<&str> = match is_storage {
        true => RESERVED.into_iter().chain(storage_fence::GIVEN).collect(),
        false => RESERVED.to_vec(),
    };
    let options = free_table(&mut reader, "options", "{ ip = \"10.77.0.9\" }", &reserved);
    let action = reader.choice("action", &[("reboot", FenceAction::Reboot), ("off", FenceAction::Off)]);
    let level = reader.number("level", 1..=9, "1").map_or(1, |l| l.value);
    let timeout = reader.duration_or("timeout", TIMEOUT, "\"20s\"");
    let retries = reader.number("retries", 0..=10, "1").map_or(0, |r| r.value);
    let (delay, delays) = delay(&mut reader);
    reader.finish();
    let named =
        |texts: &[At<String>]| texts.iter().map(|t| NodeName::new(&t.value).ok()).collect::<Option<Vec<_>>>();
    let config = (|| {
        Some(FenceConfig {
            name: name.as_ref()?.value.clone(),
            kind: kind.map_or(FenceKind::Power, |kind| kind.value),
            disks: disks.iter().map(|disk| disk.value.clone()).collect(),
            agent: agent?.value,
            nodes: named(&nodes.as_ref()?.value)?,
            keys: BTreeMap::new(),
            plugs: plugs
                .iter()
                .map(|(node, plug)| Some((NodeName::new(&node.value).ok()?, plug.clone())))
                .collect::<Option<_>>()?,
            options: options.iter().map(|(key, value)| (key.value.clone(), value.clone())).collect(),
            action: action
                .map_or(if is_storage { FenceAction::Off } else { FenceAction::Reboot }, |a| a.value),
            level: u8::try_from(level).unwrap_or(u8::MAX),
            timeout,
            retries,
            delay,
            delays: delays
                .iter()
                .map(|(node, delay)| Some((NodeName::new(&node.value).ok()?, *delay)))
                .collect::<Option<_>>()?,
        })
    })();
    let plugs = plugs.into_iter().map(|(node, _)| node).collect();
    let hidden = options.into_iter().filter(|(_, value)| value == HIDDEN).map(|(key, _)| key).collect();
    FenceDraft {
        name,
        disks,
        nodes,
        plugs,
        hidden,
        delays: delays.into_iter().map(|(node, _)| node).collect(),
        config,
    }
}

/// A text that was shown without its secrets must not come into force: it would replace them.
pub(super) fn no_secret_is_missing(draft: &Draft, findings: &mut Findings) {
    for option in draft.fences.iter().flat_map(|fence| &fence.hidden) {
        let message = format!(
            "the value of `{}` is missing: this came from `config show` by somebody without the role admin",
            option.value.escape_debug()
        );
        let help = "write the value, or begin with what an admin is shown: regent config show";
        findings.add(Finding::error(&option.span, message).help(help));
    }
}

impl FenceConfig {
    /// The option whose value is not known here, because the configuration was shown to somebody who may not have it.
    #[must_use]
    pub fn hidden_option(&self) -> Option<&str> {
        self.options.iter().find(|(_, value)| *value == HIDDEN).map(|(key, _)| key.as_str())
    }
}

/// `delay`: one duration, or one for each of some nodes.
fn delay(reader: &mut Reader<'_>) -> (Duration, Vec<(At<String>, Duration)>) {
    const EXAMPLE: &str = "{ lx4 = \"2s\" }";
    if !reader.is_table("delay") {
        let all = reader.duration("delay", Zero::Allowed, "\"2s\"");
        return (all.map_or(Duration::ZERO, |d| d.value), Vec::new());
    }
    let mut delays = Vec::new();
    for (node, text) in free_table(reader, "delay", EXAMPLE, &[]) {
        match scalar::duration(&text) {
            Ok(delay) => delays.push((node, delay)),
            Err(_) => {
                let message = format!("`delay.{}` is no duration: {:?}", node.value.escape_debug(), text);
                let finding = Finding::error(&node.span, message).help(format!("write delay = {EXAMPLE}"));
                reader.findings.add(finding);
            }
        }
    }
    (Duration::ZERO, delays)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_an_agent_repeats_of_its_secrets_is_hidden_also_where_one_is_a_part_of_another() {
        let text = r#"
[cluster]
name = "w"
[[node]]
name = "lx4"
addresses = ["10.0.0.4"]
[[fence]]
name = "bmc"
agent = "/usr/sbin/fence_ipmilan"
nodes = ["lx4"]
options = { community = "geheim", password = "geheimer", password_script = "/etc/bmc", ip = "10.0.0.9" }
"#;
        let config = crate::config::parse(text).config.unwrap();
        let shown = config.fences[0].without_secrets("geheimer, geheim, /etc/bmc, 10.0.0.9".to_owned());
        assert_eq!(shown, "[hidden], [hidden], /etc/bmc, 10.0.0.9");
    }
}
