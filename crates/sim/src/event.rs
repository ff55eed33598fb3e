//! What can happen, and the queue that puts it in order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use regent_api::Request;
use regent_engine::PeerMessage;
use regent_engine::io::RequestId;
use regent_lease::io::ActId;
use regent_lease::{Frame, FromDaemon, ToDaemon};
use regent_model::action::{CommandEnd, FenceFound, FenceRun, Notice, RunId};
use regent_model::holding::{Act, Held};
use regent_model::{Incarnation, Moment, NodeId, NodeName};
use std::net::IpAddr;

use crate::area::AreaStep;
use crate::array::ArrayStep;
use crate::body::AppKey;
use crate::faults::Fault;
use crate::time::Ns;

/// One life of something that can end before what was meant for it arrives.
pub(crate) type Life = u64;

/// Whose business an event is: it is dropped when that life is over, and waits while that is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A guard process.
    Guard(NodeId, Life),
    /// A daemon.
    Daemon(NodeId, Life),
    /// The kernel of a machine, in one of its boots.
    Kernel(NodeId, Life),
    /// Nobody's: it happens.
    World,
}

/// How far a fence agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FenceStep {
    /// It does what it was asked for.
    Acts,
    /// It says that it has done so.
    Lies,
    /// It asks for the status, to say this if that is off.
    Looks(FenceFound),
    /// Its time is over.
    Failed,
}

/// Something that happens.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A guard's timer.
    GuardWake(NodeId, Life, u64),
    /// A datagram arrives at a machine; its guard hears it.
    Datagram { to: NodeId, from: NodeId, network: usize, frame: Frame },
    /// The daemon said something to its guard.
    ToGuard { node: NodeId, guard: Life, daemon: Life, said: FromDaemon },
    /// The guard finds the connection to its daemon ended.
    DaemonLost { node: NodeId, guard: Life, daemon: Life },
    /// The guard's hands begin an act.
    ActBegins { node: NodeId, guard: Life, id: ActId, act: Act, not_after: Moment },
    /// The kernel has done an act for a guard.
    ActHappens { node: NodeId, boot: Life, guard: Life, id: ActId, act: Act },
    /// The guard's hands let go of the first of these.
    LetGo { node: NodeId, guard: Life, held: VecDeque<Held>, began: Ns },
    /// The number of the guard's next incarnation is durable.
    Reborn { node: NodeId, guard: Life, incarnation: Incarnation },
    /// The supervisor brings a guard up again.
    GuardStarts(NodeId, Life),

    /// A daemon's timer.
    DaemonWake(NodeId, Life, u64),
    /// The guard said something to its daemon.
    ToDaemon { node: NodeId, daemon: Life, guard: Life, said: ToDaemon },
    /// The daemon finds the connection to its guard ended.
    GuardLost { node: NodeId, daemon: Life },
    /// The guard tells on which networks it hears whom.
    Networks { node: NodeId, daemon: Life, heard: BTreeMap<NodeId, Vec<bool>> },
    /// A message of a peer's daemon arrives.
    Peer { to: NodeId, daemon: Life, from: NodeId, message: Box<PeerMessage> },
    /// What the store's thread had begun to write is durable.
    Written(NodeId, Life),
    /// An agent goes on with a run.
    Hand(NodeId, Life, RunId),
    /// An agent's time for a run is over.
    HandOverdue(NodeId, Life, RunId),
    /// A command of a cluster event has ended.
    Ran { node: NodeId, daemon: Life, id: RunId, end: CommandEnd },
    /// An agent says something unasked.
    Noticed { node: NodeId, daemon: Life, notice: Notice },
    /// A fence agent goes on.
    Fence { node: NodeId, daemon: Life, run: Arc<FenceRun>, step: FenceStep },
    /// A fence agent has answered.
    Fenced { node: NodeId, daemon: Life, id: RunId, result: Result<FenceFound, String> },
    /// The command line asks a daemon.
    Ask { node: NodeId, daemon: Life, id: RequestId, request: Request },
    /// The daemon has ended as the engine wanted.
    Leaves { node: NodeId, daemon: Life, guard_too: bool },
    /// The machine reboots as its daemon told it.
    Reboots(NodeId, Life),

    /// An address goes off an interface.
    AddressGoes(NodeId, Life, IpAddr),
    /// A mount goes.
    MountGoes(NodeId, Life, PathBuf),
    /// A start script has brought its application up.
    AppComes(NodeId, Life, AppKey, u64),
    /// An application ends.
    AppGoes(NodeId, Life, AppKey, bool),
    /// The machine is up: its services start.
    ServiceStarts(NodeId, Life),
    /// The supervisor brings a daemon up again.
    DaemonStarts(NodeId, Life),

    /// The disk that decides carries something out.
    Area(AreaStep),
    /// And has answered.
    AreaAnswers { node: NodeId, daemon: Life, number: u64, input: regent_arbiter::Input },

    /// An agent of a device at the storage goes on.
    Array(ArrayStep),
    /// Its time is over.
    ArrayFails(ArrayStep),

    /// Messages that a broken channel held back go on their way.
    ChannelResumes(NodeId, NodeId),
    /// A machine gets power.
    PowerOn(NodeId),
    /// A fault begins.
    Fault(Fault),
    /// A fault ends, or something heals.
    Heals(Fault),
    /// The next fault is chosen.
    ChooseFault,
    /// The operator does something.
    Operate,
    /// The operator asks this on a node.
    Asks(NodeId, Box<Request>),
    /// The operator lets a machine of this name join, until it has.
    Joins(NodeName),
    /// The operator goes on with the removal of the member of this name, until it is through.
    Removes(NodeName),
    /// Something of a scenario happens.
    Scripted(usize),
    /// Faults are over: everything is put right.
    Peace,
    /// The operator asks for everything to run, until it does.
    Restore,
    /// Time to see whether everything runs.
    Judge,
}

