//! The blocks that belong to one node. Nobody else writes to them.
//!
//! A slot has [`PLACES`] places, and each place two copies. A life of the node's daemon writes to one place only,
//! that of its number: a write of an earlier life that the disk carries out late lands where nobody looks for
//! anything newer (A4). Within a life, the copies are written one after the other and the next record not before
//! both are known to be on the disk (A5): a torn write leaves the other copy, which holds the record before or the
//! same one, so that what a crash tears is not taken for damage.

use regent_model::NodeId;

use crate::mutants::{Condition, Mutants};
use crate::record::{AreaId, BLOCK, Look, Record};

/// How many lives later a place is used again. A write that is late by so many lives would be taken for a new one.
pub const PLACES: usize = 8;

/// The copies of a record.
pub const COPIES: usize = 2;

/// The bytes of a slot.
pub const SLOT: usize = PLACES * COPIES * BLOCK;

/// The two copies at one place.
pub type Place = [Look; COPIES];

/// What was read of one node's slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Place by place.
    pub places: Vec<Place>,
}

/// Which block of a slot a life writes to first; the second copy follows it.
#[must_use]
pub fn block_of(life: u64) -> usize {
    let places = PLACES as u64;
    usize::try_from(life % places).unwrap_or_default() * COPIES
}

impl Slot {
    /// A slot as it is when the area was made.
    #[must_use]
    pub fn formatted(area: AreaId, node: NodeId, places: usize) -> Self {
        Self { places: vec![[Look::Whole(Record::blank(area, node)); COPIES]; places] }
    }

    /// What the bytes of a slot show.
    #[must_use]
    pub fn at(bytes: &[u8], area: AreaId, node: NodeId) -> Self {
        let look = |at: usize| {
            bytes
                .get(at * BLOCK..(at + 1) * BLOCK)
                .map_or(Look::Unreadable, |block| Look::at(block, area, node))
        };
        let places = (0..PLACES).map(|place| [look(place * COPIES), look(place * COPIES + 1)]).collect();
        Self { places }
    }

    /// The newest record. Nothing when a place cannot be read in either copy: what was written there may have been
    /// newer (A8).
    #[must_use]
    pub fn newest(&self, mutants: Mutants) -> Option<Record> {
        let mut newest: Option<Record> = None;
        for place in &self.places {
            let best = place.iter().filter_map(Look::record).max_by_key(|record| record.written());
            match best {
                Some(best) if newest.is_none_or(|known| known.written() < best.written()) => {
                    newest = Some(*best)
                }
                Some(_) => {}
                None if mutants.off(Condition::DamageIsNotBlank) => {}
                None => return None,
            }
        }
        newest
    }
}
