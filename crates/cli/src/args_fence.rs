//! The words about fence devices.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::args::duration;

/// What is done with fence devices.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The devices are operated from this machine, with the agents and options of the configuration in
force. Their levels, and what counts as confirmed: docs/fencing.md
Examples:
  regent fence list
  regent fence status
  regent fence test lx4
  regent fence test lx4 --move --yes --wait 10m
  regent fence off lx4
  regent fence on lx4"
)]
pub struct FenceArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: FenceCommand,
}

/// What can be done with fence devices.
#[derive(Debug, Clone, Subcommand)]
pub enum FenceCommand {
    /// Show every device: which nodes it cuts, at which level, within which time
    List,
    /// Ask every device whether its nodes have power
    Status {
        /// Only about this node
        node: Option<String>,
    },
    /// Cut a node's power through each of its levels, see that it is gone, and bring it back
    #[command(
        after_help = "For each level: all its devices cut the power, each says that it is off, the cluster hears
the node no more, the devices switch it on, and the node is back in the cluster with a new boot. Every step is shown with
its time. A node that owns something is not cut, unless --move has its groups moved away first. It is on standby meanwhile.
Run it on another node, best on the witness.
Examples:
  regent fence test lx4
  regent fence test lx4 --level 2
  regent fence test lx4 --move --yes --wait 10m --json"
    )]
    Test {
        /// The node
        node: String,
        /// Only through this level
        #[arg(long, value_name = "N")]
        level: Option<u8>,
        /// Have what the node owns moved to others first
        #[arg(long = "move")]
        moves: bool,
        /// How long the node may take to be back
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5m")]
        wait: Duration,
        /// Do not ask again
        #[arg(long)]
        yes: bool,
    },
    /// Cut a node's power, and see that it is off
    #[command(
        after_help = "What it owns is taken over when the cluster itself has the devices confirm that it is off;
this command is no proof to it. The node stays off until: regent fence on NODE
Example:
  regent fence off lx4"
    )]
    Off {
        /// The node
        node: String,
        /// Do not ask again
        #[arg(long)]
        yes: bool,
    },
    /// Give a node its power back
    #[command(
        after_help = "Refused while the cluster itself is cutting that node: what is switched on in between would
be no proof.
Example:
  regent fence on lx4"
    )]
    On {
        /// The node
        node: String,
    },
}
