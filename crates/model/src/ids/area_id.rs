//! The name of an area on a shared disk.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names one formatted area of the arbiter. It is drawn when the area is made, and kept in the cluster's configuration:
/// a record of another area, or of this one before it was made anew, is nobody's. Shown and read as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct AreaId(pub [u8; 16]);

/// The text is not 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAreaId;

impl fmt::Display for NoAreaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of an area is 32 hex digits")
    }
}

impl std::error::Error for NoAreaId {}

impl FromStr for AreaId {
    type Err = NoAreaId;

    fn from_str(text: &str) -> Result<Self, NoAreaId> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(NoAreaId);
        }
        let mut id = [0; 16];
        for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| NoAreaId)?;
        }
        Ok(Self(id))
    }
}

impl fmt::Display for AreaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AreaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AreaId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_shown_and_nothing_else_is_one() {
        let id = AreaId(std::array::from_fn(|at| u8::try_from(at * 16 + 7).unwrap_or(255)));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for text in ["", "7", "+1".repeat(16).as_str(), "é".repeat(16).as_str(), "0".repeat(33).as_str()] {
            assert_eq!(text.parse::<AreaId>(), Err(NoAreaId), "{text}");
        }
    }
}
