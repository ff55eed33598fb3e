//! The words of `cluadmin` and `clustat`.

use clap::{ArgAction, Args};

/// How the shell is called.
#[derive(Debug, Clone, Default, Args)]
pub struct CluadminArgs {
    /// Say more: every order to the cluster with its answer, and every step with what was seen
    #[arg(short, long)]
    pub debug: bool,
    /// Only see whether the cluster answers, and end
    #[arg(short = 'n', long = "nointeractive")]
    pub nointeractive: bool,
    /// Take the lock of the configuration over from whoever has it, without asking
    #[arg(long)]
    pub take_lock: bool,
    /// Refused: there is no Tcl interpreter behind this shell
    #[arg(short, long)]
    pub tcl: bool,
    /// The same as -h
    #[arg(short = '?', action = ArgAction::HelpShort, hide = true)]
    pub question: Option<bool>,
    /// One command; without it, the shell asks
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub words: Vec<String>,
}

/// What to show of the status, and how often.
#[derive(Debug, Clone, Args)]
pub struct ClustatArgs {
    /// Show it again and again, every so many seconds
    #[arg(short, long, value_name = "SECONDS", conflicts_with = "quiet", value_parser = clap::value_parser!(u32).range(1..))]
    pub interval: Option<u32>,
    /// Only this service; the exit code is 1 unless it runs
    #[arg(short, long, value_name = "NAME")]
    pub service: Option<String>,
    /// Show nothing: the exit code says whether the cluster can decide, or whether the service runs
    #[arg(short = 'Q', long)]
    pub quiet: bool,
}
