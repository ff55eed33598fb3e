//! The configuration of a cluster, after it was found right.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Resource;
use crate::event::EventName;
use crate::figure::{Figure, FigureScript};
use crate::ids::{ClusterName, GroupName, InstanceName, NodeName, ResourceName};
use crate::proof::Need;
use crate::timers::Timers;

mod application;
mod arbiter;
mod bind;
mod broadcast;
mod calendar;
mod check_addresses;
mod check_events;
mod check_groups;
mod check_instances;
mod check_members;
mod check_networks;
mod check_ports;
mod check_profiles;
mod check_proofs;
mod check_relations;
mod check_storage;
mod check_volumes;
mod check_watchdog;
mod claims;
mod data_servers;
mod definition;
mod diagnose;
mod draft;
mod event;
mod excluded;
mod failback;
mod fence;
mod filesystem;
mod finding;
mod group;
mod guarantee;
mod instance;
mod limits;
mod members;
mod monitoring;
mod network;
mod parse;
mod policy;
mod portal;
mod prepare;
mod profile;
mod reader;
mod relations;
mod requires;
mod resource;
mod scalar;
mod script;
mod share;
mod spelling;
mod stale;
mod storage;
mod storage_fence;
mod subnet;
mod tree;
mod volume;

pub use arbiter::Arbiter;
pub use bind::BindTo;
pub use calendar::{FailbackAt, LocalTime};
pub use claims::{Claims, Port, Protocol, Role};
pub use diagnose::Diagnose;
pub use event::{DEFAULT_EVENT_LIMIT, EventConfig, EventRules, OnError};
pub use excluded::{excluded_on, exclusion_remarks};
pub use failback::{FailbackTimes, past_dates};
pub use fence::{FenceAction, FenceConfig, FenceKind, FenceLevel, HIDDEN, is_secret};
pub use finding::{Finding, Parsed, Severity, Span, line_and_column};
pub use guarantee::{
    GroupGuarantee, Guarantee, KILL_TIME, UNMOUNT_TIME, guarantee, guarantees, timers_for_budget,
};
pub use instance::{
    DataServer, FIRST_INSTANCE_PORT, GTM_DATABASE, InstanceCommands, InstanceConfig, InstanceKind,
    LICENSE_PORT,
};
pub use limits::{DEFAULT_RESTARTS, DEFAULT_RETRIES, DEFAULT_WINDOW};
pub use monitoring::{HungSignal, MonitorAction, Monitoring, OnFailure, StartIn, Watch, Watched};
pub use network::{AdapterConfig, AdapterRole, IpTakeover, NetworkConfig, OnDown, Prefixed};
pub use parse::{parse, parse_at, parse_shown};
pub use policy::{Failback, Failover, Policy, Startup};
pub use prepare::{PrepareConfig, PreparedFolder, ServiceEntry};
pub use relations::{LEVELS_MAX, Priority, Relations};
pub use scalar::duration_text;
pub use share::{SambaConfig, ShareConfig, ShareSync};
pub(crate) use storage::stands_on;
pub use storage::{Backing, Check, FilesystemConfig};
pub use storage_fence::{Barrier, is_on_disk};
pub use volume::VolumeConfig;

/// The port for keepalives (UDP) and the node-to-node channel (TCP), unless the configuration says otherwise.
pub const DEFAULT_PORT: u16 = 7410;

/// See [`Config::topology`].
pub type Topology = (Vec<NodeConfig>, Vec<NodeConfig>, Vec<NetworkConfig>, Timers);

/// A whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// `takeover` as the user wrote it.
    pub takeover: String,
    /// The timers derived from it.
    pub timers: Timers,
    /// After the whole cluster was down: how long a group that could start anywhere waits for its home node.
    pub settling_time: Duration,
    /// The port of keepalives and of the channel.
    pub port: u16,
    /// When the nodes are held side by side every night, in minutes after midnight, by the clock of the leader; never if
    /// absent.
    pub verify_at: Option<u16>,
    /// The networks that are named, in the order of the nodes' addresses.
    pub networks: Vec<NetworkConfig>,
    /// The nodes, in the order of the file.
    pub nodes: Vec<NodeConfig>,
    /// The witnesses.
    pub witnesses: Vec<NodeConfig>,
    /// Who decides between two nodes without a third vote.
    pub arbiter: Option<Arbiter>,
    /// The fence devices.
    pub fences: Vec<Arc<FenceConfig>>,
    /// What is done around cluster events, in the order of the file.
    pub events: Vec<Arc<EventConfig>>,
    /// What the cluster says about events.
    pub event_rules: EventRules,
    /// The resource groups, in the order of the file.
    pub groups: Vec<Arc<GroupConfig>>,
}

