//! Daemons: an engine with its real store on a virtual disk, and everything that its effects set in motion.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use regent_engine::io::{BatchId, Leave};
use regent_engine::{Effects, Engine, Identity, Input, PeerMessage, Restored, format};
use regent_lease::{FromDaemon, ToDaemon};
use regent_model::config::Config;
use regent_model::format::Speaks;
use regent_model::ids::NodeId;
use regent_model::state::State;
use regent_store::{Disk as _, Record, Recovered, Store, StoreError, VirtualDisk};

use crate::event::Event;
use crate::machine::Daemon;
use crate::sim::Sim;
use crate::time::{MS, Ns, US};

/// How many more writes of the disk a crash in the middle of one lets through.
const OPERATIONS_OF_A_WRITE: u64 = 6;

/// How long after the end of a process the other side of its connection finds out.
const HANG_UP: Ns = 80 * US;

impl Sim {
    /// The services of a machine start: its guard, then its daemon.
    pub(crate) fn start_service(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get_mut(&node).filter(|m| m.power && m.wanted) else { return };
        let boot = machine.boot;
        if machine.guard.is_none() {
            self.start_guard(node);
        }
        let delay = self.rng.between(2, 10) * MS;
        self.after(delay, Event::DaemonStarts(node, boot));
    }

    /// A daemon begins with what its store gives back.
    pub(crate) fn start_daemon(&mut self, node: NodeId) {
        let now = self.now;
        let session_seed = self.rng.draw();
        let Some(machine) = self.machines.get_mut(&node).filter(|m| m.wanted && m.daemon.is_none()) else {
            return;
        };
        let Some(disk) = machine.disk.take() else { return };
        let (store, recovered) = match open(disk, &self.config, node) {
            Ok(opened) => opened,
            Err(error) => {
                let what = format!("{} cannot open its state: {error}", machine.name);
                self.judge.violated(now, &mut self.trace, what);
                return;
            }
        };
        if recovered.truncated_tail {
            self.marks.hit("a torn tail was recovered");
        }
        // Whatever was found is durable from now on.
        let flying = std::mem::take(&mut machine.flying);
        match machine.shadow.judge(&recovered, &flying) {
            Ok(true) if !flying.is_empty() => {
                self.marks.hit("a write survived that was never acknowledged");
                machine.shadow.take_all(&flying);
            }
            Ok(false) if !flying.is_empty() => self.marks.hit("a write was lost that was never acknowledged"),
            Ok(_) => {}
            Err(what) => {
                let what = format!("{}: {what}", machine.name);
                self.judge.violated(now, &mut self.trace, what);
            }
        }
        if let Some(why) = unreadable(&recovered, machine.speaks) {
            return self.refuses_its_state(node, store, &why);
        }
        machine.daemons += 1;
        let life = machine.daemons;
        machine.sessions += 1;
        let me = Identity {
            id: node,
            name: machine.name.clone(),
            session: machine.sessions,
            version: "sim".into(),
            speaks: machine.speaks,
        };
        let founding = match &machine.newcomer {
            Some(state) => (state.as_ref().clone(), BTreeSet::new()),
            None => self.founding.clone(),
        };
        let restored = Restored { recovered, founding: Some(founding), journal: machine.journal.clone() };
        let local = machine.clock.at(now);
        let (mut engine, effects) = Engine::new(me, restored, session_seed, local, 0);
        engine.keep_entries(self.entries_kept);
        #[cfg(feature = "mutants")]
        if let Some(condition) = self.arbiter_mutant {
            engine.switch_off_arbiter(regent_arbiter::mutants::Mutants::without(condition));
        }
        machine.daemon = Some(begun(engine, life, store, now));
        self.carry_out(node, effects);
        self.arm_daemon(node);
    }

