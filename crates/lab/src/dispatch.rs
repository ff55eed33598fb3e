//! The lab's own commands: what its processes start one another as.

use std::ffi::OsString;
use std::io::{Write, stderr, stdin, stdout};
use std::path::Path;

use crate::error::Result;

/// Answers the lab's own commands: `init`, `fabric FOLDER [--leashed]`, `fence-agent`, `reset-line` and
/// `ledger ...`. `words` are the arguments after those of [`crate::LabSpec::words`]. Gives the exit code, or `None` if
/// the words are none of these commands. What goes wrong is written to standard error.
pub fn dispatch(words: &[OsString]) -> Option<u8> {
    let text: Vec<&str> = words.iter().map(|w| w.to_str().unwrap_or_default()).collect();
    let result = match text.split_first()? {
        (&"init", []) => crate::init::run(),
        (&"fabric", [folder, rest @ ..]) => crate::fabric::serve(Path::new(folder), rest == ["--leashed"]),
        (&"fence-agent", []) => {
            return Some(crate::fence::fence_agent(
                stdin().lock(),
                &mut stdout().lock(),
                &mut stderr().lock(),
            ));
        }
        (&"reset-line", []) => crate::fence::reset_self(&power_socket()),
        _ => return None,
    };
    Some(finish(result))
}

fn finish(result: Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            let _nobody_reads_it = writeln!(stderr(), "{error}");
            1
        }
    }
}

fn power_socket() -> std::path::PathBuf {
    std::env::var_os("REGENT_LAB_POWER").map_or_else(|| crate::fence::SOCKET.into(), Into::into)
}
