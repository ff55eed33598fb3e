//! A plain model of what is stored, and the records a node could write.

use std::collections::{BTreeMap, BTreeSet};

use regent_model::ids::ClusterName;
use regent_model::proof::Promise;
use regent_model::{Incarnation, IncarnationOf, NodeId, Round};
use regent_store::{Entry, HardState, Identity, Record, Recovered, Snapshot};

pub(crate) const ME: NodeId = NodeId(3);

pub(crate) fn identity() -> Identity {
    Identity { cluster: ClusterName::new("ward7").unwrap(), node: ME }
}

/// A small generator of numbers (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `from` up to and including `to`.
    pub(crate) fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    hard_state: HardState,
    log: BTreeMap<u64, Entry>,
    snapshot: Option<Snapshot>,
    promises: BTreeSet<Promise>,
    largest_round: Round,
    meta: BTreeMap<String, Vec<u8>>,
}

pub(crate) fn entry(index: u64, term: u64, bytes: usize) -> Record {
    Record::Entry(Entry {
        index,
        term,
        kind: (index % 3) as u8,
        data: vec![index as u8; bytes],
        context: vec![7],
    })
}

pub(crate) fn promise(round: u64, incarnation: u64) -> Promise {
    let about = IncarnationOf { node: NodeId(1), incarnation: Incarnation(incarnation) };
    Promise { voter: ME, about, round: Round(round) }
}

impl Expected {
    pub(crate) fn apply(&mut self, record: &Record) {
        match record.clone() {
            Record::HardState(next) => {
                let commit = next.commit.max(self.hard_state.commit);
                self.hard_state = HardState { commit, ..next };
            }
            Record::Entry(entry) => {
                self.log.retain(|index, _| *index < entry.index);
                self.log.insert(entry.index, entry);
            }
            Record::TruncateFrom { index } => self.log.retain(|known, _| *known < index),
            Record::Snapshot(snapshot) => {
                let agrees = self.term_at(snapshot.index) == Some(snapshot.term);
                self.log.retain(|index, _| agrees && *index > snapshot.index);
                self.hard_state.commit = self.hard_state.commit.max(snapshot.index);
                self.snapshot = Some(snapshot);
            }
            Record::Promise(promise) => {
                self.promises.insert(promise);
                self.largest_round = self.largest_round.max(promise.round);
            }
            Record::PromiseWithdrawn(promise) => {
                self.promises.remove(&promise);
                self.largest_round = self.largest_round.max(promise.round);
            }
            Record::Meta { key, value } => {
                self.meta.insert(key, value);
            }
            Record::RoundFloor(round) => self.largest_round = self.largest_round.max(round),
        }
    }

    fn base(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.index)
    }

    fn last(&self) -> u64 {
        self.log.keys().next_back().copied().unwrap_or(self.base())
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        match &self.snapshot {
            Some(snapshot) if snapshot.index == index => Some(snapshot.term),
            None if index == 0 => Some(0),
            _ => self.log.get(&index).map(|entry| entry.term),
        }
    }

    pub(crate) fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            entries: self.log.values().cloned().collect(),
            snapshot: self.snapshot.clone(),
            promises: self.promises.clone(),
            largest_round: self.largest_round,
            meta: self.meta.clone(),
            truncated_tail: false,
        }
    }

    /// A snapshot of what is committed.
    pub(crate) fn own_snapshot(&self, numbers: &mut Numbers) -> Snapshot {
        let index = numbers.within(self.base(), self.hard_state.commit);
        let term = self.term_at(index).unwrap();
        let data = vec![index as u8; numbers.within(0, 3000) as usize];
        Snapshot { index, term, conf_state: vec![1, 2, 3], data }
    }

    /// Records that a node could write together next, already applied.
    pub(crate) fn write_some(&mut self, numbers: &mut Numbers) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..numbers.within(1, 5) {
            for record in self.some(numbers) {
                self.apply(&record);
                records.push(record);
            }
        }
        records
    }

    fn some(&self, numbers: &mut Numbers) -> Vec<Record> {
        let HardState { term, vote, commit } = self.hard_state;
        let (last, last_term) = (self.last(), self.term_at(self.last()).unwrap());
        let next_term = term.max(last_term) + 1;
        match numbers.next() % 12 {
            0..=3 => {
                let bytes = numbers.within(0, 900) as usize;
                (1..=numbers.within(1, 4)).map(|n| entry(last + n, term.max(last_term), bytes)).collect()
            }
            4 if last > commit => {
                let from = numbers.within(commit + 1, last);
                let hard_state = HardState { term: next_term, vote: 0, commit };
                vec![Record::HardState(hard_state), entry(from, next_term, 9)]
            }
            5 => vec![Record::TruncateFrom { index: numbers.within(commit + 1, last + 1) }],
            6 => vec![Record::HardState(HardState {
                term: next_term,
                vote: numbers.within(0, 3),
                commit: numbers.within(commit, last),
            })],
            7 => vec![Record::HardState(HardState { term, vote, commit: last })],
            8 => vec![Record::Promise(promise(
                self.largest_round.0 + numbers.within(1, 3),
                numbers.within(1, 4),
            ))],
            9 => {
                let known: Vec<_> = self.promises.iter().copied().collect();
                let some = known.get(numbers.next() as usize % known.len().max(1));
                some.map(|promise| Record::PromiseWithdrawn(*promise)).into_iter().collect()
            }
            10 => {
                let key = format!("key {}", numbers.within(0, 3));
                vec![Record::Meta { key, value: vec![numbers.next() as u8; numbers.within(0, 50) as usize] }]
            }
            _ => {
                let index = last + numbers.within(1, 5);
                let hard_state = HardState { term: next_term, vote: 0, commit };
                let snapshot = Snapshot { index, term: next_term, conf_state: vec![4], data: vec![5; 700] };
                vec![Record::HardState(hard_state), Record::Snapshot(snapshot)]
            }
        }
    }
}
