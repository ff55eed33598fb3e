//! The four configurations of the HACMP guide for DCE and DFS, on today's services: MIT Kerberos for the security
//! service, slapd for the directory, rpcbind and Samba's endpoint mapper, chrony for the time service, and OpenAFS.
//!
//! The files under `examples/hacmp` are what is tested: applied as they stand, in the lab, with clients that go on
//! working and remember everything that was acknowledged.

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

mod by_events;
mod cell;
mod clients;
mod examples;
mod hot_standby;
mod journal;
mod mutual;
mod one_sided;
mod replicas;
mod rotating;
mod stops;
mod system_control;
