//! The disks behind fence devices at the storage, as SCSI-3 reservations have them: from the first registration on only
//! machines that are registered write (write exclusive, registrants only), whatever they have in memory; the keys outlive the
//! power of the machines. And the agents that register a machine, or cut one off.
//!
//! An agent is a process of its own: it goes on when its daemon dies, and stands still with its machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regent_model::action::{FenceAsk, FenceFound, FenceRun};
use regent_model::config::{Config, is_on_disk};
use regent_model::ids::{Epoch, GroupName, NodeId, NodeName};
use regent_model::proof::Proof;
use regent_model::state::{State, Tenure};

use crate::event::{Event, Life};
use crate::faults::Fault;
use crate::guardian::nanoseconds;
use crate::machine::Machine;
use crate::nemesis::Cast;
use crate::sim::Sim;
use crate::time::{MS, Ns, S};

/// How long an operator waits for nodes to register by themselves.
const BY_THEMSELVES: Ns = 10 * S;

/// The disks that know who may write them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Array {
    /// Who is registered. Where nobody is, everybody writes.
    keys: BTreeMap<PathBuf, BTreeSet<NodeName>>,
    /// The takeovers on the word of a device that were looked at.
    judged: BTreeSet<(GroupName, Epoch)>,
}

impl Array {
    pub(crate) fn of(config: &Config) -> Self {
        let disks = config.fences.iter().flat_map(|fence| &fence.disks);
        Self { keys: disks.map(|disk| (disk.clone(), BTreeSet::new())).collect(), judged: BTreeSet::new() }
    }

    /// Whether what this machine writes there is taken. A device that is on none of the disks takes everything.
    pub(crate) fn takes(&self, name: &NodeName, device: &Path) -> bool {
        let keys = self.keys.iter().find(|(disk, _)| is_on_disk(device, disk)).map(|(_, keys)| keys);
        keys.is_none_or(|keys| keys.is_empty() || keys.contains(name))
    }

    fn has(&self, name: &NodeName, disk: &Path) -> bool {
        self.keys.get(disk).is_some_and(|keys| keys.contains(name))
    }

    /// Whether a machine holds something that it cannot write.
    fn refuses(&self, machine: &Machine) -> bool {
        let mut held = machine.body.mounts.values().chain(&machine.body.mounting);
        machine.power && held.any(|device| !self.takes(&machine.name, device))
    }

    /// Whether a machine could write one of these devices, now or as soon as it goes on.
    fn lets_write<'a>(&self, machine: &Machine, devices: &mut impl Iterator<Item = &'a Path>) -> bool {
        let body = &machine.body;
        let held =
            |device: &Path| body.mounts.values().any(|d| d == device) || body.mounting.contains(device);
        machine.power && devices.any(|device| held(device) && self.takes(&machine.name, device))
    }
}

/// What an agent does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// It registers its machine.
    Registers,
    /// It looks whether its machine is registered: to say that, or before it looks at the other one, or once more afterwards.
    SeesItself(Seen),
    /// It looks whether the other one is registered.
    Looks,
    /// It takes the key of the other one away.
    Cuts,
    /// It looks whether that key is gone.
    Confirms,
}

/// Why an agent looks at itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Registered,
    Before,
    After(FenceFound),
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    /// It says that it has done what it was told, and has not.
    Lies,
    /// It does what it was told, or some of it, and says nothing until it is ended.
    Hangs,
}

/// An agent at work.
#[derive(Debug, Clone)]
pub(crate) struct ArrayStep {
    pub(crate) node: NodeId,
    pub(crate) boot: Life,
    daemon: Life,
    run: Arc<FenceRun>,
    errand: Errand,
    fate: Fate,
}

impl Sim {
    /// An agent of a device at the storage begins.
    pub(crate) fn begin_at_storage(&mut self, node: NodeId, run: FenceRun) {
        let broken = self.weather.fence_broken.as_ref().is_some_and(|name| *name == run.device.name);
        let fails = self.rng.chance(self.weather.fences_fail) || broken;
        let fate = match fails {
            false => Fate::Well,
            true if self.rng.chance(self.weather.fences_lie) => Fate::Lies,
            true => Fate::Hangs,
        };
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(daemon) = machine.daemon.as_ref().map(|d| d.life) else { return };
        let boot = machine.boot;
        let errand = match run.ask {
            FenceAsk::Register => {
                // One that is at work still is ended first.
                machine.registering.insert(run.device.name.clone(), run.id);
                Errand::Registers
            }
            FenceAsk::Cut | FenceAsk::Restore => Errand::SeesItself(Seen::Before),
            FenceAsk::Check => Errand::Looks,
        };
        let timeout = nanoseconds(run.device.timeout);
        let step = ArrayStep { node, boot, daemon, run: Arc::new(run), errand, fate };
        if step.run.ask == FenceAsk::Register && self.strikes_while_registering(&step) {
            return;
        }
        if step.run.ask == FenceAsk::Cut && self.rng.chance(40) {
            let at = self.rng.between(1, 40) * MS;
            self.for_a_while(at, Fault::ArrayForgets, 0);
        }
        if fate != Fate::Hangs {
            return self.array_goes_on(step);
        }
        if self.rng.chance(500) {
            self.array_goes_on(step.clone());
        }
        self.after(timeout, Event::ArrayFails(ArrayStep { fate: Fate::Well, ..step }));
    }

