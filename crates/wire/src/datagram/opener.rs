//! Opening datagrams: who sent this, and was it seen before?

use std::collections::BTreeSet;
use std::fmt;

use regent_model::NodeId;
use ring::aead::{Aad, LessSafeKey};
use serde::de::DeserializeOwned;

use super::header::{Header, last_byte, session_key};
use super::window::{Verdict, Window};
use super::{Counts, HEADER_BYTES, NETWORKS_MAX, Reject, TAG_BYTES};
use crate::codec::{self, CodecError};
use crate::key::{ClusterKey, KEY_BYTES, Purpose};
use crate::keys::{KEYS_MAX, KeyRing};

/// The most senders that an [`Opener`] remembers; what it needs per sender is allocated when it is made known.
pub const SENDERS_MAX: usize = 64;

/// A genuine, new datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'d> {
    /// Who sealed it.
    pub sender: NodeId,
    /// The sender's session.
    pub session: u64,
    /// The number within the session.
    pub number: u64,
    /// The network for which it was sealed.
    pub network: u8,
    /// The kind of the message.
    pub kind: u8,
    /// The message, not yet decoded.
    pub message: &'d [u8],
}

impl Opened<'_> {
    /// Reads the message.
    ///
    /// # Errors
    /// When it is no `T`. The caller counts that with [`Opener::count`] as [`Reject::Malformed`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        codec::decode(self.message)
    }
}

/// What belongs to each of the cluster's keys, found by the last byte of its number.
type PerKey<T> = [Option<(u8, T)>; KEYS_MAX];

/// One session of one sender, and what was seen of it.
struct Session {
    number: u64,
    keys: PerKey<LessSafeKey>,
    windows: [Window; NETWORKS_MAX],
}

struct Sender {
    node: NodeId,
    session: Option<Session>,
}

/// Opens the datagrams of the known members. Its memory is bounded, and opening allocates nothing.
pub struct Opener {
    subkeys: PerKey<[u8; KEY_BYTES]>,
    me: NodeId,
    /// This node's own session: what is meant for another one is old, or from somebody who has yet to hear of it.
    own_session: u64,
    senders: Vec<Sender>,
    counts: Counts,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener(node {}, {} senders, {:?})", self.me, self.senders.len(), self.counts)
    }
}

impl Opener {
    /// An opener for the session `own_session` of the node `me`, as its [`Sealer`](super::Sealer) has it. It knows
    /// nobody yet.
    #[must_use]
    pub fn new(key: &ClusterKey, me: NodeId, own_session: u64) -> Self {
        Self::under(&KeyRing::first(key.clone()), me, own_session)
    }

    /// As [`Opener::new`], hearing what is said under any key of the ring.
    #[must_use]
    pub fn under(ring: &KeyRing, me: NodeId, own_session: u64) -> Self {
        let senders = Vec::with_capacity(SENDERS_MAX);
        Self { subkeys: subkeys(ring), me, own_session, senders, counts: Counts::default() }
    }

    /// Hears what is said under the keys of this ring from now on, and nothing that is said under another one. What was
    /// seen of each session stays.
    pub fn use_keys(&mut self, ring: &KeyRing) {
        self.subkeys = subkeys(ring);
        for sender in &mut self.senders {
            if let Some(session) = &mut sender.session {
                session.keys = session_keys(&self.subkeys, sender.node, session.number);
            }
        }
    }

    /// Says whose datagrams may be accepted: exactly these, without `me`, and at most the first
    /// [`SENDERS_MAX`]. What was seen of those who stay is kept; the others are forgotten.
    pub fn set_known(&mut self, known: &BTreeSet<NodeId>) {
        let me = self.me;
        self.senders.retain(|sender| known.contains(&sender.node));
        for &node in known.iter().filter(|node| **node != me) {
            let is_new = !self.senders.iter().any(|sender| sender.node == node);
            if is_new && self.senders.len() < SENDERS_MAX {
                self.senders.push(Sender { node, session: None });
            }
        }
    }

    /// The latest session of `sender` that was heard of: for what is sent to it.
    #[must_use]
    pub fn session_of(&self, sender: NodeId) -> Option<u64> {
        self.senders.iter().find(|known| known.node == sender)?.session.as_ref().map(|session| session.number)
    }

    /// What was accepted and refused so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Counts a refusal that the caller found, after opening.
    pub fn count(&mut self, reject: Reject) {
        self.counts.count(reject);
    }

