//! What must hold of the durable state: nothing acknowledged is lost, nothing is invented, damage is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod crashes;
mod damage;
mod expected;
mod folder;
mod rules;
