//! The formats of releases that do not exist yet, so that an upgrade to one of them can be rehearsed
//! (`regent_guard::release`): the types of today, and one more field at the end, which no release of today reads.
//!
//! Builds with debug assertions alone have them. When a release brings format 2 in earnest, they are the formats after
//! that.

use regent_model::format::Format;
#[cfg(debug_assertions)]
use regent_model::format::NEWEST;
use regent_model::state::Command;

use super::Unreadable;

/// The bytes of the field: how many there are before it.
#[cfg(debug_assertions)]
const FIELD_BYTES: usize = 4;

/// Writes the field behind a value, where the format has it.
#[cfg(debug_assertions)]
pub(super) fn write_field(format: Format, bytes: &mut Vec<u8>) {
    if format > NEWEST {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
    }
}

/// The bytes of the value, without the field behind it. `bytes` begin with the number of the format.
#[cfg(debug_assertions)]
pub(super) fn without_field(format: Format, bytes: &[u8]) -> Result<&[u8], Unreadable> {
    if format <= NEWEST {
        return Ok(bytes);
    }
    let (rest, field) = bytes
        .split_last_chunk::<FIELD_BYTES>()
        .ok_or_else(|| Unreadable::Malformed(format!("format {format} has one more field")))?;
    let length = u32::from_le_bytes(*field);
    if usize::try_from(length) != Ok(rest.len()) {
        return Err(Unreadable::Malformed(format!("its last field says {length} bytes, not {}", rest.len())));
    }
    Ok(rest)
}

/// The first format that has this command in a release which reads up to `newest`: to hold a group stands for what the
/// next release brings.
#[cfg(debug_assertions)]
pub(super) fn since(command: &Command, newest: Format) -> Option<Format> {
    (newest > NEWEST && matches!(command, Command::Hold { .. })).then_some(NEWEST + 1)
}

#[cfg(not(debug_assertions))]
pub(super) fn write_field(_format: Format, _bytes: &mut Vec<u8>) {}

#[cfg(not(debug_assertions))]
pub(super) fn without_field(_format: Format, bytes: &[u8]) -> Result<&[u8], Unreadable> {
    Ok(bytes)
}

#[cfg(not(debug_assertions))]
pub(super) fn since(_command: &Command, _newest: Format) -> Option<Format> {
    None
}
