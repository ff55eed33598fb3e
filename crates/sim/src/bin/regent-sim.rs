//! The simulator's command: many seeds on both cores, or one seed with its whole trace.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let mut stderr = std::io::stderr();
    let progress = stderr.is_terminal().then_some(&mut stderr as &mut dyn Write);
    match regent_sim::command::main(std::env::args().skip(1).collect(), &mut out, progress) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(out, "{error}");
            ExitCode::from(2)
        }
    }
}
