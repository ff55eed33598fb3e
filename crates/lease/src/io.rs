//! What goes into a guard and what comes out of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use regent_model::holding::{Act, Held};
use regent_model::ids::IncarnationOf;
use regent_model::proof::Promise;
use regent_model::timers::Timers;
use regent_model::{BootId, Epoch, GroupName, Incarnation, Moment, NodeId, Round};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;

/// An act or a change of the release list that the daemon waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActId(pub u64);

/// What the daemon tells its guard. The daemon speaks for the replicated log and for the durable store; the
/// guard decides alone about its lease and its acknowledgements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromDaemon {
    /// The first thing after every connection: what the log and the store say. Before the first one, a guard
    /// acknowledges nobody (it does not know what was promised) and lets nobody act.
    Attach {
        /// The promises that were durable, not withdrawn (L1, L5). Also those of the voter before a restart.
        promises: Vec<Promise>,
        /// The round to number the next promise with: larger than every round ever stored.
        next_round: Round,
        /// See [`FromDaemon::Configure`].
        cluster: ClusterView,
    },
    /// The log was applied further: who votes, with which timers, and who is dead (L8, L9).
    Configure(ClusterView),
    /// The promise of this round is durable.
    PromiseStored(Promise),
    /// A committed entry withdrew this promise (L5).
    PromiseWithdrawn(Promise),
    /// Put this on the release list; answered by [`ToDaemon::Done`]. Refused when the lease is not valid.
    Hold {
        /// The number to answer with.
        id: ActId,
        /// The incarnation for which the daemon believes to act; refused if it is not the guard's.
        incarnation: Incarnation,
        /// What.
        held: Held,
    },
    /// Put the act's holding on the release list and then perform the act, if the lease is valid; answered by
    /// [`ToDaemon::Done`].
    Perform {
        /// The number to answer with.
        id: ActId,
        /// As in [`FromDaemon::Hold`].
        incarnation: Incarnation,
        /// The group for which it is done.
        group: GroupName,
        /// The ownership under which it is done.
        epoch: Epoch,
        /// What.
        act: Act,
    },
    /// This was shown to be released; take it off the list. Answered by [`ToDaemon::Done`].
    Drop {
        /// The number to answer with.
        id: ActId,
        /// What.
        held: Held,
    },
    /// The log holds a new epoch for what this group holds here (adopted after a restart, L6).
    Rename {
        /// The incarnation that the adopt entry names; ignored if it is not the guard's.
        incarnation: Incarnation,
        /// The group.
        group: GroupName,
        /// The new epoch of everything it holds.
        epoch: Epoch,
    },
    /// The log says that this incarnation of the node, and what an earlier one left to it, holds without lease
    /// (L10): from now on the end of the lease lets go of nothing, no new act is allowed, and the lease is not
    /// renewed. Ignored if it is not the guard's own incarnation, or if that is letting go already. What a guard
    /// holds so it leaves so to the next one: there it stays until it is adopted ([`FromDaemon::Rename`]) or
    /// dropped, while the new incarnation seeks its lease as ever.
    HeldWithoutLease {
        /// Which of the node's lives.
        incarnation: Incarnation,
    },
    /// The daemon is still there. Without any message for [`crate::guard::DAEMON_ABSENCE_MAX`] the guard lets go.
    Alive,
    /// Which watchdog device to feed, and for whom. Said after every [`FromDaemon::Attach`], and whenever it changes.
    Watchdog(WatchdogWish),
}

/// What is wanted of the watchdog device of a guard's machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct WatchdogWish {
    /// The device; none is to be fed, and one that is armed is to be disarmed, where there is none.
    pub device: Option<PathBuf>,
    /// The groups that may be acquired only while a device is fed.
    pub groups: BTreeSet<GroupName>,
}

/// The part of the applied log that a guard must know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterView {
    /// The index of the log up to which this is true; a smaller one is ignored.
    pub applied: u64,
    /// The current voters, this node included if it is one.
    pub voters: BTreeSet<NodeId>,
    /// Everyone to exchange keepalives with (voters and learners), without this node.
    pub peers: BTreeSet<NodeId>,
    /// The timers.
    pub timers: Timers,
    /// The largest lease that any keepalive in use may carry (L1); a keepalive that asks for more is not
    /// acknowledged. After a restart it must not be smaller than in any view given before.
    pub largest_lease: Duration,
    /// The incarnations that the log has registered and not ended, this node's own included. A voter promises
    /// only about these; one that it sees here for the first time counts as acknowledged just now (L1).
    pub registered: BTreeSet<IncarnationOf>,
    /// Incarnations that the log has ended, by whatever proof (L9); each stands for the older ones of its node too.
    pub dead: BTreeSet<IncarnationOf>,
}

