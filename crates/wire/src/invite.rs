//! Secrets by which a machine becomes a member: that of a token, and that of the machine itself.
//!
//! A token holds a secret of its own, never the cluster's key. Its *verifier* is what the members agree on: with it they
//! can tell who holds the token, and nobody who reads it can make the token from it. The key is handed over in the sealed
//! channel that the token opens, once the members have agreed that it is good; what was said there stays secret also
//! when the token becomes known later.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::key::{self, KEY_BYTES, NoRandomness};
use crate::text::{self, TextError};

const MACHINE_LABEL: &str = "regent-node";
const VERIFIER_SALT: &[u8] = b"regent token verifier 1";
const CHANNEL_SALT: &[u8] = b"regent token channel 1";
const MEMBER_SALT: &[u8] = b"regent member channel 1";

/// The bytes of a public key of a machine.
pub const PUBLIC_BYTES: usize = 32;

fn random() -> Result<[u8; KEY_BYTES], NoRandomness> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// What a token is worth: whoever shows it may join.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret([u8; KEY_BYTES]);

impl TokenSecret {
    /// A new one from the kernel's random numbers.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn generate() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    /// The secret of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be put into a token: secret.
    #[must_use]
    pub const fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// By what members recognise it.
    #[must_use]
    pub fn verifier(&self) -> [u8; KEY_BYTES] {
        key::extract(VERIFIER_SALT, &self.0)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSecret(...)")
    }
}

/// With what the channel is opened by which a machine joins.
pub(crate) fn channel_key(verifier: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
    key::extract(CHANNEL_SALT, verifier)
}

/// With what the channel is opened over which a member without the newest key asks for it. It is no secret of anybody's:
/// who the machine is it shows by what it signs.
pub(crate) fn member_channel_key(public: &[u8; PUBLIC_BYTES]) -> [u8; KEY_BYTES] {
    key::extract(MEMBER_SALT, public)
}

/// What a machine alone knows: made before it joins, and kept. By it the members know that it is the same machine.
pub struct MachineSecret {
    seed: [u8; KEY_BYTES],
    pair: Ed25519KeyPair,
}

impl MachineSecret {
    /// A new one from the kernel's random numbers.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn generate() -> Result<Self, NoRandomness> {
        Self::from_seed(random()?).ok_or(NoRandomness)
    }

    fn from_seed(seed: [u8; KEY_BYTES]) -> Option<Self> {
        Some(Self { seed, pair: Ed25519KeyPair::from_seed_unchecked(&seed).ok()? })
    }

    /// As text for its file: secret, and checked when it is read again.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::format(MACHINE_LABEL, &self.seed)
    }

    /// Reads what [`MachineSecret::to_text`] wrote.
    ///
    /// # Errors
    /// When it is something else, or was changed.
    pub fn parse(written: &str) -> Result<Self, TextError> {
        let bytes = text::parse(MACHINE_LABEL, written)?;
        let seed = bytes.try_into().map_err(|_| TextError::Length)?;
        Self::from_seed(seed).ok_or(TextError::Length)
    }

    /// What everybody may know of it.
    #[must_use]
    pub fn public(&self) -> [u8; PUBLIC_BYTES] {
        let mut bytes = [0; PUBLIC_BYTES];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        bytes
    }

    /// A signature over `message` that only this machine can make.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for MachineSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MachineSecret(...)")
    }
}

impl Drop for MachineSecret {
    fn drop(&mut self) {
        self.seed.fill(0);
        // Without this the compiler may leave out a write that nobody reads.
        std::hint::black_box(&self.seed);
    }
}

/// Whether the machine with this public key has signed `message`.
#[must_use]
pub fn signed_by(public: &[u8; PUBLIC_BYTES], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_recognises_one_token_and_is_not_its_secret() {
        let (one, other) = (TokenSecret::generate().unwrap(), TokenSecret::generate().unwrap());
        assert_eq!(one.verifier(), TokenSecret::from_bytes(*one.expose()).verifier());
        assert_ne!(one.verifier(), other.verifier());
        assert_ne!(&one.verifier(), one.expose());
    }

    #[test]
    fn a_machine_is_the_same_after_it_was_written_down_and_nobody_else_signs_for_it() {
        let machine = MachineSecret::generate().unwrap();
        let read = MachineSecret::parse(&machine.to_text()).unwrap();
        assert_eq!(read.public(), machine.public());
        let other = MachineSecret::generate().unwrap();
        assert!(signed_by(&machine.public(), b"I am lx5", &read.sign(b"I am lx5")));
        assert!(!signed_by(&machine.public(), b"I am lx4", &read.sign(b"I am lx5")));
        assert!(!signed_by(&machine.public(), b"I am lx5", &other.sign(b"I am lx5")));
        assert!(!signed_by(&machine.public(), b"I am lx5", b""));
        assert!(MachineSecret::parse("regent-node").is_err());
    }

    #[test]
    fn debug_shows_neither() {
        let secret = TokenSecret::from_bytes([0xab; KEY_BYTES]);
        assert_eq!(format!("{secret:?}"), "TokenSecret(...)");
        assert_eq!(format!("{:?}", MachineSecret::generate().unwrap()), "MachineSecret(...)");
    }
}
