//! The replicated log, by the `raft` library, behind one small door: nothing outside this module names its types.
//!
//! Two habits of the library are contained here. It draws random election timeouts: after every call the timeout
//! is set again from our own rank (the standby asks first, then the witness, then the owner), so that runs repeat.
//! And it panics where its storage breaks a promise: that is meant to end the daemon, whose guard then lets go in
//! time; nobody catches it.

pub(crate) mod alone;
mod message;
mod mirror;
#[cfg(test)]
mod order;
mod ticks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, HardState};
use raft::{Config, ProgressState, RawNode, StateRole};
use regent_arbiter::mutants::{Condition, Mutants};
use regent_model::state::State;
use regent_model::timers::Timers;
use regent_model::{Moment, NodeId};
use regent_store::{Record, Recovered};

use crate::format;

pub use message::{Noted, RaftMessage};
use mirror::Mirror;
use ticks::{HEARTBEAT_TICKS, election_ticks};

/// How many applied entries stay in the log before a snapshot replaces them, unless told otherwise.
const ENTRIES_KEPT: u64 = 2_000;

/// A bound for election timeouts: the library wants one, ranks and places stay far below it.
const ELECTION_TICKS_MAX: usize = 1 << 20;

/// Where a new cluster's log begins: the founding state counts as entry 1 of term 1 (a pre-vote of nodes at
/// term 0 would make the library panic).
const FOUNDING: u64 = 1;

/// What the log wants done. Everything but `held back` may be done at once.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// To be sent now.
    pub(crate) send: Vec<(NodeId, RaftMessage)>,
    /// To be made durable; answer with [`Consensus::persisted`] and this number.
    pub(crate) persist: Option<(u64, Vec<Record>)>,
    /// Committed, in order.
    pub(crate) committed: Vec<Committed>,
}

/// A committed entry.
#[derive(Debug)]
pub(crate) enum Committed {
    /// A proposal of ours.
    Proposal {
        /// Its place in the log.
        index: u64,
        /// Its bytes.
        data: Vec<u8>,
        /// Who votes where it stands: a change that is handed out with it may come after it.
        voters: BTreeSet<NodeId>,
    },
    /// The voters or learners changed (already in force).
    Members {
        /// Its place in the log.
        index: u64,
        /// The generation that begins with it.
        began: Option<u64>,
        /// How many vote from there on.
        voters: usize,
    },
    /// The leader sent its whole state: this replaces ours.
    Snapshot {
        /// The place in the log that it stands for.
        index: u64,
        /// Its bytes.
        data: Vec<u8>,
    },
}

/// When this node asks to be elected, by what it is; the smaller, the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It owns nothing and could: it will be the new owner anyway.
    Standby,
    /// It only votes.
    Witness,
    /// It owns groups: better that somebody else decides about it.
    Owner,
}

/// One node's part in the replicated log.
pub(crate) struct Consensus {
    raft: RawNode<Mirror>,
    timers: Timers,
    rank: Rank,
    place: u64,
    ranked_at: Option<u64>,
    seed: u64,
    elections_fired: u64,
    /// Up to when ticks are counted.
    ticked: Moment,
    waiting: VecDeque<Unpersisted>,
    durable: HardState,
    /// The members changed: a newcomer takes only a snapshot that names it.
    members_changed: bool,
    /// How many applied entries stay in the log before a snapshot replaces them.
    pub(crate) entries_kept: u64,
    /// Something applied is in an older format than the one in force.
    is_outdated: bool,
    /// To whom the whole state was sent and not answered, and since when.
    states_sent: BTreeMap<u64, Moment>,
    /// The generation that is durably noted.
    noted: Noted,
    /// The next one is being noted: until then nothing is heard or said, or what was looked at when it was decided would
    /// be true no longer (A9).
    is_noting: bool,
    /// This node came up as the sole voter of its generation, and does not know yet that it still is.
    waits: bool,
    /// The conditions of the arbiter that are switched off.
    pub(crate) mutants: Mutants,
}

/// A batch of the library that is not durable yet, with what must not be sent before it is.
struct Unpersisted {
    number: u64,
    done: bool,
    held_back: Vec<RaftMessage>,
}

