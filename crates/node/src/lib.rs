//! The daemon of a node: clock, sockets, guard, agents, API server. It moves the engine's inputs and effects and
//! decides nothing.
//!
//! - [`daemon`]: the daemon's process; [`supervise`]: the one that brings it back.
//! - [`init`], [`join`], [`launch`]: becoming a member, and starting.
//! - [`founding`], [`install`], [`token`]: what a member's files and a newcomer's token hold.
//!
//! In the daemon, one thread (`heart`) runs the engine and never waits for a disk or a network; storage, journal,
//! links, guard line, agents and API each have threads of their own, and talk to it by messages.

pub mod error;
pub mod founding;
pub mod install;
pub mod token;

mod journal;
mod links;
mod os;
mod sys;

#[cfg(test)]
mod testing;

pub use error::NodeError;
pub use regent_guard::Paths;
