//! Guard processes: their timers, their words with daemon and peers, and the hands that act and let go for them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use regent_lease::holder::Right;
use regent_lease::io::ActId;
use regent_lease::mutants::Condition;
use regent_lease::{Effect, Frame, FromDaemon, Guard, Input};
use regent_model::Moment;
use regent_model::config::{GroupConfig, ReleaseEnd};
use regent_model::holding::{Act, Held, Holding};
use regent_model::ids::{Incarnation, IncarnationOf, NodeId};

use crate::event::Event;
use crate::faults::Fault;
use crate::machine::GuardProcess;
use crate::net::NETWORKS;
use crate::sim::Sim;
use crate::time::{MS, Ns, US};

/// How long a word takes between processes of one machine, where order does not matter.
const IPC: Ns = 60 * US;

/// How late a real-time process gets the processor.
const GUARD_LATE: Ns = 150 * US;

/// How many keepalives may come out of order.
const OVERTAKEN_BY_MAX: u64 = 16;

impl Sim {
    /// A guard process begins: a new incarnation, with what the one before left.
    pub(crate) fn start_guard(&mut self, node: NodeId) {
        let mutant = self.mutant;
        let Some(machine) = self.machines.get_mut(&node).filter(|m| m.power && m.guard.is_none()) else {
            return;
        };
        machine.guards += 1;
        machine.incarnations += 1;
        let now = machine.clock.at(self.now);
        let incarnation = Incarnation(machine.incarnations);
        if !machine.left.is_empty() {
            self.marks.hit("a guard began with what the one before it left");
        }
        let core = Guard::new(node, incarnation, machine.boot_id(), std::mem::take(&mut machine.left), now);
        let mut core = with_mutant(core, mutant);
        core.kernel_ends_addresses(mutant != Some(Condition::KernelEndsAddresses));
        machine.guard = Some(GuardProcess {
            core,
            life: machine.guards,
            daemon: None,
            wake: None,
            wakes: 0,
            acts: BTreeMap::new(),
            heard: BTreeMap::new(),
            told: BTreeMap::new(),
            newest: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        });
        self.guard_step(node, Input::Tick);
        let daemon = self.machines.get(&node).and_then(|m| m.daemon.as_ref()).map(|d| d.life);
        if let Some(daemon) = daemon {
            self.after(IPC, Event::GuardLost { node, daemon });
        }
    }

