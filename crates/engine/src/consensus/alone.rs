//! Going on alone: what the arbiter's winner does with its log (`docs/arbiter.md`).
//!
//! The winner counts itself alone from the moment its store has noted the generation: the library is told so beside
//! the log. What the log says, and by whom its entries are judged, follows later and in its place: with an entry of
//! the log that makes the other one a learner, on every node alike.

use std::collections::BTreeSet;

use raft::eraftpb::{ConfChange, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType};
use regent_arbiter::Generation;
use regent_model::{Moment, NodeId};
use regent_store::{Record, Recovered};

use super::{Consensus, Noted};

/// Under which key the store keeps what was noted last.
const KEY: &str = "generation";

/// What the store gave back; the founders' generation if nothing was noted.
pub(super) fn recovered(recovered: &Recovered) -> Noted {
    recovered.meta.get(KEY).map_or_else(Noted::default, |bytes| {
        postcard::from_bytes(bytes).unwrap_or_else(|e| panic!("the generation that was stored is none: {e}"))
    })
}

/// What makes it durable that this generation has begun.
pub(crate) fn record(noted: Noted) -> Record {
    let value = postcard::to_stdvec(&noted).unwrap_or_else(|e| panic!("two numbers cannot be encoded: {e}"));
    Record::Meta { key: KEY.to_owned(), value }
}

impl Consensus {
    /// Whether a change of members, or one that `changes` knows by its bytes, is stored here and not applied: it may be
    /// in force elsewhere (A9).
    pub(crate) fn is_changing(&self, changes: impl Fn(&[u8]) -> bool) -> bool {
        let is_change = |e: &Entry| match e.get_entry_type() {
            EntryType::EntryNormal => !e.data.is_empty() && changes(&e.data),
            _ => true,
        };
        // What cannot be read may be one.
        self.not_applied().is_none_or(|all| all.iter().any(is_change))
    }

    /// What is in the log and not applied.
    fn not_applied(&self) -> Option<Vec<Entry>> {
        let log = &self.raft.raft.raft_log;
        let (first, last) = (log.applied + 1, log.last_index());
        if first > last {
            return Some(Vec::new());
        }
        log.entries(first, None, raft::GetEntriesContext::empty(false)).ok()
    }

    /// Who votes, as far as this node knows: the winner of a generation counts alone as soon as it is noted, before the
    /// log says so. By whom entries are judged is another thing: [`Consensus::voters`].
    pub(crate) fn counted(&self, entered: Generation) -> BTreeSet<NodeId> {
        match self.noted.winner {
            Some(winner) if self.noted.generation > entered => BTreeSet::from([winner]),
            _ => self.voters(),
        }
    }

    /// Whether the library counts this node alone, and whether it counts this node at all.
    fn counts(&self, me: NodeId) -> (bool, bool) {
        let voters = self.raft.raft.prs().conf().to_conf_state().voters;
        (voters == [me.0], voters.contains(&me.0))
    }

    /// The next generation is being noted: nothing is heard or said before that is durable.
    pub(crate) fn begin_noting(&mut self) {
        self.is_noting = true;
    }

