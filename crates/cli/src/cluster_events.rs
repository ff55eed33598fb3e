//! `regent event`: the catalogue, what runs and waits, and how a blocked one goes on; and the summary of events.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use regent_api::{Answer, QueuedEvent, Request};
use regent_model::NodeName;
use regent_model::event::{CATALOGUE, EventNote};
use regent_model::journal::{AUDIT, Entry, Level};
use serde_json::{Value, json};

use crate::args::EventCommand;
use crate::client::{self, Asks};
use crate::events::{merged, moment, ms, time_text, took_text};
use crate::paint::{block, printable};
use crate::screen::Screen;
use crate::trouble::Result;

/// `regent event list`: every event there is.
///
/// # Errors
/// When standard output cannot be written.
pub fn list(screen: &Screen) -> Result<()> {
    let value = |c: &regent_model::event::Catalogued| {
        json!({
            "name": c.word, "arguments": c.arguments, "meaning": c.meaning,
            "replaceable": c.own.is_replaceable(), "complete": c.complete.map(|n| n.word()), "never": c.never,
        })
    };
    screen.value(&json!(CATALOGUE.iter().map(value).collect::<Vec<_>>()))?;
    screen.say(&catalogue())
}

/// The catalogue as text; what never happens here comes last.
#[must_use]
pub fn catalogue() -> String {
    let mut out = String::new();
    for line in CATALOGUE.iter().filter(|c| c.never.is_none()) {
        out += &format!("{} {}\n", line.word, line.arguments).replace(" \n", "\n");
        out += &format!("    {} It {}.\n", line.meaning, line.own.words());
        if let Some(complete) = line.complete {
            out += &format!("    Followed by {complete}.\n");
        }
    }
    out += "\nThese never happen here:\n";
    for line in CATALOGUE {
        if let Some(why) = line.never {
            out += &format!("{}: {why}\n", line.word);
        }
    }
    out
}

/// `regent event ...` with a daemon.
///
/// # Errors
/// When the daemon does not answer or refuses.
pub fn event(asks: &dyn Asks, screen: &Screen, verb: &EventCommand) -> Result<()> {
    match verb {
        EventCommand::List => list(screen),
        EventCommand::Queue => match client::accepted(asks.ask(&Request::EventQueue)?)? {
            Answer::EventQueue { nodes } => {
                screen.value(&json!(
                    nodes.iter().map(|(n, q)| json!({ "node": n, "events": q })).collect::<Vec<_>>()
                ))?;
                screen.say(&queue(&nodes))
            }
            other => Err(client::mismatch(&other)),
        },
        EventCommand::Resume { node } => {
            let words = client::order(asks, &Request::ResumeEvents { node: node.clone() })?;
            screen.value(&json!({ "done": words }))?;
            screen.say(&format!("{words}\n"))
        }
    }
}

/// What runs and waits, node by node.
#[must_use]
pub fn queue(nodes: &[(NodeName, Vec<QueuedEvent>)]) -> String {
    let mut out = String::new();
    for (node, events) in nodes {
        if events.is_empty() {
            out += &format!("{node}  nothing runs or waits\n");
        }
        for event in events {
            let number = event.number.map_or_else(String::new, |n| format!("event {n} "));
            let text = printable(&format!("{number}{}: {}", event.event, event.doing));
            out += &format!("{node}  {:<8} {text}\n", event.state);
            if !event.evidence.is_empty() {
                out += &block(&event.evidence, "      | ");
            }
            if event.state == "blocked" {
                out += &format!("      mend the cause, then: regent event resume --node {node}\n");
            }
        }
    }
    if out.is_empty() { "no node tells of its events\n".to_owned() } else { out }
}

/// A group, what of it, and how long that took.
type Held = (String, String, Option<Duration>);

/// One event, and what was done in it.
#[derive(Debug, Default)]
struct Sum {
    note: Option<EventNote>,
    node: String,
    began_ms: u64,
    took: Option<Duration>,
    state: String,
    acquired: Vec<Held>,
    released: Vec<Held>,
    commands: Vec<String>,
    failed: Vec<String>,
}

