//! The header of a datagram, and the key and nonce that follow from it.

use regent_model::NodeId;
use ring::aead::{LessSafeKey, NONCE_LEN, Nonce};

use super::{DATAGRAM_MAX, HEADER_BYTES, NETWORKS_MAX, Reject, TAG_BYTES, VERSION, VERSION_MIN};
use crate::key::{self, KEY_BYTES};

const MAGIC: [u8; 2] = *b"RG";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u8,
    pub(super) kind: u8,
    pub(super) network: u8,
    /// The last byte of the number of the cluster's key.
    pub(super) key: u8,
    pub(super) sender: NodeId,
    pub(super) to: NodeId,
    pub(super) session: u64,
    pub(super) number: u64,
    /// The session of the receiver; 0 for none that is known.
    pub(super) to_session: u64,
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = self.version;
        bytes[3] = self.kind;
        bytes[4] = self.network;
        bytes[5] = self.key;
        for (at, number) in [
            (8, self.sender.0),
            (16, self.to.0),
            (24, self.session),
            (32, self.number),
            (40, self.to_session),
        ] {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads the header of a datagram whose seal is not yet checked: what it says may be a lie.
    pub(super) fn parse(datagram: &[u8]) -> Result<Self, Reject> {
        if datagram.len() < HEADER_BYTES + TAG_BYTES {
            return Err(Reject::TooShort);
        }
        if datagram[..2] != MAGIC {
            return Err(Reject::Magic);
        }
        let version = datagram[2];
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(Reject::Version { theirs: version });
        }
        let header = Self {
            version,
            kind: datagram[3],
            network: datagram[4],
            key: datagram[5],
            sender: NodeId(number_at(datagram, 8)),
            to: NodeId(number_at(datagram, 16)),
            session: number_at(datagram, 24),
            number: number_at(datagram, 32),
            to_session: number_at(datagram, 40),
        };
        let reserved_used = datagram[6..8] != [0; 2];
        let network_known = usize::from(header.network) < NETWORKS_MAX;
        if reserved_used || !network_known || header.number == 0 || datagram.len() > DATAGRAM_MAX {
            return Err(Reject::Malformed);
        }
        Ok(header)
    }

    pub(super) fn nonce(self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.number.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

/// What a datagram says of the number of the cluster's key: enough, because there are never more than two.
pub(super) fn last_byte(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

/// The key of one sender's session.
pub(super) fn session_key(subkey: &[u8; KEY_BYTES], sender: NodeId, session: u64) -> LessSafeKey {
    key::aead(&key::expand(subkey, &[b"session", &sender.0.to_le_bytes(), &session.to_le_bytes()]))
}
