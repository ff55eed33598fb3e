//! What the state does not take, because no correct node would ever say it.

use regent_store::{Entry, HardState, Record, Snapshot, Store, StoreError, VirtualDisk};

use crate::expected::{entry, identity, promise};

fn hard_state(term: u64, vote: u64, commit: u64) -> Record {
    Record::HardState(HardState { term, vote, commit })
}

fn snapshot(index: u64, term: u64) -> Record {
    Record::Snapshot(Snapshot { index, term, ..Snapshot::default() })
}

/// A state in term 5 that voted for 2, with entries 1 to 6 (4 to 6 of term 5), of which 4 are committed, and
/// promises of rounds 1 and 3, the second withdrawn.
fn store() -> Store<VirtualDisk> {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap();
    let entries = [(1, 3), (2, 3), (3, 3), (4, 5), (5, 5), (6, 5)].map(|(index, term)| entry(index, term, 5));
    store.append(&entries).unwrap();
    store.append(&[hard_state(5, 2, 4)]).unwrap();
    store.append(&[Record::Promise(promise(1, 1)), Record::Promise(promise(3, 2))]).unwrap();
    store.append(&[Record::PromiseWithdrawn(promise(3, 2))]).unwrap();
    store
}

#[track_caller]
fn refuses(records: &[Record], why: &str) {
    let mut store = store();
    let before = store.disk_mut().activity();
    let error = store.append(records).unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }) && !error.is_final(), "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert_eq!(store.disk_mut().activity(), before, "nothing is written");
    store.append(&[entry(7, 5, 5)]).unwrap();
}

#[track_caller]
fn takes(records: &[Record]) -> Vec<Entry> {
    let mut store = store();
    store.append(records).unwrap();
    Store::open(store.into_disk(), identity()).unwrap().1.entries
}

#[test]
fn a_term_never_falls_and_a_vote_is_never_changed() {
    refuses(&[hard_state(4, 2, 4)], "term 4 after term 5");
    refuses(&[hard_state(5, 3, 4)], "a vote for 3 after one for 2");
    refuses(&[hard_state(5, 0, 4)], "a vote for 0 after one for 2");
    takes(&[hard_state(5, 2, 5)]);
    takes(&[hard_state(6, 3, 4)]);
}

#[test]
fn a_gap_a_falling_term_and_a_replaced_committed_entry_are_refused() {
    refuses(&[entry(8, 5, 1)], "entry 8 behind entry 6");
    refuses(&[entry(7, 4, 1)], "of term 4 behind");
    refuses(&[entry(4, 6, 1)], "4 is committed");
    refuses(&[entry(0, 6, 1)], "is committed");
    refuses(&[Record::TruncateFrom { index: 4 }], "4 is committed");
    assert_eq!(takes(&[entry(5, 6, 1)]).len(), 5);
    assert_eq!(takes(&[Record::TruncateFrom { index: 5 }]).len(), 4);
    assert_eq!(takes(&[Record::TruncateFrom { index: 9 }]).len(), 6);
}

#[test]
fn a_commit_index_beyond_the_log_is_refused_and_a_smaller_one_ignored() {
    refuses(&[hard_state(5, 2, 7)], "beyond the last entry 6");
    takes(&[hard_state(5, 2, 7), entry(7, 5, 1)]);
    let mut store = store();
    store.append(&[hard_state(5, 2, 0)]).unwrap();
    assert_eq!(Store::open(store.into_disk(), identity()).unwrap().1.hard_state.commit, 4);
}

#[test]
fn a_snapshot_keeps_the_entries_that_agree_with_it_and_drops_the_others() {
    let indexes = |entries: Vec<Entry>| entries.iter().map(|entry| entry.index).collect::<Vec<_>>();
    assert_eq!(indexes(takes(&[snapshot(4, 5)])), [5, 6]);
    assert_eq!(indexes(takes(&[snapshot(3, 3)])), [4, 5, 6]);
    assert_eq!(indexes(takes(&[snapshot(6, 5)])), []);
    assert_eq!(indexes(takes(&[snapshot(5, 6)])), [], "entry 5 of term 5 lost against one of term 6");
    assert_eq!(indexes(takes(&[snapshot(9, 5), entry(10, 5, 1)])), [10]);
    refuses(&[snapshot(4, 6)], "another term than the committed entry");
    refuses(&[snapshot(9, 5), snapshot(8, 5)], "a snapshot at 8 after one at 9");
    refuses(&[snapshot(9, 5), entry(9, 5, 1)], "9 is committed");
    refuses(&[snapshot(9, 5), entry(11, 5, 1)], "entry 11 behind entry 9");
    refuses(&[snapshot(9, 5), entry(10, 4, 1)], "of term 4 behind");
}

#[test]
fn a_snapshot_moves_the_commit_index() {
    let mut store = store();
    store.append(&[snapshot(9, 5)]).unwrap();
    let (_, recovered) = Store::open(store.into_disk(), identity()).unwrap();
    assert_eq!(recovered.hard_state, HardState { term: 5, vote: 2, commit: 9 });
}

#[test]
fn a_round_is_never_used_twice_not_even_after_compactions() {
    refuses(&[Record::Promise(promise(3, 2))], "round 3 after round 3");
    refuses(&[Record::Promise(promise(2, 2))], "round 2 after round 3");
    takes(&[Record::Promise(promise(1, 1))]);
    let mut store = store();
    store.compact().unwrap();
    assert!(matches!(store.append(&[Record::Promise(promise(3, 2))]), Err(StoreError::Refused { .. })));
    let (mut store, recovered) = Store::open(store.into_disk(), identity()).unwrap();
    assert_eq!(recovered.largest_round.0, 3);
    assert_eq!(recovered.promises.into_iter().collect::<Vec<_>>(), [promise(1, 1)]);
    assert!(matches!(store.append(&[Record::Promise(promise(3, 2))]), Err(StoreError::Refused { .. })));
    store.append(&[Record::Promise(promise(4, 2))]).unwrap();
}

#[test]
fn compaction_is_wanted_when_most_of_the_file_is_superseded() {
    let mut store = store();
    assert!(!store.wants_compaction());
    let mut commits = 0;
    while !store.wants_compaction() {
        store.append(&[hard_state(5, 2, 4)]).unwrap();
        commits += 1;
        assert!(commits < 10_000);
    }
    let before = store.usage();
    store.compact().unwrap();
    assert!(!store.wants_compaction() && store.usage().used * 100 < before.used);
}