impl ClusterView {
    /// Whether the log has ended this incarnation: it, or a later one of the same node.
    #[must_use]
    pub fn has_ended(&self, about: IncarnationOf) -> bool {
        let last = IncarnationOf { node: about.node, incarnation: Incarnation(u64::MAX) };
        self.dead.range(about..=last).next().is_some()
    }
}

/// What the guard tells the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToDaemon {
    /// The answer to [`FromDaemon::Attach`], and sent again whenever the incarnation changes.
    Welcome {
        /// The guard's incarnation.
        incarnation: Incarnation,
        /// The machine's boot.
        boot: BootId,
        /// What is on the release list: what a restarted daemon must probe and adopt.
        held: Vec<Held>,
        /// Whether the incarnation began with nothing held over from an earlier one.
        clean: bool,
    },
    /// Store this promise durably, then answer [`FromDaemon::PromiseStored`]. Acknowledging has already ended (L2).
    StorePromise(Promise),
    /// The promise is durable and the silence behind it exceeds the lease: it may be cited as proof.
    PromiseMatured(Promise),
    /// An incarnation that this voter has promised to ignore is heard again: the log should withdraw the
    /// promise, or the incarnation will never hold a lease with this voter's help.
    PromisedButAlive(Promise),
    /// A peer is heard (on at least one network).
    PeerHeard(IncarnationOf),
    /// A peer was not heard for half the time after which a promise begins: silent on all networks.
    PeerSilent {
        /// Who.
        peer: IncarnationOf,
        /// For how long.
        silence: Duration,
    },
    /// The lease is valid for the first time in this incarnation, or again after the daemon attached.
    LeaseValid {
        /// The incarnation.
        incarnation: Incarnation,
    },
    /// The lease is valid under the voters of the view with this index (L8): told once for every view, and again
    /// after the daemon attached. Until then the lease is judged by the voters of the last view confirmed, and
    /// nothing new may be acquired.
    Confirmed {
        /// The incarnation.
        incarnation: Incarnation,
        /// [`ClusterView::applied`] of the view.
        applied: u64,
    },
    /// Letting go has begun; nothing may be acquired any more.
    LettingGo {
        /// The incarnation whose lease is not renewed.
        incarnation: Incarnation,
        /// Why.
        reason: String,
    },
    /// Everything that this incarnation held is shown to be released. A new incarnation follows with a
    /// [`ToDaemon::Welcome`].
    LetGo {
        /// The incarnation that is over.
        incarnation: Incarnation,
        /// What was let go of, and how long each took.
        released: Vec<(Held, Duration)>,
    },
    /// The answer to hold, perform and drop.
    Done {
        /// The number.
        id: ActId,
        /// Whether it was done; if not, why.
        result: Result<(), String>,
    },
}

/// What happens to a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time has passed. Called at least every [`Guard::poll_interval`](crate::Guard::poll_interval).
    Tick,
    /// A sealed datagram from `from` was opened.
    Frame {
        /// The node that sealed it.
        from: NodeId,
        /// What it says.
        frame: Frame,
    },
    /// The daemon says something.
    Daemon(FromDaemon),
    /// The daemon's connection ended.
    DaemonGone,
    /// An act asked for by [`Effect::Perform`] is over.
    Performed {
        /// The act's number.
        id: ActId,
        /// Whether it was done. A failed act has left nothing behind.
        result: Result<(), String>,
    },
    /// An act asked for by [`Effect::Perform`] was not begun by its moment, and will not be unless it is asked for again.
    NotBegun {
        /// The act's number.
        id: ActId,
        /// What was to be done.
        act: Act,
    },
    /// One holding of [`Effect::LetGo`] was shown to be released, or could not be.
    Released {
        /// What.
        held: Held,
        /// How it went.
        result: Result<Duration, String>,
    },
}

/// What a guard wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Seal and send to this peer, on every network.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        frame: Frame,
    },
    /// Tell the daemon, if it is connected.
    Tell(ToDaemon),
    /// Perform the act on a helper thread and answer with [`Input::Performed`], or with [`Input::NotBegun`]. Its
    /// holding is on the list.
    Perform {
        /// The number.
        id: ActId,
        /// What.
        act: Act,
        /// When letting go begins unless the lease is renewed: an act that was not begun by then must not begin.
        not_after: Moment,
    },
    /// Let go of all this, in this order, showing each released ([`Input::Released`]); by `deadline` at the latest.
    LetGo {
        /// What, in order.
        held: Vec<Held>,
        /// When it must be over.
        deadline: Moment,
    },
    /// Letting go could not be shown in time: the reset line. Nothing after this effect is carried out.
    Reset {
        /// Why.
        reason: String,
    },
    /// Begin a new incarnation: store a new number durably and call
    /// [`Guard::reborn`](crate::Guard::reborn) with it.
    NewIncarnation,
}
