//! One run: the machines, the queue, and the dispatch of every event to whom it concerns.

use std::collections::{BTreeMap, BTreeSet};

use regent_arbiter::mutants::Condition as ArbiterCondition;
use regent_engine::io::RequestId;
use regent_lease::holder::Right;
use regent_lease::mutants::Condition;
use regent_model::config::{Config, parse};
use regent_model::connection::ServiceAddress;
use regent_model::ids::NodeId;
use regent_model::state::{Member, State};
use regent_model::{GroupName, NodeName};

use crate::area::Area;
use crate::array::Array;
use crate::event::{Event, Queue, Whose};
use crate::faults::Mix;
use crate::guardian::nanoseconds;
use crate::judge::Judge;
use crate::machine::Machine;
use crate::marks::Marks;
use crate::nemesis::Plot;
use crate::net::{Manners, Net};
use crate::operator::Asked;
use crate::pairs::Lonely;
use crate::rng::Rng;
use crate::time::{Clock, MS, Ns, US};
use crate::trace::Trace;
use crate::traps::Trap;
use crate::variant::Variant;

/// How the world is just now, beside what single faults changed.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// Of a thousand runs of agents, how many fail; how many hang.
    pub(crate) agents_fail: u64,
    pub(crate) agents_hang: u64,
    /// Agents take long to look at what they need.
    pub(crate) agents_slow: bool,
    /// The same for starting alone.
    pub(crate) acquires_fail: u64,
    /// Fences that fail, of a thousand; and how slow the device is.
    pub(crate) fences_fail: u64,
    pub(crate) fence_slow: u64,
    /// Of a thousand that fail, how many say that they have cut; and the device that always fails.
    pub(crate) fences_lie: u64,
    pub(crate) fence_broken: Option<String>,
    /// Nothing can be let go of before the lease has ended.
    pub(crate) release_hangs: bool,
    /// How late daemons get the processor: mostly below, rarely above.
    pub(crate) late: Ns,
    pub(crate) very_late: Ns,
    /// How long a sync of the state takes.
    pub(crate) sync: (Ns, Ns),
    /// Commands of events with this word in them fail.
    pub(crate) commands_fail: Option<String>,
}

impl Weather {
    pub(crate) fn calm() -> Self {
        Self {
            agents_fail: 0,
            agents_hang: 0,
            agents_slow: false,
            commands_fail: None,
            acquires_fail: 0,
            fences_fail: 0,
            fence_slow: 1,
            fences_lie: 0,
            fence_broken: None,
            release_hangs: false,
            late: 200 * US,
            very_late: 0,
            sync: (200 * US, 600 * US),
        }
    }
}

/// One run.
pub(crate) struct Sim {
    pub(crate) now: Ns,
    pub(crate) rng: Rng,
    pub(crate) queue: Queue,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    pub(crate) net: Net,
    pub(crate) weather: Weather,
    /// The disk that decides between two nodes.
    pub(crate) area: Area,
    /// The disks that know who may write them.
    pub(crate) array: Array,
    /// What goes wrong in this run.
    pub(crate) mix: Mix,
    pub(crate) config: Config,
    /// Every configuration that was ever asked for.
    pub(crate) known: Vec<Config>,
    pub(crate) founding: (State, BTreeSet<NodeId>),
    pub(crate) judge: Judge,
    pub(crate) trace: Trace,
    pub(crate) marks: Marks,
    pub(crate) asked: BTreeMap<RequestId, Asked>,
    pub(crate) next_request: u64,
    /// How many entries logs keep before a snapshot: few, so that whoever was away takes one.
    pub(crate) entries_kept: u64,
    pub(crate) mutant: Option<Condition>,
    pub(crate) arbiter_mutant: Option<ArbiterCondition>,
    pub(crate) only: Option<Plot>,
    /// When the last leader was elected.
    pub(crate) led_since: Ns,
    /// What waits for something to be told in a journal, and strikes in that moment.
    pub(crate) traps: Vec<Trap>,
    /// When machines that join in a story get power.
    pub(crate) newcomers_begin: Ns,
    /// A machine has lost its state once: twice would be more than three voters can bear.
    pub(crate) wiped: bool,
    /// The operator's file.
    pub(crate) file: String,
    /// Who was removed, or is to be; none where nobody ever is.
    pub(crate) removals: Option<Vec<NodeName>>,
    /// How often nodes that were connected were parted from each other.
    pub(crate) partitions: u64,
    pub(crate) events: u64,
    /// Faults are over; nothing new may go wrong.
    pub(crate) peace: bool,
    pub(crate) peace_began: Ns,
    pub(crate) settled_since: Option<Ns>,
    /// What is left of two nodes in the end.
    pub(crate) lonely: Lonely,
    /// How often the first configuration was applied again since.
    pub(crate) tries: u32,
    /// What an operator holds stays held to the end.
    pub(crate) keeps_held: bool,
    pub(crate) over: bool,
    pub(crate) script: Vec<crate::scenario::Act>,
    /// The addresses whose clients each node records, and whether there are clients at all.
    pub(crate) recorded: BTreeMap<NodeId, Vec<ServiceAddress>>,
    pub(crate) has_clients: bool,
    /// Since when which group had no address that answered, for scenarios.
    pub(crate) gaps: BTreeMap<GroupName, Ns>,
}

