//! The guard: the small real-time process of a node that keeps its lease alive and lets go in time.
//!
//! What it decides is `regent-lease`'s [`Guard`](regent_lease::Guard); this crate is its body: sockets, clock,
//! threads, and the files that outlive the process. One thread ([`keeper`]) waits for datagrams, the daemon and
//! the clock, and never for anything else; whatever may take long (mounting, killing, the disk) is done by
//! threads that report back.
//!
//! - [`envelope`]: what daemon and guard say to each other.
//! - [`paths`], [`identity`], [`durable`]: where a node keeps things, who it is, and writing so that it stays.
//! - [`held`]: what a guard leaves to the next one of the same boot.
//! - [`reset`]: the last resort.
//! - `watchdog`: the device that resets the machine where none of this runs any more.
//! - [`release`]: which release this program is; the daemon is of the same, or of the next or the one before.
//! - [`clock`], [`realtime`], [`lock`], [`log`]: time, priority, one of each process, and a log that never blocks; the
//!   daemon uses them too.

pub mod clock;
pub mod durable;
pub mod envelope;
pub mod held;
pub mod identity;
pub mod lock;
pub mod log;
pub mod paths;
pub mod realtime;
pub mod release;
pub mod reset;
pub mod rule_off;
pub mod run;

mod address_leases;
mod daemon_line;
mod keeper;
mod ladder;
mod networks;
mod sys;
mod watchdog;
mod workers;

pub use envelope::{AddressLeases, FromGuard, Health, ToGuard, WatchdogState};
pub use identity::NodeIdentity;
pub use paths::Paths;
