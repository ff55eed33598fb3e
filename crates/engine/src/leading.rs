//! What only the leader does: deciding, changing the voters, and giving the lead to who should have it.

use std::time::Duration;

use regent_arbiter::standing::{Readiness, may_settle};
use regent_model::NodeId;
use regent_model::journal::Level;
use regent_model::mutants::{Condition, off};
use regent_model::state::{Command, NodeMode, Tenure};
use regent_planner::decide;

use crate::consensus::Rank;
use crate::engine::Engine;
use crate::words;

/// How much longer than a level of fence devices its operator may stay silent before another is asked.
const FENCE_GRACE: Duration = Duration::from_secs(5);

/// How long to wait before a level that failed is tried again, once all were tried.
const FENCE_PAUSE: Duration = Duration::from_secs(3);

impl Engine {
    /// Decides what should be put into the log next. True if something was.
    pub(crate) fn lead(&mut self) -> bool {
        // Rank and place follow from what is applied, and from nothing else.
        if self.consensus.is_ranked_anew() {
            self.consensus.set_rank(self.rank_of(self.me.id), self.place(), self.state.config.timers);
        }
        if !self.consensus.leads_with_all_applied() || self.is_entering() {
            self.decided.clear();
            self.since.words.clear();
            return false;
        }
        self.watch_fences();
        let patience = self.patience();
        let now = self.now;
        self.decided.retain(|_, at| now.since(*at) <= patience);
        let mut decided = false;
        let stale = self.stale_words();
        let rests = |command: &Command| stale.iter().any(|word| words::rests_on(command, word));
        let given = match self.cut_to_tell() {
            Some(first) => vec![first],
            None => decide(&self.state, &self.view()),
        };
        let given: Vec<Command> = given.into_iter().filter(|c| !rests(c)).collect();
        for command in given.into_iter().chain(stale) {
            if self.decided.contains_key(&command) {
                continue;
            }
            self.decided.insert(command.clone(), now);
            self.propose(command);
            decided = true;
        }
        self.lead_members();
        self.tell_the_former();
        self.settle_voters();
        if !decided {
            self.give_lead_away();
        }
        decided
    }

    /// A device whose operator does not answer has failed, as far as this leader is concerned.
    fn watch_fences(&mut self) {
        let now = self.now;
        for (about, request) in &self.state.fence_requests {
            let asked = *self.fence_asked.entry(*about).or_insert(now);
            let Some(victim) = self.state.members.get(&about.node).map(|m| &m.name) else { continue };
            let levels = self.state.config.fence_levels(victim);
            let level = levels.iter().find(|level| level.level == request.level);
            let limit = level.map_or(Duration::ZERO, |level| level.limit(victim));
            let silent = now.since(asked) > limit.saturating_add(FENCE_GRACE);
            // A level of the other kind may be of no use for what is left.
            let mut alike = levels.iter().filter(|level| level.is_storage() == request.is_storage());
            let tried_all = alike.next_back().is_none_or(|last| last.level <= request.level);
            let refused =
                self.fence_refused.contains(about) && (!tried_all || now.since(asked) > FENCE_PAUSE);
            if silent || refused {
                self.fence_failed.insert(*about);
            }
        }
        let state = &self.state;
        self.fence_asked.retain(|about, _| state.fence_requests.contains_key(about));
    }

    pub(crate) fn rank_of(&self, node: NodeId) -> Rank {
        let owns =
            self.state.groups.values().any(|g| matches!(&g.tenure, Tenure::Owned(o) if o.owner.node == node));
        let witness = self.state.members.get(&node).is_some_and(|m| m.witness);
        match (owns, witness) {
            (true, _) => Rank::Owner,
            (false, true) => Rank::Witness,
            (false, false) => Rank::Standby,
        }
    }

    /// This node's place among the voters of its own rank: the first of them asks first.
    fn place(&self) -> u64 {
        let rank = self.rank_of(self.me.id);
        let before = self
            .consensus
            .voters()
            .into_iter()
            .filter(|id| *id < self.me.id && self.rank_of(*id) == rank)
            .count();
        before as u64
    }

    /// Voters change one at a time, and the next change waits until every owner's lease is confirmed under the
    /// voters in force (L8).
    fn lead_members(&mut self) {
        // The change before must outlive a crash of this leader, or it could come back and elect itself by voters
        // that are two changes old.
        if self.snapshot_durable_at < self.members_changed_at {
            return;
        }
        let (voters, learners) = (self.consensus.voters(), self.consensus.learners());
        let known = |id: &NodeId| voters.contains(id) || learners.contains(id);
        if let Some(new) = self.state.members.keys().find(|id| !known(id)) {
            self.consensus.change_member(*new, false);
            return;
        }
        if let Some(gone) = voters.union(&learners).find(|id| !self.state.members.contains_key(id)) {
            if self.owners_confirmed() {
                self.consensus.remove_member(*gone);
            }
            return;
        }
        if self.lead_leaving(&voters) {
            return;
        }
        let stays = |id: &NodeId| !self.state.leaving.contains_key(id);
        let ready: Vec<NodeId> = learners
            .iter()
            .copied()
            .filter(|id| self.state.members[id].votes && stays(id) && self.consensus.is_caught_up(*id))
            .collect();
        // Two voters are fewer than one: each alone would stop the other. The pair comes only on the way to three, or to
        // the other one.
        #[cfg(feature = "mutants")]
        if off(Condition::L8OneAtATime) {
            // All that are on their way, in one change.
            if ready.len() == learners.len() && self.owners_confirmed() {
                self.consensus.change_members_at_once(&ready);
            }
            return;
        }
        let makes_a_pair = voters.len() == 1
            && voters.iter().all(stays)
            && ready.len() < 2
            && !self.may_be_a_pair(ready.first());
        if let Some(next) = ready.first().filter(|_| !makes_a_pair && self.owners_confirmed()) {
            self.consensus.change_member(*next, true);
        }
    }