    /// Opens a received datagram in its place, and remembers that it was seen. A newer session of a sender than
    /// the last one ends that for good.
    ///
    /// # Errors
    /// See [`Reject`]; counted. What `datagram` holds is then of no use.
    pub fn open<'d>(&mut self, datagram: &'d mut [u8]) -> Result<Opened<'d>, Reject> {
        let opened = self.judge_and_open(datagram);
        match &opened {
            Ok(_) => self.counts.accepted += 1,
            Err(reject) => self.counts.count(*reject),
        }
        opened
    }

    /// Opens a datagram and reads its message, which must be a `T` of this `kind`.
    ///
    /// # Errors
    /// As [`Opener::open`]; another kind or message is [`Reject::Malformed`], and counted as both accepted and
    /// malformed.
    pub fn open_as<T: DeserializeOwned>(
        &mut self,
        kind: u8,
        datagram: &mut [u8],
    ) -> Result<(NodeId, u8, T), Reject> {
        let opened = self.open(datagram)?;
        let message = if opened.kind == kind { opened.decode().ok() } else { None };
        let Some(message) = message else {
            self.counts.count(Reject::Malformed);
            return Err(Reject::Malformed);
        };
        Ok((opened.sender, opened.network, message))
    }

    fn judge_and_open<'d>(&mut self, datagram: &'d mut [u8]) -> Result<Opened<'d>, Reject> {
        let header = Header::parse(datagram)?;
        if header.to != self.me {
            return Err(Reject::Misdirected);
        }
        let sender = self.senders.iter_mut().find(|known| known.node == header.sender);
        let sender = sender.ok_or(Reject::UnknownSender)?;
        let body = &mut datagram[HEADER_BYTES..];
        match &mut sender.session {
            Some(session) if session.number == header.session => {
                // Cheaper than the seal, so judged first; marked only once the seal is shown to fit.
                match session.windows[usize::from(header.network)].judge(header.number) {
                    Verdict::New => {
                        open_sealed(
                            of_key(&session.keys, header.key).ok_or(Reject::ForeignKey)?,
                            header,
                            body,
                        )?;
                    }
                    Verdict::Seen => return Err(Reject::Replayed),
                    Verdict::TooOld => return Err(Reject::TooOld),
                }
            }
            Some(session) if session.number > header.session => return Err(Reject::TooOld),
            older => {
                let keys = session_keys(&self.subkeys, header.sender, header.session);
                open_sealed(of_key(&keys, header.key).ok_or(Reject::ForeignKey)?, header, body)?;
                let windows = [const { Window::new() }; NETWORKS_MAX];
                *older = Some(Session { number: header.session, keys, windows });
            }
        }
        if let Some(session) = &mut sender.session {
            session.windows[usize::from(header.network)].mark(header.number);
        }
        // Last, and only now that the seal is shown to fit: the sender's session is learnt from such a one too.
        if header.to_session != self.own_session {
            return Err(Reject::OtherLife);
        }
        let message = &datagram[HEADER_BYTES..datagram.len() - TAG_BYTES];
        let Header { sender, session, number, network, kind, .. } = header;
        Ok(Opened { sender, session, number, network, kind, message })
    }
}

fn of_key<T>(per_key: &PerKey<T>, number: u8) -> Option<&T> {
    per_key.iter().flatten().find(|(known, _)| *known == number).map(|(_, found)| found)
}

fn subkeys(ring: &KeyRing) -> PerKey<[u8; KEY_BYTES]> {
    let mut subkeys = [None; KEYS_MAX];
    for (place, (number, key)) in subkeys.iter_mut().zip(ring.keys()) {
        *place = Some((last_byte(number), key.subkey(Purpose::Datagram)));
    }
    subkeys
}

fn session_keys(subkeys: &PerKey<[u8; KEY_BYTES]>, sender: NodeId, session: u64) -> PerKey<LessSafeKey> {
    let of = |(number, subkey): &(u8, [u8; KEY_BYTES])| (*number, session_key(subkey, sender, session));
    subkeys.each_ref().map(|subkey| subkey.as_ref().map(of))
}

fn open_sealed(key: &LessSafeKey, header: Header, body: &mut [u8]) -> Result<(), Reject> {
    let opened = key.open_in_place(header.nonce(), Aad::from(header.to_bytes()), body);
    opened.map(drop).map_err(|_| Reject::ForeignKey)
}
