//! What goes into an engine and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};

use regent_api::portal::Portal;
use regent_api::{Answer, QueuedEvent, Request};
use regent_lease::{FromDaemon, ToDaemon};
use regent_model::action::{
    CommandEnd, EventRun, FenceFound, FenceRun, LookRun, NeighbourProbe, Notice, Outcome, Run, RunId, Upkeep,
};
use regent_model::connection::{ServiceAddress, TickleRun};
use regent_model::figure::Figures;
use regent_model::format::Speaks;
use regent_model::ids::{IncarnationOf, InstanceName};
use regent_model::instance::InstanceLook;
use regent_model::journal::{Entry, Level};
use regent_model::proof::Promise;
use regent_model::state::{KeyStep, KeysHeld, MachineKey, Proposal, State};
use regent_model::{BootId, GroupName, Incarnation, NodeId, NodeName, ResourceName};
use regent_store::{Record, Recovered};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use crate::adapters::{AdapterFact, Hearing, NetworkWord};
pub use crate::arbiter::{ArbiterAct, ArbiterPlace, ArbiterRun};
pub use crate::connections::{ConnectionsTalk, ConnectionsWord};
use crate::consensus::{Noted, RaftMessage};
use crate::format;
pub use crate::memory::Mark;

/// Who an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its number in the log.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// A number larger than that of every daemon that this node had before: it tells apart what a daemon and its
    /// predecessors proposed.
    pub session: u64,
    /// The version of the daemon, for `status`.
    pub version: String,
    /// The formats that it reads and writes.
    pub speaks: Speaks,
}

/// What an engine begins with.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The durable state. Its boot and incarnation are the guard's to tell.
    pub recovered: Recovered,
    /// For a founder of the cluster with an empty store: the state all founders begin with, and who votes in it.
    pub founding: Option<(State, BTreeSet<NodeId>)>,
    /// This node's own journal entries that are kept, oldest first.
    pub journal: Vec<Entry>,
}

impl Restored {
    /// The state to go on with: that of the snapshot, or that of the founding.
    ///
    /// # Panics
    /// When the snapshot is no state or there is neither: the store checks sums, so this is a fault of the program.
    pub(crate) fn state(&self, speaks: Speaks) -> State {
        match &self.recovered.snapshot {
            Some(snapshot) => format::read(&snapshot.data, speaks)
                .unwrap_or_else(|e| panic!("the recovered snapshot is no state: {e}")),
            None => {
                let founding = self.founding.as_ref().map(|(state, _)| state.clone());
                founding.unwrap_or_else(|| panic!("an empty store needs a founding state"))
            }
        }
    }

    /// Who founds the log, and its first state as bytes.
    pub(crate) fn founders(&self) -> Option<(&BTreeSet<NodeId>, Vec<u8>)> {
        let (state, voters) = self.founding.as_ref().filter(|(_, voters)| !voters.is_empty())?;
        Some((voters, format::write(state.format, state)))
    }
}

/// Names a request until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a batch of records until it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// What happens to an engine.
#[derive(Debug, Clone)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The guard says something.
    Guard(ToDaemon),
    /// The connection to the guard has ended. What is told next is for the next guard process, and begins with
    /// [`FromDaemon::Attach`].
    GuardLost,
    /// The guard's report on which networks each peer was heard lately, in the order of the networks.
    Networks(BTreeMap<NodeId, Vec<bool>>),
    /// What this node has measured of what groups choose their nodes by, when that has changed.
    Measured(Figures),
    /// How many seconds the local time of this node is ahead of UTC; said at the beginning and when it changes.
    UtcOffset(i32),
    /// A peer says something; the channel has made sure that it is this peer.
    Peer {
        /// Who.
        from: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// This batch is durable.
    Persisted(BatchId),
    /// An agent's answer.
    Done {
        /// To which run.
        id: RunId,
        /// What it found or did.
        outcome: Outcome,
        /// What it did on the way, for the journal.
        steps: Vec<StepTaken>,
    },
    /// A fence device's answer.
    Fenced {
        /// To which run.
        id: RunId,
        /// What is confirmed; if nothing, why.
        result: Result<FenceFound, String>,
    },
    /// A command of an event has ended.
    Ran {
        /// Which run.
        id: RunId,
        /// How.
        end: CommandEnd,
    },
    /// An agent has looked at what takes so long.
    Seen {
        /// Which look.
        id: RunId,
        /// The processes, and what they wait for.
        text: String,
    },
    /// What this node sees of the instances on itself: of all that are configured.
    Instances(BTreeMap<InstanceName, InstanceLook>),
    /// The arbiter's disk has answered, or not in time.
    Arbiter {
        /// The [`ArbiterRun::number`] of what was asked for.
        number: u64,
        /// What it says.
        input: regent_arbiter::Input,
    },
    /// Which keys of the cluster this node has by now, in its file, its guard and its channels, and by what its machine is
    /// known: said at the beginning and whenever it has changed.
    Keys {
        /// The keys.
        held: KeysHeld,
        /// The public key of the machine's own key pair.
        machine: MachineKey,
    },
    /// An agent says something unasked.
    Notice(Notice),
    /// The command line asks.
    Request {
        /// The number to answer with.
        id: RequestId,
        /// What.
        request: Request,
    },
}

