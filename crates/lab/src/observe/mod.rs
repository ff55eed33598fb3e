//! Watching the nodes from outside and without their help: who carries an address, and who answers for it.

mod answered;
mod carried;
mod question;

pub use answered::{AddressWatch, Round, answered_by_two};
pub use carried::{Double, Holding, Observer, doubles};
