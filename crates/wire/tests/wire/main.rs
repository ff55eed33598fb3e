//! What every reader and writer of this crate must hold, with hostile bytes and on real sockets.

mod channel;
mod codec;
mod datagram;
mod ipc;
mod link;
mod sys;
mod text;
