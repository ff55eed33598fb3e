//! Small sealed messages over UDP: keepalives, acknowledgements, and whatever else fits one packet.
//!
//! A datagram is a header of [`HEADER_BYTES`] in the clear, the message sealed with ChaCha20-Poly1305, and a tag
//! of [`TAG_BYTES`]. The tag covers the header too:
//!
//! | bytes | what |
//! |---|---|
//! | 0-1 | `RG` |
//! | 2 | version of the format |
//! | 3 | kind of the message, see [`kind`] |
//! | 4 | network on which it is sent |
//! | 5 | last byte of the number of the cluster's key, see [`KeyRing`](crate::KeyRing) |
//! | 6-7 | zero |
//! | 8-15 | sender |
//! | 16-23 | receiver |
//! | 24-31 | session of the sender |
//! | 32-39 | number within the session, from 1 |
//! | 40-47 | session of the receiver for which it is meant, 0 if the sender has not heard of one |
//!
//! Each sender has a key of its own per session, and no number is used twice in a session: no nonce ever repeats
//! as long as no session number does. When the cluster's key is changed, the session goes on, and so do its numbers: one
//! window judges what was sealed under either key. Numbers are little-endian.
//!
//! The same message is sealed once per network and receiver, each time with a new number, so that the receiver
//! sees on which networks a peer is heard. A second copy of one datagram is [`Reject::Replayed`].
//!
//! What was recorded in one life of the receiver says nothing in its next one: a datagram counts only if it names
//! the session that the receiver has now, which its sender can have learnt only from the receiver itself, in that
//! very life. One that names another is [`Reject::OtherLife`]; all that is taken from it is its sender's session, so
//! that two nodes that have just begun find each other by their second datagrams.

mod counts;
mod header;
mod opener;
mod sealer;
mod window;

pub use counts::{Counts, Reject};
pub use opener::{Opened, Opener, SENDERS_MAX};
pub use sealer::{Receiver, SealError, Sealer};
pub use window::WINDOW;

/// The version of the datagram format that [`Sealer`] writes.
pub const VERSION: u8 = 2;
/// The oldest version that [`Opener`] reads. Version 1 did not name the receiver's session.
pub const VERSION_MIN: u8 = 2;
/// The bytes before the message.
pub const HEADER_BYTES: usize = 48;
/// The bytes after the message.
pub const TAG_BYTES: usize = 16;
/// The largest datagram: below the smallest common MTU together with IPv6 and UDP headers, so that none is ever
/// broken into fragments.
pub const DATAGRAM_MAX: usize = 1400;
/// The largest message in a datagram.
pub const MESSAGE_MAX: usize = DATAGRAM_MAX - HEADER_BYTES - TAG_BYTES;
/// Networks are numbered from 0 up to, not including, this.
pub const NETWORKS_MAX: usize = 8;

/// Kinds of messages, so that one socket can carry several and a later version can add to them.
pub mod kind {
    /// A frame of the lease protocol between guards.
    pub const LEASE: u8 = 1;
    /// A message between engines.
    pub const ENGINE: u8 = 2;
    /// A question or answer of a machine that looks for its cluster.
    pub const DISCOVERY: u8 = 3;
}
