//! `regent events`: the journals of all nodes as one list of steps with milliseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regent_model::journal::{Entry, Level};
use serde_json::{Value, json};

use crate::cluster_events::is_inner;
use crate::paint::{Paint, Tone, block, printable};

/// A burst of events ends when nothing happens for longer than this, in milliseconds.
const PAUSE_MS: u64 = 2_000;
/// What happened is padded up to so many characters, so that what it took stands in a column.
const TEXT_WIDTH: usize = 72;

/// How events are shown.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Whether evidence is shown for every entry, not only for warnings and errors.
    pub verbose: bool,
    /// The time zone of the reader.
    pub zone: TimeZone,
    /// Whether to colour.
    pub paint: Paint,
}

/// The entries of all nodes in one order: by wall time, but never against the order of the node that wrote them
/// (wall clocks jump, and differ).
#[must_use]
pub fn merged(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| (&a.node, a.number).cmp(&(&b.node, b.number)));
    entries.dedup_by(|a, b| (&a.node, a.number) == (&b.node, b.number));
    let mut latest: BTreeMap<String, u64> = BTreeMap::new();
    let mut keyed: Vec<(u64, Entry)> = entries
        .into_iter()
        .map(|entry| {
            let at = latest.entry(entry.node.to_string()).or_insert(0);
            *at = entry.wall_ms.max(*at);
            (*at, entry)
        })
        .collect();
    keyed.sort_by_key(|(at, _)| *at);
    keyed.into_iter().map(|(_, entry)| entry).collect()
}

/// The entries in bursts: what happened without a pause of more than two seconds.
#[must_use]
pub fn bursts(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut bursts: Vec<Vec<Entry>> = Vec::new();
    for entry in merged(entries) {
        match bursts.last_mut() {
            Some(burst) if !pause(burst.last().map_or(0, |e| e.wall_ms), entry.wall_ms) => burst.push(entry),
            _ => bursts.push(vec![entry]),
        }
    }
    bursts
}

fn pause(before: u64, now: u64) -> bool {
    now.saturating_sub(before) > PAUSE_MS
}

/// What concerns one group: its own entries, and what the cluster went through in the same bursts.
#[must_use]
pub fn of_group(bursts: Vec<Vec<Entry>>, group: &str) -> Vec<Vec<Entry>> {
    let about = |e: &Entry| e.group.as_ref().map(|g| g.as_str() == group || g.base() == group);
    bursts
        .into_iter()
        .filter(|burst| burst.iter().any(|e| about(e) == Some(true)))
        .map(|burst| burst.into_iter().filter(|e| about(e) != Some(false)).collect())
        .collect()
}

/// The last `limit` entries.
#[must_use]
pub fn newest(bursts: Vec<Vec<Entry>>, limit: usize) -> Vec<Vec<Entry>> {
    let total: usize = bursts.iter().map(Vec::len).sum();
    let mut surplus = total.saturating_sub(limit);
    bursts
        .into_iter()
        .filter_map(|mut burst| {
            let gone = surplus.min(burst.len());
            surplus -= gone;
            burst.drain(..gone);
            (!burst.is_empty()).then_some(burst)
        })
        .collect()
}

/// Without the parts of cluster events, unless they are wanted.
#[must_use]
pub fn outer(bursts: Vec<Vec<Entry>>, parts: bool) -> Vec<Vec<Entry>> {
    let keep = |entry: &Entry| parts || !is_inner(entry);
    let bursts = bursts.into_iter().map(|burst| burst.into_iter().filter(keep).collect::<Vec<_>>());
    bursts.filter(|burst| !burst.is_empty()).collect()
}

/// Everything, burst by burst.
#[must_use]
pub fn render(bursts: &[Vec<Entry>], manner: &Manner) -> String {
    if bursts.is_empty() {
        return "nothing has happened\n".to_owned();
    }
    let texts: Vec<String> = bursts
        .iter()
        .map(|burst| {
            let mut teller = Teller::whole(manner.clone(), burst, None);
            burst.iter().map(|e| teller.line(e)).collect()
        })
        .collect();
    texts.join("\n")
}

/// Tells entries one after another, as they come.
#[derive(Debug, Clone)]
pub struct Teller {
    manner: Manner,
    began: Option<u64>,
    last: u64,
    width: usize,
    names: usize,
    /// It tells one burst, of which pieces may be left out: what looks like a pause is none.
    whole: bool,
}

impl Teller {
    /// One that has told nothing yet.
    #[must_use]
    pub fn new(manner: Manner) -> Self {
        Self { manner, began: None, last: 0, width: 48, names: 4, whole: false }
    }