    /// An agent that takes long to register is a good moment to lose the daemon that asked for it.
    fn strikes_while_registering(&mut self, step: &ArrayStep) -> bool {
        if self.peace || self.only.is_some() || !self.script.is_empty() || !self.rng.chance(60) {
            return false;
        }
        let (at, back) = (self.rng.between(1, 50) * MS, self.rng.between(10, 400) * MS);
        self.for_a_while(at, Fault::KillDaemon(step.node, back), 0);
        let delay = self.rng.between(at / MS, 1_500) * MS;
        self.after(delay, Event::Array(step.clone()));
        true
    }

    fn array_goes_on(&mut self, step: ArrayStep) {
        let delay = self.rng.between(2, 12) * MS * self.weather.fence_slow;
        self.after(delay, Event::Array(step));
    }

    /// Its time is over, or it has failed.
    pub(crate) fn array_fails(&mut self, step: &ArrayStep) {
        self.array_answers(step, Err("the device does not answer".to_owned()));
    }

    fn array_answers(&mut self, step: &ArrayStep, result: Result<FenceFound, String>) {
        if step.fate == Fate::Hangs {
            return;
        }
        let Some(machine) = self.machines.get_mut(&step.node) else { return };
        machine.registering.retain(|_, id| *id != step.run.id);
        if let Some(daemon) = machine.daemon.as_ref().filter(|d| d.life == step.daemon).map(|d| d.life) {
            let event = Event::Fenced { node: step.node, daemon, id: step.run.id, result };
            self.queue.put(self.now, event);
        }
    }

    fn is_at_all(&self, name: &NodeName, run: &FenceRun) -> bool {
        run.device.disks.iter().all(|disk| self.array.has(name, disk))
    }

    /// An agent goes on.
    pub(crate) fn array_step(&mut self, step: ArrayStep) {
        let Some(machine) = self.machines.get(&step.node) else { return };
        let run = step.run.clone();
        let registers = run.ask == FenceAsk::Register;
        if registers && machine.registering.get(&run.device.name) != Some(&run.id) {
            self.marks.hit("an agent that registers was ended by the next one");
            return;
        }
        if !machine.san {
            return self.array_fails(&step);
        }
        let off = !run.device.disks.iter().any(|disk| self.array.has(&run.victim, disk));
        let itself = self.is_at_all(&run.by, &run);
        let next = match step.errand {
            Errand::Registers => {
                if step.fate != Fate::Lies {
                    self.has_registered(step.node, &run);
                }
                Errand::SeesItself(Seen::Registered)
            }
            Errand::SeesItself(_) if !itself => {
                self.marks.hit("an agent found its own machine registered no more");
                return self.array_fails(&step);
            }
            Errand::SeesItself(Seen::Registered) => {
                return self.array_answers(&step, Ok(FenceFound::Registered));
            }
            Errand::SeesItself(Seen::Before) => Errand::Looks,
            Errand::SeesItself(Seen::After(found)) => return self.array_answers(&step, Ok(found)),
            Errand::Looks if off => Errand::SeesItself(Seen::After(FenceFound::WasOff)),
            Errand::Looks if run.ask == FenceAsk::Check => return self.array_fails(&step),
            Errand::Looks => Errand::Cuts,
            Errand::Cuts => {
                if step.fate != Fate::Lies {
                    self.cut_off(&run);
                }
                Errand::Confirms
            }
            Errand::Confirms if off => Errand::SeesItself(Seen::After(FenceFound::Cut)),
            Errand::Confirms => {
                self.marks.hit("an agent found registered still whom it had told to be cut off");
                return self.array_fails(&step);
            }
        };
        self.array_goes_on(ArrayStep { errand: next, ..step });
    }

    fn has_registered(&mut self, node: NodeId, run: &FenceRun) {
        let (name, device) = (run.by.clone(), run.device.name.clone());
        for disk in &run.device.disks {
            self.array.keys.entry(disk.clone()).or_default().insert(name.clone());
        }
        self.trace.world(self.now, format_args!("{} registers at the disks of {device}", self.name(node)));
        self.look();
    }

    fn cut_off(&mut self, run: &FenceRun) {
        for disk in &run.device.disks {
            self.array.keys.entry(disk.clone()).or_default().remove(&run.victim);
        }
        let (who, by, device) = (&run.victim, &run.by, &run.device.name);
        self.trace.world(self.now, format_args!("{by} has {who} cut off from the disks of {device}"));
        self.look();
    }
}

