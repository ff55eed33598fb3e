//! `regent status` and `regent explain`: the cluster at one glance, and one group in full.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regent_api::{GroupStatus, HoldStatus, NetworkStatus, NodeStatus, ResourceStatus, Status, WordStatus};
use regent_model::config::duration_text;
use regent_model::connection::in_words;
use serde_json::Value;

use crate::arbiter;
use crate::events::ms;
use crate::paint::{Cell, Paint, Tone, printable, table, wrapped};
use crate::remove;
use crate::settle::is_unwell;

mod adapters;
mod releases;
mod together;

use adapters::adapters;
use releases::releases;

/// Where lines are broken.
const WIDTH: usize = 100;
/// The first line names as many groups; of more it gives the number.
const NAMED_MAX: usize = 3;

/// The whole status.
#[must_use]
pub fn render(status: &Status, paint: Paint) -> String {
    let mut out = head(status, paint);
    if !status.quorate {
        out.push('\n');
        out.push_str(&stale(status, paint));
    }
    if let Some(lock) = &status.config_lock {
        let text = format!("{} is changing the configuration with cluadmin, and has its lock", lock.holder());
        let _ = writeln!(out, "{}", paint.tone(Tone::Dim, &printable(&text)));
    }
    out.push('\n');
    out.push_str(&nodes(status, paint));
    out.push_str(&releases(status, WIDTH, paint));
    out.push_str(&arbiter::block(status, paint));
    out.push_str(&remove::block(status, paint));
    out.push_str(&adapters(status, paint));
    for node in &status.nodes {
        for trouble in &node.troubles {
            let text = paint.tone(Tone::Warning, &wrapped(trouble, WIDTH, "  "));
            let _ = writeln!(out, "  {}: {text}", paint.tone(Tone::Strong, node.name.as_str()));
        }
    }
    for group in &status.groups {
        if group.name.node().is_none() {
            out.push('\n');
            out.push_str(&group_block(group, status.quorate, paint));
        } else if together::is_first(status, group) {
            out.push('\n');
            out.push_str(&together::block(status, group, paint));
        }
    }
    if status.groups.is_empty() {
        out.push_str(
            "\nno resource group is configured yet; describe one in the file, then: regent apply FILE\n",
        );
    }
    if let Some(change) = &status.key_change {
        let next = change.next.as_deref().unwrap_or("it goes on by itself: regent key status");
        let text = wrapped(&format!("{}; next: {next}", change.line()), WIDTH, "  ");
        let _ = writeln!(out, "\n{}", paint.tone(Tone::Warning, &text));
    }
    if !status.fencing.is_empty() {
        let _ = writeln!(out, "\n{}", paint.tone(Tone::Warning, "power is being cut"));
        for line in &status.fencing {
            let _ = writeln!(out, "  {}", printable(line));
        }
    }
    out
}

fn head(status: &Status, paint: Paint) -> String {
    let mut out = format!(
        "cluster {}, as {} sees it: {}\n",
        paint.tone(Tone::Strong, &status.cluster),
        paint.tone(Tone::Strong, status.node.as_str()),
        verdict(status, paint)
    );
    let quorum = if status.quorate { "quorum" } else { "no quorum" };
    let leader = status.leader.as_ref().map_or_else(|| "no leader".into(), |l| format!("leader {l}"));
    let line = format!(
        "{quorum}, {leader}, takeover {} (lease {}), configuration {}",
        printable(&status.takeover),
        duration_text(status.lease),
        status.config_serial
    );
    let tone = if status.quorate { Tone::Dim } else { Tone::Plain };
    let _ = writeln!(out, "{}", paint.tone(tone, &line));
    out
}

