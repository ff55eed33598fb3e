//! This node's own life: what the guard says, registering, adopting, carrying out what the log gave it, stopping.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_lease::io::ClusterView;
use regent_lease::{FromDaemon, ToDaemon};
use regent_model::action::{Outcome, Resource, RunId};
use regent_model::event::Event;
use regent_model::holding::Held;
use regent_model::ids::{Epoch, GroupName, IncarnationOf, NodeId, ResourceName};
use regent_model::journal::Level;
use regent_model::mutants::{Condition, off};
use regent_model::proof::Proof;
use regent_model::state::{Command, NodeMode, Ownership, Phase, StopMode, Tenure};

use crate::engine::{Engine, GuardView};
use crate::io::{Leave, StepTaken};
use crate::sequencer::{Sequencer, Task, Wish};

impl Engine {
    pub(crate) fn guard_said(&mut self, said: ToDaemon) {
        match said {
            ToDaemon::Welcome { incarnation, boot, held, clean } => {
                if self.guard.incarnation != Some(incarnation) {
                    self.guard.lease_valid = false;
                    self.guard.letting_go = false;
                    self.forget_events();
                    self.tell(Level::Step, "incarnation", format!("incarnation {incarnation} of the guard"));
                }
                self.guard.attached = true;
                self.guard.incarnation = Some(incarnation);
                self.guard.boot = boot;
                self.guard.clean = clean;
                self.guard.held = held;
                self.since.heard(IncarnationOf { node: self.me.id, incarnation }, self.now);
                self.remind_guard();
            }
            ToDaemon::StorePromise(promise) => self.store_promise(promise),
            ToDaemon::PromiseMatured(promise) => self.promise_matured(promise),
            ToDaemon::PromisedButAlive(promise) => self.promised_but_alive(promise),
            ToDaemon::PeerHeard(about) => self.peer_heard(about),
            ToDaemon::PeerSilent { peer, silence } => {
                if self.heard.get(&peer.node) == Some(&peer.incarnation) {
                    self.heard.remove(&peer.node);
                    let who = self.state.name_of(peer.node);
                    let text = format!("{who} was not heard on any network for {} ms", silence.as_millis());
                    self.tell(Level::Step, "peer_silent", text);
                }
            }
            ToDaemon::LeaseValid { incarnation } => {
                if self.guard.incarnation == Some(incarnation) && !self.guard.lease_valid {
                    self.guard.lease_valid = true;
                    self.tell(Level::Step, "lease", format!("lease of incarnation {incarnation} is valid"));
                }
            }
            ToDaemon::Confirmed { incarnation, applied } => {
                if self.guard.incarnation == Some(incarnation) {
                    self.guard.confirmed = self.guard.confirmed.max(applied);
                }
            }
            ToDaemon::LettingGo { incarnation, reason } => {
                if self.guard.incarnation == Some(incarnation) {
                    self.guard.letting_go = true;
                    self.guard.lease_valid = false;
                    self.sequencers.clear();
                    let (level, what) = if self.owns_nothing() {
                        (Level::Warning, "without a lease, and owning nothing")
                    } else {
                        (Level::Error, "letting go of everything")
                    };
                    self.tell(level, "letting_go", format!("{what}: {reason}"));
                }
            }
            ToDaemon::LetGo { incarnation, released } => {
                for (held, took) in released {
                    self.tell_let_go(&held, took);
                }
                let text = format!("incarnation {incarnation} holds nothing any more");
                self.tell(Level::Notice, "let_go", text);
            }
            ToDaemon::Done { .. } => {}
        }
    }

    fn tell_let_go(&mut self, held: &Held, took: Duration) {
        self.write(Level::Notice, "let_go", format!("let go of {}", held.holding), |e| {
            e.group = Some(held.group.clone());
            e.epoch = Some(held.epoch);
            e.took = Some(took);
        });
    }

    /// The guard process has ended, or the connection to it: until the next one says who it is, nothing may act.
    pub(crate) fn guard_lost(&mut self) {
        self.tell(Level::Warning, "guard_lost", "the connection to the guard has ended");
        self.guard = GuardView::default();
        self.guard_told = None;
        self.watchdog_told = None;
        self.heard.clear();
        self.since.all_silent();
        self.sequencers.clear();
    }

