//! The lab's SAN: one image per shared disk, one port per node, a switch in every port.
//!
//! The array's cache never loses power (it is the host's page cache), so a write is durable once it is
//! acknowledged. What a *node* still has in its own memory when its port is cut is lost, as it should be.

mod journal;
mod keys;
mod port;
mod wire;

pub(crate) use journal::Journal;
pub use journal::{Overlap, SanEvent, SanLog, SanRequest, Writers, two_writers};
pub(crate) use keys::Keys;
pub use port::DiskState;
pub(crate) use port::{Disk, Port};
pub(crate) use wire::serve_port;
