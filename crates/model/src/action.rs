//! What the engine asks of the agents, and what they answer.

mod hand;

use std::mem::discriminant;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{
    AddressConfig, ApplicationConfig, FenceConfig, FilesystemConfig, InstanceConfig, Prefixed, VolumeConfig,
};
use crate::connection::{Change, ServiceAddress, Tickled};
use crate::ids::{Epoch, GroupName, NodeName, ResourceName};

pub use hand::Hand;

/// One request to an agent, numbered by the engine that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// A resource with everything its agent must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// A volume of LVM.
    Volume(Arc<VolumeConfig>),
    /// A file system, or a folder of one that is put elsewhere.
    Filesystem(Arc<FilesystemConfig>),
    /// A service address.
    Address(Arc<AddressConfig>),
    /// An instance of a database.
    Instance(Arc<InstanceConfig>),
    /// An application.
    Application(Arc<ApplicationConfig>),
}

impl Resource {
    /// The resource's name, unique in its group.
    #[must_use]
    pub fn name(&self) -> &ResourceName {
        match self {
            Self::Volume(c) => &c.name,
            Self::Filesystem(c) => &c.name,
            Self::Address(c) => &c.name,
            Self::Instance(c) => &c.resource,
            Self::Application(c) => &c.name,
        }
    }

    /// Whether both mean the same device, address or application on one node, however it is watched and limited.
    #[must_use]
    pub fn is_the_same_thing_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Volume(a), Self::Volume(b)) => (&a.name, &a.vg, &a.lv) == (&b.name, &b.vg, &b.lv),
            // Of devices of each node's own, another node's are nothing to this one.
            (Self::Filesystem(a), Self::Filesystem(b)) => {
                (&a.name, &a.device, &a.mount) == (&b.name, &b.device, &b.mount)
                    && discriminant(&a.backing) == discriminant(&b.backing)
            }
            (Self::Address(a), Self::Address(b)) => {
                (&a.name, a.address, a.prefix, &a.interface) == (&b.name, b.address, b.prefix, &b.interface)
            }
            (Self::Instance(a), Self::Instance(b)) => {
                (&a.name, a.kind, &a.directory) == (&b.name, b.kind, &b.directory)
            }
            (Self::Application(a), Self::Application(b)) => a.name == b.name,
            _ => false,
        }
    }

    /// In which part of a cluster event it comes up; it goes down in the reverse order.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match self {
            Self::Volume(_) | Self::Filesystem(_) => Tier::Storage,
            Self::Address(_) => Tier::Addresses,
            Self::Instance(_) | Self::Application(_) => Tier::Applications,
        }
    }

    /// The kind, in one word, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Volume(_) => "volume",
            Self::Filesystem(_) => "filesystem",
            Self::Address(_) => "address",
            Self::Instance(_) => "instance",
            Self::Application(_) => "application",
        }
    }

    /// Its name as people write it.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Instance(c) => c.name.as_str(),
            other => other.name().as_str(),
        }
    }
}

/// The parts in which groups come up, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Volumes and file systems.
    Storage,
    /// Service addresses.
    Addresses,
    /// Applications.
    Applications,
}

/// What to do with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Op {
    /// Look whether it already runs here; change nothing.
    Probe,
    /// Bring it up. Answers [`Outcome::Running`] only after it was seen to run.
    Acquire,
    /// Take it down. Answers [`Outcome::Stopped`] only after it was shown to be down.
    Release,
    /// Check that it is well.
    Monitor,
    /// Move it to another interface of this node: the first of [`Run::places`]. Only for addresses.
    Swap,
}

impl Op {
    /// The word in events and in the environment of scripts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::Monitor => "monitor",
            Self::Swap => "swap",
        }
    }
}

/// What an operation on an application is about, where the word alone does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum How {
    /// As the word says.
    #[default]
    Plain,
    /// The release and the acquire that follow a failure here.
    AfterFailure,
    /// The check of a further monitor, by its place in the list.
    Watch(u32),
    /// Nothing is looked at: whoever wants to know is told of a failure.
    Notify,
    /// What can be seen of a failure is kept, before anything is done about it.
    Evidence,
    /// Somebody asked for it. Only for instances, and only for one that is held under this ownership.
    ByHand(Hand),
}

