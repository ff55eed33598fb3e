//! Sectors: the unit that a disk writes whole or not at all.
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | CRC32C of the rest, begun with the header's checksum |
//! | 4-11 | number of the batch |
//! | 12-15 | place in the batch, from 0 |
//! | 16-19 | sectors in the batch |
//! | 20-21 | bytes of payload used |
//! | 22 | kind |
//! | 23-510 | payload |
//! | 511 | [`MARK`] |

pub(crate) const SECTOR: usize = 512;
pub(crate) const PAYLOAD: usize = 488;

const PAYLOAD_AT: usize = 23;
/// The last byte of every complete sector. Four of its bits are set, so that neither a torn write, which leaves
/// the zero that was prepared, nor a flipped bit can be taken for one another.
const MARK: u8 = 0xa5;
const BLANK: [u8; SECTOR] = [0; SECTOR];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Header,
    Batch,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Batch => 2,
        }
    }
}

/// A sector whose checksum fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sector<'a> {
    pub(crate) batch: u64,
    pub(crate) place: u32,
    pub(crate) count: u32,
    pub(crate) payload: &'a [u8],
}

/// What a sector's bytes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look<'a> {
    /// All zeros: prepared and not written.
    Blank,
    /// Never completely written.
    Torn,
    /// As it was written.
    Whole(Sector<'a>),
    /// Damaged after it was written.
    Damaged,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// Looks at one sector of this kind, bound to `seed`. `bytes` may be the shorter rest of a file.
pub(crate) fn look(bytes: &[u8], kind: Kind, seed: u32) -> Look<'_> {
    if bytes == &BLANK[..bytes.len()] {
        return Look::Blank;
    }
    if bytes.len() < SECTOR || bytes[SECTOR - 1] == 0 {
        return Look::Torn;
    }
    let used = usize::from(u16::from_le_bytes(field(bytes, 20)));
    let fits = u32::from_le_bytes(field(bytes, 0)) == crc32c::crc32c_append(seed, &bytes[4..])
        && bytes[SECTOR - 1] == MARK
        && bytes[22] == kind.byte()
        && used <= PAYLOAD;
    if !fits {
        return Look::Damaged;
    }
    Look::Whole(Sector {
        batch: u64::from_le_bytes(field(bytes, 4)),
        place: u32::from_le_bytes(field(bytes, 12)),
        count: u32::from_le_bytes(field(bytes, 16)),
        payload: &bytes[PAYLOAD_AT..PAYLOAD_AT + used],
    })
}

/// How many sectors a payload needs; even an empty one needs one.
pub(crate) const fn sectors_for(payload: usize) -> usize {
    if payload == 0 { 1 } else { payload.div_ceil(PAYLOAD) }
}

/// Appends the sectors of one batch to `out`. The payload must need fewer than 2^32 sectors.
pub(crate) fn lay(out: &mut Vec<u8>, kind: Kind, batch: u64, payload: &[u8], seed: u32) {
    let count = sectors_for(payload.len());
    out.reserve(count * SECTOR);
    for place in 0..count {
        let part = &payload[place * PAYLOAD..payload.len().min((place + 1) * PAYLOAD)];
        let mut sector = BLANK;
        sector[4..12].copy_from_slice(&batch.to_le_bytes());
        sector[12..16].copy_from_slice(&(place as u32).to_le_bytes());
        sector[16..20].copy_from_slice(&(count as u32).to_le_bytes());
        sector[20..22].copy_from_slice(&(part.len() as u16).to_le_bytes());
        sector[22] = kind.byte();
        sector[PAYLOAD_AT..PAYLOAD_AT + part.len()].copy_from_slice(part);
        sector[SECTOR - 1] = MARK;
        let checksum = crc32c::crc32c_append(seed, &sector[4..]);
        sector[..4].copy_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&sector);
    }
}
