//! Applying an entry: conditions are checked here, at the same place in the log on every member.

use std::collections::BTreeSet;

use crate::ids::{BootId, Epoch, GroupName, IncarnationOf, NodeId};
use crate::mutants::{Condition, off};
use crate::proof::Proof;
use crate::state::command::{Command, NewConfig, NodeMode, Proposal, ReleaseReason, StopMode};
use crate::state::{Change, Group, Life, Ownership, PROPOSALS_REMEMBERED, Phase, State, Tenure};

pub(super) type Changes = Vec<Change>;

pub(super) fn void(why: impl Into<String>) -> Changes {
    vec![Change::Void(why.into())]
}

impl State {
    /// Applies a committed proposal. One that was applied before changes nothing, nor does one that a daemon made
    /// whose successor has spoken already: the successor does not know of it, and may have done something else.
    pub fn apply(&mut self, proposal: &Proposal, voters: &BTreeSet<NodeId>) -> Changes {
        let session = self.sessions.entry(proposal.id.node).or_insert(0);
        if *session > proposal.id.session {
            return void("its daemon has ended, and the next one has begun");
        }
        *session = proposal.id.session;
        if self.remembered.contains(&proposal.id) {
            return void("applied before");
        }
        self.remembered.push_back(proposal.id);
        if self.remembered.len() > PROPOSALS_REMEMBERED {
            self.remembered.pop_front();
        }
        let mut changes = self.change(&proposal.command, voters);
        changes.extend(self.raise_format());
        self.check();
        changes
    }

    fn change(&mut self, command: &Command, voters: &BTreeSet<NodeId>) -> Changes {
        match command {
            Command::Present => Vec::new(),
            Command::SetConfig(new) => self.set_config(new),
            Command::AddMember { id, member } => self.add_member(*id, member),
            Command::NodeUp { about, boot, clean } => self.node_up(*about, boot, *clean),
            Command::NodeDown { about, proof, takeovers } => self.node_down(*about, proof, takeovers, voters),
            Command::Assign { group, after, to } => self.assign(group, *after, *to),
            Command::Adopt { group, epoch, to } => self.adopt(group, *epoch, *to),
            Command::Online { group, epoch } => self.online(group, *epoch),
            Command::Release { group, epoch, reason } => self.release(group, *epoch, reason),
            Command::Released { group, epoch, failure } => self.released(group, *epoch, failure.as_deref()),
            Command::Stuck { group, epoch, reason } => self.stuck(group, *epoch, reason),
            Command::Withdraw(promise) => self.withdraw(*promise),
            Command::RequestFence { about, request } => self.request_fence(*about, request),
            Command::Registered { about, device, barrier } => self.register(*about, device, barrier),
            Command::HoldWithoutLease { about } => self.hold_without_lease(*about),
            Command::Reboot { about } => self.reboot(*about),
            Command::Reacquire { group, epoch } => self.reacquire(group, *epoch),
            Command::SetMode { node, mode } => self.set_mode(*node, *mode),
            Command::Enable(group) => self.enable(group),
            Command::Disable(group) => self.disable(group),
            Command::Move { group, to } => self.move_to(group, *to),
            Command::Restore(group) => self.restore(group),
            Command::Restart(group) => self.restart(group),
            Command::Speaks { node, newest } => self.speaks(*node, *newest),
            Command::ResumeEvents(node) => vec![Change::EventsResumed(*node)],
            Command::Watch { group, application, on } => self.watch(group, application, *on),
            Command::LockConfig { lock, over } => self.lock_config(lock.as_ref(), over.as_deref()),
            Command::ConfirmDead { about, who, why, given_ms, minutes } => {
                let proof = Proof::OperatorsWord { who: who.clone(), why: why.clone() };
                self.confirm_dead(*about, &proof, (*given_ms, *minutes))
            }
            Command::ExpireWord { group, epoch } => self.expire_word(group, *epoch),
            Command::InstanceSeen { instance, epoch, seen } => self.instance_seen(instance, *epoch, seen),
            Command::InstanceVersion { instance, version, who, at_ms } => {
                self.instance_version(instance, version, who, *at_ms)
            }
            Command::Hold { group, who, why, since_ms } => self.hold(group, who, why, *since_ms),
            Command::Resume(group) => self.resume(group),
            Command::Invite { id, ticket } => self.invite(*id, ticket),
            Command::Admit { showing, name, witness } => self.admit(showing, name, *witness),
            Command::Revoke(id) => self.revoke(*id),
            Command::Settled { changed } => self.settle(*changed),
            Command::ChangeKey { number, mark, maker, without, at_ms } => {
                self.change_key(*number, *mark, *maker, without, *at_ms)
            }
            Command::KeyThrough { node, mark, stage } => self.key_through(*node, *mark, *stage),
            Command::KeyWithout { nodes } => self.key_without(nodes),
            Command::Machine { node, key } => self.machine_is(*node, *key),
            Command::Leave { node, leaving } => self.leave(*node, leaving),
            Command::Stay(node) => self.stay(*node),
            Command::RemoveMember { node, new } => self.remove_member(*node, new, voters),
        }
    }