impl Config {
    /// The cluster in one line: its name, and how many of everything.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |n: usize, one: &str| {
            let plural = if one.ends_with('s') { "es" } else { "s" };
            format!("{n} {one}{}", if n == 1 { "" } else { plural })
        };
        let parts = [
            (self.nodes.len(), "node"),
            (self.witnesses.len(), "witness"),
            (usize::from(self.arbiter.is_some()), "arbiter"),
            (self.fences.len(), "fence device"),
            (self.groups.len(), "group"),
            (self.instances().count(), "instance"),
        ];
        let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, one)| count(*n, one)).collect();
        format!("cluster {}, {}", self.cluster, parts.join(", "))
    }

    /// The group of that name.
    #[must_use]
    pub fn group(&self, name: &GroupName) -> Option<&Arc<GroupConfig>> {
        self.groups.iter().find(|g| &g.name == name)
    }

    /// The instances that a group's storage holds, in the order of the file.
    #[must_use]
    pub fn instances_of(&self, group: &GroupName) -> &[Arc<InstanceConfig>] {
        self.group(group).map_or(&[], |g| &g.instances)
    }

    /// Every instance with its group, in the order of the groups.
    pub fn instances(&self) -> impl Iterator<Item = (&Arc<GroupConfig>, &Arc<InstanceConfig>)> {
        self.groups.iter().flat_map(|g| g.instances.iter().map(move |i| (g, i)))
    }

    /// The instance of that name, with its group.
    #[must_use]
    pub fn instance(&self, name: &InstanceName) -> Option<(&Arc<GroupConfig>, &Arc<InstanceConfig>)> {
        self.instances().find(|(_, i)| &i.name == name)
    }

    /// The groups that a user means by this name: the group itself, or every instance of a concurrent one.
    pub fn groups_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<GroupConfig>> {
        self.groups.iter().filter(move |g| g.name.as_str() == name || g.name.base() == name)
    }

    /// The node or witness of that name.
    #[must_use]
    pub fn member(&self, name: &NodeName) -> Option<&NodeConfig> {
        self.nodes.iter().chain(&self.witnesses).find(|n| &n.name == name)
    }

    /// Whether the name is a witness's.
    #[must_use]
    pub fn is_witness(&self, name: &NodeName) -> bool {
        self.witnesses.iter().any(|w| &w.name == name)
    }

    /// What the reconfig events call the topology: nodes, witnesses, networks and timers.
    #[must_use]
    pub fn topology(&self) -> Topology {
        (self.nodes.clone(), self.witnesses.clone(), self.networks.clone(), self.timers)
    }

    /// What is done on `node` around `event`, for events that concern `groups`: what the file says for all first, then
    /// what it says for each of the groups.
    pub fn around<'a>(
        &'a self,
        event: EventName,
        node: &'a NodeName,
        groups: &'a [GroupName],
    ) -> impl Iterator<Item = (Option<&'a GroupName>, &'a Arc<EventConfig>)> {
        let all = self.events.iter().map(|e| (None, e));
        let own = self
            .groups
            .iter()
            .filter(|g| groups.contains(&g.name))
            .flat_map(|g| g.events.iter().map(|e| (Some(&g.name), e)));
        all.chain(own).filter(move |(_, e)| e.name == event && e.is_for(node))
    }
}

/// A node, or a witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfig {
    /// Its name.
    pub name: NodeName,
    /// One address per network, in the order of the networks.
    pub addresses: Vec<IpAddr>,
    /// Its interfaces, where they are told.
    pub adapters: Vec<AdapterConfig>,
    /// Addresses that it has for as long as it runs, at most one per network.
    pub persistent: Vec<Prefixed>,
    /// The watchdog device that its guard feeds, if it has one.
    pub watchdog: Option<PathBuf>,
}

