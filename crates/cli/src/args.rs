//! The command line: every word of it, with help.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ColorChoice, Parser, Subcommand};
use clap_complete::Shell;

pub use crate::args_access::{KeyCommand, TokenArgs};
use crate::args_arbiter::ArbiterArgs;
pub use crate::args_cluadmin::{CluadminArgs, ClustatArgs};
pub use crate::args_events::EventsArgs;
use crate::args_fence::FenceArgs;
pub use crate::args_group::{ApplicationCommand, GroupCommand, SimulateArgs};
pub use crate::args_instance::{CcontrolArgs, InstanceArgs, InstanceCommand};
use crate::args_lab::LabArgs;
use crate::args_remove::RemoveArgs;
use crate::drill::DrillArgs;
use crate::trouble::EXIT_CODES;

/// Failover clusters for Linux: when a machine dies, its peer takes over its addresses, disks and applications.
#[derive(Debug, Parser)]
#[command(
    name = "regent",
    version = regent_node::version(),
    arg_required_else_help = true,
    disable_help_subcommand = false,
    after_help = "Try it on this machine alone: regent lab demo\nExit codes: regent help exit-codes",
    after_long_help = EXIT_CODES
)]
pub struct Cli {
    /// How to print, and whom to ask.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print for programs: one JSON value (with --follow or --watch: one a line)
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// When to colour; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Everywhere")]
    pub color: ColorChoice,
    /// Ask the daemon behind this socket; by default $REGENT_SOCKET, or this node's
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "lab", help_heading = "Everywhere")]
    pub socket: Option<PathBuf>,
    /// Ask a node of a lab on this machine; the name is not needed where there is only one
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        help_heading = "Everywhere"
    )]
    pub lab: Option<String>,
    /// Which node of the lab to ask; by default the first that answers
    #[arg(long, global = true, value_name = "NODE", help_heading = "Everywhere")]
    pub on: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin a cluster of this one machine
    #[command(after_help = "Examples:
  regent init ward7
  regent init ward7 --node lx4 --address 10.77.0.4 --address 10.78.0.4
Then: regent token, and on the second machine: regent join TOKEN")]
    Init(InitArgs),
    /// Add this machine to a cluster, as a node
    #[command(after_help = "The token comes from: regent token (on a member)
Example:
  regent join rgt1-... --node lx5 --address 10.77.0.5 --address 10.78.0.5")]
    Join(JoinArgs),
    /// Add this machine to a cluster, as a witness: it votes and owns nothing
    #[command(after_help = "The token comes from: regent token --witness (on a member)")]
    Witness(JoinArgs),
    /// Make a token with which one machine can join, list the tokens, take one back
    #[command(
        after_help = "Keep it secret until it is used: one machine can join with it, within the hour. After that it is
worth nothing, also to who finds it in the history of a shell.
Examples:
  regent token
  regent token --witness
  regent token --for-minutes 15
  regent token list
  regent token revoke 3f7a01c2"
    )]
    Token(TokenArgs),
    /// Change the key of the cluster while it runs, or show how far a change is
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show who may ask what, and what you may
    #[command(
        after_help = "Roles are given by the groups of each machine's users. Who did what: regent events --audit"
    )]
    Access,
    /// Put a configuration in force everywhere
    #[command(
        after_help = "The file is verified, shown as a difference to what is in force, and committed. If the
cluster does not settle within --wait, the configuration before is put in force again (exit code 4).
Examples:
  regent apply ward7.toml --dry-run
  regent apply ward7.toml
  regent apply ward7.toml --wait 5m --no-undo"
    )]
    Apply(ApplyArgs),
    /// Check a configuration: every error at its line, the timers and the guarantees
    #[command(after_help = "Examples:
  regent verify ward7.toml
  regent verify            the configuration in force
  regent verify --nodes    the nodes, held side by side: programs and scripts, users, devices,
                           limits, what starts at boot; exit code 1 when something does not fit.
                           Runs every night too (verify_at)")]
    Verify {
        /// The file; without it the configuration in force
        file: Option<PathBuf>,
        /// Ask every node how it is equipped, and say what does not fit together
        #[arg(long, conflicts_with = "file")]
        nodes: bool,
    },
    /// Make on every node what the configuration says that it is prepared with: folders, links, /etc/services
    #[command(
        after_help = "What is right already is not touched, and what is something else is not overwritten.
Examples:
  regent prepare --dry-run
  regent prepare cell"
    )]
    Prepare {
        /// For this group; for all if absent
        group: Option<String>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the configuration
    Config {
        /// What to show.
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Show the whole cluster at a glance
    #[command(after_help = "Examples:
  regent status
  regent status --watch
  regent status --json | jq '.groups[] | {name, state, owner}'")]
    Status {
        /// Stay, and show every change
        #[arg(long, short)]
        watch: bool,
    },
    /// Show what happened, step by step with milliseconds
    #[command(
        after_help = "The journals of all nodes in one list. +ms counts from the first entry of a burst.
Examples:
  regent events
  regent events --group ward --since 10m
  regent events --follow
  regent events --summary
Every node also appends its own entries to /var/lib/regent/journal.log, one JSON object a line (see \
`kind`, `text`, `event`, `took`), for tools that follow it: tail -F; the file before is journal.log.1."
    )]
    Events(EventsArgs),
    /// Cluster events: the catalogue, what runs and waits, and how a blocked one goes on
    #[command(after_help = "Examples:
  regent event list
  regent event queue
  regent event resume --node lx5      skip the rest of what failed there, and go on")]
    Event {
        /// What to do.
        #[command(subcommand)]
        verb: EventCommand,
    },
    /// Show what was seen of applications before their failures were acted on, on every node
    #[command(after_help = "\
