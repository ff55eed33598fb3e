//! What guards say to each other: keepalives and their acknowledgements, one datagram each.

use std::time::Duration;

use regent_model::ids::IncarnationOf;
use regent_model::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

/// "I live, and I wish to hold my lease for `lease` from the moment I sent this."
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Keepalive {
    /// Who.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// The number of this keepalive within the incarnation, from 1.
    pub number: u64,
    /// The lease it asks for (L3: every keepalive carries its own `L`).
    pub lease: Duration,
    /// Whether the incarnation wants to be acknowledged; a node that has let go or holds no lease only shows that it lives.
    pub renews: bool,
}

impl Keepalive {
    /// Whose it is.
    #[must_use]
    pub fn about(&self) -> IncarnationOf {
        IncarnationOf { node: self.node, incarnation: self.incarnation }
    }
}

/// "I heard your keepalive, and I have not promised to ignore you."
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ack {
    /// The voter that acknowledges.
    pub voter: NodeId,
    /// Whom.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// Which keepalive.
    pub number: u64,
}

/// One datagram between guards, before sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Frame {
    /// See [`Keepalive`].
    Keepalive(Keepalive),
    /// See [`Ack`].
    Ack(Ack),
}
