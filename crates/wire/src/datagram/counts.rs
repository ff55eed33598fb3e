//! Why datagrams are refused, and how often they were.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a datagram was not accepted. Nothing that is refused changes what the opener knows, but for the session of
/// the sender of one that is of [`Reject::OtherLife`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// It is shorter than a header and a tag.
    TooShort,
    /// It is not Regent's.
    Magic,
    /// It is of a version that this program does not read.
    Version {
        /// The version it says it is of.
        theirs: u8,
    },
    /// Its header or its message makes no sense.
    Malformed,
    /// It is meant for another node.
    Misdirected,
    /// It names a sender who is not a member.
    UnknownSender,
    /// Its seal does not fit: it was sealed with another cluster's key, or changed on its way.
    ForeignKey,
    /// The same datagram was accepted before: a copy made by the network, or a replay.
    Replayed,
    /// It is of an earlier session of its sender, or too many later ones overtook it.
    TooOld,
    /// It is genuine, but not meant for this life of the receiver: its sender has not heard of it yet, or it was
    /// recorded before.
    OtherLife,
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "too short for a datagram of Regent's"),
            Self::Magic => write!(f, "no datagram of Regent's"),
            Self::Version { theirs } => write!(
                f,
                "format version {theirs}, but this program reads {} to {}: upgrade the older side",
                super::VERSION_MIN,
                super::VERSION
            ),
            Self::Malformed => write!(f, "malformed"),
            Self::Misdirected => write!(f, "meant for another node"),
            Self::UnknownSender => write!(f, "from a node that is not a member"),
            Self::ForeignKey => write!(f, "sealed with another key, or changed on its way"),
            Self::Replayed => write!(f, "seen before"),
            Self::TooOld => write!(f, "of an earlier session, or overtaken by too many later ones"),
            Self::OtherLife => write!(f, "meant for another life of this node"),
        }
    }
}

impl std::error::Error for Reject {}

/// How many datagrams were accepted, and how many refused for which reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Accepted.
    pub accepted: u64,
    /// See [`Reject::TooShort`].
    pub too_short: u64,
    /// See [`Reject::Magic`].
    pub magic: u64,
    /// See [`Reject::Version`].
    pub version: u64,
    /// See [`Reject::Malformed`].
    pub malformed: u64,
    /// See [`Reject::Misdirected`].
    pub misdirected: u64,
    /// See [`Reject::UnknownSender`].
    pub unknown_sender: u64,
    /// See [`Reject::ForeignKey`].
    pub foreign_key: u64,
    /// See [`Reject::Replayed`].
    pub replayed: u64,
    /// See [`Reject::TooOld`].
    pub too_old: u64,
    /// See [`Reject::OtherLife`].
    pub other_life: u64,
}

impl Counts {
    /// All refused datagrams together.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.too_short
            + self.magic
            + self.version
            + self.malformed
            + self.misdirected
            + self.unknown_sender
            + self.foreign_key
            + self.replayed
            + self.too_old
            + self.other_life
    }

    /// Counts one refusal.
    pub fn count(&mut self, reject: Reject) {
        let counter = match reject {
            Reject::TooShort => &mut self.too_short,
            Reject::Magic => &mut self.magic,
            Reject::Version { .. } => &mut self.version,
            Reject::Malformed => &mut self.malformed,
            Reject::Misdirected => &mut self.misdirected,
            Reject::UnknownSender => &mut self.unknown_sender,
            Reject::ForeignKey => &mut self.foreign_key,
            Reject::Replayed => &mut self.replayed,
            Reject::TooOld => &mut self.too_old,
            Reject::OtherLife => &mut self.other_life,
        };
        *counter += 1;
    }
}