    /// Hears and says nothing, and asks for no vote, as long as it is told so.
    pub(crate) fn wait(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// Whether nothing is heard, said or proposed for now.
    pub(super) fn stands_still(&self) -> bool {
        self.is_noting || self.waits
    }

    /// The generation that was noted last.
    pub(crate) fn noted(&self) -> Noted {
        self.noted
    }

    /// This generation is durably noted (A12): hears and says nothing of an earlier one from now on.
    pub(crate) fn note(&mut self, noted: Noted) {
        if noted.is_after(self.noted) {
            self.noted = noted;
        }
        self.is_noting = false;
    }

    /// Counts `me` alone from now on, takes the lead, and with it the whole log. The arbiter must have named it, and
    /// the generation be durable here (A12). To be repeated until the log says so itself: after a restart, and when an
    /// earlier change of the log has been applied; false if it could not be done now.
    pub(crate) fn go_on_alone(&mut self, now: Moment, me: NodeId) -> bool {
        if self.is_taking_over() || self.waits {
            return false;
        }
        let (alone, votes) = self.counts(me);
        if alone && self.leads() {
            return true;
        }
        self.catch_up(now);
        if !votes {
            // It was counted out, for the other one had been named.
            let back = one(me, ConfChangeType::AddNode);
            if self.raft.raft.apply_conf_change(&back).is_err() {
                return false;
            }
        }
        let others = self.raft.raft.prs().conf().to_conf_state().voters;
        let mut others = others.into_iter().filter(|id| *id != me.0);
        let demoted = others.next().map(|id| one(NodeId(id), ConfChangeType::AddLearnerNode));
        // Not to the mirror: what stands before the entry that says so is judged by both. One at a time is all that the
        // library does in one step; there is one.
        let done = demoted.is_none_or(|other| self.raft.raft.apply_conf_change(&other).is_ok());
        let done = done && self.counts(me).0;
        if done && !self.leads() {
            let _refused = self.raft.campaign();
        }
        self.set_timeout();
        done && self.leads()
    }

    /// Counts this node out, which the arbiter has not named: it leads nothing and asks for no vote until the log makes
    /// it a voter again. The generation must be durable here. To be repeated after a restart until the log says so.
    pub(crate) fn stand_down(&mut self, now: Moment, me: NodeId) -> bool {
        if self.is_taking_over() {
            return false;
        }
        if !self.counts(me).1 && !self.leads() {
            return true;
        }
        self.catch_up(now);
        let term = self.term();
        if self.raft.raft.state != raft::StateRole::Follower {
            self.raft.raft.become_follower(term, raft::INVALID_ID);
        }
        let demoted = one(me, ConfChangeType::AddLearnerNode);
        let done = self.raft.raft.apply_conf_change(&demoted).is_ok();
        self.set_timeout();
        done
    }

    /// Puts the beginning of the generation that is noted into the log, unless it is there: `other` is a learner from
    /// there on. False if it could not be done now.
    pub(crate) fn begin_alone(&mut self, other: NodeId) -> bool {
        let generation = Some(self.noted.generation.0);
        if !self.leads() || self.raft.raft.has_pending_conf() {
            return false;
        }
        let is_there = self.not_applied().is_none_or(|all| all.iter().any(|e| began(e) == generation));
        if is_there {
            return true;
        }
        let mut change = ConfChange::default();
        change.set_node_id(other.0);
        change.set_change_type(ConfChangeType::AddLearnerNode);
        let context = self.noted.generation.0.to_le_bytes().to_vec();
        self.raft.propose_conf_change(context, change).is_ok()
    }
}

/// The generation that begins with this entry, if one does.
pub(super) fn began(entry: &Entry) -> Option<u64> {
    let is_change = entry.get_entry_type() == EntryType::EntryConfChange;
    let bytes = <[u8; 8]>::try_from(&entry.context[..]).ok().filter(|_| is_change)?;
    Some(u64::from_le_bytes(bytes))
}

/// Who votes and who learns after this change, by the log alone; nothing if it is none.
pub(super) fn after(before: &ConfState, change: &ConfChange) -> Option<ConfState> {
    let mut after = before.clone();
    let id = change.get_node_id();
    after.voters.retain(|known| *known != id);
    after.learners.retain(|known| *known != id);
    match change.get_change_type() {
        ConfChangeType::AddNode => after.voters.push(id),
        ConfChangeType::AddLearnerNode => after.learners.push(id),
        ConfChangeType::RemoveNode => {}
    }
    (id != 0 && !after.voters.is_empty()).then_some(after)
}

/// One change of one node.
fn one(node: NodeId, change: ConfChangeType) -> ConfChangeV2 {
    let mut single = raft::eraftpb::ConfChangeSingle::default();
    single.set_node_id(node.0);
    single.set_change_type(change);
    ConfChangeV2 { changes: vec![single].into(), ..ConfChangeV2::default() }
}

#[cfg(test)]
mod tests {
    use regent_model::timers::Timers;
    use regent_store::{HardState, Record, Recovered};

