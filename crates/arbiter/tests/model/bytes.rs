//! What is on the disk, byte by byte.

use proptest::prelude::*;
use regent_arbiter::area::{AREA as AREA_BYTES, SLOTS, formatted, slot_at};
use regent_arbiter::mutants::Mutants;
use regent_arbiter::record::{AreaId, BLOCK, Ballot, Look, RECORD, Record};
use regent_arbiter::slot::{SLOT, block_of};
use regent_arbiter::{Beginning, Generation, Header, Slot};
use regent_model::NodeId;
use regent_model::ids::ClusterName;

const AREA: AreaId = AreaId([9; 16]);
const ME: NodeId = NodeId(3);

fn records() -> impl Strategy<Value = Record> {
    let ballot = || (1..u64::MAX, 1..9_u64).prop_map(|(round, node)| Ballot { round, node: NodeId(node) });
    let node = || (1..9_u64).prop_map(NodeId);
    let named = prop::option::of(node());
    (1..u64::MAX, any::<u64>(), any::<u64>(), ballot(), named, prop::option::of(node())).prop_map(
        |(life, sequence, generation, promised, named, decided)| Record {
            area: AREA,
            node: ME,
            life,
            sequence,
            generation: Generation(generation),
            promised,
            accepted: named.map(|winner| (promised, winner)),
            decided,
        },
    )
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(record in records()) {
        prop_assert_eq!(Look::at(&record.block(), AREA, ME), Look::Whole(record));
    }

    #[test]
    fn a_block_of_two_writes_is_neither(old in records(), new in records(), torn in 1..RECORD) {
        let (old_bytes, mut bytes) = (old.block(), new.block());
        bytes[torn..].copy_from_slice(&old_bytes[torn..]);
        let look = Look::at(&bytes, AREA, ME);
        let whole = [Look::Whole(old), Look::Whole(new)];
        let is_whole = bytes == old_bytes || bytes == new.block();
        prop_assert!(look == Look::Unreadable || (is_whole && whole.contains(&look)));
    }

    #[test]
    fn a_flipped_bit_is_seen(record in records(), bit in 0..RECORD * 8) {
        let mut bytes = record.block();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(Look::at(&bytes, AREA, ME), Look::Unreadable);
    }

    #[test]
    fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..2 * RECORD)) {
        prop_assert_eq!(Look::at(&bytes, AREA, ME), Look::Unreadable);
        prop_assert!(!matches!(Beginning::at(&bytes), Beginning::Area(_)));
    }
}

#[test]
fn an_area_says_whose_it_is_and_a_damaged_or_foreign_one_is_nobodys() {
    let header = Header { area: AREA, cluster: ClusterName::new("ward7").unwrap() };
    let mut bytes = header.block();
    assert_eq!(Beginning::at(&bytes), Beginning::Area(header));
    bytes[30] ^= 4;
    assert_eq!(Beginning::at(&bytes), Beginning::Foreign);
    assert_eq!(Beginning::at(&[0; BLOCK]), Beginning::Blank);
    assert_eq!(
        Beginning::at(&[0; 100]),
        Beginning::Foreign,
        "what is shorter than a block is no blank device"
    );
}

#[test]
fn slots_lie_side_by_side_within_the_area() {
    let slots: Vec<u64> = (1..=SLOTS).filter_map(|node| slot_at(NodeId(node))).collect();
    assert!(slots.windows(2).all(|pair| pair[0] + SLOT as u64 == pair[1]));
    assert_eq!(slots.last().map(|last| last + SLOT as u64), Some(AREA_BYTES));
    assert_eq!((slot_at(NodeId(0)), slot_at(NodeId(SLOTS + 1))), (None, None));
}

#[test]
fn records_of_another_area_or_node_are_nobodys() {
    let block = Record::blank(AREA, ME).block();
    assert_eq!(Look::at(&block, AreaId([8; 16]), ME), Look::Unreadable);
    assert_eq!(Look::at(&block, AREA, NodeId(4)), Look::Unreadable);
    assert_eq!(Look::at(&[0; BLOCK], AREA, ME), Look::Unreadable, "zeros are not a formatted block");
}

#[test]
fn each_life_has_its_place_and_the_newest_counts() {
    let mut bytes = formatted(AREA, ME);
    assert_eq!(bytes.len(), SLOT);
    for life in [3, 5, 4] {
        let record = Record { life, sequence: 1, ..Record::blank(AREA, ME) };
        let at = block_of(life) * BLOCK;
        bytes[at..at + BLOCK].copy_from_slice(&record.block());
    }
    let slot = Slot::at(&bytes, AREA, ME);
    assert_eq!(slot.newest(Mutants::none()).map(|record| record.life), Some(5));
}

#[test]
fn one_damaged_copy_is_borne_and_two_of_a_place_are_not() {
    let mut bytes = formatted(AREA, ME);
    bytes[0] ^= 1;
    assert!(Slot::at(&bytes, AREA, ME).newest(Mutants::none()).is_some());
    bytes[BLOCK] ^= 1;
    assert_eq!(Slot::at(&bytes, AREA, ME).newest(Mutants::none()), None);
    assert_eq!(
        Slot::at(&bytes[..SLOT - 1], AREA, ME).newest(Mutants::none()),
        None,
        "a slot that ends early"
    );
}