/// A request to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The number to answer with.
    pub id: RunId,
    /// The group.
    pub group: GroupName,
    /// The ownership under which it happens.
    pub epoch: Epoch,
    /// The resource.
    pub resource: Resource,
    /// What to do.
    pub op: Op,
    /// What it is about.
    pub how: How,
    /// When the agent must have answered. It ends what it started and answers [`Outcome::Failed`] by then;
    /// a hung disk may keep a thread of the agent, never the answer.
    pub deadline: Duration,
    /// The environment for scripts (`REGENT_*`), without what the agent itself adds.
    pub environment: Vec<(String, String)>,
    /// For an address: the interfaces that may carry it, the first choice first. Empty where none is configured.
    pub places: Vec<Place>,
    /// For an instance that is started or stopped by hand: what its vendor's command gets besides.
    pub words: Vec<String>,
}

/// An interface that may carry a service address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The interface.
    pub interface: String,
    /// The boot address whose place a service address takes there.
    pub replaces: Option<Prefixed>,
    /// Whether it works, as far as is known.
    pub well: bool,
}

/// A command of a cluster event, for an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRun {
    /// The number to answer with.
    pub id: RunId,
    /// What it is, in words: `pre of node_down lx4`.
    pub what: String,
    /// The line for `/bin/sh -c`.
    pub line: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// After how long it is killed; without it, never.
    pub timeout: Option<Duration>,
    /// Its environment (`REGENT_*`).
    pub environment: Vec<(String, String)>,
}

/// How a command of an event ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEnd {
    /// Its exit code; none where it did not exit by itself, or could not be started.
    pub code: Option<i32>,
    /// How it ended, in words that follow its name: `exited with 3`.
    pub words: String,
    /// The end of its output.
    pub output: String,
}

impl CommandEnd {
    /// Whether it did what it was asked.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

/// A request to look at what takes so long: the processes at work, and what each waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookRun {
    /// The number to answer with.
    pub id: RunId,
    /// At the processes of this group; none: at those of the events' commands.
    pub group: Option<GroupName>,
}

/// What a fence device is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceAsk {
    /// To cut the power, and to say then that it is off.
    Cut,
    /// Whether the power is off; nothing is changed.
    Check,
    /// To give the power back.
    Restore,
    /// To register the node that asks at the disks.
    Register,
}

/// What a fence device did. That the power is off was said by its status, not by the exit code of the act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceFound {
    /// The power is off, and was on, or nobody knows.
    Cut,
    /// The power is off, and was off before.
    WasOff,
    /// The power is on again.
    Restored,
    /// It is registered.
    Registered,
}

/// A request to a fence device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRun {
    /// The number to answer with.
    pub id: RunId,
    /// What it is asked for.
    pub ask: FenceAsk,
    /// Whose power.
    pub victim: NodeName,
    /// The node that asks.
    pub by: NodeName,
    /// The device.
    pub device: Arc<FenceConfig>,
}

/// What an agent found or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It runs (probe, acquire, monitor).
    Running,
    /// It does not run (probe, release, monitor), and nothing of it is left.
    Stopped,
    /// It could not be done, or what runs is not well.
    Failed(Failure),
}

/// Why an action failed, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened, in one line.
    pub reason: String,
    /// Evidence: the end of the command's output, holders of a mount, the kernel's error text.
    pub evidence: String,
    /// Whether the action was cut off by its deadline.
    pub timed_out: bool,
}

impl Failure {
    /// A failure with a reason and no evidence.
    #[must_use]
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), evidence: String::new(), timed_out: false }
    }
}

