//! Tokens, as they are listed.

use regent_model::NodeName;
use regent_model::state::{Fate, Ticket, TicketId};
use serde::{Deserialize, Serialize};

/// A token that was made, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Its number, by which it is revoked.
    pub id: String,
    /// `open`, `used`, `expired` or `revoked`.
    pub state: String,
    /// Whether it is for a witness.
    pub witness: bool,
    /// The node that made it.
    pub made_on: NodeName,
    /// When, in milliseconds since 1970.
    pub made_ms: u64,
    /// Until when it is good, in milliseconds since 1970.
    pub until_ms: u64,
    /// Who has joined with it.
    pub used_by: Option<NodeName>,
    /// When, in milliseconds since 1970.
    pub used_ms: Option<u64>,
}

impl TokenStatus {
    /// How a token is at this time.
    #[must_use]
    pub fn of(id: TicketId, ticket: &Ticket, now_ms: u64) -> Self {
        let (state, used_by, used_ms) = match &ticket.fate {
            Fate::Open if ticket.is_open(now_ms) => ("open", None, None),
            Fate::Open => ("expired", None, None),
            Fate::Used { name, at_ms, .. } => ("used", Some(name.clone()), Some(*at_ms)),
            Fate::Revoked => ("revoked", None, None),
        };
        Self {
            id: id.to_string(),
            state: state.to_owned(),
            witness: ticket.witness,
            made_on: ticket.made_on.clone(),
            made_ms: ticket.made_ms,
            until_ms: ticket.until_ms,
            used_by,
            used_ms,
        }
    }
}
