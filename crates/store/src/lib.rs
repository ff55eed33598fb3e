//! The durable state of a node: log, hard state, promises and snapshot, in one file that survives a crash at
//! any point, and that is refused when it is damaged.
//!
//! # The file
//!
//! `state-<generation>.log` is a row of sectors of 512 bytes. The first one is the header (which cluster, which
//! node, which generation), then come *batches*: what one [`Store::append`] wrote, each beginning on a sector of
//! its own, so that a write never touches a sector that was acknowledged before. Each sector carries the number
//! of its batch, its place in it, a checksum that is bound to the header, and a last byte that is never zero.
//! Behind the last batch the file is prepared with zeros that are durable before a batch is written over them.
//!
//! From that follows what a reader may conclude, and no more:
//!
//! - A sector that was never completely written ends in a zero. Only the last batch can hold such sectors, and
//!   only if it was never acknowledged: it is dropped as a whole (a *torn tail*).
//! - A sector that ends in anything else but does not fit its checksum was damaged after it was written.
//! - Any part of a later batch behind an incomplete one, a file shorter than what was prepared for its contents,
//!   an incomplete first batch (it is durable before the file gets its name): damage as well.
//!
//! With damage nothing is opened ([`StoreError::Corrupt`]): a voter that forgot what it promised is worse than
//! one that is missing.
//!
//! # What a crash leaves
//!
//! After a torn tail, and at every compaction, a new generation is written under another name, made durable,
//! renamed, and the folder made durable; only then is the old one removed. After a clean end the contents are
//! written once more in their place: what a predecessor could not make durable may still be readable, and must
//! not be believed.
//!
//! All of this runs on a [`Disk`]: [`FsDisk`] is a folder, [`VirtualDisk`] loses and tears what was not synced.

mod blob;
mod disk;
mod error;
mod folder;
mod journal;
mod outline;
mod record;
mod recovery;
mod sector;
mod store;
mod virtual_disk;

pub use disk::Disk;
pub use error::StoreError;
pub use folder::FsDisk;
pub use record::{Entry, HardState, Identity, Record, Snapshot};
pub use recovery::Recovered;
pub use store::{Store, Usage};
pub use virtual_disk::{Activity, Operation, VirtualDisk};
