//! The words about what decides between two nodes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::args::duration;

/// What is done with the arbiter.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Two nodes without a third vote stop at the loss of one: neither can know whether the other is dead.
A witness on any third machine is the best answer (regent witness). Where there is none, a small area of a disk
that both nodes share decides who goes on; where they share none, the fence devices can: docs/arbiter.md
Examples:
  regent arbiter init /dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1
  regent arbiter fence
  regent arbiter status"
)]
pub struct ArbiterArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ArbiterCommand,
}

/// What can be done with the arbiter.
#[derive(Debug, Clone, Subcommand)]
pub enum ArbiterCommand {
    /// Make an area of a disk that both nodes share, and let it decide
    #[command(
        after_help = "The disk needs 5 MiB; a partition of 16 MiB of its own is plenty. Both nodes must be up. That
it is one disk is tried out: a mark that this node writes has to be found by the other, and is taken back. A disk that
is not blank is refused without --force, and one that is in use with it, too. Then [arbiter] is put into the
configuration in force; where there is one already, the new area takes its place.
Examples:
  regent arbiter init /dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1
  regent arbiter init /dev/mapper/arbiter --yes"
    )]
    Init {
        /// The block device, by a name that is the same on both nodes
        disk: PathBuf,
        /// Whatever is on it may be lost
        #[arg(long)]
        force: bool,
        /// Do not ask again
        #[arg(long)]
        yes: bool,
        /// How long the cluster may take to settle
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
        wait: Duration,
    },
    /// Let the fence devices decide: who has turned the other node off goes on
    #[command(
        after_help = "For two nodes that share no disk. Each needs a [[fence]] that cuts its power. Then [arbiter] is put
into the configuration in force; where there is one already, this takes its place.
Examples:
  regent arbiter fence
  regent arbiter fence --delay 5s --yes"
    )]
    Fence {
        /// How much longer the node with fewer groups waits before it turns the other one off (2s)
        #[arg(long, value_name = "TIME", value_parser = duration)]
        delay: Option<Duration>,
        /// Do not ask again
        #[arg(long)]
        yes: bool,
        /// How long the cluster may take to settle
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
        wait: Duration,
    },
    /// Show who decides, whether it could now, and what each node sees of the disk
    #[command(after_help = "Examples:
  regent arbiter status
  regent arbiter status --json
  regent arbiter status --disk /dev/sdb1     any disk: what is on it")]
    Status {
        /// This disk, whatever the configuration names
        #[arg(long)]
        disk: Option<PathBuf>,
    },
    /// Let nobody decide any more: take [arbiter] out of the configuration
    #[command(after_help = "What is on the disk stays there. Example:
  regent arbiter remove")]
    Remove {
        /// Do not ask again
        #[arg(long)]
        yes: bool,
        /// How long the cluster may take to settle
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
        wait: Duration,
    },
}
