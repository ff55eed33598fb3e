//! The vocabulary of Regent: what a cluster, a node, a group, an epoch and a proof *are*.
//!
//! Nothing here reads a clock, a socket, a file or a random source, and nothing here fails for any reason but
//! bad input. Every other floor of the house speaks in these words.

pub mod action;
pub mod config;
pub mod connection;
pub mod event;
pub mod evidence;
pub mod exclusion;
pub mod fence_agent;
pub mod figure;
pub mod format;
pub mod holding;
pub mod ids;
pub mod instance;
pub mod journal;
pub mod mutants;
pub mod proof;
pub mod state;
pub mod survey;
pub mod time;
pub mod timers;
pub mod watchdog;

pub use ids::{BootId, Epoch, GroupName, Incarnation, IncarnationOf, NodeId, NodeName, ResourceName, Round};
pub use time::Moment;
