//! Reads `[[instance]]`: a database that one group's storage holds and that runs where the group is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::data_servers;
use super::finding::{Finding, Findings, Span};
use super::limits;
use super::reader::Reader;
use super::scalar::{self, Refused, refused};
use super::tree::{At, Table};
use super::{Diagnose, MonitorTimes, RestartLimits, diagnose};
use crate::ids::{INSTANCE_NAME_BYTES_MAX, InstanceName, ResourceName};

/// The first port that is proposed for an instance: what the vendor's installation begins with.
pub const FIRST_INSTANCE_PORT: u16 = 1972;

/// The file of a GT.M instance's database, in its directory.
pub const GTM_DATABASE: &str = "mumps.dat";

/// The port of a license server, where none is written.
pub const LICENSE_PORT: u16 = 4001;

/// The most servers that an instance can be set up for, of each kind.
const SERVERS_MAX: u32 = 254;

const START_TIMEOUT: Duration = Duration::from_secs(600);
/// Off: an instance that somebody took down is no failure of its group.
const MONITOR: MonitorTimes = MonitorTimes::new(Duration::ZERO, Duration::from_secs(30), 2);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// What an instance is, and so how it is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceKind {
    /// A GT.M database with journals, served to others by GT.CM.
    Gtm,
    /// Caché, driven by its own `ccontrol`.
    Cache,
    /// IRIS, driven by its own `iris`.
    Iris,
    /// Anything else, driven by commands of the configuration.
    Command,
}

impl InstanceKind {
    /// Whether Regent itself sees to it that it listens at its service address alone.
    pub(super) fn is_bound(self) -> bool {
        self == Self::Gtm
    }

    /// The words of the configuration.
    pub(super) const WORDS: [(&'static str, Self); 4] =
        [("gtm", Self::Gtm), ("cache", Self::Cache), ("iris", Self::Iris), ("command", Self::Command)];

    /// The file of its own settings below its directory, where it has one: GT.M's is its global directory.
    #[must_use]
    pub fn settings_file(self) -> Option<&'static str> {
        match self {
            Self::Cache => Some("cache.cpf"),
            Self::Iris => Some("iris.cpf"),
            Self::Gtm => Some("mumps.gld"),
            Self::Command => None,
        }
    }

    /// The word of the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("command", |(word, _)| word)
    }
}

/// Another instance whose data this one uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataServer {
    /// What this instance calls it.
    pub name: InstanceName,
    /// Where it answers, wherever it runs.
    pub address: SocketAddr,
    /// The file of its database, where its server finds it; known of an instance of the same configuration.
    pub database: Option<PathBuf>,
    /// The globals that live there: `Y`, or `Y*` for all that begin so.
    pub globals: Vec<String>,
}

impl DataServer {
    /// What GT.M calls it: the name in `GTCM_name` and before the colon of a segment's file. It has letters and digits
    /// alone, so that two names can be one to GT.M.
    #[must_use]
    pub fn gtm_name(name: &str) -> String {
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    }
}

/// What of a data server's data an instance uses.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    pub(super) database: Option<At<PathBuf>>,
    pub(super) globals: Vec<At<String>>,
}

/// What drives an instance of the kind `command`: lines for `/bin/sh -c`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceCommands {
    /// Brings it up.
    pub start: Option<String>,
    /// Takes it down.
    pub stop: Option<String>,
    /// Takes it down when `stop` does not.
    pub force: Option<String>,
    /// Exit 0: it runs. Without it: while something lives in its control group.
    pub status: Option<String>,
    /// Prints its version.
    pub version: Option<String>,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceConfig {
    /// Its name.
    pub name: InstanceName,
    /// The name of its resource.
    pub resource: ResourceName,
    /// What it is.
    pub kind: InstanceKind,
    /// Where it is installed: on a shared file system of its group.
    pub directory: PathBuf,
    /// The port that it listens on.
    pub port: u16,
    /// The service address that it listens on; none where its group has none.
    pub address: Option<IpAddr>,
    /// Whether it is started with its group; otherwise by the group's applications, or by hand.
    pub autostart: bool,
    /// Whether it is the one that is meant where none is named.
    pub default: bool,
    /// Whether it serves others, and uses what others serve.
    pub networked: bool,
    /// The instances whose data it uses.
    pub data_servers: Vec<DataServer>,
    /// How many data servers it may use at most.
    pub max_data_servers: u32,
    /// How many others may use it at most.
    pub max_application_servers: u32,
    /// The license servers: real addresses of machines.
    pub license_servers: Vec<SocketAddr>,
    /// Where the product is: the folder of GT.M, or the vendor's own command.
    pub vendor: Option<PathBuf>,
    /// Who its processes are; root if absent.
    pub user: Option<String>,
    /// How it is driven, where its kind is `command`.
    pub commands: InstanceCommands,
    /// What is looked at before a failure of it is acted on.
    pub diagnose: Option<Diagnose>,
    /// How long a start may take, recovery included.
    pub start_timeout: Duration,
    /// How long a stop may take; then it is forced down.
    pub stop_timeout: Duration,
    /// How it is monitored; by default not at all. One that is down because it was not started, or was taken down by
    /// hand, is well.
    pub monitor: MonitorTimes,
    /// Retries and restarts.
    pub limits: RestartLimits,
    /// The group's [`super::GroupConfig::hostname`].
    pub hostname: Option<String>,
}

