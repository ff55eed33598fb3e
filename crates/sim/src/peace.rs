//! After the faults: everything is put right, and everything must run within a bound.

use std::collections::BTreeSet;

use regent_api::{GroupVerb, NodeVerb, Request};
use regent_lease::holder::Right;
use regent_model::GroupName;
use regent_model::config::{Failback, GroupConfig, ReleaseEnd};
use regent_model::ids::NodeId;
use regent_model::state::{Group, NodeMode, Ownership, Phase, State, Tenure};

use crate::body::AppKey;
use crate::event::Event;
use crate::guardian::nanoseconds;
use crate::machine::Machine;
use crate::net::Manners;
use crate::operator::ANSWER_MAX;
use crate::pairs::Lonely;
use crate::sim::{Sim, Weather};
use crate::time::{MS, Ns, S};

const LOOK_EVERY: Ns = 250 * MS;
/// How long a run waits for everything to run after faults have ended.
const PEACE_MAX: Ns = 60 * S;
/// How long everything must go on to run before a run is believed to have ended well.
const STAYS: Ns = 3 * S;

fn is_stuck(group: &Group) -> bool {
    matches!(&group.tenure, Tenure::Owned(o) if matches!(o.phase, Phase::Stuck(_)))
}

impl Sim {
    /// How long after the last fault everything must run again.
    pub(crate) fn peace_max(&self) -> Ns {
        PEACE_MAX.max(10 * nanoseconds(self.config.timers.lease))
    }

    /// Nothing goes wrong any more, and everything that is broken is mended.
    pub(crate) fn make_peace(&mut self) {
        self.trace.world(self.now, "faults are over; everything is put right");
        self.peace = true;
        self.peace_began = self.now;
        // What depends on a group that is held and down could not run either.
        let alone = |g: &std::sync::Arc<GroupConfig>| {
            g.relations.parent.is_none() && g.clients().next().is_none() && g.release == ReleaseEnd::Down
        };
        // Nor would it be had by whoever is left of two.
        let may = self.config.groups.iter().all(alone) && !self.variant_is_pair();
        self.keeps_held = self.rng.chance(500) && may;
        self.net.heal();
        self.net.manners = Manners::calm();
        self.weather = Weather::calm();
        (self.area.fails, self.area.slow) = (0, 1);
        for node in self.nodes() {
            if let Some(machine) = self.machines.get_mut(&node) {
                machine.san = true;
                machine.wanted = true;
                machine.disk_hangs_until = 0;
            }
            self.thaw(node);
            self.thaw_daemon(node);
            self.power_on(node);
        }
        self.resume_channels();
        self.after(S, Event::Restore);
        self.after(2 * S, Event::Judge);
    }

    /// The operator does what an operator would do to have everything run.
    pub(crate) fn restore(&mut self) {
        self.after(4 * S, Event::Restore);
        if matches!(self.lonely, Lonely::Left(_) | Lonely::Parted) {
            self.word_for_who_is_left();
            return;
        }
        self.words_again();
        let nodes = self.nodes();
        let asks = nodes.iter().copied().find(|node| self.machines[node].daemon.is_some());
        for node in nodes {
            let Some(machine) = self.machines.get(&node) else { continue };
            if machine.daemon.is_none() && !self.is_leaving(node) {
                let boot = machine.boot;
                self.after(MS, Event::ServiceStarts(node, boot));
            }
        }
        let (Some(asks), Some((_, truth))) = (asks, self.judge.truth.clone()) else { return };
        let voters = self.machines[&asks].daemon.as_ref().map(|d| d.engine.voters()).unwrap_or_default();
        if self.machines.values().any(|m| m.newcomer.is_some() && voters.contains(&m.id)) {
            self.marks.hit("a newcomer votes");
        }
        self.restore_members(asks, &truth);
        self.restore_removals();
        self.restore_registrations(&truth);
        let text = self.file.clone();
        if truth.config_text != text {
            // What was given to somebody meanwhile is free only when nobody runs.
            self.tries += 1;
            let tries = self.tries;
            for (name, group) in truth.groups.iter().filter(|_| tries > 2) {
                // What could not be taken down when it was disabled is taken down once more.
                let verb =
                    if is_stuck(group) && !group.enabled { GroupVerb::Restart } else { GroupVerb::Disable };
                self.ask(asks, Request::Group { group: name.to_string(), verb });
            }
            if self.tries > 3 {
                self.reboot_what_waits_for_it(&truth);
            }
            self.ask(asks, Request::Apply { text, dry_run: false });
            return;
        }
        for (name, group) in &truth.groups {
            if group.held.is_some() && !self.keeps_held {
                self.ask(asks, Request::Group { group: name.to_string(), verb: GroupVerb::Resume });
                continue;
            }
            let verb = if is_stuck(group) {
                GroupVerb::Restart
            } else if !group.enabled || !group.failed_on.is_empty() || group.parked_on.is_some() {
                GroupVerb::Enable
            } else if group.in_force.is_some() {
                self.acquired_anew(&truth, name)
            } else {
                continue;
            };
            self.ask(asks, Request::Group { group: name.to_string(), verb });
        }
        for (node, life) in &truth.lives {
            if life.mode == NodeMode::Standby {
                let request = Request::Node { node: Some(self.name(*node)), verb: NodeVerb::Start };
                self.ask(asks, request);
            }
        }
    }

