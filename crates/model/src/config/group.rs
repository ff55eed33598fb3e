//! Reads `[[group]]`: nodes, policy, needs and its resources.

use std::time::Duration;

use super::draft::{FilesystemDraft, GroupDraft};
use super::finding::{Finding, Findings, Span};
use super::reader::Reader;
use super::tree::{At, Table, Value};
use super::{
    Failback, Failover, Policy, ReleaseEnd, Startup, application, event, failback, filesystem, prepare,
    relations, requires, resource, scalar, share, volume,
};
use crate::figure::{FigureScript, Prefer};
use crate::proof::Need;

pub(super) fn group(table: Table, findings: &mut Findings) -> GroupDraft {
    let mut reader = Reader::new("[[group]]", table, findings);
    let header = reader.header.clone();
    let name = reader.need_name("\"cacheha1\"");
    reader.require("nodes", "[\"lx4\", \"lx5\"]");
    let nodes = reader.texts("nodes", "[\"lx4\", \"lx5\"]");
    let policy_written = reader.has("policy");
    let (policy, figure_script) = policy(&mut reader);
    let policy = match (policy, policy_written) {
        (None, false) => Some(At::new(Policy::CASCADING, header.clone())),
        (policy, _) => policy,
    };
    let failback = failback::failback(&mut reader);
    let relations = relations::relations(&mut reader);
    let needs = needs(&mut reader);
    let release = reader.choice("release", &[("down", ReleaseEnd::Down), ("reboot", ReleaseEnd::Reboot)]);
    let reboots = release.as_ref().is_some_and(|r| r.value == ReleaseEnd::Reboot);
    let hostname = reader.text("hostname", "\"dce.ward7.example\"");
    let hostname = reader.checked("hostname", hostname, scalar::host_name);
    let prepare = prepare::prepare(&mut reader);
    let (requires, requires_ports) = requires::requires(&mut reader);
    let volumes = reader.tables("volume", "group.volume");
    let filesystems = reader.tables("filesystem", "group.filesystem");
    let addresses = reader.tables("address", "group.address");
    let shares = reader.tables("share", "group.share");
    let applications = reader.tables("application", "group.application");
    let events = reader.tables("event", "group.event");
    let findings = &mut *reader.findings;
    let filesystems: Vec<_> = filesystems.into_iter().map(|t| filesystem::filesystem(t, findings)).collect();
    let volumes: Vec<_> = volumes.into_iter().map(|t| volume::volume(t, findings)).collect();
    // An application may well write a volume itself, without a file system.
    let writes_shared = !volumes.is_empty() || filesystems.iter().any(FilesystemDraft::is_shared);
    let draft = GroupDraft {
        header,
        name,
        nodes,
        policy,
        figure_script,
        failback,
        relations,
        needs_span: needs.as_ref().map(|n| n.span.clone()),
        needs: match needs {
            Some(needs) => needs.value,
            None if reboots || writes_shared => vec![Need::Fenced],
            None => vec![Need::LeaseEnded],
        },
        release,
        hostname,
        prepare,
        requires,
        requires_ports,
        events: events.into_iter().map(|t| event::event("[[group.event]]", t, findings)).collect(),
        volumes,
        filesystems,
        addresses: addresses.into_iter().map(|t| resource::address(t, findings)).collect(),
        shares: shares.into_iter().map(|t| share::share(t, findings)).collect(),
        applications: applications.into_iter().map(|t| application::application(t, findings)).collect(),
    };
    reader.finish();
    draft
}

const TRIPLE: &str = "{ startup = \"home\", failover = \"next\", failback = \"never\" }";

fn policy(reader: &mut Reader<'_>) -> (Option<At<Policy>>, Option<FigureScript>) {
    let Some(found) = reader.take("policy") else { return (None, None) };
    let found = reader.quoted(found);
    let mut script = None;
    let policy = match found.value {
        Value::Text(text) => reader.choose("policy", &At::new(text, found.span), &Policy::PRESETS),
        Value::Table(table) => triple(table, reader.findings).map(|(p, figure)| {
            script = figure;
            At::new(p, found.span)
        }),
        Value::Broken => None,
        other => {
            let message = format!("`policy` must be a word or the triple, not {}", other.kind());
            let help = format!("write \"cascading\", \"rotating\", \"concurrent\" or {TRIPLE}");
            reader.findings.add(Finding::error(&found.span, message).help(help));
            None
        }
    };
    (policy, script)
}

fn triple(table: Table, findings: &mut Findings) -> Option<(Policy, Option<FigureScript>)> {
    let mut reader = Reader::new("the policy", table, findings);
    for (key, example) in [("startup", "\"home\""), ("failover", "\"next\""), ("failback", "\"never\"")] {
        reader.require(key, example);
    }
    let startup = reader.choice("startup", &Startup::WORDS);
    let (failover, script) = failover(&mut reader);
    let failback = reader.choice("failback", &Failback::WORDS);
    reader.finish();
    Some((Policy { startup: startup?.value, failover: failover?, failback: failback?.value }, script))
}

/// A word, or a script that measures.
fn failover(reader: &mut Reader<'_>) -> (Option<Failover>, Option<FigureScript>) {
    if !reader.is_table("failover") {
        return (reader.choice("failover", &Failover::WORDS).map(|f| f.value), None);
    }
    let Some(table) = reader.table("failover", "{ script = \"...\" }") else { return (None, None) };
    let mut reader = Reader::new("`failover`", table, reader.findings);
    let command = reader.need_text("script", "\"/usr/local/bin/load\"");
    let words = [("highest", Prefer::Highest), ("lowest-nonzero", Prefer::LowestNonzero)];
    let prefer = reader.choice("prefer", &words);
    let interval = reader.duration_or("interval", Duration::from_secs(30), "\"30s\"");
    let timeout = reader.duration_or("timeout", Duration::from_secs(10), "\"10s\"");
    reader.finish();
    let script = command.map(|command| FigureScript {
        command: command.value,
        prefer: prefer.map_or(Prefer::Highest, |p| p.value),
        interval,
        timeout,
    });
    (script.as_ref().map(|_| Failover::Script), script)
}

fn needs(reader: &mut Reader<'_>) -> Option<At<Vec<Need>>> {
    const WORDS: [(&str, Need); 4] = [
        ("fenced", Need::Fenced),
        ("lease-ended", Need::LeaseEnded),
        ("watchdog", Need::Watchdog),
        ("storage", Need::Storage),
    ];
    let list = reader.texts("needs", "[\"fenced\"]")?;
    if list.value.is_empty() {
        reader.findings.add_missing(
            Finding::error(
                &list.span,
                "`needs` is empty: nothing would ever prove that a lost owner is gone",
            )
            .help("write needs = [\"fenced\"], or delete the line for the default"),
        );
        return None;
    }
    let mut needs: Vec<(Need, Span)> = Vec::new();
    for text in &list.value {
        let Some(need) = reader.choose("needs", text, &WORDS) else { continue };
        match needs.iter().find(|(known, _)| *known == need.value) {
            None => needs.push((need.value, need.span)),
            Some((_, first)) => reader.findings.add(
                Finding::error(&need.span, format!("`needs` names {:?} twice", need.value.word()))
                    .help("keep one of them")
                    .related(first, "first here"),
            ),
        }
    }
    needs.sort_by_key(|(need, _)| *need);
    Some(At::new(needs.into_iter().map(|(need, _)| need).collect(), list.span))
}
