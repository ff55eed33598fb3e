//! Damage is refused, and nothing is opened.

use proptest::prelude::*;
use regent_model::NodeId;
use regent_model::ids::ClusterName;
use regent_store::{Disk, HardState, Identity, Record, Recovered, Store, StoreError, VirtualDisk};

use crate::expected::{entry, identity, promise};

const FILE: &str = "state-0000000000000001.log";
const SECTOR: usize = 512;

/// A disk with a small state, what it holds, and where its records end.
fn written() -> (VirtualDisk, Recovered, usize) {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap();
    store.append(&[Record::HardState(HardState { term: 4, vote: 3, commit: 0 })]).unwrap();
    store.append(&[entry(1, 4, 20), entry(2, 4, 900)]).unwrap();
    store
        .append(&[Record::Promise(promise(1, 1)), Record::Meta { key: "boot".into(), value: vec![1] }])
        .unwrap();
    store.append(&[Record::Promise(promise(2, 2))]).unwrap();
    let used = store.usage().used as usize;
    let mut disk = store.into_disk();
    let (_, recovered) = Store::open(&mut disk, identity()).unwrap();
    assert_eq!((recovered.promises.len(), recovered.entries.len()), (2, 2));
    (disk, recovered, used)
}

fn open(mut disk: VirtualDisk) -> Result<Recovered, StoreError> {
    Store::open(&mut disk, identity()).map(|(_, recovered)| recovered)
}

fn with(bytes: &[u8]) -> VirtualDisk {
    let mut disk = VirtualDisk::new();
    disk.replace(FILE, bytes);
    disk
}

#[track_caller]
fn refused(result: Result<Recovered, StoreError>, why: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(why), "{text}");
    assert!(text.contains("own nothing") && text.contains("regent join"), "{text}");
}

#[test]
fn every_flipped_bit_is_refused_or_lies_where_nothing_was_acknowledged() {
    let (mut disk, whole, used) = written();
    for bit in 0..used * 8 {
        disk.flip(FILE, bit);
        let refused = Store::open(&mut disk, identity()).map(drop);
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "bit {bit}: {refused:?}");
        disk.flip(FILE, bit);
    }
    assert_eq!(open(disk.clone()).unwrap(), whole);
    let mut torn = 0;
    for bit in used * 8..(used + SECTOR) * 8 {
        let mut damaged = disk.clone();
        damaged.flip(FILE, bit);
        match open(damaged) {
            Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "bit {bit}: {error}"),
            Ok(recovered) => {
                torn += u32::from(recovered.truncated_tail);
                assert_eq!(Recovered { truncated_tail: false, ..recovered }, whole);
            }
        }
    }
    assert_eq!(torn, 511 * 8);
}

#[test]
fn a_file_cut_at_any_place_is_refused_or_has_lost_nothing() {
    let (mut disk, whole, used) = written();
    let bytes = disk.read(FILE).unwrap();
    let edges = (0..bytes.len()).step_by(SECTOR).flat_map(|edge| [edge.saturating_sub(1), edge, edge + 1]);
    for length in edges.chain(used - 40..used + 40) {
        refused(open(with(&bytes[..length])), "");
    }
    assert_eq!(open(with(&bytes)).unwrap(), whole);
}

#[test]
fn a_large_file_cut_at_the_edge_of_its_prepared_room_is_refused() {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap();
    for index in 1..=300 {
        store.append(&[entry(index, 1, 2000)]).unwrap();
    }
    let mut disk = store.into_disk();
    let bytes = disk.read(FILE).unwrap();
    assert!(bytes.len() >= 768 << 10);
    for length in [256 << 10, 512 << 10] {
        refused(open(with(&bytes[..length])), "cut short");
    }
    assert_eq!(open(disk).unwrap().entries.len(), 300);
}