impl Event {
    /// Whose business it is. A datagram and a message wait for whoever lives at the other end.
    pub(crate) fn whose(&self) -> Whose {
        match self {
            Self::GuardWake(node, guard, _)
            | Self::ToGuard { node, guard, .. }
            | Self::DaemonLost { node, guard, .. }
            | Self::ActBegins { node, guard, .. }
            | Self::LetGo { node, guard, .. }
            | Self::Reborn { node, guard, .. } => Whose::Guard(*node, *guard),
            Self::DaemonWake(node, daemon, _)
            | Self::ToDaemon { node, daemon, .. }
            | Self::GuardLost { node, daemon }
            | Self::Networks { node, daemon, .. }
            | Self::Written(node, daemon)
            | Self::Hand(node, daemon, _)
            | Self::HandOverdue(node, daemon, _)
            | Self::Ran { node, daemon, .. }
            | Self::Noticed { node, daemon, .. }
            | Self::Fence { node, daemon, .. }
            | Self::Fenced { node, daemon, .. }
            | Self::Ask { node, daemon, .. }
            | Self::AreaAnswers { node, daemon, .. }
            | Self::Leaves { node, daemon, .. } => Whose::Daemon(*node, *daemon),
            Self::Peer { to, daemon, .. } => Whose::Daemon(*to, *daemon),
            Self::ActHappens { node, boot, .. }
            | Self::GuardStarts(node, boot)
            | Self::AddressGoes(node, boot, _)
            | Self::MountGoes(node, boot, _)
            | Self::AppComes(node, boot, ..)
            | Self::AppGoes(node, boot, ..)
            | Self::ServiceStarts(node, boot)
            | Self::Reboots(node, boot)
            | Self::DaemonStarts(node, boot) => Whose::Kernel(*node, *boot),
            Self::Array(step) | Self::ArrayFails(step) => Whose::Kernel(step.node, step.boot),
            _ => Whose::World,
        }
    }
}

/// When an event is due, the number with which it was put in, and where it lies.
type Due = Reverse<(Ns, u64, usize)>;

/// Events in the order of their times; those of the same time in the order in which they were put in.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    due: BinaryHeap<Due>,
    /// The events themselves stay where they were put: moving them around would cost more than everything else.
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    next: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at: Ns, event: Event) {
        self.next += 1;
        let place = if let Some(place) = self.free.pop() {
            self.events[place] = Some(event);
            place
        } else {
            self.events.push(Some(event));
            self.events.len() - 1
        };
        self.due.push(Reverse((at, self.next, place)));
    }

    /// How many events were put in so far.
    pub(crate) fn count(&self) -> u64 {
        self.next
    }

    /// The next event that is due by `end`.
    pub(crate) fn pop_until(&mut self, end: Ns) -> Option<(Ns, Event)> {
        let Reverse((at, _, place)) = *self.due.peek()?;
        if at > end {
            return None;
        }
        self.due.pop();
        self.free.push(place);
        self.events[place].take().map(|event| (at, event))
    }
}
