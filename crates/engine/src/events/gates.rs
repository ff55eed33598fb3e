//! What waits for an event, and for whom events wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use regent_model::action::{Resource, Tier};
use regent_model::config::GroupConfig;
use regent_model::event::{EventName, with_arguments};
use regent_model::ids::{GroupName, NodeId};
use regent_model::state::{Group, NodeMode, Ownership, Phase, ReleaseReason, StopMode, Tenure};
use regent_planner::{Intent, place};

use super::table::{Kind, Way};
use super::{Claim, Program};
use crate::engine::Engine;
use crate::io::PeerMessage;
use crate::sequencer::Gate;

/// How long an event waits for a node that joins to be heard, or for what a node says of itself.
const EARLY: Duration = Duration::from_secs(1);

impl Engine {
    /// Whether anything is configured to be run on this node in an event.
    pub(super) fn has_commands(&self, program: &Program) -> bool {
        let me = &self.me.name;
        let own: Vec<GroupName> = match program.kind {
            Kind::Single(_) | Kind::Starts | Kind::MovesAway | Kind::MovesHere => {
                program.claims.keys().cloned().collect()
            }
            _ => self.groups_of(me),
        };
        let config = &self.state.config;
        program.names().any(|name| config.around(name, me, &own).next().is_some())
    }

    fn groups_of(&self, node: &regent_model::NodeName) -> Vec<GroupName> {
        self.state.config.groups.iter().filter(|g| g.nodes.contains(node)).map(|g| g.name.clone()).collect()
    }

    /// Whether a node runs commands in one of these events.
    fn runs_commands(&self, node: NodeId, kind: Kind) -> bool {
        let member = self.state.members.get(&node).filter(|m| !m.witness);
        let Some(name) = member.map(|m| &m.name) else { return false };
        let groups = self.groups_of(name);
        let config = &self.state.config;
        Program::new(kind, Vec::new(), 0, self.now)
            .names()
            .any(|event| config.around(event, name, &groups).next().is_some())
    }

    /// Whether other nodes have done what comes first: those that were there let go before the one that joins begins,
    /// and one that leaves has let go before the others begin. Who is not heard is not waited for.
    pub(super) fn others_are_done(&self, program: &Program) -> bool {
        match program.kind {
            Kind::Joins => self.state.members.keys().all(|id| {
                *id == self.me.id || !self.runs_commands(*id, Kind::OtherJoins) || self.is_done(*id, program)
            }),
            Kind::OtherJoins => !self.is_early(program),
            Kind::OtherLeaves => match (program.about, program.mode) {
                (Some(about), Some(StopMode::Graceful | StopMode::Takeover)) => {
                    let gone = self.state.is_ended(about) || self.state.living(about.node) != Some(about);
                    // Without commands, what it gave up is acquired as it comes.
                    let taken = !program.gated && !program.claims.is_empty();
                    gone || taken || self.is_done(about.node, program)
                }
                _ => true,
            },
            _ => true,
        }
    }

    fn is_done(&self, node: NodeId, program: &Program) -> bool {
        let living = self.state.living(node);
        let heard = living.is_some_and(|l| self.heard.get(&node) == Some(&l.incarnation));
        match self.facts.get(&node).filter(|f| f.incarnation == living.map(|l| l.incarnation)) {
            // A node that joins has not heard everybody in its first moment.
            _ if !heard => {
                let joins = program.kind == Kind::Joins && living.is_some();
                !joins || self.now.since(program.since) > EARLY.max(self.state.config.timers.lease * 2)
            }
            Some(facts) => facts.events.done >= program.index,
            None => self.now.since(program.since) > EARLY,
        }
    }

    /// Groups that will go this way in the event, as far as this node can tell, and do not belong to it yet.
    pub(super) fn expected(&self, program: &Program, way: Way) -> BTreeSet<GroupName> {
        if !program.kind.gathers() {
            return BTreeSet::new();
        }
        let view = self.view();
        let expects = |(name, group): &(&GroupName, &Group)| {
            let claim = program.claims.get(*name).filter(|c| c.epoch == group.epoch && c.way == way);
            claim.is_none()
                && self.expects(program, way, name, group, &place(&self.state, &view, name).intent)
        };
        self.state.groups.iter().filter(expects).map(|(name, _)| name.clone()).collect()
    }