    /// What is down but for a reboot gets one.
    fn reboot_what_waits_for_it(&mut self, truth: &State) {
        let waits = |o: &Ownership| o.phase == Phase::AwaitsReboot;
        let owners = truth.groups.keys().filter_map(|g| truth.ownership(g)).filter(|o| waits(o));
        let nodes: BTreeSet<NodeId> = owners.map(|o| o.owner.node).collect();
        for node in nodes {
            self.power_off(node);
            self.after(100 * MS, Event::PowerOn(node));
        }
    }

    /// What makes a group be acquired as it is configured: another node must have what only a reboot ends.
    fn acquired_anew(&mut self, truth: &State, name: &GroupName) -> GroupVerb {
        self.marks.hit("what was acquired before a change of the file ran on");
        let owner = truth.ownership(name).map(|o| self.name(o.owner.node)).unwrap_or_default();
        let others = truth.config.group(name).map(|g| g.nodes.clone()).unwrap_or_default();
        match others.iter().find(|n| n.as_str() != owner) {
            Some(to) if truth.ends_by_reboot(name) => GroupVerb::Move { to: to.to_string() },
            _ => GroupVerb::Restart,
        }
    }

    /// Looks whether everything runs; ends the run when it has for a while, or when it does not in time.
    pub(crate) fn judge_liveness(&mut self) {
        if self.over {
            return;
        }
        let alone = matches!(self.lonely, Lonely::Left(_) | Lonely::Parted);
        let problem = if alone { self.lonely_problem() } else { self.problem() };
        match (&problem, self.settled_since) {
            (None, Some(since)) if self.now - since >= STAYS && self.asked.is_empty() => match self.lonely {
                Lonely::NotYet => self.begin_lonely(),
                Lonely::Left(_) | Lonely::Parted => self.end_lonely(),
                Lonely::Over => {
                    self.over = true;
                    return;
                }
            },
            (None, Some(_)) => {}
            (None, None) => self.settled_since = Some(self.now),
            (Some(_), _) => self.settled_since = None,
        }
        if let Some(what) = self.unanswered() {
            self.judge.violated(self.now, &mut self.trace, what);
        }
        if self.now >= self.peace_began + self.peace_max() + ANSWER_MAX {
            let what = problem.unwrap_or_else(|| "it runs, and then it does not".into());
            let seconds = self.peace_max() / S;
            let what = format!("{seconds} s after the last fault: {what}");
            self.judge.violated(self.now, &mut self.trace, what);
            return;
        }
        self.after(LOOK_EVERY, Event::Judge);
    }

