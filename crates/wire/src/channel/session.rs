//! An open channel: numbered, sealed frames in both directions.
//!
//! A frame is its length in four bytes, little-endian, and so many bytes of sealed message and tag. The length
//! is covered by the seal.

use std::fmt;

use regent_model::NodeId;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::handshake::Stranger;
use super::{ChannelError, MESSAGE_MAX};
use crate::key::{self, KEY_BYTES};

const LENGTH_BYTES: usize = 4;
const TAG_BYTES: usize = 16;

/// Both directions of an open channel.
#[derive(Debug)]
pub struct Session {
    peer: NodeId,
    version: u8,
    key: u32,
    stranger: Option<Stranger>,
    sealing: Sealing,
    opening: Opening,
}

/// The sending direction.
pub struct Sealing {
    key: LessSafeKey,
    next: u64,
}

/// The receiving direction: takes bytes as they come and gives messages.
pub struct Opening {
    key: LessSafeKey,
    next: u64,
    received: Vec<u8>,
    taken: usize,
    broken: bool,
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl Session {
    pub(super) fn new(
        peer: NodeId,
        version: u8,
        sealing: &[u8; KEY_BYTES],
        opening: &[u8; KEY_BYTES],
    ) -> Self {
        let sealing = Sealing { key: key::aead(sealing), next: 0 };
        let (received, taken, broken) = (Vec::new(), 0, false);
        let opening = Opening { key: key::aead(opening), next: 0, received, taken, broken };
        Self { peer, version, key: 0, stranger: None, sealing, opening }
    }

    pub(super) fn under(self, key: u32) -> Self {
        Self { key, ..self }
    }

    pub(super) fn of_stranger(self, stranger: Option<Stranger>) -> Self {
        Self { stranger, ..self }
    }

    /// The number of the cluster's key under which it was opened.
    #[must_use]
    pub const fn key(&self) -> u32 {
        self.key
    }

    /// Who is at the other side, if it has called without a key of the cluster.
    #[must_use]
    pub const fn stranger(&self) -> Option<Stranger> {
        self.stranger
    }

    /// Who is at the other side; `NodeId(0)` for a stranger.
    #[must_use]
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// The version that both speak.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// See [`Sealing::seal`].
    ///
    /// # Errors
    /// As there.
    pub fn seal(&mut self, message: &[u8]) -> Result<Vec<u8>, ChannelError> {
        self.sealing.seal(message)
    }

    /// See [`Opening::push`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.opening.push(bytes);
    }

    /// See [`Opening::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        self.opening.open()
    }

    /// The two directions, for two threads.
    #[must_use]
    pub fn split(self) -> (Sealing, Opening) {
        (self.sealing, self.opening)
    }
}

impl Sealing {
    /// The frame to send for `message`. Frames must be sent in the order in which they were sealed.
    ///
    /// # Errors
    /// When `message` is larger than [`MESSAGE_MAX`], or all numbers are used; no number is then used.
    pub fn seal(&mut self, message: &[u8]) -> Result<Vec<u8>, ChannelError> {
        let bytes = message.len();
        if bytes > MESSAGE_MAX {
            return Err(ChannelError::TooLarge { bytes, limit: MESSAGE_MAX });
        }
        let next = self.next.checked_add(1).ok_or(ChannelError::Exhausted)?;
        let sealed_bytes = u32::try_from(bytes + TAG_BYTES).map_err(|_| ChannelError::Exhausted)?;
        let length = sealed_bytes.to_le_bytes();
        let mut frame = Vec::with_capacity(LENGTH_BYTES + bytes + TAG_BYTES);
        frame.extend_from_slice(&length);
        frame.extend_from_slice(message);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(self.next), Aad::from(length), &mut frame[LENGTH_BYTES..])
            .map_err(|_| ChannelError::Exhausted)?;
        frame.extend_from_slice(tag.as_ref());
        self.next = next;
        Ok(frame)
    }
}

impl Opening {
    /// Takes bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.received.len() {
            self.received.clear();
            self.taken = 0;
        } else if self.taken > self.received.len() / 2 {
            self.received.drain(..self.taken);
            self.taken = 0;
        }
        self.received.extend_from_slice(bytes);
    }

    /// Whether part of a frame has arrived, and the rest has not.
    #[must_use]
    pub fn is_within_frame(&self) -> bool {
        self.taken < self.received.len()
    }

    /// The next message, if all of it has arrived.
    ///
    /// # Errors
    /// When a frame is too large or its seal does not fit. That ends the channel: every later call fails too.
    pub fn open(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        if self.broken {
            return Err(ChannelError::Broken);
        }
        let opened = self.open_next();
        self.broken = opened.is_err();
        opened
    }

    fn open_next(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        let rest = &mut self.received[self.taken..];
        let Some((&mut length, rest)) = rest.split_first_chunk_mut::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let sealed_bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let bytes = sealed_bytes.checked_sub(TAG_BYTES).ok_or(ChannelError::Tampered)?;
        if bytes > MESSAGE_MAX {
            return Err(ChannelError::TooLarge { bytes, limit: MESSAGE_MAX });
        }
        let Some(sealed) = rest.get_mut(..sealed_bytes) else {
            return Ok(None);
        };
        let next = self.next.checked_add(1).ok_or(ChannelError::Exhausted)?;
        let message = self
            .key
            .open_in_place(nonce(self.next), Aad::from(length), sealed)
            .map_err(|_| ChannelError::Tampered)?
            .to_vec();
        self.next = next;
        self.taken += LENGTH_BYTES + sealed_bytes;
        Ok(Some(message))
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing({} sent)", self.next)
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({} received, broken: {})", self.next, self.broken)
    }
}
