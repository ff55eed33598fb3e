//! The simulator's command: many seeds on both cores, or one seed with its whole trace.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    match regent_sim::command::main(std::env::args().skip(1).collect(), &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(out, "{error}");
            ExitCode::from(2)
        }
    }
}
