//! Whole clusters in the lab: the real daemons, real addresses, mounts and services, and a client that goes on.
//!
//! They run one after the other (`cargo test -p regent-cli --test lab -- --test-threads 1`), as root, and leave
//! nothing behind, also when they fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where something is not as it must be"
)]

mod access;
mod adapters;
mod applications;
mod arbiter;
mod arbiter_fence;
mod bad_input;
mod bad_state;
mod cluster;
mod connections;
mod disturbances;
mod drill;
mod events;
mod everyday;
mod evidence;
mod fence;
mod frozen;
mod hot_standby;
mod instances;
mod ipmi;
mod key;
mod machine;
mod partitions;
mod policies;
mod postgresql;
mod reboot;
mod registry;
mod removal;
mod services;
mod setting_up;
mod shares;
mod stopping;
mod storage_fence;
mod upgrade;
mod vendor;
