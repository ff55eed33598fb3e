//! The durable state of a node: whatever a disk gives back, it is refused, or it is what was stored up to some moment.

use std::collections::BTreeSet;

use regent_model::config::{Config, parse};
use regent_model::ids::IncarnationOf;
use regent_model::proof::Promise;
use regent_model::{Incarnation, NodeId, Round};
use regent_store::{Disk, Entry, HardState, Identity, Record, Store, VirtualDisk};

const NAME: &str = "state-0000000000000001.log";

fn identity() -> Identity {
    let config: Option<Config> = parse(crate::world::WARD7).config;
    let cluster = config.unwrap_or_else(|| panic!("the example is accepted")).cluster;
    Identity { cluster, node: NodeId(1) }
}

fn promises() -> BTreeSet<Promise> {
    let about = |n| IncarnationOf { node: NodeId(2), incarnation: Incarnation(n) };
    (1..6).map(|n| Promise { voter: NodeId(1), about: about(n), round: Round(n) }).collect()
}

fn entry(index: u64) -> Entry {
    Entry { index, term: 1, data: vec![index as u8; 40], ..Entry::default() }
}

/// What a node's first file holds after some work.
fn image() -> Vec<u8> {
    let mut store = Store::create(VirtualDisk::new(), identity()).unwrap_or_else(|e| panic!("{e}"));
    for promise in promises() {
        let records = [
            Record::HardState(HardState { term: 1, vote: 1, commit: promise.round.0 - 1 }),
            Record::Entry(entry(promise.round.0)),
            Record::Promise(promise),
        ];
        store.append(&records).unwrap_or_else(|e| panic!("{e}"));
    }
    store.into_disk().read(NAME).unwrap_or_else(|e| panic!("{e}"))
}

/// The bytes are a file; and they are damage to a good one: a place in two bytes and what stands there instead.
pub(crate) fn run(bytes: &[u8]) {
    let _refused_or_not = opened(bytes);
    let mut damaged = image();
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (damaged.len() + 1);
        match damaged.get_mut(at) {
            Some(byte) => *byte ^= change[2],
            None => damaged.truncate(at.saturating_sub(usize::from(change[2]))),
        }
    }
    let Some((found, all)) = opened(&damaged) else { return };
    assert!(found.iter().zip(promises()).all(|(found, stored)| *found == stored), "{found:?}");
    assert!(all.iter().enumerate().all(|(n, found)| *found == entry(n as u64 + 1)), "{all:?}");
}

/// What is found when a node begins with this file: promises and entries.
fn opened(file: &[u8]) -> Option<(BTreeSet<Promise>, Vec<Entry>)> {
    let mut disk = VirtualDisk::new();
    disk.replace(NAME, file);
    let (store, recovered) = Store::open(disk, identity()).ok()?;
    // What it made of it can be opened again, and says the same.
    let again = Store::open(store.into_disk(), identity()).unwrap_or_else(|e| panic!("not twice: {e}")).1;
    assert!(again.promises == recovered.promises && again.entries == recovered.entries);
    Some((recovered.promises, recovered.entries))
}

pub(crate) fn starters() -> Vec<Vec<u8>> {
    let image = image();
    let cut = image.len() * 2 / 3;
    vec![image.clone(), image[..cut].to_vec(), vec![100, 0, 1], vec![0, 1, 255, 0, 2, 7]]
}
