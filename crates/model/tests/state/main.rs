//! What the log lets happen: groups that are held, and what stays in force under their owner.

#![allow(clippy::unwrap_used, reason = "what is not as it is written here ends the test")]

mod cluster;
mod disks;
mod hold;
mod in_force;
mod members;
mod word;
