//! Values to bytes and back, bounded: nothing larger than its limit is written or read, and nothing may follow
//! a value.

use std::any::type_name;
use std::fmt;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a value could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError {
    /// The type that was asked for, without its path.
    pub what: &'static str,
    /// What went wrong.
    pub why: Why,
}

/// What went wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is larger than this limit, in bytes.
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// So many bytes follow it.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The bytes end before the value does.
    Truncated,
    /// The bytes mean nothing.
    Malformed(postcard::Error),
}

impl CodecError {
    fn new<T: ?Sized>(why: Why) -> Self {
        let name = type_name::<T>();
        // `Vec<a::B>` has no short name worth computing; `a::B` has.
        let what = if name.contains('<') { name } else { name.rsplit("::").next().unwrap_or(name) };
        Self { what, why }
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what;
        match &self.why {
            Why::TooLarge { limit } => write!(f, "this {what} is larger than {limit} bytes"),
            Why::Trailing { bytes } => {
                write!(f, "{bytes} bytes follow the {what}: another version's format?")
            }
            Why::Truncated => write!(f, "the bytes end before the {what} does"),
            Why::Malformed(error) => write!(f, "these bytes are no {what}: {error}"),
        }
    }
}

impl std::error::Error for CodecError {}

/// Appends to a vector, up to a limit.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
}

impl Flavor for Bounded<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if data.len() > self.end - self.out.len() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.out.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends `value` to `out`. Allocates only when `out` has not enough room.
///
/// # Errors
/// When `value` needs more than `limit` bytes or cannot be written; `out` is then as it was.
pub fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let start = out.len();
    let bounded = Bounded { end: start.saturating_add(limit), out };
    postcard::serialize_with_flavor(value, bounded).map_err(|error| {
        out.truncate(start);
        CodecError::new::<T>(match error {
            postcard::Error::SerializeBufferFull => Why::TooLarge { limit },
            other => Why::Malformed(other),
        })
    })
}

/// Writes `value`.
///
/// # Errors
/// When it needs more than `limit` bytes or cannot be written.
pub fn encode<T: Serialize + ?Sized>(value: &T, limit: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    encode_into(value, limit, &mut out)?;
    Ok(out)
}

/// Reads a value that fills `bytes` to the last one.
///
/// # Errors
/// When `bytes` are cut short, mean nothing, or go on after the value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(CodecError::new::<T>(Why::Trailing { bytes: rest.len() })),
        Err(postcard::Error::DeserializeUnexpectedEnd) => Err(CodecError::new::<T>(Why::Truncated)),
        Err(error) => Err(CodecError::new::<T>(Why::Malformed(error))),
    }
}

/// Reads a value of at most `limit` bytes, as [`decode`].
///
/// # Errors
/// As [`decode`], and when there are more than `limit` bytes: then nothing is read.
pub fn decode_within<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::new::<T>(Why::TooLarge { limit }));
    }
    decode(bytes)
}
