//! What can go wrong between two nodes, in words that say what to do.

use std::fmt;
use std::io;

use regent_model::NodeId;

use crate::key::NoRandomness;

/// Why the other side does not want to talk. Sent in the clear: believe it only as a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The hello was not made with its cluster key.
    ForeignKey,
    /// No version is common to both.
    Version,
    /// It is not the node that was called.
    Misdirected,
    /// A newcomer's token is not known to it.
    UnknownToken,
    /// A reason that this program does not know.
    Other(u8),
}

impl Refusal {
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::ForeignKey => 1,
            Self::Version => 2,
            Self::Misdirected => 3,
            Self::UnknownToken => 4,
            Self::Other(byte) => byte,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::ForeignKey,
            2 => Self::Version,
            3 => Self::Misdirected,
            4 => Self::UnknownToken,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignKey => write!(f, "it has another cluster key"),
            Self::Version => write!(f, "it speaks no common version"),
            Self::Misdirected => write!(f, "it is not the node that was called"),
            Self::UnknownToken => write!(f, "it does not know the token"),
            Self::Other(reason) => write!(f, "reason {reason}, which only a newer version knows"),
        }
    }
}

/// Why a channel was not opened, or ended. Except for a time limit ([`ChannelError::is_time_limit`]) the channel
/// is of no further use.
#[derive(Debug)]
pub enum ChannelError {
    /// The stream failed.
    Io {
        /// While doing what.
        doing: &'static str,
        /// How.
        source: io::Error,
    },
    /// The other side closed the stream.
    Closed {
        /// While this side was doing what.
        doing: &'static str,
    },
    /// Whoever is there does not speak Regent's language.
    NotRegent,
    /// A message of the handshake makes no sense.
    Malformed(&'static str),
    /// The other side does not hold our cluster's key.
    ForeignKey,
    /// The newcomer holds no token of this cluster's.
    UnknownToken,
    /// No version is common to both.
    Version {
        /// The versions of this side, from and to.
        ours: (u8, u8),
        /// The versions of the other side, from and to.
        theirs: (u8, u8),
    },
    /// Another node answered than the one that was called.
    WrongPeer {
        /// Who was called.
        called: NodeId,
        /// Who answered.
        answered: NodeId,
    },
    /// The caller wants another node than this one.
    Misdirected {
        /// Whom it wants.
        called: NodeId,
    },
    /// The other side says it does not want to talk.
    Refused(Refusal),
    /// The caller did not confirm the shared secret: a replayed hello, or one changed on its way.
    Unconfirmed,
    /// A frame is larger than allowed.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// A frame was changed, lost, repeated or reordered on its way.
    Tampered,
    /// The channel has failed before.
    Broken,
    /// All numbers of this direction are used; open a new channel.
    Exhausted,
    /// There are no random numbers.
    Randomness(NoRandomness),
}

impl ChannelError {
    /// Whether only a time limit set on the stream has passed. Reading may then go on; a link that failed to
    /// write in time is broken.
    #[must_use]
    pub fn is_time_limit(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, .. } if self.is_time_limit() => write!(f, "no answer in time while {doing}"),
            Self::Io { doing, source } => write!(f, "the connection failed while {doing}: {source}"),
            Self::Closed { doing } => write!(f, "the other side closed the connection while {doing}"),
            Self::NotRegent => {
                write!(f, "the other side is not a Regent node; check the address and the port")
            }
            Self::Malformed(what) => write!(f, "the other side sent a malformed {what}"),
            Self::ForeignKey => write!(
                f,
                "the other side does not hold this cluster's key; it belongs to another cluster, or has joined with an old token: join it again"
            ),
            Self::UnknownToken => write!(f, "a machine wants to join with a token that is not known here"),
            Self::Version { ours, theirs } => write!(
                f,
                "no common version: this node speaks {} to {}, the other side {} to {}; upgrade the older one",
                ours.0, ours.1, theirs.0, theirs.1
            ),
            Self::WrongPeer { called, answered } => {
                write!(f, "node {called} was called, but node {answered} answered; check the addresses")
            }
            Self::Misdirected { called } => {
                write!(f, "the caller looks for node {called}, which is not this one; check its addresses")
            }
            Self::Refused(reason) => write!(f, "the other side refuses: {reason}"),
            Self::Unconfirmed => write!(f, "the caller could not confirm that it holds the cluster's key"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "a frame of {bytes} bytes is larger than the {limit} allowed")
            }
            Self::Tampered => write!(f, "a frame was changed, lost or repeated on its way"),
            Self::Broken => write!(f, "the channel has failed before and must be opened again"),
            Self::Exhausted => write!(f, "all frame numbers are used; the channel must be opened again"),
            Self::Randomness(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChannelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
