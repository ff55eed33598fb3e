//! Who goes on of two nodes without a third vote, pure: conditions A1 to A18 of `docs/arbiter.md`.
//!
//! A disk executes nothing and a fence device holds no log: neither can vote. Instead an *arbiter* names, once for
//! each *generation*, the one node that is the sole voter of it.
//!
//! - [`area`]: where what lies in the shared area, and whose it is.
//! - [`record`]: what a node writes to a block of the shared area, and what a block shows.
//! - [`slot`]: the blocks that belong to one node, and the newest record in them.
//! - [`contest`]: the register: two nodes, one value for each generation, whatever crashes, comes late or is torn.
//! - [`noted`]: the generation that a node has noted, and when two have gone on without each other.
//! - [`standing`]: when a node may ask for the next generation, and what it does when it is decided.

pub mod area;
pub mod contest;
pub mod mutants;
pub mod noted;
pub mod record;
pub mod slot;
pub mod standing;

pub use area::{Beginning, Header};
pub use contest::{Contest, Effect, Input, Outcome};
pub use noted::Noted;
pub use record::{AreaId, Ballot, Look, Record};
pub use slot::Slot;
pub use standing::{Generation, Standing};