    /// Which networks every peer is heard on. That one of several fell silent moves nothing, and must be seen.
    pub(crate) fn networks_heard(&mut self, networks: BTreeMap<NodeId, Vec<bool>>) {
        let before = std::mem::replace(&mut self.networks, networks);
        let mut told = Vec::new();
        for (node, now) in &self.networks {
            let Some(before) = before.get(node).filter(|b| b.contains(&true) && now.contains(&true)) else {
                continue;
            };
            let who = self.state.name_of(*node);
            for (at, (was, is)) in before.iter().zip(now).enumerate().filter(|(_, (was, is))| was != is) {
                let _ = was;
                let what = if *is { "is heard again" } else { "is not heard any more" };
                let level = if *is { Level::Notice } else { Level::Warning };
                told.push((level, format!("{who} {what} on network {}", at + 1)));
            }
        }
        for (level, text) in told {
            self.tell(level, "network", text);
        }
    }

    fn peer_heard(&mut self, about: IncarnationOf) {
        // A datagram of an earlier life can come late.
        if self.heard.get(&about.node).is_some_and(|known| *known > about.incarnation) {
            return;
        }
        let before = self.heard.insert(about.node, about.incarnation);
        self.since.heard(about, self.now);
        if before != Some(about.incarnation) {
            let who = self.state.name_of(about.node);
            let text = match before {
                None => format!("{who} is heard"),
                Some(_) => format!("{who} is heard in a new life, incarnation {}", about.incarnation),
            };
            self.tell(Level::Step, "peer_heard", text);
        }
    }

    /// Registers this life, and adopts what an earlier life of this machine left running (L6).
    pub(crate) fn follow_life(&mut self) {
        let Some(life) = self.my_life() else { return };
        if !self.state.members.contains_key(&self.me.id) || self.leaving {
            return;
        }
        let registered = self.state.lives.get(&self.me.id).map(|l| l.incarnation);
        if registered.is_none_or(|last| last < life.incarnation) {
            let boot = self.guard.boot.clone();
            self.propose(Command::NodeUp { about: life, boot, clean: self.guard.clean });
            return;
        }
        if !self.current {
            self.propose(Command::Present);
            return;
        }
        self.follow_format();
        self.follow_mode(life);
        self.follow_reboot(life);
        // What is adopted is limited by this incarnation's lease from then on: it must have one.
        if !self.guard.lease_valid {
            return;
        }
        self.follow_registration(life);
        let left: Vec<(GroupName, Epoch)> = self
            .state
            .groups
            .iter()
            .filter_map(|(name, g)| match &g.tenure {
                Tenure::Owned(o) if o.owner.node == self.me.id && o.owner != life => {
                    Some((name.clone(), o.epoch))
                }
                _ => None,
            })
            .collect();
        for (group, epoch) in left {
            self.propose(Command::Adopt { group, epoch, to: life });
        }
    }

    /// Leaves when the log says that this node stops, and nothing keeps it.
    fn follow_mode(&mut self, life: IncarnationOf) {
        let Some(NodeMode::Stopping(mode)) = self.state.lives.get(&self.me.id).map(|l| l.mode) else {
            return;
        };
        let known = &self.state.lives[&self.me.id];
        let living = self.state.living(self.me.id) == Some(life);
        // While commands held up a leaving without lease, the others may have ended this life: it leaves all the same.
        let left_behind = known.incarnation == life.incarnation && known.without_lease;
        if !living && !left_behind {
            return;
        }
        let leave = match mode {
            StopMode::Forced => {
                // The log must say so of everything, and take nothing more for it: nobody guards it from now on.
                let without_lease = self.state.lives[&self.me.id].without_lease;
                if !without_lease {
                    self.propose(Command::HoldWithoutLease { about: life });
                }
                (without_lease && !(living && self.is_leave_held())).then_some(Leave::LeaveRunning)
            }
            StopMode::Graceful | StopMode::Takeover => {
                let released = self.may_leave(mode) && self.sequencers.is_empty();
                (released && !self.is_leave_held()).then_some(Leave::Empty)
            }
        };
        if let Some(leave) = leave.filter(|_| !self.hands_over_first()) {
            self.leaving = true;
            self.tell(Level::Notice, "node_stop", format!("{} leaves ({})", self.me.name, mode.word()));
            self.out.leave = Some(leave);
        }
    }

