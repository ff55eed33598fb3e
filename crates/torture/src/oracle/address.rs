//! One node at a time answers for an address: ARP, asked from the client.

use regent_lab::observe::Round;

use super::{Oracle, Violation, Window, within};
use crate::site::STRANGER;

/// What came of the questions about one address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    /// Times in which a frozen machine answered beside the owner, in ns: no lease of the class `guard` forbids it.
    pub(crate) excused: Vec<Window>,
}

/// Judges the rounds of one address. `frozen` are the times in which a machine, by name, stood still.
pub(crate) fn judge(group: &str, rounds: &[Round], frozen: &[(String, Window)]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut open: Option<(u64, u64, Vec<String>)> = None;
    let mut doubles: Vec<(u64, u64, Vec<String>)> = Vec::new();
    let nodes = |round: &Round| -> Vec<String> {
        round.answered.iter().filter(|n| *n != STRANGER).cloned().collect()
    };
    for pair in rounds.windows(2) {
        let (one, two) = (nodes(&pair[0]), nodes(&pair[1]));
        // A single round shows a hand-over: the answer to the question before may still be under way.
        if one.len() > 1 && two.len() > 1 {
            let span = open.get_or_insert((pair[0].at, pair[1].at, two));
            span.1 = pair[1].at;
        } else {
            doubles.extend(open.take());
        }
    }
    doubles.extend(open);
    for (from, to, nodes) in doubles {
        // What goes on after the machine woke is nobody's excuse.
        let stands = |(name, window): &(String, Window)| {
            nodes.contains(name) && within(&[*window], from, to) && to <= window.1
        };
        if frozen.iter().any(stands) {
            verdict.excused.push((from, to));
        } else {
            let ms = (to - from) as f64 / 1e6;
            let text = format!(
                "{group}: {} answered at once for {ms:.0} ms, from {from} ns on",
                nodes.join(" and ")
            );
            verdict.violations.push(Violation::new(Oracle::Address, text));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(who: &[&[&str]]) -> Vec<Round> {
        let round = |(at, who): (usize, &&[&str])| Round {
            at: at as u64 * 10_000_000,
            answered: who.iter().map(|w| (*w).to_owned()).collect(),
        };
        who.iter().enumerate().map(round).collect()
    }

    #[test]
    fn two_nodes_that_go_on_answering_are_a_violation_and_a_hand_over_is_none() {
        let double = rounds(&[&["a"], &["a", "b"], &["b", "a"], &["b"]]);
        let verdict = judge("front", &double, &[]);
        assert_eq!(verdict.violations.len(), 1);
        assert!(verdict.violations[0].text.contains("for 10 ms"), "{verdict:?}");
        let hand_over = rounds(&[&["a"], &["a", "b"], &["b"], &[], &["b"]]);
        assert_eq!(judge("front", &hand_over, &[]), Verdict::default());
    }

    #[test]
    fn a_stranger_is_nobody_and_a_frozen_machine_is_told_apart() {
        let stranger = rounds(&[&["a", STRANGER], &["a", STRANGER], &["a", STRANGER]]);
        assert_eq!(judge("front", &stranger, &[]), Verdict::default());
        let double = rounds(&[&["a", "b"], &["a", "b"], &["b"]]);
        let verdict = judge("front", &double, &[("a".into(), (0, 100_000_000))]);
        assert_eq!((verdict.violations.len(), verdict.excused.len()), (0, 1));
        let goes_on = judge("front", &double, &[("a".into(), (0, 5_000_000))]);
        assert_eq!(goes_on.violations.len(), 1, "it answers on after it woke");
        let other = judge(
            "front",
            &double,
            &[("c".into(), (0, 100_000_000)), ("a".into(), (50_000_000, 100_000_000))],
        );
        assert_eq!(other.violations.len(), 1);
    }
}
