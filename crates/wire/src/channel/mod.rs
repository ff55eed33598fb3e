//! The reliable channel between two nodes: who is there, and that nobody else reads or changes what is said.
//!
//! Three messages open it, all of fixed size, the same in every version of Regent:
//!
//! 1. *hello*: who calls whom, the versions it speaks, an ephemeral X25519 key, and a tag by the cluster key;
//! 2. *reply*: the same from the other side with the version chosen, and a tag under the new shared secret; or a
//!    refusal, which names its reason in the clear because there may be no key to seal it with;
//! 3. *confirmation*: the caller's tag under the shared secret. Without it nothing that was received counts: a
//!    recorded hello can be replayed, a confirmation cannot.
//!
//! The secret is derived from both ephemeral keys, the cluster key and all that was said, so that a downgrade or
//! a swapped name makes the tags not fit. After that, each direction has a key of its own and frames are numbered: one
//! that is lost, repeated, reordered or changed ends the channel. What was said stays secret when the cluster
//! key becomes known later.
//!
//! [`Handshake`] and [`Session`] work on bytes alone; [`Link`] puts them on a blocking stream.

mod error;
mod handshake;
mod hello;
mod link;
mod session;

pub use error::{ChannelError, Refusal};
pub use handshake::{Handshake, Initiator, Rejected, Responder, Stranger};
pub use hello::{CONFIRMATION_BYTES, HELLO_BYTES, REPLY_BYTES};
pub use link::{Link, LinkReader, LinkWriter, Stream};
pub use session::{Opening, Sealing, Session};

/// The newest version of the channel's contents that this program speaks: they have the number of the format in which
/// nodes agree on things, see [`regent_model::format`].
pub const VERSION_MAX: u8 = regent_model::format::NEWEST;
/// The oldest version of the channel's contents that this program speaks.
pub const VERSION_MIN: u8 = regent_model::format::OLDEST;
/// The largest message in one frame.
pub const MESSAGE_MAX: usize = 4 << 20;
