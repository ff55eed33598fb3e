//! How long services were away, and by which faults.

use std::collections::BTreeMap;

use crate::run::Happened;

/// Shorter silences are nothing that a client notices.
const NOTICED_NS: u64 = 200_000_000;
/// A fault is the cause of a silence that begins so soon after it began or ended.
const CAUSES_NS: u64 = 2_000_000_000;

/// A silence of a service, in ns of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) group: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// The silences between these answers, and after the last one until `end`.
pub(crate) fn silences(
    group: &str,
    answers: impl Iterator<Item = u64>,
    begin: u64,
    end: u64,
) -> Vec<Silence> {
    let edges: Vec<u64> = std::iter::once(begin).chain(answers).chain([end]).collect();
    let long = edges.windows(2).filter(|p| p[1].saturating_sub(p[0]) >= NOTICED_NS);
    long.map(|p| Silence { group: group.to_owned(), from: p[0], to: p[1] }).collect()
}

/// The longest silence per kind of fault, in ns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outages {
    /// By kind: where it was the only fault at that time, and in company.
    pub(crate) longest: BTreeMap<String, (u64, u64)>,
    /// Silences that no fault began or ended before.
    pub(crate) unexplained: Vec<Silence>,
}

impl Outages {
    /// Takes the silences of a round.
    pub(crate) fn take(&mut self, silences: &[Silence], happened: &[Happened]) {
        for silence in silences {
            let near = |at: u64| at <= silence.from + NOTICED_NS && at + CAUSES_NS >= silence.from;
            let mut kinds: Vec<String> = happened
                .iter()
                .filter(|h| {
                    near(h.began) || near(h.ended) || (h.began < silence.from && silence.from < h.ended)
                })
                .map(|h| h.fault.kind())
                .collect();
            kinds.sort();
            kinds.dedup();
            let ns = silence.to.saturating_sub(silence.from);
            for kind in &kinds {
                let (alone, company) = self.longest.entry(kind.clone()).or_default();
                let place = if kinds.len() == 1 { alone } else { company };
                *place = (*place).max(ns);
            }
            if kinds.is_empty() {
                self.unexplained.push(silence.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::hands::Done;

    const S: u64 = 1_000_000_000;

    fn happened(fault: Fault, began: u64, ended: u64) -> Happened {
        Happened { fault, began, ended, done: Done::Yes }
    }

    #[test]
    fn a_silence_is_put_down_to_the_faults_around_its_beginning() {
        let found = silences("front", [S, S + S / 10, 5 * S].into_iter(), S, 5 * S + 1);
        assert_eq!(found.len(), 1);
        let mut outages = Outages::default();
        let cut = happened(Fault::Power("lx1".into()), S, 20 * S);
        let late = happened(Fault::Reset("lx2".into()), 9 * S, 9 * S);
        outages.take(&found, &[cut.clone(), late]);
        assert_eq!(outages.longest["power"], (5 * S - S - S / 10, 0));
        outages.take(&found, &[cut, happened(Fault::Reset("lx2".into()), S, S)]);
        assert_eq!(outages.longest["reset"].0, 0);
        assert!(outages.longest["reset"].1 > 3 * S);
        outages.take(&found, &[]);
        assert_eq!(outages.unexplained.len(), 1);
    }
}
