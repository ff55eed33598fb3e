//! The fixed bytes of hello and reply.
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | `RGCH` |
//! | 4 | 1 hello, 2 reply, 3 refusal |
//! | 5, 6 | oldest and newest version spoken |
//! | 7 | hello: 0; reply: the version chosen; refusal: the reason |
//! | 8-15 | who says this (0: a newcomer without a number) |
//! | 16-23 | to whom (0: to whoever answers) |
//! | 24-55 | ephemeral X25519 key |
//! | 56-87 | tag |

use regent_model::NodeId;

use super::ChannelError;
use crate::key::KEY_BYTES;

const MAGIC: [u8; 4] = *b"RGCH";
pub(super) const FIELDS_BYTES: usize = 24 + KEY_BYTES;

/// The bytes of a hello.
pub const HELLO_BYTES: usize = FIELDS_BYTES + KEY_BYTES;
/// The bytes of a reply and of a refusal.
pub const REPLY_BYTES: usize = HELLO_BYTES;
/// The bytes of a confirmation.
pub const CONFIRMATION_BYTES: usize = KEY_BYTES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Hello,
    Reply,
    Refusal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) what: What,
    pub(super) versions: (u8, u8),
    /// The version chosen, or the reason of a refusal.
    pub(super) detail: u8,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) public: [u8; KEY_BYTES],
}

impl Fields {
    pub(super) fn to_bytes(self) -> [u8; FIELDS_BYTES] {
        let mut bytes = [0; FIELDS_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = match self.what {
            What::Hello => 1,
            What::Reply => 2,
            What::Refusal => 3,
        };
        (bytes[5], bytes[6]) = self.versions;
        bytes[7] = self.detail;
        bytes[8..16].copy_from_slice(&self.from.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.to.0.to_le_bytes());
        bytes[24..].copy_from_slice(&self.public);
        bytes
    }

    pub(super) fn parse(bytes: &[u8; HELLO_BYTES]) -> Result<Self, ChannelError> {
        if bytes[..4] != MAGIC {
            return Err(ChannelError::NotRegent);
        }
        let what = match bytes[4] {
            1 => What::Hello,
            2 => What::Reply,
            3 => What::Refusal,
            _ => return Err(ChannelError::Malformed("greeting")),
        };
        if bytes[5] == 0 || bytes[5] > bytes[6] {
            return Err(ChannelError::Malformed("range of versions"));
        }
        let number_at = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            NodeId(u64::from_le_bytes(number))
        };
        let mut public = [0; KEY_BYTES];
        public.copy_from_slice(&bytes[24..FIELDS_BYTES]);
        Ok(Self {
            what,
            versions: (bytes[5], bytes[6]),
            detail: bytes[7],
            from: number_at(8),
            to: number_at(16),
            public,
        })
    }
}

/// The fields of a message followed by its tag.
pub(super) fn tagged(fields: &[u8; FIELDS_BYTES], tag: &[u8; KEY_BYTES]) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    bytes[..FIELDS_BYTES].copy_from_slice(fields);
    bytes[FIELDS_BYTES..].copy_from_slice(tag);
    bytes
}

/// The highest version that both speak.
pub(super) fn common_version(ours: (u8, u8), theirs: (u8, u8)) -> Result<u8, ChannelError> {
    let highest = ours.1.min(theirs.1);
    if highest < ours.0.max(theirs.0) {
        return Err(ChannelError::Version { ours, theirs });
    }
    Ok(highest)
}