    use super::*;
    use crate::consensus::{Committed, RaftMessage};

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    /// One node, its store, and what it applied, each with who judged it.
    struct Node {
        id: NodeId,
        consensus: Consensus,
        store: Recovered,
        applied: Vec<(String, BTreeSet<NodeId>)>,
        /// Whether its disk answers.
        stores: bool,
    }

    impl Node {
        fn new(id: NodeId) -> Self {
            let voters = both();
            let founding = Some((&voters, Vec::new()));
            let (consensus, records) =
                Consensus::new(id, id.0, &Recovered::default(), founding, Timers::normal(), 7, Moment(0));
            let mut node =
                Self { id, consensus, store: Recovered::default(), applied: Vec::new(), stores: true };
            node.keep(records);
            node
        }

        fn keep(&mut self, records: Vec<Record>) {
            for record in records {
                match record {
                    Record::HardState(hard) => {
                        let commit = self.store.hard_state.commit.max(hard.commit);
                        self.store.hard_state = HardState { commit, ..hard };
                    }
                    Record::Entry(entry) => {
                        self.store.entries.retain(|known| known.index < entry.index);
                        self.store.entries.push(entry);
                    }
                    Record::TruncateFrom { index } => self.store.entries.retain(|e| e.index < index),
                    Record::Snapshot(snapshot) => {
                        self.store.entries.retain(|e| e.index > snapshot.index);
                        self.store.snapshot = Some(snapshot);
                    }
                    Record::Meta { key, value } => drop(self.store.meta.insert(key, value)),
                    other => panic!("the log stores {other:?}"),
                }
            }
        }

        fn restart(&mut self, now: Moment) {
            let timers = Timers::normal();
            (self.consensus, _) = Consensus::new(self.id, self.id.0, &self.store, None, timers, 7, now);
            self.applied.clear();
        }

        fn settle(&mut self) -> Vec<(NodeId, RaftMessage)> {
            let mut send = Vec::new();
            while let Some(output) = self.consensus.output() {
                send.extend(output.send);
                for committed in output.committed {
                    if let Committed::Proposal { data, voters, .. } = committed {
                        self.applied.push((String::from_utf8(data).unwrap(), voters));
                    }
                }
                if let Some((number, records)) = output.persist.filter(|_| self.stores) {
                    self.keep(records);
                    send.extend(self.consensus.persisted(number));
                }
            }
            send
        }

        fn words(&self) -> Vec<&str> {
            self.applied.iter().map(|(word, _)| word.as_str()).collect()
        }
    }

    struct Pair {
        nodes: [Node; 2],
        now: Moment,
        is_cut: bool,
    }

    fn both() -> BTreeSet<NodeId> {
        BTreeSet::from([A, B])
    }

    impl Pair {
        /// Two founders, of which this one leads.
        fn led_by(leader: usize) -> Self {
            let mut pair = Self { nodes: [Node::new(A), Node::new(B)], now: Moment(0), is_cut: false };
            pair.until(|pair| pair.nodes.iter().any(|node| node.consensus.leads_with_all_applied()));
            let id = pair.nodes[leader].id;
            pair.nodes[1 - leader].consensus.transfer(id);
            pair.until(|pair| pair.nodes[leader].consensus.leads_with_all_applied());
            pair
        }

        fn deliver(&mut self) {
            loop {
                let sent: Vec<_> = self.nodes.iter_mut().flat_map(Node::settle).collect();
                if sent.is_empty() {
                    return;
                }
                for (to, message) in sent.into_iter().filter(|_| !self.is_cut) {
                    let now = self.now;
                    let node = self.nodes.iter_mut().find(|node| node.id == to).unwrap();
                    if let Some(later) = node.consensus.step(now, message) {
                        node.keep(vec![record(later)]);
                        node.consensus.note(later);
                        assert!(node.consensus.stand_down(now, to));
                    }
                }
            }
        }

