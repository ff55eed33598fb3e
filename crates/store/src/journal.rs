//! The file as a row of batches: how it is laid out, and what its bytes prove when they are read.

use regent_model::NodeId;
use regent_model::ids::ClusterName;

use crate::record::{Identity, Record};
use crate::sector::{Kind, Look, SECTOR, Sector, lay, look};

/// The version of the format.
pub(crate) const FORMAT: u16 = 1;
/// By how much the file is prepared at a time.
pub(crate) const CHUNK: u64 = 256 << 10;
/// The largest batch, in bytes of payload.
pub(crate) const BATCH_MAX: usize = 64 << 20;
/// The number of the batch that a generation begins with; it is durable before the file has its name.
pub(crate) const FIRST_BATCH: u64 = 1;

const MAGIC: &[u8; 12] = b"REGENT-STATE";

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Damage {
    At { offset: u64, what: String },
    Format(u16),
}

impl Damage {
    pub(crate) fn at(sector: usize, what: impl Into<String>) -> Self {
        Self::At { offset: (sector * SECTOR) as u64, what: what.into() }
    }
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    /// The records, each with the sector at which its batch begins.
    pub(crate) records: Vec<(usize, Record)>,
    /// Where the next batch begins.
    pub(crate) end: u64,
    /// The number of the next batch.
    pub(crate) next_batch: u64,
    /// Whether remains of a batch follow that was never acknowledged.
    pub(crate) torn: bool,
    /// To what the checksums of the sectors are bound.
    pub(crate) seed: u32,
}

/// The length that the file must have, durably, before a batch that ends at `end` may be written: some zeros are
/// always left behind it, so that a shortened file is noticed wherever it was cut.
pub(crate) const fn prepared_for(end: u64) -> u64 {
    (end / CHUNK + 1) * CHUNK
}

/// The header's sector.
pub(crate) fn header(identity: &Identity, generation: u64) -> Vec<u8> {
    let mut payload = MAGIC.to_vec();
    payload.extend_from_slice(&FORMAT.to_le_bytes());
    payload.extend_from_slice(&generation.to_le_bytes());
    payload.extend_from_slice(&identity.node.0.to_le_bytes());
    payload.extend_from_slice(identity.cluster.as_str().as_bytes());
    let mut sector = Vec::new();
    lay(&mut sector, Kind::Header, 0, &payload, 0);
    sector
}

/// To what the sectors behind this header are bound.
pub(crate) fn seed_of(header: &[u8]) -> u32 {
    crc32c::crc32c(header)
}

/// The payload of a batch: each record with its length before it.
///
/// # Errors
/// The reason, when it is larger than [`BATCH_MAX`].
pub(crate) fn payload(records: &[Record]) -> Result<Vec<u8>, String> {
    let mut payload = Vec::new();
    for record in records {
        let start = payload.len();
        payload.extend_from_slice(&[0; 4]);
        postcard::to_io(record, &mut payload).map_err(|error| error.to_string())?;
        let length = payload.len() - start - 4;
        if payload.len() > BATCH_MAX {
            return Err(format!("more than {BATCH_MAX} bytes at once"));
        }
        payload[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
    }
    Ok(payload)
}

fn parse_payload(mut payload: &[u8], sector: usize) -> Result<Vec<(usize, Record)>, Damage> {
    let unreadable = || Damage::at(sector, "a record that this program cannot read");
    let mut records = Vec::new();
    while !payload.is_empty() {
        let (length, rest) = payload.split_first_chunk::<4>().ok_or_else(unreadable)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| unreadable())?;
        let (record, rest) = rest.split_at_checked(length).ok_or_else(unreadable)?;
        match postcard::take_from_bytes(record) {
            Ok((record, [])) => records.push((sector, record)),
            _ => return Err(unreadable()),
        }
        payload = rest;
    }
    Ok(records)
}