/// What the agents keep up and look after on this node, whoever owns what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Interfaces whose state is told whenever it changes ([`Notice::Link`]).
    pub watch: Vec<String>,
    /// Persistent addresses, each with its interface; without one it is where its subnet is.
    pub persistent: Vec<(Prefixed, Option<String>)>,
    /// Boot addresses, each with its interface: put back where neither they nor a service address are there.
    pub boot: Vec<(Prefixed, String)>,
    /// Every service address there is.
    pub service: Vec<IpAddr>,
}

/// A question to the neighbours on a network, out of each of these interfaces: who is there?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourProbe {
    /// The network's place among the networks, to answer with.
    pub network: usize,
    /// The interfaces to ask on. Without one, the interface that carries `own`.
    pub interfaces: Vec<String>,
    /// This node's own address on the network.
    pub own: Option<IpAddr>,
    /// Who is asked for.
    pub targets: Vec<IpAddr>,
}

/// The trouble of a node whose guard alone ends the leases of service addresses ([`Notice::Trouble`]).
pub const ADDRESS_LEASES: &str = "address_leases";

/// The trouble of a node that cannot read, or not in time, the disk of the arbiter ([`Notice::Trouble`]).
pub const ARBITER_DISK: &str = "arbiter_disk";

/// The trouble of a node that has a watchdog device configured, and nobody feeds it ([`Notice::Trouble`]).
pub const WATCHDOG: &str = "watchdog";

/// What an agent says unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// Somebody ordered something here, or wanted to: for the record of who did what.
    Ordered {
        /// Who, what, and what came of it.
        text: String,
        /// The same for tools, a line each.
        record: String,
    },
    /// The main process of an application has ended.
    Exited {
        /// The group.
        group: GroupName,
        /// The ownership under which it was started.
        epoch: Epoch,
        /// The application.
        resource: ResourceName,
        /// How it ended, in words.
        how: String,
    },
    /// Something came of what was begun and not waited for.
    Told {
        /// The group.
        group: GroupName,
        /// The ownership under which it was begun.
        epoch: Epoch,
        /// The application.
        resource: ResourceName,
        /// Whether somebody should look at it.
        warning: bool,
        /// What.
        text: String,
        /// Evidence.
        evidence: String,
    },
    /// An instance that is held here came up or went down, or was found so.
    Instance {
        /// The group.
        group: GroupName,
        /// The ownership under which it is held.
        epoch: Epoch,
        /// The instance's resource.
        resource: ResourceName,
        /// Whether it runs.
        runs: bool,
        /// Which version it is, where that could be found out.
        version: Option<String>,
    },
    /// A service address was found on this interface, or is on none.
    Carried {
        /// The group.
        group: GroupName,
        /// The address's resource.
        resource: ResourceName,
        /// The interface.
        interface: Option<String>,
    },
    /// The state of an interface that is watched: told at the beginning and when it changes.
    Link {
        /// The interface.
        interface: String,
        /// What is wrong with it; nothing when it is on and carries.
        fault: Option<String>,
    },
    /// The answer to a [`NeighbourProbe`].
    Neighbours {
        /// The network's place.
        network: usize,
        /// On which interfaces somebody answered, and on which nobody.
        answered: Vec<(String, bool)>,
    },
    /// The connections of an address that are recorded have changed.
    Connections {
        /// The address.
        of: ServiceAddress,
        /// How.
        change: Change,
    },
    /// What came of a request to make clients notice that their connections are no more.
    Tickled(Tickled),
    /// Something is not as it should be with the node itself. Said once; it stands in `status` until the topic is
    /// [`Notice::Well`] again.
    ///
    /// The topic [`ADDRESS_LEASES`] means that the kernel of this node cannot end the leases of service addresses.
    Trouble {
        /// What it is about: the kind of the entry in the journal.
        topic: String,
        /// What is wrong, in one line.
        text: String,
        /// What to do.
        advice: String,
    },
    /// A cluster event that another part of the daemon brings about.
    Event(crate::event::Event),
    /// What was said of this topic is over.
    Well {
        /// The topic.
        topic: String,
        /// How it ended, in one line.
        text: String,
    },
}
