//! What operators wish for: modes of nodes, groups on, off, moved and restarted.

use crate::config::{Config, Failback, GroupConfig};
use crate::ids::{GroupName, IncarnationOf, NodeId, ResourceName};
use crate::state::apply::{Changes, void};
use crate::state::command::{NodeMode, ReleaseReason, StopMode};
use crate::state::{Change, Phase, State, Tenure};

impl State {
    pub(super) fn set_mode(&mut self, node: NodeId, mode: NodeMode) -> Changes {
        let Some(life) = self.lives.get_mut(&node) else {
            return void(format!("{} was never there", self.name_of(node)));
        };
        if life.without_lease {
            let who = self.name_of(node);
            return void(format!("{who} is being stopped by force; start it again when it has stopped"));
        }
        life.mode = mode;
        let mut changes = vec![Change::Mode(node, mode)];
        // L10: before it leaves, what it leaves running is held without lease, in the same entry.
        if mode == NodeMode::Stopping(StopMode::Forced)
            && let Some(about) = self.living(node)
        {
            changes.extend(self.hold_without_lease(about));
        }
        changes
    }

    pub(super) fn enable(&mut self, name: &GroupName) -> Changes {
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        group.enabled = true;
        group.parked_on = None;
        group.failed_on.clear();
        self.orders_up(name);
        vec![Change::Wished(name.clone())]
    }

    pub(super) fn disable(&mut self, name: &GroupName) -> Changes {
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        group.enabled = false;
        group.moved_to = None;
        group.joined_home = None;
        if let Some(hold) = &mut group.held {
            hold.ordered = false;
        }
        if matches!(group.tenure, Tenure::Vacant(_)) {
            group.started = false;
        }
        vec![Change::Wished(name.clone())]
    }

    pub(super) fn move_to(&mut self, name: &GroupName, to: NodeId) -> Changes {
        let allowed = self
            .config
            .group(name)
            .is_some_and(|g| self.members.get(&to).is_some_and(|m| g.nodes.contains(&m.name)));
        if !allowed {
            return void(format!("{} is not in the node list of {name}", self.name_of(to)));
        }
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        group.moved_to = Some(to);
        group.moved = matches!(&group.tenure, Tenure::Owned(o) if o.owner.node == to);
        group.parked_on = None;
        group.joined_home = None;
        group.failed_on.remove(&to);
        self.orders_up(name);
        vec![Change::Wished(name.clone())]
    }

    pub(super) fn restore(&mut self, name: &GroupName) -> Changes {
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        if group.moved_to.take().is_none() {
            return void(format!("nobody moved {name}: the order of its list decides already"));
        }
        group.moved = false;
        vec![Change::Wished(name.clone())]
    }

    /// A node is back. A group that goes back by the calendar stays where it was moved to until that node has
    /// returned from a loss; then its calendar counts again.
    pub(super) fn end_moves_to(&mut self, node: NodeId) {
        for (name, group) in &mut self.groups {
            let by_calendar = self.config.group(name).is_some_and(|g| g.failback.at.is_some());
            if by_calendar && group.moved && group.moved_to == Some(node) {
                group.moved_to = None;
                group.moved = false;
            }
        }
    }

    /// A node has joined the cluster. What is at home there and fails back at that moment alone is to go there, wherever
    /// an operator has moved it; not what is held, and not if the node is not to own anything.
    pub(super) fn home_has_joined(&mut self, about: IncarnationOf) {
        let is_active = self.lives.get(&about.node).is_some_and(|l| l.mode == NodeMode::Active);
        for (name, group) in &mut self.groups {
            let Some(config) = self.config.group(name) else { continue };
            let home = config.nodes.first();
            let is_home = self.members.get(&about.node).is_some_and(|m| Some(&m.name) == home);
            let joins = config.policy.failback == Failback::Join && is_home && is_active;
            if joins && group.held.is_none() && group.enabled {
                group.joined_home = Some(about);
                group.moved_to = None;
                group.moved = false;
            }
        }
    }

