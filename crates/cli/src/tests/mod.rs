//! What the commands print and do, over values made by hand.

mod apply;
mod ccontrol;
mod cluadmin;
mod clustat;
mod events;
pub(crate) mod instances;
mod lab;
mod order;
mod registering;
pub(crate) mod samples;
mod status;
mod upgrade;
mod words;
