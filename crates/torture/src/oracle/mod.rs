//! The oracles: each looks at one thing that must be so whatever happens.

pub(crate) mod address;
pub(crate) mod answers;
pub(crate) mod disk;
pub(crate) mod explained;
pub(crate) mod journal;
pub(crate) mod logs;

use std::fmt;

/// Who saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oracle {
    /// One node at a time writes on a disk, and only the owner does.
    Disk,
    /// One node at a time answers for an address.
    Address,
    /// Answers of the service never come from an ownership that is over.
    Answers,
    /// What was acknowledged is there.
    Acknowledged,
    /// Every group that can run runs when the faults are lifted; every order is answered.
    Alive,
    /// The journal explains every ownership, and what was seen from outside.
    Journal,
    /// Nothing of Regent panics.
    Logs,
}

impl Oracle {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Disk,
        Self::Address,
        Self::Answers,
        Self::Acknowledged,
        Self::Alive,
        Self::Journal,
        Self::Logs,
    ];

    /// What it holds, in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Disk => "one node at a time writes on a disk, and it is the owner",
            Self::Address => "one node at a time answers for an address",
            Self::Answers => "no answer comes from an ownership that is over",
            Self::Acknowledged => "what was acknowledged is there",
            Self::Alive => "every group runs when the faults are lifted, every order is answered",
            Self::Journal => "every ownership, act and order is explained, one owner per epoch",
            Self::Logs => "nothing of Regent panics",
        }
    }
}

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) oracle: Oracle,
    pub(crate) text: String,
}

impl Violation {
    pub(crate) fn new(oracle: Oracle, text: impl Into<String>) -> Self {
        Self { oracle, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.oracle, self.text)
    }
}

/// A time in which what an oracle looks at is not bound by the rule: from, to.
pub(crate) type Window = (u64, u64);

/// Whether a time lies in one of the windows.
pub(crate) fn within(windows: &[Window], from: u64, to: u64) -> bool {
    windows.iter().any(|(a, b)| from < *b && to > *a)
}
