//! `regent verify`: every finding at its line, and for a valid file what follows from it.

mod adapters;

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use regent_model::GroupName;
use regent_model::config::{
    Config, FilesystemConfig, Finding, GroupConfig, GroupGuarantee, Parsed, Severity, Span, duration_text,
    exclusion_remarks, guarantees,
};
use serde_json::{Value, json};

use crate::events::ms;

/// Everything `regent verify` prints for the file at `path` with that `text`: the findings, errors first, a
/// line with their counts and, for a valid file, the timers with their inequality and the guarantee of each
/// group.
#[must_use]
pub fn render(path: &str, text: &str, parsed: &Parsed, color: bool) -> String {
    let path = &printable(path);
    let mut out: String = parsed.findings.iter().map(|f| render_finding(path, text, f, color)).collect();
    let _ = writeln!(out, "{}", conclusion(path, parsed));
    if let Some(config) = &parsed.config {
        out.push_str(&derived(config));
    }
    out
}

/// One finding at its place in the text, and an empty line.
#[must_use]
pub fn render_finding(path: &str, text: &str, finding: &Finding, color: bool) -> String {
    let path = &printable(path);
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    format!("{}\n\n", renderer.render(&[report(path, text, finding)]))
}

fn report<'a>(path: &'a str, text: &'a str, finding: &'a Finding) -> Group<'a> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let primary = AnnotationKind::Primary.span(finding.span.clone());
    let related = finding
        .related
        .iter()
        .map(|(span, label)| AnnotationKind::Context.span(span.clone()).label(printable(label)));
    let snippet = Snippet::source(text).path(path).annotation(primary).annotations(related);
    let group = level.primary_title(printable(&finding.message)).element(snippet);
    if finding.help.is_empty() { group } else { group.element(Level::HELP.message(printable(&finding.help))) }
}

/// The text without what a terminal would take for a command: findings quote the file.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn conclusion(path: &str, parsed: &Parsed) -> String {
    let counted = |severity: Severity| match parsed.count(severity) {
        0 => None,
        1 => Some(format!("1 {severity}")),
        n => Some(format!("{n} {severity}s")),
    };
    let counts: Vec<_> =
        [Severity::Error, Severity::Warning, Severity::Note].into_iter().filter_map(counted).collect();
    let counts = if counts.is_empty() { "nothing to complain about".to_string() } else { counts.join(", ") };
    match &parsed.config {
        Some(config) => format!("{path} is valid: {}; {counts}", config.summary()),
        None => format!("{path} is refused: {counts}"),
    }
}

fn derived(config: &Config) -> String {
    let mut out = format!("\ntimers derived from takeover = \"{}\"\n", config.takeover);
    for line in config.timers.explain() {
        let _ = writeln!(out, "  {line}");
    }
    let groups = guarantees(config);
    if !groups.is_empty() {
        out.push_str("\ngroups\n");
    }
    for (group, of) in groups.iter().zip(&config.groups) {
        out.push_str(&guarantee(group));
        out.push_str(&volumes(of));
        out.push_str(&mounts(of));
        let _ = writeln!(out, "    {}", policy_line(of));
        for remark in exclusion_remarks(config, of) {
            let _ = writeln!(out, "    for servers of DCE: {remark}");
        }
    }
    out.push_str(&adapters::adapters(config));
    out
}

/// What is activated below the file systems.
fn volumes(group: &GroupConfig) -> String {
    if group.volumes.is_empty() {
        return String::new();
    }
    let list: Vec<_> = group.volumes.iter().map(|v| v.id()).collect();
    format!("    volumes activated first, deactivated last: {}\n", list.join(", "))
}

/// In which order the file systems of a group are mounted, where there is more than one.
fn mounts(group: &GroupConfig) -> String {
    if group.filesystems.len() < 2 {
        return String::new();
    }
    let one = |f: &std::sync::Arc<FilesystemConfig>| match f.remark() {
        "" => f.mount.display().to_string(),
        remark => format!("{} ({remark})", f.mount.display()),
    };
    let list: Vec<_> = group.filesystems.iter().map(one).collect();
    format!("    mounted in this order, released the other way: {}\n", list.join(", "))
}

