//! Watching the nodes from outside and without their help: who carries an address, and who answers for it.

mod answered;
mod carried;

pub use answered::{ArpWatch, Round, answered_by_two};
pub use carried::{Double, Holding, Observer, doubles};
