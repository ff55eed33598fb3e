//! Compares what was acknowledged with what is there.

use std::collections::BTreeMap;

use super::client::Acknowledged;

/// What came of it. `lost`, `twice` and `disordered` must be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// How many numbers were acknowledged.
    pub acknowledged: usize,
    /// How many are in the ledger.
    pub stored: usize,
    /// Acknowledged numbers that are not there.
    pub lost: Vec<u64>,
    /// Numbers that are there more than once.
    pub twice: Vec<u64>,
    /// Numbers that stand after a larger one.
    pub disordered: Vec<u64>,
    /// The longest time between two acknowledgements, in ns, and when it began.
    pub longest_gap: (u64, u64),
}

impl Audit {
    /// Whether the ledger kept its word.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.twice.is_empty() && self.disordered.is_empty()
    }
}

/// Compares what a writer got acknowledged with what a ledger holds.
#[must_use]
pub fn audit(acknowledged: &[Acknowledged], ledger: &[u64]) -> Audit {
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    for number in ledger {
        *seen.entry(*number).or_default() += 1;
    }
    let gaps = acknowledged.windows(2).map(|pair| (pair[1].at.saturating_sub(pair[0].at), pair[0].at));
    Audit {
        acknowledged: acknowledged.len(),
        stored: ledger.len(),
        lost: acknowledged.iter().map(|a| a.number).filter(|n| !seen.contains_key(n)).collect(),
        twice: seen.iter().filter(|(_, times)| **times > 1).map(|(n, _)| *n).collect(),
        disordered: ledger.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[1]).collect(),
        longest_gap: gaps.max().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(numbers: &[u64]) -> Vec<Acknowledged> {
        let one = |n: &u64| Acknowledged { number: *n, sent: *n * 10, at: *n * 10 + 1, node: "a".into() };
        numbers.iter().map(one).collect()
    }

    #[test]
    fn a_number_that_was_stored_but_not_acknowledged_is_no_fault() {
        let audit = audit(&acknowledged(&[1, 2]), &[1, 2, 3]);
        assert!(audit.is_clean());
        assert_eq!(audit.longest_gap, (10, 11));
    }

    #[test]
    fn lost_doubled_and_disordered_numbers_are_found() {
        let audit = audit(&acknowledged(&[1, 2, 3]), &[1, 3, 3, 2, 1]);
        assert_eq!((audit.lost.len(), audit.twice, audit.disordered), (0, vec![1, 3], vec![2, 1]));
        assert_eq!(super::audit(&acknowledged(&[1, 2, 3]), &[1, 3]).lost, [2]);
    }
}
