//! How an application is watched beyond its own processes and its status command, and what follows when it fails.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::finding::{Finding, Findings};
use super::limits::{self, DEFAULT_WINDOW, Monitor};
use super::reader::{Reader, Zero};
use super::scalar::{self, duration_text};
use super::tree::{At, Table};
use super::{MainProcess, MonitorTimes, RestartLimits};

/// For a start-up check that says nothing else.
const STARTUP: Duration = Duration::from_secs(20);
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ksh", "zsh", "csh", "tcsh", "busybox"];
const FORM: &str = "{ interval = \"10s\", failures = 2 }, or a list of such tables with a `kind` each";

/// Whether the start command is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartIn {
    /// It is, and its exit code counts.
    #[default]
    Foreground,
    /// It is not: what follows goes on at once, its exit code is told, and the first check judges.
    Background,
}

/// What happens when the restarts are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The group is released, and another node may have it.
    #[default]
    Failover,
    /// Nothing but being told.
    Notify,
}

/// What a monitor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MonitorAction {
    /// What it finds is acted on: a restart, then a failover.
    #[default]
    Recover,
    /// What it finds is told and looked into, and nothing is ever done about it.
    Observe,
}

/// What a check gets that does not answer in its time, before it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names say everything")]
pub enum HungSignal {
    #[default]
    Kill,
    Term,
    Abrt,
    Quit,
    Int,
    Hup,
    Usr1,
    Usr2,
}

/// What a further monitor looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Watched {
    /// A command: exit 0 is well.
    Command(String),
    /// Processes of these names on the node.
    Processes {
        /// As `ps -e` shows them: at most 15 bytes count.
        names: Vec<String>,
        /// Whose they must be; by default anybody's.
        owner: Option<String>,
        /// How many of each, exactly.
        instances: u32,
    },
}

/// A further monitor of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Its name, for people.
    pub name: String,
    /// What it looks at.
    pub what: Watched,
    /// How often and how long.
    pub times: MonitorTimes,
    /// What the command gets when it hangs.
    pub hung_signal: HungSignal,
    /// What it is for.
    pub action: MonitorAction,
}

/// How an application is watched, and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Monitoring {
    /// Whether the start command is waited for.
    pub start_in: StartIn,
    /// How long after a start, and after each restart, nothing is judged; by default one interval.
    pub stabilisation: Option<Duration>,
    /// Asked before a start, with its time: 0 says that the application runs already.
    pub startup: Option<(String, Duration)>,
    /// What the status command gets when it hangs.
    pub hung_signal: HungSignal,
    /// What the application's own monitor is for; the end of its main process counts as its finding.
    pub action: MonitorAction,
    /// Further monitors.
    pub watches: Vec<Watch>,
    /// What happens when the restarts are used up.
    pub on_failure: OnFailure,
    /// Told of every failure.
    pub notify: Option<String>,
    /// Run after a failure in the place of the stop command.
    pub cleanup: Option<String>,
    /// Run after that in the place of the start command.
    pub restart: Option<String>,
}

impl Monitoring {
    /// Every command that it can come to, each with what it is.
    #[must_use]
    pub fn commands(&self) -> Vec<(&'static str, &str)> {
        let single = [("notify", &self.notify), ("cleanup", &self.cleanup), ("restart", &self.restart)];
        let single = single.into_iter().filter_map(|(what, line)| Some((what, line.as_deref()?)));
        let startup = self.startup.iter().map(|(line, _)| ("startup monitor", line.as_str()));
        let custom = self.watches.iter().filter_map(|w| match &w.what {
            Watched::Command(line) => Some(("custom monitor", line.as_str())),
            Watched::Processes { .. } => None,
        });
        single.chain(startup).chain(custom).collect()
    }

    /// Every owner whose processes are counted.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        self.watches.iter().filter_map(|w| match &w.what {
            Watched::Processes { owner, .. } => owner.as_deref(),
            Watched::Command(_) => None,
        })
    }
}

/// What was read, with what the rest of the application needs of it.
pub(super) struct Read {
    pub(super) base: Monitor,
    pub(super) monitoring: Monitoring,
    pub(super) limits: RestartLimits,
}

