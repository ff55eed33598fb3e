//! A message between engines, in the format that both sides of a connection speak.

use regent_engine::{PeerMessage, format};
use regent_model::format::{Format, Speaks};
use regent_wire::codec;

use super::{KIND_MESSAGE, KIND_NUMBERED};

/// Puts a message into a frame that begins with its kind, in this format.
///
/// # Errors
/// In words, when it has more than `limit` bytes.
pub(super) fn put(
    message: &PeerMessage,
    format: Format,
    limit: usize,
    frame: &mut Vec<u8>,
) -> Result<(), String> {
    if format == 1 {
        return codec::encode_into(message, limit, frame).map_err(|error| error.to_string());
    }
    let bytes = format::write(format, message);
    if bytes.len() > limit {
        return Err(format!("it has {} bytes, and at most {limit} can be sent", bytes.len()));
    }
    if let Some(kind) = frame.first_mut() {
        *kind = KIND_NUMBERED;
    }
    frame.extend_from_slice(&bytes);
    Ok(())
}

/// The message in a frame of this kind.
///
/// # Errors
/// In words, when it cannot be read here.
pub(super) fn take(kind: u8, body: &[u8], speaks: Speaks) -> Result<PeerMessage, String> {
    match kind {
        KIND_MESSAGE => codec::decode(body).map_err(|error| error.to_string()),
        KIND_NUMBERED => format::read(body, speaks).map_err(|error| error.to_string()),
        other => Err(format!("kind {other} is none of a message between engines")),
    }
}
