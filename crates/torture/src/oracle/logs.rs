//! Nothing of Regent panics: the consoles of the machines.

use super::{Oracle, Violation};

/// What Rust programs say when they end badly.
const SIGNS: [&str; 4] = ["panicked at", "assertion failed", "stack overflow", "SIGSEGV"];

/// Judges what a machine printed since it was last looked at.
pub(crate) fn judge(machine: &str, text: &str) -> Vec<Violation> {
    let lines: Vec<&str> = text.lines().collect();
    let bad = |line: &&str| SIGNS.iter().any(|sign| line.contains(sign));
    let Some(first) = lines.iter().position(bad) else { return Vec::new() };
    let end = (first + 4).min(lines.len());
    vec![Violation::new(Oracle::Logs, format!("{machine}: {}", lines[first..end].join(" | ")))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_seen_with_what_follows() {
        assert_eq!(judge("lx1", "all is well\nnothing"), []);
        let found = judge("lx1", "before\nthread 'engine' panicked at x.rs:1:\nindex out of bounds\nafter");
        assert!(found[0].text.contains("index out of bounds"), "{found:?}");
    }
}