/// What goes wrong with registrations.
impl Sim {
    /// Now and then, where there are such disks.
    pub(crate) fn array_fault(&mut self) -> Option<Fault> {
        if self.array.keys.is_empty() || !self.rng.chance(60) {
            return None;
        }
        let nodes = self.nodes();
        let node = *self.rng.pick(&nodes);
        Some(if self.rng.chance(500) { Fault::ArrayForgets } else { Fault::KeyLost(node) })
    }

    /// The disks lose all keys, or that of one machine. Not while somebody is cut off who has something to write: whoever
    /// keeps reservations must keep them then, and no cluster could help it if they do not.
    pub(crate) fn keys_lost(&mut self, fault: &Fault) {
        if self.machines.values().any(|machine| self.array.refuses(machine)) {
            return;
        }
        self.marks.hit("registrations at the disks were lost");
        let name = match fault {
            Fault::KeyLost(node) => self.machines.get(node).map(|m| m.name.clone()),
            _ => None,
        };
        for keys in self.array.keys.values_mut() {
            keys.retain(|key| name.as_ref().is_some_and(|lost| key != lost));
        }
    }

    /// A machine goes on after it stood still: what it writes now, the disk takes or refuses.
    pub(crate) fn writes_late(&mut self, node: NodeId) {
        if self.machines.get(&node).is_some_and(|machine| self.array.refuses(machine)) {
            self.marks.hit("a disk refused what a machine wrote that had stood still");
        }
    }
}

/// A story.
impl Sim {
    /// Where there is something to be told.
    pub(crate) fn tells_of_keys(&mut self) -> bool {
        !self.array.keys.is_empty() && self.rng.chance(100)
    }

    /// What registers a life once more would be through only when it was cut off, and its disks are another's.
    pub(crate) fn key_comes_late(&mut self, cast: &Cast) -> Ns {
        self.weather.fence_slow = 30;
        let back = self.rng.between(10, 60) * MS;
        self.fault(&Fault::KillDaemon(cast.owner, back));
        let stands = back + self.rng.between(60, 300) * MS;
        let lasts = self.tenths_of_lease(35, 60);
        self.for_a_while(stands, Fault::Freeze(cast.owner), lasts);
        self.after(stands, Event::Heals(Fault::BadFence));
        stands + lasts
    }
}

/// What must hold.
impl Sim {
    /// When a group was taken over because a device had cut its owner off, then that is so.
    pub(crate) fn judge_cut_off(&mut self) {
        if self.array.keys.is_empty() {
            return;
        }
        let Some((_, truth)) = &self.judge.truth else { return };
        let mut wrong = Vec::new();
        for (name, group) in &truth.groups {
            let (proof, before) = match &group.tenure {
                Tenure::Vacant(proof) => (proof, group.last_owner),
                Tenure::Owned(o) => (&o.proof, o.previous),
            };
            let key = (name.clone(), group.epoch);
            if !matches!(proof, Proof::CutOff { .. }) || self.array.judged.contains(&key) {
                continue;
            }
            let machine = before.and_then(|node| self.machines.get(&node));
            let mut devices = truth.definition(name).into_iter().flat_map(|g| g.shared_devices());
            if let Some(machine) = machine.filter(|m| self.array.lets_write(m, &mut devices)) {
                wrong.push(format!(
                    "{} is believed to be cut off from the disks of {name}, and is not",
                    machine.name
                ));
            }
            self.array.judged.insert(key);
        }
        for what in wrong {
            self.judge.violated(self.now, &mut self.trace, what);
        }
    }

    /// Who should be registered somewhere and is not: in the log, or at the disk.
    fn unregistered(&self, truth: &State) -> Option<(NodeId, String)> {
        for fence in self.config.fences.iter().filter(|fence| !fence.disks.is_empty()) {
            for name in &fence.nodes {
                let Some(id) = truth.id_of(name) else { continue };
                let known = truth.lives.get(&id).and_then(|life| life.registered.get(&fence.name));
                let there = fence.disks.iter().all(|disk| self.array.has(name, disk));
                if known != fence.barrier().as_ref() || !there {
                    return Some((id, format!("{name} is not registered through {}", fence.name)));
                }
            }
        }
        None
    }

    pub(crate) fn registration_problem(&self, truth: &State) -> Option<String> {
        self.unregistered(truth).map(|(_, what)| what)
    }

    /// The operator reboots who does not register by itself, one after the other.
    pub(crate) fn restore_registrations(&mut self, truth: &State) {
        if self.now < self.peace_began + BY_THEMSELVES {
            return;
        }
        let Some((node, _)) = self.unregistered(truth) else { return };
        self.power_off(node);
        self.after(100 * MS, Event::PowerOn(node));
    }
}