/// The outermost events with what was acquired, released and failed in them, oldest first.
fn sums(entries: Vec<Entry>) -> Vec<Sum> {
    let mut outer: BTreeMap<(String, u64), u64> = BTreeMap::new();
    let mut sums: BTreeMap<(String, u64), Sum> = BTreeMap::new();
    let mut order = Vec::new();
    for entry in merged(entries) {
        let Some(note) = &entry.event else { continue };
        let key = |number: u64| (entry.node.to_string(), number);
        let root = note.within.map_or(note.number, |w| outer.get(&key(w)).copied().unwrap_or(w));
        outer.insert(key(note.number), root);
        let sum = sums.entry(key(root)).or_insert_with(|| {
            order.push(key(root));
            Sum {
                node: entry.node.to_string(),
                began_ms: entry.wall_ms,
                state: "running".into(),
                ..Sum::default()
            }
        });
        if note.number == root {
            sum.note = Some(note.clone());
        }
        sum.take(&entry, note.number == root);
    }
    order.into_iter().filter_map(|key| sums.remove(&key)).filter(|s| s.note.is_some()).collect()
}

impl Sum {
    fn take(&mut self, entry: &Entry, is_root: bool) {
        let group = entry.group.as_ref().map_or_else(String::new, ToString::to_string);
        let what = entry.resource.as_ref().map_or_else(String::new, ToString::to_string);
        match entry.kind.as_str() {
            "event_complete" if is_root => {
                self.took = entry.took;
                self.state = entry.text.split(':').next().unwrap_or("done").to_owned();
            }
            "event_interrupted" if is_root => self.state = "interrupted".into(),
            "event_blocked" => self.state = "blocked".into(),
            "acquire" | "adopt" => self.acquired.push((group, what, entry.took)),
            "release" => self.released.push((group, what, entry.took)),
            "event_command" if entry.level == Level::Step => self.commands.push(entry.text.clone()),
            _ if entry.level >= Level::Warning => self.failed.push(entry.text.clone()),
            _ => {}
        }
    }

    fn json(&self) -> Value {
        let list = |all: &[Held]| -> Vec<Value> {
            let one = |(group, what, took): &Held| json!({ "group": group, "resource": what, "took_ms": took.map(ms) });
            all.iter().map(one).collect()
        };
        json!({
            "node": self.node,
            "number": self.note.as_ref().map(|n| n.number),
            "event": self.note.as_ref().map(|n| n.event.name.word()),
            "arguments": self.note.as_ref().map(|n| n.event.args.clone()),
            "time": time_text(self.began_ms),
            "state": self.state,
            "took_ms": self.took.map(ms),
            "acquired": list(&self.acquired),
            "released": list(&self.released),
            "commands": self.commands,
            "failed": self.failed,
        })
    }

    fn text(&self, zone: &TimeZone) -> String {
        let Some(note) = &self.note else { return String::new() };
        let took = self.took.map_or_else(String::new, |t| format!(" in {}", took_text(t)));
        let head = format!("{}  {}  event {}", moment(self.began_ms, zone), self.node, note.number);
        let mut out = format!("{head} {}: {}{took}\n", note.event, self.state);
        for (word, all) in [("acquired", &self.acquired), ("released", &self.released)] {
            for (group, what, took) in all {
                let took = took.map_or_else(String::new, |t| format!("  {}", took_text(t)));
                out += &format!("    {word} {group}: {what}{took}\n");
            }
        }
        for (word, all) in [("ran", &self.commands), ("failed", &self.failed)] {
            for text in all {
                out += &format!("    {word}: {}\n", printable(text));
            }
        }
        out
    }
}

/// The summary as text, of the newest `limit` events.
#[must_use]
pub fn summary(entries: Vec<Entry>, limit: usize, zone: &TimeZone) -> String {
    let sums = sums(entries);
    let from = sums.len().saturating_sub(limit);
    let text: String = sums[from..].iter().map(|s| s.text(zone)).collect();
    if text.is_empty() { "no event has happened\n".to_owned() } else { text }
}

/// The same for programs.
#[must_use]
pub fn summary_json(entries: Vec<Entry>, limit: usize) -> Value {
    let sums = sums(entries);
    let from = sums.len().saturating_sub(limit);
    Value::Array(sums[from..].iter().map(Sum::json).collect())
}

/// Whether an entry only tells of the parts of an event, or of who ordered what: what happens has entries of its own.
#[must_use]
pub fn is_inner(entry: &Entry) -> bool {
    let Some(note) = &entry.event else { return entry.kind == AUDIT };
    let frame = matches!(entry.kind.as_str(), "event_start" | "event_complete");
    frame && (note.within.is_some() || note.event.name.word().ends_with("_complete"))
}
