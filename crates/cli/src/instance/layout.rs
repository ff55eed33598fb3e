//! The screens of `ccontrol`, as the scripts that read them expect them.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regent_api::{InstanceStatus, Registry};
use regent_model::config::InstanceKind;
use regent_model::instance::Condition;

use crate::paint::printable;

/// What stands where a version is not known.
const NO_VERSION: &str = "?";

/// One instance, in the way of `ccontrol list`. Exactly one line holds the word `directory`: scripts look for it.
#[must_use]
pub fn list(registry: &Registry, instance: &InstanceStatus, zone: &TimeZone) -> String {
    let mut out = String::from("\n");
    let default = if is_default(registry, instance) { "   (default)" } else { "" };
    let _ = writeln!(out, "Configuration '{}'{default}", instance.name);
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(out, "\t{:<14}{}", format!("{key}:"), printable(value));
    };
    line("directory", &instance.directory.display().to_string());
    line("versionid", &version(registry, instance));
    if instance.kind == InstanceKind::Iris {
        line("datadir", &instance.directory.display().to_string());
    }
    let file = settings(instance.kind);
    line("conf file", &format!("{file}  (SuperServer port = {}, WebServer = 0)", instance.port));
    line("status", &status(registry, instance, zone));
    if instance.runs_here() {
        line("state", state(instance));
    }
    if let Some(product) = product(instance.kind) {
        line("product", product);
    }
    out
}

/// All instances, in the way of `ccontrol all`: the first word of a line is how it is on this node, the second the name.
#[must_use]
pub fn all(registry: &Registry) -> String {
    let versions: Vec<String> = registry.instances.iter().map(|i| version(registry, i)).collect();
    let wide = |least: usize, of: &mut dyn Iterator<Item = usize>| of.max().unwrap_or(0).max(least);
    let name = wide(13, &mut registry.instances.iter().map(|i| i.name.as_str().len()));
    let versioned = wide(10, &mut versions.iter().map(|v| v.chars().count()));
    let mut out =
        format!("      {:<name$}  {:<versioned$}  {:<5}  Directory\n", "Configuration", "Version ID", "Port");
    for (instance, version) in registry.instances.iter().zip(&versions) {
        let directory = instance.directory.display().to_string();
        let _ = writeln!(
            out,
            "{}    {:<name$}  {version:<versioned$}  {:<5}  {}",
            word(instance),
            instance.name,
            instance.port,
            printable(&directory)
        );
    }
    out
}

/// One instance in one line, in the way of `ccontrol qlist`.
#[must_use]
pub fn qlist(registry: &Registry, instance: &InstanceStatus, zone: &TimeZone) -> String {
    let directory = instance.directory.display().to_string();
    let product = product(instance.kind).unwrap_or("");
    let shown = if instance.runs_here() { state(instance) } else { "" };
    let (name, port) = (&instance.name, instance.port);
    let (version, file) = (version(registry, instance), settings(instance.kind));
    let status = status(registry, instance, zone);
    printable(&format!(
        "{name}^{directory}^{version}^{status}^{file}^{port}^0^0^{shown}^{product}^^^{directory}"
    )) + "\n"
}

/// Whether it is the one that is meant where none is named.
#[must_use]
pub fn is_default(registry: &Registry, instance: &InstanceStatus) -> bool {
    let marked = registry.instances.iter().find(|i| i.default);
    marked.or(registry.instances.first()).is_some_and(|i| i.name == instance.name)
}

/// How it is on the node that was asked: scripts there ask whether *they* have it up.
fn word(instance: &InstanceStatus) -> &'static str {
    match &instance.here {
        Some(look) if look.running => "up",
        Some(_) => "dn",
        None => "??",
    }
}

/// Its version. A node that has lost touch says only what it sees installed where the instance is: what it remembers may
/// be old.
#[must_use]
pub fn version(registry: &Registry, instance: &InstanceStatus) -> String {
    let known = instance.version.as_ref().map(|v| &v.version).filter(|_| registry.quorate);
    let installed = instance.here.as_ref().filter(|look| look.directory).and_then(|l| l.version.as_ref());
    let text = known.or(installed).map_or(NO_VERSION, String::as_str);
    if text.contains(char::is_whitespace) {
        text.split_whitespace().collect::<Vec<_>>().join("-")
    } else {
        text.to_owned()
    }
}

/// How it is, in the vendor's words.
fn status(registry: &Registry, instance: &InstanceStatus, zone: &TimeZone) -> String {
    let since = instance.seen.as_ref().map(|seen| ctime(seen.since_ms, zone));
    if instance.runs_here() {
        let seen = instance.seen.as_ref().filter(|s| s.condition == Condition::Running);
        let since = since.filter(|_| seen.is_some_and(|s| s.node == registry.node.as_str()));
        return since.map_or("running".to_owned(), |since| format!("running, since {since}"));
    }
    let Some(seen) = &instance.seen else { return "down".to_owned() };
    match seen.condition {
        Condition::Running if seen.node == registry.node.as_str() => "down".to_owned(),
        Condition::Running => format!("in use by node {}", seen.node),
        Condition::Crashed => "crashed".to_owned(),
        Condition::Down => since.map_or("down".to_owned(), |since| format!("down, last used {since}")),
    }
}

/// What is to be said of one that runs.
fn state(instance: &InstanceStatus) -> &'static str {
    if instance.misfits.is_empty() { "ok" } else { "warn" }
}

/// The file of its settings, below its directory.
fn settings(kind: InstanceKind) -> &'static str {
    kind.settings_file().unwrap_or("none")
}

fn product(kind: InstanceKind) -> Option<&'static str> {
    match kind {
        InstanceKind::Iris => Some("InterSystems IRIS"),
        InstanceKind::Gtm => Some("GT.M"),
        InstanceKind::Cache | InstanceKind::Command => None,
    }
}

/// A moment as C writes it: `Wed Aug  4 07:12:45 2021`.
#[must_use]
pub fn ctime(wall_ms: u64, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(i64::try_from(wall_ms).unwrap_or(i64::MAX)).ok();
    at.map_or_else(
        || "an unknown time".to_owned(),
        |t| t.to_zoned(zone.clone()).strftime("%a %b %e %H:%M:%S %Y").to_string(),
    )
}
