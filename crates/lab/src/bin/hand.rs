//! The lab's own commands as an executable of their own, for tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    regent_lab::dispatch(&words).map_or(ExitCode::from(64), ExitCode::from)
}
