//! A node without the command line: what the tests run in the machines that they make.
//!
//! `node run` supervises, `node daemon` and `node guard` are the processes that it starts.

use std::ffi::OsString;
use std::process::ExitCode;

use regent_node::{Launch, Paths};

fn main() -> ExitCode {
    let paths = Paths::from_environment();
    match std::env::args().nth(1).as_deref() {
        Some("run") => {
            let Ok(own) = std::env::current_exe().map(OsString::from) else { return ExitCode::FAILURE };
            let words = |word: &str| vec![own.clone(), word.into()];
            let launch = Launch { supervisor: words("run"), daemon: words("daemon"), guard: words("guard") };
            if regent_node::supervise(&paths, &launch).is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Some("daemon") => ExitCode::from(regent_node::daemon(&paths)),
        Some("guard") => {
            regent_guard::log::install("guard");
            let done = regent_guard::run::run(&paths);
            if let Err(why) = &done {
                tracing::error!("{why}");
            }
            regent_guard::log::flush(std::time::Duration::from_secs(1));
            if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(regent_guard::run::REFUSED) }
        }
        _ => ExitCode::FAILURE,
    }
}