        fn until(&mut self, done: impl Fn(&Self) -> bool) {
            self.deliver();
            for _ in 0..10_000 {
                if done(self) {
                    return;
                }
                self.now =
                    self.nodes.iter().map(|node| node.consensus.next_tick()).min().unwrap().max(self.now);
                self.nodes.iter_mut().for_each(|node| node.consensus.tick(self.now));
                self.deliver();
            }
            panic!("it does not come");
        }

        fn propose(&mut self, at: usize, word: &str) {
            assert!(self.nodes[at].consensus.propose(word.as_bytes().to_vec()), "{at} does not lead");
            self.deliver();
        }

        fn alone(&mut self, at: usize) {
            let me = self.nodes[at].id;
            let noted = Noted::decided(Generation(2), me);
            self.nodes[at].keep(vec![record(noted)]);
            self.nodes[at].consensus.note(noted);
            assert!(self.nodes[at].consensus.go_on_alone(self.now, me));
            self.deliver();
            assert!(self.nodes[at].consensus.leads(), "{at} does not lead alone");
        }

        fn begin(&mut self, at: usize) {
            let other = self.nodes[1 - at].id;
            assert!(self.nodes[at].consensus.begin_alone(other));
            self.deliver();
        }
    }

    #[test]
    fn the_winner_takes_its_whole_log_along_and_the_other_learns_it() {
        for leader in [0, 1] {
            let mut pair = Pair::led_by(leader);
            pair.propose(leader, "both");
            pair.is_cut = true;
            pair.propose(leader, "tail");
            assert_eq!(pair.nodes[0].words(), ["both"]);
            pair.alone(0);
            pair.begin(0);
            pair.propose(0, "alone");
            let mine: &[&str] = if leader == 0 { &["both", "tail", "alone"] } else { &["both", "alone"] };
            assert_eq!(pair.nodes[0].words(), mine);
            assert_eq!(pair.nodes[1].words(), ["both"], "nothing is committed without the winner");
            pair.is_cut = false;
            pair.until(|pair| pair.nodes[1].words() == mine);
            for node in &pair.nodes {
                assert_eq!(node.consensus.voters(), BTreeSet::from([A]));
                assert_eq!(node.consensus.learners(), BTreeSet::from([B]));
                for (word, judges) in &node.applied {
                    let alone = BTreeSet::from([A]);
                    assert_eq!(*judges, if word == "alone" { alone } else { both() }, "{word}");
                }
            }
        }
    }

    #[test]
    fn who_was_not_named_leads_nothing_and_asks_for_no_vote() {
        for leader in [0, 1] {
            let mut pair = Pair::led_by(leader);
            pair.is_cut = true;
            if leader == 1 {
                pair.propose(1, "tail");
            }
            let now = pair.now;
            assert!(pair.nodes[1].consensus.stand_down(now, B));
            let term = pair.nodes[1].consensus.term();
            for _ in 0..1_000 {
                pair.now = pair.nodes[1].consensus.next_tick().max(pair.now);
                let now = pair.now;
                pair.nodes[1].consensus.tick(now);
                assert!(pair.nodes[1].settle().is_empty(), "it speaks up");
                assert!(!pair.nodes[1].consensus.leads());
            }
            assert_eq!(pair.nodes[1].consensus.term(), term);
            pair.alone(0);
            pair.begin(0);
            pair.propose(0, "alone");
            pair.is_cut = false;
            pair.until(|pair| pair.nodes[1].words() == ["alone"]);
            assert_eq!(pair.nodes[1].consensus.learners(), BTreeSet::from([B]));
        }
    }