    fn expects(&self, program: &Program, way: Way, name: &GroupName, group: &Group, intent: &Intent) -> bool {
        let me = self.my_life();
        let comes_here = || matches!(intent, Intent::Assign(to) if Some(*to) == me);
        let active = || self.state.lives.get(&self.me.id).is_some_and(|l| l.mode == NodeMode::Active);
        match (program.kind, way, &group.tenure) {
            (Kind::Joins, Way::Up, Tenure::Vacant(_)) => comes_here(),
            (Kind::Joins, Way::Up, Tenure::Owned(o)) => {
                active() && goes_back_to(o, intent) == Some(self.me.id)
            }
            (Kind::OtherJoins, Way::Down, Tenure::Owned(o)) => {
                Some(o.owner) == me && goes_back_to(o, intent) == program.other()
            }
            (Kind::Leaves, Way::Down, Tenure::Owned(o)) => {
                Some(o.owner) == me && matches!(intent, Intent::Release(ReleaseReason::Stopping(_)))
            }
            (Kind::OtherLeaves, Way::Up, Tenure::Vacant(_)) => {
                group.last_owner == program.other() && comes_here()
            }
            (Kind::OtherLeaves, Way::Up, Tenure::Owned(o)) => {
                // A stop that was taken back gives nothing up.
                let mode = self.state.lives.get(&o.owner.node).map(|l| l.mode);
                let leaving = program.mode == Some(StopMode::Takeover)
                    && Some(o.owner) == program.about
                    && matches!(mode, Some(NodeMode::Stopping(_)));
                leaving && !matches!(o.phase, Phase::Stuck(_)) && active() && self.is_in_list(name)
            }
            (Kind::Reconfigures | Kind::ReconfiguresTopology, Way::Down, Tenure::Owned(o)) => {
                Some(o.owner) == me && self.state.config.group(name).is_none()
            }
            (Kind::Reconfigures | Kind::ReconfiguresTopology, Way::Up, Tenure::Vacant(_)) => {
                !group.started && comes_here()
            }
            _ => false,
        }
    }

    fn is_in_list(&self, group: &GroupName) -> bool {
        self.state.config.group(group).is_some_and(|g| g.nodes.contains(&self.me.name))
    }

    /// The groups that an event is about, as far as is known.
    pub(super) fn concerned(&self, program: &Program) -> Vec<GroupName> {
        let mut groups: BTreeSet<GroupName> = program.claims.keys().cloned().collect();
        for way in [Way::Up, Way::Down] {
            if !program.gathered.contains(&way) {
                groups.extend(self.expected(program, way));
            }
        }
        groups.into_iter().collect()
    }

    /// Whether it is too early to say what goes back to a node that joins: it is not heard here yet.
    fn is_early(&self, program: &Program) -> bool {
        let unheard = program.about.is_some_and(|about| {
            self.state.living(about.node) == Some(about)
                && self.heard.get(&about.node) != Some(&about.incarnation)
        });
        program.gated && unheard && self.now.since(program.since) <= EARLY
    }

    /// Whether a group has gone as far as its event lets it go, or will not.
    pub(super) fn reached(&self, group: &GroupName, claim: &Claim, tier: Tier) -> bool {
        let Some(ownership) = self.state.ownership(group).filter(|o| o.epoch == claim.epoch) else {
            return true;
        };
        if Some(ownership.owner) != self.my_life() {
            return true;
        }
        let sequencer = self.sequencers.get(group).filter(|s| s.epoch() == claim.epoch);
        match (claim.way, &ownership.phase) {
            (_, Phase::Stuck(_) | Phase::AwaitsReboot) => true,
            // Without lease nothing more comes up.
            (Way::Up, _) if self.state.lives.get(&self.me.id).is_some_and(|l| l.without_lease) => true,
            (Way::Up, Phase::Releasing(_)) => true,
            (Way::Up, _) => sequencer.is_some_and(|s| s.is_up_to(tier)),
            (Way::Down, _) => sequencer.is_some_and(|s| s.is_down_to(tier)),
        }
    }

