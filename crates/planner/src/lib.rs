//! What should run where, why, and why not elsewhere. One pure function serves the deciding and the explaining.
//!
//! - [`place`](mod@place): where a group belongs, by its policy, with a verdict on every node of its list.
//! - [`decide`](mod@decide): the entries that the leader should propose next.

pub mod decide;
pub mod place;
mod reboot;
pub mod view;

pub use decide::decide;
pub use place::{Intent, Placement, Verdict, Why, place};
pub use view::View;
