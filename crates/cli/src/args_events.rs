//! The command line of `regent events`.

use std::time::Duration;

use clap::Args;

use crate::args::duration;

/// Which events.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// Stay, and show what happens
    #[arg(long, short)]
    pub follow: bool,
    /// Only bursts in which this group took part, without what is about other groups
    #[arg(long, short, value_name = "GROUP")]
    pub group: Option<String>,
    /// Not older than this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<Duration>,
    /// At most this many, the newest
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub last: usize,
    /// The cluster events: what was acquired, released and failed in each, in how many milliseconds
    #[arg(long, conflicts_with = "follow")]
    pub summary: bool,
    /// Who ordered what on which node, and what came of it: also what was refused
    #[arg(long, conflicts_with_all = ["summary", "group"])]
    pub audit: bool,
    /// With the parts of cluster events, and the evidence of every step, not only of warnings and errors
    #[arg(long, short)]
    pub verbose: bool,
}
