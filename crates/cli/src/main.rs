//! The `regent` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(regent_cli::run::run(std::env::args_os().collect()))
}
