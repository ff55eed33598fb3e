//! The handshake, on bytes alone.

use std::fmt;
use std::sync::Arc;

use regent_model::NodeId;
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, X25519};
use ring::rand::SystemRandom;
use ring::{digest, hmac};

use super::hello::{CONFIRMATION_BYTES, FIELDS_BYTES, Fields, HELLO_BYTES, REPLY_BYTES};
use super::hello::{What, common_version, tagged};
use super::session::Session;
use super::{ChannelError, Refusal, VERSION_MAX, VERSION_MIN};
use crate::invite::{self, PUBLIC_BYTES, TokenSecret};
use crate::key::{self, ClusterKey, KEY_BYTES, NoRandomness, Purpose};
use crate::keys::KeyRing;

const NOBODY: NodeId = NodeId(0);
const HELLO_LABEL: &[u8] = b"regent channel hello";

/// One side of the handshake: who it is, and which versions it speaks.
#[derive(Clone)]
pub struct Handshake {
    /// The cluster's keys and the number of each, the one that is used first.
    subkeys: Vec<(u32, [u8; KEY_BYTES])>,
    me: NodeId,
    versions: (u8, u8),
    /// Who may call without a key of the cluster, and the key of its channel.
    strangers: Arc<[(Stranger, [u8; KEY_BYTES])]>,
}

/// Somebody who calls without a key of the cluster, and may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// A machine that shows the token of this number, to join.
    Newcomer(u32),
    /// Somebody who says that he is this member, and has not got the cluster's newest key. Anybody who knows the member's
    /// public key can say that: it is shown by what is said in the channel, or not at all.
    Member(NodeId),
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handshake(node {}, versions {:?})", self.me, self.versions)
    }
}

/// A caller that waits for the reply.
pub struct Initiator {
    side: Handshake,
    called: Option<NodeId>,
    hello: [u8; HELLO_BYTES],
    private: EphemeralPrivateKey,
}

/// A called node that waits for the confirmation.
pub struct Responder {
    secrets: Secrets,
    peer: NodeId,
    version: u8,
    key: u32,
    stranger: Option<Stranger>,
}

/// A hello that was not accepted.
#[derive(Debug)]
pub struct Rejected {
    /// Why.
    pub error: ChannelError,
    /// What to send back before closing the stream; nothing to those who do not even speak Regent's language.
    pub refusal: Option<Vec<u8>>,
}

/// What both sides derive once both ephemeral keys are known.
struct Secrets {
    from_initiator: [u8; KEY_BYTES],
    from_responder: [u8; KEY_BYTES],
    reply_tag: [u8; KEY_BYTES],
    confirmation: [u8; KEY_BYTES],
}

impl Handshake {
    /// A side of the handshake for the node `me`. It lets in no newcomer, see [`Handshake::inviting`].
    #[must_use]
    pub fn new(key: &ClusterKey, me: NodeId) -> Self {
        Self::under(&KeyRing::first(key.clone()), me)
    }

    /// As [`Handshake::new`]: calls with the key that the ring uses, and answers whoever calls with any of its keys.
    #[must_use]
    pub fn under(ring: &KeyRing, me: NodeId) -> Self {
        Self::with(subkeys(ring), me)
    }

    /// The same side with the keys of this ring, and no others.
    #[must_use]
    pub fn with_keys(self, ring: &KeyRing) -> Self {
        Self { subkeys: subkeys(ring), ..self }
    }

    /// The side of a member that asks for the cluster's newest key, because its own may be too old.
    #[must_use]
    pub fn of_member(public: &[u8; PUBLIC_BYTES]) -> Self {
        Self::with(vec![(0, invite::member_channel_key(public))], NOBODY)
    }

    /// The side of a machine that has no number yet, and a token.
    #[must_use]
    pub fn of_newcomer(token: &TokenSecret) -> Self {
        Self::with(vec![(0, invite::channel_key(&token.verifier()))], NOBODY)
    }

    fn with(subkeys: Vec<(u32, [u8; KEY_BYTES])>, me: NodeId) -> Self {
        Self { subkeys, me, versions: (VERSION_MIN, VERSION_MAX), strangers: Arc::new([]) }
    }

    /// The key that is used, and its number.
    fn used(&self) -> (u32, [u8; KEY_BYTES]) {
        match self.subkeys.first() {
            Some(used) => *used,
            None => unreachable!("a side has a key"),
        }
    }

    /// The same side, letting in machines that hold one of these tokens: the number of each, and its verifier.
    /// They are let in as newcomers, and as nothing else.
    #[must_use]
    pub fn inviting(self, tokens: impl IntoIterator<Item = (u32, [u8; KEY_BYTES])>) -> Self {
        self.admitting(tokens, [])
    }

