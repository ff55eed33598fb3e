//! Where what lies in the shared area, and whose area it is.
//!
//! | bytes | what |
//! |---|---|
//! | 0-4095 | the header: CRC32C of bytes 4 to 511, [`MAGIC`], the area's id, the length of the cluster's name, the name |
//! | 4096-65535 | zeros |
//! | 65536 on | [`SLOTS`] slots of [`SLOT`] bytes, of the nodes 1 to [`SLOTS`] |
//!
//! A node that lost its state comes back under another number. When the numbers run out, an operator makes the area anew.

use regent_model::NodeId;
use regent_model::ids::ClusterName;

use crate::record::{AreaId, BLOCK, RECORD, Record};
use crate::slot::{COPIES, PLACES, SLOT};

/// What the header begins with, the number of its format included.
pub const MAGIC: [u8; 8] = *b"RGNTARE1";

/// How many nodes have a slot.
pub const SLOTS: u64 = 64;

/// Where the first slot begins.
pub const SLOTS_AT: u64 = 65_536;

/// The bytes of an area. Whatever holds it must have as many.
pub const AREA: u64 = SLOTS_AT + SLOTS * SLOT as u64;

const NAME_AT: usize = 29;

/// Whose area it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The area.
    pub area: AreaId,
    /// The cluster that it decides for.
    pub cluster: ClusterName,
}

/// What the first block of a device or file shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// All zeros: nobody's.
    Blank,
    /// An area.
    Area(Header),
    /// Something else: a file system, a partition table, or an area's header that was damaged.
    Foreign,
}

impl Header {
    /// The first block of the area.
    #[must_use]
    pub fn block(&self) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK];
        bytes[4..12].copy_from_slice(&MAGIC);
        bytes[12..28].copy_from_slice(&self.area.0);
        // A name has at most 64 characters, all of them ASCII.
        let name = self.cluster.as_str().as_bytes();
        let length = name.len().min(RECORD - NAME_AT);
        bytes[28] = u8::try_from(length).unwrap_or(u8::MAX);
        bytes[NAME_AT..NAME_AT + length].copy_from_slice(&name[..length]);
        let sum = crc32c::crc32c(&bytes[4..RECORD]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

impl Beginning {
    /// What these bytes show: at least the first block.
    #[must_use]
    pub fn at(bytes: &[u8]) -> Self {
        if bytes.len() >= BLOCK && bytes.iter().all(|byte| *byte == 0) {
            return Self::Blank;
        }
        header(bytes).map_or(Self::Foreign, Self::Area)
    }
}

fn header(bytes: &[u8]) -> Option<Header> {
    let bytes = bytes.get(..RECORD)?;
    let sum = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    if crc32c::crc32c(&bytes[4..]) != sum || bytes[4..12] != MAGIC {
        return None;
    }
    let area = AreaId(bytes.get(12..28)?.try_into().ok()?);
    let name = bytes.get(NAME_AT..NAME_AT + usize::from(bytes[28]))?;
    let cluster = ClusterName::new(std::str::from_utf8(name).ok()?).ok()?;
    Some(Header { area, cluster })
}

/// Where the slot of `node` begins; nothing if it has none.
#[must_use]
pub fn slot_at(node: NodeId) -> Option<u64> {
    (1..=SLOTS).contains(&node.0).then(|| SLOTS_AT + (node.0 - 1) * SLOT as u64)
}

/// What is written to make an area, where, in this order. The header comes last: without it there is no area.
pub fn made(header: &Header) -> impl Iterator<Item = (u64, Vec<u8>)> {
    let slots =
        (1..=SLOTS).filter_map(|node| Some((slot_at(NodeId(node))?, formatted(header.area, NodeId(node)))));
    slots.chain([(0, header.block())])
}

/// The slot of `node` as it is written when the area is made.
#[must_use]
pub fn formatted(area: AreaId, node: NodeId) -> Vec<u8> {
    Record::blank(area, node).block().repeat(PLACES * COPIES)
}
