//! The hands on a real kernel: namespaces, control groups, loop devices and scripts. They need root.

// The helpers of tests may fail loudly like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod acts;
mod adapters;
mod address;
mod address_lease;
mod adoption;
mod application;
mod arbiter;
mod bind_here;
mod connections;
mod disk;
mod environment;
mod event;
mod evidence;
mod fence;
mod filesystem;
mod gtm;
mod hostname;
mod inspection;
mod instance;
mod main_process;
mod monitors;
mod nested;
mod process;
mod releasing;
mod samba;
mod script;
mod stale;
mod support;
mod sys;
mod versions;
mod volume;