impl Consensus {
    /// Goes on with what was recovered; an empty store begins with `founders`, or as a learner that waits to be
    /// told everything if there are none. The records returned must be durable before anything else happens.
    pub(crate) fn new(
        me: NodeId,
        place: u64,
        recovered: &Recovered,
        founders: Option<(&BTreeSet<NodeId>, Vec<u8>)>,
        timers: Timers,
        seed: u64,
        now: Moment,
    ) -> (Self, Vec<Record>) {
        let (mirror, records) = match founders {
            Some((voters, data)) if recovered.snapshot.is_none() => Mirror::founded(voters, data, FOUNDING),
            _ => (Mirror::recovered(recovered), Vec::new()),
        };
        let applied = mirror.snapshot_index();
        let durable = mirror.hard_state().clone();
        let config = Config {
            id: me.0,
            election_tick: election_ticks(&timers, timers.election_standby) - 1,
            heartbeat_tick: HEARTBEAT_TICKS,
            max_election_tick: ELECTION_TICKS_MAX,
            applied,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 64,
            check_quorum: true,
            pre_vote: true,
            max_committed_size_per_ready: 1 << 20,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raft = RawNode::new(&config, mirror, &logger)
            .unwrap_or_else(|e| panic!("the recovered log of node {me} is refused by consensus: {e}"));
        let mut consensus = Self {
            raft,
            timers,
            rank: Rank::Standby,
            place,
            ranked_at: None,
            seed,
            elections_fired: 0,
            ticked: now,
            waiting: VecDeque::new(),
            durable,
            members_changed: false,
            is_outdated: false,
            entries_kept: ENTRIES_KEPT,
            states_sent: BTreeMap::new(),
            noted: alone::recovered(recovered),
            is_noting: false,
            waits: false,
            mutants: Mutants::none(),
        };
        consensus.set_timeout();
        (consensus, records)
    }

    /// Takes a message of a peer. One that the library refuses is dropped: the sender repeats what matters. So is one
    /// of an earlier generation (A14), and one of a later, which is to be noted durably before anything of it is taken.
    pub(crate) fn step(&mut self, now: Moment, message: RaftMessage) -> Option<Noted> {
        let theirs = message.noted();
        if theirs.is_after(self.noted) {
            return Some(theirs);
        }
        let is_old = self.noted.is_after(theirs) && !self.mutants.off(Condition::OldIsRefused);
        if is_old || self.stands_still() || self.is_taking_over() {
            return None;
        }
        self.catch_up(now);
        let _refused = self.raft.step(message.into_library());
        self.set_timeout();
        None
    }

    /// Whether something was applied since this was asked last: the rank may be another.
    pub(crate) fn is_ranked_anew(&mut self) -> bool {
        let applied = self.applied();
        self.ranked_at.replace(applied) != Some(applied)
    }

    /// Takes the rank and timers from now on.
    pub(crate) fn set_rank(&mut self, rank: Rank, place: u64, timers: Timers) {
        self.rank = rank;
        self.place = place;
        self.timers = timers;
        self.set_timeout();
    }

    /// Appends a proposal, if this node leads. Whether it commits is only known when it is applied.
    pub(crate) fn propose(&mut self, data: Vec<u8>) -> bool {
        let accepted = self.leads() && !self.stands_still() && self.raft.propose(Vec::new(), data).is_ok();
        self.set_timeout();
        accepted
    }

    /// Proposes that `node` becomes a voter or a learner, if this node leads and no change is under way.
    pub(crate) fn change_member(&mut self, node: NodeId, votes: bool) -> bool {
        let mut change = ConfChange::default();
        change.set_node_id(node.0);
        change.set_change_type(if votes { ConfChangeType::AddNode } else { ConfChangeType::AddLearnerNode });
        self.leads()
            && !self.stands_still()
            && !self.raft.raft.has_pending_conf()
            && self.raft.propose_conf_change(Vec::new(), change).is_ok()
    }

    /// Proposes that all of these become voters in one change, as no change ever should.
    #[cfg(feature = "mutants")]
    pub(crate) fn change_members_at_once(&mut self, nodes: &[NodeId]) {
        let mut change = ConfChangeV2::default();
        for node in nodes {
            let mut single = raft::eraftpb::ConfChangeSingle::default();
            single.set_node_id(node.0);
            single.set_change_type(ConfChangeType::AddNode);
            change.mut_changes().push(single);
        }
        if !nodes.is_empty() && self.leads() && !self.raft.raft.has_pending_conf() {
            let _refused = self.raft.propose_conf_change(Vec::new(), change);
        }
    }

    /// Proposes that `node` leaves the log.
    pub(crate) fn remove_member(&mut self, node: NodeId) -> bool {
        let mut change = ConfChange::default();
        change.set_node_id(node.0);
        change.set_change_type(ConfChangeType::RemoveNode);
        self.leads()
            && !self.stands_still()
            && !self.raft.raft.has_pending_conf()
            && self.raft.propose_conf_change(Vec::new(), change).is_ok()
    }

    /// Hands the lead to `node`, which takes it when it has the whole log.
    pub(crate) fn transfer(&mut self, node: NodeId) {
        if self.leads() && self.raft.raft.lead_transferee.is_none() {
            self.raft.transfer_leader(node.0);
        }
    }

    /// Whether this node leads.
    pub(crate) fn leads(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// Whether this node leads and has applied everything that was committed before its term.
    pub(crate) fn leads_with_all_applied(&self) -> bool {
        self.leads() && self.raft.raft.apply_to_current_term()
    }

    /// The leader, if one is known.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let id = self.raft.raft.leader_id;
        (id != raft::INVALID_ID).then_some(NodeId(id))
    }

    /// The current term.
    pub(crate) fn term(&self) -> u64 {
        self.raft.raft.term
    }

    /// Whether `node` has (nearly) the whole log, as this leader knows.
    pub(crate) fn is_caught_up(&self, node: NodeId) -> bool {
        let last = self.raft.raft.raft_log.last_index();
        self.raft.raft.prs().get(node.0).is_some_and(|p| {
            // Who took over the whole state, and nothing came after it, is probed until something does.
            let has_all = p.matched == last || (p.state == ProgressState::Replicate && p.matched + 2 >= last);
            p.recent_active && has_all
        })
    }

    /// The voters in force.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        self.raft.store().conf_state().voters.iter().map(|id| NodeId(*id)).collect()
    }