Processes with their kernel stacks, open files, sockets with their queues, memory, the last words of the commands, and \
what the application's own `diagnose` command says: gathered before anything is stopped, kept on its node until newer \
ones take its place. `diagnose = false` turns it off.
Examples:
  regent evidence
  regent evidence cacheha1
  regent evidence --show lx4/7
  regent evidence cacheha1 --show last")]
    Evidence(EvidenceArgs),
    /// Say why a group is where it is, and why not elsewhere
    Explain {
        /// The group
        group: String,
    },
    /// Print what a group's commands are told on this node, or run a command with it
    #[command(after_help = "\
REGENT_EXCLUDED_ADDRESSES and RPC_UNSUPPORTED_NETADDRS are all addresses of this node that are not the group's own, \
as they are now. A file that was written keeps what it holds: write it again when the node's addresses change.
Examples:
  regent env dce
  eval \"$(regent env dce)\"
  regent env dce -- /usr/bin/dce_config
  regent env dce --write /etc/environment
  regent env dce --write /etc/environment --remove")]
    Env(EnvArgs),
    /// Show what would happen if a node or a network were lost, or a configuration put in force
    #[command(
        after_help = "Answered by the node from the planner that decides, for the live state; nothing is changed.
Examples:
  regent simulate --lose lx4
  regent simulate --lose lx4 --lose lx5
  regent simulate --network 1
  regent simulate --apply ward7.toml"
    )]
    Simulate(SimulateArgs),
    /// Bring a group up or down, move it, restart it
    #[command(after_help = "Examples:
  regent group move ward lx5
  regent group disable ward --no-wait
  regent group enable ward")]
    Group {
        /// What to do.
        #[command(subcommand)]
        verb: GroupCommand,
    },
    /// Leave an application alone for a while, or watch it again
    #[command(after_help = "\
While its monitors are suspended nothing is asked and its end is no failure; status says so. It ends with resume, or \
when the group is stopped, moved or taken over. What runs in its group still ends when the node loses its lease.
Examples:
  regent application suspend dce secd
  regent application resume dce secd")]
    Application {
        /// What to do.
        #[command(subcommand)]
        verb: ApplicationCommand,
    },
    /// Instances of databases: the registry of the cluster, and what runs where
    Instance(InstanceArgs),
    /// The registry of instances in the words and layouts of ccontrol; exit codes 0 and 1
    #[command(disable_help_flag = true)]
    Ccontrol(CcontrolArgs),
    /// Start or stop a node, put it on standby, confirm that it is dead
    #[command(after_help = "Examples:
  regent node standby lx4
  regent node start lx4
  regent node stop --takeover
  regent node confirm-dead lx4 --why 'pulled its plug, ticket 311'")]
    Node {
        /// What to do.
        #[command(subcommand)]
        verb: NodeCommand,
    },
    /// Show, ask, test and operate the devices that cut a node's power
    Fence(FenceArgs),
    /// Make, show and take away the disk area that decides between two nodes without a third vote
    Arbiter(ArbiterArgs),
    /// The administration shell that Red Hat Cluster Manager had; also as `cluadmin`, by a link of that name
    #[command(
        version = regent_node::version(),
        after_help = "Without a command it asks for one: help shows them all. From a file or a pipe it reads one a line.
Examples:
  ln -s regent /usr/bin/cluadmin
  cluadmin
  cluadmin -- service relocate cachehal
  cluadmin --debug -- service enable cachehal
  cluadmin -- service show config cachehal"
    )]
    Cluadmin(CluadminArgs),
    /// The status that Red Hat Cluster Manager showed; also as `clustat`, by a link of that name
    #[command(
        version = regent_node::version(),
        after_help = "Examples:
  clustat
  clustat -i 2
  clustat -s cachehal -Q && echo it runs"
    )]
    Clustat(ClustatArgs),
    /// Test the failover: lose nodes and services by a plan, and report what was away for how long
    #[command(after_help = crate::drill::HELP)]
    Drill(DrillArgs),
    /// A whole cluster on this machine, to try and to test
    Lab(LabArgs),
    /// Print the completions for a shell
    #[command(after_help = "Example:
  regent completions bash > /usr/share/bash-completion/completions/regent")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    #[command(after_help = "Example:
  regent manual /usr/local/share/man/man1")]
    Manual {
        /// The folder; it is made if it is not there
        folder: PathBuf,
    },
    /// Explain the exit codes
    #[command(name = "exit-codes", long_about = EXIT_CODES)]
    ExitCodes,
}