    #[test]
    fn what_the_other_knew_to_be_committed_is_there() {
        let mut pair = Pair::led_by(1);
        // B hears that A has stored it, and A does not hear that it is committed.
        assert!(pair.nodes[1].consensus.propose(b"known to B".to_vec()));
        for (_, message) in pair.nodes[1].settle() {
            assert_eq!(pair.nodes[0].consensus.step(pair.now, message), None);
        }
        for (_, message) in pair.nodes[0].settle() {
            assert_eq!(pair.nodes[1].consensus.step(pair.now, message), None);
        }
        pair.is_cut = true;
        pair.deliver();
        assert_eq!((pair.nodes[0].words(), pair.nodes[1].words()), (vec![], vec!["known to B"]));
        pair.alone(0);
        assert_eq!(pair.nodes[0].words(), ["known to B"]);
    }

    #[test]
    fn nothing_is_heard_of_an_earlier_generation_and_a_restart_forgets_none() {
        let mut pair = Pair::led_by(1);
        pair.propose(1, "both");
        assert!(pair.nodes[1].consensus.propose(b"late".to_vec()));
        let said: Vec<RaftMessage> = pair.nodes[1].settle().into_iter().map(|(_, message)| message).collect();
        pair.is_cut = true;
        pair.alone(0);
        let now = pair.now;
        pair.nodes[0].restart(now);
        assert_eq!(pair.nodes[0].consensus.noted().winner, Some(A));
        for message in said {
            assert_eq!(pair.nodes[0].consensus.step(now, message), None);
        }
        assert!(pair.nodes[0].settle().is_empty(), "it answers");
        pair.alone(0);
        pair.begin(0);
        pair.is_cut = false;
        pair.until(|pair| pair.nodes[1].consensus.learners() == BTreeSet::from([B]));
        assert!(pair.nodes.iter().all(|node| node.words() == ["both"]));
    }

    #[test]
    fn a_winner_that_restarts_before_its_log_says_so_goes_on_alone_again() {
        let mut pair = Pair::led_by(1);
        pair.propose(1, "both");
        pair.is_cut = true;
        pair.alone(0);
        pair.propose(0, "before the beginning");
        let now = pair.now;
        pair.nodes[0].restart(now);
        assert_eq!(pair.nodes[0].consensus.voters(), both(), "its log does not say so yet");
        pair.alone(0);
        pair.begin(0);
        assert_eq!(pair.nodes[0].words(), ["both", "before the beginning"]);
        pair.is_cut = false;
        pair.until(|pair| pair.nodes[1].words() == ["both", "before the beginning"]);
        assert_eq!(pair.nodes[1].consensus.voters(), BTreeSet::from([A]));
    }

    #[test]
    fn a_change_of_members_that_is_stored_and_not_applied_is_seen() {
        let mut pair = Pair::led_by(0);
        pair.is_cut = true;
        assert!(!pair.nodes[0].consensus.is_changing(|_| false));
        assert!(pair.nodes[0].consensus.change_member(NodeId(3), false));
        pair.deliver();
        assert!(pair.nodes[0].consensus.is_changing(|_| false));
        assert!(!pair.nodes[1].consensus.is_changing(|_| false));
        pair.propose(0, "another arbiter");
        assert!(pair.nodes[0].consensus.is_changing(|bytes| bytes == b"another arbiter"));
    }

    #[test]
    fn the_two_vote_again_when_the_log_says_so() {
        let mut pair = Pair::led_by(0);
        pair.is_cut = true;
        pair.alone(0);
        pair.begin(0);
        pair.is_cut = false;
        pair.until(|pair| pair.nodes[0].consensus.is_caught_up(B));
        assert!(pair.nodes[0].consensus.change_member(B, true));
        pair.until(|pair| pair.nodes.iter().all(|node| node.consensus.voters() == both()));
        pair.is_cut = true;
        pair.propose(0, "not alone any more");
        assert!(pair.nodes[0].words().is_empty());
    }
}