/// The cluster in a few words.
fn verdict(status: &Status, paint: Paint) -> String {
    if !status.quorate {
        return paint.tone(Tone::Bad, "NOT IN TOUCH WITH A MAJORITY");
    }
    let restless: Vec<&GroupStatus> =
        status.groups.iter().filter(|g| !matches!(g.state.as_str(), "online" | "disabled")).collect();
    let missing: Vec<&str> = status
        .nodes
        .iter()
        .filter(|n| !matches!(n.state.as_str(), "up" | "standby"))
        .map(|n| n.name.as_str())
        .collect();
    let mut parts = Vec::new();
    if restless.len() <= NAMED_MAX {
        parts.extend(restless.iter().map(|g| format!("{} {}", g.name, printable(&g.state))));
    } else {
        parts.push(format!("{} of {} groups are not online", restless.len(), status.groups.len()));
    }
    if !missing.is_empty() {
        parts.push(format!("without {}", missing.join(", ")));
    }
    for node in status.nodes.iter().filter(|n| matches!(n.state.as_str(), "up" | "standby")) {
        let silent =
            |(at, network): (usize, &NetworkStatus)| (network.heard == Some(false)).then_some(at + 1);
        for network in node.networks.iter().enumerate().filter_map(silent) {
            parts.push(format!("{} is silent on network {network}", node.name));
        }
    }
    let mut nodes = status.nodes.iter().filter(|n| !n.witness);
    if !status.groups.is_empty() && nodes.all(|n| n.state == "standby") {
        parts.push("every node is on standby".to_owned());
    }
    parts.extend(arbiter::verdict(status));
    let held = status.groups.iter().filter(|g| g.held.is_some());
    parts.extend(held.map(|g| format!("{} held", g.name)));
    let troubled: Vec<&str> =
        status.nodes.iter().filter(|n| !n.troubles.is_empty()).map(|n| n.name.as_str()).collect();
    match troubled.as_slice() {
        [] => {}
        [one] => parts.push(format!("see what {one} says")),
        several => parts.push(format!("see what {} say", several.join(", "))),
    }
    let tone = match (parts.is_empty(), restless.iter().any(|g| is_unwell(g))) {
        (true, _) => return paint.tone(Tone::Good, "all is well"),
        (_, true) => Tone::Bad,
        _ => Tone::Warning,
    };
    paint.tone(tone, &parts.join(", "))
}

fn stale(status: &Status, paint: Paint) -> String {
    let text = format!(
        "What follows is what {} knew last. It may be out of date: a group shown here may run elsewhere by now.",
        status.node
    );
    let mut out = paint.tone(Tone::Bad, &wrapped(&text, WIDTH, ""));
    out.push('\n');
    let others: Vec<&str> =
        status.nodes.iter().filter(|n| n.name != status.node).map(|n| n.name.as_str()).collect();
    let _ = writeln!(out, "  next: ask another node ({}); see to its networks", others.join(", "));
    out
}

fn nodes(status: &Status, paint: Paint) -> String {
    let networks = status.nodes.iter().map(|n| n.networks.len()).max().unwrap_or(0);
    let mut title = vec!["NODE".to_owned(), "STATE".into(), "VOTE".into(), "LEASE".into()];
    title.extend(
        (1..=networks).map(|n| if networks == 1 { "NETWORK".into() } else { format!("NETWORK {n}") }),
    );
    title.push(String::new());
    let mut rows = vec![title.iter().map(|t| Cell::new(Tone::Dim, t)).collect::<Vec<_>>()];
    rows.extend(status.nodes.iter().map(|n| node_row(n, networks)));
    table(&rows, "", paint)
}

fn node_row(node: &NodeStatus, networks: usize) -> Vec<Cell> {
    let tone = match node.state.as_str() {
        "up" => Tone::Good,
        "standby" | "stopping" => Tone::Warning,
        "silent" | "down" => Tone::Bad,
        _ => Tone::Plain,
    };
    let vote = match (node.witness, node.voter) {
        (true, true) => "witness",
        (true, false) => "witness, not yet",
        (false, true) => "yes",
        (false, false) => "not yet",
    };
    let lease = match node.lease_valid {
        Some(true) => Cell::plain("valid"),
        Some(false) => Cell::new(Tone::Warning, "none"),
        None => Cell::plain("-"),
    };
    let mut row = vec![
        Cell::new(Tone::Strong, node.name.as_str()),
        Cell::new(tone, &node.state),
        Cell::plain(vote),
        lease,
    ];
    for at in 0..networks {
        row.push(node.networks.get(at).map_or_else(
            || Cell::plain("-"),
            |network| match network.heard {
                Some(true) => Cell::plain(format!("{} heard", network.address)),
                Some(false) => Cell::new(Tone::Bad, format!("{} SILENT", network.address)),
                None => Cell::plain(format!("{} here", network.address)),
            },
        ));
    }
    row.push(Cell::new(Tone::Dim, &node.remark));
    row
}

