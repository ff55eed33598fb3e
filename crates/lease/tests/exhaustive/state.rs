//! The state of a world: real guards, and around them what the model stands in for: network, stores, daemons, log.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use regent_lease::io::{ActId, ClusterView};
use regent_lease::list::{HeldOver, Inherited};
use regent_lease::mutants::{Condition, Mutants};
use regent_lease::{Effect, Frame, FromDaemon, Guard, Input, ToDaemon};
use regent_model::holding::{Act, Held, Holding};
use regent_model::proof::Promise;
use regent_model::{BootId, Epoch, GroupName, Incarnation, Moment, NodeId, Round};

use crate::log::{A, Agreed, Entry, GROUPS, Owner, TICK, about_a};
use crate::world::{Budget, World};

/// A node: its guard, and what its daemon and its store know.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// Nothing while a voter is down, and for ever once A was reset.
    pub(crate) guard: Option<Guard>,
    pub(crate) durable: BTreeSet<Promise>,
    pub(crate) storing: BTreeSet<Promise>,
    /// How much of the log its daemon has applied.
    pub(crate) applied: usize,
}

/// A node that many states share, with its fingerprint: a step copies only the node that takes it.
#[derive(Clone)]
pub(crate) struct Shared {
    node: Rc<Node>,
    fingerprint: u64,
}

impl Shared {
    fn new(node: Node) -> Self {
        let fingerprint = fingerprint(&node);
        Self { node: Rc::new(node), fingerprint }
    }

    /// Changes the node, for this state alone.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut Node) -> T) -> T {
        let node = Rc::make_mut(&mut self.node);
        let result = change(node);
        self.fingerprint = fingerprint(node);
        result
    }
}