pub(super) fn read(reader: &mut Reader<'_>, defaults: MonitorTimes, main: &MainProcess) -> Read {
    let mut monitoring = Monitoring::default();
    let words = [("foreground", StartIn::Foreground), ("background", StartIn::Background)];
    let start_in = reader.choice("start_in", &words);
    monitoring.stabilisation = reader.duration("stabilisation", Zero::Refused, "\"30s\"").map(|d| d.value);
    let words = [("failover", OnFailure::Failover), ("notify", OnFailure::Notify)];
    monitoring.on_failure = reader.choice("on_failure", &words).map(|w| w.value).unwrap_or_default();
    monitoring.notify = reader.text("notify", "\"/usr/local/bin/tell\"").map(|t| t.value);
    monitoring.cleanup = reader.text("cleanup", "\"/usr/local/etc/cache clean\"").map(|t| t.value);
    monitoring.restart = reader.text("restart", "\"/usr/local/etc/cache restart\"").map(|t| t.value);
    let mut base = None;
    let mut startup = None;
    for table in reader.braces("monitor", "a table", FORM) {
        one(table, defaults, &mut monitoring, &mut base, &mut startup, reader.findings);
    }
    if let Some(at) = &start_in {
        monitoring.start_in = at.value;
        let has_main = matches!(main, MainProcess::Child | MainProcess::PidFile(_));
        if at.value == StartIn::Background && has_main {
            let finding = Finding::error(
                &at.span,
                "a start in the background goes on by itself: there is no main process to wait for",
            )
            .help("delete `foreground`, `main` and `pid_file`, or write start_in = \"foreground\"");
            reader.findings.add(finding);
        }
    }
    let known = matches!(main, MainProcess::PidFile(_))
        || monitoring.watches.iter().any(|w| matches!(w.what, Watched::Processes { .. }));
    if let Some(at) = startup.filter(|_| !known) {
        let finding = Finding::error(
            &at.span,
            "a `startup` monitor finds an application that Regent did not start, and nothing says which processes it is",
        )
        .help("add pid_file = \"...\", or a monitor with kind = \"process\": the guard must be able to end them");
        reader.findings.add(finding);
    }
    let base = base.unwrap_or(Monitor { times: defaults, command: None, timeout: None });
    let limits = limits_of(&base, &monitoring, reader);
    Read { base, monitoring, limits }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Startup,
    Process,
    Custom,
}

fn one(
    table: Table,
    defaults: MonitorTimes,
    monitoring: &mut Monitoring,
    base: &mut Option<Monitor>,
    startup: &mut Option<At<String>>,
    findings: &mut Findings,
) {
    let mut reader = Reader::new("application.monitor", table, findings);
    let header = reader.header.clone();
    let words = [("startup", Kind::Startup), ("process", Kind::Process), ("custom", Kind::Custom)];
    let has_kind = reader.has("kind");
    let kind = reader.choice("kind", &words).map(|k| k.value);
    match kind {
        None if has_kind => {
            reader.rest();
        }
        None => {
            let command = reader.text("command", "\"/usr/local/bin/check\"");
            monitoring.hung_signal = hung_signal(&mut reader);
            monitoring.action = action(&mut reader);
            let monitor = limits::times(&mut reader, defaults);
            if base.is_some() {
                let finding = Finding::error(&header, "the application's own monitor is given twice")
                    .help("say what the others look at: kind = \"custom\", \"process\" or \"startup\"");
                reader.findings.add(finding);
            }
            *base = Some(Monitor { command, ..monitor });
        }
        Some(Kind::Startup) => {
            let command = reader.need_text("command", "\"/usr/local/bin/check\"");
            let timeout = reader.duration("timeout", Zero::Refused, "\"20s\"").map(|t| t.value);
            let timeout = timeout.or(monitoring.stabilisation).unwrap_or(STARTUP);
            monitoring.startup = command.as_ref().map(|c| (c.value.clone(), timeout));
            *startup = command;
        }
        Some(kind) => {
            let name = reader.text("name", "\"answers\"").map(|n| n.value);
            let what = if kind == Kind::Custom {
                let command = reader.need_text("command", "\"/usr/local/bin/check\"");
                command.map(|c| Watched::Command(c.value))
            } else {
                processes(&mut reader)
            };
            let hung_signal = if kind == Kind::Custom { hung_signal(&mut reader) } else { HungSignal::Kill };
            let action = action(&mut reader);
            let mut monitor = limits::times(&mut reader, defaults);
            if monitor.timeout.is_none() && !monitor.times.interval.is_zero() {
                monitor.times.timeout = monitor.times.interval;
            }
            let number = monitoring.watches.len() + 1;
            let word = if kind == Kind::Custom { "custom" } else { "process" };
            let name = name.unwrap_or_else(|| format!("{word} {number}"));
            let watch = what.map(|what| Watch { name, what, times: monitor.times, hung_signal, action });
            monitoring.watches.extend(watch);
        }
    }
    reader.finish();
}

