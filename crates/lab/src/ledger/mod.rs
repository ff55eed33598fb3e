//! A small durable service: a ledger that takes numbers, one at a time, and says so only when they are safe.
//!
//! It is what the demonstration and the tests protect. Over TCP, one line each way: `PUT n` answers `OK n NODE` once
//! the record is on the disk, `COUNT` answers `COUNT k LAST`, `LIST` answers every number and then `END`. Over UDP on
//! the same port, every datagram is answered with `NODE EPOCH` and what it said.

mod audit;
mod client;
mod server;
mod store;

pub use audit::{Audit, audit};
pub use client::{Acknowledged, LedgerWriter, read_ledger};
pub use server::{Server, serve_ledger};
pub use store::{Recovered, read_file};

/// The port the ledger has in examples and in the demonstration.
pub const LEDGER_PORT: u16 = 7007;