impl Sim {
    /// A cluster before its machines are switched on.
    pub(crate) fn new(seed: u64, variant: Variant, calm: bool, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let text = variant.config();
        let config = parse(&text)
            .config
            .unwrap_or_else(|| panic!("the configuration of {variant} is wrong: see its test"));
        let names: Vec<(NodeName, bool)> = config
            .nodes
            .iter()
            .map(|n| (n.name.clone(), false))
            .chain(config.witnesses.iter().map(|n| (n.name.clone(), true)))
            .take(variant.founders())
            .collect();
        let numbered = || names.iter().zip(1..).map(|((name, witness), id)| (NodeId(id), name, *witness));
        let members: BTreeMap<NodeId, Member> = numbered()
            .map(|(id, name, witness)| (id, Member { name: name.clone(), witness, votes: true }))
            .collect();
        let voters: BTreeSet<NodeId> = members.keys().copied().collect();
        let machines = numbered()
            .map(|(id, name, _)| (id, Machine::new(id, name.clone(), Clock::new(0, 0, 0))))
            .collect();
        let manners = if calm { Manners::calm() } else { Manners::any(&mut rng) };
        let entries_kept = if calm { 2_000 } else { rng.skewed(5, 200) };
        let mut weather = Weather::calm();
        if !calm && rng.chance(300) {
            weather.very_late = rng.between(2, 20) * MS;
            weather.sync = (200 * US, rng.between(1, 20) * MS);
        }
        // Of a stream of its own: a run without it is as it was.
        let mix = if calm { Mix::ALL } else { Mix::any(&mut Rng::new(seed ^ 0x5357_4152_4D00)) };
        Self {
            now: 0,
            mix,
            judge: Judge::new(&config),
            founding: (State::founded(config.clone(), text.clone(), members), voters),
            file: text,
            removals: (variant == Variant::Replacing).then(Vec::new),
            rng,
            queue: Queue::default(),
            machines,
            net: Net::new(manners),
            area: Area::of(&config),
            array: Array::of(&config),
            weather,
            known: vec![config.clone()],
            config,
            trace,
            marks: Marks::default(),
            asked: BTreeMap::new(),
            next_request: 0,
            entries_kept,
            mutant: None,
            arbiter_mutant: None,
            only: None,
            led_since: 0,
            traps: Vec::new(),
            newcomers_begin: 0,
            wiped: false,
            partitions: 0,
            events: 0,
            peace: false,
            peace_began: 0,
            settled_since: None,
            lonely: if variant.is_pair() { Lonely::NotYet } else { Lonely::Over },
            tries: 0,
            keeps_held: false,
            over: false,
            script: Vec::new(),
            recorded: BTreeMap::new(),
            has_clients: false,
            gaps: BTreeMap::new(),
        }
    }

    /// Works off everything until `end`, or until something is violated.
    pub(crate) fn run_until(&mut self, end: Ns) {
        while !self.over && !self.judge.has_seen_enough() {
            let Some((at, event)) = self.queue.pop_until(end) else { break };
            self.now = at;
            self.events += 1;
            self.dispatch(event);
        }
    }

    pub(crate) fn after(&mut self, delay: Ns, event: Event) {
        self.queue.put(self.now + delay, event);
    }

