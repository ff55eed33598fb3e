//! The lab's own commands: what its processes start one another as.

use std::ffi::OsString;
use std::io::{Write, stderr, stdin, stdout};
use std::path::Path;

use crate::error::{Doing, LabError, Result};

/// Answers the lab's own commands: `init`, `fabric FOLDER [--leashed]`, `fence-agent [san]`, `reset-line`,
/// `ledger serve --listen ADDRESS:PORT --file PATH` and `ledger list PATH`. `words` are the arguments after those
/// of [`crate::LabSpec::words`]. Gives the exit code, or `None` if the words are none of these commands. What goes wrong is written to standard error.
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
        (&"fence-agent", ["san"]) => {
            return Some(crate::fence::storage_agent(
                stdin().lock(),
                &mut stdout().lock(),
                &mut stderr().lock(),
            ));
        }
        (&"ledger", ["serve", rest @ ..]) => serve(rest),
        (&"ledger", ["list", file]) => list(Path::new(file)),
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

/// `ledger serve`: stays in the foreground. Node and epoch come from `REGENT_NODE` and `REGENT_EPOCH`.
fn serve(words: &[&str]) -> Result<()> {
    let value = |name: &str| words.windows(2).find(|w| w[0] == name).map(|w| w[1]);
    let usage = || LabError::new("usage: ledger serve --listen ADDRESS:PORT --file PATH");
    let address = value("--listen").ok_or_else(usage)?;
    let file = value("--file").ok_or_else(usage)?;
    let address = address.parse().map_err(|_| {
        LabError::new(format!("`{address}` is not an address with a port, as in 10.77.0.100:7007"))
    })?;
    crate::ledger::serve_ledger(Path::new(file), address)
}

/// `ledger list`: every number of a ledger's file, and what is torn, without changing it.
fn list(file: &Path) -> Result<()> {
    let found = crate::ledger::read_file(file)?;
    let mut text: String = found.numbers.iter().map(|n| format!("{n}\n")).collect();
    if found.torn > 0 {
        text += &format!("and {} bytes of a torn record\n", found.torn);
    }
    stdout().write_all(text.as_bytes()).doing(|| "write the numbers".into())
}

fn power_socket() -> std::path::PathBuf {
    std::env::var_os("REGENT_LAB_POWER").map_or_else(|| crate::fence::SOCKET.into(), Into::into)
}
