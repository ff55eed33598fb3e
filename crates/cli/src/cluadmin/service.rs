//! A service as this shell knows it: a group of the configuration, seen through the questions of the guide.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use regent_model::config::{Config, Failback, Failover, GroupConfig, Startup};
use toml_edit::{Item, Table};

use crate::clustat::seconds;
use crate::edit::{Editor, inners, text_of};

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Service {
    /// Its name.
    pub name: String,
    /// The member on which it runs if nothing else is so; none: whichever is there.
    pub preferred: Option<String>,
    /// Whether it goes to its preferred member when that one joins.
    pub relocate: bool,
    /// What starts, stops and checks it.
    pub script: Option<String>,
    /// How often it is checked, in seconds; 0 = never.
    pub interval: String,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Its disks.
    pub devices: Vec<Device>,
    /// What else its group holds, which these questions do not ask for.
    pub also: Vec<String>,
}

/// An address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Which of the configuration it is, from 0, if it is there already.
    pub at: Option<usize>,
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
    /// Its broadcast address, if it is another one than follows from the netmask.
    pub broadcast: Option<Ipv4Addr>,
    /// The interface that carries it, where no member has an address in its network.
    pub interface: Option<String>,
}

/// A disk of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// Which of the configuration it is, from 0, if it is there already.
    pub at: Option<usize>,
    /// The device special file.
    pub device: String,
    /// Where it is mounted.
    pub mount: String,
    /// The type of its file system.
    pub fstype: String,
    /// How it is mounted.
    pub options: Option<String>,
    /// Whether what keeps it busy is killed.
    pub force: bool,
    /// Under which name it is shared with Windows clients.
    pub share: Option<String>,
}

impl Address {
    /// The netmask; of IPv6 the length of the prefix.
    #[must_use]
    pub(super) fn netmask(&self) -> String {
        match self.address {
            IpAddr::V4(_) => mask(self.prefix).to_string(),
            IpAddr::V6(_) => self.prefix.to_string(),
        }
    }

    /// Whether this one is in its network.
    #[must_use]
    pub(super) fn is_beside(&self, other: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => (v4.to_bits() & mask(self.prefix).to_bits()).into(),
            IpAddr::V6(v6) => {
                let rest = 128_u32.saturating_sub(self.prefix.into());
                v6.to_bits().checked_shr(rest).unwrap_or_default()
            }
        };
        self.address.is_ipv4() == other.is_ipv4() && bits(self.address) == bits(other)
    }

    /// The broadcast address; of IPv6 none.
    #[must_use]
    pub(super) fn broadcast(&self) -> String {
        let computed = match self.address {
            IpAddr::V4(address) => {
                Some(Ipv4Addr::from_bits(address.to_bits() | !mask(self.prefix).to_bits()))
            }
            IpAddr::V6(_) => None,
        };
        self.broadcast.or(computed).map_or_else(|| NONE.to_owned(), |b| b.to_string())
    }
}

/// So much of a command is shown.
const SHORT: usize = 60;

/// The word for nothing.
pub(super) const NONE: &str = "None";

/// The netmask of a prefix.
#[must_use]
pub(super) fn mask(prefix: u8) -> Ipv4Addr {
    let bits = u32::MAX.checked_shl(u32::from(32_u8.saturating_sub(prefix))).unwrap_or_default();
    Ipv4Addr::from_bits(bits)
}

impl Service {
    /// The service of that name.
    #[must_use]
    pub(super) fn read(editor: &Editor, config: &Config, name: &str) -> Option<Self> {
        let table = editor.find("group", name)?;
        let group = config.groups_named(name).next()?;
        let script = script_place(table);
        let name_of = |at: usize| text_of(inners(table, "application")[at], "name");
        let application = script.and_then(name_of);
        let application =
            application.and_then(|name| group.applications.iter().find(|a| a.name.as_str() == name));
        let kept = |kind| inners(table, kind).into_iter().enumerate();
        Some(Self {
            name: name.to_owned(),
            preferred: preferred(group).map(str::to_owned),
            relocate: group.policy.failback != Failback::Never,
            script: script.and_then(|at| script_of(inners(table, "application")[at])),
            interval: application.map_or_else(|| "0".to_owned(), |a| seconds(a.monitor.interval)),
            addresses: kept("address").filter_map(|(at, t)| address(at, t)).collect(),
            devices: kept("filesystem").filter_map(|(at, t)| device(at, t, table)).collect(),
            also: [also(table, group, script), instances(editor, group)].concat(),
        })
    }
}

/// The member that a group prefers: one that is told to wait for it, or to go back to it.
fn preferred(group: &GroupConfig) -> Option<&str> {
    let policy = group.policy;
    let waits = policy.startup == Startup::Home;
    let returns = policy.startup != Startup::All && policy.failback != Failback::Never;
    (waits || returns).then(|| group.nodes.first().map(|n| n.as_str())).flatten()
}

/// Which application is the user script: the first that is run in its manner.
#[must_use]
pub(super) fn script_place(group: &Table) -> Option<usize> {
    inners(group, "application").into_iter().position(|t| script_of(t).is_some())
}

