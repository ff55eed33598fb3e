//! The format in which nodes store what they have agreed on and say it to each other.
//!
//! Entries of the log, the state and the messages between daemons are not self-describing: whoever reads them must know
//! the types they were made of. All of them together have one number. A release reads and writes every format from
//! [`OLDEST`] to [`NEWEST`]; that it still has the one of the release before is what lets two releases work together.
//!
//! The cluster uses one format, the newest that every member reads ([`crate::state::State::format`]). It is raised by
//! the log when the last member has said that it reads a newer one, and never lowered. So nothing that an older member
//! cannot read is ever proposed; a member that goes back to an older release before that goes on, and one that does
//! so after it refuses to run. `docs/upgrade.md` says how a type is changed.

/// The number of a format.
pub type Format = u8;

/// The newest format that this release reads and writes.
pub const NEWEST: Format = 1;
/// The oldest format that this release reads and writes.
pub const OLDEST: Format = 1;

/// The formats that a daemon reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaks {
    /// The oldest.
    pub oldest: Format,
    /// The newest.
    pub newest: Format,
}

impl Speaks {
    /// Those of this release.
    pub const THIS: Self = Self { oldest: OLDEST, newest: NEWEST };

    /// Whether it reads and writes this one.
    #[must_use]
    pub fn has(self, format: Format) -> bool {
        (self.oldest..=self.newest).contains(&format)
    }
}
