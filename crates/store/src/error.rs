//! What can go wrong with the durable state, and what the operator can do about it.

use std::fmt;
use std::io;

/// Why the durable state cannot be opened, or does not take what it was given.
#[derive(Debug)]
pub enum StoreError {
    /// There is no state in the folder. Never make a new one for a node that had one: it has promised things.
    Missing {
        /// The folder.
        place: String,
    },
    /// There is a state in the folder already.
    Exists {
        /// The folder.
        place: String,
    },
    /// Another process has the folder open.
    InUse {
        /// The folder.
        place: String,
    },
    /// The state is damaged, or not this node's. Nothing was opened and nothing changed.
    Corrupt {
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
        /// What to do.
        advice: String,
    },
    /// The file was written in a format that this program does not read.
    Version {
        /// The file.
        file: String,
        /// The version of its format.
        found: u16,
        /// The version that this program reads.
        known: u16,
    },
    /// The disk failed.
    Io {
        /// While doing what.
        doing: &'static str,
        /// With which file or folder.
        file: String,
        /// How.
        source: io::Error,
        /// Whether the store takes nothing more.
        last: bool,
    },
    /// The caller gave records that contradict what is stored. Nothing was written.
    Refused {
        /// The contradiction.
        why: String,
    },
    /// The disk failed before; nothing more is believed of it until the state is opened again.
    Poisoned {
        /// How it failed.
        by: String,
    },
}

impl StoreError {
    /// Whether the store takes nothing more: the process must end, and its successor opens the state again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Refused { .. } => false,
            Self::Io { last, .. } => *last,
            _ => true,
        }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }

    pub(crate) fn corrupt(place: &str, name: &str, offset: u64, what: String) -> Self {
        let advice = String::from(
            "Until then this node can own nothing. It must join the cluster again as a new member (regent join TOKEN), \
             with a new state; do not put an older copy in its place: it would not know what this node has promised \
             since.",
        );
        Self::Corrupt { file: format!("{place}/{name}"), offset, what, advice }
    }
}

/// Whether there was no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { place } => write!(
                f,
                "there is no state in {place}: this node can own nothing. If the disk with it was lost, join the \
                 cluster again as a new member with `regent join TOKEN`; if it is only not mounted, mount it"
            ),
            Self::Exists { place } => write!(
                f,
                "{place} holds the state of a node already; move the folder away (mv {place} {place}.old) if that \
                 node is no more"
            ),
            Self::InUse { place } => {
                write!(f, "{place} is in use by another process; is this node running already?")
            }
            Self::Corrupt { file, offset, what, advice } => {
                write!(f, "{file} is damaged: at byte {offset}, {what}. {advice}")
            }
            Self::Version { file, found, known } => write!(
                f,
                "{file} has format {found}, and this program reads {known}: start the version of Regent that wrote it"
            ),
            Self::Io { doing, file, source, .. } if self.is_full() => {
                write!(f, "the disk is full while {doing} {file}: {source}; make room there")
            }
            Self::Io { doing, file, source, .. } => {
                write!(f, "the disk failed while {doing} {file}: {source}; look at the kernel's log (dmesg)")
            }
            Self::Refused { why } => write!(f, "the state does not take this: {why}"),
            Self::Poisoned { by } => {
                write!(f, "the state takes nothing more until the node is started again, because {by}")
            }
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