    /// A policy that does not fail back so, or another home node, has nothing to do with a node that joined before.
    pub(super) fn keep_joined_homes(&mut self, new: &Config) {
        for (name, group) in &mut self.groups {
            let stays = |config: &GroupConfig| {
                let home = group.joined_home.and_then(|about| self.members.get(&about.node)).map(|m| &m.name);
                config.policy.failback == Failback::Join && home == config.nodes.first()
            };
            if !new.group(name).is_some_and(|config| stays(config)) {
                group.joined_home = None;
            }
        }
    }

    /// The node that ran the group is lost: where it had failed before, it is worth another try. Not if it did not
    /// run there either, or a group that brings its nodes down would go round for ever.
    pub(super) fn forgive_where_it_ran(&mut self, name: &GroupName) {
        if let Some(group) = self.groups.get_mut(name)
            && matches!(&group.tenure, Tenure::Owned(o) if o.phase == Phase::Online)
        {
            group.failed_on.clear();
        }
    }

    pub(super) fn restart(&mut self, name: &GroupName) -> Changes {
        self.stuck_as_configured(name);
        let disabled = self.groups.get(name).is_some_and(|g| !g.enabled);
        if disabled {
            // What is to be down and could not be taken down is tried again; it stays disabled.
            return match self.ownership(name).cloned() {
                Some(o) if matches!(o.phase, Phase::Stuck(_)) => {
                    self.release(name, o.epoch, &ReleaseReason::Disabled)
                }
                _ => void(format!("{name} is disabled: there is nothing to restart")),
            };
        }
        let mut changes = self.enable(name);
        if let Some(ownership) = self.ownership(name).cloned()
            && matches!(ownership.phase, Phase::Acquiring | Phase::Online | Phase::Stuck(_))
        {
            // Its children go first: the leader sees to it.
            if self.owned_children(name).next().is_some() {
                if let Some(group) = self.groups.get_mut(name) {
                    group.restarts = Some(ownership.epoch);
                    if let Some(hold) = &mut group.held {
                        hold.ordered = true;
                    }
                }
                return changes;
            }
            changes.extend(self.release(name, ownership.epoch, &ReleaseReason::Restart));
            self.orders_up(name);
        }
        changes
    }

    pub(super) fn watch(&mut self, name: &GroupName, application: &ResourceName, on: bool) -> Changes {
        let known =
            self.definition(name).is_some_and(|g| g.applications.iter().any(|a| &a.name == application));
        if !known {
            return void(format!("{name} has no application {application}"));
        }
        let owned = self.ownership(name).is_some();
        let Some(group) = self.groups.get_mut(name).filter(|_| owned) else {
            return void(format!("{name} runs nowhere: there is nothing to watch"));
        };
        if on {
            group.suspended.remove(application);
        } else {
            group.suspended.insert(application.clone());
        }
        vec![Change::Wished(name.clone())]
    }

    /// From now on everything that the node holds, in this life or left over from an earlier one, is held without
    /// lease; and an entry that would give this life more comes too late.
    pub(super) fn hold_without_lease(&mut self, about: IncarnationOf) -> Changes {
        let Some(life) = self.lives.get_mut(&about.node).filter(|l| l.incarnation == about.incarnation)
        else {
            return void(format!("{about} is not the registered incarnation"));
        };
        if self.ended.get(&about.node).is_some_and(|last| about.incarnation <= *last) {
            return void(format!("{about} is over"));
        }
        if life.mode != NodeMode::Stopping(StopMode::Forced) {
            return void(format!("{about} is not being stopped by force (any more)"));
        }
        life.without_lease = true;
        for group in self.groups.values_mut() {
            if let Tenure::Owned(o) = &mut group.tenure
                && o.owner.node == about.node
                && o.owner.incarnation <= about.incarnation
            {
                o.without_lease = true;
            }
        }
        vec![Change::HeldWithoutLease(about)]
    }
}