    /// The learners in force.
    pub(crate) fn learners(&self) -> BTreeSet<NodeId> {
        self.raft.store().conf_state().learners.iter().map(|id| NodeId(*id)).collect()
    }

    /// The index up to which everything was handed out as committed.
    pub(crate) fn applied(&self) -> u64 {
        self.raft.raft.raft_log.applied.max(self.raft.store().snapshot_index())
    }

    /// Whether the leader's whole state was taken over and is not durable yet. Until then the library counts the
    /// entries that it replaced as not applied, and to campaign would look for them in vain.
    fn is_taking_over(&self) -> bool {
        self.raft.raft.raft_log.applied < self.raft.store().snapshot_index()
    }

    /// Says that the batch with this number (and every earlier one) is durable.
    pub(crate) fn persisted(&mut self, number: u64) -> Vec<(NodeId, RaftMessage)> {
        if let Some(batch) = self.waiting.iter_mut().find(|b| b.number == number) {
            batch.done = true;
        }
        self.release_done()
    }

    fn release_done(&mut self) -> Vec<(NodeId, RaftMessage)> {
        let mut send = Vec::new();
        while self.waiting.front().is_some_and(|b| b.done) {
            let Some(batch) = self.waiting.pop_front() else { break };
            self.raft.on_persist_ready(batch.number);
            let taken_over = self.raft.store().snapshot_index();
            if self.is_taking_over() && self.raft.raft.raft_log.persisted >= taken_over {
                self.raft.advance_apply_to(taken_over);
            }
            send.extend(batch.held_back.into_iter().map(|m| (m.to(), m)));
        }
        self.set_timeout();
        send
    }

