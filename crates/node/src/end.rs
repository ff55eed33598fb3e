//! Why a daemon ends, and what its exit code tells its supervisor.

use regent_engine::io::Leave;

/// The node left as it was told to.
pub const LEFT: u8 = 0;
/// The daemon refuses to run: starting it again will not help.
pub const REFUSED: u8 = 3;
/// The guard is gone or was never there: start both.
pub const GUARD_GONE: u8 = 4;
/// Somebody wants another process of the daemon, as after an upgrade: start it again.
pub const AGAIN: u8 = 10;

/// Why a daemon ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The engine wants to.
    Leave(Leave),
    /// The line to the guard ended.
    GuardGone(String),
    /// Guard and daemon have no language in common.
    GuardForeign(String),
    /// The state takes nothing more.
    StoreFailed(String),
    /// What the others have agreed on cannot be read.
    Unreadable(String),
    /// An older copy of its state was put in place: it is no voter any more.
    Forgotten(String),
    /// It was removed from the cluster.
    Removed(String),
    /// A signal came.
    Signal,
}
