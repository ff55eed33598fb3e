//! What every reader and writer of this crate must hold, with hostile bytes and on real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod channel;
mod codec;
mod datagram;
mod ipc;
mod link;
mod sys;
mod text;
