//! The demo's words: pure functions of what was measured.

use regent_lab::ledger::{Acknowledged, Audit};
use regent_model::journal::Entry;

use crate::events::{Manner, Teller, merged};
use crate::paint::{Paint, Tone, wrapped};

/// Where lines are broken.
const WIDTH: usize = 100;

/// One paragraph of the story, with the seconds since its beginning.
#[must_use]
pub(super) fn paragraph(seconds: f64, text: &str, tone: Tone, paint: Paint) -> String {
    let time = paint.tone(Tone::Dim, &format!("{seconds:5.1} s"));
    let mut out = String::new();
    for (number, line) in wrapped(text, WIDTH, "").lines().enumerate() {
        let margin = if number == 0 { &time } else { "       " };
        out.push_str(&format!("{margin}  {}\n", paint.tone(tone, line)));
    }
    out
}

/// The takeover from the journals: everything from `from_ms` (wall clock) on.
#[must_use]
pub(super) fn timeline(entries: Vec<Entry>, from_ms: u64, manner: &Manner) -> String {
    let entries: Vec<Entry> = merged(entries).into_iter().filter(|e| e.wall_ms >= from_ms).collect();
    let mut teller = Teller::whole(manner.clone(), &entries, Some(from_ms));
    entries.iter().map(|e| teller.line(e)).collect()
}

/// What the client noticed: the longest time without an acknowledgement, and who acknowledged before and after.
#[must_use]
pub(super) fn silence(audit: &Audit, acknowledged: &[Acknowledged]) -> String {
    let (ns, at) = audit.longest_gap;
    let before = acknowledged.iter().rev().find(|a| a.at <= at).map_or("nobody", |a| &a.node);
    let after = acknowledged.iter().find(|a| a.at > at).map_or("nobody", |a| &a.node);
    format!("{:.0} ms without an acknowledgement: {before} before, {after} after", ns as f64 / 1e6)
}

/// The count at the end.
#[must_use]
pub(super) fn count(audit: &Audit, paint: Paint) -> String {
    let numbers = |list: &[u64]| -> String {
        let few: Vec<String> = list.iter().take(10).map(u64::to_string).collect();
        let more = if list.len() > 10 { ", ..." } else { "" };
        format!("{} ({}{more})", list.len(), few.join(", "))
    };
    let line = |what: &str, list: &[u64]| {
        let (tone, text) =
            if list.is_empty() { (Tone::Good, "0".to_owned()) } else { (Tone::Bad, numbers(list)) };
        format!("\n  {what:<22} {}", paint.tone(tone, &text))
    };
    format!(
        "  {:<22} {}\n  {:<22} {}{}{}{}",
        "acknowledged",
        audit.acknowledged,
        "in the ledger",
        audit.stored,
        line("acknowledged, missing", &audit.lost),
        line("there twice", &audit.twice),
        line("out of order", &audit.disordered),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(list: &[(u64, u64, &str)]) -> Vec<Acknowledged> {
        let one = |(number, ms, node): &(u64, u64, &str)| Acknowledged {
            number: *number,
            sent: ms * 1_000_000,
            at: ms * 1_000_000,
            node: (*node).into(),
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn the_longest_silence_is_told_with_both_nodes() {
        let list = acknowledged(&[(1, 0, "lx4"), (2, 10, "lx4"), (3, 910, "lx5"), (4, 920, "lx5")]);
        let audit = regent_lab::ledger::audit(&list, &[1, 2, 3, 4]);
        assert_eq!(silence(&audit, &list), "900 ms without an acknowledgement: lx4 before, lx5 after");
    }

    #[test]
    fn a_missing_number_is_named() {
        let list = acknowledged(&[(1, 0, "lx4"), (2, 10, "lx4"), (3, 20, "lx5")]);
        let text = count(&regent_lab::ledger::audit(&list, &[1, 3]), Paint(false));
        assert_eq!(
            text,
            "  acknowledged           3\n  in the ledger          2\n  acknowledged, missing  1 (2)\n  \
             there twice            0\n  out of order           0"
        );
    }

    #[test]
    fn a_long_paragraph_keeps_its_margin() {
        let text = "word ".repeat(21);
        let lines = paragraph(1.25, text.trim(), Tone::Plain, Paint(false));
        assert_eq!(lines, format!("  1.2 s  {}\n         word\n", "word ".repeat(20).trim()));
    }
}
