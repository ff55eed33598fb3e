//! Takeover times, side by side: Regent, its peers, and the bare system calls, all in the same lab.
//!
//! `regent-bench takeover` measures, `show` prints what was measured before; `hand` and `answer` are what it runs in the lab's machines.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark speaks to the person who runs it")]

mod answer;
mod contestant;
mod faults;
mod figures;
mod floor;
mod hand;
mod idle;
mod interrupt;
mod keepalived;
mod options;
mod pacemaker;
mod regent;
mod report;
mod rows;
mod saved;
mod script;
mod service;
mod stand;
mod steps;
mod sys;
mod tables;
mod takeover;
mod watch;
mod weight;

use std::process::ExitCode;

/// The result of everything here that can fail: what happened, in words.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["takeover", rest @ ..] => options::Options::read(rest).and_then(|o| takeover::run(&o)),
        ["show", files @ ..] if !files.is_empty() => saved::show(files),
        ["answer", address] => answer::serve(address),
        ["hand"] => hand::work(),
        _ => Err(options::HELP.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("regent-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
