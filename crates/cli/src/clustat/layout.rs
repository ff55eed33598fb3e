//! The sections of the screen.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{View, heartbeats, is_meant, is_up, word};
use crate::cluadmin::phrases::in_its_words;
use crate::paint::{printable, wrapped};
use crate::status::hold_words;

/// The width of the screen.
const WIDTH: usize = 77;

/// The whole screen.
#[must_use]
pub fn render(view: &View) -> String {
    let status = &view.status;
    let title = format!("Cluster Status Monitor ({})", status.cluster);
    let time = clock(view.now_ms, &view.zone, "%H:%M:%S");
    let gap = WIDTH.saturating_sub(title.len() + time.len()).max(1);
    let mut out = format!("{title}{:gap$}{time}\nCluster alias: Not Configured\n", "");
    if !status.quorate {
        let text =
            format!("{} hears no majority of the members: what follows may be out of date.", status.node);
        let _ = writeln!(out, "\n{}", wrapped(&text, WIDTH, ""));
    }
    let _ = write!(out, "\n{}\n{}\n{}", members(view), beats(view), services(view, None));
    out
}

fn members(view: &View) -> String {
    let mut table =
        Table::new(&[("", "Member", 14), ("", "Status", 10), ("", "Node Id", 10), ("", "Power Switch", 12)]);
    let mut remarks = String::new();
    for (id, node) in view.status.nodes.iter().enumerate() {
        let state = if is_up(node) { "UP" } else { "DOWN" };
        table.row(&[node.name.as_str(), state, &id.to_string(), view.power(node)]);
        if !matches!(node.state.as_str(), "up" | "down") {
            let dash = if node.remark.is_empty() { "" } else { ": " };
            let text = format!("{} is {}{dash}{}", node.name, node.state, node.remark);
            let _ = writeln!(remarks, "  {}", wrapped(&text, WIDTH - 2, "  "));
        }
    }
    remarks = if remarks.is_empty() { remarks } else { format!("\n{remarks}") };
    format!("{}\n{}{remarks}", ruler("Member Status"), table.text)
}

fn beats(view: &View) -> String {
    let mut table = Table::new(&[("", "Name", 30), ("", "Type", 10), ("", "Status", 12)]);
    for (node, number, heard) in heartbeats(&view.status) {
        let name = format!("{:<14} <--> {}", view.status.node, node.name);
        table.row(&[&name, &format!("network {number}"), if heard { "ONLINE" } else { "OFFLINE" }]);
    }
    format!("{}\n{}", ruler("Heartbeat Status"), table.text)
}

/// The section of the services: all, or the one of that name.
#[must_use]
pub fn services(view: &View, only: Option<&str>) -> String {
    let mut table = Table::new(&[
        ("", "Service", 14),
        ("", "Status", 8),
        ("", "Owner", 14),
        ("Last", "Transition", 16),
        ("Monitor", "Interval", 8),
        ("Restart", "Count", 7),
    ]);
    let mut remarks = String::new();
    for group in view.status.groups.iter().filter(|g| is_meant(g, only)) {
        let owner = group.owner.as_ref().map_or("None", |o| o.as_str());
        let changed = view.history.changed_ms(group);
        let changed = changed.map_or_else(|| "-".to_owned(), |ms| clock(ms, &view.zone, "%H:%M:%S %b %d"));
        let restarts = view.history.restarts(group).to_string();
        table.row(&[group.name.as_str(), word(group), owner, &changed, &view.interval(group), &restarts]);
        if !matches!(group.state.as_str(), "online" | "disabled" | "acquiring" | "releasing")
            && let Some(why) = &group.blocked
        {
            let next = group.advice.as_ref().map_or_else(String::new, |a| format!("; next: {a}"));
            let text = in_its_words(&format!("{}: {why}{next}", group.name));
            let _ = writeln!(remarks, "  {}", wrapped(&text, WIDTH - 2, "    "));
        }
        let unwell: Vec<String> = group
            .resources
            .iter()
            .filter(|r| group.state == "online" && matches!(r.state.as_str(), "failed" | "unwell"))
            .map(|r| format!("{} is {}", r.name, r.state))
            .collect();
        if !unwell.is_empty() {
            let text = format!("{0}: {1}; next: regent evidence {0}", group.name.base(), unwell.join(", "));
            let _ = writeln!(remarks, "  {}", wrapped(&text, WIDTH - 2, "    "));
        }
        if let Some(hold) = &group.held {
            let text =
                format!("{} {}; next: regent group resume {0}", group.name, hold_words(hold, &view.zone));
            let _ = writeln!(remarks, "  {}", wrapped(&text, WIDTH - 2, "    "));
        }
        if let Some(pending) = &group.pending {
            let _ = writeln!(remarks, "  {}", wrapped(&in_its_words(pending), WIDTH - 2, "    "));
        }
    }
    remarks = if remarks.is_empty() { remarks } else { format!("\n{remarks}") };
    format!("{}\n{}{remarks}", ruler("Service Status"), table.text)
}

/// A line of its title, spaced, in the middle of a rule.
fn ruler(title: &str) -> String {
    let letters = |word: &str| word.chars().map(String::from).collect::<Vec<_>>().join(" ");
    let title = title.split(' ').map(letters).collect::<Vec<_>>().join("   ");
    let rest = WIDTH.saturating_sub(title.len() + 2);
    format!("{} {title} {}\n", "=".repeat(rest / 2), "=".repeat(rest - rest / 2))
}

/// A moment in the reader's time.
pub(crate) fn clock(wall_ms: u64, zone: &TimeZone, format: &str) -> String {
    let ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| "-".to_owned(), |t| t.to_zoned(zone.clone()).strftime(format).to_string())
}

/// Columns of a fixed width; what is longer pushes the rest of its line.
struct Table {
    widths: Vec<usize>,
    text: String,
}

impl Table {
    /// Two lines of headings, then a rule.
    fn new(columns: &[(&str, &str, usize)]) -> Self {
        let widths: Vec<usize> = columns.iter().map(|(_, _, width)| *width).collect();
        let mut table = Self { widths: widths.clone(), text: String::new() };
        if columns.iter().any(|(above, _, _)| !above.is_empty()) {
            table.row(&columns.iter().map(|(above, _, _)| *above).collect::<Vec<_>>());
        }
        table.row(&columns.iter().map(|(_, name, _)| *name).collect::<Vec<_>>());
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        table.row(&rules.iter().map(String::as_str).collect::<Vec<_>>());
        table
    }

    fn row(&mut self, cells: &[&str]) {
        let cells = cells.iter().zip(&self.widths);
        let line: Vec<String> = cells.map(|(cell, width)| format!("{:<width$}", printable(cell))).collect();
        let _ = writeln!(self.text, "  {}", line.join(" ").trim_end());
    }
}
