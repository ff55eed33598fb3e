//! Which release of Regent this program is, and what it reads and writes.
//!
//! Before there is a next release, the walk of `docs/upgrade.md` is rehearsed with one: a build with debug assertions,
//! which no release is, takes itself for a later release when the file [`AHEAD`] lies beside it. Like a real one it
//! reads the formats of this release and one more, in which everything is written otherwise
//! (`crates/engine/src/format/ahead.rs`). It is one build and not two because a second build of every crate would take
//! longer than all tests of the upgrade.

use std::sync::OnceLock;

use regent_model::format::{Format, Speaks};
use regent_wire::ipc;

/// The file beside the executables that says how many releases ahead of its own a debug build is to be.
pub const AHEAD: &str = "releases-ahead";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The release, as it is shown to people.
#[must_use]
pub fn version() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    match ahead() {
        0 => VERSION,
        ahead => NAME.get_or_init(|| format!("{VERSION}+{ahead}")),
    }
}

/// The formats that its daemon reads and writes.
#[must_use]
pub fn speaks() -> Speaks {
    let (oldest, newest) = range((Speaks::THIS.oldest, Speaks::THIS.newest), ahead());
    Speaks { oldest, newest }
}

/// The versions of what its daemon and its guard say to each other.
#[must_use]
pub fn line_versions() -> (u8, u8) {
    range((ipc::VERSION_MIN, ipc::VERSION_MAX), ahead())
}

/// What a release that is so many ahead speaks: one thing newer for each, and everything of the release before it.
fn range((oldest, newest): (Format, Format), ahead: u8) -> (Format, Format) {
    match ahead {
        0 => (oldest, newest),
        ahead => (newest.saturating_add(ahead - 1), newest.saturating_add(ahead)),
    }
}

#[cfg(debug_assertions)]
fn ahead() -> u8 {
    // Once: the files of a process that runs may be replaced.
    static HERE: OnceLock<u8> = OnceLock::new();
    *HERE.get_or_init(|| {
        let file = std::env::current_exe().map(|own| own.with_file_name(AHEAD));
        let text = file.and_then(std::fs::read_to_string).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    })
}

#[cfg(not(debug_assertions))]
const fn ahead() -> u8 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_after_one_speaks_with_it_and_the_one_after_that_does_not() {
        assert_eq!([0, 1, 2].map(|ahead| range((1, 1), ahead)), [(1, 1), (1, 2), (2, 3)]);
        assert_eq!([0, 1, 2].map(|ahead| range((1, 2), ahead)), [(1, 2), (2, 3), (3, 4)]);
        assert_eq!((version(), speaks()), (VERSION, Speaks::THIS), "nothing lies beside the tests");
    }
}