    fn dispatch(&mut self, event: Event) {
        let whose = event.whose();
        self.trace.mix(self.now ^ (self.queue.count() << 44));
        match whose {
            Whose::World => {}
            Whose::Guard(node, life) => {
                let Some(machine) = self.machines.get_mut(&node).filter(|m| m.is_guard(life)) else { return };
                if let Some(frozen) = &mut machine.frozen {
                    frozen.push(event);
                    return;
                }
            }
            Whose::Daemon(node, life) => {
                let Some(machine) = self.machines.get_mut(&node) else { return };
                let machine_frozen = machine.frozen.as_mut();
                let Some(daemon) = machine.daemon.as_mut().filter(|d| d.life == life) else { return };
                if let Some(frozen) = machine_frozen.or(daemon.frozen.as_mut()) {
                    frozen.push(event);
                    return;
                }
            }
            Whose::Kernel(node, boot) => {
                let Some(machine) = self.machines.get_mut(&node).filter(|m| m.power && m.boot == boot) else {
                    return;
                };
                if let Some(frozen) = &mut machine.frozen {
                    frozen.push(event);
                    return;
                }
            }
        }
        self.happen(event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::GuardWake(node, _, wake) => self.guard_wakes(node, wake),
            Event::Datagram { to, from, network, frame } => self.datagram(to, from, network, frame),
            Event::ToGuard { node, daemon, said, .. } => self.guard_is_told(node, daemon, said),
            Event::DaemonLost { node, daemon, .. } => self.guard_loses_daemon(node, daemon),
            Event::ActBegins { node, id, act, not_after, .. } => self.act_begins(node, id, act, not_after),
            Event::ActHappens { node, guard, id, act, .. } => self.act_happens(node, guard, id, &act),
            Event::LetGo { node, held, began, .. } => self.let_go(node, held, began),
            Event::Reborn { node, incarnation, .. } => self.reborn(node, incarnation),
            Event::GuardStarts(node, _) => self.start_guard(node),
            Event::DaemonWake(node, _, wake) => self.daemon_wakes(node, wake),
            Event::ToDaemon { node, guard, said, .. } => self.daemon_is_told(node, guard, said),
            Event::GuardLost { node, .. } => self.daemon_loses_guard(node),
            Event::Networks { node, heard, .. } => {
                self.input(node, regent_engine::Input::Networks(heard));
            }
            Event::Peer { to, from, message, .. } => {
                self.input(to, regent_engine::Input::Peer { from, message: *message });
            }
            Event::Written(node, _) => self.written(node),
            Event::Hand(node, _, run) => self.hand(node, run),
            Event::HandOverdue(node, _, run) => self.hand_overdue(node, run),
            Event::Ran { node, id, end, .. } => self.input(node, regent_engine::Input::Ran { id, end }),
            Event::Noticed { node, notice, .. } => self.input(node, regent_engine::Input::Notice(notice)),
            Event::Fence { node, run, step, .. } => self.fence_step(node, &run, step),
            Event::Fenced { node, id, result, .. } => {
                self.input(node, regent_engine::Input::Fenced { id, result });
            }
            Event::Array(step) => self.array_step(step),
            Event::ArrayFails(step) => self.array_fails(&step),
            Event::Ask { node, id, request, .. } => {
                self.input(node, regent_engine::Input::Request { id, request });
            }
            Event::Reboots(node, _) => self.reboots(node),
            Event::Area(step) => self.area_acts(step),
            Event::AreaAnswers { node, number, input, .. } => {
                self.input(node, regent_engine::Input::Arbiter { number, input });
            }
            Event::Leaves { node, guard_too, .. } => self.leaves(node, guard_too),
            other => self.happen_to_machine(other),
        }
    }

    fn happen_to_machine(&mut self, event: Event) {
        match event {
            Event::AddressGoes(node, _, address) => {
                self.body(node, |b| {
                    b.addresses.remove(&address);
                });
            }
            Event::MountGoes(node, _, mount) => {
                self.body(node, |b| {
                    b.mounts.remove(&mount);
                });
            }
            Event::AppComes(node, _, key, start) => self.app_comes(node, &key, start),
            Event::AppGoes(node, _, key, by_itself) => self.app_goes(node, &key, by_itself),
            Event::ServiceStarts(node, _) => self.start_service(node),
            Event::DaemonStarts(node, _) => self.start_daemon(node),
            Event::ChannelResumes(from, to) => self.channel_resumes(from, to),
            Event::PowerOn(node) => self.power_on(node),
            Event::Fault(_) if self.peace => {}
            Event::Fault(fault) => self.fault(&fault),
            Event::Heals(fault) => self.heals(&fault),
            Event::ChooseFault => self.choose_fault(),
            Event::Operate => self.operate(),
            Event::Asks(node, request) => {
                self.ask(node, *request);
            }
            Event::Joins(name) => self.joins(&name),
            Event::Removes(name) => self.removes(&name),
            Event::Scripted(at) => self.scripted(at),
            Event::Peace => self.make_peace(),
            Event::Restore => self.restore(),
            Event::Judge => self.judge_liveness(),
            _ => {}
        }
    }

