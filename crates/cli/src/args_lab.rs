//! The command line of `regent lab`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::args::duration;

/// `regent lab`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A lab is a real cluster made of namespaces: nodes, a witness, a client, two networks, a shared
disk and a power switch. It needs root, and leaves nothing behind.
Examples:
  regent lab demo                     the whole story in under a minute
  regent lab up                       a lab to play with
  regent status --lab
  regent lab off lx4                  cut the power of lx4
  regent events --lab
  regent lab down"
)]
pub struct LabArgs {
    /// The lab; not needed where there is only one
    #[arg(long, global = true, value_name = "NAME")]
    pub name: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub verb: LabCommand,
}

/// What can be done with a lab.
#[derive(Debug, Clone, Subcommand)]
pub enum LabCommand {
    /// Build a lab and start its cluster
    #[command(
        after_help = "Without a file: nodes lx4 and lx5, the witness wit, a client, two networks, a shared ext4 disk,
and a group `ledger`: file system, service address 10.77.0.100 and a small ledger service.
Examples:
  regent lab up
  regent lab up ward7.toml --name second
  regent lab up ward7.toml --put scripts:/usr/local/lib/ward7
  regent lab up nodes.toml --disk /dev/san0           groups that use it come later"
    )]
    Up {
        /// The configuration to build a lab for
        file: Option<PathBuf>,
        /// A file of this machine, or the files of a folder, that every machine of the lab finds there after each boot. A
        /// link to a file by its absolute path is one there too
        #[arg(long, value_name = "FROM:TO", value_parser = put)]
        put: Vec<(PathBuf, PathBuf)>,
        /// A shared disk, with ext4 on it, that the configuration does not speak of yet
        #[arg(long, value_name = "DEVICE")]
        disk: Vec<PathBuf>,
        /// A small blank shared disk, for `regent arbiter init`
        #[arg(long, value_name = "DEVICE")]
        arbiter_disk: Option<PathBuf>,
    },
    /// End a lab; nothing of it is left
    Down {
        /// End all labs of this machine
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Cut a machine's power
    Off {
        /// The machine
        machine: String,
    },
    /// Boot a machine
    On {
        /// The machine
        machine: String,
    },
    /// Cut a machine off from a network, or from all
    #[command(after_help = "Examples:
  regent lab cut lx4
  regent lab cut lx4 2                            only on the second network
  regent lab cut lx4 --interface eth0             one interface: it carries, and hears nobody
  regent lab cut lx4 --interface eth0 --direction cable")]
    Cut {
        /// The machine
        machine: String,
        /// The network, from 1; all without it
        network: Option<usize>,
        /// One interface alone, by its name in the machine
        #[arg(long, value_name = "NAME")]
        interface: Option<String>,
        /// Which way the frames are lost, seen from the machine
        #[arg(long, value_enum, default_value_t = Way::Both)]
        direction: Way,
    },
    /// Lose a part of a machine's frames at random, on one network or on all
    #[command(after_help = "Examples:
  regent lab lossy lx4 20
  regent lab lossy lx4 20 2           only on the second network
  regent lab lossy lx4 0              none any more")]
    Lossy {
        /// The machine
        machine: String,
        /// How many of a hundred, each way
        #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: u8,
        /// The network, from 1; all without it
        network: Option<usize>,
    },
    /// Undo cuts and losses
    Heal {
        /// The machine
        machine: String,
        /// The network, from 1; all without it
        network: Option<usize>,
        /// One interface alone, by its name in the machine
        #[arg(long, value_name = "NAME")]
        interface: Option<String>,
    },
    /// Freeze a machine, as a hypervisor would
    Pause {
        /// The machine
        machine: String,
        /// Leave its network ports open: its kernel, which is this machine's, goes on answering for it
        #[arg(long)]
        answering: bool,
    },
    /// Let a frozen machine go on
    Resume {
        /// The machine
        machine: String,
    },
    /// Make a machine's way to the shared disk slow, hang or fail
    #[command(after_help = "Examples:
  regent lab disk lx4 hang
  regent lab disk lx4 slow --own
  regent lab disk lx4 slow --delay 50ms
  regent lab disk lx4 ok")]
    Disk {
        /// The machine
        machine: String,
        /// What happens to its requests
        state: DiskWord,
        /// How slow `slow` is, for every request
        #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = duration)]
        delay: Duration,
        /// Its own disk instead, which holds the state of its daemon
        #[arg(long)]
        own: bool,
    },
    /// Run a command in a machine
    #[command(after_help = "Examples:
  regent lab run lx4 -- ip addr
  regent lab run client -- ping -c 3 10.77.0.100")]
    Run {
        /// The machine
        machine: String,
        /// The command
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Ask an address again and again, from the client, and print the gaps
    #[command(after_help = "Example:
  regent lab probe 10.77.0.100:7007 --for 30s")]
    Probe(ProbeArgs),
    /// Show the machines of a lab and the cluster in it
    Status,
    /// Show the labs of this machine
    List,
    /// Tell the whole story: a cluster, a power cut, the takeover, the return, nothing lost
    #[command(
        after_help = "It takes less than a minute and leaves nothing behind. Exit code 1 if anything that was
acknowledged is missing."
    )]
    Demo {
        /// Leave the lab up at the end
        #[arg(long)]
        keep: bool,
    },
}

/// What is asked, how, how often and how long.
#[derive(Debug, Clone, Args)]
pub struct ProbeArgs {
    /// Where
    pub target: SocketAddr,
    /// How often
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration)]
    pub every: Duration,
    /// How long; until Ctrl-C without it
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub how_long: Option<Duration>,
    /// How it asks
    #[arg(long, value_enum, default_value_t = Wire::Udp)]
    pub protocol: Wire,
}

/// How a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wire {
    /// One datagram a question, answered by the lab's ledger
    Udp,
    /// One connection a question, answered with a line
    Tcp,
}

/// Which frames a cut swallows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// All
    Both,
    /// Those to the machine
    In,
    /// Those from the machine
    Out,
    /// All, and the carrier: the cable is pulled
    Cable,
}

/// What happens to a machine's disk requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiskWord {
    /// They are served
    Ok,
    /// Each takes longer
    Slow,
    /// They are kept, and served when it is ok again
    Hang,
    /// They are refused
    Error,
}

/// `FROM:TO`.
fn put(text: &str) -> Result<(PathBuf, PathBuf), String> {
    match text.rsplit_once(':') {
        Some((from, to)) if !from.is_empty() && to.starts_with('/') => Ok((from.into(), to.into())),
        _ => Err("say FROM:TO, such as scripts:/usr/local/lib/scripts; TO begins with /".into()),
    }
}