/// The policy with the triple that a preset means, and what ties the group to others.
fn policy_line(config: &GroupConfig) -> String {
    let triple = config.policy.triple();
    let policy = match config.policy.preset() {
        Some(preset) => format!("policy {preset}: {triple}"),
        None => format!("policy: {triple}"),
    };
    let mut parts = vec![policy];
    let r = &config.relations;
    let names = |list: &[GroupName]| list.iter().map(GroupName::as_str).collect::<Vec<_>>().join(", ");
    parts.extend(r.parent.as_ref().map(|p| format!("child of {p}")));
    if !r.after.is_empty() {
        parts.push(format!("starts after {}", names(&r.after)));
    }
    parts.extend(r.same_node_as.as_ref().map(|s| format!("on the node of {s}")));
    if !r.different_node_from.is_empty() {
        parts.push(format!("apart from {}, priority {}", names(&r.different_node_from), r.priority.word()));
    }
    let clients: Vec<GroupName> = config.clients().cloned().collect();
    if !clients.is_empty() {
        parts.push(format!("only where {} is online", names(&clients)));
    }
    parts.join("; ")
}

/// The lines of one group's guarantee.
#[must_use]
pub fn guarantee(group: &GroupGuarantee) -> String {
    let bound = match group.worst_case {
        Some(worst) => {
            format!("the next node may act at most {} after the owner is lost", duration_text(worst))
        }
        None => "no bound on a takeover".to_string(),
    };
    let mut out = format!("  {} [{}]: {bound}\n", group.group, group.class);
    let _ = writeln!(out, "    {}", group.sentence);
    let _ = writeln!(
        out,
        "    accepted as proof: {}; then at most {} for one attempt at acquiring",
        group.proofs.join(", "),
        duration_text(group.acquire_limit)
    );
    out
}

/// The same for programs. Lines and columns count from 1, columns in characters; durations are milliseconds.
#[must_use]
pub fn verify_json(path: &str, text: &str, parsed: &Parsed) -> Value {
    let findings: Vec<_> = parsed.findings.iter().map(|f| finding_json(text, f)).collect();
    json!({
        "path": path,
        "valid": parsed.config.is_some(),
        "errors": parsed.count(Severity::Error),
        "warnings": parsed.count(Severity::Warning),
        "notes": parsed.count(Severity::Note),
        "findings": findings,
        "timers": parsed.config.as_ref().map(timers_json),
        "groups": parsed.config.as_ref().map(|c| guarantees(c).iter().map(|g| group_json(c, g)).collect::<Vec<_>>()),
    })
}

fn finding_json(text: &str, finding: &Finding) -> Value {
    let related: Vec<_> = finding
        .related
        .iter()
        .map(|(span, label)| json!({ "at": place_json(text, span), "label": label }))
        .collect();
    json!({
        "severity": finding.severity,
        "at": place_json(text, &finding.span),
        "message": finding.message,
        "help": finding.help,
        "related": related,
    })
}

fn place_json(text: &str, span: &Span) -> Value {
    let (line, column) = regent_model::config::line_and_column(text, span.start);
    let (end_line, end_column) = regent_model::config::line_and_column(text, span.end);
    json!({ "line": line, "column": column, "end_line": end_line, "end_column": end_column })
}

fn timers_json(config: &Config) -> Value {
    let t = &config.timers;
    json!({
        "takeover": config.takeover,
        "heartbeat_ms": ms(t.heartbeat),
        "lease_ms": ms(t.lease),
        "release_begins_ms": ms(t.release_begins),
        "release_budget_ms": ms(t.release_budget()),
        "election_standby_ms": ms(t.election_standby),
        "election_witness_ms": ms(t.election_witness),
        "takeover_wait_ms": ms(t.promise_wait()),
        "inequality": t.explain(),
    })
}

fn group_json(config: &Config, group: &GroupGuarantee) -> Value {
    let of = config.group(&group.group);
    let mounts: Vec<_> = of.iter().flat_map(|g| &g.filesystems).map(|f| &f.mount).collect();
    let volumes: Vec<_> = of.iter().flat_map(|g| &g.volumes).map(|v| v.id()).collect();
    let remarks = of.map(|g| exclusion_remarks(config, g)).unwrap_or_default();
    json!({
        "volumes": volumes,
        "mounts": mounts,
        "group": group.group,
        "class": group.class,
        "proofs": group.proofs,
        "sentence": group.sentence,
        "worst_case_ms": group.worst_case.map(|d| d.as_millis()),
        "acquire_limit_ms": group.acquire_limit.as_millis(),
        "remarks": remarks,
        "policy": {
            "preset": of.and_then(|g| g.policy.preset()),
            "startup": of.map(|g| g.policy.startup.word()),
            "failover": of.map(|g| g.policy.failover.word()),
            "failback": of.map(|g| g.policy.failback.word()),
        },
    })
}
