//! A cluster of real guards in true time: clocks that run fast and slow, links that delay, lose and double, daemons
//! and guards that die, guards that are paused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_lease::holder::Right;
use regent_lease::io::{ActId, ClusterView};
use regent_lease::mutants::Mutants;
use regent_lease::{Effect, Frame, FromDaemon, Guard, Input, ToDaemon};
use regent_model::holding::Act;
use regent_model::ids::IncarnationOf;
use regent_model::proof::Promise;
use regent_model::timers::Timers;
use regent_model::{BootId, Epoch, GroupName, Incarnation, NodeId, Round};

use crate::clock::{Clock, MS};

/// An entry of the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Registered(IncarnationOf),
    LeaseEnded(IncarnationOf),
    Withdrawn(Promise),
}

/// What happens to a node at some true time.
#[derive(Clone)]
enum Due {
    Input(Input),
    Stored(Promise),
}

struct Node {
    guard: Guard,
    clock: Clock,
    paused: bool,
    /// What came while it was paused, and waits in the kernel.
    waiting: Vec<Input>,
    /// Paused since this life of its machine began: its holdings may have outlived the lease.
    ever_paused: bool,
    daemon: bool,
    reset: bool,
    durable: BTreeSet<Promise>,
    alive: BTreeSet<Promise>,
    applied: usize,
}

pub(crate) struct Cluster {
    time: u64,
    random: u64,
    nodes: BTreeMap<NodeId, Node>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Links lose, double and delay nothing any more.
    calm: bool,
    mutants: Mutants,
    due: BTreeMap<(u64, u64), (NodeId, Due)>,
    count: u64,
    log: Vec<Entry>,
    matured: BTreeSet<Promise>,
    /// How often something was held, and how often an incarnation was ended: a run without either shows little.
    pub(crate) acquired: usize,
    /// The first time that somebody acted or held after its end was proven.
    pub(crate) violation: Option<String>,
    pub(crate) ended: usize,
}

impl Cluster {
    pub(crate) fn new(size: u64, random: u64, mutants: Mutants) -> Self {
        let mut cluster = Self {
            time: 0,
            random: random | 1,
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            calm: false,
            mutants,
            due: BTreeMap::new(),
            count: 0,
            log: Vec::new(),
            matured: BTreeSet::new(),
            acquired: 0,
            violation: None,
            ended: 0,
        };
        for id in (1..=size).map(NodeId) {
            let clock = Clock { at: 0, local: cluster.below(1000) * MS, ppm: cluster.rate() };
            let guard = Guard::new(id, Incarnation(1), BootId::default(), Vec::new(), clock.now(0));
            let guard = guard.with_mutants(mutants);
            let node = Node {
                guard,
                clock,
                paused: false,
                waiting: Vec::new(),
                ever_paused: false,
                daemon: true,
                reset: false,
                durable: BTreeSet::new(),
                alive: BTreeSet::new(),
                applied: 0,
            };
            cluster.nodes.insert(id, node);
            cluster.log.push(Entry::Registered(IncarnationOf { node: id, incarnation: Incarnation(1) }));
        }
        for id in cluster.ids() {
            cluster.nodes.get_mut(&id).unwrap().applied = cluster.log.len();
            cluster.attach(id);
        }
        cluster
    }

    fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    fn pick(&self, index: u8) -> NodeId {
        NodeId(u64::from(index) % self.nodes.len() as u64 + 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }

    fn rate(&mut self) -> i64 {
        [-1000, 0, 1000][self.below(3) as usize]
    }

    fn view(&self, id: NodeId) -> ClusterView {
        let applied = self.nodes[&id].applied;
        let mut registered = BTreeSet::new();
        let mut dead = BTreeSet::new();
        for entry in &self.log[..applied] {
            match entry {
                Entry::Registered(about) => {
                    registered.retain(|r: &IncarnationOf| r.node != about.node);
                    registered.insert(*about);
                }
                Entry::LeaseEnded(about) => drop(dead.insert(*about)),
                Entry::Withdrawn(_) => {}
            }
        }
        let voters: BTreeSet<NodeId> = self.nodes.keys().copied().collect();
        let peers = voters.iter().copied().filter(|peer| *peer != id).collect();
        let timers = Timers::fast();
        registered.retain(|about| !dead.contains(about));
        ClusterView {
            applied: applied as u64,
            voters,
            peers,
            timers,
            largest_lease: timers.lease,
            registered,
            dead,
        }
    }

    fn attach(&mut self, id: NodeId) {
        let withdrawn: BTreeSet<Promise> = self.withdrawn(self.nodes[&id].applied);
        let node = &self.nodes[&id];
        let promises = node.durable.difference(&withdrawn).copied().collect();
        let last = node.durable.iter().map(|promise| promise.round).max();
        let next_round = last.map_or(Round(1), Round::next);
        let cluster = self.view(id);
        self.nodes.get_mut(&id).unwrap().daemon = true;
        self.step(id, Input::Daemon(FromDaemon::Attach { promises, next_round, cluster }));
    }

    fn withdrawn(&self, upto: usize) -> BTreeSet<Promise> {
        let withdrawn = |entry: &Entry| match entry {
            Entry::Withdrawn(promise) => Some(*promise),
            _ => None,
        };
        self.log[..upto].iter().filter_map(withdrawn).collect()
    }

    fn later(&mut self, delay_ms: u64, id: NodeId, due: Due) {
        self.count += 1;
        self.due.insert((self.time + delay_ms * MS, self.count), (id, due));
    }

    fn step(&mut self, id: NodeId, input: Input) {
        let time = self.time;
        let node = self.nodes.get_mut(&id).unwrap();
        if node.reset {
            return;
        }
        if node.paused {
            node.waiting.push(input);
            return;
        }
        let effects = node.guard.step(node.clock.now(time), input);
        let matured = self.matured.len();
        self.carry_out(id, effects);
        self.check(id);
        if self.matured.len() > matured {
            self.ids().into_iter().for_each(|id| self.check(id));
        }
    }

    fn carry_out(&mut self, id: NodeId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, frame } => self.send(id, to, frame),
                Effect::Tell(told) => self.told(id, told),
                Effect::Perform { id: act, .. } => {
                    let delay = self.below(15);
                    self.later(delay, id, Due::Input(Input::Performed { id: act, result: Ok(()) }));
                }
                Effect::LetGo { held, .. } => {
                    for held in held {
                        let delay = self.below(40);
                        let result = Ok(Duration::from_millis(delay));
                        self.later(delay, id, Due::Input(Input::Released { held, result }));
                    }
                }
                Effect::Reset { .. } => self.nodes.get_mut(&id).unwrap().reset = true,
                Effect::NewIncarnation => {
                    let time = self.time;
                    let node = self.nodes.get_mut(&id).unwrap();
                    let next = node.guard.incarnation().next();
                    let effects = node.guard.reborn(node.clock.now(time), next);
                    self.log.push(Entry::Registered(IncarnationOf { node: id, incarnation: next }));
                    self.carry_out(id, effects);
                }
            }
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, frame: Frame) {
        let lossy = !self.calm;
        if self.cut.contains(&(from, to)) || (lossy && self.below(20) == 0) {
            return;
        }
        let copies = 1 + usize::from(lossy && self.below(20) == 0);
        for _ in 0..copies {
            let delay = if lossy && self.below(10) == 0 { self.below(300) } else { self.below(5) };
            self.later(delay, to, Due::Input(Input::Frame { from, frame }));
        }
    }

    fn told(&mut self, id: NodeId, told: ToDaemon) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.daemon {
            return;
        }
        match told {
            ToDaemon::StorePromise(promise) => {
                let delay = self.below(30);
                self.later(delay, id, Due::Stored(promise));
            }
            ToDaemon::PromiseMatured(promise) => drop(self.matured.insert(promise)),
            ToDaemon::PromisedButAlive(promise) => drop(node.alive.insert(promise)),
            _ => {}
        }
    }

    /// True time passes; every guard that runs is called when it asked to be, and everything due happens.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = self.time + ms * MS;
        loop {
            let wakes = self.nodes.iter().filter(|(_, node)| !node.paused && !node.reset);
            let wakes = wakes
                .map(|(id, node)| (node.clock.when(node.guard.next_wake(node.clock.now(self.time))), *id));
            let wake = wakes.min().filter(|(at, _)| *at <= end);
            let due = self.due.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= end);
            match (wake, due) {
                (Some((at, id)), due) if due.is_none_or(|due| at <= due) => {
                    // A guard that asks for this very instant again and again would never let time pass.
                    self.time = at.max(self.time + 1);
                    self.step(id, Input::Tick);
                }
                (_, Some(at)) => {
                    self.time = self.time.max(at);
                    self.happen();
                }
                _ => break,
            }
        }
        self.time = self.time.max(end);
    }

    fn happen(&mut self) {
        let Some((_, (id, due))) = self.due.pop_first() else { return };
        match due {
            Due::Input(input) => self.step(id, input),
            // What a daemon that died meant to store, it has not stored.
            Due::Stored(promise) if self.nodes[&id].daemon => {
                self.nodes.get_mut(&id).unwrap().durable.insert(promise);
                self.step(id, Input::Daemon(FromDaemon::PromiseStored(promise)));
            }
            Due::Stored(_) => {}
        }
    }

    pub(crate) fn cut(&mut self, from: u8, to: u8) {
        self.cut.insert((self.pick(from), self.pick(to)));
    }

    pub(crate) fn isolate(&mut self, node: u8) {
        let node = self.pick(node);
        for other in self.ids() {
            self.cut.extend([(node, other), (other, node)]);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn calm_down(&mut self) {
        self.heal();
        self.calm = true;
    }

    pub(crate) fn pause(&mut self, node: u8, paused: bool) {
        let id = self.pick(node);
        let node = self.nodes.get_mut(&id).unwrap();
        node.paused = paused;
        node.ever_paused |= paused;
        if !paused {
            let waiting = std::mem::take(&mut node.waiting);
            waiting.into_iter().for_each(|input| self.step(id, input));
        }
    }

    pub(crate) fn drift(&mut self, node: u8) {
        let (id, ppm, time) = (self.pick(node), self.rate(), self.time);
        let clock = &mut self.nodes.get_mut(&id).unwrap().clock;
        *clock = Clock { at: time, local: clock.now(time).0, ppm };
    }

    pub(crate) fn daemon_dies(&mut self, node: u8) {
        let id = self.pick(node);
        self.nodes.get_mut(&id).unwrap().daemon = false;
        self.step(id, Input::DaemonGone);
    }

    pub(crate) fn daemon_returns(&mut self, node: u8) {
        let id = self.pick(node);
        if !self.nodes[&id].daemon {
            self.attach(id);
        }
    }

    /// A guard process dies and the next one starts; or, where the machine was reset, it boots.
    pub(crate) fn guard_restarts(&mut self, node: u8) {
        let (id, time) = (self.pick(node), self.time);
        let node = self.nodes.get_mut(&id).unwrap();
        let left = if node.reset { Vec::new() } else { node.guard.leaves() };
        let incarnation = node.guard.incarnation().next();
        node.guard = Guard::new(id, incarnation, BootId::default(), left, node.clock.now(time))
            .with_mutants(self.mutants);
        node.ever_paused &= !node.reset;
        (node.reset, node.paused) = (false, false);
        node.waiting.clear();
        self.due.retain(|_, (to, due)| *to != id || matches!(due, Due::Stored(_)));
        self.log.push(Entry::Registered(IncarnationOf { node: id, incarnation }));
        if self.nodes[&id].daemon {
            self.attach(id);
        }
    }

    /// Machines that were reset boot.
    pub(crate) fn boot(&mut self) {
        for node in 0..self.size() {
            if self.nodes[&self.pick(node)].reset {
                self.guard_restarts(node);
            }
        }
    }

    fn act_of(id: NodeId) -> Act {
        let mount = format!("/{id}").into();
        Act::Mount { device: "/dev/d".into(), mount, fstype: String::new(), options: String::new() }
    }

    /// A node's daemon, which may be wrong about what its node owns, asks to acquire.
    pub(crate) fn acquire(&mut self, node: u8) {
        let id = self.pick(node);
        let said = self.wish(id);
        self.step(id, Input::Daemon(said));
        self.acquired += usize::from(!self.nodes[&id].guard.held().is_empty());
    }

    fn wish(&self, id: NodeId) -> FromDaemon {
        FromDaemon::Perform {
            id: ActId(1),
            incarnation: self.nodes[&id].guard.incarnation(),
            group: GroupName::new("g").unwrap(),
            epoch: Epoch(1),
            act: Self::act_of(id),
        }
    }

    /// The leader ends every incarnation whose end is proven.
    pub(crate) fn end_proven(&mut self) {
        for about in self.incarnations() {
            if self.proven(about) && !self.log.contains(&Entry::LeaseEnded(about)) {
                self.log.push(Entry::LeaseEnded(about));
                self.ended += 1;
            }
        }
    }

    /// The leader withdraws the promises about incarnations that are heard.
    pub(crate) fn withdraw(&mut self) {
        let alive: Vec<Promise> =
            self.nodes.values_mut().flat_map(|node| std::mem::take(&mut node.alive)).collect();
        for promise in alive {
            if !self.log.contains(&Entry::LeaseEnded(promise.about)) {
                self.log.push(Entry::Withdrawn(promise));
            }
        }
    }

    /// A node's daemon applies what was committed.
    pub(crate) fn apply(&mut self, node: u8) {
        let id = self.pick(node);
        while self.nodes[&id].applied < self.log.len() && self.nodes[&id].daemon {
            let entry = self.log[self.nodes[&id].applied];
            self.nodes.get_mut(&id).unwrap().applied += 1;
            let view = self.view(id);
            self.step(id, Input::Daemon(FromDaemon::Configure(view)));
            if let Entry::Withdrawn(promise) = entry
                && promise.voter == id
            {
                self.step(id, Input::Daemon(FromDaemon::PromiseWithdrawn(promise)));
            }
        }
        self.step(id, Input::Daemon(FromDaemon::Alive));
    }

    fn incarnations(&self) -> Vec<IncarnationOf> {
        let registered = |entry: &Entry| match entry {
            Entry::Registered(about) => Some(*about),
            _ => None,
        };
        self.log.iter().filter_map(registered).collect()
    }

    /// Whether matured promises of a majority, none of them withdrawn, are about this incarnation.
    fn proven(&self, about: IncarnationOf) -> bool {
        let standing = |promise: &Promise| !self.log.contains(&Entry::Withdrawn(*promise));
        let good = self.matured.iter().filter(|p| p.about == about && standing(p));
        let voters: BTreeSet<NodeId> = good.map(|promise| promise.voter).collect();
        voters.len() > self.nodes.len() / 2 || self.log.contains(&Entry::LeaseEnded(about))
    }

    /// What must be true at every instant: an incarnation that is proven to be over cannot act, and nothing that
    /// it held is still there, unless its guard was paused (a pause is what the watchdog and the fence are for).
    fn check(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        if node.reset || self.violation.is_some() {
            return;
        }
        let over = |incarnation| self.proven(IncarnationOf { node: id, incarnation });
        // What the guard would do now, had it been asked to acquire in this instant.
        let mut guard = node.guard.clone();
        let effects = guard.step(node.clock.now(self.time), Input::Daemon(self.wish(id)));
        let acts = effects.iter().any(|effect| matches!(effect, Effect::Perform { .. }));
        let reset = effects.iter().any(|effect| matches!(effect, Effect::Reset { .. }));
        let holds = !node.ever_paused && !reset && guard.leaves().into_iter().any(|left| over(left.by));
        if acts && over(guard.incarnation()) || holds {
            self.violation = Some(format!("node {id} acts ({acts}) or holds ({holds}) at {} ns", self.time));
        }
    }

    /// Whether every node may act, with the incarnation that it has now.
    pub(crate) fn all_valid(&self) -> bool {
        self.nodes.values().all(|node| !node.reset && node.guard.right() == Right::Valid)
    }

    pub(crate) fn size(&self) -> u8 {
        u8::try_from(self.nodes.len()).unwrap()
    }
}
