//! Torture: the real daemons in the lab, under load and random faults, judged by oracles.
//!
//! `regent-torture --minutes N --nodes 2..5 [--seed S]` draws rounds of faults by a seed and plays them; after each
//! round everything is lifted, all has to be well again within a bound, and the oracles look at what was seen. What
//! was drawn is a *plan*, a text that `--replay FILE` plays again.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to the person who runs it")]

mod clients;
mod evidence;
mod fault;
mod generate;
mod hands;
mod loads;
mod operator;
mod options;
mod oracle;
mod outages;
mod peace;
mod plan;
mod random;
mod report;
mod run;
mod sabotage;
mod site;
mod stage;
mod watch;

use std::process::ExitCode;

/// The result of everything here that can fail: what happened, in words.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The exit code when an oracle saw a violation.
const VIOLATED: u8 = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match options::Options::read(&words).and_then(|options| run::run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED),
        Err(why) => {
            eprintln!("regent-torture: {why}");
            ExitCode::FAILURE
        }
    }
}
