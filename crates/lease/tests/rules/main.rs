//! The rules and conditions one by one, each test named after the one that it is about.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the failure")]

mod bench;
mod guard;
mod guard_ending;
mod guard_watchdog;
mod holder;
mod voter;
mod voter_promises;
