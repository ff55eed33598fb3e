//! Which events follow from what the log says, and to which of them a group's coming and going belongs.

use std::collections::BTreeSet;

use regent_model::event::{Event, EventName};
use regent_model::ids::{GroupName, IncarnationOf, NodeId};
use regent_model::proof::Proof;
use regent_model::state::{Change, NodeMode, Ownership, Phase, ReleaseReason, State, StopMode};

use super::table::{Kind, Way};
use super::{Claim, Program};
use crate::engine::Engine;

impl Engine {
    /// Sets in motion what follows from an applied entry.
    pub(crate) fn derive_events(&mut self, index: u64, changes: &[Change]) {
        let matters = |c: &Change| {
            matches!(c, Change::NodeUp(_) | Change::NodeDown(..) | Change::Mode(..) | Change::ConfigChanged)
        };
        if changes.iter().any(matters) {
            self.events.last_index = self.events.last_index.max(index);
        }
        // What happened before this daemon knew of it is not for it to react to; and a witness owns nothing.
        if !self.current || self.state.config.is_witness(&self.me.name) {
            return;
        }
        for node in lost_by_proof(&self.state, changes, self.me.id) {
            self.node_lost(index, node, changes);
        }
        for change in changes {
            match change {
                Change::NodeUp(about) => self.node_joins(index, *about),
                Change::Mode(node, NodeMode::Stopping(mode)) => self.node_leaves(index, *node, *mode),
                Change::ConfigChanged => self.reconfigured(index),
                Change::EventsResumed(node) if *node == self.me.id => self.resume_events(),
                Change::Assigned(group, o) if Some(o.owner) == self.my_life() => self.claim_up(group, o),
                Change::PhaseChanged(group, o) if Some(o.owner) == self.my_life() => {
                    if let Phase::Releasing(reason) = &o.phase {
                        self.claim_down(group, o, reason);
                    }
                }
                Change::FailedOn(group, node, _) if *node == self.me.id => {
                    self.raise_about(Event::new(EventName::ResourceStateChange, [group]), group);
                }
                _ => {}
            }
        }
    }

    /// What led to the state up to this entry was not seen: there is nothing to react to in it.
    pub(crate) fn passed_over_events(&mut self, index: u64) {
        self.events.last_index = self.events.last_index.max(index);
    }

    fn node_joins(&mut self, index: u64, about: IncarnationOf) {
        let is_old = about.node == self.me.id && Some(about) != self.my_life();
        if is_old || self.state.members.get(&about.node).is_none_or(|m| m.witness) {
            return;
        }
        let kind = if about.node == self.me.id { Kind::Joins } else { Kind::OtherJoins };
        let program = Program::new(kind, vec![self.node_name(about.node)], index, self.now);
        self.begin_program(Program { about: Some(about), ..program });
    }

    fn node_leaves(&mut self, index: u64, node: NodeId, mode: StopMode) {
        let Some(about) = self.state.living(node) else { return };
        let known = self.events.programs.iter().any(|p| p.about == Some(about) && p.mode.is_some());
        if known || self.state.members.get(&node).is_none_or(|m| m.witness) {
            return;
        }
        let kind = match (node == self.me.id, mode) {
            (true, StopMode::Forced) => Kind::LeavesAllUp,
            (true, _) => Kind::Leaves,
            (false, _) => Kind::OtherLeaves,
        };
        let args = vec![self.node_name(node), mode.word().to_owned()];
        let program = Program::new(kind, args, index, self.now);
        self.begin_program(Program { about: Some(about), mode: Some(mode), ..program });
    }

    /// A node is over by a proof: the ordinary `node_down` of a crash, unless it was told when the node said that it
    /// leaves. While all that it owned waits for a stronger proof, the event waits for that, too.
    fn node_lost(&mut self, index: u64, node: NodeId, changes: &[Change]) {
        if self.state.members.get(&node).is_none_or(|m| m.witness) {
            return;
        }
        let about = changes.iter().find_map(|c| match c {
            Change::NodeDown(about, _) if about.node == node => Some(*about),
            _ => None,
        });
        let open = self.events.programs.iter().any(|p| {
            p.kind == Kind::OtherLeaves && p.other() == Some(node) && !p.gathered.contains(&Way::Up)
        });
        let vacated = vacated_of(&self.state, changes).any(|owner| owner == node);
        let waits =
            self.state.groups.keys().any(|g| self.state.ownership(g).is_some_and(|o| o.owner.node == node));
        let stopped = self.state.lives.get(&node).is_some_and(|l| matches!(l.mode, NodeMode::Stopping(_)));
        let told = stopped && !vacated;
        if open || told || (!vacated && waits) || (about.is_none() && !vacated) {
            return;
        }
        let program = Program::new(Kind::OtherLeaves, vec![self.node_name(node)], index, self.now);
        let about = about.or_else(|| {
            let incarnation = *self.state.ended.get(&node)?;
            Some(IncarnationOf { node, incarnation })
        });
        self.begin_program(Program { about, ..program });
    }

