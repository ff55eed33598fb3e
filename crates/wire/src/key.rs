//! The cluster's one key, and what is derived from it.
//!
//! Whoever holds the key is a member. It is never used itself: each purpose has its own subkey, so that
//! nothing sealed for one purpose can be passed off for another.

use std::fmt;
use std::str::FromStr;

use ring::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::text::{self, TextError};

const LABEL: &str = "regent-key";
const SALT: &[u8] = b"regent cluster key 1";

/// The bytes of a key, of a subkey, and of a tag.
pub const KEY_BYTES: usize = 32;

/// The key that makes a machine a member of the cluster. Its bytes are shown by [`ClusterKey::to_text`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; KEY_BYTES]);

/// What a subkey is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sealed datagrams.
    Datagram,
    /// The channel between two nodes.
    Channel,
    /// Tokens that invite a machine into the cluster.
    Token,
    /// The short text by which people compare two keys.
    Fingerprint,
    /// By what members know which key is meant, without it.
    Commitment,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Datagram => b"datagram",
            Self::Channel => b"channel",
            Self::Token => b"token",
            Self::Fingerprint => b"fingerprint",
            Self::Commitment => b"commitment",
        }
    }
}

/// The system has no random numbers to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel gives no random numbers (getrandom failed); no key can be made")
    }
}

impl std::error::Error for NoRandomness {}

impl ClusterKey {
    /// A new key from the kernel's random numbers.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// The key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The key as text for the key file and for tokens: secret, and checked when it is read again.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::format(LABEL, &self.0)
    }

    /// The bytes, to be stored or put into a token: secret.
    #[must_use]
    pub const fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Eight digits by which people can compare the keys of two machines without showing them.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let bytes = self.subkey(Purpose::Fingerprint);
        bytes[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// By what it is known which key is meant: from this nobody can make the key, and no other key has it.
    #[must_use]
    pub fn commitment(&self) -> [u8; KEY_BYTES] {
        self.subkey(Purpose::Commitment)
    }

    /// The subkey of this purpose.
    pub(crate) fn subkey(&self, purpose: Purpose) -> [u8; KEY_BYTES] {
        expand(&extract(SALT, &self.0), &[purpose.label()])
    }

    /// A tag over `message` that only a holder of the key can make.
    #[must_use]
    pub fn tag(&self, purpose: Purpose, message: &[u8]) -> [u8; KEY_BYTES] {
        sign(&self.subkey(purpose), &[message])
    }

    /// Whether `tag` was made by a holder of the key over this `message`. Takes the same time for every wrong tag.
    #[must_use]
    pub fn verify(&self, purpose: Purpose, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &self.subkey(purpose)), message, tag).is_ok()
    }
}

impl FromStr for ClusterKey {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let bytes = text::parse(LABEL, text)?;
        Ok(Self(bytes.try_into().map_err(|_| TextError::Length)?))
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({}...)", self.fingerprint())
    }
}

impl Drop for ClusterKey {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without this the compiler may leave out a write that nobody reads.
        std::hint::black_box(&self.0);
    }
}

pub(crate) fn sign(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut tag = [0; KEY_BYTES];
    tag.copy_from_slice(context.sign().as_ref());
    tag
}

/// HKDF-SHA256's first half.
pub(crate) fn extract(salt: &[u8], secret: &[u8]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), secret).as_ref());
    key
}

/// HKDF-SHA256's second half for one block. Written out because one block cannot fail, while the library's
/// general form returns an error that no caller could handle.
pub(crate) fn expand(prk: &[u8; KEY_BYTES], info: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, prk));
    for part in info {
        context.update(part);
    }
    context.update(&[1]);
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(context.sign().as_ref());
    key
}

pub(crate) fn aead(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    match UnboundKey::new(&CHACHA20_POLY1305, key) {
        Ok(key) => LessSafeKey::new(key),
        Err(_) => unreachable!("a ChaCha20-Poly1305 key has {KEY_BYTES} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use ring::hkdf;

    use super::*;

    #[test]
    fn subkeys_are_what_the_librarys_hkdf_says() {
        let key = ClusterKey::from_bytes([7; KEY_BYTES]);
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(&[7; KEY_BYTES]);
        let mut expected = [0; KEY_BYTES];
        prk.expand(&[b"datagram"], hkdf::HKDF_SHA256).unwrap().fill(&mut expected).unwrap();
        assert_eq!(key.subkey(Purpose::Datagram), expected);
    }

    #[test]
    fn debug_shows_no_byte_of_the_key() {
        let key = ClusterKey::from_bytes([0xab; KEY_BYTES]);
        let shown = format!("{key:?}");
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
        assert!(shown.contains(&key.fingerprint()));
    }

    #[test]
    fn a_tag_is_bound_to_key_purpose_and_message() {
        let (ours, other) = (ClusterKey::from_bytes([1; 32]), ClusterKey::from_bytes([2; 32]));
        let tag = ours.tag(Purpose::Token, b"lx4");
        assert!(ours.verify(Purpose::Token, b"lx4", &tag));
        assert!(!ours.verify(Purpose::Token, b"lx5", &tag));
        assert!(!ours.verify(Purpose::Channel, b"lx4", &tag));
        assert!(!other.verify(Purpose::Token, b"lx4", &tag));
        assert!(!ours.verify(Purpose::Token, b"lx4", &tag[..31]));
    }
}
