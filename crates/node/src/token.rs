//! Tokens: everything that a machine needs to join, as one text to copy.

use std::net::IpAddr;
use std::time::Duration;

use regent_model::ids::ClusterName;
use regent_wire::key::KEY_BYTES;
use regent_wire::{ClusterKey, Purpose, codec, text};
use serde::{Deserialize, Serialize};

use crate::error::{NodeError, Result};

/// What every token begins with.
pub const LABEL: &str = "rgt1";
/// How long a token can be used.
pub const VALIDITY: Duration = Duration::from_secs(3600);
/// Members named in a token: enough for one to answer.
const MEMBERS_MAX: usize = 8;

/// What a token says besides the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The cluster.
    pub cluster: ClusterName,
    /// The addresses of some members, each one per network.
    pub members: Vec<Vec<IpAddr>>,
    /// Their port.
    pub port: u16,
    /// Whether it is for a witness.
    pub witness: bool,
    /// Until when, in seconds since 1970.
    pub until: u64,
}

/// An invitation with the tag of a member: what the newcomer shows, and the member believes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    invitation: Vec<u8>,
    tag: [u8; KEY_BYTES],
}

/// A token.
#[derive(Debug, Clone)]
pub struct Token {
    /// The cluster's key.
    pub key: ClusterKey,
    /// What it invites to.
    pub invitation: Invitation,
    /// The same as a member signed it.
    pub sealed: Sealed,
}

#[derive(Serialize, Deserialize)]
struct Content {
    key: [u8; KEY_BYTES],
    sealed: Sealed,
}

impl Token {
    /// Makes a token. Of more than a few members only the first are named.
    ///
    /// # Errors
    /// When it cannot be written down, which only a fault of the program can cause.
    pub fn make(key: &ClusterKey, mut invitation: Invitation) -> Result<Self> {
        invitation.members.truncate(MEMBERS_MAX);
        let bytes = codec::encode(&invitation, text::BYTES_MAX).map_err(fault)?;
        let tag = key.tag(Purpose::Token, &bytes);
        Ok(Self { key: key.clone(), invitation, sealed: Sealed { invitation: bytes, tag } })
    }

    /// The text to copy: secret, because it holds the key.
    ///
    /// # Errors
    /// As [`Token::make`].
    pub fn to_text(&self) -> Result<String> {
        let content = Content { key: *self.key.expose(), sealed: self.sealed.clone() };
        Ok(text::format(LABEL, &codec::encode(&content, text::BYTES_MAX).map_err(fault)?))
    }

    /// Reads a text that was copied.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(copied: &str) -> Result<Self> {
        let no_token = |why: String| {
            NodeError::new(format!("this is no token: {why}")).next("make one on a member: regent token")
        };
        let bytes = text::parse(LABEL, copied).map_err(|error| no_token(error.to_string()))?;
        let content: Content = codec::decode(&bytes).map_err(|error| no_token(error.to_string()))?;
        let key = ClusterKey::from_bytes(content.key);
        let invitation = content.sealed.open(&key)?;
        Ok(Self { key, invitation, sealed: content.sealed })
    }
}

impl Sealed {
    /// What a holder of this key invites to.
    ///
    /// # Errors
    /// When it was not made with this key.
    pub fn open(&self, key: &ClusterKey) -> Result<Invitation> {
        let foreign = || {
            NodeError::new("the token was not made by this cluster, or was changed")
                .next("make one on a member: regent token")
        };
        if !key.verify(Purpose::Token, &self.invitation, &self.tag) {
            return Err(foreign());
        }
        codec::decode(&self.invitation).map_err(|_| foreign())
    }
}

impl Invitation {
    /// Whether it can still be used at `now`, in seconds since 1970, and for this kind of member.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, now: u64, witness: bool) -> Result<()> {
        if now >= self.until {
            let minutes = (now - self.until) / 60 + 1;
            let what =
                format!("the token expired about {minutes} min ago (or the clocks of the machines differ)");
            return Err(NodeError::new(what).next("make a new one on a member: regent token"));
        }
        match (self.witness, witness) {
            (true, false) => Err(NodeError::new("this token is for a witness, not for a node")
                .next("regent witness TOKEN, or make one for a node: regent token")),
            (false, true) => Err(NodeError::new("this token is for a node, not for a witness")
                .next("regent join TOKEN, or make one for a witness: regent token --witness")),
            _ => Ok(()),
        }
    }
}

fn fault(error: codec::CodecError) -> NodeError {
    NodeError::new(format!("the token cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            cluster: ClusterName::new("ward7").unwrap(),
            members: vec![vec![[10, 0, 0, 1].into(), "fd00::1".parse().unwrap()]],
            port: 7410,
            witness: false,
            until: 1_000,
        }
    }

    #[test]
    fn a_token_survives_copying_and_a_wrong_character_is_noticed() {
        let key = ClusterKey::generate().unwrap();
        let text = Token::make(&key, invitation()).unwrap().to_text().unwrap();
        assert!(text.starts_with("rgt1-"), "{text}");
        let read = Token::parse(&format!("  {text}\n")).unwrap();
        assert_eq!((read.key.expose(), read.invitation), (key.expose(), invitation()));
        let at = text.len() / 2;
        let wrong = if &text[at..=at] == "0" { "1" } else { "0" };
        for bad in
            [format!("{}{wrong}{}", &text[..at], &text[at + 1..]), text[..at].to_owned(), String::new()]
        {
            assert!(Token::parse(&bad).unwrap_err().next.is_some());
        }
    }

    #[test]
    fn a_member_believes_only_its_own_clusters_tokens() {
        let (ours, other) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
        let token = Token::make(&other, invitation()).unwrap();
        assert!(token.sealed.open(&ours).unwrap_err().what.contains("not made by this cluster"));
        assert_eq!(token.sealed.open(&other), Ok(invitation()));
    }

    #[test]
    fn a_token_ends_and_is_good_for_one_kind_of_member() {
        assert_eq!(invitation().check(999, false), Ok(()));
        assert!(invitation().check(1_000, false).unwrap_err().what.contains("expired"));
        assert!(invitation().check(999, true).unwrap_err().next.unwrap().contains("regent join"));
    }

    #[test]
    fn a_token_of_a_large_cluster_names_a_few_members_and_fits() {
        let mut large = invitation();
        large.members = vec![vec!["fd00:1111:2222:3333:4444:5555:6666:7777".parse().unwrap(); 8]; 60];
        let token = Token::make(&ClusterKey::generate().unwrap(), large).unwrap();
        assert_eq!(Token::parse(&token.to_text().unwrap()).unwrap().invitation.members.len(), 8);
    }
}