/// When a group's release is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseEnd {
    /// When everything of it is shown to be down.
    #[default]
    Down,
    /// When its node was rebooted after that: something of it lives in the kernel and cannot be stopped.
    Reboot,
}

/// A resource group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Its name.
    pub name: GroupName,
    /// The nodes that may own it, in order of preference; the first is its home.
    pub nodes: Vec<NodeName>,
    /// Its policy.
    pub policy: Policy,
    /// The script that chooses its next node, where the policy says so.
    pub figure_script: Option<FigureScript>,
    /// When it goes back.
    pub failback: FailbackTimes,
    /// What it has to do with other groups.
    pub relations: Relations,
    /// What proves that a lost owner is gone. Never empty.
    pub needs: Vec<Need>,
    /// When its release is complete.
    pub release: ReleaseEnd,
    /// The name that the node has while commands of the group's applications start and stop them.
    pub hostname: Option<String>,
    /// What it wants of its node's kernel, for `verify --nodes`.
    pub requires: crate::survey::Limits,
    /// Ports that must be free for it, beside those of its applications.
    #[serde(default)]
    pub requires_ports: Vec<Port>,
    /// What its nodes are prepared with.
    pub prepare: PrepareConfig,
    /// What is done around cluster events that concern it, in the order of the file.
    pub events: Vec<Arc<EventConfig>>,
    /// Volumes, acquired before the file systems that are on them.
    pub volumes: Vec<Arc<VolumeConfig>>,
    /// File systems, in the order in which it is mounted: what others stand on comes first.
    pub filesystems: Vec<Arc<FilesystemConfig>>,
    /// Addresses, acquired after storage.
    pub addresses: Vec<Arc<AddressConfig>>,
    /// Instances of databases, acquired after the addresses they listen on.
    pub instances: Vec<Arc<InstanceConfig>>,
    /// Applications, acquired last.
    pub applications: Vec<Arc<ApplicationConfig>>,
}

impl GroupConfig {
    /// Every resource in the order of acquiring; releasing goes the other way.
    #[must_use]
    pub fn resources(&self) -> Vec<Resource> {
        let volumes = self.volumes.iter().cloned().map(Resource::Volume);
        let storage = volumes.chain(self.filesystems.iter().cloned().map(Resource::Filesystem));
        let addresses = self.addresses.iter().cloned().map(Resource::Address);
        let instances = self.instances.iter().cloned().map(Resource::Instance);
        let applications = self.applications.iter().cloned().map(Resource::Application);
        storage.chain(addresses).chain(instances).chain(applications).collect()
    }

    /// The same as `node` acquires it: with the devices that are that node's own.
    #[must_use]
    pub fn resources_on(&self, node: &NodeName) -> Vec<Resource> {
        let own = |resource| match resource {
            Resource::Filesystem(f) => Resource::Filesystem(Arc::new(f.on(node))),
            other => other,
        };
        self.resources().into_iter().map(own).collect()
    }

    /// The concurrent groups without whose instance on a node nothing of this group is acquired there.
    pub fn clients(&self) -> impl Iterator<Item = &GroupName> {
        self.applications.iter().flat_map(|a| &a.clients)
    }

    /// The networks of its addresses (`10.77.0.0/24`), each once: what a rotating group is bound to.
    #[must_use]
    pub fn networks(&self) -> BTreeSet<String> {
        self.addresses.iter().map(|a| subnet::network_text(a.address, a.prefix)).collect()
    }

    /// The figure that chooses its next node, if one does.
    #[must_use]
    pub fn figure(&self) -> Option<Figure> {
        match self.policy.failover {
            Failover::Next | Failover::Stay => None,
            Failover::FreeMemory => Some(Figure::FreeMemory),
            Failover::IdleCpu => Some(Figure::IdleCpu),
            Failover::DiskIdle => Some(Figure::DiskIdle),
            Failover::Script => Some(Figure::Script(self.name.clone())),
        }
    }

    /// Whether it is an instance of a concurrent group.
    #[must_use]
    pub fn is_concurrent(&self) -> bool {
        self.policy.startup == Startup::All
    }