    pub(super) fn set_config(&mut self, new: &NewConfig) -> Changes {
        if new.replaces != self.config_serial {
            return void("another configuration was put in force meanwhile; look at it and apply again");
        }
        if let Err(why) = self.keeps_what_is_held(&new.config, new.later) {
            return void(why);
        }
        if let Err(why) = self.still_locked(new.lock.as_deref()) {
            return void(why);
        }
        let new_groups = new.disabled.iter().filter(|name| !self.groups.contains_key(*name));
        let disabled: Vec<GroupName> = new_groups.cloned().collect();
        self.instances_follow(&new.config);
        let mut in_force = self.in_force_under(&new.config, new.later);
        for (name, group) in &mut self.groups {
            group.in_force = in_force.remove(name);
        }
        self.keep_joined_homes(&new.config);
        self.config_serial += 1;
        self.settled &= self.config.arbiter == new.config.arbiter;
        self.config = new.config.clone();
        self.config_text.clone_from(&new.text);
        self.past_dates.clone_from(&new.past_dates);
        self.largest_lease = self.largest_lease.max(new.config.timers.lease);
        self.groups_follow_config();
        for name in &disabled {
            if let Some(group) = self.groups.get_mut(name) {
                group.enabled = false;
            }
        }
        // A group that was taken out stays known until its owner has released it.
        let gone = |(name, group): &(&GroupName, &Group)| {
            self.config.group(name).is_none() && matches!(group.tenure, Tenure::Vacant(_))
        };
        let gone: Vec<GroupName> = self.groups.iter().filter(gone).map(|(name, _)| name.clone()).collect();
        gone.iter().for_each(|name| self.forget_group(name));
        vec![Change::ConfigChanged]
    }

    fn node_up(&mut self, about: IncarnationOf, boot: &BootId, clean: bool) -> Changes {
        if !self.members.contains_key(&about.node) {
            return void(format!("node {} is no member", about.node));
        }
        if self.is_ended(about) {
            return void(format!("incarnation {about} is over"));
        }
        let before = self.lives.get(&about.node).cloned();
        if let Some(life) = &before
            && life.incarnation >= about.incarnation
        {
            return void(format!("incarnation {} is registered", life.incarnation));
        }
        let (mode, reboots) = before.as_ref().map_or((NodeMode::Active, false), |l| l.successor(boot));
        let (registered, cut) =
            before.as_ref().map_or_else(Default::default, |l| l.registration(boot, clean));
        let life = Life {
            incarnation: about.incarnation,
            boot: boot.clone(),
            mode,
            without_lease: false,
            reboots,
            registered,
            cut,
        };
        self.lives.insert(about.node, life);
        // A device that is asked to end a past life would hit this one.
        self.fence_requests.retain(|past, _| past.node != about.node);
        let mut changes = Vec::new();
        if let Some(life) = before {
            let old = IncarnationOf { node: about.node, incarnation: life.incarnation };
            let proof = if life.boot != *boot {
                Some(Proof::Rebooted { boot: boot.clone() })
            } else {
                clean.then_some(Proof::Released)
            };
            if let Some(proof) = proof {
                changes.extend(self.end(old, &proof));
            }
        }
        self.end_moves_to(about.node);
        self.home_has_joined(about);
        for (name, group) in &mut self.groups {
            if group.failed_on.remove(&about.node).is_some() {
                changes.push(Change::Wished(name.clone()));
            }
        }
        changes.push(Change::NodeUp(about));
        changes
    }

    /// Ends an incarnation and vacates what it owned, as far as the proof is good for it.
    pub(super) fn end(&mut self, about: IncarnationOf, proof: &Proof) -> Changes {
        let mut changes = Vec::new();
        if !self.is_ended(about) {
            if matches!(proof, Proof::LeaseEnded { .. }) {
                self.leases_ended.insert(about.node, about.incarnation);
            }
            self.ended.insert(about.node, about.incarnation);
            self.withdrawn.retain(|p| p.about.node != about.node || p.about.incarnation > about.incarnation);
            changes.push(Change::NodeDown(about, proof.clone()));
        }
        let ends = |(name, o): &(&GroupName, &Ownership)| self.accepts(name, o, proof);
        let owned: Vec<_> = self.owned_up_to(about).filter(ends).map(|(name, _)| name.clone()).collect();
        for name in owned {
            self.forgive_where_it_ran(&name);
            changes.extend(self.vacate(&name, proof.clone()));
        }
        changes.extend(self.better_than_a_word(about, proof));
        // A device goes on as long as something waits for its word.
        if self.owned_up_to(about).next().is_none() {
            self.fence_requests.remove(&about);
        }
        changes
    }

