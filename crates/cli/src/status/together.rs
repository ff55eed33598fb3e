//! The instances of a concurrent group in one block.

use std::fmt::Write as _;

use regent_api::{GroupStatus, Status};

use super::{WIDTH, group_tone, resource};
use crate::paint::{Cell, Paint, Tone, printable, table, wrapped};

/// Whether this is the first instance of its group: the others are shown with it.
pub(super) fn is_first(status: &Status, group: &GroupStatus) -> bool {
    status.groups.iter().find(|g| g.name.base() == group.name.base()) == Some(group)
}

/// All instances of the group that `first` is one of.
pub(super) fn block(status: &Status, first: &GroupStatus, paint: Paint) -> String {
    let all: Vec<&GroupStatus> =
        status.groups.iter().filter(|g| g.name.base() == first.name.base()).collect();
    let online: Vec<&str> =
        all.iter().filter(|g| g.state == "online").filter_map(|g| g.name.node()).collect();
    let was = if status.quorate { "" } else { "was " };
    let head = match online.as_slice() {
        [] => paint.tone(Tone::Bad, "online nowhere"),
        nodes if nodes.len() == all.len() => {
            paint.tone(Tone::Good, &format!("online on {}", nodes.join(", ")))
        }
        nodes => paint.tone(
            Tone::Warning,
            &format!("online on {} of {}: {}", nodes.len(), all.len(), nodes.join(", ")),
        ),
    };
    let mut out = format!("GROUP {} {was}{head}\n", paint.tone(Tone::Strong, first.name.base()));
    let rows: Vec<Vec<Cell>> = all
        .iter()
        .map(|g| {
            let node = g.name.node().unwrap_or_default();
            vec![
                Cell::new(Tone::Strong, node),
                Cell::new(group_tone(&g.state), printable(&g.state)),
                Cell::plain(if g.epoch.0 == 0 { "-".to_owned() } else { format!("epoch {}", g.epoch) }),
            ]
        })
        .collect();
    out.push_str(&table(&rows, "  ", paint));
    for group in &all {
        let node = paint.tone(Tone::Strong, group.name.as_str());
        if let Some(reason) = &group.blocked {
            let tone = if group_tone(&group.state) == Tone::Bad { Tone::Bad } else { Tone::Plain };
            let _ = writeln!(out, "  {node}: {}", paint.tone(tone, &wrapped(reason, WIDTH, "  ")));
        }
        if let Some(hold) = &group.held {
            let words = super::hold_words(hold, &jiff::tz::TimeZone::system());
            let _ = writeln!(out, "  {node}: {}", paint.tone(Tone::Warning, &wrapped(&words, WIDTH, "  ")));
        }
        if let Some(word) = &group.word {
            let words = super::word_words(word, &jiff::tz::TimeZone::system());
            let _ = writeln!(out, "  {node}: {}", paint.tone(Tone::Warning, &wrapped(&words, WIDTH, "  ")));
        }
        if let Some(pending) = &group.pending {
            let _ = writeln!(out, "  {node}: {}", paint.tone(Tone::Warning, &wrapped(pending, WIDTH, "  ")));
        }
        if let Some(advice) = &group.advice {
            let _ = writeln!(out, "    next: {}", paint.tone(Tone::Strong, &printable(advice)));
        }
        let resources: Vec<String> = group.resources.iter().map(|r| resource(r, paint)).collect();
        if !resources.is_empty() && group.owner.is_some() {
            let _ = writeln!(out, "  {node}: {}", resources.join(", "));
        }
    }
    let _ = writeln!(
        out,
        "  {} {}",
        paint.tone(Tone::Dim, "why  "),
        printable(&format!("policy {}", first.policy))
    );
    out
}
