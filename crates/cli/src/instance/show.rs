//! `regent instance list` and `regent instance status`.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use regent_api::{InstanceStatus, Registry};
use regent_model::config::InstanceKind;
use regent_model::instance::{Condition, Lock};
use serde_json::json;

use super::ask::{find, registry};
use super::layout;
use crate::client::Asks;
use crate::paint::{Paint, Tone, printable};
use crate::screen::Screen;
use crate::trouble::{Exit, Result};

/// `regent instance list`.
///
/// # Errors
/// When there is no answer.
pub fn list(asks: &dyn Asks, screen: &Screen) -> Result<u8> {
    let registry = registry(asks)?;
    screen.value(&json!(registry))?;
    screen.say(&table(&registry, screen.paint))?;
    Ok(Exit::Done as u8)
}

/// `regent instance status NAME`.
///
/// # Errors
/// When there is no answer, or no such instance.
pub fn status(asks: &dyn Asks, screen: &Screen, name: &str) -> Result<u8> {
    let registry = registry(asks)?;
    let instance = find(&registry, name)?;
    screen.value(&json!(instance))?;
    screen.say(&page(&registry, instance, &TimeZone::system(), screen.paint))?;
    Ok(Exit::Done as u8)
}

/// All instances in a table.
#[must_use]
pub fn table(registry: &Registry, paint: Paint) -> String {
    if registry.instances.is_empty() {
        return "no instance is registered; one is by: regent instance create NAME directory=DIR\n"
            .to_owned();
    }
    let head = ["INSTANCE", "STATE", "NODE", "VERSION", "KIND", "PORT", "GROUP", "DIRECTORY"];
    let rows: Vec<[String; 8]> = registry.instances.iter().map(|i| row(registry, i)).collect();
    let width = |at: usize| rows.iter().map(|r| r[at].chars().count()).max().unwrap_or(0).max(head[at].len());
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: [&str; 8], tone: Tone| {
        let text: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(at, (cell, width))| {
                let padded =
                    if at == cells.len() - 1 { (*cell).to_owned() } else { format!("{cell:<width$}") };
                if at == 1 { paint.tone(tone, &padded) } else { padded }
            })
            .collect();
        format!("{}\n", text.join("  "))
    };
    let mut out = line(head, Tone::Plain);
    for (row, instance) in rows.iter().zip(&registry.instances) {
        let tone = match condition(instance) {
            Some(Condition::Running) => Tone::Good,
            Some(Condition::Crashed) => Tone::Bad,
            _ => Tone::Plain,
        };
        out += &line(row.each_ref().map(String::as_str), tone);
    }
    if !registry.quorate {
        let _ = writeln!(
            out,
            "{} has lost touch with the others: what is not of itself may be old",
            registry.node
        );
    }
    for misfit in registry.instances.iter().flat_map(|i| &i.misfits) {
        let _ =
            writeln!(out, "{}\n  next: {}", paint.tone(Tone::Bad, &printable(&misfit.text)), misfit.advice);
    }
    out
}

fn row(registry: &Registry, instance: &InstanceStatus) -> [String; 8] {
    let node = match (&instance.seen, &instance.owner) {
        (Some(seen), _) if seen.condition == Condition::Running => seen.node.clone(),
        (_, Some(owner)) => owner.to_string(),
        _ => "-".to_owned(),
    };
    [
        instance.name.to_string(),
        condition(instance).map_or("not seen", Condition::word).to_owned(),
        node,
        layout::version(registry, instance),
        instance.kind.word().to_owned(),
        instance.port.to_string(),
        instance.group.to_string(),
        printable(&instance.directory.display().to_string()),
    ]
}

/// What it is in: as this node sees it if it has it, otherwise as its owner told last.
fn condition(instance: &InstanceStatus) -> Option<Condition> {
    if instance.runs_here() {
        return Some(Condition::Running);
    }
    instance.seen.as_ref().map(|seen| seen.condition)
}