/// On whose word a group is free, and until when.
pub(crate) fn word_words(word: &WordStatus, zone: &TimeZone) -> String {
    let until = i64::try_from(word.until_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let until = until.map_or_else(String::new, |t| {
        format!(" until {}", t.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S"))
    });
    format!(
        "free on the word of {} that its last owner is dead ({}); the word is good{until}, then a proof is needed again",
        word.who, word.why
    )
}

/// Who holds a group, since when, and why.
pub(crate) fn hold_words(hold: &HoldStatus, zone: &TimeZone) -> String {
    let since = i64::try_from(hold.since_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let since = since.map_or_else(String::new, |at| {
        format!(" since {}", at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S"))
    });
    let why = if hold.why.is_empty() { String::new() } else { format!(": {}", hold.why) };
    format!("held by {}{since}{why}", hold.who)
}

/// The tone of a group's state.
fn group_tone(state: &str) -> Tone {
    match state {
        "online" => Tone::Good,
        "acquiring" | "releasing" | "unknown" => Tone::Warning,
        "offline" | "disabled" => Tone::Plain,
        _ => Tone::Bad,
    }
}

/// The state of a group in a line. What is only remembered is told as past.
fn headline(group: &GroupStatus, quorate: bool, paint: Paint) -> String {
    let was = if quorate { "" } else { "was " };
    let state = paint.tone(group_tone(&group.state), &printable(&group.state));
    let owner = match (&group.owner, group.state.as_str()) {
        (None, _) => String::new(),
        (Some(owner), "blocked" | "unknown") => {
            format!(", last on {}", paint.tone(Tone::Strong, owner.as_str()))
        }
        (Some(owner), _) => format!(" on {}", paint.tone(Tone::Strong, owner.as_str())),
    };
    format!("GROUP {} {was}{state}{owner}\n", paint.tone(Tone::Strong, group.name.as_str()))
}

fn group_block(group: &GroupStatus, quorate: bool, paint: Paint) -> String {
    let mut out = headline(group, quorate, paint);
    if let Some(reason) = &group.blocked {
        let tone = if group_tone(&group.state) == Tone::Bad { Tone::Bad } else { Tone::Plain };
        let _ = writeln!(out, "  {}", paint.tone(tone, &wrapped(reason, WIDTH, "  ")));
    }
    if let Some(advice) = &group.advice {
        let _ = writeln!(out, "  next: {}", paint.tone(Tone::Strong, &printable(advice)));
    }
    if let Some(hold) = &group.held {
        let words = wrapped(&hold_words(hold, &TimeZone::system()), WIDTH, "  ");
        let _ = writeln!(out, "  {}", paint.tone(Tone::Warning, &words));
    }
    if let Some(word) = &group.word {
        let words = wrapped(&word_words(word, &TimeZone::system()), WIDTH, "  ");
        let _ = writeln!(out, "  {}", paint.tone(Tone::Warning, &words));
    }
    for warning in group.warnings.iter().chain(&group.pending) {
        let _ = writeln!(out, "  {}", paint.tone(Tone::Warning, &wrapped(warning, WIDTH, "  ")));
    }
    let epoch = match (group.epoch.0, &group.owner) {
        (0, _) => "none yet".to_owned(),
        (n, Some(_)) => format!("{n}, proof: {}", printable(&group.proof_text)),
        (n, None) => format!("{n} is over, proof: {}", printable(&group.proof_text)),
    };
    let resources: Vec<String> = group.resources.iter().map(|r| resource(r, paint)).collect();
    let lines = [
        ("epoch", epoch),
        ("why", format!("{}; policy {}", printable(&group.why), printable(&group.policy))),
        ("runs", resources.join(", ")),
    ];
    for (name, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        let _ = writeln!(out, "  {} {text}", paint.tone(Tone::Dim, &format!("{name:<5}")));
    }
    out
}

fn resource(resource: &ResourceStatus, paint: Paint) -> String {
    let tone = match resource.state.as_str() {
        "running" => Tone::Good,
        "failed" => Tone::Bad,
        "acquiring" | "releasing" | "slow" | "unwell" | "unknown" => Tone::Warning,
        _ => Tone::Plain,
    };
    let clients = match resource.connections {
        None | Some(0) => String::new(),
        Some(n) => format!(" ({})", in_words(n as usize)),
    };
    let more = if resource.suspended { paint.tone(Tone::Warning, ", not watched") } else { String::new() };
    let state = paint.tone(tone, &printable(&resource.state));
    format!("{} {} {state}{clients}{more}", resource.kind, resource.name)
}

/// Why a group is where it is, and why not elsewhere.
#[must_use]
pub fn explain(status: &Status, group: &GroupStatus, paint: Paint) -> String {
    let mut out = headline(group, status.quorate, paint);
    if !status.quorate {
        out.push_str(&stale(status, paint));
    }
    let mut section = |title: &str, text: &str| {
        if !text.is_empty() {
            let _ = writeln!(out, "\n{}\n  {}", paint.tone(Tone::Strong, title), wrapped(text, WIDTH, "  "));
        }
    };
    let here = group.owner.as_ref().map_or_else(|| "why it is so".to_owned(), |o| format!("why on {o}"));
    section(&here, &format!("{} (policy {})", group.why, group.policy));
    section("what keeps it from running", group.blocked.as_deref().unwrap_or_default());
    section("what is not as it should be", &group.warnings.join("; "));
    let hold = group.held.as_ref().map(|hold| hold_words(hold, &TimeZone::system()));
    let word = group.word.as_ref().map(|word| word_words(word, &TimeZone::system()));
    section("on whose word it is free", word.as_deref().unwrap_or_default());
    section("what an operator has said", hold.as_deref().unwrap_or_default());
    section("what waits for its next acquisition", group.pending.as_deref().unwrap_or_default());
    section("what to type", group.advice.as_deref().unwrap_or_default());
    let proof = match (group.epoch.0, group.proof.as_str()) {
        (0, _) => "no node has owned it yet".to_owned(),
        (_, "never-owned") => format!("epoch {} is the first: nobody owned it before", group.epoch),
        _ if group.owner.is_none() => {
            format!(
                "the owner of epoch {} can no longer act: {} ({})",
                group.epoch, group.proof_text, group.proof
            )
        }
        _ => format!(
            "epoch {} began when the owner before could no longer act: {} ({})",
            group.epoch, group.proof_text, group.proof
        ),
    };
    section("proof", &proof);
    let guarantee = match group.guarantee_class.as_str() {
        "" => group.guarantee.clone(),
        class => format!("{class}: {}", group.guarantee),
    };
    section("what guarantees one owner", &guarantee);
    let _ = writeln!(out, "\n{}", paint.tone(Tone::Strong, "its nodes, in order of preference"));
    let rows: Vec<Vec<Cell>> = group
        .nodes
        .iter()
        .map(|(node, verdict)| vec![Cell::new(Tone::Strong, node.as_str()), Cell::plain(verdict)])
        .collect();
    out.push_str(&table(&rows, "  ", paint));
    let _ = writeln!(out, "\n{}", paint.tone(Tone::Strong, "its resources, in the order of acquiring"));
    let rows: Vec<Vec<Cell>> = group
        .resources
        .iter()
        .map(|r| vec![Cell::plain(&r.kind), Cell::plain(r.name.as_str()), Cell::plain(&r.state)])
        .collect();
    out.push_str(&table(&rows, "  ", paint));
    out
}

/// The status for programs: as the daemon says it, with the lease in milliseconds and the verdicts by name.
#[must_use]
pub fn status_json(status: &Status) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    value["lease_ms"] = ms(status.lease).into();
    for (at, group) in status.groups.iter().enumerate() {
        let verdicts = group.nodes.iter().map(|(node, verdict)| (node.to_string(), verdict.clone().into()));
        value["groups"][at]["verdicts"] = Value::Object(verdicts.collect());
    }
    value
}
