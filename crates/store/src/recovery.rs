//! From the records of a file to the state they led to, and back to the fewest records that lead to it.

use std::collections::{BTreeMap, BTreeSet};

use regent_model::proof::Promise;
use regent_model::{NodeId, Round};

use crate::journal::Damage;
use crate::outline::Outline;
use crate::record::{Entry, HardState, Record, Snapshot};

/// What a node knew when it went down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Term, vote and commit index. The commit index lies within snapshot and entries.
    pub hard_state: HardState,
    /// The entries behind the snapshot, without a gap.
    pub entries: Vec<Entry>,
    /// The latest snapshot.
    pub snapshot: Option<Snapshot>,
    /// The promises that were not withdrawn.
    pub promises: BTreeSet<Promise>,
    /// The largest round ever stored, also of promises that were withdrawn.
    pub largest_round: Round,
    /// What was stored by key.
    pub meta: BTreeMap<String, Vec<u8>>,
    /// Whether remains of a write were dropped that a crash had interrupted, and that was never acknowledged.
    pub truncated_tail: bool,
}

/// Builds the state that records lead to.
#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) outline: Outline,
    recovered: Recovered,
}

impl Recovery {
    pub(crate) fn new(me: NodeId) -> Self {
        Self { outline: Outline::new(me), recovered: Recovered::default() }
    }

    /// Takes the records of a file.
    ///
    /// # Errors
    /// Where one contradicts those before it.
    pub(crate) fn replay(me: NodeId, records: Vec<(usize, Record)>) -> Result<Self, Damage> {
        let contradiction = |at, why| Damage::at(at, format!("a contradiction: {why}"));
        let (mut recovery, mut batch) = (Self::new(me), 0);
        for (at, record) in records {
            if at != batch {
                recovery.outline.settle().map_err(|why| contradiction(batch, why))?;
                batch = at;
            }
            recovery.take(record).map_err(|why| contradiction(at, why))?;
        }
        recovery.outline.settle().map_err(|why| contradiction(batch, why))?;
        Ok(recovery)
    }

    /// Takes one record.
    ///
    /// # Errors
    /// What it contradicts; nothing is to be made of the recovery then.
    pub(crate) fn take(&mut self, record: Record) -> Result<(), String> {
        self.outline.admit(&record)?;
        let entries = &mut self.recovered.entries;
        match record {
            Record::Entry(entry) => {
                let place = entries.partition_point(|known| known.index < entry.index);
                entries.truncate(place);
                entries.push(entry);
            }
            Record::TruncateFrom { index } => {
                entries.truncate(entries.partition_point(|known| known.index < index));
            }
            Record::Snapshot(snapshot) => {
                let standing = self.outline.standing();
                entries.retain(|entry| standing.contains(&entry.index));
                self.recovered.snapshot = Some(snapshot);
            }
            Record::Meta { key, value } => {
                self.recovered.meta.insert(key, value);
            }
            Record::HardState(_)
            | Record::Promise(_)
            | Record::PromiseWithdrawn(_)
            | Record::RoundFloor(_) => {}
        }
        Ok(())
    }

    pub(crate) fn finish(self, truncated_tail: bool) -> Recovered {
        let Outline { hard_state, promises, largest_round, .. } = self.outline;
        Recovered { hard_state, promises, largest_round, truncated_tail, ..self.recovered }
    }
}

impl Recovered {
    /// The fewest records that lead to this state, in an order in which each is admitted.
    pub(crate) fn into_records(self) -> Vec<Record> {
        let mut promises: Vec<_> = self.promises.into_iter().collect();
        promises.sort_by_key(|promise| promise.round);
        let mut records: Vec<_> = self.snapshot.into_iter().map(Record::Snapshot).collect();
        records.extend(self.entries.into_iter().map(Record::Entry));
        records.push(Record::HardState(self.hard_state));
        records.extend(promises.into_iter().map(Record::Promise));
        records.push(Record::RoundFloor(self.largest_round));
        records.extend(self.meta.into_iter().map(|(key, value)| Record::Meta { key, value }));
        records
    }
}
