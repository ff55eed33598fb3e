//! Frames, sealing, replay windows and version skew: everything that Regent's processes say to each other.
//!
//! - [`key`]: the cluster's one key, and what is derived from it.
//! - [`keys`]: the keys of a cluster on one machine: one, and two while it is changed.
//! - [`handover`]: how a member is given the newest key.
//! - [`invite`]: the secrets by which a machine becomes a member.
//! - [`text`]: secrets and tokens as text that survives being copied by hand.
//! - [`codec`]: values to bytes and back, bounded.
//! - [`datagram`]: small sealed messages over UDP, with a replay window per sender and network.
//! - [`channel`]: the reliable channel between two nodes: handshake, sealed frames, blocking links.
//! - [`ipc`]: framing between the daemon and its guard on one machine.

pub mod channel;
pub mod codec;
pub mod datagram;
pub mod handover;
pub mod invite;
pub mod ipc;
pub mod key;
pub mod keys;

pub mod text;

pub use key::{ClusterKey, Purpose};
pub use keys::KeyRing;