    /// Lets the sequencers follow what the log says about this node's groups.
    pub(crate) fn follow_groups(&mut self) {
        let Some(life) = self.my_life() else { return };
        let mine: Vec<(GroupName, Ownership)> =
            self.state.owned_by(life).map(|(name, o)| (name.clone(), o.clone())).collect();
        // What is down and awaits a reboot has nothing to do; should it be brought up again, it begins anew.
        let acting = mine.iter().filter(|(_, o)| o.phase != Phase::AwaitsReboot);
        let current: BTreeSet<(&GroupName, Epoch)> = acting.map(|(name, o)| (name, o.epoch)).collect();
        self.sequencers.retain(|name, s| current.contains(&(name, s.epoch())));
        let may_act = self.may_act(life);
        for (name, ownership) in mine {
            if !may_act {
                continue;
            }
            let gate = self.gate_of(&name, &ownership);
            let is_held = self.is_release_held(&name, &ownership);
            // What was stuck is taken down as it is described by now.
            let again = matches!(ownership.phase, Phase::Releasing(_)) && !is_held;
            if again && self.sequencers.get(&name).is_some_and(Sequencer::is_stuck) {
                self.sequencers.remove(&name);
            }
            if !self.sequencers.contains_key(&name) && !is_held {
                self.begin(&name, &ownership);
            }
            let serial = self.state.config_serial;
            let behind = self.sequencers.get(&name).is_some_and(|s| !s.follows(serial));
            let config = self.state.definition(&name).filter(|_| behind);
            let wanted = config.map(|config| self.resources_here(config));
            if let Some(sequencer) = self.sequencers.get_mut(&name) {
                // Right after a change of voters the guard lets nothing be acquired before the new ones have
                // acknowledged it (L8): a matter of a heartbeat.
                let confirmed = self.guard.confirmed >= self.guard.voters_told_at;
                sequencer.admit(self.now, confirmed || off(Condition::L8CurrentVoters));
                sequencer.set_gate(gate);
                if !is_held {
                    sequencer.follow(&ownership.phase);
                }
                sequencer.wants(serial, || wanted.unwrap_or_default());
            }
            self.follow_suspensions(&name);
            let held = self.state.hold_of(&name).is_some();
            if let Some(sequencer) = self.sequencers.get_mut(&name) {
                sequencer.set_held(self.now, held);
            }
            self.advance(&name);
        }
    }

    fn begin(&mut self, name: &GroupName, ownership: &Ownership) {
        let Some(config) = self.state.definition(name) else { return };
        let resources = self.resources_here(config);
        let task = Task {
            group: name.clone(),
            epoch: ownership.epoch,
            node: self.me.name.clone(),
            resources,
            serial: self.state.config_serial,
            inherits: self.assigned_here.remove(name) != Some(ownership.epoch),
            ends_by_reboot: self.state.ends_by_reboot(name),
            ran_before: ownership.phase == Phase::Online || ownership.proof == Proof::Adopted,
        };
        let sequencer = match &ownership.phase {
            Phase::Acquiring | Phase::Online => Sequencer::acquire(task, self.now),
            Phase::Releasing(_) => Sequencer::release_all(task, self.now),
            Phase::Stuck(_) | Phase::AwaitsReboot => return,
        };
        self.sequencers.insert(name.clone(), sequencer);
    }

    /// Lets one sequencer go on, and carries its wishes out.
    pub(crate) fn advance(&mut self, name: &GroupName) {
        let mut wishes = Vec::new();
        if let Some(sequencer) = self.sequencers.get_mut(name) {
            sequencer.advance(self.now, &mut self.numbers, &mut wishes);
        }
        self.carry_out(name, wishes);
    }