    /// Whether this node would make two voters: only with an arbiter, which is then asked when one is lost. It is there,
    /// has its lease and stays: until the two are settled the loss of it stops the other one.
    fn may_be_a_pair(&self, next: Option<&NodeId>) -> bool {
        let lives = |id: &NodeId| {
            let living = self.state.living(*id);
            let heard = living.is_some_and(|l| self.heard.get(id) == Some(&l.incarnation));
            let stays = self
                .state
                .lives
                .get(id)
                .is_some_and(|l| !l.reboots && !matches!(l.mode, NodeMode::Stopping(_)));
            heard && stays && self.facts.get(id).is_some_and(|f| f.lease_valid)
        };
        self.has_arbiter() && next.is_some_and(lives)
    }

    /// Lets the log say that the arbiter may decide between the two voters, or a person, once it is so (A10, A11).
    fn settle_voters(&mut self) {
        let voters = self.consensus.voters();
        let somebody_decides = self.has_arbiter() || self.state.members.len() == 2;
        if self.state.settled || voters.len() != 2 || !somebody_decides {
            return;
        }
        let members: Vec<Readiness> =
            self.state.members.keys().map(|id| self.readiness(*id, voters.contains(id))).collect();
        if may_settle(self.state.voters_at, &members, self.asking.mutants) {
            self.propose(Command::Settled { changed: self.state.voters_at });
        }
    }

    fn readiness(&self, id: NodeId, votes: bool) -> Readiness {
        let me = id == self.me.id;
        let facts = self.facts.get(&id);
        let lease_confirmed = self.state.living(id).map(|life| match (me, facts) {
            (true, _) if self.guard.incarnation == Some(life.incarnation) => self.guard.confirmed,
            (false, Some(f)) if f.incarnation == Some(life.incarnation) => f.confirmed,
            _ => 0,
        });
        let durable = if me { self.snapshot_durable_at } else { facts.map_or(0, |f| f.voters_durable) };
        Readiness { lease_confirmed, voters_durable: votes.then_some(durable) }
    }

    pub(crate) fn owners_confirmed(&self) -> bool {
        if off(Condition::L8Barrier) {
            return true;
        }
        // A leader that came back has the change before in its snapshot: its state knows where that stands.
        let changed = self.members_changed_at.max(self.state.voters_at);
        self.state.groups.values().all(|g| match &g.tenure {
            Tenure::Vacant(_) => true,
            Tenure::Owned(o) if self.state.is_ended(o.owner) => true,
            Tenure::Owned(o) if o.owner.node == self.me.id => self.guard.confirmed >= changed,
            Tenure::Owned(o) => self.facts.get(&o.owner.node).is_some_and(|f| f.confirmed >= changed),
        })
    }

    /// The lead belongs to a node that owns nothing and could take over: it then decides without a detour.
    fn give_lead_away(&mut self) {
        let wait = self.state.config.timers.lease * 2;
        // Not while things move: the better node may be about to become an owner.
        if self.now.since(self.last_transfer.max(self.last_applied)) < wait {
            return;
        }
        let mine = self.rank_of(self.me.id);
        let better = self
            .consensus
            .voters()
            .into_iter()
            .filter(|id| *id != self.me.id && self.rank_of(*id) < mine)
            .filter(|id| !self.state.leaving.contains_key(id))
            .filter(|id| {
                let living = self.state.living(*id);
                let heard = living.is_some_and(|l| self.heard.get(&l.node) == Some(&l.incarnation));
                let stays =
                    self.state.lives.get(id).is_some_and(|l| !matches!(l.mode, NodeMode::Stopping(_)));
                heard && stays && self.consensus.is_caught_up(*id)
            })
            .min_by_key(|id| (self.rank_of(*id), *id));
        if let Some(to) = better {
            self.last_transfer = self.now;
            self.consensus.transfer(to);
        }
    }

    /// Notes in the journal who leads, when that changes.
    pub(crate) fn told_leader(&mut self) {
        let leader = self.consensus.leader();
        if leader == self.was_leader {
            return;
        }
        self.was_leader = leader;
        self.since.leader = self.now;
        if leader.is_some() {
            self.say_all_again();
        }
        if leader == Some(self.me.id) {
            self.fence_asked.clear();
            self.fence_failed.clear();
            self.tell(
                Level::Step,
                "leader",
                format!("{} leads, term {}", self.me.name, self.consensus.term()),
            );
        }
    }
}