    /// Changes what is on a machine, and looks whether that makes two owners of anything.
    pub(crate) fn body(&mut self, node: NodeId, change: impl FnOnce(&mut crate::body::Body)) {
        if let Some(machine) = self.machines.get_mut(&node) {
            change(&mut machine.body);
        }
        self.look();
    }

    /// Something changed that the judge should see.
    pub(crate) fn look(&mut self) {
        let overdue = match self.mutant {
            Some(Condition::KernelEndsAddresses) => nanoseconds(self.config.timers.lease),
            _ => 0,
        };
        let forgiven =
            self.judge.look(self.now, &mut self.trace, &self.machines, (&self.net, &self.array), overdue);
        if forgiven > 0 {
            self.marks.hit("a machine woke up as owner beside the next one, as guards allow");
        }
        self.watch_gaps();
    }

    /// A machine gets power: a new boot, a new clock, and nothing is up.
    pub(crate) fn gets_power(&mut self, node: NodeId) {
        let rate = self.rng.between(0, 2000);
        let shown = self.rng.between(1, 900) * MS;
        let in_story =
            self.newcomers_begin > 0 && self.machines.get(&node).is_some_and(|m| m.newcomer.is_some());
        let delay = match (self.trace.journal.is_some(), in_story) {
            (true, _) => 300 * MS,
            (_, true) => 50 * MS,
            _ => self.rng.skewed(20, 1_500) * MS,
        };
        let Some(machine) = self.machines.get_mut(&node).filter(|m| !m.power) else { return };
        machine.power = true;
        machine.feeds_off.clear();
        machine.boot += 1;
        let rate = i64::try_from(rate).unwrap_or(0) - 1000;
        machine.clock = Clock::new(self.now, shown, rate);
        let boot = machine.boot;
        let words = format!("{} gets power", machine.name);
        if self.now > 0 {
            self.trace.world(self.now, words);
        }
        self.after(delay, Event::ServiceStarts(node, boot));
    }

    /// The power of a machine fails: everything volatile is gone, the disk torn.
    pub(crate) fn power_off(&mut self, node: NodeId) {
        if !self.machines.get(&node).is_some_and(|m| m.power) {
            return;
        }
        let lets_go = |m: &Machine| m.guard.as_ref().is_some_and(|g| g.core.right() == Right::LettingGo);
        if self.machines.get(&node).is_some_and(lets_go) {
            self.marks.hit("a machine was cut from power while it let go");
        }
        self.end_daemon(node, true);
        self.net.forget(node);
        let lost = self.rng.below(4);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        machine.power = false;
        machine.frozen = None;
        machine.waking_until = 0;
        machine.guard = None;
        machine.left.clear();
        machine.registering.clear();
        machine.body = crate::body::Body::default();
        machine.san = true;
        // The journal file is not synced: its end may be lost.
        let kept = machine.journal.len().saturating_sub(usize::try_from(lost).unwrap_or(0));
        machine.journal.truncate(kept);
        self.look();
    }

    pub(crate) fn name(&self, node: NodeId) -> String {
        self.machines.get(&node).map_or_else(|| format!("node {node}"), |m| m.name.to_string())
    }

    pub(crate) fn id(&self, name: &str) -> Option<NodeId> {
        self.machines.values().find(|m| m.name.as_str() == name).map(|m| m.id)
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    /// How late something on a machine gets the processor.
    pub(crate) fn lateness(&mut self) -> Ns {
        if self.weather.very_late > 0 && self.rng.chance(20) {
            return self.rng.between(self.weather.late, self.weather.very_late);
        }
        self.rng.below(self.weather.late + 1)
    }

    /// The wall clock of everybody; nothing decides by it.
    pub(crate) fn wall_ms(&self) -> u64 {
        1_800_000_000_000 + self.now / MS
    }
}