    /// The same side, letting in machines that hold one of these tokens, as newcomers, and these members, each with the
    /// public key of its machine, to ask for the cluster's keys; and nobody for anything else.
    #[must_use]
    pub fn admitting(
        self,
        tokens: impl IntoIterator<Item = (u32, [u8; KEY_BYTES])>,
        members: impl IntoIterator<Item = (NodeId, [u8; PUBLIC_BYTES])>,
    ) -> Self {
        let newcomer = |(number, verifier)| (Stranger::Newcomer(number), invite::channel_key(&verifier));
        let member = |(id, public)| (Stranger::Member(id), invite::member_channel_key(&public));
        let strangers = tokens.into_iter().map(newcomer).chain(members.into_iter().map(member)).collect();
        Self { strangers, ..self }
    }

    /// The same side, speaking only the versions from `oldest` to `newest`.
    #[must_use]
    pub fn with_versions(self, oldest: u8, newest: u8) -> Self {
        Self { versions: (oldest, newest), ..self }
    }

    /// Calls the node `called`, or whoever answers: returns the hello to send.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn initiate(&self, called: Option<NodeId>) -> Result<(Initiator, [u8; HELLO_BYTES]), ChannelError> {
        let (private, public) = ephemeral()?;
        let (what, versions, to) = (What::Hello, self.versions, called.unwrap_or(NOBODY));
        let fields = Fields { what, versions, detail: 0, from: self.me, to, public }.to_bytes();
        let hello = tagged(&fields, &key::sign(&self.used().1, &[HELLO_LABEL, &fields]));
        Ok((Initiator { side: self.clone(), called, hello, private }, hello))
    }

    /// Answers a hello: returns the reply to send.
    ///
    /// # Errors
    /// When the hello is not acceptable; see [`Rejected`].
    pub fn respond(&self, hello: &[u8; HELLO_BYTES]) -> Result<(Responder, [u8; REPLY_BYTES]), Rejected> {
        let quietly = |error| Rejected { error, refusal: None };
        let refusing = |reason, error| Rejected { error, refusal: Some(self.refusal(reason).to_vec()) };
        let theirs = Fields::parse(hello).map_err(quietly)?;
        if theirs.what != What::Hello {
            return Err(quietly(ChannelError::Malformed("hello")));
        }
        // Versions before the tag: a later version may compute its tag differently.
        let version = common_version(self.versions, theirs.versions)
            .map_err(|error| refusing(Refusal::Version, error))?;
        let (fields, tag) = hello.split_at(FIELDS_BYTES);
        let mut signed = HELLO_LABEL.to_vec();
        signed.extend_from_slice(fields);
        let Some((subkey, key, stranger)) = self.key_of(theirs.from, &signed, tag) else {
            // A newcomer has no key of a cluster, but a token that is not known here.
            let newcomer = theirs.from == NOBODY;
            let error = if newcomer { ChannelError::UnknownToken } else { ChannelError::ForeignKey };
            return Err(refusing(if newcomer { Refusal::UnknownToken } else { Refusal::ForeignKey }, error));
        };
        if theirs.to != NOBODY && theirs.to != self.me {
            let error = ChannelError::Misdirected { called: theirs.to };
            return Err(refusing(Refusal::Misdirected, error));
        }
        let (private, public) = ephemeral().map_err(quietly)?;
        let (what, to) = (What::Reply, theirs.from);
        let ours = Fields { what, versions: self.versions, detail: version, from: self.me, to, public };
        let fields = ours.to_bytes();
        let secrets = Secrets::agree(private, &theirs.public, &subkey, hello, &fields).map_err(quietly)?;
        let reply = tagged(&fields, &secrets.reply_tag);
        Ok((Responder { secrets, peer: theirs.from, version, key, stranger }, reply))
    }

    /// The key with which a hello was tagged and its number, and who it is without one of the cluster's. Whoever has a number
    /// shows a key of the cluster, whoever has none something else: neither can pass for the other.
    fn key_of(
        &self,
        from: NodeId,
        signed: &[u8],
        tag: &[u8],
    ) -> Option<([u8; KEY_BYTES], u32, Option<Stranger>)> {
        if from != NOBODY {
            let (number, subkey) = self.subkeys.iter().find(|(_, subkey)| fits(subkey, signed, tag))?;
            return Some((*subkey, *number, None));
        }
        let (who, subkey) = self.strangers.iter().find(|(_, subkey)| fits(subkey, signed, tag))?;
        Some((*subkey, self.used().0, Some(*who)))
    }

    fn refusal(&self, reason: Refusal) -> [u8; REPLY_BYTES] {
        let fields = Fields {
            what: What::Refusal,
            versions: self.versions,
            detail: reason.to_byte(),
            from: self.me,
            to: NOBODY,
            public: [0; KEY_BYTES],
        };
        tagged(&fields.to_bytes(), &[0; KEY_BYTES])
    }
}