    /// The daemon does not begin with what it finds; nobody starts it again.
    fn refuses_its_state(&mut self, node: NodeId, store: Store<VirtualDisk>, why: &str) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let mut disk = store.into_disk();
        disk.restart();
        machine.disk = Some(disk);
        machine.wanted = false;
        self.trace.world(self.now, format_args!("{} refuses to run: {why}", machine.name));
    }

    /// A daemon ends without a word; with the power of its machine, or killed.
    pub(crate) fn end_daemon(&mut self, node: NodeId, power: bool) {
        let rng = &mut self.rng;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(mut daemon) = machine.daemon.take() else {
            if let (true, Some(disk)) = (power, machine.disk.as_mut()) {
                disk.crash(&mut || rng.draw());
            }
            return;
        };
        let flying: Vec<Record> = daemon.writing.drain(..).flat_map(|(_, records)| records).collect();
        if !flying.is_empty() {
            // The write was under way: the disk stops somewhere in the middle of it.
            daemon.store.disk_mut().fail_in(rng.below(OPERATIONS_OF_A_WRITE));
            let _interrupted = daemon.store.append(&flying).and_then(|()| daemon.store.compact());
        }
        let mut disk = daemon.store.into_disk();
        if power {
            disk.crash(&mut || rng.draw());
        } else {
            disk.restart();
        }
        self.judge.forget(node);
        self.asked.retain(|_, asked| (asked.node, asked.daemon) != (node, daemon.life));
        let Some(machine) = self.machines.get_mut(&node) else { return };
        machine.disk = Some(disk);
        machine.flying = flying;
        if let (Some(guard), false) = (&machine.guard, power) {
            let event = Event::DaemonLost { node, guard: guard.life, daemon: daemon.life };
            self.after(HANG_UP, event);
        }
    }

    /// Gives an engine an input.
    pub(crate) fn input(&mut self, node: NodeId, input: Input) {
        let (now, wall_ms) = (self.now, self.wall_ms());
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let local = machine.clock.at(now);
        let Some(daemon) = machine.daemon.as_mut() else { return };
        let effects = daemon.engine.step(local, wall_ms, input);
        self.judge.learn(now, &mut self.trace, node, &daemon.engine);
        self.judge_cut_off();
        self.carry_out(node, effects);
        self.arm_daemon(node);
    }

    fn arm_daemon(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get(&node) else { return };
        let Some(daemon) = machine.daemon.as_ref() else { return };
        let due = machine.clock.when(daemon.engine.next_wake(), self.now).max(self.now);
        if daemon.wake.is_some_and(|at| at <= due + self.weather.late) {
            return;
        }
        let at = due + self.lateness() + US;
        let Some(daemon) = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut()) else { return };
        daemon.wake = Some(at);
        daemon.wakes += 1;
        let event = Event::DaemonWake(node, daemon.life, daemon.wakes);
        self.queue.put(at, event);
    }

    pub(crate) fn daemon_wakes(&mut self, node: NodeId, wake: u64) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let local = machine.clock.at(self.now);
        let Some(daemon) = machine.daemon.as_mut().filter(|d| d.wakes == wake) else { return };
        daemon.wake = None;
        if daemon.engine.next_wake() <= local {
            self.input(node, Input::Tick);
        } else {
            self.arm_daemon(node);
        }
    }

    pub(crate) fn daemon_is_told(&mut self, node: NodeId, guard: u64, said: ToDaemon) {
        let Some(machine) = self.machines.get_mut(&node).filter(|m| m.is_guard(guard)) else { return };
        let Some(daemon) = machine.daemon.as_mut() else { return };
        if let ToDaemon::Welcome { incarnation, .. } = &said {
            daemon.incarnation = Some(*incarnation);
        }
        if let ToDaemon::Done { id, result } = &said {
            self.guard_answers(node, *id, result.clone());
        }
        self.input(node, Input::Guard(said));
    }

    pub(crate) fn daemon_loses_guard(&mut self, node: NodeId) {
        self.input(node, Input::GuardLost);
    }

    /// When a word between guard (0) or daemon (1) and the other arrives, after all words before it.
    pub(crate) fn ipc_time(&mut self, node: NodeId, direction: usize) -> Ns {
        let at = self.now + self.rng.between(20, 120) * US;
        let daemon = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut());
        let Some(daemon) = daemon else { return at };
        daemon.ipc[direction] = daemon.ipc[direction].max(at);
        daemon.ipc[direction]
    }

    fn carry_out(&mut self, node: NodeId, effects: Effects) {
        for entry in effects.journal {
            self.trace.entry(self.now, &entry);
            self.mark_entry(node, &entry);
            self.spring(node, &entry);
            if let Some(machine) = self.machines.get_mut(&node) {
                machine.journal.push(entry);
            }
        }
        self.persist(node, effects.persist);
        for (to, message) in effects.send {
            self.send(node, to, message);
        }
        for said in effects.guard {
            self.tell_guard(node, said);
        }
        for run in effects.run {
            self.begin_run(node, run);
        }
        for run in effects.event_run {
            self.begin_command(node, run);
        }
        for look in effects.look {
            self.begin_look(node, &look);
        }
        if let Some(addresses) = effects.record {
            self.begin_recording(node, addresses);
        }
        for run in effects.tickle {
            self.begin_tickle(node, run);
        }
        for run in effects.arbiter {
            self.begin_arbiter(node, run);
        }
        for run in effects.fence {
            self.begin_fence(node, run);
        }
        for (id, answer) in effects.answer {
            self.answered(id, &answer);
        }
        if let Some(why) = &effects.forgotten {
            return self.has_forgotten(node, why);
        }
        if let Some(why) = &effects.unreadable {
            self.refuses_to_run(node, why);
        }
        if effects.leave == Some(Leave::Reboot) {
            let boot = self.machines.get(&node).map(|m| m.boot);
            let delay = self.rng.between(1, 3_000) * MS;
            if let Some(boot) = boot {
                self.after(delay, Event::Reboots(node, boot));
            }
        } else if let Some(leave) = effects.leave {
            let life = self.machines.get(&node).and_then(|m| m.daemon.as_ref()).map(|d| d.life);
            if let Some(daemon) = life {
                let guard_too = matches!(leave, Leave::Empty | Leave::LeaveRunning);
                let calm = self.trace.journal.is_some();
                let delay = match self.weather.agents_slow {
                    _ if calm => MS,
                    // It waits for them, and they go on meanwhile.
                    true => self.rng.between(1, 400) * MS,
                    false => self.rng.skewed(200, 20_000) * US,
                };
                self.after(delay, Event::Leaves { node, daemon, guard_too });
            }
        }
    }

    /// The daemon ends because it cannot read what the others have agreed on; nobody starts it again.
    fn refuses_to_run(&mut self, node: NodeId, why: &str) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(daemon) = machine.daemon.as_ref().map(|d| d.life) else { return };
        if std::mem::take(&mut machine.wanted) {
            let name = machine.name.clone();
            self.trace.world(self.now, format_args!("{name} refuses to run: {why}"));
            self.after(MS, Event::Leaves { node, daemon, guard_too: false });
        }
    }

    /// The daemon ends because the engine said so; what is up without lease stays.
    pub(crate) fn leaves(&mut self, node: NodeId, guard_too: bool) {
        let name = self.name(node);
        self.end_daemon(node, false);
        if guard_too {
            self.kill_guard(node, None);
        }
        let Some(machine) = self.machines.get_mut(&node) else { return };
        machine.wanted = false;
        let words = if machine.body.is_empty() { "holding nothing" } else { "leaving everything up" };
        self.trace.world(self.now, format_args!("{name} has stopped, {words}"));
        self.stopped_on_purpose(node);
    }

    pub(crate) fn tell_guard(&mut self, node: NodeId, said: FromDaemon) {
        let Some(machine) = self.machines.get(&node) else { return };
        let (Some(guard), Some(daemon)) = (&machine.guard, &machine.daemon) else { return };
        let (guard, daemon) = (guard.life, daemon.life);
        let at = self.ipc_time(node, 1);
        self.queue.put(at, Event::ToGuard { node, guard, daemon, said });
    }

    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, message: PeerMessage) {
        let daemon = self.machines.get(&to).and_then(|m| m.daemon.as_ref()).map(|d| d.life);
        let Some(daemon) = daemon else { return };
        if let Some((at, message)) = self.net.message(&mut self.rng, self.now, from, to, message) {
            self.queue.put(at, Event::Peer { to, daemon, from, message: Box::new(message) });
        }
    }

    /// A broken channel is whole again: what it held back arrives now, late.
    pub(crate) fn channel_resumes(&mut self, from: NodeId, to: NodeId) {
        let held_back = self.net.take_held_back(from, to);
        if !held_back.is_empty() {
            self.marks.hit("a channel delivered what it had held back through a partition");
        }
        for message in held_back {
            self.send(from, to, message);
        }
    }

    fn persist(&mut self, node: NodeId, batches: Vec<(BatchId, Vec<Record>)>) {
        let Some(daemon) = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut()) else { return };
        daemon.queue.extend(batches);
        self.write_next(node);
    }

    fn write_next(&mut self, node: NodeId) {
        let (low, high) = self.weather.sync;
        let sync =
            if self.rng.chance(20) { self.rng.between(low, high * 8) } else { self.rng.between(low, high) };
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let hangs_until = machine.disk_hangs_until;
        let Some(daemon) = machine.daemon.as_mut() else { return };
        if !daemon.writing.is_empty() || daemon.queue.is_empty() {
            return;
        }
        daemon.writing = daemon.queue.drain(..).collect();
        let event = Event::Written(node, daemon.life);
        self.queue.put((now + sync).max(hangs_until), event);
    }

    /// What was being written is durable now.
    pub(crate) fn written(&mut self, node: NodeId) {
        let compacts = self.rng.chance(8);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(daemon) = machine.daemon.as_mut() else { return };
        let batches = std::mem::take(&mut daemon.writing);
        let records: Vec<Record> = batches.iter().flat_map(|(_, records)| records.iter().cloned()).collect();
        let mut stored = daemon.store.append(&records);
        if stored.is_ok() && (compacts || daemon.store.wants_compaction()) {
            stored = daemon.store.compact();
        }
        machine.shadow.take_all(&records);
        if let Err(error) = stored {
            let what = format!("{}: the store did not take {records:?}: {error}", machine.name);
            self.judge.violated(self.now, &mut self.trace, what);
            return;
        }
        for (id, _) in batches {
            self.input(node, Input::Persisted(id));
        }
        self.write_next(node);
    }
}

