//! Reads `[[event]]` and `[[group.event]]`: what is done around a cluster event, and what when that fails.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::finding::Findings;
use super::reader::{Reader, Zero};
use super::spelling;
use super::tree::{At, Table};
use crate::event::{CATALOGUE, EventName};
use crate::ids::NodeName;

/// After how long an event, or the acquiring and releasing of groups within it, is said to take too long; the two
/// are added. Unless the configuration says otherwise.
pub const DEFAULT_EVENT_LIMIT: Duration = Duration::from_secs(180);

/// What happens when a command of an event has failed, and its recovery too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The events of this node wait until a person says `regent event resume`.
    Block,
    /// It is told, and the event goes on.
    Continue,
}

/// What `[cluster]` says about events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRules {
    /// Where an event does not say it itself.
    pub on_error: OnError,
    /// How long an event may take, without its groups.
    pub event_limit: Duration,
    /// How long groups may take within an event.
    pub group_limit: Duration,
}

impl Default for EventRules {
    fn default() -> Self {
        Self { on_error: OnError::Block, event_limit: DEFAULT_EVENT_LIMIT, group_limit: DEFAULT_EVENT_LIMIT }
    }
}

/// What is done around an event. Commands are lines for `/bin/sh -c`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventConfig {
    /// The event.
    pub name: EventName,
    /// The nodes it is done on; empty = on all.
    pub nodes: Vec<NodeName>,
    /// Run before and after it, with `start` or `complete`, the event and its arguments.
    pub notify: Option<String>,
    /// Run before it, one after the other, with the event and its arguments.
    pub pre: Vec<String>,
    /// Run in place of what the event does by itself, with its arguments.
    pub command: Option<String>,
    /// Run after it, one after the other, with the event, its status and its arguments.
    pub post: Vec<String>,
    /// Run when a command failed; if it succeeds, the command is tried again.
    pub recovery: Option<String>,
    /// How many times; at least once if there is a recovery.
    pub recovery_count: u32,
    /// After how long a command is killed; without it, never.
    pub timeout: Option<Duration>,
    /// What happens when a command has failed for good; without it, what the cluster says.
    pub on_error: Option<OnError>,
}

impl EventConfig {
    /// Whether anything is done on `node`.
    #[must_use]
    pub fn is_for(&self, node: &NodeName) -> bool {
        self.nodes.is_empty() || self.nodes.contains(node)
    }
}

/// A table as far as it could be read.
#[derive(Debug)]
pub(super) struct EventDraft {
    pub(super) name: Option<At<EventName>>,
    pub(super) nodes: Option<At<Vec<At<String>>>>,
    pub(super) config: Option<EventConfig>,
}

/// Reads what `[cluster]` says about events.
pub(super) fn rules(reader: &mut Reader<'_>) -> EventRules {
    let on_error = reader.choice("on_event_error", &ON_ERROR);
    EventRules {
        on_error: on_error.map_or(OnError::Block, |o| o.value),
        event_limit: reader.duration_or("event_time_limit", DEFAULT_EVENT_LIMIT, "\"180s\""),
        group_limit: reader.duration_or("group_time_limit", DEFAULT_EVENT_LIMIT, "\"180s\""),
    }
}

const ON_ERROR: [(&str, OnError); 2] = [("block", OnError::Block), ("continue", OnError::Continue)];
const COMMAND: &str = "\"/usr/local/etc/node_down.sh\"";