/// How a new machine is called and reached.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The name of the cluster
    pub name: String,
    /// Who this machine is
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// How a machine joins.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// The token
    pub token: String,
    /// Who this machine is
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// Who this machine is.
#[derive(Debug, Clone, Args)]
pub struct MachineArgs {
    /// The name of this node; by default the host name up to the first dot
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The address of this node on a network, one for each network in the same order on all nodes; by default the
    /// addresses that the machine has
    #[arg(long = "address", value_name = "ADDRESS")]
    pub addresses: Vec<IpAddr>,
}

/// How a configuration is put in force.
#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// The file
    pub file: PathBuf,
    /// Only verify, and show what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Do not even add to groups that run: what they consist of changes when they are next enabled, moved or restarted
    #[arg(long)]
    pub later: bool,
    /// Leave it in force even if the cluster does not settle
    #[arg(long)]
    pub no_undo: bool,
    /// How long the cluster may take to settle
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub wait: Duration,
}

/// What to show of the configuration.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigVerb {
    /// Print the configuration in force, comments and all
    #[command(after_help = "Example:
  regent config show > ward7.toml")]
    Show,
}

/// What can be done with cluster events.
#[derive(Debug, Clone, Subcommand)]
pub enum EventCommand {
    /// Show every event: its arguments, what it means, and whether a command may take its place
    List,
    /// Show what runs and what waits, on every node
    Queue,
    /// Skip the rest of a blocked event; the next ones run, and the groups go on
    Resume {
        /// The node where it is blocked; this one if absent
        #[arg(long)]
        node: Option<String>,
    },
}

/// Which evidence.
#[derive(Debug, Clone, Args)]
pub struct EvidenceArgs {
    /// Of this group; of all if absent
    pub group: Option<String>,
    /// Print this one: lx4/7, 7 where only one node has a seventh, or last
    #[arg(long, value_name = "N")]
    pub show: Option<String>,
}

/// What is done with a group's environment.
#[derive(Debug, Clone, Args)]
pub struct EnvArgs {
    /// The group, or the instance
    pub group: String,
    /// Put it between two marked lines of this file
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub write: Option<PathBuf>,
    /// Take it out of the file again
    #[arg(long, requires = "write")]
    pub remove: bool,
    /// Run this with it
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

/// Whether and how long to wait.
#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    /// Only give the order, do not wait for its effect
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait for its effect
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub wait: Duration,
}

/// What can be done with a node.
#[derive(Debug, Clone, Subcommand)]
pub enum NodeCommand {
    /// Run Regent on this machine in the foreground, and bring the daemon back when it ends
    Run,
    /// The daemon itself, without a supervisor
    #[command(hide = true)]
    Daemon,
    /// Let a node own groups again; on this machine, start Regent if it does not run
    Start {
        /// The node; this one if absent
        node: Option<String>,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Stop Regent on a node
    #[command(group(ArgGroup::new("mode").required(true)), after_help = "Examples:
  regent node stop --takeover         before maintenance: the peers take over
  regent node stop lx5 --graceful     its groups stop and wait for its return
  regent node stop --forced           to upgrade or look: everything stays up, unmanaged")]
    Stop {
        /// The node; this one if absent
        node: Option<String>,
        /// Take its groups down; nobody takes over
        #[arg(long, group = "mode")]
        graceful: bool,
        /// Take its groups down here, then the next nodes bring them up
        #[arg(long, group = "mode")]
        takeover: bool,
        /// Leave everything running where it is, unmanaged, until the node starts again
        #[arg(long, group = "mode")]
        forced: bool,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let a node vote but own nothing; its groups go to others
    Standby {
        /// The node; this one if absent
        node: Option<String>,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Take a node or witness out of the cluster for good
    #[command(after_help = crate::args_remove::EXAMPLES)]
    Remove(RemoveArgs),
    /// Give your word that a node is dead, where nothing else can prove it
    #[command(
        after_help = "Regent records your word and takes the node's groups over. If the node lives, two nodes may
write to one disk. Look at the machine: it must be off, or cut off from its disks for good. What nobody has taken over
when the word is good no more waits for a proof again. At one of two nodes that stands because nobody can say who goes on
(the disk is lost too, or there is none), the word has it go on alone; the other one must stay off until it can hear it.
Examples:
  regent node confirm-dead lx4 --why 'pulled its plug, ticket 311'
  regent node confirm-dead lx4 --reason 'its rack has no power' --for-minutes 120"
    )]
    ConfirmDead {
        /// The node
        node: String,
        /// How you know; kept in the journal
        #[arg(long, visible_alias = "reason", value_name = "TEXT")]
        why: String,
        /// For how many minutes the word is good; half an hour if it is not said, a week at most
        #[arg(long, value_name = "N")]
        for_minutes: Option<u32>,
        /// Do not ask again
        #[arg(long)]
        yes: bool,
    },
}

/// A time as people write it: `60s`, `10m`, `1h 30m`, `800ms`.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration =
        text.parse().map_err(|_| "write it as 800ms, 60s, 10m or 1h 30m".to_owned())?;
    Duration::try_from(signed).map_err(|_| "it must not be negative".to_owned())
}
