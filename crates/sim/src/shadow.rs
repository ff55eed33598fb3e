//! What the store of a node must give back after a crash: everything acknowledged, and of what was being written
//! all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use regent_engine::memory_mark as mark;
use regent_model::Round;
use regent_model::proof::Promise;
use regent_store::{Entry, HardState, Record, Recovered, Snapshot};

/// The state that records lead to, built without the store's help.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shadow {
    hard_state: HardState,
    entries: BTreeMap<u64, Entry>,
    snapshot: Option<Snapshot>,
    promises: BTreeSet<Promise>,
    largest_round: Round,
    /// Which daemon wrote last, and how much.
    memory: Option<(u64, u64)>,
}

impl Shadow {
    /// Takes a record.
    pub(crate) fn take(&mut self, record: &Record) {
        match record {
            Record::HardState(next) => {
                let commit = self.hard_state.commit.max(next.commit);
                self.hard_state = HardState { commit, ..*next };
            }
            Record::Entry(entry) => {
                self.entries.retain(|index, _| *index < entry.index);
                self.entries.insert(entry.index, entry.clone());
            }
            Record::TruncateFrom { index } => self.entries.retain(|i, _| i < index),
            Record::Snapshot(snapshot) => {
                let fits = self.entries.get(&snapshot.index).is_some_and(|e| e.term == snapshot.term)
                    || self.snapshot.as_ref().is_some_and(|s| s.index == snapshot.index);
                if fits {
                    self.entries.retain(|index, _| *index > snapshot.index);
                } else {
                    self.entries.clear();
                }
                self.hard_state.commit = self.hard_state.commit.max(snapshot.index);
                self.snapshot = Some(snapshot.clone());
            }
            Record::Promise(promise) => {
                self.promises.insert(*promise);
                self.largest_round = self.largest_round.max(promise.round);
            }
            Record::PromiseWithdrawn(promise) => {
                self.promises.remove(promise);
                self.largest_round = self.largest_round.max(promise.round);
            }
            Record::RoundFloor(round) => self.largest_round = self.largest_round.max(*round),
            Record::Meta { key, value } => {
                if let Some(mark) = mark(key, value) {
                    self.memory = Some((mark.session, mark.stored));
                }
            }
        }
    }

    /// Takes all records of a batch.
    pub(crate) fn take_all<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) {
        for record in records {
            self.take(record);
        }
    }

    /// What is wrong with what a store gave back, if it is neither this state nor the one after what was being
    /// written; else whether the latter.
    pub(crate) fn judge(&self, recovered: &Recovered, flying: &[Record]) -> Result<bool, String> {
        let found = Self {
            hard_state: recovered.hard_state,
            entries: recovered.entries.iter().map(|e| (e.index, e.clone())).collect(),
            snapshot: recovered.snapshot.clone(),
            promises: recovered.promises.clone(),
            largest_round: recovered.largest_round,
            memory: recovered.meta.iter().find_map(|(k, v)| mark(k, v)).map(|m| (m.session, m.stored)),
        };
        let mut after = self.clone();
        after.take_all(flying);
        if found == *self {
            return Ok(false);
        }
        if found == after {
            return Ok(true);
        }
        Err(format!(
            "a restart forgot something: acknowledged were {:?}, {} entries to {:?}, promises {:?}; found are {:?}, \
             {} entries to {:?}, promises {:?}",
            self.hard_state,
            self.entries.len(),
            self.entries.keys().last(),
            self.promises,
            found.hard_state,
            found.entries.len(),
            found.entries.keys().last(),
            found.promises
        ))
    }
}

impl Shadow {
    /// Which daemon wrote last, and how many batches.
    pub(crate) fn memory(&self) -> Option<(u64, u64)> {
        self.memory
    }

    /// A durable promise against an incarnation that the log says is alive, if there is one.
    pub(crate) fn promise_against_the_living(&self, state: &regent_model::state::State) -> Option<Promise> {
        self.promises.iter().copied().find(|p| state.living(p.about.node) == Some(p.about))
    }
}
