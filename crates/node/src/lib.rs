//! The daemon of a node: clock, sockets, guard, agents, API server. It moves the engine's inputs and effects and
//! decides nothing.
//!
//! - [`daemon`](mod@daemon): the daemon's process; [`supervise`](mod@supervise): the one that brings it back.
//! - [`init`](mod@init), [`join`](mod@join), [`launch`]: becoming a member, and starting.
//! - [`founding`], [`install`], [`token`]: what a member's files and a newcomer's token hold.
//! - [`client`]: asking a daemon. [`process_group`]: what a command by hand has started.
//!
//! In the daemon, one thread (`heart`) runs the engine and never waits for a disk or a network; storage, journal,
//! links, guard line, agents and API each have threads of their own, and talk to it by messages.

pub mod client;
mod clients;
pub mod daemon;
pub mod end;
pub mod error;
pub mod founding;
pub mod init;
pub mod install;
pub mod join;
mod keys;
pub mod launch;
mod machine;
pub mod process_group;
pub mod supervise;
pub mod token;

mod access;
mod api;
mod arbiter;
mod area;
mod copy;
mod desk;
mod equipment;
mod guard_line;
mod heart;
mod inbox;
mod inspection;
mod journal;
mod license;
mod links;
mod lookup;
mod measuring;
mod nightly;
mod open_door;
mod os;
mod portal;
mod reboot;
mod reception;
mod refusals;
mod registry;
mod side;
mod storage;
mod surroundings;
mod sys;
#[cfg(test)]
mod testing;
mod turns;
mod watched;

pub use daemon::daemon;
pub use error::NodeError;
pub use init::{Machine, Membership, init};
pub use join::join;
pub use launch::{Launch, Started, start};
pub use regent_guard::Paths;
pub use regent_guard::release::version;
pub use supervise::supervise;
