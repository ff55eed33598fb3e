//! What a node writes to one block of the shared area, and what a block shows to who reads it.
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | CRC32C of bytes 4 to 511 |
//! | 4-11 | [`MAGIC`] |
//! | 12-27 | the area's id |
//! | 28-107 | ten numbers: node, life, sequence, generation, promised (round, node), accepted (round, node, winner), decided |
//! | 108-511 | zeros |
//!
//! Numbers are little-endian; node 0 is nobody. Only the first 512 bytes of a block count: what a disk writes whole.

use regent_model::NodeId;
pub use regent_model::ids::AreaId;

use crate::standing::Generation;

/// The bytes of a block, as a disk with large sectors writes it.
pub const BLOCK: usize = 4096;

/// The bytes of it that count.
pub const RECORD: usize = 512;

/// What every record begins with, the number of its format included.
pub const MAGIC: [u8; 8] = *b"RGNTARB1";

const NUMBERS_AT: usize = 28;
const NUMBERS: usize = 10;

/// The number of an attempt to have a generation decided: of two, the one of the higher round; every attempt of a
/// node has a round of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ballot {
    /// From 1; 0 is no attempt.
    pub round: u64,
    /// Whose attempt.
    pub node: NodeId,
}

/// What one node says about one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// The area.
    pub area: AreaId,
    /// The writer.
    pub node: NodeId,
    /// Which of its daemons; larger than that of every daemon before.
    pub life: u64,
    /// The number of the write in that life, from 1. A record of life 0 was written when the area was made.
    pub sequence: u64,
    /// The generation that is to be decided.
    pub generation: Generation,
    /// The highest ballot that the writer began.
    pub promised: Ballot,
    /// The highest ballot that the writer brought as far as to name a winner, and whom it named.
    pub accepted: Option<(Ballot, NodeId)>,
    /// The winner, when the writer knows that it is decided.
    pub decided: Option<NodeId>,
}

impl Record {
    /// The record of a slot in which nothing was written yet.
    #[must_use]
    pub fn blank(area: AreaId, node: NodeId) -> Self {
        Self {
            area,
            node,
            life: 0,
            sequence: 0,
            generation: Generation::default(),
            promised: Ballot::default(),
            accepted: None,
            decided: None,
        }
    }

    /// The order in which a node wrote its records.
    #[must_use]
    pub fn written(&self) -> (u64, u64) {
        (self.life, self.sequence)
    }

    /// Whom it names.
    pub fn named(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.decided.into_iter().chain(self.accepted.map(|(_, winner)| winner))
    }

    /// The block to write.
    #[must_use]
    pub fn block(&self) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK];
        bytes[4..12].copy_from_slice(&MAGIC);
        bytes[12..NUMBERS_AT].copy_from_slice(&self.area.0);
        let (accepted, winner) = self.accepted.unwrap_or_default();
        let numbers: [u64; NUMBERS] = [
            self.node.0,
            self.life,
            self.sequence,
            self.generation.0,
            self.promised.round,
            self.promised.node.0,
            accepted.round,
            accepted.node.0,
            winner.0,
            self.decided.unwrap_or_default().0,
        ];
        for (at, number) in (NUMBERS_AT..).step_by(8).zip(numbers) {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes[4..RECORD]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

/// What a block shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Look {
    /// A record of this area and this node, as it was written.
    Whole(Record),
    /// Torn, damaged, never formatted, or of another area or node.
    Unreadable,
}

impl Look {
    /// What these bytes show, in a block of the slot of `node` in `area`.
    #[must_use]
    pub fn at(bytes: &[u8], area: AreaId, node: NodeId) -> Self {
        read(bytes)
            .filter(|record| record.area == area && record.node == node)
            .map_or(Self::Unreadable, Self::Whole)
    }

    /// The record, if there is one.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Whole(record) => Some(record),
            Self::Unreadable => None,
        }
    }
}

fn read(bytes: &[u8]) -> Option<Record> {
    let bytes = bytes.get(..RECORD)?;
    let sum = u32::from_le_bytes(field(bytes, 0)?);
    if crc32c::crc32c(&bytes[4..]) != sum || field(bytes, 4)? != MAGIC {
        return None;
    }
    let mut numbers = [0; NUMBERS];
    for (at, number) in (NUMBERS_AT..).step_by(8).zip(&mut numbers) {
        *number = u64::from_le_bytes(field(bytes, at)?);
    }
    let [node, life, sequence, generation, round, by, accepted, accepted_by, winner, decided] = numbers;
    let somebody = |id: u64| (id != 0).then_some(NodeId(id));
    let record = Record {
        area: AreaId(field(bytes, 12)?),
        node: NodeId(node),
        life,
        sequence,
        generation: Generation(generation),
        promised: Ballot { round, node: NodeId(by) },
        accepted: somebody(winner)
            .map(|winner| (Ballot { round: accepted, node: NodeId(accepted_by) }, winner)),
        decided: somebody(decided),
    };
    // Whoever accepted a ballot had begun it or a lower one was its own: more than it promised it never accepts.
    record.accepted.is_none_or(|(ballot, _)| ballot <= record.promised).then_some(record)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
