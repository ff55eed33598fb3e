//! A simulated machine and what runs on it: a guard, a daemon with its store, its agents.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use regent_engine::Engine;
use regent_engine::io::BatchId;
use regent_lease::io::ActId;
use regent_lease::list::HeldOver;
use regent_lease::{Ack, Guard};
use regent_model::action::{Op, Run, RunId};
use regent_model::journal::Entry;
use regent_model::state::State;
use regent_model::{BootId, Epoch, GroupName, Incarnation, NodeId, NodeName, ResourceName};
use regent_store::{Record, Store, VirtualDisk};

use crate::body::{AppKey, Body};
use crate::event::{Event, Life};
use crate::put_back::Copy;
use crate::shadow::Shadow;
use crate::time::{Clock, Ns};

/// A machine.
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) power: bool,
    /// The feeds that fence devices have switched off. It has power while another is on.
    pub(crate) feeds_off: BTreeSet<String>,
    pub(crate) boot: Life,
    pub(crate) clock: Clock,
    /// The agents at work that register it at its disks, by their devices.
    pub(crate) registering: BTreeMap<String, RunId>,
    /// Whether its way to the shared storage is open.
    pub(crate) san: bool,
    /// While the whole machine stands still: what waits for it.
    pub(crate) frozen: Option<Vec<Event>>,
    /// It stood still until just now: what it holds may not have been looked at yet.
    pub(crate) waking_until: Ns,
    pub(crate) body: Body,
    pub(crate) guard: Option<GuardProcess>,
    pub(crate) guards: Life,
    /// The last incarnation number that was made durable.
    pub(crate) incarnations: u64,
    /// What the guard leaves to the next one of the same boot.
    pub(crate) left: Vec<HeldOver>,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) daemons: Life,
    /// The number that the last daemon began with, as the disk knows it.
    pub(crate) sessions: u64,
    /// A copy of its disks.
    pub(crate) copy: Option<Box<Copy>>,
    /// The disk with the state, while no daemon has it open.
    pub(crate) disk: Option<VirtualDisk>,
    /// What the disk must give back.
    pub(crate) shadow: Shadow,
    /// What was being written when the last daemon ended: it may be found, wholly, or not.
    pub(crate) flying: Vec<Record>,
    /// The journal file.
    pub(crate) journal: Vec<Entry>,
    /// What a machine begins with that joined a running cluster.
    pub(crate) newcomer: Option<Box<State>>,
    /// Whether an operator wants the service to run.
    pub(crate) wanted: bool,
    /// Until when writing to the state's disk hangs.
    pub(crate) disk_hangs_until: Ns,
    /// The formats that the release of Regent reads which is installed.
    pub(crate) speaks: regent_model::format::Speaks,
}

/// A guard process.
pub(crate) struct GuardProcess {
    pub(crate) core: Guard,
    pub(crate) life: Life,
    /// The daemon that is connected.
    pub(crate) daemon: Option<Life>,
    pub(crate) wake: Option<Ns>,
    pub(crate) wakes: u64,
    /// Under which ownership each act was asked for.
    pub(crate) acts: BTreeMap<ActId, (GroupName, Epoch)>,
    /// When each peer was last heard on each network.
    pub(crate) heard: BTreeMap<NodeId, Vec<Ns>>,
    pub(crate) told: BTreeMap<NodeId, Vec<bool>>,
    /// What each peer sent last, so that the copy of another network counts only for that network.
    pub(crate) newest: BTreeMap<NodeId, (Incarnation, u64)>,
    pub(crate) acknowledged: BTreeMap<NodeId, Ack>,
}

/// A daemon.
pub(crate) struct Daemon {
    pub(crate) engine: Engine,
    pub(crate) life: Life,
    pub(crate) store: Store<VirtualDisk>,
    /// Batches that wait for the store's thread.
    pub(crate) queue: VecDeque<(BatchId, Vec<Record>)>,
    /// Batches that it writes now.
    pub(crate) writing: Vec<(BatchId, Vec<Record>)>,
    /// While only the daemon stands still: what waits for it.
    pub(crate) frozen: Option<Vec<Event>>,
    pub(crate) wake: Option<Ns>,
    pub(crate) wakes: u64,
    pub(crate) jobs: BTreeMap<RunId, Job>,
    /// The instances that are held, and under which ownership.
    pub(crate) instances: BTreeMap<AppKey, Epoch>,
    /// Which run waits for which answer of the guard.
    pub(crate) acts: BTreeMap<ActId, RunId>,
    pub(crate) next_act: u64,
    /// The incarnation that the guard last told: what is done now is done in its name.
    pub(crate) incarnation: Option<Incarnation>,
    /// When the last word to the guard arrives, so that words do not overtake each other; and back.
    pub(crate) ipc: [Ns; 2],
}

/// What becomes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Well,
    Fails,
    Hangs,
}

/// How far an agent is with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// An earlier change of the same resource must end first.
    Waiting,
    /// It has just begun.
    Begun,
    /// It has looked at what it needs.
    Looked,
    /// It waits for the guard.
    Asked,
    /// The guard said yes.
    Allowed,
    /// What takes time is over.
    Worked,
    /// It waits for the guard to take something off its list.
    Dropping,
}

/// One run of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) run: Run,
    pub(crate) incarnation: Incarnation,
    pub(crate) fate: Fate,
    pub(crate) progress: Progress,
    /// It is an acquire, and its release was asked for meanwhile.
    pub(crate) called_off: bool,
    /// What the guard refused, or what failed on the way.
    pub(crate) trouble: Option<String>,
}

impl Job {
    /// Whether it changes a resource: one change at a time.
    pub(crate) fn changes(&self, group: &GroupName, resource: &ResourceName) -> bool {
        let op = self.run.op;
        (op == Op::Acquire || op == Op::Release)
            && (&self.run.group, self.run.resource.name()) == (group, resource)
    }
}

impl Machine {
    pub(crate) fn new(id: NodeId, name: NodeName, clock: Clock) -> Self {
        Self {
            id,
            name,
            power: false,
            feeds_off: BTreeSet::new(),
            boot: 0,
            clock,
            registering: BTreeMap::new(),
            san: true,
            frozen: None,
            waking_until: 0,
            body: Body::default(),
            guard: None,
            guards: 0,
            incarnations: 0,
            left: Vec::new(),
            daemon: None,
            daemons: 0,
            sessions: 0,
            copy: None,
            disk: Some(VirtualDisk::new()),
            shadow: Shadow::default(),
            flying: Vec::new(),
            journal: Vec::new(),
            newcomer: None,
            wanted: true,
            disk_hangs_until: 0,
            speaks: regent_model::format::Speaks::THIS,
        }
    }

    pub(crate) fn boot_id(&self) -> BootId {
        BootId(format!("{}-boot-{}", self.name, self.boot))
    }

    pub(crate) fn is_guard(&self, life: Life) -> bool {
        self.guard.as_ref().is_some_and(|g| g.life == life)
    }

    pub(crate) fn is_daemon(&self, life: Life) -> bool {
        self.daemon.as_ref().is_some_and(|d| d.life == life)
    }
}