    /// The state as it would be if `command` were committed next: what the planner looks ahead with.
    #[must_use]
    pub fn preview(&self, command: &Command, voters: &BTreeSet<NodeId>) -> (Self, Vec<Change>) {
        let mut after = self.clone();
        let changes = after.change(command, voters);
        (after, changes)
    }

    fn vacate(&mut self, name: &GroupName, proof: Proof) -> Changes {
        self.instances_end(name, &proof);
        let known = self.config.group(name).is_some();
        let Some(group) = self.groups.get_mut(name) else { return Vec::new() };
        group.tenure = Tenure::Vacant(proof.clone());
        group.word = None;
        group.in_force = None;
        if !known {
            self.forget_group(name);
        }
        vec![Change::Vacated(name.clone(), proof)]
    }

    /// A group that is not configured and nobody's any more: of it only the last epoch is kept.
    fn forget_group(&mut self, name: &GroupName) {
        if let Some(group) = self.groups.remove(name) {
            self.last_epochs.insert(name.clone(), group.epoch);
        }
    }

    fn node_down(
        &mut self,
        about: IncarnationOf,
        proof: &Proof,
        takeovers: &[(GroupName, IncarnationOf)],
        voters: &BTreeSet<NodeId>,
    ) -> Changes {
        if let Err(why) = self.proof_stands(about, proof, voters) {
            return void(why);
        }
        let mut changes = self.end(about, proof);
        if changes.is_empty() {
            return void(format!("{about} is over already, and this proof ends nothing more"));
        }
        for (group, to) in takeovers {
            let Some(epoch) = self.groups.get(group).map(|g| g.epoch) else { continue };
            if matches!(self.groups[group].tenure, Tenure::Vacant(_)) {
                changes.extend(self.assign(group, epoch, *to));
            }
        }
        changes
    }

    fn may_own(&self, who: IncarnationOf) -> Result<(), String> {
        if self.living(who.node) != Some(who) {
            return Err(format!("{who} is not the living incarnation of its node"));
        }
        if self.lives[&who.node].without_lease && !off(Condition::L10NothingMoreGiven) {
            return Err(format!("{who} holds without lease: it gets nothing more"));
        }
        Ok(())
    }

    fn assign(&mut self, name: &GroupName, after: Epoch, to: IncarnationOf) -> Changes {
        if let Err(why) = self.may_own(to) {
            return void(why);
        }
        if self.lives[&to.node].reboots {
            return void(format!("{to} is to be rebooted: it gets nothing more"));
        }
        if let Some(disk) = self.config.group(name).and_then(|group| self.not_registered_at(to.node, group)) {
            return void(format!("{to} is not registered at {}", disk.display()));
        }
        let parent_epoch = match self.parents_epoch(name) {
            Ok(epoch) => epoch,
            Err(why) => return void(why),
        };
        if let Some(why) = self.is_kept_down(name) {
            return void(why);
        }
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        let Tenure::Vacant(proof) = &group.tenure else {
            return void(format!("{name} has an owner"));
        };
        if group.epoch != after {
            return void(format!("{name} is at epoch {} already", group.epoch));
        }
        let proof = proof.clone();
        group.epoch = group.epoch.next();
        let ownership = Ownership {
            epoch: group.epoch,
            owner: to,
            phase: Phase::Acquiring,
            proof,
            previous: group.last_owner,
            parent_epoch,
            without_lease: false,
        };
        group.tenure = Tenure::Owned(ownership.clone());
        group.last_owner = Some(to.node);
        group.word = None;
        group.parked_on = None;
        group.restarts = None;
        group.started = true;
        group.moved |= group.moved_to == Some(to.node);
        group.suspended.clear();
        group.joined_home = None;
        if let Some(hold) = &mut group.held {
            hold.ordered = false;
        }
        vec![Change::Assigned(name.clone(), ownership)]
    }

