//! The dispatch: one input in, effects out. What an input sets in motion is settled before the step ends.

use std::collections::{BTreeMap, BTreeSet};

use regent_arbiter::Generation;
use regent_lease::io::{ClusterView, WatchdogWish};
use regent_model::action::RunId;
use regent_model::figure::Figures;
use regent_model::holding::Held;
use regent_model::ids::{IncarnationOf, NodeId, Round};
use regent_model::journal::{Entry, Level};
use regent_model::proof::Promise;
use regent_model::state::{Command, State};
use regent_model::{BootId, Epoch, GroupName, Incarnation, Moment, NodeName};
use regent_planner::View;
use regent_store::Record;

use crate::adapters::Adapters;
use crate::arbiter::{Asking, Cleared, Memo};
use crate::chronicle::Chronicle;
use crate::complaints::Complaint;
use crate::connections::Connections;
use crate::consensus::{Consensus, Noted, RaftMessage};
use crate::early::Early;
use crate::events::Events;
use crate::facts::Said;
use crate::fencing::FenceWork;
use crate::io::{BatchId, Effects, Facts, Identity, Input, PeerMessage, Restored};
use crate::keys::KeyWork;
use crate::memory::Memory;
use crate::proposals::Proposals;
use crate::registering::Registering;
use crate::registry::Instances;
use crate::sequencer::{RunNumbers, Sequencer};
use crate::since::Since;

/// How many times a settling step may go round before something is wrong with the engine.
const SETTLE_ROUNDS_MAX: u32 = 1_000;

/// What this node knows of its guard.
#[derive(Debug, Default)]
pub(crate) struct GuardView {
    pub(crate) attached: bool,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) boot: BootId,
    pub(crate) clean: bool,
    pub(crate) lease_valid: bool,
    pub(crate) letting_go: bool,
    pub(crate) confirmed: u64,
    /// The index of the last view with other voters than the one before; [`Self::confirmed`] follows.
    pub(crate) voters_told_at: u64,
    pub(crate) held: Vec<Held>,
}

/// What to do when a batch is durable.
pub(crate) enum OnDurable {
    /// Tell consensus.
    Log(u64),
    /// Tell the guard and the peers.
    Promise(Promise),
    /// Go on in this generation.
    Generation(Noted),
    /// Write this to the arbiter's area: life and number.
    ArbiterMemo((u64, u64)),
    /// The state as of this entry, and who votes in it, outlives a crash.
    Snapshot(u64),
    /// This node is no voter any more: end the daemon.
    Forgotten,
    /// Nothing.
    Nothing,
}