    fn reconfigured(&mut self, index: u64) {
        let mut kind = Kind::Reconfigures;
        let topology = Some(self.state.config.topology());
        if topology != self.events.topology {
            kind = Kind::ReconfiguresTopology;
            self.events.topology = topology;
        }
        let program = Program::new(kind, Vec::new(), index, self.now);
        self.begin_program(program);
    }

    /// A group comes up here: in the event that expects it, or else in one of its own.
    fn claim_up(&mut self, group: &GroupName, ownership: &Ownership) {
        self.forget_claims(group);
        let fits = |p: &Program| match p.kind {
            Kind::Joins => true,
            Kind::OtherLeaves => p.other().is_some() && p.other() == ownership.previous,
            Kind::Reconfigures | Kind::ReconfiguresTopology => ownership.proof == Proof::NeverOwned,
            _ => false,
        };
        self.claim(group, ownership, Way::Up, fits, (Kind::MovesHere, "acquire"));
    }

    /// A group goes down here.
    fn claim_down(&mut self, group: &GroupName, ownership: &Ownership, reason: &ReleaseReason) {
        self.forget_claims(group);
        let fits = |p: &Program| match (p.kind, reason) {
            (Kind::Leaves, ReleaseReason::Stopping(_)) => true,
            (Kind::OtherJoins, ReleaseReason::Reintegration(to)) => p.other() == Some(*to),
            (Kind::Reconfigures | Kind::ReconfiguresTopology, ReleaseReason::Removed) => true,
            _ => false,
        };
        self.claim(group, ownership, Way::Down, fits, (Kind::MovesAway, "release"));
    }

    fn claim(
        &mut self,
        group: &GroupName,
        ownership: &Ownership,
        way: Way,
        fits: impl Fn(&Program) -> bool,
        otherwise: (Kind, &str),
    ) {
        let claim = Claim { epoch: ownership.epoch, way, open: None };
        let open = |p: &&mut Program| !p.is_over() && !p.gathered.contains(&way) && fits(p);
        if let Some(program) = self.events.programs.iter_mut().find(open) {
            program.claims.insert(group.clone(), claim);
            return;
        }
        let (kind, action) = otherwise;
        let args = vec![self.me.name.to_string(), action.to_owned(), group.to_string()];
        let mut program = Program::new(kind, args, 0, self.now);
        program.claims.insert(group.clone(), claim);
        self.begin_program(program);
    }

    /// What a group did before does not matter to it any more.
    fn forget_claims(&mut self, group: &GroupName) {
        for program in &mut self.events.programs {
            if !matches!(program.kind, Kind::Single(_)) {
                program.claims.remove(group);
            }
        }
    }
}

/// The nodes that this entry ends, or takes something from, by a proof other than their own word.
fn lost_by_proof(state: &State, changes: &[Change], me: NodeId) -> BTreeSet<NodeId> {
    let down = changes.iter().filter_map(|c| match c {
        Change::NodeDown(about, proof) if !matches!(proof, Proof::Released) => Some(about.node),
        _ => None,
    });
    down.chain(vacated_of(state, changes)).filter(|node| *node != me).collect()
}

/// The owners before of what this entry vacated, by a proof other than their own word.
fn vacated_of<'a>(state: &'a State, changes: &'a [Change]) -> impl Iterator<Item = NodeId> + 'a {
    changes.iter().filter_map(move |change| {
        let Change::Vacated(group, proof) = change else { return None };
        if matches!(proof, Proof::Released | Proof::NeverOwned | Proof::Adopted) {
            return None;
        }
        let taken = changes.iter().find_map(|c| match c {
            Change::Assigned(name, o) if name == group => Some(o.previous),
            _ => None,
        });
        taken.unwrap_or_else(|| state.groups.get(group).and_then(|g| g.last_owner))
    })
}