    /// A guard process ends without a word. The supervisor brings up the next one.
    pub(crate) fn kill_guard(&mut self, node: NodeId, back_after: Option<Ns>) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(guard) = machine.guard.take() else { return };
        machine.left = guard.core.leaves();
        let boot = machine.boot;
        if let Some(delay) = back_after {
            self.after(delay, Event::GuardStarts(node, boot));
        }
    }

    pub(crate) fn guard_step(&mut self, node: NodeId, input: Input) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let now = machine.clock.at(self.now);
        let Some(guard) = machine.guard.as_mut() else { return };
        // What a frame changes by itself makes nothing due earlier; what else it sets in motion is told.
        let was_frame = matches!(input, Input::Frame { .. }) && guard.wake.is_some();
        let effects = guard.core.step(now, input);
        let only_answers = was_frame && effects.iter().all(|e| matches!(e, Effect::Send { .. }));
        self.guard_effects(node, effects);
        if !only_answers {
            self.arm_guard(node);
        }
    }

    fn arm_guard(&mut self, node: NodeId) {
        let late = self.rng.below(GUARD_LATE);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let clock = machine.clock;
        let Some(guard) = machine.guard.as_mut() else { return };
        let due = clock.when(guard.core.next_wake(clock.at(self.now)), self.now);
        if guard.wake.is_some_and(|at| at <= due + GUARD_LATE) {
            return;
        }
        let at = due.max(self.now) + late + US;
        guard.wake = Some(at);
        guard.wakes += 1;
        let event = Event::GuardWake(node, guard.life, guard.wakes);
        self.queue.put(at, event);
    }

    pub(crate) fn guard_wakes(&mut self, node: NodeId, wake: u64) {
        let Some(guard) = self.machines.get_mut(&node).and_then(|m| m.guard.as_mut()) else { return };
        if guard.wakes != wake {
            return;
        }
        guard.wake = None;
        self.guard_step(node, Input::Tick);
        self.tell_networks(node);
    }

    fn guard_effects(&mut self, node: NodeId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, frame } => self.send_frame(node, to, frame),
                Effect::Tell(said) => {
                    if let regent_lease::ToDaemon::Done { result: Err(why), .. } = &said {
                        self.marks.refused(why);
                    }
                    self.tell_daemon(node, said);
                }
                Effect::Perform { id, act, not_after } => {
                    let Some(guard) = self.guard_life(node) else { continue };
                    let is_late = self.trace.journal.is_none() && self.rng.chance(30);
                    let slow = if is_late { self.rng.skewed(1, 500) * MS } else { 0 };
                    let delay = slow + self.rng.between(10, 120) * US;
                    self.after(delay, Event::ActBegins { node, guard, id, act, not_after });
                }
                Effect::LetGo { held, .. } => {
                    let Some(guard) = self.guard_life(node) else { continue };
                    self.marks.hit("a guard let go of what it held");
                    let began = self.now;
                    let delay = self.time_to_let_go(node, held.first());
                    let held: VecDeque<Held> = held.into();
                    self.after(delay, Event::LetGo { node, guard, held, began });
                }
                Effect::Reset { reason } => self.reset(node, &reason),
                Effect::NewIncarnation => self.next_incarnation(node),
            }
        }
    }

    fn guard_life(&self, node: NodeId) -> Option<u64> {
        self.machines.get(&node)?.guard.as_ref().map(|g| g.life)
    }

    /// The reset line: the machine restarts at once.
    fn reset(&mut self, node: NodeId, reason: &str) {
        self.marks.hit("a machine was reset because it could not let go in time");
        let name = self.name(node);
        self.trace.world(self.now, format_args!("{name} resets itself: {reason}"));
        self.power_off(node);
        let delay = self.rng.between(50, 800) * MS;
        self.after(delay, Event::PowerOn(node));
    }

    /// The machine shuts down as its daemon told it, and boots.
    pub(crate) fn reboots(&mut self, node: NodeId) {
        let name = self.name(node);
        self.trace.world(self.now, format_args!("{name} reboots as it was told"));
        self.power_off(node);
        let delay = self.rng.between(50, 800) * MS;
        self.after(delay, Event::PowerOn(node));
    }

    fn next_incarnation(&mut self, node: NodeId) {
        let delay = self.rng.between(300, 2_000) * US;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        // The number is stored where the daemon's state is.
        let delay = delay.max(machine.disk_hangs_until.saturating_sub(self.now));
        let Some(guard) = machine.guard.as_ref().map(|g| g.life) else { return };
        machine.incarnations += 1;
        let incarnation = Incarnation(machine.incarnations);
        self.after(delay, Event::Reborn { node, guard, incarnation });
    }

    pub(crate) fn reborn(&mut self, node: NodeId, incarnation: Incarnation) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let now = machine.clock.at(self.now);
        let off = self.mutant == Some(Condition::L11LapseIsFinal);
        let is_over = |g: &&mut GuardProcess| g.core.right() == Right::Over || off;
        let Some(guard) = machine.guard.as_mut().filter(is_over) else { return };
        self.marks.hit("a new life began in the same guard");
        let effects = guard.core.reborn(now, incarnation);
        self.guard_effects(node, effects);
        self.arm_guard(node);
    }

    fn send_frame(&mut self, from: NodeId, to: NodeId, frame: Frame) {
        for network in 0..NETWORKS {
            for at in self.net.datagram(&mut self.rng, self.now, (from, to, network)).into_iter().flatten() {
                self.queue.put(at, Event::Datagram { to, from, network, frame });
            }
        }
    }

    pub(crate) fn datagram(&mut self, to: NodeId, from: NodeId, network: usize, frame: Frame) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&to).filter(|m| m.power) else { return };
        if let Some(frozen) = &mut machine.frozen {
            frozen.push(Event::Datagram { to, from, network, frame });
            return;
        }
        let Some(guard) = machine.guard.as_mut() else { return };
        guard.heard.entry(from).or_insert_with(|| vec![0; NETWORKS])[network] = now.max(1);
        if guard.is_fresh(from, &frame) {
            self.guard_step(to, Input::Frame { from, frame });
        }
    }

    /// Tells the daemon when what is heard on which network has changed.
    fn tell_networks(&mut self, node: NodeId) {
        let lately = nanoseconds(self.config.timers.release_begins);
        let Some(guard) = self.machines.get_mut(&node).and_then(|m| m.guard.as_mut()) else { return };
        let now = self.now;
        let heard: BTreeMap<NodeId, Vec<bool>> = guard
            .heard
            .iter()
            .map(|(peer, at)| (*peer, at.iter().map(|at| *at > 0 && now - at < lately).collect()))
            .collect();
        if heard == guard.told {
            return;
        }
        let Some(daemon) = guard.daemon else { return };
        guard.told.clone_from(&heard);
        self.after(IPC, Event::Networks { node, daemon, heard });
    }

    fn tell_daemon(&mut self, node: NodeId, said: regent_lease::ToDaemon) {
        let Some(guard) = self.machines.get(&node).and_then(|m| m.guard.as_ref()) else { return };
        let (life, Some(daemon)) = (guard.life, guard.daemon) else { return };
        let at = self.ipc_time(node, 0);
        self.queue.put(at, Event::ToDaemon { node, daemon, guard: life, said });
    }

    pub(crate) fn guard_is_told(&mut self, node: NodeId, daemon: u64, said: FromDaemon) {
        let Some(guard) = self.machines.get_mut(&node).and_then(|m| m.guard.as_mut()) else { return };
        if matches!(said, FromDaemon::Attach { .. }) {
            guard.daemon = Some(daemon);
            guard.told.clear();
        }
        if guard.daemon != Some(daemon) {
            return;
        }
        if let FromDaemon::Perform { id, group, epoch, .. } = &said {
            guard.acts.insert(*id, (group.clone(), *epoch));
        }
        self.guard_step(node, Input::Daemon(said));
    }

    pub(crate) fn guard_loses_daemon(&mut self, node: NodeId, daemon: u64) {
        let Some(guard) = self.machines.get_mut(&node).and_then(|m| m.guard.as_mut()) else { return };
        if guard.daemon == Some(daemon) {
            guard.daemon = None;
            self.guard_step(node, Input::DaemonGone);
        }
    }

    /// The hands of a guard begin with an act, unless it is too late for it.
    pub(crate) fn act_begins(&mut self, node: NodeId, id: ActId, act: Act, not_after: Moment) {
        let Some(machine) = self.machines.get(&node) else { return };
        let Some(guard) = machine.guard.as_ref() else { return };
        let (life, boot) = (guard.life, machine.boot);
        let late = self.mutant != Some(Condition::L12Gate) && machine.clock.at(self.now) > not_after;
        if late {
            self.marks.hit("an act came too late and was not begun");
            self.guard_step(node, Input::NotBegun { id, act });
            return;
        }
        if let Some((group, epoch)) = guard.acts.get(&id).cloned() {
            let who = IncarnationOf { node, incarnation: guard.core.incarnation() };
            if let Err(what) = self.judge.allows(&group, epoch, who) {
                self.judge.violated(self.now, &mut self.trace, what);
            }
        }
        if let Act::Mount { device, .. } = &act {
            let new = self.machines.get_mut(&node).is_some_and(|m| m.body.mounting.insert(device.clone()));
            if !new {
                let result = Err(format!("mount: {}: busy", device.display()));
                self.guard_step(node, Input::Performed { id, result });
                return;
            }
        }
        let delay = match &act {
            Act::AddAddress { .. } | Act::Bind { .. } => self.rng.between(100, 500) * US,
            // The journal of a file system that was torn away takes its time to recover.
            Act::Mount { .. } if self.rng.chance(60) => self.rng.skewed(20, 2_000) * MS,
            Act::Mount { .. } => self.rng.between(2, 12) * MS,
        };
        if delay > 300 * MS && !self.peace && self.only.is_none() && self.script.is_empty() {
            self.strike_while_mounting(node, delay);
        }
        self.after(delay, Event::ActHappens { node, boot, guard: life, id, act });
    }

    /// A mount that takes long is a good moment to lose the guard that asked for it, and whoever could adopt it.
    fn strike_while_mounting(&mut self, node: NodeId, lasts: Ns) {
        if !self.rng.chance(300) {
            return;
        }
        let at = self.rng.between(MS, lasts / 4);
        let back = self.rng.between(1, 8) * MS;
        self.for_a_while(at, Fault::KillGuard(node, back), 0);
        let others: Vec<NodeId> = self.nodes().into_iter().filter(|id| *id != node).collect();
        let ways = others.iter().flat_map(|o| (0..NETWORKS).flat_map(|n| [(node, *o, n), (*o, node, n)]));
        let ways = Fault::Mute(ways.collect());
        self.for_a_while(at, ways, lasts);
    }

    pub(crate) fn act_happens(&mut self, node: NodeId, guard: u64, id: ActId, act: &Act) {
        let Some(machine) = self.machines.get(&node) else { return };
        let result = match act {
            Act::Mount { device, .. } if !machine.san || !self.array.takes(&machine.name, device) => {
                Err(format!("mount: {}: input/output error", device.display()))
            }
            _ => Ok(()),
        };
        if let (Act::Mount { device, .. }, Some(machine)) = (act, self.machines.get_mut(&node)) {
            machine.body.mounting.remove(device);
        }
        if result.is_ok() {
            let kept = self.is_kept(act);
            self.body(node, |body| match act {
                Act::AddAddress { address, .. } => {
                    body.addresses.insert(*address);
                }
                Act::Mount { device, mount, .. } => {
                    body.mounts.insert(mount.clone(), device.clone());
                    if kept {
                        body.kept.insert(device.clone());
                    }
                }
                Act::Bind { folder, mount, .. } => {
                    body.mounts.insert(mount.clone(), folder.clone());
                }
            });
        }
        if self.machines.get(&node).is_some_and(|m| m.is_guard(guard)) {
            self.guard_step(node, Input::Performed { id, result });
        }
    }

    /// Whether the kernel keeps writing what is mounted here, until the machine is rebooted.
    fn is_kept(&self, act: &Act) -> bool {
        let Act::Mount { device, .. } = act else { return false };
        let reboots = |g: &&std::sync::Arc<GroupConfig>| g.release == ReleaseEnd::Reboot;
        let mut groups = self.known.iter().flat_map(|config| &config.groups).filter(reboots);
        groups.any(|g| g.filesystems.iter().any(|f| &f.device == device))
    }

    /// Mostly it is quick. Sometimes it takes as much of the release budget as it likes, or more: then the machine
    /// resets itself when the lease ends.
    fn time_to_let_go(&mut self, node: NodeId, held: Option<&Held>) -> Ns {
        let hangs = self.machines.get(&node).is_some_and(|m| !m.san);
        let slow = self.rng.chance(if self.trace.journal.is_some() { 0 } else { 60 });
        let budget = nanoseconds(self.config.timers.release_budget());
        if self.weather.release_hangs {
            return 20 * budget;
        }
        match held.map(|h| &h.holding) {
            // The device does not answer: unmounting waits for it.
            Some(Holding::Mount { .. }) if hangs => 10_000 * MS,
            Some(_) if slow => self.rng.between(budget / 8, budget + budget / 8),
            Some(Holding::Mount { .. }) => self.rng.between(500, 6_000) * US,
            Some(Holding::Cgroup { grace, .. }) => nanoseconds(*grace) + self.rng.between(300, 2_500) * US,
            Some(Holding::Address { .. } | Holding::Bind { .. }) | None => self.rng.between(50, 300) * US,
        }
    }

    /// Lets go of the first, and goes on with the next.
    pub(crate) fn let_go(&mut self, node: NodeId, mut held: VecDeque<Held>, began: Ns) {
        let Some(first) = held.pop_front() else { return };
        if let Some(machine) = self.machines.get(&node).filter(|m| m.body.is_being_mounted(&first.holding)) {
            self.marks.hit("a device was not free yet: its mounting was under way");
            let Some(guard) = machine.guard.as_ref().map(|g| g.life) else { return };
            held.push_front(first);
            self.after(3 * MS, Event::LetGo { node, guard, held, began });
            return;
        }
        self.body(node, |body| body.take_away(&first.holding));
        let took = Duration::from_nanos(self.now - began);
        self.guard_step(node, Input::Released { held: first, result: Ok(took) });
        let Some(guard) = self.guard_life(node).filter(|_| !held.is_empty()) else { return };
        let delay = self.time_to_let_go(node, held.front());
        let began = self.now;
        self.after(delay, Event::LetGo { node, guard, held, began });
    }
}