/// Why a daemon that reads these formats does not begin with what it finds, if it does not.
fn unreadable(recovered: &Recovered, speaks: Speaks) -> Option<String> {
    let snapshot = recovered.snapshot.as_ref()?;
    let why = format::read::<State>(&snapshot.data, speaks).err()?;
    Some(format!("its state: {why}; {}", why.advice()))
}

fn open(
    mut disk: VirtualDisk,
    config: &Config,
    node: NodeId,
) -> Result<(Store<VirtualDisk>, Recovered), StoreError> {
    let identity = || regent_store::Identity { cluster: config.cluster.clone(), node };
    let names = disk.list().unwrap_or_default();
    if names.iter().any(|name| name.ends_with(".log")) {
        return Store::open(disk, identity());
    }
    Ok((Store::create(disk, identity())?, Recovered::default()))
}

/// A daemon that has done nothing yet.
fn begun(engine: Engine, life: u64, store: Store<VirtualDisk>, now: Ns) -> Daemon {
    Daemon {
        engine,
        life,
        store,
        queue: VecDeque::new(),
        writing: Vec::new(),
        frozen: None,
        wake: None,
        wakes: 0,
        jobs: BTreeMap::new(),
        instances: BTreeMap::new(),
        acts: BTreeMap::new(),
        next_act: life << 32,
        incarnation: None,
        ipc: [now, now],
    }
}