impl Initiator {
    /// Takes the reply: returns the confirmation to send, and the open session.
    ///
    /// # Errors
    /// When the other side refuses, or the reply is not acceptable.
    pub fn finish(
        self,
        reply: &[u8; REPLY_BYTES],
    ) -> Result<([u8; CONFIRMATION_BYTES], Session), ChannelError> {
        let Self { side, called, hello, private } = self;
        let theirs = Fields::parse(reply)?;
        match theirs.what {
            What::Reply => {}
            What::Refusal if theirs.detail == Refusal::Version.to_byte() => {
                return Err(ChannelError::Version { ours: side.versions, theirs: theirs.versions });
            }
            What::Refusal => return Err(ChannelError::Refused(Refusal::from_byte(theirs.detail))),
            What::Hello => return Err(ChannelError::Malformed("reply")),
        }
        let version = common_version(side.versions, theirs.versions)?;
        if theirs.detail != version || theirs.to != side.me {
            return Err(ChannelError::Malformed("reply"));
        }
        let mut fields = [0; FIELDS_BYTES];
        fields.copy_from_slice(&reply[..FIELDS_BYTES]);
        let secrets = Secrets::agree(private, &theirs.public, &side.used().1, &hello, &fields)?;
        if !same(&secrets.reply_tag, &reply[FIELDS_BYTES..]) {
            return Err(ChannelError::ForeignKey);
        }
        if let Some(called) = called.filter(|called| *called != theirs.from) {
            return Err(ChannelError::WrongPeer { called, answered: theirs.from });
        }
        let session = Session::new(theirs.from, version, &secrets.from_initiator, &secrets.from_responder);
        Ok((secrets.confirmation, session.under(side.used().0)))
    }
}

impl Responder {
    /// Who calls; shown only once [`Responder::finish`] succeeds.
    #[must_use]
    pub const fn claimed_peer(&self) -> NodeId {
        self.peer
    }

    /// Takes the confirmation: returns the open session.
    ///
    /// # Errors
    /// [`ChannelError::Unconfirmed`].
    pub fn finish(self, confirmation: &[u8; CONFIRMATION_BYTES]) -> Result<Session, ChannelError> {
        if !same(&self.secrets.confirmation, confirmation) {
            return Err(ChannelError::Unconfirmed);
        }
        let Secrets { from_initiator, from_responder, .. } = &self.secrets;
        let session = Session::new(self.peer, self.version, from_responder, from_initiator);
        Ok(session.under(self.key).of_stranger(self.stranger))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Initiator(node {} calls {:?})", self.side.me, self.called)
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Responder(called by node {}, version {})", self.peer, self.version)
    }
}

impl Secrets {
    fn agree(
        private: EphemeralPrivateKey,
        public: &[u8; KEY_BYTES],
        subkey: &[u8; KEY_BYTES],
        hello: &[u8; HELLO_BYTES],
        reply: &[u8; FIELDS_BYTES],
    ) -> Result<Self, ChannelError> {
        let mut said = digest::Context::new(&digest::SHA256);
        said.update(hello);
        said.update(reply);
        let said = said.finish();
        let public = UnparsedPublicKey::new(&X25519, public);
        agreement::agree_ephemeral(private, &public, |shared| {
            let prk = key::extract(subkey, shared);
            let derive = |label: &[u8]| key::expand(&prk, &[b"regent channel ", label, said.as_ref()]);
            Self {
                from_initiator: derive(b"from initiator"),
                from_responder: derive(b"from responder"),
                reply_tag: derive(b"reply tag"),
                confirmation: derive(b"confirmation"),
            }
        })
        .map_err(|_| ChannelError::Malformed("ephemeral key"))
    }
}

fn subkeys(ring: &KeyRing) -> Vec<(u32, [u8; KEY_BYTES])> {
    let mut subkeys: Vec<_> =
        ring.keys().map(|(number, key)| (number, key.subkey(Purpose::Channel))).collect();
    subkeys.sort_by_key(|(number, _)| *number != ring.using());
    subkeys
}

fn ephemeral() -> Result<(EphemeralPrivateKey, [u8; KEY_BYTES]), ChannelError> {
    let no_randomness = |_| ChannelError::Randomness(NoRandomness);
    let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(no_randomness)?;
    let public = private.compute_public_key().map_err(no_randomness)?;
    let mut bytes = [0; KEY_BYTES];
    bytes.copy_from_slice(public.as_ref());
    Ok((private, bytes))
}

fn fits(key: &[u8; KEY_BYTES], message: &[u8], tag: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), message, tag).is_ok()
}

/// Compares two derived tags in a time that does not tell where they differ: by the tags over them.
fn same(expected: &[u8; KEY_BYTES], found: &[u8]) -> bool {
    let tag = key::sign(expected, &[expected]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, expected);
    hmac::verify(&key, found, &tag).is_ok()
}
