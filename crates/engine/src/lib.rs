//! One node's brain: what is heard, said, decided and done, as a function of inputs and the time handed in.
//!
//! [`Engine::step`] takes one [`Input`] and gives [`Effects`]: what to make durable, what to send, what to run,
//! what to tell the guard, what to answer. The same engine runs under the daemon and in the simulator.
//!
//! - [`consensus`]: the replicated log, by the library.
//! - [`engine`]: the dispatch, and what applying an entry sets in motion.
//! - [`sequencer`]: one group on its owner: steps in order, monitors, restarts, release.
//! - [`leading`]: what only the leader does.
//! - [`vote`]: promises, from the guard to the log.
//! - [`life`]: this node's own life: registering, adopting, stopping.
//! - [`requests`]: what the command line asks.
//! - [`events`]: cluster events, one after the other, with the commands around them.
//! - [`connections`]: who is connected to the service addresses, told to the peers and made to notice a takeover.
//! - [`chronicle`]: the event journal of all nodes.
//! - [`complaints`]: the groups that ought to run and cannot, said once.

mod adapters;
mod answers;
mod applied;
mod arbiter;
mod bounds;
mod by_hand;
mod chronicle;
mod complaints;
mod concurrent;
mod config_lock;
mod connections;
pub mod consensus;
mod early;
pub mod engine;
mod environment;
mod events;
mod facts;
mod fence_record;
mod fencing;
pub mod format;
mod generation;
pub mod io;
mod joining;
mod keys;
mod leading;
mod leaving;
mod life;
mod measured;
mod memory;
mod peers;
mod portal;
mod proposals;
mod reboot;
mod registering;
mod registry;
mod requests;
mod sequencer;
mod simulate;
mod since;
mod timeline;
mod vote;
mod watchdog;
mod watching;
mod words;

pub use engine::Engine;
pub use io::{Effects, Identity, Input, PeerMessage, Restored};
pub use memory::memory_mark;