impl InstanceConfig {
    /// Every command line of it, with its key.
    #[must_use]
    pub fn commands(&self) -> Vec<(&'static str, &str)> {
        let InstanceCommands { start, stop, force, status, version } = &self.commands;
        let all =
            [("start", start), ("stop", stop), ("force", force), ("status", status), ("version", version)];
        let own = all.into_iter().filter_map(|(key, line)| Some((key, line.as_deref()?)));
        let diagnose = self.diagnose.iter().filter_map(|d| Some(("diagnose", d.command.as_deref()?)));
        own.chain(diagnose).collect()
    }
}

/// Names of data servers, each with its address, and its port if one is written.
pub(super) type Servers = Vec<(At<String>, At<(IpAddr, Option<u16>)>)>;

#[derive(Debug)]
pub(super) struct InstanceDraft {
    pub(super) header: Span,
    pub(super) name: Option<At<String>>,
    pub(super) kind: Option<At<InstanceKind>>,
    pub(super) directory: Option<At<PathBuf>>,
    pub(super) port: Option<At<u16>>,
    pub(super) address: Option<At<IpAddr>>,
    pub(super) default: Option<At<bool>>,
    pub(super) networked: Option<At<bool>>,
    /// Name, address, and port if one is written.
    pub(super) data_servers: Servers,
    /// What is used of them, by their names in upper case.
    pub(super) mappings: BTreeMap<String, Mapping>,
    pub(super) max_data_servers: u32,
    /// Where the maximum is written, if it is.
    pub(super) max_span: Option<Span>,
    pub(super) license_servers: Vec<At<SocketAddr>>,
    /// All but address, data servers and host name, which the rest of the file decides.
    pub(super) config: Option<InstanceConfig>,
}

impl InstanceDraft {
    /// Its name for a message.
    pub(super) fn title(&self) -> &str {
        self.name.as_ref().map_or("this instance", |n| &n.value)
    }

    /// Where a finding about the instance as a whole points.
    pub(super) fn place(&self) -> &Span {
        self.name.as_ref().map_or(&self.header, |n| &n.span)
    }

    /// Its name, as it counts.
    pub(super) fn upper(&self) -> Option<String> {
        self.name.as_ref().map(|n| n.value.to_ascii_uppercase())
    }
}

pub(super) fn instance(table: Table, findings: &mut Findings) -> InstanceDraft {
    let mut reader = Reader::new("[[instance]]", table, findings);
    let header = reader.header.clone();
    let name = name(&mut reader);
    reader.require("kind", "\"gtm\"");
    let kind = reader.choice("kind", &InstanceKind::WORDS);
    let directory = reader.need_path("directory", "directory", "\"/storage2/cacheha1\"");
    let port = port(&mut reader);
    let address = reader.text("address", "\"192.9.202.197\"");
    let address = reader.checked("address", address, scalar::address);
    let autostart = reader.flag("autostart").is_some_and(|a| a.value);
    let default = reader.flag("default");
    let networked = reader.flag("networked");
    let (data_servers, mappings) = data_servers::read(&mut reader);
    let max = reader.number("max_data_servers", 0..=SERVERS_MAX, "2");
    let (max_data_servers, max_span) = (max.as_ref().map_or(2, |m| m.value), max.map(|m| m.span));
    let max_application_servers =
        reader.number("max_application_servers", 0..=SERVERS_MAX, "1").map_or(1, |m| m.value);
    let license_servers = license_servers(&mut reader);
    let vendor = reader.path("vendor", "product's place", "\"/usr/lib/fis-gtm\"").map(|v| v.value);
    let user = reader.text("user", "\"cacheusr\"").map(|u| u.value);
    let commands = commands(&mut reader, kind.as_ref());
    let diagnose = diagnose::read(&mut reader, "instance.diagnose");
    let start_timeout = reader.duration_or("start_timeout", START_TIMEOUT, "\"10m\"");
    let stop_timeout = reader.duration_or("stop_timeout", STOP_TIMEOUT, "\"60s\"");
    let monitor = limits::monitor(&mut reader, "instance.monitor", MONITOR).times;
    let limits = limits::limits(&mut reader);
    reader.finish();
    let config = (|| {
        let name = InstanceName::new(&name.as_ref()?.value).ok()?;
        Some(InstanceConfig {
            resource: name.resource(),
            name,
            kind: kind.as_ref()?.value,
            directory: directory.as_ref()?.value.clone(),
            port: port.as_ref()?.value,
            address: None,
            autostart,
            default: default.as_ref().is_some_and(|d| d.value),
            networked: networked.as_ref().is_none_or(|n| n.value),
            data_servers: Vec::new(),
            max_data_servers,
            max_application_servers,
            license_servers: license_servers.iter().map(|l| l.value).collect(),
            vendor,
            user,
            commands,
            diagnose,
            start_timeout,
            stop_timeout,
            monitor,
            limits,
            hostname: None,
        })
    })();
    InstanceDraft {
        header,
        name,
        kind,
        directory,
        port,
        address,
        default,
        networked,
        data_servers,
        mappings,
        max_data_servers,
        max_span,
        license_servers,
        config,
    }
}

