//! The Caché guide, whole, on GT.M: services typed in `cluadmin`, instances typed in `ccontrol`, init scripts, two data
//! servers that use each other's data, and the guide's test procedure.
//!
//! The files under `examples/cache` are what is tested.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where something is not as it must be"
)]

#[allow(dead_code, reason = "shared with the tests of the lab, which use more of it")]
#[path = "../lab/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "shared with the tests of the lab, which use more of it")]
#[path = "../lab/machine.rs"]
mod machine;

mod active_active;
mod examples;
mod far;
mod held;
mod hot_standby;
mod init_script;
mod portal;
mod terminal;
mod typed;
mod writers;
