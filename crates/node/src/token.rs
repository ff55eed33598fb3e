//! Tokens: everything that a machine needs to join, as one text to copy. What it is worth ends with its use.

use std::net::IpAddr;
use std::time::Duration;

use regent_model::ids::ClusterName;
use regent_model::state::TicketId;
use regent_wire::invite::TokenSecret;
use regent_wire::key::KEY_BYTES;
use regent_wire::{codec, text};
use serde::{Deserialize, Serialize};

use crate::error::{NodeError, Result};

/// What every token begins with.
pub const LABEL: &str = "rgt1";
/// How long a token can be used, unless something else is asked for.
pub const VALIDITY: Duration = Duration::from_secs(3600);
/// The longest that can be asked for: a week.
pub const VALIDITY_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Members named in a token: enough for one to answer.
const MEMBERS_MAX: usize = 8;

/// What a token says besides its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Its number.
    pub id: TicketId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The addresses of some members, each one per network.
    pub members: Vec<Vec<IpAddr>>,
    /// Their port.
    pub port: u16,
    /// Whether it is for a witness.
    pub witness: bool,
}

/// A token.
#[derive(Debug, Clone)]
pub struct Token {
    /// What makes it worth something.
    pub secret: TokenSecret,
    /// What it invites to.
    pub invitation: Invitation,
}

#[derive(Serialize, Deserialize)]
struct Content {
    secret: [u8; KEY_BYTES],
    invitation: Invitation,
}

impl Token {
    /// A token with a new secret. Of more than a few members only the first are named.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub fn make(mut invitation: Invitation) -> Result<Self> {
        invitation.members.truncate(MEMBERS_MAX);
        let secret = TokenSecret::generate().map_err(|error| NodeError::new(error.to_string()))?;
        Ok(Self { secret, invitation })
    }

    /// The text to copy: secret, because whoever has it may join.
    ///
    /// # Errors
    /// When it cannot be written down, which only a fault of the program can cause.
    pub fn to_text(&self) -> Result<String> {
        let content = Content { secret: *self.secret.expose(), invitation: self.invitation.clone() };
        let fault = |error| NodeError::new(format!("the token cannot be written: {error}"));
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
        Ok(Self { secret: TokenSecret::from_bytes(content.secret), invitation: content.invitation })
    }
}

impl Invitation {
    /// Whether it is for this kind of member. Whether it can still be used only a member can say.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, witness: bool) -> Result<()> {
        match (self.witness, witness) {
            (true, false) => Err(NodeError::new("this token is for a witness, not for a node")
                .next("regent witness TOKEN, or make one for a node: regent token")),
            (false, true) => Err(NodeError::new("this token is for a node, not for a witness")
                .next("regent join TOKEN, or make one for a witness: regent token --witness")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            id: TicketId(0xab),
            cluster: ClusterName::new("ward7").unwrap(),
            members: vec![vec![[10, 0, 0, 1].into(), "fd00::1".parse().unwrap()]],
            port: 7410,
            witness: false,
        }
    }

    #[test]
    fn a_token_survives_copying_and_a_wrong_character_is_noticed() {
        let token = Token::make(invitation()).unwrap();
        let text = token.to_text().unwrap();
        assert!(text.starts_with("rgt1-"), "{text}");
        let read = Token::parse(&format!("  {text}\n")).unwrap();
        assert_eq!((read.secret, read.invitation), (token.secret, invitation()));
        let at = text.len() / 2;
        let wrong = if &text[at..=at] == "0" { "1" } else { "0" };
        for bad in
            [format!("{}{wrong}{}", &text[..at], &text[at + 1..]), text[..at].to_owned(), String::new()]
        {
            assert!(Token::parse(&bad).unwrap_err().next.is_some());
        }
    }

    #[test]
    fn a_token_is_good_for_one_kind_of_member_and_shows_nothing_in_a_log() {
        assert_eq!(invitation().check(false), Ok(()));
        assert!(invitation().check(true).unwrap_err().next.unwrap().contains("regent join"));
        let token = Token { secret: TokenSecret::from_bytes([0xab; 32]), invitation: invitation() };
        let shown = format!("{token:?}");
        assert!(!shown.contains("171, 171") && !shown.contains("abab"), "{shown}");
    }

    #[test]
    fn a_token_of_a_large_cluster_names_a_few_members_and_fits() {
        let mut large = invitation();
        large.members = vec![vec!["fd00:1111:2222:3333:4444:5555:6666:7777".parse().unwrap(); 8]; 60];
        let token = Token::make(large).unwrap();
        assert_eq!(Token::parse(&token.to_text().unwrap()).unwrap().invitation.members.len(), 8);
    }
}