fn name(reader: &mut Reader<'_>) -> Option<At<String>> {
    let name = reader.need_name("\"cacheha1\"");
    if let Some(name) = name.as_ref().filter(|n| n.value.len() > INSTANCE_NAME_BYTES_MAX) {
        let message = format!("the name of an instance has at most {INSTANCE_NAME_BYTES_MAX} bytes");
        reader.findings.add(Finding::error(&name.span, message).help("write a shorter one: \"cacheha1\""));
    }
    name
}

fn port(reader: &mut Reader<'_>) -> Option<At<u16>> {
    let example = FIRST_INSTANCE_PORT.to_string();
    reader.require("port", &example);
    let port = reader.number("port", 1..=65535, &example)?;
    Some(At::new(u16::try_from(port.value).ok()?, port.span))
}

/// `license_servers = ["10.77.0.4", "10.77.0.5:4001"]`.
fn license_servers(reader: &mut Reader<'_>) -> Vec<At<SocketAddr>> {
    let list = reader.texts("license_servers", "[\"10.77.0.4:4001\", \"10.77.0.5:4001\"]");
    let mut servers = Vec::new();
    for text in list.into_iter().flat_map(|l| l.value) {
        let server = reader.checked("license_servers", Some(text), host_and_port);
        servers.extend(server.map(|at| {
            let (address, port) = at.value;
            At::new(SocketAddr::new(address, port.unwrap_or(LICENSE_PORT)), at.span)
        }));
    }
    servers
}

/// `192.9.202.198`, `192.9.202.198:1973`, `fd00::8`, `[fd00::8]:1973`.
pub(super) fn host_and_port(text: &str) -> Result<(IpAddr, Option<u16>), Refused> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        if both.port() == 0 {
            return refused(
                format!("`{text}`: nobody listens on port 0"),
                "write the port that it listens on",
            );
        }
        return scalar::address(&both.ip().to_string()).map(|ip| (ip, Some(both.port())));
    }
    if text.parse::<IpAddr>().is_err()
        && let Some((host, port)) = text.rsplit_once(':')
        && host.parse::<IpAddr>().is_ok()
    {
        return refused(
            format!("`{port}` is no port"),
            format!("write a number from 1 to 65535, for example \"{host}:{FIRST_INSTANCE_PORT}\""),
        );
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    scalar::address(bare).map(|ip| (ip, None))
}

/// The commands, which belong to one kind alone.
fn commands(reader: &mut Reader<'_>, kind: Option<&At<InstanceKind>>) -> InstanceCommands {
    if let Some(kind) = kind {
        if kind.value == InstanceKind::Command {
            reader.require("start", "\"/usr/local/bin/db start\"");
        } else {
            for key in ["start", "stop", "force", "status", "version"] {
                let Some(found) = reader.take(key) else { continue };
                let message =
                    format!("an instance of the kind {:?} knows itself how it is driven", kind.value.word());
                let finding = Finding::error(&found.span, message)
                    .help(format!("delete `{key}`, or write kind = \"command\""))
                    .related(&kind.span, "its kind");
                reader.findings.add(finding);
            }
        }
    }
    let mut line = |key| reader.text(key, "\"/usr/local/bin/db ...\"").map(|c| c.value);
    InstanceCommands {
        start: line("start"),
        stop: line("stop"),
        force: line("force"),
        status: line("status"),
        version: line("version"),
    }
}