/// One node's brain.
pub struct Engine {
    pub(crate) me: Identity,
    pub(crate) now: Moment,
    pub(crate) wall_ms: u64,
    pub(crate) consensus: Consensus,
    pub(crate) memory: Memory,
    pub(crate) state: State,
    /// Whether an entry of this session was applied. Until then what is applied may be old: the daemon before this
    /// one may have released, or done, what the state still asks for.
    pub(crate) current: bool,
    /// The index at which the voters last changed (L8).
    pub(crate) members_changed_at: u64,
    /// The last snapshot that was taken, and the last one that is durable.
    snapshot_at: u64,
    pub(crate) snapshot_durable_at: u64,
    pub(crate) guard: GuardView,
    pub(crate) guard_told: Option<ClusterView>,
    pub(crate) watchdog_told: Option<WatchdogWish>,
    /// How far the log was applied when the guard's view was last made.
    pub(crate) guard_told_at: (u64, Generation),
    pub(crate) heard: BTreeMap<NodeId, Incarnation>,
    pub(crate) networks: BTreeMap<NodeId, Vec<bool>>,
    pub(crate) facts: BTreeMap<NodeId, Facts>,
    pub(crate) adapters: Adapters,
    pub(crate) connections: Connections,
    /// Promises of all voters, and whether they may be cited.
    pub(crate) promises: BTreeMap<Promise, bool>,
    /// This voter's own durable promises that are not withdrawn.
    pub(crate) own_promises: BTreeSet<Promise>,
    pub(crate) next_round: Round,
    pub(crate) fenced: BTreeMap<IncarnationOf, String>,
    pub(crate) fence_failed: BTreeSet<IncarnationOf>,
    /// The device said that it could not: the next attempt may have to wait.
    pub(crate) fence_refused: BTreeSet<IncarnationOf>,
    /// What a device said last when it could not, for `status`.
    pub(crate) fence_errors: BTreeMap<IncarnationOf, String>,
    pub(crate) fence_asked: BTreeMap<IncarnationOf, Moment>,
    pub(crate) fence_work: Vec<FenceWork>,
    /// Power that is being given back: by which device, to whom.
    pub(crate) fence_restores: BTreeMap<RunId, (String, NodeName)>,
    /// Since when this node knows that a machine is to be rebooted.
    pub(crate) reboots_since: BTreeMap<IncarnationOf, Moment>,
    pub(crate) sequencers: BTreeMap<GroupName, Sequencer>,
    pub(crate) events: Events,
    /// What this daemon itself saw assigned to this life, and did not begin yet: nothing of it can be running.
    pub(crate) assigned_here: BTreeMap<GroupName, Epoch>,
    pub(crate) numbers: RunNumbers,
    pub(crate) proposals: Proposals,
    pub(crate) decided: BTreeMap<Command, Moment>,
    /// As leader: the groups that ought to run and cannot.
    pub(crate) complaints: BTreeMap<GroupName, Complaint>,
    pub(crate) batches: BTreeMap<BatchId, OnDurable>,
    pub(crate) next_batch: u64,
    pub(crate) chronicle: Chronicle,
    pub(crate) told_up_to: u64,
    pub(crate) said: Said,
    pub(crate) since: Since,
    /// Orders that came before this node knew how things stand.
    pub(crate) early: Early,
    pub(crate) figures: Figures,
    pub(crate) last_transfer: Moment,
    pub(crate) former_told: Moment,
    pub(crate) last_applied: Moment,
    /// The peers as told last, and how far the log was applied when they were looked at last.
    pub(crate) peers_told: (BTreeMap<NodeId, Vec<std::net::IpAddr>>, Option<u64>),
    pub(crate) was_leader: Option<NodeId>,
    pub(crate) leaving: bool,
    /// Why this daemon cannot go on: it was given something that it cannot read.
    pub(crate) unreadable: Option<String>,
    /// What is not as it should be with this node itself, by topic.
    pub(crate) troubles: BTreeMap<String, String>,
    pub(crate) registering: Registering,
    pub(crate) instances: Instances,
    pub(crate) asking: Asking,
    pub(crate) keys: KeyWork,
    /// The first input was taken.
    begun: bool,
    pub(crate) out: Effects,
}

