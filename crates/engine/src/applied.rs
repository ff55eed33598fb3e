//! What a committed entry sets in motion on this node.

use std::collections::BTreeSet;

use regent_lease::FromDaemon;
use regent_model::GroupName;
use regent_model::ids::{IncarnationOf, NodeId};
use regent_model::journal::Level;
use regent_model::proof::Proof;
use regent_model::state::{Change, FenceRequest, Proposal, State, Tenure};

use crate::consensus::Committed;
use crate::engine::Engine;
use crate::format;

impl Engine {
    /// Keeps so many applied entries in the log before a snapshot replaces them: the fewer, the more often a node
    /// that was away must take the whole state.
    pub fn keep_entries(&mut self, count: u64) {
        self.consensus.entries_kept = count.max(1);
    }

    pub(crate) fn apply(&mut self, committed: Committed) {
        if self.unreadable.is_some() {
            return;
        }
        match committed {
            Committed::Proposal { index, data, voters } => {
                match format::read::<Proposal>(&data, self.me.speaks) {
                    Ok(proposal) => {
                        self.apply_proposal(index, &proposal, &voters);
                        if !self.me.speaks.has(self.state.format) {
                            return self.cannot_go_on();
                        }
                        if data.first().is_some_and(|format| *format < self.state.format) {
                            self.consensus.outdated();
                        }
                    }
                    Err(error) => self.cannot_read(&format!("entry {index} of the log"), &error),
                }
            }
            Committed::Members { index, began, voters } => {
                self.members_changed_at = index;
                self.state.voters_changed(index, began, voters);
                let members = &self.state.members;
                self.memory.only(|peer| members.contains_key(&peer));
            }
            Committed::Snapshot { index, data } => self.install(index, &data),
        }
    }

    fn install(&mut self, index: u64, data: &[u8]) {
        match format::read::<State>(data, self.me.speaks) {
            Ok(state) => {
                self.state = state;
                self.members_changed_at = index;
                self.passed_over_events(index);
                // Nothing is answered to the leader before it is durable here.
                self.snapshot_durable_at = index;
                self.tell(Level::Step, "snapshot", format!("took over the whole state as of entry {index}"));
                self.catch_up();
            }
            Err(error) => self.cannot_read(&format!("the state as of entry {index}"), &error),
        }
    }

    /// The entries that led to the state were not seen one by one: does what [`Self::react`] would have done at each.
    fn catch_up(&mut self) {
        self.forget_promises_withdrawn();
        self.forget_the_ended();
        self.decided.clear();
        let own = self.my_life().filter(|life| {
            self.state
                .lives
                .get(&life.node)
                .is_some_and(|l| l.incarnation == life.incarnation && l.without_lease)
        });
        if let Some(life) = own {
            self.sequencers.clear();
            self.out.guard.push(FromDaemon::HeldWithoutLease { incarnation: life.incarnation });
        }
        if self.current {
            self.do_what_is_asked();
        }
    }

    /// What the log has ended needs neither promises nor fencing any more.
    fn forget_the_ended(&mut self) {
        self.forget_promises_of_the_ended();
        let state = &self.state;
        self.fenced.retain(|about, _| state.fence_requests.contains_key(about));
    }

    fn apply_proposal(&mut self, index: u64, proposal: &Proposal, voters: &BTreeSet<NodeId>) {
        let changes = self.state.apply(proposal, voters);
        self.decided.remove(&proposal.command);
        self.last_applied = self.now;
        if index > self.told_up_to {
            for change in &changes {
                // Where a takeover is in the same entry, that says it all.
                let taken_over = |group: &GroupName| {
                    changes.iter().any(|c| matches!(c, Change::Assigned(name, _) if name == group))
                };
                if !matches!(change, Change::Vacated(group, _) if taken_over(group)) {
                    self.tell_change(index, change);
                }
            }
        }
        for change in &changes {
            self.react(change);
        }
        if !self.current && (proposal.id.node, proposal.id.session) == (self.me.id, self.me.session) {
            self.become_current();
        }
        self.derive_events(index, &changes);
        if let Some(pending) = self.proposals.open.remove(&proposal.id) {
            self.answer_applied(pending.waiting, &changes);
        }
    }

    /// What is applied is as new as this daemon: what the state asks of this node is asked now.
    fn become_current(&mut self) {
        self.current = true;
        self.do_what_is_asked();
    }

    /// Does what the state asks of this node, if it was not begun yet.
    fn do_what_is_asked(&mut self) {
        self.remind_guard();
        let asked: Vec<(IncarnationOf, FenceRequest)> =
            self.state.fence_requests.iter().map(|(about, r)| (*about, r.clone())).collect();
        for (about, request) in asked {
            self.fence_requested(about, &request);
        }
    }

    /// Tells the guard what the log says about what it holds: the daemon before this one may have ended between
    /// applying and telling.
    pub(crate) fn remind_guard(&mut self) {
        let Some(life) = self.my_life().filter(|_| self.current) else { return };
        for (name, group) in &self.state.groups {
            let Tenure::Owned(o) = &group.tenure else { continue };
            let own = self.state.lives.get(&life.node).is_some_and(|l| l.without_lease);
            if o.owner.node == life.node && o.without_lease && (o.owner != life || own) {
                let incarnation = o.owner.incarnation;
                self.out.guard.push(FromDaemon::HeldWithoutLease { incarnation });
            }
            if o.owner == life && o.proof == Proof::Adopted {
                let (group, epoch) = (name.clone(), o.epoch);
                self.out.guard.push(FromDaemon::Rename { incarnation: life.incarnation, group, epoch });
            }
        }
    }

    fn react(&mut self, change: &Change) {
        match change {
            Change::NodeDown(..) => self.forget_the_ended(),
            Change::Withdrawn(promise) => self.promise_withdrawn(*promise),
            Change::FenceRequested(about, request) => self.fence_requested(*about, request),
            Change::HeldWithoutLease(about) if Some(*about) == self.my_life() => {
                self.sequencers.clear();
                self.out.guard.push(FromDaemon::HeldWithoutLease { incarnation: about.incarnation });
                self.remind_guard();
            }
            Change::Assigned(group, ownership)
                if ownership.proof == Proof::Adopted && Some(ownership.owner) == self.my_life() =>
            {
                self.out.guard.push(FromDaemon::Rename {
                    incarnation: ownership.owner.incarnation,
                    group: group.clone(),
                    epoch: ownership.epoch,
                });
            }
            // A life that began with something held over may find it running under any epoch.
            Change::Assigned(group, ownership)
                if self.current && self.guard.clean && Some(ownership.owner) == self.my_life() =>
            {
                self.assigned_here.insert(group.clone(), ownership.epoch);
            }
            Change::Reboots(about) => self.reboot_ordered(*about),
            Change::ConfigChanged => {
                self.decided.clear();
                // A node that comes back alone is to know who decides, and who voted.
                if !self.state.settled {
                    self.consensus.keep_durably();
                }
            }
            Change::Settled => self.consensus.keep_durably(),
            _ => {}
        }
    }

    /// Whether this node owns nothing, in any of its lives.
    pub(crate) fn owns_nothing(&self) -> bool {
        !self
            .state
            .groups
            .values()
            .any(|g| matches!(&g.tenure, Tenure::Owned(o) if o.owner.node == self.me.id))
    }
}
