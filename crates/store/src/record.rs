//! What is stored.

use regent_model::ids::ClusterName;
use regent_model::proof::Promise;
use regent_model::{NodeId, Round};
use serde::{Deserialize, Serialize};

/// Whose state it is. It is refused under any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterName,
    /// The voter: one life of the durable state. A node that lost it comes back under another number.
    pub node: NodeId,
}

/// What consensus must remember besides its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term seen.
    pub term: u64,
    /// Whom this node voted for in that term; 0 for nobody.
    pub vote: u64,
    /// The index up to which the log is known to be committed.
    pub commit: u64,
}

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log, from 1.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// What consensus uses it for, in consensus's own numbers.
    pub kind: u8,
    /// Its contents.
    #[serde(with = "crate::blob")]
    pub data: Vec<u8>,
    /// What its proposer attached.
    #[serde(with = "crate::blob")]
    pub context: Vec<u8>,
}

/// The state that all entries up to an index led to; those entries are no longer needed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last index it contains.
    pub index: u64,
    /// The term of the entry at that index.
    pub term: u64,
    /// The voters at that index, encoded by consensus.
    #[serde(with = "crate::blob")]
    pub conf_state: Vec<u8>,
    /// The state, encoded by its owner.
    #[serde(with = "crate::blob")]
    pub data: Vec<u8>,
}

/// One thing to remember. Records take effect in their order; a later one can replace an earlier one.
///
/// The order of the variants is the format on disk: new ones are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Replaces the hard state. The term never falls, the vote of a term is never changed, and of two commit
    /// indexes the larger is kept.
    HardState(HardState),
    /// Adds an entry behind the last one, or replaces the uncommitted entries from its index on.
    Entry(Entry),
    /// Drops the uncommitted entries from this index on.
    TruncateFrom {
        /// The first index to drop.
        index: u64,
    },
    /// Replaces the snapshot and drops the entries it contains; all entries, when the one at its index has
    /// another term.
    Snapshot(Snapshot),
    /// This voter promised.
    Promise(Promise),
    /// A committed entry withdrew the promise.
    PromiseWithdrawn(Promise),
    /// Replaces the value under a key, for what its owner must remember beside the log.
    Meta {
        /// The key.
        key: String,
        /// The value.
        #[serde(with = "crate::blob")]
        value: Vec<u8>,
    },
    /// No promise may have this round or a smaller one any more. Written at compaction, when the promise with the
    /// largest round was withdrawn.
    RoundFloor(Round),
}
