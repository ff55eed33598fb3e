//! Reads `[[group.application]]`.

use std::path::PathBuf;
use std::time::Duration;

use super::draft::ApplicationDraft;
use super::finding::{Finding, Findings};
use super::limits::Monitor;
use super::reader::{Reader, Zero};
use super::scalar::{self, duration_text};
use super::tree::{At, Table};
use super::{
    ApplicationConfig, MainProcess, MonitorTimes, bind, claims, diagnose, monitoring, relations, script,
    stale,
};
use crate::ids::ResourceName;

const MONITOR: MonitorTimes = MonitorTimes::new(Duration::from_secs(10), Duration::from_secs(20), 2);
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);

impl ApplicationConfig {
    /// Every command that it can come to, each with what it is.
    #[must_use]
    pub fn commands(&self) -> Vec<(&'static str, &str)> {
        let diagnose = self.diagnose.iter().filter_map(|d| Some(("diagnose", d.command.as_deref()?)));
        let own = match &self.script {
            // Of its three ways of being called one tells which file it is.
            Some(script) => vec![("script", script.as_str())],
            None => {
                let more = [("stop", &self.stop), ("status", &self.status)];
                let more = more.into_iter().filter_map(|(what, line)| Some((what, line.as_deref()?)));
                std::iter::once(("start", self.start.as_str())).chain(more).collect()
            }
        };
        own.into_iter().chain(diagnose).chain(self.monitoring.commands()).collect()
    }
}

pub(super) fn application(table: Table, findings: &mut Findings) -> ApplicationDraft {
    let mut reader = Reader::new("[[group.application]]", table, findings);
    let name = reader.need_name("\"cache\"");
    let script::Commands { script, start, stop, status } = script::commands(&mut reader);
    let (claims, claims_config) = claims::claims(&mut reader);
    let main = main_process(script.is_some(), &mut reader);
    let monitoring::Read { base: monitor, monitoring, limits } =
        monitoring::read(&mut reader, MONITOR, &main);
    let user = reader.text("user", "\"postgres\"");
    let user = reader.checked("user", user, scalar::user_name);
    let start_timeout = reader.duration_or("start_timeout", START, "\"60s\"");
    let stop_timeout = reader.duration_or("stop_timeout", STOP, "\"60s\"");
    let lapse_grace = reader.duration("lapse_grace", Zero::Allowed, "\"50ms\"");
    let stale = stale::stale(&mut reader);
    let diagnose = diagnose::read(&mut reader, "application.diagnose");
    let clients = relations::groups(&mut reader, "clients");
    let bind = bind::bind(&mut reader);
    refuse_nul_in_monitors(&monitoring, name.as_ref(), &mut reader);
    status_fits_start(&monitor, start_timeout, &mut reader);
    let status = match &script {
        None => one_status(status, monitor.command, &mut reader),
        Some(script) => {
            script::no_second_status(script, monitor.command, &mut reader);
            status
        }
    };
    reader.finish();
    let config = (|| {
        Some(ApplicationConfig {
            name: ResourceName::new(name.as_ref()?.value.clone()).ok()?,
            script: script.map(|s| s.value),
            start: start?.value,
            stop: stop.map(|s| s.value),
            status: status.map(|s| s.value),
            claims: claims_config,
            main,
            user: user.map(|u| u.value),
            monitor: monitor.times,
            start_timeout,
            stop_timeout,
            lapse_grace: lapse_grace.as_ref().map_or(Duration::ZERO, |g| g.value),
            monitoring,
            stale: stale.iter().map(|pattern| pattern.value.clone()).collect(),
            hostname: None,
            diagnose,
            bind: None,
            samba: None,
            limits,
            clients: relations::names(clients.clone())?,
        })
    })();
    ApplicationDraft { name, lapse_grace, claims, stale, clients, bind, config }
}

