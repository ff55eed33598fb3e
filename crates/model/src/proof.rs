//! Proofs: why the previous owner of a group can no longer act (rule 3).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, IncarnationOf, NodeId, NodeName, Round};

/// A voter's durable word to acknowledge one incarnation no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Promise {
    /// Who promised.
    pub voter: NodeId,
    /// Whom it will acknowledge no more.
    pub about: IncarnationOf,
    /// The voter's number of this promise; withdrawn by number (L5).
    pub round: Round,
}

/// Why the previous owner can no longer act.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Proof {
    /// There was no previous owner.
    NeverOwned,
    /// The owner said it has released everything.
    Released,
    /// A fence device confirmed that the incarnation's machine is off or cut from the disks.
    Fenced {
        /// The device that confirmed.
        device: String,
    },
    /// The lease has ended, which the log knew before, and then a fence device at the storage confirmed that the node is cut
    /// off from the disks: what it still has in memory reaches none of them.
    CutOff {
        /// The device that confirmed.
        device: String,
    },
    /// The machine came back with another boot identity, so everything of the old boot is gone.
    Rebooted {
        /// The new boot.
        boot: BootId,
    },
    /// A majority of voters promised, and the silence since each one's last acknowledgement exceeds the lease.
    LeaseEnded {
        /// The promises, at least a majority of the voters.
        promises: Vec<Promise>,
    },
    /// The same machine, in the same boot, goes on under a new guard (L6).
    Adopted,
    /// A person said so. Recorded as word, not as proof.
    OperatorsWord {
        /// Who.
        who: String,
        /// Why.
        why: String,
    },
}

impl Proof {
    /// The short word that `status`, the journal and scripts (`REGENT_PROOF`) show.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NeverOwned => "never-owned",
            Self::Released => "released",
            Self::Fenced { .. } => "fenced",
            Self::CutOff { .. } => "cut-off",
            Self::Rebooted { .. } => "rebooted",
            Self::LeaseEnded { .. } => "lease-ended",
            Self::Adopted => "adopted",
            Self::OperatorsWord { .. } => "operators-word",
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverOwned => write!(f, "never owned before"),
            Self::Released => write!(f, "released by its owner"),
            Self::Fenced { device } => write!(f, "fenced, confirmed by {device}"),
            Self::CutOff { device } => {
                write!(f, "its lease ended, and {device} confirmed that it is cut off from the disks")
            }
            Self::Rebooted { boot } => write!(f, "rebooted, now boot {boot}"),
            Self::LeaseEnded { promises } => {
                let voters: Vec<_> = promises.iter().map(|p| p.voter.to_string()).collect();
                write!(f, "lease ended, promised by voters {}", voters.join(", "))
            }
            Self::Adopted => write!(f, "adopted by the next guard of the same machine"),
            Self::OperatorsWord { who, why } => write!(f, "the word of {who}: {why}"),
        }
    }
}

/// What a group accepts as proof that its previous owner is gone, besides `released` and `rebooted`, which
/// every group accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A fence device's confirmation.
    Fenced,
    /// The end of the lease, enforced by the guard alone.
    LeaseEnded,
    /// No proof of its own: the end of the lease must be enforced by a watchdog device on the owner as well.
    Watchdog,
    /// No proof of its own: when the lease has ended, a fence device at the storage must have cut the owner off as well.
    Storage,
}

impl Need {
    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::LeaseEnded => "lease-ended",
            Self::Watchdog => "watchdog",
            Self::Storage => "storage",
        }
    }

    /// Whether it proves something by itself.
    #[must_use]
    pub fn is_proof(self) -> bool {
        !matches!(self, Self::Watchdog | Self::Storage)
    }
}

/// What is missing before a group may be taken over, in the operator's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The owner whose end is not proven.
    pub owner: NodeName,
    /// What would prove it.
    pub needs: Vec<Need>,
}