/// One thing that an agent did on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTaken {
    /// How much it matters.
    pub level: Level,
    /// What it did.
    pub text: String,
    /// How long it took.
    pub took: Duration,
    /// Evidence.
    pub evidence: String,
}

/// What engines say to each other over the channel. Everything may be lost, doubled or late: whoever says
/// something that matters says it again until it sees the effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// Of the replicated log.
    Raft {
        /// How far the sender's memory goes.
        mark: Mark,
        /// How far it knows the receiver's to go. Who has forgotten must not take a step by it: its log is shorter than the
        /// sender believes.
        of: Option<Mark>,
        /// What.
        message: RaftMessage,
    },
    /// "This is how far I know your memory to go": to a daemon that says less, or that this node does not know.
    Remembered(Mark),
    /// "I do not know that: an older copy of my state was put in place. I am no voter any more."
    Forgotten,
    /// "I know that, and go on from there."
    GoesOn {
        /// What was remembered.
        from: Mark,
        /// How far the memory goes now.
        mark: Mark,
    },
    /// "Put this into the log", to the leader.
    Propose(Proposal),
    /// "I have promised", to everyone.
    Promised {
        /// How far the voter's memory goes.
        mark: Mark,
        /// What.
        promise: Promise,
        /// Whether the silence has lasted for a lease: whether it may be cited.
        matured: bool,
    },
    /// "This is how I am", to everyone, again and again.
    Facts {
        /// How far its memory goes.
        mark: Mark,
        /// How it is.
        facts: Box<Facts>,
    },
    /// "The device that you wanted me to use says", to everyone.
    Fenced {
        /// Whose power.
        about: IncarnationOf,
        /// Which attempt.
        attempt: u32,
        /// The device, if it confirmed; else why not.
        result: Result<String, String>,
    },
    /// "My journal goes on like this after this number; what is missing in between is not kept any more."
    Journal {
        /// The number.
        after: u64,
        /// What follows.
        entries: Vec<Entry>,
    },
    /// "Send me your journal after this number."
    JournalAfter(u64),
    /// Of who is connected to the service addresses.
    Connections(ConnectionsTalk),
    /// "You are no member any more."
    Removed,
}

/// How a node is, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its guard's incarnation, once known.
    pub incarnation: Option<Incarnation>,
    /// Its boot.
    pub boot: BootId,
    /// Whether its lease is valid.
    pub lease_valid: bool,
    /// The index of the view under which its lease was last confirmed (L8).
    pub confirmed: u64,
    /// Up to which entry it would remember who votes if it crashed.
    pub voters_durable: u64,
    /// The generation for which it has begun a contest that is not over; 0 if there is none. The other one ends it, too:
    /// whoever was named may be lost before it knows.
    pub contest: u64,
    /// The generation that it has noted.
    pub noted: Noted,
    /// Whether it goes on in that as the sole voter.
    pub alone: bool,
    /// The resources of the groups it owns.
    pub resources: BTreeMap<GroupName, Vec<(ResourceName, ResourceWord)>>,
    /// The number of its newest journal entry.
    pub journal_last: u64,
    /// The version of its daemon.
    pub version: String,
    /// What it has measured.
    pub figures: Figures,
    /// What is not as it should be with the node itself.
    pub troubles: Vec<String>,
    /// Whether its kernel ends the leases of service addresses where its guard cannot.
    pub kernel_leases: bool,
    /// Whether its watchdog is fed, if it has one configured.
    pub watchdog: bool,
    /// What it hears on each network; nothing where no networks are configured.
    pub networks: Vec<Hearing>,
    /// Its interfaces.
    pub adapters: Vec<AdapterFact>,
    /// How far it is with its cluster events.
    pub events: EventFacts,
}