fn refuse_nul_in_monitors(
    monitoring: &monitoring::Monitoring,
    name: Option<&At<String>>,
    reader: &mut Reader<'_>,
) {
    if let Some((what, _)) = monitoring.commands().iter().find(|(_, line)| line.contains('\0')) {
        let place = name.map_or_else(|| reader.header.clone(), |n| n.span.clone());
        let finding = Finding::error(&place, format!("its {what} command holds a zero byte"))
            .help("write the command as you would type it");
        reader.findings.add(finding);
    }
}

pub(super) fn refuse_nul(key: &str, text: Option<&At<String>>, reader: &mut Reader<'_>) {
    if let Some(text) = text.filter(|t| t.value.contains('\0')) {
        let finding = Finding::error(&text.span, format!("`{key}` holds a zero byte"))
            .help("write the command as you would type it");
        reader.findings.add(finding);
    }
}

/// `status` and `monitor.command` are two names of one thing.
fn one_status(
    status: Option<At<String>>,
    command: Option<At<String>>,
    reader: &mut Reader<'_>,
) -> Option<At<String>> {
    if let (Some(status), Some(command)) = (&status, &command)
        && status.value != command.value
    {
        let finding = Finding::error(
            &command.span,
            "`monitor.command` and `status` are the same thing, and differ here",
        )
        .help("keep one of them; it is asked after every start and stop, and at every interval")
        .related(&status.span, "`status` is given here");
        reader.findings.add(finding);
    }
    status.or(command)
}

/// The status is asked once inside the time limit of the start.
fn status_fits_start(monitor: &Monitor, start_timeout: Duration, reader: &mut Reader<'_>) {
    let Some(timeout) = monitor.timeout.as_ref().filter(|t| t.value > start_timeout) else { return };
    let (timeout_text, start_text) = (duration_text(timeout.value), duration_text(start_timeout));
    let message = format!(
        "one status check may take {timeout_text}, but start and its first check together only {start_text}"
    );
    let finding = Finding::warning(&timeout.span, message)
        .help("shorten `monitor.timeout`, or raise `start_timeout` above it");
    reader.findings.add(finding);
}

/// `foreground`, `pid_file` and `main`: at most one of them says which process is the application.
fn main_process(is_script: bool, reader: &mut Reader<'_>) -> MainProcess {
    let foreground = reader.flag("foreground");
    let pid_file = reader.path("pid_file", "pid file", "\"/run/cache.pid\"");
    let words = [("child", MainWord::Child), ("cgroup", MainWord::Cgroup), ("none", MainWord::None)];
    let main = reader.choice("main", &words);
    let child = [
        main.as_ref().map(|m| (At::new(m.value == MainWord::Child, m.span.clone()), "main")),
        foreground.map(|f| (f, "foreground")),
    ];
    let said: Vec<_> = child.into_iter().flatten().collect();
    let is_child = said.iter().any(|(at, _)| at.value);
    if let Some(pid_file) = pid_file {
        // `foreground = false` beside a pid file says nothing new.
        let rivals = said.iter().filter(|(at, key)| at.value || *key == "main");
        for (at, key) in rivals {
            contradiction(&at.span, key, &pid_file, reader);
        }
        return MainProcess::PidFile(pid_file.value);
    }
    if let [(main, _), (foreground, _)] = said.as_slice()
        && main.value != foreground.value
    {
        let finding = Finding::error(&foreground.span, "`foreground` and `main` contradict each other")
            .help("keep one: foreground = true when the start command stays, nothing when it forks and ends")
            .related(&main.span, "`main` is given here");
        reader.findings.add(finding);
    }
    match main.map(|m| m.value) {
        _ if is_child => MainProcess::Child,
        Some(MainWord::None) => MainProcess::None,
        // A script's word counts, whatever it left where.
        None if is_script => MainProcess::None,
        _ => MainProcess::Cgroup,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MainWord {
    Child,
    Cgroup,
    None,
}

fn contradiction(span: &super::finding::Span, key: &str, pid_file: &At<PathBuf>, reader: &mut Reader<'_>) {
    let finding = Finding::error(span, format!("`{key}` and `pid_file` contradict each other"))
        .help(format!("delete `{key}`: the pid file says which process is the application"))
        .related(&pid_file.span, "the pid file is given here");
    reader.findings.add(finding);
}