impl GuardProcess {
    /// Whether a frame is worth to be looked at: neither the copy of one that was faster on another network, nor
    /// overtaken by far. What sends and receives for a real guard judges the same.
    fn is_fresh(&mut self, from: NodeId, frame: &Frame) -> bool {
        match frame {
            Frame::Keepalive(keepalive) => {
                let this = (keepalive.incarnation, keepalive.number);
                let newest = self.newest.entry(from).or_insert((Incarnation(0), 0));
                let overtaken =
                    this.0 < newest.0 || (this.0 == newest.0 && this.1 + OVERTAKEN_BY_MAX < newest.1);
                let fresh = !overtaken && this != *newest;
                *newest = this.max(*newest);
                fresh
            }
            Frame::Ack(ack) => self.acknowledged.insert(from, *ack) != Some(*ack),
        }
    }
}

#[cfg(feature = "mutants")]
fn with_mutant(core: Guard, mutant: Option<Condition>) -> Guard {
    match mutant {
        Some(condition) => core.with_mutants(regent_lease::mutants::Mutants::without(condition)),
        None => core,
    }
}

#[cfg(not(feature = "mutants"))]
fn with_mutant(core: Guard, _mutant: Option<Condition>) -> Guard {
    core
}

pub(crate) fn nanoseconds(duration: Duration) -> Ns {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
