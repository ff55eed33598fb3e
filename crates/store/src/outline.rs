//! What a record may say after the records before it: the rules that consensus and promises live by, checked
//! when a record is written and again when it is read.

use std::collections::BTreeSet;

use regent_model::proof::Promise;
use regent_model::{NodeId, Round};

use crate::record::{Entry, HardState, Record, Snapshot};

/// The stored state without its bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    me: NodeId,
    pub(crate) hard_state: HardState,
    /// The commit index before the batch that is being taken, in which it may come before its entries.
    settled_commit: u64,
    snapshot: (u64, u64),
    /// Where each term begins among the entries behind the snapshot.
    terms: Vec<(u64, u64)>,
    last: u64,
    pub(crate) promises: BTreeSet<Promise>,
    pub(crate) largest_round: Round,
}

impl Outline {
    pub(crate) fn new(me: NodeId) -> Self {
        Self {
            me,
            hard_state: HardState::default(),
            settled_commit: 0,
            snapshot: (0, 0),
            terms: Vec::new(),
            last: 0,
            promises: BTreeSet::new(),
            largest_round: Round::default(),
        }
    }

    /// Takes one record.
    ///
    /// # Errors
    /// What it contradicts; the outline is then of no further use.
    pub(crate) fn admit(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::HardState(next) => self.admit_hard_state(*next),
            Record::Entry(entry) => self.admit_entry(entry),
            Record::TruncateFrom { index } => self.admit_truncation(*index),
            Record::Snapshot(snapshot) => self.admit_snapshot(snapshot),
            Record::Promise(promise) => self.admit_promise(*promise),
            Record::PromiseWithdrawn(promise) => {
                self.promises.remove(promise);
                self.largest_round = self.largest_round.max(promise.round);
                Ok(())
            }
            Record::RoundFloor(round) => {
                self.largest_round = self.largest_round.max(*round);
                Ok(())
            }
            Record::Meta { .. } => Ok(()),
        }
    }

    /// Ends a batch, and checks what must hold then.
    ///
    /// # Errors
    /// What does not.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let (commit, last) = (self.hard_state.commit, self.last);
        if commit > last {
            return Err(format!("the commit index {commit} lies beyond the last entry {last}"));
        }
        self.settled_commit = commit;
        Ok(())
    }

    fn admit_hard_state(&mut self, next: HardState) -> Result<(), String> {
        let HardState { term, vote, commit } = self.hard_state;
        if next.term < term {
            return Err(format!("term {} after term {term}", next.term));
        }
        if next.term == term && vote != 0 && next.vote != vote {
            return Err(format!("a vote for {} after one for {vote}, both in term {term}", next.vote));
        }
        self.hard_state = HardState { commit: commit.max(next.commit), ..next };
        Ok(())
    }

    fn admit_entry(&mut self, entry: &Entry) -> Result<(), String> {
        let Entry { index, term, .. } = *entry;
        if index > self.last.saturating_add(1) {
            return Err(format!("entry {index} behind entry {}", self.last));
        }
        self.admit_truncation(index)?;
        let before = self.term_of(index - 1);
        if before.is_none_or(|before| term < before) {
            return Err(format!("entry {index} of term {term} behind one of term {before:?}"));
        }
        if self.terms.last().is_none_or(|(_, last_term)| *last_term != term) {
            self.terms.push((index, term));
        }
        self.last = index;
        Ok(())
    }

    fn admit_truncation(&mut self, index: u64) -> Result<(), String> {
        let kept = self.settled_commit.max(self.snapshot.0);
        if index <= kept {
            return Err(format!("entries from {index} on are replaced, but {kept} is committed"));
        }
        self.terms.retain(|(first, _)| *first < index);
        self.last = self.last.min(index - 1);
        Ok(())
    }

    fn admit_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let Snapshot { index, term, .. } = *snapshot;
        if (index, term) < self.snapshot || term < self.snapshot.1 {
            return Err(format!("a snapshot at {index} after one at {}", self.snapshot.0));
        }
        if self.term_of(index) == Some(term) {
            let next = index.saturating_add(1);
            let following = self.term_of(next).filter(|_| index < self.last);
            self.terms.retain(|(first, _)| *first > next);
            if let Some(following) = following {
                self.terms.insert(0, (next, following));
            }
        } else if index <= self.settled_commit {
            return Err(format!("a snapshot at {index} of another term than the committed entry there"));
        } else {
            self.terms.clear();
            self.last = index;
        }
        self.snapshot = (index, term);
        // A snapshot holds only what is committed.
        self.hard_state.commit = self.hard_state.commit.max(index);
        Ok(())
    }

    fn admit_promise(&mut self, promise: Promise) -> Result<(), String> {
        let known = self.promises.contains(&promise);
        if promise.voter == self.me && promise.round <= self.largest_round && !known {
            return Err(format!("a promise of round {} after round {}", promise.round, self.largest_round));
        }
        self.promises.insert(promise);
        self.largest_round = self.largest_round.max(promise.round);
        Ok(())
    }

    /// The term of the entry at `index`, which the snapshot may contain as its last one.
    fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.snapshot.0 {
            return Some(self.snapshot.1);
        }
        if index < self.snapshot.0 || index > self.last {
            return None;
        }
        self.terms.iter().rev().find(|(first, _)| *first <= index).map(|(_, term)| *term)
    }

    /// The entries behind the snapshot that stand: those with indexes in this range.
    pub(crate) fn standing(&self) -> std::ops::RangeInclusive<u64> {
        self.snapshot.0.saturating_add(1)..=self.last
    }
}
