//! What was acknowledged survives every crash.

use proptest::prelude::*;
use regent_store::{Disk, Record, Recovered, Snapshot, Store, StoreError, VirtualDisk};

use crate::expected::{Expected, Numbers, entry, identity};

/// A store on a disk that can fail and lose power at any operation, beside what it must hold.
struct Torture {
    store: Option<Store<VirtualDisk>>,
    /// What was acknowledged.
    known: Expected,
    numbers: Numbers,
    seen: Seen,
}

/// That the rare things really happened.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    torn_tails: u32,
    kept_unacknowledged: u32,
    lost_unacknowledged: u32,
    failed_opens: u32,
    compactions: u32,
}

fn same(recovered: &Recovered, expected: &Expected) -> bool {
    Recovered { truncated_tail: false, ..recovered.clone() } == expected.recovered()
}

impl Torture {
    fn new(seed: u64) -> Self {
        let store = Some(Store::create(VirtualDisk::new(), identity()).unwrap());
        Self { store, known: Expected::default(), numbers: Numbers(seed), seen: Seen::default() }
    }

    fn step(&mut self) {
        let mut store = self.store.take().unwrap();
        let fault = self.numbers.next() % 3;
        if fault == 0 {
            let operations = self.numbers.within(0, 6).min(self.numbers.within(0, 6));
            store.disk_mut().fail_in(operations);
        }
        let mut next = self.known.clone();
        let result = match self.numbers.next() % 10 {
            0 => store.compact(),
            1 => {
                let snapshot: Snapshot = next.own_snapshot(&mut self.numbers);
                next.apply(&Record::Snapshot(snapshot.clone()));
                store.snapshot(snapshot)
            }
            2 => store.prepare(),
            3 => {
                // Large enough to need room that is not prepared.
                let records = [Record::Meta { key: "large".into(), value: vec![7; 300_000] }];
                records.iter().for_each(|record| next.apply(record));
                store.append(&records)
            }
            _ => store.append(&next.write_some(&mut self.numbers)),
        };
        match result {
            Ok(()) => {
                self.known = next.clone();
                self.seen.compactions += u32::from(store.usage().generation > 1);
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Io { .. }), "{error}");
                if error.is_final() {
                    let later = store.append(&next.clone().write_some(&mut self.numbers)).unwrap_err();
                    assert!(matches!(later, StoreError::Poisoned { .. }), "{later}");
                }
            }
        }
        if fault == 0 || self.numbers.next().is_multiple_of(4) {
            self.end_and_open(store.into_disk(), &next);
        } else {
            self.store = Some(store);
        }
    }

    /// Ends the process, and sometimes the power, and opens the state again, which may fail in between.
    fn end_and_open(&mut self, mut disk: VirtualDisk, unacknowledged: &Expected) {
        loop {
            if self.numbers.next().is_multiple_of(3) {
                disk.restart();
            } else {
                disk.crash(&mut || self.numbers.next());
            }
            if self.numbers.next().is_multiple_of(4) {
                disk.fail_in(self.numbers.within(0, 6));
            }
            match Store::open(&mut disk, identity()) {
                Ok((_, recovered)) => {
                    self.judge(&recovered, unacknowledged);
                    break;
                }
                Err(StoreError::Io { .. }) => self.seen.failed_opens += 1,
                Err(other) => panic!("{other}"),
            }
        }
        // Whatever was recovered can be acted upon: it must survive the next crash, and the next restart must not
        // forget what the first one saw of the disk.
        if self.numbers.next().is_multiple_of(2) {
            disk.crash(&mut || self.numbers.next());
        } else {
            disk.restart();
        }
        let (store, recovered) = Store::open(disk, identity()).unwrap();
        assert!(same(&recovered, &self.known), "recovered once, then lost: {recovered:?}");
        self.store = Some(store);
    }

    fn judge(&mut self, recovered: &Recovered, unacknowledged: &Expected) {
        self.seen.torn_tails += u32::from(recovered.truncated_tail);
        let is_new = same(recovered, unacknowledged);
        assert!(
            is_new || same(recovered, &self.known),
            "found {recovered:?}\nacknowledged {:?}\nin flight {unacknowledged:?}",
            self.known
        );
        if *unacknowledged != self.known {
            let counter =
                if is_new { &mut self.seen.kept_unacknowledged } else { &mut self.seen.lost_unacknowledged };
            *counter += 1;
        }
        if is_new {
            self.known = unacknowledged.clone();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_was_acknowledged_is_recovered_and_nothing_is_invented(seed in any::<u64>()) {
        let mut torture = Torture::new(seed);
        for _ in 0..30 {
            torture.step();
        }
    }
}

#[test]
fn the_torture_reaches_what_it_is_for() {
    let mut torture = Torture::new(1);
    for _ in 0..1500 {
        torture.step();
    }
    let Seen { torn_tails, kept_unacknowledged, lost_unacknowledged, failed_opens, compactions } =
        torture.seen;
    for seen in [torn_tails, kept_unacknowledged, lost_unacknowledged, failed_opens, compactions] {
        assert!(seen >= 10, "{:?}", torture.seen);
    }
}

#[test]
fn an_append_costs_one_write_and_one_sync() {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap();
    for index in 1..100 {
        let before = store.disk_mut().activity();
        store.append(&[entry(index, 1, 50)]).unwrap();
        let after = store.disk_mut().activity();
        assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
    }
}

#[test]
fn what_could_be_read_but_was_never_synced_is_made_durable_before_it_is_believed() {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap();
    store.disk_mut().fail_in(1);
    let failed = store.append(&[entry(1, 1, 50)]).unwrap_err();
    assert!(failed.is_final() && failed.to_string().contains("syncing"), "{failed}");
    let mut disk = store.into_disk();
    disk.restart();
    let (store, recovered) = Store::open(disk, identity()).unwrap();
    assert_eq!(recovered.entries.len(), 1, "the bytes are there to be read");
    let mut disk = store.into_disk();
    disk.crash(&mut || 0);
    let (_, recovered) = Store::open(disk, identity()).unwrap();
    assert_eq!(recovered.entries.len(), 1);
}

#[test]
fn room_whose_preparation_failed_is_not_taken_for_prepared_by_the_next_process() {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap();
    store.disk_mut().fail_in(1);
    let large = Record::Meta { key: "large".into(), value: vec![7; 300_000] };
    let failed = store.append(std::slice::from_ref(&large)).unwrap_err();
    assert!(failed.is_final(), "{failed}");
    let mut disk = store.into_disk();
    disk.restart();
    let (mut store, _) = Store::open(disk, identity()).unwrap();
    store.append(&[large]).unwrap();
    let mut disk = store.into_disk();
    disk.crash(&mut || 0);
    let (_, recovered) = Store::open(disk, identity()).unwrap();
    assert_eq!(recovered.meta.len(), 1);
}

#[test]
fn a_new_name_that_was_never_synced_is_made_durable_before_it_is_believed() {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap();
    // Create, write, sync and rename succeed; the folder's sync fails.
    store.disk_mut().fail_in(4);
    let failed = store.compact().unwrap_err();
    assert!(failed.is_final() && failed.to_string().contains("syncing"), "{failed}");
    let mut disk = store.into_disk();
    disk.restart();
    let (mut store, _) = Store::open(disk, identity()).unwrap();
    assert_eq!(store.usage().generation, 2);
    store.append(&[entry(1, 1, 50)]).unwrap();
    let mut disk = store.into_disk();
    disk.crash(&mut || 1);
    let (_, recovered) = Store::open(disk, identity()).unwrap();
    assert_eq!(recovered.entries.len(), 1);
}

#[test]
fn a_full_disk_does_not_stop_what_fits_into_the_prepared_room() {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap();
    store.disk_mut().set_capacity(Some(300 << 10));
    let mut index = 0;
    while store.usage().prepared - store.usage().used > 8 << 10 {
        index += 1;
        store.append(&[entry(index, 1, 2000)]).unwrap();
    }
    let full = store.prepare().unwrap_err();
    assert!(full.is_full() && !full.is_final(), "{full}");
    let full = store.compact().unwrap_err();
    assert!(full.is_full() && !full.is_final(), "{full}");
    store.append(&[entry(index + 1, 1, 2000)]).unwrap();
    for _ in 0..3 {
        let full = store.append(&[entry(index + 2, 1, 9000)]).unwrap_err();
        assert!(full.is_full() && !full.is_final(), "{full}");
    }
    let mut disk = store.into_disk();
    disk.crash(&mut || 2);
    let (mut store, recovered) = Store::open(disk, identity()).unwrap();
    assert_eq!(recovered.entries.len() as u64, index + 1);
    store.append(&[entry(index + 2, 1, 9000)]).unwrap_err();
    store.disk_mut().set_capacity(None);
    store.append(&[entry(index + 2, 1, 9000)]).unwrap();
    let mut disk = store.into_disk();
    disk.crash(&mut || 2);
    assert_eq!(Store::open(disk, identity()).unwrap().1.entries.len() as u64, index + 2);
}

#[test]
fn a_failed_compaction_leaves_nothing_behind_and_a_good_one_only_itself() {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap();
    store.append(&[entry(1, 1, 10)]).unwrap();
    store.disk_mut().set_capacity(Some(300 << 10));
    store.compact().unwrap_err();
    assert_eq!(store.disk_mut().list().unwrap(), ["state-0000000000000001.log"]);
    store.disk_mut().set_capacity(None);
    store.compact().unwrap();
    assert_eq!(store.disk_mut().list().unwrap(), ["state-0000000000000002.log"]);
    let (_, recovered) = Store::open(store.into_disk(), identity()).unwrap();
    assert_eq!(recovered.entries.len(), 1);
}