/// The script of an application: what is called with `start`, `stop` and `status`, and with nothing else.
#[must_use]
pub(super) fn script_of(application: &Table) -> Option<String> {
    if let Some(script) = text_of(application, "script") {
        return Some(script.to_owned());
    }
    let script = text_of(application, "start")?.strip_suffix(" start")?;
    let called = |line: Option<&str>, verb: &str| {
        line.is_none_or(|line| line.strip_suffix(verb).and_then(|l| l.strip_suffix(' ')) == Some(script))
    };
    let monitor = application.get("monitor").and_then(Item::as_table_like);
    let command = monitor.and_then(|m| m.get("command")).and_then(Item::as_str);
    let is_script = text_of(application, "stop").is_some()
        && called(text_of(application, "stop"), "stop")
        && called(text_of(application, "status"), "status")
        && called(command, "status");
    is_script.then(|| script.to_owned())
}

fn address(at: usize, table: &Table) -> Option<Address> {
    let (address, prefix) = text_of(table, "address")?.split_once('/')?;
    let broadcast = text_of(table, "broadcast").and_then(|b| b.parse().ok());
    let interface = text_of(table, "interface").map(str::to_owned);
    let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
    Some(Address { at: Some(at), address, prefix, broadcast, interface })
}

/// A file system of the service, if it is on a disk that the members share.
pub(super) fn device(at: usize, table: &Table, group: &Table) -> Option<Device> {
    let local = table.get("local").and_then(Item::as_bool).unwrap_or_default();
    let fstype = text_of(table, "type")?.to_owned();
    if local || fstype == "bind" {
        return None;
    }
    let mount = text_of(table, "mount")?.to_owned();
    let options = match table.get("options") {
        Some(item) if item.is_str() => item.as_str().map(str::to_owned),
        Some(item) => {
            item.as_array().map(|list| list.iter().filter_map(|o| o.as_str()).collect::<Vec<_>>().join(","))
        }
        None => None,
    };
    Some(Device {
        at: Some(at),
        device: text_of(table, "device")?.to_owned(),
        share: share_of(group, &mount),
        mount,
        fstype,
        options: options.filter(|o| !o.is_empty()),
        force: table.get("force_unmount").and_then(Item::as_bool).unwrap_or(true),
    })
}

/// The name under which what is mounted there is shared.
fn share_of(group: &Table, mount: &str) -> Option<String> {
    let share = inners(group, "share").into_iter().find(|t| text_of(t, "path") == Some(mount))?;
    text_of(share, "name").map(str::to_owned)
}

/// The database instances on the service's file systems.
fn instances(editor: &Editor, group: &GroupConfig) -> Vec<String> {
    let is_on =
        |directory: &str| group.filesystems.iter().any(|f| Path::new(directory).starts_with(&f.mount));
    let names = editor.names("instance").into_iter();
    names
        .filter(|name| editor.find("instance", name).and_then(|t| text_of(t, "directory")).is_some_and(is_on))
        .map(|name| format!("instance {name}"))
        .collect()
}

/// The beginning of a command, on one line.
fn in_short(command: &str) -> String {
    let line = command.trim().lines().next().unwrap_or_default();
    let short: String = line.chars().take(SHORT).collect();
    if short.len() < command.trim().len() { format!("{short}...") } else { short }
}

/// What a group holds beyond the questions of this shell.
fn also(table: &Table, group: &GroupConfig, script: Option<usize>) -> Vec<String> {
    let mut out = Vec::new();
    let policy = group.policy;
    match policy.startup {
        Startup::All => out.push("runs on every member at once".to_owned()),
        Startup::Distribute => out.push("starts where no other such service runs".to_owned()),
        Startup::Home | Startup::FirstAvailable => {}
    }
    if policy.startup != Startup::All && policy.failover != Failover::Next {
        out.push(format!("failover: {}", policy.failover.word()));
    }
    for (at, application) in inners(table, "application").into_iter().enumerate() {
        let name = text_of(application, "name").unwrap_or_default();
        match text_of(application, "start") {
            _ if script == Some(at) => {}
            Some(start) => out.push(format!("application {name}: {}", in_short(start))),
            None => out.push(format!("application {name}")),
        }
    }
    for kind in ["address", "filesystem", "share"] {
        if let Some(value) = table.get(kind).and_then(Item::as_value) {
            out.push(format!("{kind} = {}", in_short(&value.clone().decorated("", "").to_string())));
        }
    }
    for address in &group.addresses {
        out.extend(address.interface.as_ref().map(|i| format!("{} on interface {i}", address.address)));
    }
    for filesystem in &group.filesystems {
        if !filesystem.is_shared() {
            out.push(format!("{} on {}", filesystem.mount.display(), filesystem.device.display()));
        }
    }
    for share in inners(table, "share") {
        let path = text_of(share, "path").unwrap_or_default();
        if !group.filesystems.iter().any(|f| f.mount.as_os_str() == path) {
            out.push(format!("share {} of {path}", text_of(share, "name").unwrap_or_default()));
        }
    }
    out.extend(group.volumes.iter().map(|v| format!("volume {}", v.name)));
    let count = |kind: &str, one: &str, many: &str| match inners(table, kind).len() {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    out.extend(count("event", "command around a cluster event", "commands around cluster events"));
    out.extend(group.relations.parent.as_ref().map(|p| format!("runs only while {p} does")));
    for key in [
        "after",
        "same_node_as",
        "different_node_from",
        "failback_at",
        "failback_after",
        "release",
        "hostname",
    ] {
        if let Some(value) = table.get(key).and_then(Item::as_value) {
            out.push(format!("{key} = {}", value.clone().decorated("", "")));
        }
    }
    out
}
