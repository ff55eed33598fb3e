//! How a member that has not got the cluster's newest key is given it: to the machine itself, and to nobody who holds an
//! older key alone.
//!
//! Every machine has a key pair of its own ([`MachineSecret`]), whose public half stands in the log. A machine that asks
//! signs an ephemeral key with it; who answers seals the keys to that ephemeral key, and signs with its own. So neither
//! the channel nor an older key of the cluster is trusted with anything, what is recorded is of no use to anybody later,
//! and each side knows the other by what the log says.

use std::fmt;

use regent_model::NodeId;
use ring::aead::{Aad, LessSafeKey, Nonce};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use crate::invite::{MachineSecret, PUBLIC_BYTES, signed_by};
use crate::key::{self, KEY_BYTES, NoRandomness};
use crate::keys::KeyRing;

const ASK: &[u8] = b"regent key ask 1 ";
const GIVEN: &[u8] = b"regent key given 1 ";
const SALT: &[u8] = b"regent key handover 1";

/// A member asks for the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAsk {
    /// Who.
    pub member: NodeId,
    ephemeral: [u8; KEY_BYTES],
    signature: Vec<u8>,
}

/// The keys, for the one machine that has asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysGiven {
    /// Who gives them.
    pub by: NodeId,
    ephemeral: [u8; KEY_BYTES],
    sealed: Vec<u8>,
    signature: Vec<u8>,
}

impl fmt::Debug for KeysGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeysGiven(by {}, sealed)", self.by)
    }
}

/// Who has asked, and waits.
pub struct Asker {
    private: EphemeralPrivateKey,
    ask: KeyAsk,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asker({})", self.ask.member)
    }
}

/// Why keys were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// They are not from the member that they are said to be from, or not for this question.
    Foreign,
    /// What was sealed are no keys.
    Damaged,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(f, "the answer is not from the member that it names"),
            Self::Damaged => write!(f, "the answer holds no keys"),
        }
    }
}

impl std::error::Error for NotTaken {}

fn ask_signed(cluster: &str, member: NodeId, ephemeral: &[u8; KEY_BYTES]) -> Vec<u8> {
    [ASK, cluster.as_bytes(), &[0], &member.0.to_le_bytes(), ephemeral].concat()
}

impl KeyAsk {
    /// Whether the machine with this public key asks.
    #[must_use]
    pub fn is_of(&self, public: &[u8; PUBLIC_BYTES], cluster: &str) -> bool {
        signed_by(public, &ask_signed(cluster, self.member, &self.ephemeral), &self.signature)
    }

    fn hash(&self) -> [u8; KEY_BYTES] {
        let mut hash = [0; KEY_BYTES];
        let all = [&self.member.0.to_le_bytes()[..], &self.ephemeral, &self.signature].concat();
        hash.copy_from_slice(digest(&SHA256, &all).as_ref());
        hash
    }

    /// The keys for whoever has asked: [`KeyAsk::is_of`] must have been true.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn give(
        &self,
        ring: &KeyRing,
        by: NodeId,
        secret: &MachineSecret,
    ) -> Result<KeysGiven, NoRandomness> {
        let (private, ephemeral) = ephemeral()?;
        let wrap = wrapping(private, &self.ephemeral, self, &ephemeral).ok_or(NoRandomness)?;
        let mut sealed = ring.to_text().into_bytes();
        wrap.seal_in_place_append_tag(nonce(), Aad::from(self.hash()), &mut sealed)
            .map_err(|_| NoRandomness)?;
        let signature = secret.sign(&given_signed(self, by, &ephemeral, &sealed));
        Ok(KeysGiven { by, ephemeral, sealed, signature })
    }
}

fn given_signed(ask: &KeyAsk, by: NodeId, ephemeral: &[u8; KEY_BYTES], sealed: &[u8]) -> Vec<u8> {
    [GIVEN, &ask.hash(), &by.0.to_le_bytes(), ephemeral, sealed].concat()
}

