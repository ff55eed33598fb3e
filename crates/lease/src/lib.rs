//! The four rules and the conditions L1 to L12: holder, voter and guard, pure.
//!
//! - [`holder`]: one incarnation's right to act, renewed by acknowledged keepalives (rule 2, L3, L4, L8, L11).
//! - [`voter`]: whom this node acknowledges, and whom it has promised to acknowledge no more (L1, L2, L3, L5, L7, L9).
//! - [`list`]: what must be let go when the lease ends (L12).
//! - [`guard`]: all three together, as the guard process and the simulator run them (L4, L6, L7, L10, L12).

pub mod frame;
pub mod guard;
pub mod holder;
pub mod io;
pub mod list;
pub mod mutants;
pub mod voter;

pub use frame::{Ack, Frame, Keepalive};
pub use guard::Guard;
pub use holder::Holder;
pub use io::{Effect, FromDaemon, Input, ToDaemon};
pub use voter::Voter;
