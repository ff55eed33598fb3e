//! The words about instances of databases.

use clap::{Args, Subcommand};

/// What is done with instances.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  regent instance list
  regent instance create cacheha1 directory=/store1/c52ha
  regent instance update cacheha1 data_servers=cacheha2=10.77.0.102:1973/Y*+ORDERS
  regent instance start cacheha1
  regent instance check
The same registry in the words of ccontrol: regent ccontrol help, or a link named ccontrol to this program.")]
pub struct InstanceArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: InstanceCommand,
}

/// The words of ccontrol.
#[derive(Debug, Clone, Args)]
#[command(after_help = "A link named ccontrol to this program is the same. Example:
  ln -s regent /usr/bin/ccontrol
  ccontrol help")]
pub struct CcontrolArgs {
    /// What to do, and with which instance
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    pub words: Vec<String>,
}

/// What can be done with instances.
#[derive(Debug, Clone, Subcommand)]
pub enum InstanceCommand {
    /// Show every instance: where it runs, its version, its port
    List,
    /// Show everything of one instance, as the node that is asked sees it
    Status {
        /// The instance
        name: String,
    },
    /// Register an instance; with the same values again, nothing is done
    #[command(
        after_help = "Without a port the next free one from 1972 up is taken. The group is the one whose storage holds the directory.
Examples:
  regent instance create cacheha1 directory=/store1/c52ha kind=gtm versionid=V7.0-005
  regent instance create cacheha2 directory=/store2/c52ha2 port=1973 autostart=true
  regent instance create db directory=/store1/db kind=command start='/opt/db start' stop='/opt/db stop'"
    )]
    Create(ChangeArgs),
    /// Change what is registered of an instance, its version included
    #[command(after_help = "Examples:
  regent instance update cacheha1 versionid=5.2.0.400
  regent instance update cacheha1 port=1975
  regent instance update cacheha1 license_servers=10.77.0.4,10.77.0.5
  regent instance update cacheha1 data_servers=cacheha2=10.77.0.102:1973/Y*+ORDERS
  regent instance update cacheha1 monitor=interval=10s,failures=3
  regent instance update cacheha1 user=

Data servers are NAME=ADDRESS:PORT/GLOBAL+GLOBAL@FILE with commas between them: the other instance and its service
address, the globals that live there (Y* for all that begin with Y), and the file of its database where it is of another
cluster. Of one that is there already, globals and file stay where they are left out; a / or @ with nothing behind it
takes them away. KEY= takes a key out.")]
    Update(ChangeArgs),
    /// Take an instance out of the registry; its files stay
    Delete {
        /// The instance
        name: String,
    },
    /// Start an instance, on the node that has its group
    Start {
        /// The instance
        name: String,
    },
    /// Stop an instance, on the node that has its group
    Stop {
        /// The instance
        name: String,
    },
    /// End an instance that does not stop; it is recovered at its next start
    Force {
        /// The instance
        name: String,
    },
    /// Print the environment of an instance's processes on this node, or run a command with it
    #[command(
        after_help = "The command is run only where the instance is up: a database that was not recovered is opened by nobody.
Examples:
  eval \"$(regent instance env cacheha1)\"
  regent instance env cacheha1 -- sh -c 'exec $gtm_dist/mumps -direct'"
    )]
    Env(crate::args::EnvArgs),
    /// Ask from every node whether the license servers of an instance answer; one of them may be off
    License {
        /// The instance
        name: String,
    },
    /// Ask every node now what it sees of the instances, and say what does not fit the registry
    Check,
    /// Upgrade an instance in place, on the node that has it
    #[command(
        after_help = "To be typed on the node that has the instance's group. The command runs there with the instance's environment
(REGENT_INSTANCE, REGENT_INSTANCE_DIRECTORY, REGENT_INSTANCE_PORT and the group's); what it is to do with the running
instance it does by ccontrol. Then the version is read again, and is right on every node.
Example:
  regent instance upgrade cacheha1 -- /media/kit/cinstall"
    )]
    Upgrade {
        /// The instance
        name: String,
        /// The version it has afterwards, where it cannot be read from what is installed
        #[arg(long, value_name = "VERSION")]
        versionid: Option<String>,
        /// What upgrades it
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
}

/// An instance, and what is to be so of it.
#[derive(Debug, Clone, Args)]
pub struct ChangeArgs {
    /// The instance
    pub name: String,
    /// The keys of [[instance]], and versionid
    #[arg(value_name = "KEY=VALUE")]
    pub values: Vec<String>,
}