    pub(crate) fn carry_out(&mut self, name: &GroupName, wishes: Vec<Wish>) {
        let Some(epoch) = self.sequencers.get(name).map(Sequencer::epoch) else { return };
        let ownership = self.state.ownership(name).filter(|o| o.epoch == epoch).cloned();
        let phase = ownership.as_ref().map(|o| o.phase.clone());
        for wish in wishes {
            match wish {
                Wish::Run(mut run) => {
                    // As it is now: another group may have come to this node since.
                    run.environment.splice(..0, self.environment(name, ownership.as_ref()));
                    if let Resource::Instance(_) = run.resource {
                        self.add_identity(&mut run.environment);
                    }
                    self.choose_places(&mut run);
                    self.out.run.push(run);
                }
                Wish::Online if phase == Some(Phase::Online) => {}
                Wish::Online => self.propose(Command::Online { group: name.clone(), epoch }),
                Wish::Released(failure) => {
                    self.propose(Command::Released { group: name.clone(), epoch, failure })
                }
                Wish::Stuck(reason) => self.propose(Command::Stuck { group: name.clone(), epoch, reason }),
                Wish::Raise(event, application) => {
                    let event = Event::new(event, [application.as_str(), self.me.name.as_str()]);
                    self.raise_about(event, name);
                }
                Wish::Tell { level, kind, resource, text, took, evidence } => {
                    let group = Some(name.clone());
                    let event = self.event_of_group(name);
                    self.write(level, kind, text, |e| {
                        e.group = group;
                        e.event = event;
                        e.resource = resource;
                        e.epoch = Some(epoch);
                        e.took = took;
                        e.evidence = evidence;
                    });
                }
            }
        }
    }

    pub(crate) fn agent_done(&mut self, id: RunId, outcome: Outcome, steps: Vec<StepTaken>) {
        let asked = self.instances.by_hand.remove(&id).map(|asked| (asked, outcome.clone()));
        self.step_done(id, outcome, steps);
        if let Some((asked, outcome)) = asked {
            self.by_hand_done(asked, &outcome);
        }
    }

    fn step_done(&mut self, id: RunId, outcome: Outcome, steps: Vec<StepTaken>) {
        let Some(name) = self.sequencers.iter().find(|(_, s)| s.waits_for(id)).map(|(name, _)| name.clone())
        else {
            return;
        };
        let mut wishes = Vec::new();
        let swap = self.swap_done(id, &outcome);
        let outcome = if swap { outcome } else { self.excuse(&name, id, outcome) };
        if let Some(sequencer) = self.sequencers.get_mut(&name) {
            sequencer.steps(id, steps, &mut wishes);
            sequencer.done(self.now, id, outcome, &mut wishes);
        }
        self.carry_out(&name, wishes);
    }

    pub(crate) fn application_exited(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        resource: &ResourceName,
        how: &str,
    ) {
        let mut wishes = Vec::new();
        if let Some(sequencer) = self.sequencers.get_mut(group).filter(|s| s.epoch() == epoch) {
            sequencer.exited(self.now, resource, how, &mut wishes);
        }
        self.carry_out(group, wishes);
    }

    /// Tells the guard what the log says, when that has changed.
    pub(crate) fn tell_guard(&mut self) {
        if !self.guard.attached && self.guard_told.is_some() {
            return;
        }
        // The view follows from what is applied, and from nothing else.
        let applied = self.consensus.applied();
        // And from who was named to vote alone.
        let told_at = (applied, self.consensus.noted().generation);
        if self.guard_told.is_some() && self.guard_told_at == told_at {
            return;
        }
        self.guard_told_at = told_at;
        let state = &self.state;
        let view = ClusterView {
            applied,
            voters: self.counted(),
            peers: self.others().into_iter().collect(),
            timers: state.config.timers,
            largest_lease: state.largest_lease,
            dead: state.ended.iter().map(|(n, i)| IncarnationOf { node: *n, incarnation: *i }).collect(),
            registered: state.lives.keys().filter_map(|n| state.living(*n)).collect(),
        };
        let Some(told) = &self.guard_told else {
            self.out.guard.push(FromDaemon::Attach {
                promises: self.own_promises.iter().filter(|p| !state.is_ended(p.about)).copied().collect(),
                next_round: self.next_round,
                cluster: view.clone(),
            });
            self.guard_told = Some(view);
            self.tell_watchdog();
            return;
        };
        // Whether the lease is confirmed under the voters that changed last is asked by their place in the log.
        let is_new = told.applied < state.voters_at;
        if !is_new && *told == (ClusterView { applied: told.applied, ..view.clone() }) {
            return self.tell_watchdog();
        }
        if told.voters != view.voters {
            self.guard.voters_told_at = view.applied;
            let now = self.now;
            self.sequencers.values_mut().for_each(|s| s.admit(now, false));
        }
        self.out.guard.push(FromDaemon::Configure(view.clone()));
        self.guard_told = Some(view);
        // After the timers that its timeout has to fit.
        self.tell_watchdog();
    }
}
