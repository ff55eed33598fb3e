//! The log in memory, as consensus reads it. What is in it is written behind it, and nothing is sent on the
//! strength of what is not yet durable.

use std::collections::BTreeSet;

use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use regent_model::NodeId;
use regent_store::{Record, Recovered};

/// The log in memory.
pub(super) struct Mirror {
    hard_state: HardState,
    conf_state: ConfState,
    snapshot: Snapshot,
    /// The entries after the snapshot, without gaps.
    entries: Vec<Entry>,
}

impl Mirror {
    /// A log that begins with a founding state known to all founders.
    pub(super) fn founded(voters: &BTreeSet<NodeId>, data: Vec<u8>, index: u64) -> (Self, Vec<Record>) {
        let conf_state = ConfState { voters: voters.iter().map(|v| v.0).collect(), ..ConfState::default() };
        let snapshot = snapshot(index, index, conf_state.clone(), data);
        let hard_state = HardState { term: index, commit: index, ..HardState::default() };
        let records = vec![snapshot_record(&snapshot), hard_state_record(&hard_state)];
        (Self { hard_state, conf_state, snapshot, entries: Vec::new() }, records)
    }

    /// The log as the store gave it back.
    pub(super) fn recovered(recovered: &Recovered) -> Self {
        let (snapshot, conf_state) = match &recovered.snapshot {
            Some(s) => {
                let conf_state = decode_conf_state(&s.conf_state);
                (snapshot(s.index, s.term, conf_state.clone(), s.data.clone()), conf_state)
            }
            None => (Snapshot::default(), ConfState::default()),
        };
        let hard_state = HardState {
            term: recovered.hard_state.term,
            vote: recovered.hard_state.vote,
            commit: recovered.hard_state.commit.max(snapshot.get_metadata().index),
            ..HardState::default()
        };
        let entries: Vec<Entry> = recovered
            .entries
            .iter()
            .map(|e| entry(e.kind, e.term, e.index, e.data.clone(), e.context.clone()))
            .collect();
        let mirror = Self { hard_state, conf_state, snapshot, entries };
        assert!(
            mirror.hard_state.commit <= mirror.last(),
            "the store kept a commit index without the entries it speaks of"
        );
        mirror
    }

    pub(super) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(super) fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    pub(super) fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    pub(super) fn snapshot_index(&self) -> u64 {
        self.snapshot.get_metadata().index
    }

    /// Whether a member is there that the snapshot does not name: the library refuses to begin with such a snapshot.
    pub(super) fn snapshot_misses_a_member(&self) -> bool {
        let now = &self.conf_state;
        now.voters.iter().chain(&now.learners).any(|id| !self.snapshot_names(*id))
    }

    fn snapshot_names(&self, id: u64) -> bool {
        let then = self.snapshot.get_metadata().get_conf_state();
        then.voters.contains(&id) || then.learners.contains(&id)
    }

    fn last(&self) -> u64 {
        self.snapshot_index() + self.entries.len() as u64
    }

    /// Takes new entries, cutting off those they replace; the records that make that durable.
    pub(super) fn append(&mut self, new: &[Entry]) -> Vec<Record> {
        let Some(first) = new.first().map(|e| e.index) else { return Vec::new() };
        assert!(first > self.snapshot_index(), "entry {first} is part of the snapshot");
        assert!(first <= self.last() + 1, "entry {first} leaves a gap after {}", self.last());
        let mut records = Vec::with_capacity(new.len() + 1);
        if first <= self.last() {
            records.push(Record::TruncateFrom { index: first });
            let keep = usize::try_from(first - self.snapshot_index() - 1).unwrap_or(usize::MAX);
            self.entries.truncate(keep);
        }
        self.entries.extend_from_slice(new);
        records.extend(new.iter().map(entry_record));
        records
    }

    /// Replaces everything by the leader's state.
    pub(super) fn install(&mut self, snapshot: Snapshot) {
        self.conf_state = snapshot.get_metadata().get_conf_state().clone();
        let index = snapshot.get_metadata().index;
        self.hard_state.commit = self.hard_state.commit.max(index);
        self.snapshot = snapshot;
        self.entries.clear();
    }

    /// Replaces the entries up to `index` by the state they led to; the record that makes it durable.
    pub(super) fn compact(&mut self, index: u64, data: Vec<u8>) -> Record {
        let term =
            self.term_of(index).unwrap_or_else(|e| panic!("entry {index} to compact at is not there: {e}"));
        let drop = usize::try_from(index - self.snapshot_index()).unwrap_or(usize::MAX);
        self.entries.drain(..drop);
        self.snapshot = snapshot(index, term, self.conf_state.clone(), data);
        snapshot_record(&self.snapshot)
    }

    fn term_of(&self, index: u64) -> Result<u64, raft::Error> {
        let meta = self.snapshot.get_metadata();
        if index == meta.index {
            return Ok(meta.term);
        }
        if index < meta.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let offset = usize::try_from(index - meta.index - 1).unwrap_or(usize::MAX);
        self.entries.get(offset).map(|e| e.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }
}

impl Storage for Mirror {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state: self.conf_state.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.snapshot_index() {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last() + 1, "entries up to {high} were asked for, the last is {}", self.last());
        let at = |index: u64| usize::try_from(index - self.snapshot_index() - 1).unwrap_or(usize::MAX);
        let mut entries = self.entries[at(low)..at(high)].to_vec();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.term_of(index)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.snapshot_index() + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        if self.snapshot_index() < request_index || !self.snapshot_names(to) {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(self.snapshot.clone())
    }
}

fn snapshot(index: u64, term: u64, conf_state: ConfState, data: Vec<u8>) -> Snapshot {
    let mut snapshot = Snapshot { data: data.into(), ..Snapshot::default() };
    snapshot.mut_metadata().index = index;
    snapshot.mut_metadata().term = term;
    snapshot.mut_metadata().set_conf_state(conf_state);
    snapshot
}

/// The record of a snapshot.
pub(super) fn snapshot_record(snapshot: &Snapshot) -> Record {
    let meta = snapshot.get_metadata();
    let conf = meta.get_conf_state();
    let conf_state = postcard::to_stdvec(&(&conf.voters, &conf.learners))
        .unwrap_or_else(|e| panic!("two lists of numbers cannot be encoded: {e}"));
    Record::Snapshot(regent_store::Snapshot {
        index: meta.index,
        term: meta.term,
        conf_state,
        data: snapshot.get_data().to_vec(),
    })
}

/// The record of a hard state.
pub(super) fn hard_state_record(hard: &HardState) -> Record {
    Record::HardState(regent_store::HardState { term: hard.term, vote: hard.vote, commit: hard.commit })
}

fn decode_conf_state(bytes: &[u8]) -> ConfState {
    let (voters, learners) = postcard::from_bytes(bytes).unwrap_or_default();
    ConfState { voters, learners, ..ConfState::default() }
}

fn entry_record(e: &Entry) -> Record {
    Record::Entry(regent_store::Entry {
        index: e.index,
        term: e.term,
        kind: entry_kind(e.get_entry_type()),
        data: e.data.to_vec(),
        context: e.context.to_vec(),
    })
}

/// The number of an entry's kind in our encodings.
pub(super) fn entry_kind(kind: EntryType) -> u8 {
    match kind {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    }
}

/// The library's form of an entry.
pub(super) fn entry(kind: u8, term: u64, index: u64, data: Vec<u8>, context: Vec<u8>) -> Entry {
    let entry_type = match kind {
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => EntryType::EntryNormal,
    };
    Entry { entry_type, term, index, data: data.into(), context: context.into(), ..Entry::default() }
}