pub(super) fn event(place: &'static str, table: Table, findings: &mut Findings) -> EventDraft {
    let mut reader = Reader::new(place, table, findings);
    let header = reader.header.clone();
    reader.require("name", "\"node_down\"");
    let written = reader.text("name", "\"node_down\"");
    let name = written.and_then(|text| known(&mut reader, text));
    let nodes = reader.texts("nodes", "[\"lx4\"]");
    let notify = reader.text("notify", COMMAND);
    let pre = commands(&mut reader, "pre");
    let command = reader.text("command", COMMAND);
    let post = commands(&mut reader, "post");
    let recovery = reader.text("recovery", COMMAND);
    let count = reader.number("recovery_count", 0..=1000, "1");
    let timeout = reader.duration("timeout", Zero::Refused, "\"60s\"");
    let on_error = reader.choice("on_error", &ON_ERROR);
    let findings = &mut *reader.findings;
    replaced(name.as_ref(), command.as_ref(), findings);
    match (&recovery, count.as_ref().filter(|n| n.value > 0)) {
        (Some(recovery), None) => findings.add(
            Finding::error(&recovery.span, "`recovery` is never tried: `recovery_count` is 0")
                .help("add a line: recovery_count = 1"),
        ),
        (None, Some(count)) => findings.add(
            Finding::error(&count.span, "`recovery_count` counts nothing: there is no `recovery`")
                .help(format!("add a line: recovery = {COMMAND}, or delete this one")),
        ),
        _ => {}
    }
    let named = nodes.as_ref().map_or(Some(Vec::new()), |list| {
        list.value.iter().map(|n| NodeName::new(&n.value).ok()).collect::<Option<Vec<_>>>()
    });
    if notify.is_none() && pre.is_empty() && command.is_none() && post.is_empty() && name.is_some() {
        findings
            .add_missing(Finding::error(&header, "nothing is done at this event").help(format!(
                "add a line: post = {COMMAND} (or notify, pre, command), or delete the table"
            )));
    }
    let config = name.as_ref().zip(named).map(|(name, nodes)| EventConfig {
        name: name.value,
        nodes,
        notify: notify.map(|t| t.value),
        pre,
        command: command.map(|t| t.value),
        post,
        recovery: recovery.map(|t| t.value),
        recovery_count: count.map_or(0, |n| n.value),
        timeout: timeout.map(|t| t.value),
        on_error: on_error.map(|o| o.value),
    });
    reader.finish();
    EventDraft { name, nodes, config }
}

/// The event of that name; one that never happens here is refused.
fn known(reader: &mut Reader<'_>, text: At<String>) -> Option<At<EventName>> {
    const ALL: &str = "`regent event list` shows all events";
    let Some(name) = EventName::of_word(&text.value) else {
        let words: Vec<&str> = CATALOGUE.iter().filter(|c| c.never.is_none()).map(|c| c.word).collect();
        let near = spelling::nearest(&text.value, &words);
        let help = near.map_or_else(|| ALL.to_owned(), |near| format!("did you mean \"{near}\"? {ALL}"));
        let message = format!("there is no event \"{}\"", text.value.escape_debug());
        reader.findings.add(Finding::error(&text.span, message).help(help));
        return None;
    };
    if let Some(why) = name.entry().never {
        let message = format!("`{name}` never happens: {why}");
        reader.findings.add(Finding::error(&text.span, message).help(format!("delete the table; {ALL}")));
        return None;
    }
    Some(At::new(name, text.span))
}

fn replaced(name: Option<&At<EventName>>, command: Option<&At<String>>, findings: &mut Findings) {
    let (Some(name), Some(command)) = (name, command) else { return };
    if !name.value.entry().own.is_replaceable() {
        let message = format!(
            "`{}` cannot be replaced by a command: in it the guard takes addresses and mounts, under a lease",
            name.value
        );
        let finding = Finding::error(&command.span, message)
            .help("run it before or after: write `pre` or `post` in place of `command`")
            .related(&name.span, "this event");
        findings.add(finding);
    }
}

/// One command, or a list of them.
fn commands(reader: &mut Reader<'_>, key: &'static str) -> Vec<String> {
    let Some(texts) = reader.text_or_texts(key, COMMAND) else { return Vec::new() };
    let empty = texts.value.iter().find(|t| t.value.trim().is_empty()).map(|t| t.span.clone());
    if let Some(span) = empty.or_else(|| texts.value.is_empty().then(|| texts.span.clone())) {
        let finding = Finding::error(&span, format!("`{key}` holds no command"))
            .help(format!("write for example {key} = {COMMAND}, or delete it"));
        reader.findings.add(finding);
    }
    texts.value.into_iter().map(|t| t.value).collect()
}

/// Whether an event can concern one group.
pub(super) fn concerns_groups(name: EventName) -> bool {
    use EventName::*;
    !matches!(
        name,
        NetworkUp
            | NetworkUpComplete
            | NetworkDown
            | NetworkDownComplete
            | FailStandby
            | JoinStandby
            | FailInterface
            | JoinInterface
            | SwapAdapter
            | SwapAdapterComplete
            | SwapAddress
            | ClusterNotify
            | ForcedDownTooLong
            | ReconfigTopologyStart
            | ReconfigTopologyComplete
            | ReconfigConfigurationComplete
    )
}
