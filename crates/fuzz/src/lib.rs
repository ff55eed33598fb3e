//! Everything that reads what somebody else wrote, one target each: whatever the bytes, it ends with a value or with an
//! error, and what it gives is whole.
//!
//! `cargo xtask fuzz` looks for inputs that do otherwise; the plain tests run every input that was worth keeping
//! (`corpus`), the starters of each target, and what becomes of both by cutting and garbling them.

mod area;
mod asked;
mod configuration;
mod engine;
mod fence_agent;
mod frames;
mod replicated;
mod state_file;
mod world;

/// One reader.
pub struct Target {
    /// Its name, and that of its folder in `corpus`.
    pub name: &'static str,
    /// Reads the bytes. Panics when the reader breaks a promise.
    pub run: fn(&[u8]),
    /// Well-formed inputs to begin with.
    pub starters: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 16] = [
    Target { name: "configuration", run: configuration::run, starters: configuration::starters },
    Target { name: "datagram", run: frames::datagram, starters: frames::datagrams },
    Target { name: "handshake", run: frames::handshake, starters: frames::handshakes },
    Target { name: "channel", run: frames::channel, starters: frames::channels },
    Target { name: "guard_line", run: frames::guard_line, starters: frames::guard_lines },
    Target { name: "entry", run: replicated::entry, starters: replicated::entries },
    Target { name: "snapshot", run: replicated::snapshot, starters: replicated::snapshots },
    Target { name: "engine", run: engine::run, starters: engine::starters },
    Target { name: "state_file", run: state_file::run, starters: state_file::starters },
    Target { name: "area", run: area::run, starters: area::starters },
    Target { name: "request", run: asked::request, starters: asked::requests },
    Target { name: "answer", run: asked::answer, starters: asked::answers },
    Target { name: "token", run: asked::token, starters: asked::tokens },
    Target { name: "keys", run: asked::keys, starters: asked::rings },
    Target { name: "fence_metadata", run: fence_agent::run, starters: fence_agent::starters },
    Target { name: "drill_plan", run: asked::plan, starters: asked::plans },
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    static ALL: [Target; TARGETS.len()] = TARGETS;
    ALL.iter().find(|target| target.name == name)
}
