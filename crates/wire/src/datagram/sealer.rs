//! Sealing datagrams.

use std::fmt;

use regent_model::NodeId;
use ring::aead::{Aad, LessSafeKey};
use serde::Serialize;

use super::header::{Header, last_byte, session_key};
use super::{HEADER_BYTES, MESSAGE_MAX, NETWORKS_MAX, VERSION};
use crate::codec::{self, CodecError};
use crate::key::{ClusterKey, Purpose};
use crate::keys::KeyRing;

/// Why a message was not sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealError {
    /// The message cannot be written, or is larger than [`MESSAGE_MAX`].
    Codec(CodecError),
    /// There is no network of this number, see [`NETWORKS_MAX`].
    Network(u8),
    /// All numbers of this session are used; a new session is needed.
    Exhausted,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(error) => error.fmt(f),
            Self::Network(network) => {
                write!(f, "there is no network {network}; they are numbered 0 to {}", NETWORKS_MAX - 1)
            }
            Self::Exhausted => write!(f, "all numbers of this session are used; begin a new session"),
        }
    }
}

impl std::error::Error for SealError {}

/// For whom a datagram is sealed: a node, in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver {
    /// The node.
    pub node: NodeId,
    /// Its session, as it was last heard ([`Opener::session_of`](super::Opener::session_of)).
    pub session: Option<u64>,
}

/// Seals the datagrams of one session of one sender.
pub struct Sealer {
    key: LessSafeKey,
    sender: NodeId,
    session: u64,
    last: u64,
    /// The last byte of the number of the cluster's key.
    number: u8,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer(node {}, session {}, {} sealed)", self.sender, self.session, self.last)
    }
}

impl Sealer {
    /// Begins a session. `session` must not be 0 and must never have been used before by this sender under this key, and must be
    /// larger than every one before: a number that is made durable before it is used, as an incarnation is.
    /// Two sealers of one sender and session would repeat nonces, and so break the seal of both.
    #[must_use]
    pub fn new(key: &ClusterKey, sender: NodeId, session: u64) -> Self {
        let key = session_key(&key.subkey(Purpose::Datagram), sender, session);
        Self { key, sender, session, last: 0, number: 0 }
    }

    /// Begins a session under the key that the ring uses, as [`Sealer::new`].
    #[must_use]
    pub fn under(ring: &KeyRing, sender: NodeId, session: u64) -> Self {
        let mut sealer = Self::new(ring.current(), sender, session);
        sealer.number = last_byte(ring.using());
        sealer
    }

    /// Seals with the key that the ring uses from now on. The session's numbers go on.
    pub fn use_key(&mut self, ring: &KeyRing) {
        *self = Self { last: self.last, ..Self::under(ring, self.sender, self.session) };
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> u64 {
        self.session
    }

    /// Seals `message` of this `kind` (see [`kind`](super::kind)) for `to`, to be sent on `network`,
    /// and leaves the whole datagram in `datagram`, whatever it held before. Allocates only when `datagram` has
    /// less room than is needed.
    ///
    /// # Errors
    /// See [`SealError`]; no number is then used, and `datagram` is empty.
    pub fn seal_into<T: Serialize + ?Sized>(
        &mut self,
        kind: u8,
        network: u8,
        to: Receiver,
        message: &T,
        datagram: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        datagram.clear();
        if usize::from(network) >= NETWORKS_MAX {
            return Err(SealError::Network(network));
        }
        let number = self.last.checked_add(1).ok_or(SealError::Exhausted)?;
        let (sender, session) = (self.sender, self.session);
        let (to, to_session) = (to.node, to.session.unwrap_or(0));
        let (version, key) = (VERSION, self.number);
        let header = Header { version, kind, network, key, sender, to, session, number, to_session };
        let bytes = header.to_bytes();
        datagram.extend_from_slice(&bytes);
        codec::encode_into(message, MESSAGE_MAX, datagram).map_err(|error| {
            datagram.clear();
            SealError::Codec(error)
        })?;
        let sealed = self.key.seal_in_place_separate_tag(
            header.nonce(),
            Aad::from(bytes),
            &mut datagram[HEADER_BYTES..],
        );
        // Only a message beyond 2^36 bytes can fail here.
        let Ok(tag) = sealed else {
            datagram.clear();
            return Err(SealError::Exhausted);
        };
        datagram.extend_from_slice(tag.as_ref());
        self.last = number;
        Ok(())
    }
}