impl Asker {
    /// Asks as this member.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn new(cluster: &str, member: NodeId, secret: &MachineSecret) -> Result<Self, NoRandomness> {
        let (private, ephemeral) = ephemeral()?;
        let signature = secret.sign(&ask_signed(cluster, member, &ephemeral));
        Ok(Self { private, ask: KeyAsk { member, ephemeral, signature } })
    }

    /// What is to be sent.
    #[must_use]
    pub const fn ask(&self) -> &KeyAsk {
        &self.ask
    }

    /// Takes the answer, if the machine with this public key, which the log names for the member, has given it.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub fn take(self, given: &KeysGiven, public: &[u8; PUBLIC_BYTES]) -> Result<KeyRing, NotTaken> {
        let signed = given_signed(&self.ask, given.by, &given.ephemeral, &given.sealed);
        if !signed_by(public, &signed, &given.signature) {
            return Err(NotTaken::Foreign);
        }
        let wrap = wrapping(self.private, &given.ephemeral, &self.ask, &given.ephemeral);
        let wrap = wrap.ok_or(NotTaken::Damaged)?;
        let mut sealed = given.sealed.clone();
        let opened = wrap.open_in_place(nonce(), Aad::from(self.ask.hash()), &mut sealed);
        let text = opened.map_err(|_| NotTaken::Damaged)?;
        std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NotTaken::Damaged)
    }
}

fn ephemeral() -> Result<(EphemeralPrivateKey, [u8; KEY_BYTES]), NoRandomness> {
    let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| NoRandomness)?;
    let public = private.compute_public_key().map_err(|_| NoRandomness)?;
    let mut bytes = [0; KEY_BYTES];
    bytes.copy_from_slice(public.as_ref());
    Ok((private, bytes))
}

/// The key of one box: good for one ask and one answer, so that one nonce is enough.
fn wrapping(
    private: EphemeralPrivateKey,
    theirs: &[u8; KEY_BYTES],
    ask: &KeyAsk,
    answered: &[u8; KEY_BYTES],
) -> Option<LessSafeKey> {
    agree_ephemeral(private, &UnparsedPublicKey::new(&X25519, theirs), |shared| {
        key::aead(&key::expand(&key::extract(SALT, shared), &[&ask.hash(), answered]))
    })
    .ok()
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; ring::aead::NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClusterKey;

    const LX6: NodeId = NodeId(3);
    const LX4: NodeId = NodeId(1);

    fn ring() -> KeyRing {
        KeyRing::first(ClusterKey::from_bytes([1; 32])).with_next(ClusterKey::from_bytes([0xcd; 32]))
    }

    #[test]
    fn a_member_is_given_the_keys_and_nobody_who_listens_or_answers_in_its_name_is() {
        let (asks, gives) = (MachineSecret::generate().unwrap(), MachineSecret::generate().unwrap());
        let thief = MachineSecret::generate().unwrap();
        let asker = Asker::new("ward7", LX6, &asks).unwrap();
        assert!(asker.ask().is_of(&asks.public(), "ward7"));
        assert!(!asker.ask().is_of(&asks.public(), "ward8"), "it is meant for one cluster");
        assert!(!asker.ask().is_of(&thief.public(), "ward7"));
        let given = asker.ask().give(&ring(), LX4, &gives).unwrap();
        // Somebody who repeats the question cannot open the answer: the ephemeral key is not his.
        let repeated = Asker::new("ward7", LX6, &asks).unwrap();
        let own = KeyAsk { ephemeral: repeated.ask.ephemeral, ..asker.ask.clone() };
        assert!(!own.is_of(&asks.public(), "ward7"), "the signature covers it");
        assert_eq!(repeated.take(&given, &gives.public()), Err(NotTaken::Foreign));
        let forged = asker.ask().give(&ring(), LX4, &thief).unwrap();
        assert_eq!(
            Asker { private: ephemeral().unwrap().0, ask: asker.ask.clone() }.take(&given, &gives.public()),
            Err(NotTaken::Damaged)
        );
        assert_eq!(
            Asker { private: ephemeral().unwrap().0, ask: asker.ask.clone() }.take(&forged, &gives.public()),
            Err(NotTaken::Foreign)
        );
        assert_eq!(asker.take(&given, &gives.public()), Ok(ring()));
    }

    #[test]
    fn what_was_changed_on_its_way_is_not_taken_and_nothing_of_it_is_readable() {
        let (asks, gives) = (MachineSecret::generate().unwrap(), MachineSecret::generate().unwrap());
        for place in 0..3 {
            let asker = Asker::new("ward7", LX6, &asks).unwrap();
            let mut given = asker.ask().give(&ring(), LX4, &gives).unwrap();
            assert!(!given.sealed.windows(4).any(|bytes| bytes == b"cdcd" || bytes == [0xcd; 4]));
            match place {
                0 => given.sealed[3] ^= 1,
                1 => given.ephemeral[3] ^= 1,
                _ => given.by = NodeId(2),
            }
            assert_eq!(asker.take(&given, &gives.public()), Err(NotTaken::Foreign));
        }
    }
}