/// How far a node is with its cluster events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFacts {
    /// Everything that follows from the log up to this entry is done.
    pub done: u64,
    /// What runs and waits, in order.
    pub queue: Vec<QueuedEvent>,
}

/// The state of a resource on its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceWord {
    /// It runs.
    Running,
    /// It is being looked at or brought up.
    Acquiring,
    /// It is being taken down.
    Releasing,
    /// It does not run.
    Stopped,
    /// It failed.
    Failed,
    /// It runs, and takes long to say so.
    Slow,
    /// A monitor that only observes is not content with it.
    Unwell,
}

impl ResourceWord {
    /// The word in `status`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Acquiring => "acquiring",
            Self::Releasing => "releasing",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Slow => "slow",
            Self::Unwell => "unwell",
        }
    }
}

/// How the daemon is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Nothing is held: guard and daemon end.
    Empty,
    /// Everything stays up where it is, without lease.
    LeaveRunning,
    /// The machine reboots: what is left on it ends only with that.
    Reboot,
}

/// What an engine wants done. The order within each list matters; the lists may be worked off at the same time,
/// because the engine itself holds back what must wait for something durable.
#[derive(Debug, Default)]
pub struct Effects {
    /// Make these durable, batch by batch, in order, and answer each with [`Input::Persisted`].
    pub persist: Vec<(BatchId, Vec<Record>)>,
    /// Send these.
    pub send: Vec<(NodeId, PeerMessage)>,
    /// Tell the guard.
    pub guard: Vec<FromDaemon>,
    /// Let the agents do this.
    pub run: Vec<Run>,
    /// Let an agent run these commands of events.
    pub event_run: Vec<EventRun>,
    /// Let an agent look at what takes so long.
    pub look: Vec<LookRun>,
    /// Let a fence device do this.
    pub fence: Vec<FenceRun>,
    /// Write to or read the arbiter's disk, one thing at a time; answer each with [`Input::Arbiter`], if it takes for ever
    /// then too.
    pub arbiter: Vec<ArbiterRun>,
    /// The area that decides between two nodes is now here, or there is none any more; told when that has changed.
    pub arbiter_place: Option<Option<ArbiterPlace>>,
    /// Answer the command line.
    pub answer: Vec<(RequestId, Answer)>,
    /// Append to the journal file.
    pub journal: Vec<Entry>,
    /// Everyone to keep a channel to, with their addresses, when that changed.
    pub peers: Option<BTreeMap<NodeId, Vec<std::net::IpAddr>>>,
    /// With [`Self::peers`]: machines that were members, to be called now and then and told so.
    pub former: BTreeMap<NodeId, Vec<std::net::IpAddr>>,
    /// See to the addresses and interfaces of this node itself, when that changed.
    pub upkeep: Option<Upkeep>,
    /// These addresses say over HTTP who has them, and no others, when that or what they say has changed. Before
    /// [`Self::run`] is worked off: a portal is closed before its address goes.
    pub portals: Option<Vec<Portal>>,
    /// Ask these neighbours, and answer with [`Notice::Neighbours`].
    pub ask: Vec<NeighbourProbe>,
    /// Record who is connected to exactly these addresses, when that changed; answer with [`Notice::Connections`].
    pub record: Option<Vec<ServiceAddress>>,
    /// Make the clients of an earlier owner notice that their connections are no more; answer with
    /// [`Notice::Tickled`].
    pub tickle: Vec<TickleRun>,
    /// Do this about the cluster's key, and answer with [`Input::Keys`] when it is done; in the place of what was asked for
    /// before.
    pub keys: Option<KeyStep>,
    /// End the daemon.
    pub leave: Option<Leave>,
    /// End the daemon, which cannot read what the others have agreed on: why. It neither does nor decides anything any
    /// more.
    pub unreadable: Option<String>,
    /// End the daemon, and the guard as soon as it holds nothing: this node is no voter any more, and why. It neither does
    /// nor decides anything any more.
    pub forgotten: Option<String>,
    /// With [`Self::forgotten`]: it was removed.
    pub removed: bool,
}