    /// Whether two owners at once could both write what only one may write.
    #[must_use]
    pub fn has_shared_writer(&self) -> bool {
        !self.volumes.is_empty() || self.filesystems.iter().any(|f| f.is_shared())
    }
}

/// How often, how long and how many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorTimes {
    /// From the end of one check to the beginning of the next; zero = monitoring is off.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// How many failed checks are a failure...
    pub failures: u32,
    /// ...among so many of the last; the same number means: in a row.
    pub of: u32,
    /// A check that succeeds and takes longer is slow.
    pub slow_after: Option<Duration>,
}

impl MonitorTimes {
    /// So many failures in a row, and nothing is slow.
    #[must_use]
    pub const fn new(interval: Duration, timeout: Duration, failures: u32) -> Self {
        Self { interval, timeout, failures, of: failures, slow_after: None }
    }
}

/// Attempts at acquiring, and local restarts after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartLimits {
    /// How many times a failed acquire is tried again on the same node.
    pub retries: u32,
    /// How many local restarts after a monitored failure are allowed within `window`.
    pub restarts: u32,
    /// The window that counts them.
    pub window: Duration,
}

/// A service address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressConfig {
    /// The resource's name; by default made of the address.
    pub name: ResourceName,
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// Its broadcast address (IPv4 only); by default the last one of its subnet.
    pub broadcast: Option<Ipv4Addr>,
    /// The interface; by default the one that carries a node address in the same subnet.
    pub interface: Option<String>,
    /// Its network's name; by default the one that its interface or its subnet says.
    pub network: Option<String>,
    /// The port on which it says over HTTP who has it; nothing where it says nothing.
    pub portal: Option<u16>,
    /// How it is monitored.
    pub monitor: MonitorTimes,
    /// How long acquiring may take.
    pub acquire_timeout: Duration,
    /// How long releasing may take.
    pub release_timeout: Duration,
    /// Retries and restarts.
    pub limits: RestartLimits,
    /// Clients are told when their connection ends with its owner.
    pub tickle: bool,
}

/// Which process is the application, once its start command has done its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MainProcess {
    /// The start command itself: it stays in the foreground.
    Child,
    /// The process whose number this file holds.
    PidFile(PathBuf),
    /// Whatever lives in the application's control group after the start command has ended with 0.
    Cgroup,
    /// No process of its own is watched: what its commands say counts. Whatever lives in its control group is ended
    /// with it all the same.
    None,
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationConfig {
    /// The resource's name.
    pub name: ResourceName,
    /// The init script, as it is written, whose calls the three commands below are; none where they are given
    /// themselves.
    pub script: Option<String>,
    /// The start command, for `/bin/sh -c`.
    pub start: String,
    /// The stop command; without it the processes get `SIGTERM`, then `SIGKILL`.
    pub stop: Option<String>,
    /// The command that tells whether it is well (exit 0) or not; without it the main process must be alive.
    /// It is asked once after every start and stop, even when the interval is zero.
    pub status: Option<String>,
    /// What it is: its profile, its role, where its state lies.
    pub claims: Claims,
    /// Which process is the application.
    pub main: MainProcess,
    /// The user the commands run as; by default root.
    pub user: Option<String>,
    /// How it is monitored.
    pub monitor: MonitorTimes,
    /// How long the start command may take until the application is seen to run.
    pub start_timeout: Duration,
    /// How long the stop command may take; then the processes are killed.
    pub stop_timeout: Duration,
    /// At the end of a lease: how long the processes may react to `SIGTERM` before they are killed.
    pub lapse_grace: Duration,
    /// How else it is watched, and what follows when it fails.
    pub monitoring: Monitoring,
    /// What is removed before it starts under a new epoch: patterns of absolute paths.
    pub stale: Vec<String>,
    /// The group's [`GroupConfig::hostname`].
    pub hostname: Option<String>,
    /// What is gathered before a failure is acted on; nothing where that is turned off.
    pub diagnose: Option<Diagnose>,
    /// Where wildcard binds of its processes go.
    pub bind: Option<BindTo>,
    /// What it shares, where it is the Samba server of its group.
    pub samba: Option<SambaConfig>,
    /// Retries and restarts.
    pub limits: RestartLimits,
    /// The concurrent groups that must be online on a node before it is started there.
    pub clients: Vec<GroupName>,
}