    /// Takes everything that the library wants done; call it after every other call until it is empty.
    pub(crate) fn output(&mut self) -> Option<Output> {
        if !self.raft.has_ready() {
            return None;
        }
        let mut ready = self.raft.ready();
        let mut output = Output::default();
        let noted = self.noted;
        let addressed = |m: raft::eraftpb::Message| RaftMessage::from_library(&m, noted);
        output.send.extend(ready.take_messages().into_iter().map(addressed).map(|m| (m.to(), m)));
        let mut records = Vec::new();
        if *ready.snapshot() != raft::eraftpb::Snapshot::default() {
            let snapshot = ready.snapshot().clone();
            records.push(mirror::snapshot_record(&snapshot));
            output.committed.push(Committed::Snapshot {
                index: snapshot.get_metadata().index,
                data: snapshot.get_data().to_vec(),
            });
            self.raft.mut_store().install(snapshot);
        }
        records.extend(self.raft.mut_store().append(ready.entries()));
        if let Some(hard) = ready.hs() {
            self.raft.mut_store().set_hard_state(hard.clone());
            // A commit index alone needs no write of its own: after a restart the leader tells it again.
            let vote_changed = hard.term != self.durable.term || hard.vote != self.durable.vote;
            if vote_changed || !records.is_empty() {
                self.durable = hard.clone();
                records.push(mirror::hard_state_record(hard));
            }
        }
        let held_back: Vec<_> = ready.take_persisted_messages().into_iter().map(addressed).collect();
        let number = ready.number();
        let committed = ready.take_committed_entries();
        self.raft.advance_append_async(ready);
        self.waiting.push_back(Unpersisted { number, done: records.is_empty(), held_back });
        if !records.is_empty() {
            output.persist = Some((number, records));
        }
        output.send.extend(self.release_done());
        for entry in committed {
            self.hand_out(entry, &mut output.committed);
        }
        self.set_timeout();
        Some(output)
    }

    fn hand_out(&mut self, entry: Entry, committed: &mut Vec<Committed>) {
        let index = entry.index;
        match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() => {}
            EntryType::EntryNormal => committed.push(Committed::Proposal {
                index,
                data: entry.data.to_vec(),
                voters: self.voters(),
            }),
            EntryType::EntryConfChange => {
                let mut change = ConfChange::default();
                if change.merge_from_bytes(&entry.data).is_ok() {
                    // The library may count otherwise by now, beside the log; where this entry stands, the log does.
                    let after = alone::after(self.raft.store().conf_state(), &change);
                    let _refused = self.raft.apply_conf_change(&change);
                    self.members_follow(after);
                }
                let voters = self.voters().len();
                committed.push(Committed::Members { index, began: alone::began(&entry), voters });
            }
            EntryType::EntryConfChangeV2 => {
                let mut change = ConfChangeV2::default();
                if change.merge_from_bytes(&entry.data).is_ok() {
                    let conf_state = self.raft.apply_conf_change(&change);
                    self.members_follow(conf_state.ok());
                }
                let voters = self.voters().len();
                committed.push(Committed::Members { index, began: None, voters });
            }
        }
        self.raft.advance_apply_to(index);
    }

    /// A change that is none leaves the members as they are.
    fn members_follow(&mut self, conf_state: Option<ConfState>) {
        if let Some(conf_state) = conf_state {
            self.raft.mut_store().set_conf_state(conf_state);
            self.members_changed = true;
        }
    }

    /// Something that was applied is in an older format than the one in force: the release after the next one will not
    /// read it, and a daemon begins with what is in its log.
    pub(crate) fn outdated(&mut self) {
        self.is_outdated = true;
    }

    /// What was applied last is to outlive a crash, whoever is there then.
    pub(crate) fn keep_durably(&mut self) {
        self.members_changed = true;
    }

    /// Replaces the applied part of the log by the state it led to, when it has grown long, when a newcomer could not
    /// begin with the last such state because it does not name him, or when it is in an older format.
    pub(crate) fn compact(&mut self, state: &State) -> Option<Vec<Record>> {
        let applied = self.applied();
        let store = self.raft.store();
        let is_long = applied >= store.snapshot_index() + self.entries_kept;
        // A node that restarts counts votes by the members of its snapshot: it must not fall behind by two changes.
        let members_changed = std::mem::take(&mut self.members_changed);
        let outdated = std::mem::take(&mut self.is_outdated);
        let misses = store.snapshot_misses_a_member() || members_changed || outdated;
        let is_due = is_long || (applied > store.snapshot_index() && misses);
        if !is_due {
            return None;
        }
        let data = format::write(state.format, state);
        Some(vec![self.raft.mut_store().compact(applied, data)])
    }
}