    fn adopt(&mut self, name: &GroupName, epoch: Epoch, to: IncarnationOf) -> Changes {
        if let Err(why) = self.may_own(to) {
            return void(why);
        }
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        match &group.tenure {
            Tenure::Owned(o)
                if o.owner != to
                    && (o.epoch == epoch && o.owner.node == to.node || off(Condition::L6StillCurrent)) =>
            {
                group.epoch = group.epoch.next();
                // Whatever state the old guard left it in is found by probing; being taken down goes on.
                let phase = match &o.phase {
                    Phase::Releasing(reason) => Phase::Releasing(reason.clone()),
                    Phase::Stuck(why) => Phase::Stuck(why.clone()),
                    Phase::AwaitsReboot => Phase::AwaitsReboot,
                    Phase::Acquiring | Phase::Online => Phase::Acquiring,
                };
                let ownership = Ownership {
                    epoch: group.epoch,
                    owner: to,
                    phase,
                    proof: Proof::Adopted,
                    previous: Some(to.node),
                    parent_epoch: o.parent_epoch,
                    // Its guard may not know yet that its lease limits this again: see [`Self::online`].
                    without_lease: o.without_lease && !off(Condition::L10AdoptedStaysSo),
                };
                let before = o.epoch;
                group.last_owner = Some(to.node);
                group.tenure = Tenure::Owned(ownership.clone());
                self.keep_children(name, before, ownership.epoch);
                vec![Change::Assigned(name.clone(), ownership)]
            }
            _ => void(format!("epoch {epoch} of {name} is not current any more")),
        }
    }

    /// Changes the phase of the ownership `epoch`, if it is the current one.
    pub(super) fn phase(
        &mut self,
        name: &GroupName,
        epoch: Epoch,
        next: impl FnOnce(&Phase) -> Result<Phase, String>,
    ) -> Changes {
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        let Tenure::Owned(ownership) = &mut group.tenure else {
            return void(format!("{name} has no owner"));
        };
        if ownership.epoch != epoch {
            return void(format!("epoch {epoch} of {name} is not current"));
        }
        match next(&ownership.phase) {
            Ok(phase) => {
                ownership.phase = phase;
                vec![Change::PhaseChanged(name.clone(), ownership.clone())]
            }
            Err(why) => void(why),
        }
    }

    /// The owner has everything up, on its guard's list, under its lease: from now on the end of that lease is a
    /// proof again for what was held without one.
    fn online(&mut self, name: &GroupName, epoch: Epoch) -> Changes {
        let mut changes = self.phase(name, epoch, |phase| match phase {
            Phase::Acquiring => Ok(Phase::Online),
            other => Err(format!("it is {other:?}, not being acquired")),
        });
        let tenure = self.groups.get_mut(name).map(|g| &mut g.tenure);
        if let (Some(Change::PhaseChanged(_, told)), Some(Tenure::Owned(o))) = (changes.first_mut(), tenure) {
            // Unless this life, too, holds without lease by now.
            let again = self.lives.get(&o.owner.node).is_some_and(|l| l.without_lease);
            let again = again && !off(Condition::L10NothingMoreGiven);
            o.without_lease &= again;
            told.without_lease &= again;
        }
        changes
    }

    pub(super) fn release(&mut self, name: &GroupName, epoch: Epoch, reason: &ReleaseReason) -> Changes {
        if let Some(hold) = self.hold_of(name).filter(|_| reason.is_by_itself()) {
            return void(format!("{name} is {hold}"));
        }
        let changes = self.phase(name, epoch, |phase| match phase {
            Phase::Releasing(_) => Err("it is being released already".into()),
            Phase::AwaitsReboot => Err("it is down already, as far as that is possible".into()),
            _ => Ok(Phase::Releasing(reason.clone())),
        });
        let released = matches!(changes.as_slice(), [Change::PhaseChanged(..)]);
        let parks = *reason == ReleaseReason::Stopping(StopMode::Graceful);
        if let (true, Some(group)) = (released && parks, self.groups.get_mut(name)) {
            group.parked_on = group.last_owner;
        }
        changes
    }

    fn released(&mut self, name: &GroupName, epoch: Epoch, failure: Option<&str>) -> Changes {
        let Some(ownership) = self.ownership(name).filter(|o| o.epoch == epoch).cloned() else {
            return void(format!("epoch {epoch} of {name} is not current"));
        };
        let mut changes = Vec::new();
        if let (Some(why), Some(group)) = (failure, self.groups.get_mut(name)) {
            group.failed_on.insert(ownership.owner.node, why.to_owned());
            group.parked_on = None;
            if group.moved_to == Some(ownership.owner.node) {
                group.moved_to = None;
            }
            changes.push(Change::FailedOn(name.clone(), ownership.owner.node, why.to_owned()));
        }
        if let Some(group) = self.groups.get_mut(name)
            && !group.enabled
        {
            group.started = false;
        }
        if self.accepts(name, &ownership, &Proof::Released) {
            changes.extend(self.vacate(name, Proof::Released));
        } else {
            changes.extend(self.phase(name, epoch, |_| Ok(Phase::AwaitsReboot)));
        }
        changes
    }

    fn stuck(&mut self, name: &GroupName, epoch: Epoch, reason: &str) -> Changes {
        self.phase(name, epoch, |_| Ok(Phase::Stuck(reason.to_owned())))
    }
}
