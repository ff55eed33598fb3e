//! What nodes store and say to each other must not change by accident: another release would read it as nonsense.
//!
//! Two things are recorded beside this file: the shape of every type that takes part (`shape-1.txt`), and the bytes of
//! a state and of entries (`bytes-1.txt`). When one of the tests fails, a type has changed. As long as no release
//! has this format, it is recorded anew, and the difference is looked at:
//!
//! ```text
//! REGENT_RECORD=1 cargo test -p regent-engine --test format
//! ```
//!
//! When a release has it, the change needs a new format: `docs/upgrade.md` says how.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod sample;
mod shape;

use std::path::PathBuf;

use regent_engine::PeerMessage;
use regent_engine::format::{read, write};
use regent_lease::frame::Frame;
use regent_model::format::Speaks;
use regent_model::state::{Proposal, State};

/// The format that is recorded here.
const FORMAT: u8 = 1;

const WHAT_NOW: &str = "what nodes store or say to each other has changed. If no release has this format yet, record \
                        it anew and look at the difference:\n  REGENT_RECORD=1 cargo test -p regent-engine --test format\n\
                        If one has it, this needs a new format: see docs/upgrade.md";

fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/format").join(name)
}

/// The text that is recorded under this name; `is` is recorded now, if that is wanted.
fn recorded(name: &str, is: &str) -> String {
    if std::env::var_os("REGENT_RECORD").is_some() {
        std::fs::write(place(name), is).unwrap();
    }
    std::fs::read_to_string(place(name)).unwrap_or_default()
}

#[test]
fn every_type_that_is_stored_or_sent_has_the_shape_that_is_recorded() {
    let mut shapes = shape::Shapes::default();
    shapes.follow::<State>();
    shapes.follow::<Proposal>();
    shapes.follow::<PeerMessage>();
    shapes.follow::<Frame>();
    let is = shapes.text();
    assert!(is.contains("enum Command\n   0 Present\n") && is.contains("\nGroupConfig\n"), "{is}");
    let was = recorded("shape-1.txt", &is);
    let new: Vec<&str> = is.lines().filter(|line| !was.lines().any(|l| l == *line)).collect();
    let gone: Vec<&str> = was.lines().filter(|line| !is.lines().any(|l| l == *line)).collect();
    assert!(
        is == was,
        "{WHAT_NOW}\nnew lines:\n{}\nlines that are gone:\n{}",
        new.join("\n"),
        gone.join("\n")
    );
}

fn bytes_are_those_that_are_recorded() {
    let mut is = String::new();
    for (name, bytes) in sample::all(FORMAT) {
        is.push_str(&format!("{name}\n"));
        for line in bytes.chunks(48) {
            let hex: String = line.iter().map(|b| format!("{b:02x}")).collect();
            is.push_str(&format!("  {hex}\n"));
        }
    }
    assert!(is == recorded("bytes-1.txt", &is), "{WHAT_NOW}");
}

#[test]
fn the_bytes_of_a_state_and_of_entries_are_those_that_are_recorded_and_are_read() {
    bytes_are_those_that_are_recorded();
    let text = std::fs::read_to_string(place("bytes-1.txt")).unwrap();
    let parts = sample::parse(&text);
    assert!(parts.len() > 3, "nothing is recorded");
    for (name, bytes) in parts {
        let again = match name.split(' ').next().unwrap() {
            "state" => write(FORMAT, &read::<State>(&bytes, Speaks::THIS).unwrap()),
            "entry" => write(FORMAT, &read::<Proposal>(&bytes, Speaks::THIS).unwrap()),
            "frame" => write(FORMAT, &read::<Frame>(&bytes, Speaks::THIS).unwrap()),
            other => panic!("nobody reads {other}"),
        };
        assert!(again == bytes, "{name}: {WHAT_NOW}");
    }
}
