//! What should run where, why, and why not elsewhere. One pure function serves the deciding and the explaining.
//!
//! - [`place`](mod@place): where a group belongs, by its policy, with a verdict on every node of its list.
//! - [`verdict`](mod@verdict): each node of that list.
//! - [`decide`](mod@decide): the entries that the leader should propose next.
//! - [`foresee`](mod@foresee): what would come of a situation, by the same deciding.

pub mod decide;
mod failback;
mod figures;
pub mod foresee;
mod needed;
mod network;
pub mod place;
mod reboot;
mod relations;
pub mod verdict;
pub mod view;

pub use decide::decide;
pub use foresee::foresee;
pub use place::{Intent, Placement, place};
pub use relations::warnings;
pub use verdict::{Verdict, Why};
pub use view::View;