impl Deref for Shared {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

pub(crate) fn fingerprint(thing: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(thing)
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Datagram {
    pub(crate) to: NodeId,
    pub(crate) frame: Frame,
    pub(crate) sent: u64,
}

#[derive(Clone, Hash)]
pub(crate) struct State {
    pub(crate) tick: u64,
    /// Which row of the world's clock rates holds.
    pub(crate) rates: usize,
    pub(crate) nodes: BTreeMap<NodeId, Shared>,
    pub(crate) network: BTreeSet<Datagram>,
    pub(crate) log: Vec<Entry>,
    /// What the log says after so many entries.
    agreed: Vec<Rc<Agreed>>,
    /// Every promise that a voter ever called mature: any leader may cite it.
    pub(crate) matured: BTreeSet<Promise>,
    /// Promises whose incarnation was heard: the log may withdraw them.
    pub(crate) alive: BTreeSet<Promise>,
    /// What A's guard is letting go of.
    pub(crate) releasing: BTreeSet<Held>,
    /// The group for which an act is under way on A.
    pub(crate) acting: Option<usize>,
    /// A's guard has told that this incarnation let go of everything.
    pub(crate) let_go: Option<Incarnation>,
    /// A's guard waits for a new incarnation.
    pub(crate) reborn_due: bool,
    /// A's guard has confirmed its lease under the view of this many entries.
    pub(crate) confirmed: Option<usize>,
    /// Nothing runs on A but its kernel.
    pub(crate) frozen: bool,
    addresses: bool,
    pub(crate) left: Budget,
}

fn held(world: &World, group: usize) -> Held {
    Held { group: name(group), epoch: Epoch(1), holding: holding(world.addresses, group) }
}

fn holding(is_address: bool, group: usize) -> Holding {
    if is_address {
        let last = u8::try_from(group).expect("few groups");
        return Holding::address("eth0", [10, 0, 0, last].into(), 24);
    }
    act(group).holding()
}

pub(crate) fn act(group: usize) -> Act {
    Act::Mount {
        device: "/dev/d".into(),
        mount: format!("/{group}").into(),
        fstype: String::new(),
        options: String::new(),
    }
}

fn name(group: usize) -> GroupName {
    GroupName::new(format!("g{group}")).expect("a name")
}

impl State {
    pub(crate) fn initial(world: &World, mutants: Mutants, rates: usize) -> Self {
        let mut state = Self {
            tick: 0,
            rates,
            nodes: BTreeMap::new(),
            network: BTreeSet::new(),
            log: Vec::new(),
            agreed: vec![Rc::new(world.founded())],
            matured: BTreeSet::new(),
            alive: BTreeSet::new(),
            releasing: BTreeSet::new(),
            acting: None,
            let_go: None,
            reborn_due: false,
            confirmed: None,
            frozen: false,
            addresses: world.addresses,
            left: world.budget,
        };
        for id in &world.nodes {
            let node = Node { guard: None, durable: BTreeSet::new(), storing: BTreeSet::new(), applied: 0 };
            state.nodes.insert(*id, Shared::new(node));
            let found = HeldOver { held: held(world, 0), by: Incarnation(1), right: Inherited::WithoutLease };
            match world.life {
                later if *id == A && later > found.by => state.start(world, mutants, A, later, vec![found]),
                _ => state.start(world, mutants, *id, Incarnation(1), Vec::new()),
            }
        }
        state
    }

    /// What the log says.
    pub(crate) fn agreed(&self) -> &Agreed {
        &self.agreed[self.log.len()]
    }

    /// What the log says as far as this node has applied it.
    pub(crate) fn known_to(&self, id: NodeId) -> &Agreed {
        &self.agreed[self.nodes[&id].applied]
    }

    /// The log gets one more entry.
    pub(crate) fn commit(&mut self, mutants: Mutants, entry: Entry) {
        let mut agreed = self.agreed().clone();
        agreed.apply(self.log.len(), &entry, mutants);
        self.agreed.push(Rc::new(agreed));
        self.log.push(entry);
    }

    fn view(&self, world: &World, id: NodeId) -> ClusterView {
        self.known_to(id).view(id, self.nodes[&id].applied, &world.nodes, world.timers())
    }

    pub(crate) fn change<T>(&mut self, id: NodeId, change: impl FnOnce(&mut Node) -> T) -> T {
        self.nodes.get_mut(&id).expect("a node of the world").change(change)
    }

    /// A node's clock.
    pub(crate) fn now(&self, world: &World, id: NodeId) -> Moment {
        let index = world.nodes.iter().position(|node| *node == id).expect("a node of the world");
        let rate = 1_000_000 + world.rates[self.rates][index];
        let ns = (1000 + self.tick) * TICK * u64::try_from(rate).expect("positive") / 1_000_000;
        Moment(ns)
    }

    pub(crate) fn guard(&self, id: NodeId) -> Option<&Guard> {
        self.nodes[&id].guard.as_ref()
    }

    /// Starts guard and daemon of a node.
    pub(crate) fn start(
        &mut self,
        world: &World,
        mutants: Mutants,
        id: NodeId,
        incarnation: Incarnation,
        left: Vec<HeldOver>,
    ) {
        let now = self.now(world, id);
        let mut guard = Guard::new(id, incarnation, BootId::default(), left, now).with_mutants(mutants);
        guard.kernel_ends_addresses(world.addresses);
        let cluster = self.view(world, id);
        self.change(id, |node| {
            node.guard = Some(guard);
            node.storing.clear();
            if mutants.off(Condition::L1DurablePromise) {
                node.durable.clear();
            }
        });
        let next_round = self.next_round(id);
        let promises = self.nodes[&id].durable.difference(&self.known_to(id).withdrawn).copied().collect();
        self.tell(world, id, FromDaemon::Attach { promises, next_round, cluster });
    }

    fn next_round(&self, id: NodeId) -> Round {
        let durable = self.nodes[&id].durable.iter();
        let ever = self.matured.iter().filter(|promise| promise.voter == id);
        durable.chain(ever).map(|promise| promise.round.next()).max().unwrap_or(Round(1))
    }

    pub(crate) fn tell(&mut self, world: &World, id: NodeId, said: FromDaemon) {
        self.step(world, id, Input::Daemon(said));
    }

    /// Lets a guard take a step, and carries out what it wants done.
    pub(crate) fn step(&mut self, world: &World, id: NodeId, input: Input) {
        if id == A && self.frozen {
            return;
        }
        let now = self.now(world, id);
        let take = |node: &mut Node| node.guard.as_mut().map(|guard| guard.step(now, input));
        let effects = self.change(id, take).unwrap_or_default();
        self.carry_out(world, id, effects);
    }

    pub(crate) fn carry_out(&mut self, world: &World, id: NodeId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, frame } => self.send(world, id, to, frame),
                Effect::Tell(told) => self.told(world, id, told),
                Effect::Perform { id: ActId(group), .. } => self.acting = Some(group as usize),
                Effect::LetGo { held, .. } => self.releasing.extend(held),
                Effect::Reset { .. } => {
                    self.change(id, |node| node.guard = None);
                    self.releasing.clear();
                    self.acting = None;
                    self.reborn_due = false;
                }
                Effect::NewIncarnation => self.reborn_due = true,
            }
        }
    }

    /// Only A's keepalives and their acknowledgements matter to the model: the others own nothing.
    fn send(&mut self, world: &World, from: NodeId, to: NodeId, frame: Frame) {
        let matters = match frame {
            Frame::Keepalive(keepalive) => keepalive.node == A && keepalive.renews,
            Frame::Ack(ack) => ack.node == A,
        };
        if matches!(frame, Frame::Ack(_)) && world.ack_delay.is_none() {
            self.step(world, to, Input::Frame { from, frame });
        } else if matters {
            self.network.insert(Datagram { to, frame, sent: self.tick });
        }
    }

    /// A store has made a promise durable.
    pub(crate) fn stored(&mut self, world: &World, id: NodeId, promise: Promise) {
        self.change(id, |node| {
            node.storing.remove(&promise);
            node.durable.insert(promise);
        });
        self.tell(world, id, FromDaemon::PromiseStored(promise));
    }

    fn told(&mut self, world: &World, id: NodeId, told: ToDaemon) {
        match told {
            ToDaemon::StorePromise(promise) if world.stores_at_once => self.stored(world, id, promise),
            ToDaemon::StorePromise(promise) => drop(self.change(id, |node| node.storing.insert(promise))),
            ToDaemon::Confirmed { applied, .. } if id == A => {
                self.confirmed = Some(applied as usize);
                if world.acquires_at_once && self.may_acquire(0) {
                    self.acquire(world, 0);
                }
            }
            ToDaemon::PromiseMatured(promise) => drop(self.matured.insert(promise)),
            ToDaemon::PromisedButAlive(promise) => drop(self.alive.insert(promise)),
            ToDaemon::LetGo { incarnation, .. } if id == A => self.let_go = Some(incarnation),
            ToDaemon::Welcome { .. } if id == A => self.confirmed = None,
            _ => {}
        }
    }

    /// The next tick of true time. A's guard looks at its clock first: what a holder does in an instant and what
    /// a voter does in the same instant may come in either order, and this is the one that a proof must bear.
    pub(crate) fn advance(&mut self, world: &World) {
        self.tick += 1;
        let tick = self.tick;
        self.network.retain(|datagram| {
            let keepalive = matches!(datagram.frame, Frame::Keepalive(_));
            tick - datagram.sent <= if keepalive { world.delay } else { world.ack_delay.unwrap_or(0) }
        });
        for id in &world.nodes {
            self.step(world, *id, Input::Tick);
        }
    }

    /// A node's daemon applies one more entry and tells its guard.
    pub(crate) fn apply_next(&mut self, world: &World, id: NodeId) {
        let entry = self.log[self.nodes[&id].applied].clone();
        let applied = self.nodes[&id].applied + 1;
        self.change(id, |node| node.applied = applied);
        let view = self.view(world, id);
        let ended = |promise: &Promise| view.has_ended(promise.about);
        self.change(id, |node| node.durable.retain(|promise| !ended(promise)));
        self.tell(world, id, FromDaemon::Configure(view));
        match entry {
            Entry::Withdrawn(promise) if promise.voter == id => {
                self.change(id, |node| node.durable.remove(&promise));
                self.tell(world, id, FromDaemon::PromiseWithdrawn(promise));
            }
            Entry::HeldWithoutLease(incarnation) if id == A => {
                self.tell(world, id, FromDaemon::HeldWithoutLease { incarnation });
            }
            Entry::Adopted(incarnation) if id == A => {
                for group in 0..GROUPS {
                    let changed =
                        self.agreed[applied - 1].owners[group] != self.agreed[applied].owners[group];
                    if changed {
                        let said = FromDaemon::Rename { incarnation, group: name(group), epoch: Epoch(2) };
                        self.tell(world, id, said);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether A's daemon believes that its guard's incarnation owns a group that it does not hold.
    pub(crate) fn may_acquire(&self, group: usize) -> bool {
        self.guard(A).is_some_and(|guard| {
            self.known_to(A).owned_by(group) == Some(guard.incarnation())
                && !guard.held().iter().any(|held| held.holding == holding(self.addresses, group))
        })
    }

    /// A's daemon asks its guard to acquire a group for the incarnation that it knows.
    pub(crate) fn acquire(&mut self, world: &World, group: usize) {
        let Some(incarnation) = self.guard(A).map(Guard::incarnation) else { return };
        let id = ActId(group as u64);
        let said = if world.acts {
            FromDaemon::Perform { id, incarnation, group: name(group), epoch: Epoch(1), act: act(group) }
        } else {
            FromDaemon::Hold { id, incarnation, held: held(world, group) }
        };
        self.tell(world, A, said);
    }

    pub(crate) fn release(&mut self, world: &World, held: Held) {
        self.releasing.remove(&held);
        self.step(world, A, Input::Released { held, result: Ok(Duration::ZERO) });
    }

    /// The group that A holds or acquires although the log has given it to B; an address that its kernel has ended is
    /// held for nobody.
    pub(crate) fn owned_twice(&self, world: &World, mutants: Mutants) -> Option<usize> {
        let kernel_ends = world.addresses && !mutants.off(Condition::KernelEndsAddresses);
        let now = self.now(world, A);
        let acts = |left: &HeldOver| match left.right {
            Inherited::Lease(bounds) => !kernel_ends || bounds.deadline > now,
            Inherited::WithoutLease => true,
        };
        let left = self.guard(A)?.leaves();
        let holdings: Vec<Holding> = left.into_iter().filter(acts).map(|left| left.held.holding).collect();
        (0..GROUPS).find(|group| {
            self.ever_given_to_b(*group) && holdings.contains(&holding(world.addresses, *group))
        })
    }

    pub(crate) fn a_holds(&self) -> bool {
        self.guard(A).is_some_and(|guard| !guard.held().is_empty())
    }

    pub(crate) fn b_was_given_any(&self) -> bool {
        (0..GROUPS).any(|group| self.ever_given_to_b(group))
    }

    /// B may act from then on, and the model never takes it back.
    fn ever_given_to_b(&self, group: usize) -> bool {
        self.agreed.iter().any(|agreed| agreed.owners[group] == Owner::B)
    }

    pub(crate) fn promise_about_a(&self, promise: &Promise, incarnation: Incarnation) -> bool {
        promise.about == about_a(incarnation)
    }
}
