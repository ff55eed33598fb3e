//! What somebody asks of an instance by hand.

use serde::{Deserialize, Serialize};

use super::Op;

/// What somebody asks of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hand {
    /// Bring it up.
    Start,
    /// Take it down; a failure leaves it as it is.
    Stop,
    /// Take it down, whatever that ends.
    Force,
    /// Look at it.
    Status,
}

impl Hand {
    /// The operation that it is for an agent.
    #[must_use]
    pub fn op(self) -> Op {
        match self {
            Self::Start => Op::Acquire,
            Self::Stop | Self::Force => Op::Release,
            Self::Status => Op::Monitor,
        }
    }

    /// The word that one types.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Force => "force",
            Self::Status => "status",
        }
    }
}