/// Everything of one instance.
#[must_use]
pub fn page(registry: &Registry, instance: &InstanceStatus, zone: &TimeZone, paint: Paint) -> String {
    let mut out = format!("{}\n", paint.tone(Tone::Strong, instance.name.as_str()));
    let mut line = |key: &str, value: String| {
        let _ = writeln!(out, "  {:<17}{}", format!("{key}:"), printable(&value));
    };
    line("state", state_words(instance, zone));
    line("version", version_words(registry, instance, zone));
    line("kind", instance.kind.word().to_owned());
    line("directory", instance.directory.display().to_string());
    let owner = instance.owner.as_ref().map_or("nobody has it".to_owned(), |owner| format!("on {owner}"));
    line("group", format!("{}, {owner}, epoch {}", instance.group, instance.epoch));
    let address = instance.address.map_or("the node's".to_owned(), |a| a.to_string());
    line("listens on", format!("{address}, port {}", instance.port));
    let started = if instance.autostart { "with its group" } else { "by the group's script, or by hand" };
    line("is started", started.to_owned());
    let used: Vec<_> = instance.data_servers.iter().map(|(name, at)| format!("{name} at {at}")).collect();
    let used = if used.is_empty() { "none".to_owned() } else { used.join(", ") };
    let off = if instance.networked { "" } else { "; not networked" };
    line("data servers", format!("{used} (at most {}){off}", instance.max_data_servers));
    line("serves", serves_words(instance));
    if !instance.license_servers.is_empty() {
        let all: Vec<_> = instance.license_servers.iter().map(ToString::to_string).collect();
        line(
            "license servers",
            format!("{}; regent instance license {} asks them", all.join(", "), instance.name),
        );
    }
    line(&format!("on {}", registry.node), here_words(instance));
    for misfit in &instance.misfits {
        let _ = writeln!(
            out,
            "  {}\n    next: {}",
            paint.tone(Tone::Bad, &printable(&misfit.text)),
            misfit.advice
        );
    }
    out
}

fn state_words(instance: &InstanceStatus, zone: &TimeZone) -> String {
    match (&instance.seen, instance.runs_here()) {
        (Some(seen), _) => {
            format!(
                "{} on {}, since {}",
                seen.condition.word(),
                seen.node,
                layout::ctime(seen.since_ms, zone)
            )
        }
        (None, true) => "running here".to_owned(),
        (None, false) => "its owner has not seen it yet".to_owned(),
    }
}

fn version_words(registry: &Registry, instance: &InstanceStatus, zone: &TimeZone) -> String {
    match &instance.version {
        Some(v) if registry.quorate => {
            format!("{} ({}, {})", v.version, v.by, layout::ctime(v.at_ms, zone))
        }
        Some(_) => format!("not told: {} has lost touch with the others", registry.node),
        None => format!("not known; regent instance update {} versionid=...", instance.name),
    }
}

/// How many others may use it, and who minds that.
fn serves_words(instance: &InstanceStatus) -> String {
    let most = instance.max_application_servers;
    let here = instance.here.as_ref().filter(|look| look.running);
    let used = here.map_or(String::new(), |look| format!("{} now; ", look.application_servers));
    let minds = match instance.kind {
        InstanceKind::Gtm => format!("{used}more are told of, and not refused"),
        InstanceKind::Cache | InstanceKind::Iris => {
            "its own settings decide; they are not counted here".into()
        }
        InstanceKind::Command => "they are not counted here".into(),
    };
    format!("at most {most} application server{} ({minds})", if most == 1 { "" } else { "s" })
}

fn here_words(instance: &InstanceStatus) -> String {
    let Some(look) = &instance.here else { return "not looked at yet".to_owned() };
    let mut words = vec![
        if look.mounted { "storage mounted" } else { "storage not mounted" }.to_owned(),
        if look.running { "processes run" } else { "no process runs" }.to_owned(),
        format!("port {} {}", instance.port, if look.listening { "taken" } else { "free" }),
    ];
    words.push(match &look.lock {
        Some(Lock::Of(lock)) => format!("lock file of {} (epoch {})", lock.node, lock.epoch),
        Some(Lock::Unreadable) => "lock file of somebody else".to_owned(),
        None => "no lock file".to_owned(),
    });
    words.join(", ")
}