    /// One that tells these entries as one burst, with columns that fit them. Milliseconds count from `began_ms` (wall
    /// clock), without a heading, or else from the first entry.
    #[must_use]
    pub fn whole(manner: Manner, entries: &[Entry], began_ms: Option<u64>) -> Self {
        let width = entries.iter().map(|e| what(e).chars().count()).max().unwrap_or(0).min(TEXT_WIDTH);
        let names = entries.iter().map(|e| e.node.as_str().len()).max().unwrap_or(0);
        Self { manner, began: began_ms, last: 0, width, names, whole: true }
    }

    /// Whether an entry belongs to the burst at hand. One may come late, from a node that was away: then its time is
    /// told anew.
    fn continues(&self, began: u64, wall_ms: u64) -> bool {
        !pause(self.last, wall_ms) && !pause(wall_ms, began)
    }

    /// When the burst of the last entry told began, in milliseconds of the wall clock.
    #[must_use]
    pub fn burst_began(&self) -> u64 {
        self.began.unwrap_or_default()
    }

    /// The line of this entry, with the heading of its burst if it begins one, and its evidence.
    pub fn line(&mut self, entry: &Entry) -> String {
        let paint = self.manner.paint;
        let mut out = String::new();
        let began = match self.began {
            Some(began) if self.whole || self.continues(began, entry.wall_ms) => began,
            before => {
                if before.is_some() {
                    out.push('\n');
                }
                out.push_str(&paint.tone(Tone::Dim, &moment(entry.wall_ms, &self.manner.zone)));
                out.push('\n');
                entry.wall_ms
            }
        };
        self.began = Some(began);
        self.last = if began == entry.wall_ms { began } else { self.last.max(entry.wall_ms) };
        self.names = self.names.max(entry.node.as_str().len());
        let text = what(entry);
        let after = i128::from(entry.wall_ms) - i128::from(began);
        let blank = self.width.saturating_sub(text.chars().count());
        let took = entry.took.map_or_else(String::new, |t| format!("{:blank$}  {}", "", took_text(t)));
        out.push_str(&format!(
            "{:>9}  {:names$}  {}{}\n",
            format!("{after:+} ms"),
            entry.node,
            paint.tone(tone(entry.level), &text),
            paint.tone(Tone::Dim, &took),
            names = self.names
        ));
        if !entry.evidence.is_empty() && (self.manner.verbose || entry.level >= Level::Warning) {
            let indent = format!("{:>11}{:names$}    | ", "", "", names = self.names);
            out.push_str(&paint_lines(&block(&entry.evidence, &indent), paint));
        }
        out
    }
}

fn paint_lines(text: &str, paint: Paint) -> String {
    text.lines().map(|line| format!("{}\n", paint.tone(Tone::Dim, line))).collect()
}

fn tone(level: Level) -> Tone {
    match level {
        Level::Step => Tone::Plain,
        Level::Notice => Tone::Strong,
        Level::Warning => Tone::Warning,
        Level::Error => Tone::Bad,
    }
}

fn what(entry: &Entry) -> String {
    let text = printable(&entry.text);
    match entry.level {
        Level::Step | Level::Notice => text,
        Level::Warning => format!("warning: {text}"),
        Level::Error => format!("error: {text}"),
    }
}

/// How long something took, in whole milliseconds; finer below ten.
#[must_use]
pub fn took_text(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// A moment as the reader's clock showed it.
#[must_use]
pub fn moment(wall_ms: u64, zone: &TimeZone) -> String {
    timestamp(wall_ms).map_or_else(
        || format!("{wall_ms} ms after 1970"),
        |t| t.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f %Z").to_string(),
    )
}

fn timestamp(wall_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(wall_ms).unwrap_or(i64::MAX)).ok()
}

/// A moment for programs; none if it is beyond every calendar.
#[must_use]
pub fn time_text(wall_ms: u64) -> Option<String> {
    timestamp(wall_ms).map(|t| t.to_string())
}

/// A duration for programs, in milliseconds.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// One entry for programs: as the journal has it, with its time as text and durations in milliseconds.
#[must_use]
pub fn entry_json(entry: &Entry, burst_began_ms: u64) -> Value {
    let mut value = serde_json::to_value(entry).unwrap_or_default();
    value["time"] = json!(time_text(entry.wall_ms));
    value["since_burst_ms"] = json!(i128::from(entry.wall_ms) - i128::from(burst_began_ms));
    value["took_ms"] = json!(entry.took.map(ms));
    value
}
