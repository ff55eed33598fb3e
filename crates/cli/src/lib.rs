//! The `regent` command: its words, what it asks of the daemon, and what it prints.

pub mod access;
pub mod apply;
pub mod arbiter;
pub mod args;
pub mod args_access;
pub mod args_arbiter;
pub mod args_cluadmin;
pub mod args_events;
pub mod args_fence;
pub mod args_group;
pub mod args_instance;
pub mod args_lab;
pub mod client;
pub mod cluadmin;
pub mod clustat;
pub mod cluster_events;
mod consent;
pub mod diff;
pub mod drill;
pub mod edit;
pub mod environment;
pub mod events;
pub mod evidence;
pub mod fence;
pub mod follow;
pub mod instance;
pub mod key;
pub mod lab;
pub mod local;
pub mod look;
pub mod manual;
pub mod nodes;
pub mod orders;
pub mod paint;
pub mod personality;
pub mod reach;
pub mod run;
pub mod screen;
pub mod settle;
pub mod simulate;
pub mod status;
pub mod trouble;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;
