//! The words about groups and their applications: what can be done with them, and what to suppose of the cluster.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use crate::args::WaitArgs;

/// What can be done with a group.
#[derive(Debug, Clone, Subcommand)]
pub enum GroupCommand {
    /// Run it, and forget that it failed
    Enable {
        /// The group
        group: String,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Take it down and keep it down
    Disable {
        /// The group
        group: String,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Run it on another node, or undo that
    #[command(
        after_help = "The move is remembered, also when that node is lost: a group whose policy fails back returns \
to it. `regent explain GROUP` shows it; --restore lets the group's list decide again.
Examples:
  regent group move ward lx5
  regent group move ward --restore"
    )]
    Move {
        /// The group
        group: String,
        /// The node
        #[arg(required_unless_present = "restore")]
        node: Option<String>,
        /// Forget where it was moved to: its list decides again
        #[arg(long, conflicts_with = "node")]
        restore: bool,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Do nothing with it by itself, until it is resumed: no takeover, no way back, no restart after a failure
    #[command(
        after_help = "What an operator orders is done all the same: enable, disable, move, restart. When its node is lost, the
group stays down. The end of a node's lease is no decision: what the node holds is let go as ever.
Examples:
  regent group hold cacheha1 --why 'upgrade in place, ticket 311'
  regent group resume cacheha1"
    )]
    Hold {
        /// The group
        group: String,
        /// Why, for whoever looks at it
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Look after it again: what a hold has kept from being done is done now
    Resume {
        /// The group
        group: String,
    },
    /// Take it down and bring it up again
    Restart {
        /// The group
        group: String,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// What can be done with an application.
#[derive(Debug, Clone, Subcommand)]
pub enum ApplicationCommand {
    /// Do not watch it
    Suspend(ApplicationArgs),
    /// Watch it again
    Resume(ApplicationArgs),
}

/// Which application.
#[derive(Debug, Clone, Args)]
pub struct ApplicationArgs {
    /// Its group
    pub group: String,
    /// Its name
    pub application: String,
}

/// What to suppose.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("supposed").required(true).multiple(true)))]
pub struct SimulateArgs {
    /// This node is lost; several may be
    #[arg(long, value_name = "NODE", group = "supposed")]
    pub lose: Vec<String>,
    /// This network is lost, by its number in `regent status`; several may be
    #[arg(long = "network", value_name = "N", group = "supposed")]
    pub networks: Vec<usize>,
    /// This configuration is in force
    #[arg(long, value_name = "FILE", group = "supposed")]
    pub apply: Option<PathBuf>,
}