impl Engine {
    /// An engine that goes on with what was restored.
    ///
    /// # Panics
    /// When the recovered snapshot is not a state: the store checks sums, so this is a fault of the program.
    #[must_use]
    pub fn new(me: Identity, restored: Restored, seed: u64, now: Moment, wall_ms: u64) -> (Self, Effects) {
        let (recovered, state) = (&restored.recovered, restored.state(me.speaks));
        let founders = restored.founders();
        let (consensus, records) =
            Consensus::new(me.id, me.id.0, recovered, founders, state.config.timers, seed ^ me.id.0, now);
        let memory = Memory::new(me.session, seed, &recovered.meta);
        let chronicle = Chronicle::new(me.name.clone(), me.session, restored.journal);
        let mut engine = Self {
            proposals: Proposals::new(me.id, me.session),
            me,
            now,
            wall_ms,
            consensus,
            memory,
            state,
            current: false,
            // The change that the snapshot holds: nobody's word of before it counts for the next one (L8).
            members_changed_at: recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.index),
            snapshot_at: 0,
            snapshot_durable_at: recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.index),
            guard: GuardView::default(),
            guard_told: None,
            watchdog_told: None,
            guard_told_at: (0, Generation(0)),
            heard: BTreeMap::new(),
            networks: BTreeMap::new(),
            facts: BTreeMap::new(),
            adapters: Adapters::default(),
            connections: Connections::default(),
            promises: BTreeMap::new(),
            own_promises: recovered.promises.clone(),
            next_round: recovered.largest_round.next(),
            fenced: BTreeMap::new(),
            fence_failed: BTreeSet::new(),
            fence_refused: BTreeSet::new(),
            fence_errors: BTreeMap::new(),
            fence_asked: BTreeMap::new(),
            fence_work: Vec::new(),
            fence_restores: BTreeMap::new(),
            reboots_since: BTreeMap::new(),
            sequencers: BTreeMap::new(),
            events: Events::default(),
            assigned_here: BTreeMap::new(),
            numbers: RunNumbers::default(),
            decided: BTreeMap::new(),
            complaints: BTreeMap::new(),
            batches: BTreeMap::new(),
            next_batch: 0,
            told_up_to: chronicle.told_up_to(),
            chronicle,
            said: Said::new(now),
            since: Since::new(now),
            early: Early::new(now),
            figures: Figures::new(),
            last_transfer: now,
            former_told: now,
            last_applied: now,
            peers_told: Default::default(),
            was_leader: None,
            leaving: false,
            unreadable: None,
            troubles: BTreeMap::new(),
            registering: Registering::default(),
            instances: Instances::default(),
            asking: Asking::new(Memo::recovered(recovered), Cleared::recovered(recovered), now),
            keys: KeyWork::default(),
            begun: false,
            out: Effects::default(),
        };
        engine.go_on(records);
        let effects = engine.take_effects();
        (engine, effects)
    }

    fn go_on(&mut self, records: Vec<Record>) {
        if self.memory.forgotten().is_some() {
            return self.end_for_good();
        }
        if !records.is_empty() {
            self.persist(records, OnDurable::Nothing);
        }
        self.forget_promises_withdrawn();
        self.recall_events();
        self.settle();
    }

    /// Takes one input. `wall_ms` is only written into the journal.
    pub fn step(&mut self, now: Moment, wall_ms: u64, input: Input) -> Effects {
        assert!(now >= self.now, "time went back from {} to {now}", self.now);
        self.now = now;
        self.wall_ms = wall_ms;
        if self.unreadable.is_some() {
            return Effects { unreadable: self.unreadable.clone(), ..Effects::default() };
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.tell(
                Level::Step,
                "daemon_start",
                format!("daemon {} of {} began", self.me.session, self.me.name),
            );
        }
        if self.memory.forgotten().is_some() {
            if let Input::Persisted(id) = input {
                self.persisted(id);
            }
            return self.take_effects();
        }
        self.take(input);
        self.since.only(&self.heard, self.me.id);
        if self.memory.forgotten().is_none() {
            self.settle();
        }
        self.take_effects()
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Tick => self.tick(),
            Input::Guard(said) => self.guard_said(said),
            Input::GuardLost => self.guard_lost(),
            Input::Networks(networks) => self.networks_heard(networks),
            Input::Measured(figures) => self.figures = figures,
            Input::UtcOffset(seconds) => self.since.utc_offset_s = Some(seconds),
            Input::Peer { from, message } => self.peer_said(from, message),
            Input::Persisted(id) => self.persisted(id),
            Input::Done { id, outcome, steps } => self.agent_done(id, outcome, steps),
            Input::Fenced { id, result } => self.fence_done(id, result),
            Input::Ran { id, end } => self.command_ended(id, end),
            Input::Seen { id, text } => self.looked(id, text),
            Input::Instances(looks) => self.instances_seen(looks),
            Input::Keys { held, machine } => self.keys_held(held, machine),
            Input::Notice(notice) => self.noticed(notice),
            Input::Arbiter { number, input } => self.arbiter_answers(number, input),
            Input::Request { id, request } => self.request_in_time(id, request),
        }
    }

    /// When [`Input::Tick`] has something to do, at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Moment {
        let sequencers = self.sequencers.values().filter_map(Sequencer::next_wake).min();
        let fixed = self.consensus.next_tick().min(self.said.next);
        [sequencers, self.asking.next_wake()].into_iter().flatten().fold(fixed, Moment::min)
    }

    /// The state that this node has applied.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether what is applied is as new as this daemon.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.current
    }

    /// Whether this node leads the log.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.consensus.leads()
    }

    /// The voters of the log, as applied here.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.consensus.voters()
    }

    /// The term of the log.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.consensus.term()
    }

    /// How far this node has applied the log.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.consensus.applied()
    }

    fn tick(&mut self) {
        self.consensus.tick(self.now);
        if self.now >= self.said.next {
            self.heartbeat();
        }
        self.proposals_again();
    }

    /// Works off everything that an input set in motion.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < SETTLE_ROUNDS_MAX, "the engine does not settle");
            let mut moved = self.follow_cold();
            if self.is_entering() {
                self.follow_generation();
                moved |= self.drain_log();
            }
            if self.unreadable.is_some() {
                return;
            }
            self.told_leader();
            self.follow_events();
            self.follow_life();
            self.follow_keys();
            self.follow_groups();
            moved |= self.follow_events();
            moved |= self.early_requests();
            let decided = self.lead();
            self.tell_guard();
            if !moved && !decided {
                break;
            }
        }
        self.follow_arbiter();
        self.follow_connections();
        self.tell_peers();
        self.follow_portals();
    }

    pub(crate) fn drain_log(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.consensus.output() {
            moved = true;
            self.send_raft(output.send);
            if let Some((number, records)) = output.persist {
                self.persist(records, OnDurable::Log(number));
            }
            for committed in output.committed {
                self.apply(committed);
            }
        }
        // What could not be read is missing in the state, and counts as applied.
        if self.unreadable.is_some() {
            return moved;
        }
        if let Some(records) = self.consensus.compact(&self.state) {
            self.snapshot_at = self.consensus.applied();
            self.persist(records, OnDurable::Snapshot(self.snapshot_at));
        }
        moved
    }

    /// Sends words of consensus, with how far this node's memory goes.
    fn send_raft(&mut self, messages: Vec<(NodeId, RaftMessage)>) {
        let marked = messages.into_iter().map(|(to, message)| (to, self.marked(message)));
        let marked: Vec<_> = marked.collect();
        self.out.send.extend(marked);
    }

    pub(crate) fn persist(&mut self, mut records: Vec<Record>, then: OnDurable) {
        self.next_batch += 1;
        let id = BatchId(self.next_batch);
        records.extend(self.memory.records(id.0));
        self.batches.insert(id, then);
        self.out.persist.push((id, records));
    }

    fn persisted(&mut self, id: BatchId) {
        self.memory.durable(id.0);
        match self.batches.remove(&id) {
            Some(OnDurable::Log(number)) => {
                let send = self.consensus.persisted(number);
                self.send_raft(send);
            }
            Some(OnDurable::Promise(promise)) => self.promise_durable(promise),
            Some(OnDurable::Generation(noted)) => self.generation_noted(noted),
            Some(OnDurable::ArbiterMemo(write)) => self.arbiter_memo_durable(write),
            Some(OnDurable::Snapshot(index)) => self.snapshot_durable_at = index,
            Some(OnDurable::Forgotten) => self.end_for_good(),
            Some(OnDurable::Nothing) | None => {}
        }
    }

    /// What the planner goes by.
    pub(crate) fn view(&self) -> View {
        let mut heard: BTreeSet<IncarnationOf> = self
            .heard
            .iter()
            .map(|(node, incarnation)| IncarnationOf { node: *node, incarnation: *incarnation })
            .collect();
        heard.extend(self.my_life());
        View {
            voters: self.counted(),
            figures: self.all_figures(),
            heard_for: self.heard_for(),
            met: self.met(),
            settling: self.settling(),
            local: self.local_time(),
            heard,
            stored: self.promises.iter().filter(|(_, matured)| !**matured).map(|(p, _)| *p).collect(),
            matured: self.promises.iter().filter(|(_, matured)| **matured).map(|(p, _)| *p).collect(),
            fenced: self.fenced.clone(),
            rebooting: self.rebooting(),
            fence_failed: self.fence_failed.clone(),
            lost: self.networks_lost_alone(),
        }
    }

    /// This node's incarnation, once the guard told it.
    pub(crate) fn my_life(&self) -> Option<IncarnationOf> {
        Some(IncarnationOf { node: self.me.id, incarnation: self.guard.incarnation? })
    }

    /// Writes a journal entry about the node.
    pub(crate) fn tell(&mut self, level: Level, kind: &str, text: impl Into<String>) {
        self.write(level, kind, text.into(), |_| {});
    }

    /// Writes a journal entry with more to it.
    pub(crate) fn write(&mut self, level: Level, kind: &str, text: String, more: impl FnOnce(&mut Entry)) {
        let mut entry = Entry {
            node: self.me.name.clone(),
            number: 0,
            at: self.now,
            wall_ms: self.wall_ms,
            level,
            kind: kind.to_owned(),
            group: None,
            resource: None,
            epoch: None,
            index: None,
            event: None,
            text,
            took: None,
            evidence: String::new(),
        };
        more(&mut entry);
        self.chronicle.write(entry);
    }

    fn take_effects(&mut self) -> Effects {
        let fresh = self.chronicle.take_fresh();
        if !fresh.is_empty() {
            let after = self.chronicle.before(fresh[0].number);
            self.broadcast(&PeerMessage::Journal { after, entries: fresh.clone() });
            self.out.journal = fresh;
        }
        std::mem::take(&mut self.out)
    }
}
