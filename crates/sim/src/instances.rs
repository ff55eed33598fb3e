//! The agents of instances: held from acquire to release, started and stopped by hand in between.

use std::time::Duration;

use regent_api::{InstanceVerb, Request};
use regent_model::action::{How, Op, Outcome};
use regent_model::ids::{IncarnationOf, NodeId};

use crate::body::{AppKey, cgroup_of};
use crate::event::Event;
use crate::hands::{Next, dropped, failed};
use crate::machine::{Fate, Job, Progress};
use crate::sim::Sim;
use crate::time::MS;

impl Sim {
    pub(crate) fn instance(&mut self, node: NodeId, job: &Job) -> Next {
        let key: AppKey = (job.run.group.clone(), job.run.resource.name().clone());
        let there = self.body_of(node).apps.contains(&key);
        let held = self.body_of(node).folders.contains(&key);
        let by_hand = matches!(job.run.how, How::ByHand(_));
        let holding = cgroup_of(&key, Duration::ZERO);
        match (job.run.op, job.progress) {
            (_, Progress::Begun) if job.fate == Fate::Hangs => Next::Work(0, None),
            (Op::Monitor, _) => Next::Answer(if there { Outcome::Running } else { Outcome::Stopped }),
            (Op::Acquire, _) if by_hand => self.started_by_hand(node, job, key, there && held),
            (Op::Probe, Progress::Begun) => self.probe(node, job, held, holding),
            (Op::Acquire, Progress::Begun) => {
                self.body(node, |b| {
                    b.folders.insert(key);
                });
                self.ask_to_hold(node, job, holding)
            }
            (Op::Probe | Op::Acquire, _) => match &job.trouble {
                Some(why) => failed(why),
                None => {
                    let daemon = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut());
                    daemon.map(|d| d.instances.insert(key, job.run.epoch));
                    Next::Answer(Outcome::Running)
                }
            },
            (Op::Release, Progress::Begun) if job.fate == Fate::Fails && there => {
                failed("a process hangs in the kernel")
            }
            (Op::Release, Progress::Begun) => {
                let (delay, boot) = (self.rng.between(5, 40) * MS, self.boot_of(node));
                Next::Work(delay, Some(Event::AppGoes(node, boot, key, false)))
            }
            (Op::Release, Progress::Worked) if by_hand => Next::Answer(Outcome::Stopped),
            (Op::Release, Progress::Worked) => {
                self.body(node, |b| {
                    b.folders.remove(&key);
                });
                let daemon = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut());
                daemon.map(|d| d.instances.remove(&key));
                self.drop_held(node, job, holding)
            }
            (Op::Release, _) => dropped(job),
            (Op::Swap, _) => failed("an instance has no interface to move from"),
        }
    }

    /// It begins only in the folder that was made for this ownership, and is on the guard's list.
    fn started_by_hand(&mut self, node: NodeId, job: &Job, key: AppKey, runs: bool) -> Next {
        let daemon = self.machines.get(&node).and_then(|m| m.daemon.as_ref());
        let known = daemon.and_then(|d| d.instances.get(&key)) == Some(&job.run.epoch);
        let there = self.body_of(node).folders.contains(&key);
        match job.progress {
            Progress::Begun if !known => failed("it is not held on this node any more"),
            Progress::Begun => Next::Look(self.look_time(20_000)),
            Progress::Looked if !there => failed("its control group is gone"),
            Progress::Looked => {
                let who = IncarnationOf { node, incarnation: job.incarnation };
                if let Err(what) = self.judge.allows(&job.run.group, job.run.epoch, who) {
                    self.judge.violated(self.now, &mut self.trace, what);
                }
                self.marks.hit("an instance was started by hand");
                let (delay, start, boot) =
                    (self.rng.between(5, 60) * MS, self.rng.draw(), self.boot_of(node));
                self.body(node, |b| {
                    b.starting.insert(key.clone(), start);
                });
                Next::Work(delay, (job.fate == Fate::Well).then_some(Event::AppComes(node, boot, key, start)))
            }
            _ if runs => Next::Answer(Outcome::Running),
            _ => failed("it does not run"),
        }
    }

    /// Somebody starts, stops or forces an instance, on whichever node.
    pub(crate) fn by_hand(&mut self) -> Option<Request> {
        let names: Vec<String> = self.config.instances().map(|(_, i)| i.name.to_string()).collect();
        if names.is_empty() || !self.rng.chance(250) {
            return None;
        }
        let name = self.rng.pick(&names).clone();
        let verb = match self.rng.below(4) {
            0..=1 => InstanceVerb::Start,
            2 => InstanceVerb::Stop,
            _ => InstanceVerb::Force,
        };
        Some(Request::Instance { name, verb, words: Vec::new() })
    }
}
