//! The guard's process. It has no options: the environment says where things are.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use regent_guard::{Paths, log, release, run};

fn main() -> ExitCode {
    log::install("regent-guard");
    let paths = Paths::from_environment();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.first().map(String::as_str) {
        None => run::run(&paths).inspect_err(|why| run::note_refusal(&paths, why)),
        Some("--judge-the-dead") => run::judge_the_dead(&paths),
        Some("--version") => {
            let _nobody_reads_it = writeln!(std::io::stdout(), "regent-guard {}", release::version());
            return ExitCode::SUCCESS;
        }
        Some(other) => Err(format!(
            "regent-guard knows no {other:?}: it is started by regent node run, or by its systemd unit"
        )),
    };
    if let Err(why) = &done {
        tracing::error!("{why}");
    }
    log::flush(Duration::from_secs(1));
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(run::REFUSED) }
}
