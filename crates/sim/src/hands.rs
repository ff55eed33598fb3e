//! The agents of a node: every act goes through its guard, takes its time, and fails on demand.

use std::time::Duration;

use regent_engine::Input;
use regent_engine::io::StepTaken;
use regent_lease::FromDaemon;
use regent_lease::io::ActId;
use regent_model::action::{Failure, How, Notice, Op, Outcome, Resource, Run, RunId};
use regent_model::holding::{Act, Held, Holding};
use regent_model::ids::{Incarnation, IncarnationOf, NodeId};
use regent_model::journal::Level;

use crate::body::{AppKey, Body, cgroup_of};
use crate::event::Event;
use crate::guardian::nanoseconds;
use crate::machine::{Fate, Job, Progress};
use crate::sim::Sim;
use crate::time::{MS, Ns, US};

const INTERFACE: &str = "eth0";

/// What an agent does next with a run.
pub(crate) enum Next {
    /// It asks the guard.
    Ask(FromDaemon),
    /// It looks at what it needs, for so long.
    Look(Ns),
    /// It works for so long, and then the machine changes like this.
    Work(Ns, Option<Event>),
    /// It has the answer.
    Answer(Outcome),
}

impl Sim {
    /// An agent begins with a run.
    pub(crate) fn begin_run(&mut self, node: NodeId, run: Run) {
        let acquires = if run.op == Op::Acquire { self.weather.acquires_fail } else { 0 };
        let (fail, hang) = (self.weather.agents_fail.max(acquires), self.weather.agents_hang);
        let fate = match self.rng.below(1000) {
            n if n < fail => Fate::Fails,
            n if n < fail + hang => Fate::Hangs,
            _ => Fate::Well,
        };
        let begins = self.rng.between(30, 150) * US;
        let Some(daemon) = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut()) else { return };
        let (id, life) = (run.id, daemon.life);
        let overdue = nanoseconds(run.deadline);
        let incarnation = daemon.incarnation.unwrap_or(Incarnation(0));
        let mut job =
            Job { run, incarnation, fate, progress: Progress::Begun, called_off: false, trouble: None };
        let (group, resource) = (job.run.group.clone(), job.run.resource.name().clone());
        let is_change = job.changes(&group, &resource);
        for earlier in daemon.jobs.values_mut().filter(|j| is_change && j.changes(&group, &resource)) {
            job.progress = Progress::Waiting;
            earlier.called_off |= job.run.op == Op::Release && earlier.run.op == Op::Acquire;
        }
        let waits = job.progress == Progress::Waiting;
        daemon.jobs.insert(id, job);
        if !waits {
            self.after(begins, Event::Hand(node, life, id));
        }
        self.after(overdue, Event::HandOverdue(node, life, id));
    }

    /// Its time is over: it says so, whatever it is waiting for.
    pub(crate) fn hand_overdue(&mut self, node: NodeId, id: RunId) {
        let Some(daemon) = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut()) else { return };
        let Some(job) = daemon.jobs.remove(&id) else { return };
        self.next_change(node, &job);
        self.marks.hit("an agent answered only because its time was over");
        let reason = format!("no end after {} ms", job.run.deadline.as_millis());
        let failure = Failure { timed_out: true, ..Failure::because(reason) };
        self.input(node, Input::Done { id, outcome: Outcome::Failed(failure), steps: Vec::new() });
    }

    /// An agent goes on.
    pub(crate) fn hand(&mut self, node: NodeId, id: RunId) {
        let Some(machine) = self.machines.get(&node) else { return };
        let Some(job) = machine.daemon.as_ref().and_then(|d| d.jobs.get(&id)).cloned() else { return };
        if job.called_off && job.progress != Progress::Asked {
            self.marks.hit("an acquire was called off by a release");
            let why = job.trouble.clone().unwrap_or_else(|| "its release was asked for".into());
            self.go_on(node, &job, failed(why));
            return;
        }
        let next = match &job.run.resource {
            Resource::Address(_) => self.address(node, &job),
            Resource::Volume(_) => self.volume(node, &job),
            Resource::Filesystem(_) => self.filesystem(node, &job),
            Resource::Instance(_) => self.instance(node, &job),
            Resource::Application(_) => self.application(node, &job),
        };
        self.go_on(node, &job, next);
    }

    fn go_on(&mut self, node: NodeId, job: &Job, next: Next) {
        let id = job.run.id;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(daemon) = machine.daemon.as_mut() else { return };
        let life = daemon.life;
        match next {
            Next::Ask(said) => {
                let dropping = matches!(said, FromDaemon::Drop { .. });
                if let Some(job) = daemon.jobs.get_mut(&id) {
                    job.progress = if dropping { Progress::Dropping } else { Progress::Asked };
                }
                if let Some(act) = act_of(&said) {
                    daemon.acts.insert(act, id);
                }
                self.tell_guard(node, said);
            }
            Next::Look(delay) => {
                if let Some(job) = daemon.jobs.get_mut(&id) {
                    job.progress = Progress::Looked;
                }
                self.after(delay, Event::Hand(node, life, id));
            }
            Next::Work(delay, change) => {
                if let Some(job) = daemon.jobs.get_mut(&id) {
                    job.progress = Progress::Worked;
                }
                if job.fate == Fate::Hangs {
                    return;
                }
                if let Some(change) = change {
                    self.after(delay, change);
                }
                self.after(delay + 20 * US, Event::Hand(node, life, id));
            }
            Next::Answer(outcome) => {
                daemon.jobs.remove(&id);
                self.next_change(node, job);
                let steps = step_of(job, &outcome);
                self.input(node, Input::Done { id, outcome, steps });
            }
        }
    }

    /// A change of a resource is over: the one that waits for it begins.
    fn next_change(&mut self, node: NodeId, over: &Job) {
        let (group, resource) = (&over.run.group, over.run.resource.name());
        if !over.changes(group, resource) {
            return;
        }
        let Some(daemon) = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut()) else { return };
        let mut waiting = daemon
            .jobs
            .iter_mut()
            .filter(|(_, j)| j.progress == Progress::Waiting && j.changes(group, resource));
        let Some((id, next)) = waiting.next() else { return };
        next.progress = Progress::Begun;
        let event = Event::Hand(node, daemon.life, *id);
        self.after(30 * US, event);
    }

    /// The guard has answered what a run waits for.
    pub(crate) fn guard_answers(&mut self, node: NodeId, act: ActId, result: Result<(), String>) {
        let Some(daemon) = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut()) else { return };
        let Some(id) = daemon.acts.remove(&act) else { return };
        let Some(job) = daemon.jobs.get_mut(&id) else { return };
        job.progress = match job.progress {
            Progress::Dropping => Progress::Dropping,
            _ => Progress::Allowed,
        };
        job.trouble = result.err();
        self.hand(node, id);
    }

    /// How long an agent looks at what it needs: mostly a moment, sometimes much longer.
    pub(crate) fn look_time(&mut self, max_us: u64) -> Ns {
        let max_us = match self.rng.below(100) {
            _ if self.weather.agents_slow => 1_500_000,
            _ if self.trace.journal.is_some() => 300,
            0..70 => 300,
            70..94 => max_us,
            _ => max_us * 10,
        };
        self.rng.between(50, max_us) * US
    }

    fn act_number(&mut self, node: NodeId) -> ActId {
        let daemon = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut());
        ActId(daemon.map_or(0, |d| {
            d.next_act += 1;
            d.next_act
        }))
    }

    fn perform(&mut self, node: NodeId, job: &Job, act: Act) -> Next {
        Next::Ask(FromDaemon::Perform {
            id: self.act_number(node),
            incarnation: job.incarnation,
            group: job.run.group.clone(),
            epoch: job.run.epoch,
            act,
        })
    }

    pub(crate) fn drop_held(&mut self, node: NodeId, job: &Job, holding: Holding) -> Next {
        Next::Ask(FromDaemon::Drop { id: self.act_number(node), held: held(&job.run, holding) })
    }

    /// What is found running goes on the guard's list, under the present ownership.
    pub(crate) fn probe(&mut self, node: NodeId, job: &Job, there: bool, holding: Holding) -> Next {
        match (job.progress, &job.trouble) {
            _ if !there => Next::Answer(Outcome::Stopped),
            (Progress::Allowed, None) => Next::Answer(Outcome::Running),
            (Progress::Allowed, Some(why)) => failed(why),
            _ => self.ask_to_hold(node, job, holding),
        }
    }

    pub(crate) fn ask_to_hold(&mut self, node: NodeId, job: &Job, holding: Holding) -> Next {
        let (id, incarnation) = (self.act_number(node), job.incarnation);
        Next::Ask(FromDaemon::Hold { id, incarnation, held: held(&job.run, holding) })
    }

    pub(crate) fn boot_of(&self, node: NodeId) -> u64 {
        self.machines.get(&node).map_or(0, |m| m.boot)
    }

    pub(crate) fn body_of(&self, node: NodeId) -> &Body {
        &self.machines[&node].body
    }

    fn address(&mut self, node: NodeId, job: &Job) -> Next {
        let Resource::Address(config) = &job.run.resource else { return failed("no address") };
        let there = self.body_of(node).addresses.contains(&config.address);
        let boot = self.boot_of(node);
        let holding = Holding::address(INTERFACE, config.address, config.prefix);
        match (job.run.op, job.progress) {
            (_, Progress::Begun) if job.fate == Fate::Hangs => Next::Work(0, None),
            (Op::Probe, _) => self.probe(node, job, there, holding),
            (Op::Monitor, _) if there && job.fate == Fate::Well => Next::Answer(Outcome::Running),
            (Op::Monitor, _) if there => failed("it does not answer its own probe"),
            (Op::Monitor, _) => failed("the address is not on eth0 any more"),
            (Op::Acquire, Progress::Begun) if job.fate == Fate::Fails => failed("eth0 has no carrier"),
            (Op::Acquire, Progress::Begun) => Next::Look(self.look_time(20_000)),
            (Op::Acquire, Progress::Looked) => {
                let act = Act::add_address(INTERFACE, config.address, config.prefix);
                self.perform(node, job, act)
            }
            (Op::Acquire, Progress::Allowed) => match &job.trouble {
                Some(why) => failed(why),
                None => Next::Work(self.rng.between(50, 200) * US, None),
            },
            (Op::Acquire, _) => Next::Answer(Outcome::Running),
            (Op::Release, Progress::Begun) if job.fate == Fate::Fails => {
                failed("eth0: device or resource busy")
            }
            (Op::Release, Progress::Begun) => Next::Work(
                self.rng.between(50, 250) * US,
                there.then_some(Event::AddressGoes(node, boot, config.address)),
            ),
            (Op::Release, Progress::Worked) => self.drop_held(node, job, holding),
            (Op::Release, _) => dropped(job),
            (Op::Swap, _) => failed("a machine of the simulator has one interface"),
        }
    }

    /// Active or not: it alone writes nothing, so that the guard is not asked.
    fn volume(&mut self, node: NodeId, job: &Job) -> Next {
        let key: AppKey = (job.run.group.clone(), job.run.resource.name().clone());
        let there = self.body_of(node).volumes.contains(&key);
        match (job.run.op, job.progress) {
            (_, Progress::Begun) if job.fate == Fate::Hangs => Next::Work(0, None),
            (Op::Probe | Op::Monitor, _) if there => Next::Answer(Outcome::Running),
            (Op::Probe | Op::Monitor, _) => Next::Answer(Outcome::Stopped),
            (_, Progress::Begun) if job.fate == Fate::Fails => failed("LVM: a disk is missing"),
            (Op::Acquire | Op::Release, Progress::Begun) => Next::Work(self.rng.between(20, 200) * MS, None),
            (Op::Acquire, _) => {
                self.body(node, |body| {
                    body.volumes.insert(key);
                });
                Next::Answer(Outcome::Running)
            }
            (Op::Release, _) => {
                self.body(node, |body| {
                    body.volumes.remove(&key);
                });
                Next::Answer(Outcome::Stopped)
            }
            (Op::Swap, _) => failed("a volume has no interface"),
        }
    }

    fn filesystem(&mut self, node: NodeId, job: &Job) -> Next {
        let Resource::Filesystem(config) = &job.run.resource else { return failed("no file system") };
        let machine = &self.machines[&node];
        let (boot, san) = (machine.boot, machine.san);
        let there = machine.body.mounts.contains_key(&config.mount);
        let busy = machine.body.mounting.contains(&config.device);
        let taken = self.array.takes(&machine.name, &config.device);
        let holding = Holding::Mount { device: config.device.clone(), mount: config.mount.clone() };
        match (job.run.op, job.progress) {
            (_, Progress::Begun) if job.fate == Fate::Hangs => Next::Work(0, None),
            (Op::Probe, _) => self.probe(node, job, there, holding),
            (Op::Monitor, _) if !there => failed("it is not mounted any more"),
            (Op::Monitor, Progress::Begun) if !san => Next::Work(Ns::MAX / 4, None),
            (Op::Monitor, _) if job.fate == Fate::Fails || !taken => failed("it was remounted read-only"),
            (Op::Monitor, _) => Next::Answer(Outcome::Running),
            (Op::Acquire, Progress::Begun) if !san => failed("the device is gone"),
            (Op::Acquire, Progress::Begun) if job.fate == Fate::Fails => {
                failed("fsck found what it cannot mend")
            }
            (Op::Acquire, Progress::Begun) => Next::Look(self.look_time(40_000)),
            (Op::Acquire, Progress::Looked) => {
                let act = Act::Mount {
                    device: config.device.clone(),
                    mount: config.mount.clone(),
                    fstype: config.fstype.clone(),
                    options: config.options.clone(),
                };
                self.perform(node, job, act)
            }
            (Op::Acquire, Progress::Allowed) => match &job.trouble {
                Some(why) => failed(why),
                None => Next::Answer(Outcome::Running),
            },
            (Op::Acquire, _) => Next::Answer(Outcome::Running),
            (Op::Release, Progress::Begun) if job.fate == Fate::Fails && there => failed("target is busy"),
            (Op::Release, Progress::Begun) if there && !san => Next::Work(Ns::MAX / 4, None),
            (Op::Release, Progress::Begun | Progress::Looked) if busy => Next::Look(3 * MS),
            (Op::Release, Progress::Begun | Progress::Looked) => Next::Work(
                self.rng.between(1, 10) * MS,
                there.then(|| Event::MountGoes(node, boot, config.mount.clone())),
            ),
            (Op::Release, Progress::Worked) => self.drop_held(node, job, holding),
            (Op::Release, _) => dropped(job),
            (Op::Swap, _) => failed("a machine of the simulator has one interface"),
        }
    }

    fn application(&mut self, node: NodeId, job: &Job) -> Next {
        let Resource::Application(config) = &job.run.resource else { return failed("no application") };
        let key: AppKey = (job.run.group.clone(), config.name.clone());
        let boot = self.boot_of(node);
        let there = self.body_of(node).apps.contains(&key);
        let holding = cgroup_of(&key, config.lapse_grace);
        match (job.run.op, job.progress) {
            (_, Progress::Begun) if job.fate == Fate::Hangs => Next::Work(0, None),
            (Op::Monitor, Progress::Begun) if job.run.how == How::Evidence => {
                Next::Work(self.rng.between(5, 500) * MS, None)
            }
            (Op::Monitor, _) if job.run.how == How::Evidence => Next::Answer(Outcome::Running),
            (Op::Probe | Op::Monitor, _) if there && job.fate == Fate::Fails => failed("status: exit 1"),
            (Op::Probe, _) => self.probe(node, job, there, holding),
            (Op::Monitor, _) if there => Next::Answer(Outcome::Running),
            (Op::Monitor, _) => failed("no process is left"),
            (Op::Acquire, Progress::Begun) => {
                self.body(node, |b| {
                    b.folders.insert(key.clone());
                });
                self.ask_to_hold(node, job, holding)
            }
            (Op::Acquire, Progress::Allowed) => match &job.trouble {
                Some(why) => failed(why),
                None => Next::Look(self.look_time(20_000)),
            },
            (Op::Acquire, Progress::Looked) => match () {
                () if !self.body_of(node).folders.contains(&key) => {
                    self.marks.hit("a start came too late: its control group was gone");
                    failed("its control group is gone")
                }
                () => {
                    let who = IncarnationOf { node, incarnation: job.incarnation };
                    if let Err(what) = self.judge.allows(&job.run.group, job.run.epoch, who) {
                        self.judge.violated(self.now, &mut self.trace, what);
                    }
                    let delay = self.rng.between(5, 60) * MS;
                    let start = self.rng.draw();
                    self.body(node, |b| {
                        b.starting.insert(key.clone(), start);
                    });
                    let comes = (job.fate == Fate::Well).then_some(Event::AppComes(node, boot, key, start));
                    Next::Work(delay, comes)
                }
            },
            (Op::Acquire, _) if there => Next::Answer(Outcome::Running),
            (Op::Acquire, _) => failed("the start command ended with exit 1"),
            (Op::Release, Progress::Begun) if job.fate == Fate::Fails && there => {
                failed("a process hangs in the kernel")
            }
            (Op::Release, Progress::Begun) => {
                let delay = self.rng.between(5, 40) * MS;
                Next::Work(delay, Some(Event::AppGoes(node, boot, key, false)))
            }
            (Op::Release, Progress::Worked) => self.drop_held(node, job, holding),
            (Op::Release, _) => dropped(job),
            (Op::Swap, _) => failed("a machine of the simulator has one interface"),
        }
    }

    /// A start script has done its work, if nobody killed it meanwhile.
    pub(crate) fn app_comes(&mut self, node: NodeId, key: &AppKey, start: u64) {
        let Some(machine) = self.machines.get(&node) else { return };
        if machine.body.starting.get(key) != Some(&start) {
            return;
        }
        self.body(node, |body| {
            body.starting.remove(key);
            body.apps.insert(key.clone());
        });
    }

    /// An application ends; if by itself, its agent says so.
    pub(crate) fn app_goes(&mut self, node: NodeId, key: &AppKey, by_itself: bool) {
        let was_there = self.machines.get(&node).is_some_and(|m| m.body.apps.contains(key));
        self.body(node, |body| {
            body.apps.remove(key);
            body.starting.remove(key);
        });
        if !was_there || !by_itself {
            return;
        }
        let epoch = self.judge.truth.as_ref().and_then(|(_, s)| s.ownership(&key.0)).map(|o| o.epoch);
        let daemon = self.machines.get(&node).and_then(|m| m.daemon.as_ref()).map(|d| d.life);
        if let (Some(epoch), Some(daemon)) = (epoch, daemon) {
            let notice = Notice::Exited {
                group: key.0.clone(),
                epoch,
                resource: key.1.clone(),
                how: "killed by signal 11".into(),
            };
            self.after(300 * US, Event::Noticed { node, daemon, notice });
        }
    }
}

fn held(run: &Run, holding: Holding) -> Held {
    Held { group: run.group.clone(), epoch: run.epoch, holding }
}

fn act_of(said: &FromDaemon) -> Option<ActId> {
    match said {
        FromDaemon::Hold { id, .. } | FromDaemon::Perform { id, .. } | FromDaemon::Drop { id, .. } => {
            Some(*id)
        }
        _ => None,
    }
}

pub(crate) fn failed(reason: impl AsRef<str>) -> Next {
    Next::Answer(Outcome::Failed(Failure::because(reason.as_ref())))
}

pub(crate) fn dropped(job: &Job) -> Next {
    match &job.trouble {
        Some(why) => failed(format!("it is down, but the guard keeps it on its list: {why}")),
        None => Next::Answer(Outcome::Stopped),
    }
}

/// What an agent tells about a run: the longest thing that it did.
fn step_of(job: &Job, outcome: &Outcome) -> Vec<StepTaken> {
    let text = match (&job.run.resource, job.run.op, outcome) {
        (Resource::Address(c), Op::Acquire, Outcome::Running) => format!("announced {} on eth0", c.address),
        _ => return Vec::new(),
    };
    vec![StepTaken { level: Level::Step, text, took: Duration::ZERO, evidence: String::new() }]
}