#[test]
fn a_batch_lost_in_the_middle_is_told_from_a_torn_tail() {
    let (mut disk, whole, used) = written();
    let bytes = disk.read(FILE).unwrap();
    let last = used / SECTOR - 1;
    for sector in 1..last {
        let mut damaged = bytes.clone();
        damaged[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
        refused(open(with(&damaged)), "damaged");
    }
    // The sector of the last batch, all of it as prepared: what a crash before its sync leaves.
    let mut torn = bytes.clone();
    torn[last * SECTOR + 100..(last + 1) * SECTOR].fill(0);
    let recovered = open(with(&torn)).unwrap();
    assert!(recovered.truncated_tail);
    assert_eq!(recovered.promises.len(), whole.promises.len() - 1);
}

#[test]
fn the_batch_that_a_generation_begins_with_is_never_taken_for_a_torn_tail() {
    let (mut disk, _, _) = written();
    let (mut store, _) = Store::open(&mut disk, identity()).unwrap();
    store.compact().unwrap();
    let used = store.usage().used as usize;
    let bytes = disk.read("state-0000000000000002.log").unwrap();
    for kept in (SECTOR..used).step_by(5) {
        let mut damaged = bytes.clone();
        damaged[kept..used].fill(0);
        disk.replace("state-0000000000000002.log", &damaged);
        refused(open(disk.clone()), "begins with is damaged");
    }
}

#[test]
fn sectors_in_each_others_place_are_refused() {
    let (mut disk, _, used) = written();
    let bytes = disk.read(FILE).unwrap();
    for first in 0..used / SECTOR {
        for second in first + 1..used / SECTOR + 1 {
            let mut swapped = bytes.clone();
            let (head, tail) = swapped.split_at_mut(second * SECTOR);
            head[first * SECTOR..(first + 1) * SECTOR].swap_with_slice(&mut tail[..SECTOR]);
            refused(open(with(&swapped)), "");
        }
    }
}

/// A disk that writes a sector to a wrong place destroys what was there, and has not written what it was told to. It shows
/// wherever in the file it went; what went elsewhere is a lost write, for the peers to remember.
#[test]
fn a_sector_that_went_to_a_wrong_place_is_refused() {
    let (mut disk, _, used) = written();
    let bytes = disk.read(FILE).unwrap();
    let at = |sector: usize| sector * SECTOR..(sector + 1) * SECTOR;
    for from in 0..used / SECTOR {
        for to in (0..used / SECTOR + 3).filter(|to| *to != from) {
            let mut strayed = bytes.clone();
            strayed.copy_within(at(from), to * SECTOR);
            refused(open(with(&strayed)), "");
            strayed[at(from)].fill(0);
            refused(open(with(&strayed)), "");
        }
    }
}

#[test]
fn a_state_of_another_node_cluster_or_generation_is_refused() {
    let (mut disk, _, _) = written();
    let stranger = Identity { node: NodeId(8), ..identity() };
    refused(
        Store::open(&mut disk, stranger).map(|(_, r)| r),
        "state of node 3 of cluster ward7, not of node 8",
    );
    let stranger = Identity { cluster: ClusterName::new("ward8").unwrap(), ..identity() };
    refused(Store::open(&mut disk, stranger).map(|(_, r)| r), "cluster ward8");
    let bytes = disk.read(FILE).unwrap();
    disk.replace("state-0000000000000002.log", &bytes);
    refused(open(disk), "another generation");
}

#[test]
fn sectors_of_another_generation_are_refused() {
    let (mut disk, _, used) = written();
    let mut old = disk.read(FILE).unwrap();
    let (mut store, _) = Store::open(&mut disk, identity()).unwrap();
    store.compact().unwrap();
    let next = "state-0000000000000002.log";
    let new = disk.read(next).unwrap();
    old[..SECTOR].copy_from_slice(&new[..SECTOR]);
    disk.replace(next, &old);
    refused(open(disk.clone()), "damaged");
    let mut mixed = new.clone();
    mixed[used..used + SECTOR].copy_from_slice(&old[used - SECTOR..used]);
    disk.replace(next, &mixed);
    refused(open(disk), "checksum");
}

#[test]
fn a_damaged_newest_generation_is_not_replaced_by_an_older_one() {
    let (mut disk, _, _) = written();
    let old = disk.read(FILE).unwrap();
    let (mut store, _) = Store::open(&mut disk, identity()).unwrap();
    store.compact().unwrap();
    store.append(&[Record::Promise(promise(3, 3))]).unwrap();
    disk.replace(FILE, &old);
    assert_eq!(open(disk.clone()).unwrap().promises.len(), 3);
    disk.flip("state-0000000000000002.log", 700 * 8);
    refused(open(disk), "damaged");
}

#[test]
fn a_file_of_a_later_format_says_which_program_to_start() {
    let (mut disk, _, _) = written();
    let mut bytes = disk.read(FILE).unwrap();
    bytes[23 + 12] = 9;
    let checksum = crc32c::crc32c(&bytes[4..SECTOR]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    let error = open(with(&bytes)).unwrap_err();
    assert!(matches!(error, StoreError::Version { found: 9, known: 1, .. }), "{error}");
}

#[test]
fn an_empty_folder_is_no_state_and_a_state_is_not_made_twice() {
    let (mut disk, _, _) = written();
    assert!(matches!(Store::create(&mut disk, identity()), Err(StoreError::Exists { .. })));
    let error = open(VirtualDisk::new()).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("own nothing"));
}

#[test]
fn damage_that_happens_while_the_node_runs_is_found_at_compaction_and_is_final() {
    let (disk, _, _) = written();
    let (mut store, _) = Store::open(disk, identity()).unwrap();
    store.disk_mut().flip(FILE, 600 * 8);
    assert!(matches!(store.compact(), Err(StoreError::Corrupt { .. })));
    assert!(matches!(store.append(&[entry(3, 4, 1)]), Err(StoreError::Poisoned { .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_are_never_a_state(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(open(with(&bytes)).is_err());
    }

    #[test]
    fn a_file_with_arbitrary_parts_never_panics_and_never_loses_what_stays_whole(
        parts in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..700)), 1..4)
    ) {
        let (mut disk, whole, used) = written();
        let mut bytes = disk.read(FILE).unwrap();
        for (at, part) in &parts {
            let at = at.index(used + SECTOR);
            bytes[at..at + part.len()].copy_from_slice(part);
        }
        if let Ok(recovered) = open(with(&bytes)) {
            // Only the last batch can be taken for one that was never finished, when its end was hit by zeros.
            prop_assert_eq!(recovered.entries, whole.entries);
            prop_assert!(recovered.promises.len() + 1 >= whole.promises.len());
        }
    }
}