fn processes(reader: &mut Reader<'_>) -> Option<Watched> {
    reader.require("processes", "[\"slapd\"]");
    let names = reader.texts("processes", "[\"slapd\"]")?;
    let owner = reader.text("owner", "\"root\"");
    let owner = reader.checked("owner", owner, scalar::user_name).map(|o| o.value);
    let instances = reader.number("instances", 1..=10_000, "1");
    if names.value.is_empty() {
        let finding = Finding::error(&names.span, "`processes` names nobody")
            .help("write their names as `ps -e` shows them, for example processes = [\"slapd\"]");
        reader.findings.add(finding);
        return None;
    }
    if let Some(many) = instances.as_ref().filter(|i| i.value > 1 && names.value.len() > 1) {
        let finding = Finding::error(&many.span, "of several processes there must be one each")
            .help("give every name with another number a monitor of its own");
        reader.findings.add(finding);
    }
    for name in &names.value {
        if SHELLS.contains(&name.value.as_str()) || name.value.ends_with(".sh") {
            let message = format!("`{}`: a shell script is not told by the name of a process", name.value);
            let help = "watch it with kind = \"custom\", or name the program that it runs";
            reader.findings.add(Finding::warning(&name.span, message).help(help));
        }
        if name.value.contains('/') {
            let base = name.value.rsplit('/').next().unwrap_or_default();
            let finding = Finding::error(&name.span, format!("`{}` is a path", name.value))
                .help(format!("write the name as `ps -e` shows it: \"{base}\""));
            reader.findings.add(finding);
        }
    }
    let instances = instances.map_or(1, |i| i.value);
    Some(Watched::Processes { names: names.value.into_iter().map(|n| n.value).collect(), owner, instances })
}

fn action(reader: &mut Reader<'_>) -> MonitorAction {
    let words = [("recover", MonitorAction::Recover), ("observe", MonitorAction::Observe)];
    reader.choice("action", &words).map(|w| w.value).unwrap_or_default()
}

fn hung_signal(reader: &mut Reader<'_>) -> HungSignal {
    let words = [
        ("KILL", HungSignal::Kill),
        ("TERM", HungSignal::Term),
        ("ABRT", HungSignal::Abrt),
        ("QUIT", HungSignal::Quit),
        ("INT", HungSignal::Int),
        ("HUP", HungSignal::Hup),
        ("USR1", HungSignal::Usr1),
        ("USR2", HungSignal::Usr2),
    ];
    reader.choice("hung_signal", &words).map(|w| w.value).unwrap_or_default()
}

/// Restarts that are counted within a time in which they cannot all happen would never be used up.
fn limits_of(base: &Monitor, monitoring: &Monitoring, reader: &mut Reader<'_>) -> RestartLimits {
    let (mut limits, window) = limits::limits_and_window(reader);
    let intervals = std::iter::once(base.times).chain(monitoring.watches.iter().map(|w| w.times));
    let interval = intervals.map(|t| t.interval).max().unwrap_or_default();
    let one = monitoring.stabilisation.unwrap_or_default() + interval;
    let least = one.saturating_mul(limits.restarts).saturating_mul(11) / 10;
    match window {
        None => limits.window = limits.window.max(least).max(DEFAULT_WINDOW),
        Some(at) if at.value < least => {
            let message = format!(
                "{} restarts of {} each do not fall into {}: they would never be used up",
                limits.restarts,
                duration_text(one),
                duration_text(at.value)
            );
            let seconds = least.as_secs() + u64::from(least.subsec_nanos() > 0);
            let help = format!(
                "write at least window = \"{seconds}s\" (restarts x (stabilisation + interval) + 10 %)"
            );
            reader.findings.add(Finding::warning(&at.span, message).help(help));
        }
        Some(_) => {}
    }
    limits
}

/// What fits the application and not its group.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        let Some(hostname) = &group.hostname else { continue };
        for application in &group.applications {
            let Some(config) = &application.config else { continue };
            if config.monitoring.start_in == StartIn::Background {
                let place = application.name.as_ref().map_or(group.place(), |n| &n.span);
                let message = "it is started in the background, where the group's host name would be set back too early";
                let finding = Finding::error(place, message)
                    .help("write start_in = \"foreground\" and raise start_timeout, or take `hostname` out")
                    .related(&hostname.span, "the host name");
                findings.add(finding);
            }
        }
    }
}