fn check_header(bytes: &[u8], identity: &Identity, generation: u64) -> Result<u32, Damage> {
    let sector = bytes.get(..SECTOR).ok_or_else(|| Damage::at(0, "the header is cut short"))?;
    let damaged = || Damage::at(0, "the header is damaged");
    let Look::Whole(Sector { payload, .. }) = look(sector, Kind::Header, 0) else {
        return Err(damaged());
    };
    let payload = payload.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (format, payload) = payload.split_first_chunk().ok_or_else(damaged)?;
    let format = u16::from_le_bytes(*format);
    if format != FORMAT {
        return Err(Damage::Format(format));
    }
    let (found_generation, payload) = payload.split_first_chunk().ok_or_else(damaged)?;
    let (node, cluster) = payload.split_first_chunk().ok_or_else(damaged)?;
    let node = NodeId(u64::from_le_bytes(*node));
    let cluster = std::str::from_utf8(cluster).ok().and_then(|name| ClusterName::new(name).ok());
    let cluster = cluster.ok_or_else(damaged)?;
    if u64::from_le_bytes(*found_generation) != generation {
        return Err(Damage::at(0, "the file has another generation's name"));
    }
    if (&cluster, node) != (&identity.cluster, identity.node) {
        let Identity { cluster: own_cluster, node: own } = identity;
        let what = format!(
            "it is the state of node {node} of cluster {cluster}, not of node {own} of cluster {own_cluster}"
        );
        return Err(Damage::at(0, what));
    }
    Ok(seed_of(sector))
}

/// Reads a file that must be of this identity and generation.
///
/// # Errors
/// When anything is found that a crash cannot have left.
pub(crate) fn read(bytes: &[u8], identity: &Identity, generation: u64) -> Result<Journal, Damage> {
    let seed = check_header(bytes, identity, generation)?;
    let sectors: Vec<&[u8]> = bytes.chunks(SECTOR).collect();
    let (mut at, mut batch, mut records) = (1, FIRST_BATCH, Vec::new());
    while let Some(payload) = whole_batch(&sectors[at..], batch, seed) {
        records.extend(parse_payload(&payload.concat(), at)?);
        at += payload.len();
        batch += 1;
    }
    if batch == FIRST_BATCH {
        return Err(Damage::at(at, "the batch that the file begins with is damaged"));
    }
    let remains = check_tail(&sectors[at..], at, batch, seed)?;
    let used = ((at + remains) * SECTOR) as u64;
    if (bytes.len() as u64) < prepared_for(used) {
        let what = "the file ends where it cannot end by itself: it was cut short";
        return Err(Damage::At { offset: bytes.len() as u64, what: what.into() });
    }
    Ok(Journal { records, end: (at * SECTOR) as u64, next_batch: batch, torn: remains > 0, seed })
}

/// The payloads of the batch that begins `sectors`, if all of it is there.
fn whole_batch<'a>(sectors: &[&'a [u8]], batch: u64, seed: u32) -> Option<Vec<&'a [u8]>> {
    let Look::Whole(first) = look(sectors.first()?, Kind::Batch, seed) else {
        return None;
    };
    let count = usize::try_from(first.count).ok()?;
    let sectors = sectors.get(..count)?;
    let mut payloads = Vec::with_capacity(count);
    for (place, bytes) in (0..).zip(sectors) {
        match look(bytes, Kind::Batch, seed) {
            Look::Whole(s) if (s.batch, s.place, s.count) == (batch, place, first.count) => {
                payloads.push(s.payload);
            }
            _ => return None,
        }
    }
    // A count of zero is written by nobody, and would never get on.
    if payloads.is_empty() { None } else { Some(payloads) }
}

/// Checks that what follows the last whole batch can be what a crash left of the next one, and returns how many
/// sectors, from the first, hold anything.
fn check_tail(sectors: &[&[u8]], at: usize, batch: u64, seed: u32) -> Result<usize, Damage> {
    let mut used = 0;
    for (place, bytes) in sectors.iter().enumerate() {
        match look(bytes, Kind::Batch, seed) {
            Look::Blank => continue,
            Look::Torn => {}
            Look::Whole(s) if s.batch == batch && usize::try_from(s.place) == Ok(place) => {}
            Look::Whole(s) if s.batch > batch => {
                let what =
                    format!("batch {batch} is damaged although batch {} was written after it", s.batch);
                return Err(Damage::at(at, what));
            }
            Look::Whole(_) => return Err(Damage::at(at + place, "a sector is not in its place")),
            Look::Damaged => return Err(Damage::at(at + place, "a sector does not fit its checksum")),
        }
        used = place + 1;
    }
    Ok(used)
}