    /// How far a group may go now.
    pub(crate) fn gate_of(&self, group: &GroupName, ownership: &Ownership) -> Gate {
        let held = self
            .events
            .programs
            .iter()
            .filter(|p| p.gated && !p.is_over())
            .filter_map(|p| p.claims.get(group).filter(|c| c.epoch == ownership.epoch));
        held.fold(Gate::OPEN, |gate, claim| match claim.way {
            Way::Up => Gate { up: gate.up.min(claim.open), ..gate },
            // Nothing open at all is further from going down than any tier.
            Way::Down => Gate { down: gate.down.and(claim.open), ..gate },
        })
    }

    /// Whether a group that the log wants down stays up for the time being.
    pub(crate) fn is_release_held(&self, group: &GroupName, ownership: &Ownership) -> bool {
        matches!(ownership.phase, Phase::Releasing(_)) && self.gate_of(group, ownership).down.is_none()
    }

    /// Whether this node's own leaving has commands that are not through.
    pub(crate) fn is_leave_held(&self) -> bool {
        let mut leaves = self.events.programs.iter().filter(|p| !p.is_over());
        leaves.any(|p| matches!(p.kind, Kind::Leaves | Kind::LeavesAllUp) && p.gated)
    }

    /// Up to which entry of the log this node has done everything that follows from it.
    pub(crate) fn events_done(&self) -> u64 {
        let open = self.events.programs.iter().filter(|p| p.index > 0 && !p.is_over());
        open.map(|p| p.index - 1).min().unwrap_or(self.events.last_index)
    }

    /// Tells the peers at once where somebody may wait for it.
    pub(super) fn tell_done(&mut self) {
        let config = &self.state.config;
        if !config.events.is_empty() || config.groups.iter().any(|g| !g.events.is_empty()) {
            let (mark, facts) = (self.memory.mark(), Box::new(self.own_facts()));
            self.broadcast(&PeerMessage::Facts { mark, facts });
        }
    }

    /// The resources of a group as this node runs them: a command configured for `start_server` or `stop_server` takes
    /// the place of the applications' own.
    pub(crate) fn resources_here(&self, config: &GroupConfig) -> Vec<Resource> {
        let groups = [config.name.clone()];
        let line = |event: EventName| {
            let mut around = self.state.config.around(event, &self.me.name, &groups);
            around.find_map(|(_, c)| c.command.clone())
        };
        let (start, stop) = (line(EventName::StartServer), line(EventName::StopServer));
        let mut resources = config.resources_on(&self.me.name);
        for resource in &mut resources {
            let Resource::Application(application) = resource else { continue };
            let named = |line: &String| format!("set -- {}\n{}", application.name, with_arguments(line));
            if start.is_some() || stop.is_some() {
                let mut here = application.as_ref().clone();
                if let Some(line) = &start {
                    here.start = named(line);
                }
                here.stop = stop.as_ref().map(named).or(here.stop);
                *application = Arc::new(here);
            }
        }
        resources
    }
}

impl Kind {
    /// Whether groups come to it after it began.
    fn gathers(self) -> bool {
        !matches!(
            self,
            Self::Single(_) | Self::Starts | Self::MovesAway | Self::MovesHere | Self::LeavesAllUp
        )
    }
}

/// The node to which a group goes back, if it does.
fn goes_back_to(ownership: &Ownership, intent: &Intent) -> Option<NodeId> {
    match (&ownership.phase, intent) {
        (Phase::Releasing(ReleaseReason::Reintegration(to)), _) => Some(*to),
        (Phase::Stuck(_), _) => None,
        (_, Intent::Release(ReleaseReason::Reintegration(to))) => Some(*to),
        _ => None,
    }
}
