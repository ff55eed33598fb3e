//! The hands of a node: service addresses, file systems, applications and fence devices on Linux.
//!
//! They know nothing of the cluster. There are two halves:
//!
//! - [`acts`]: the system calls that make a node act for a group and those that let go. The guard makes them.
//! - [`Hands`]: the agent of the daemon, which probes, acquires, releases and monitors resources, runs
//!   scripts and fence devices, and asks the guard through a [`Gate`] for everything that needs a lease.
//!
//! Nothing here is asynchronous. Each piece of work has a thread of its own and a deadline by which it is
//! answered, also when a disk hangs and the thread with it.

pub mod accounts;
pub mod acts;

mod adapters;
mod address;
pub mod address_lease;
mod announce;
mod announcer;
mod application;
pub mod arbiter;
pub mod bind_here;
mod bpf;
mod cgroup;
mod clock;
mod command;
mod connections;
mod device;
mod environment;
mod event;
pub mod evidence;
mod fence;
pub mod figures;
mod filesystem;
mod hands;
mod holders;
mod hostname;
mod inspection;
mod instance;
mod job;
mod mountinfo;
mod netlink;
mod output;
mod place;
pub mod prepare;
pub mod presence;
mod process;
mod registry;
mod report;
mod samba;
mod slot;
mod subnet;
pub mod survey;
mod sync;
mod sys;
mod user;
mod volume;

pub use environment::complete as complete_environment;
pub use hands::{Hands, HandsConfig};
pub use inspection::Inspector;
pub use instance::of_instance as instance_environment;
pub use report::{Gate, Report, Step};
