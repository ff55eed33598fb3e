//! What the `regent` command prints and asks, apart from its command line.

pub mod verify;