    /// What does not run as it should, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let Some((_, truth)) = &self.judge.truth else { return Some("nothing was ever committed".into()) };
        if let Some(gone) = self.strangers().iter().find(|name| truth.id_of(name).is_some()) {
            return Some(format!("{gone} lost its state and has not joined again"));
        }
        if let Some(what) = self.removal_problem() {
            return Some(what);
        }
        for machine in self.machines.values() {
            let name = &machine.name;
            let Some(daemon) = &machine.daemon else { return Some(format!("{name} has no daemon")) };
            if daemon.engine.open_contest().is_some() {
                return Some(format!("{name} has not brought its contest to an end"));
            }
            let valid = machine.guard.as_ref().is_some_and(|g| g.core.right() == Right::Valid);
            if !valid {
                return Some(format!("{name} has no lease"));
            }
            if daemon.engine.state() != truth {
                return Some(format!("{name} lags behind the log"));
            }
            if let Some(promise) = machine.shadow.promise_against_the_living(truth) {
                return Some(format!("a promise of {name} stands against a living incarnation: {promise:?}"));
            }
        }
        let leaders = self.machines.values().filter_map(|m| m.daemon.as_ref()).filter(|d| d.engine.leads());
        let leaders = leaders.count();
        if leaders != 1 {
            return Some(format!("{leaders} nodes lead"));
        }
        if let Some((node, _)) = truth.lives.iter().find(|(_, life)| life.mode == NodeMode::Standby) {
            return Some(format!("{} is on standby", self.name(*node)));
        }
        if self.config.arbiter.is_some() && !truth.settled {
            return Some("the two are not settled".to_owned());
        }
        if let Some(what) = self.registration_problem(truth) {
            return Some(what);
        }
        let group = self.config.groups.iter().find_map(|group| self.group_problem(truth, group));
        group.or_else(|| self.machines.values().find_map(|machine| self.left_over(machine)))
    }

    /// What is up on a machine, and no group that is configured has it.
    fn left_over(&self, machine: &Machine) -> Option<String> {
        let body = &machine.body;
        // An instance is there from its acquire to its release, whether it runs or not.
        let of_group = |g: &GroupConfig| {
            let names = g.instances.iter().map(|i| (g.name.clone(), i.resource.clone()));
            names.collect::<Vec<_>>()
        };
        let instances: Vec<AppKey> = self.config.groups.iter().flat_map(|g| of_group(g)).collect();
        let apps = body.apps.iter().filter(|key| !instances.contains(key)).count();
        let held = body.folders.iter().filter(|key| instances.contains(key)).count();
        let there = body.addresses.len() + body.mounts.len() + apps + held;
        let ours: usize = self.config.groups.iter().map(|g| self.parts_there(machine.id, g)).sum();
        (there != ours).then(|| {
            let name = &machine.name;
            format!("{name} has {there} things up, and {ours} are configured: {body:?}")
        })
    }

    fn group_problem(&self, truth: &State, config: &GroupConfig) -> Option<String> {
        let name = &config.name;
        let Some(group) = truth.groups.get(name) else { return Some(format!("{name} is not configured")) };
        // What is held may be down, and stay so; it is up nowhere else all the same.
        if group.held.is_some() {
            let owner = truth.ownership(name).map(|o| o.owner.node);
            let others = self.machines.values().filter(|m| Some(m.id) != owner);
            let up = others.into_iter().find(|m| self.parts_there(m.id, config) != 0);
            return up.map(|m| format!("{name} is held, and something of it is up on {}", m.name));
        }
        let Tenure::Owned(o) = &group.tenure else {
            return Some(format!("{name} has no owner: {:?}; the log has {group:?}", group.tenure));
        };
        if o.phase != Phase::Online {
            return Some(format!("{name} is {:?}", o.phase));
        }
        if o.without_lease {
            return Some(format!("{name} is held without lease"));
        }
        let home = truth.id_of(&config.nodes[0]);
        let goes_home = config.policy.failback == Failback::Home;
        if goes_home && group.moved_to.is_none() && home != Some(o.owner.node) {
            return Some(format!("{name} is not at home"));
        }
        self.machines.values().find_map(|machine| {
            let owns = machine.id == o.owner.node;
            let there = self.parts_there(machine.id, config);
            let parts = config.resources().len();
            // A volume may stay active where a lease ended: nobody there writes it.
            let active = |v: &&std::sync::Arc<regent_model::config::VolumeConfig>| {
                machine.body.volumes.contains(&(config.name.clone(), v.name.clone()))
            };
            let there = there + if owns { config.volumes.iter().filter(active).count() } else { 0 };
            let wrong = if owns { there != parts } else { there != 0 };
            wrong.then(|| format!("{there} of {parts} resources of {name} are up on {}", machine.name))
        })
    }

    fn parts_there(&self, node: NodeId, config: &GroupConfig) -> usize {
        let body = &self.machines[&node].body;
        let mounts =
            config.filesystems.iter().filter(|f| body.mounts.get(&f.mount) == Some(&f.device)).count();
        let addresses = config.addresses.iter().filter(|a| body.addresses.contains(&a.address)).count();
        let key = |app: &regent_model::ResourceName| (config.name.clone(), app.clone());
        let apps = config.applications.iter().filter(|a| body.apps.contains(&key(&a.name))).count();
        // An instance is held, whether it runs or not.
        let instances = config.instances.iter().filter(|i| body.folders.contains(&key(&i.resource))).count();
        mounts + addresses + apps + instances
    }
}
