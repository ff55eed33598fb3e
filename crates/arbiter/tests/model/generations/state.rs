//! Two nodes, and what they remember.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_arbiter::mutants::{Condition, Mutants};
use regent_arbiter::{Generation, Standing};
use regent_lease::io::{ActId, ClusterView};
use regent_lease::{Effect, Frame, FromDaemon, Guard, Input, Keepalive, ToDaemon};
use regent_model::holding::{Held, Holding};
use regent_model::ids::IncarnationOf;
use regent_model::proof::Promise;
use regent_model::timers::Timers;
use regent_model::{BootId, Epoch, GroupName, Incarnation, Moment, NodeId, Round};

/// Nodes by their place: A owns the group when the world begins.
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const NODES: [usize; 2] = [A, B];
pub(crate) const WITNESS: usize = 2;

/// One tick, in nanoseconds of an exact clock.
const TICK: u64 = 1_000_000;
/// In millionths: A's clock is the slowest, B's the fastest allowed.
const RATES: [i64; 2] = [-1000, 1000];

pub(crate) fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

pub(crate) fn life_of(node: usize) -> IncarnationOf {
    IncarnationOf { node: id(node), incarnation: Incarnation(1) }
}

/// How a world begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// Both vote, in generation 1.
    Founded,
    /// A is the sole voter of generation 2; B learns its log.
    Alone,
}

/// How often something may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    pub(crate) data: u8,
    pub(crate) crashes: u8,
    pub(crate) deliveries: u8,
    /// The other one is made a voter again.
    pub(crate) joins: u8,
    /// A witness is made a voter. Then B alone leads in generation 1, which takes terms out of the picture.
    pub(crate) thirds: u8,
}

pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) begins: Begins,
    /// Whether there are guards; without, only logs matter. With them nodes apply at once what is committed, and
    /// remember it.
    pub(crate) guards: bool,
    pub(crate) ticks: u64,
    /// The last generation that is asked for.
    pub(crate) asks: u64,
    pub(crate) budget: Budget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Entry {
    Data(u8),
    /// This node is the sole voter from here on: a generation begins.
    Alone(usize),
    /// Both vote from here on.
    Both,
    /// A witness votes too.
    Third,
    Settled,
    /// A's lease has ended, and its group is B's.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Item {
    pub(crate) generation: Generation,
    pub(crate) by: usize,
    pub(crate) entry: Entry,
}

impl Item {
    pub(crate) fn changes_voters(&self) -> bool {
        matches!(self.entry, Entry::Alone(_) | Entry::Both | Entry::Third)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) guard: Option<Guard>,
    /// Durable: the last generation noted, and its winner.
    pub(crate) noted: (Generation, usize),
    /// Durable.
    pub(crate) log: Vec<Item>,
    /// Durable: up to where it has applied, and knows who votes, when it comes back.
    pub(crate) snapshot: usize,
    pub(crate) committed: usize,
    pub(crate) applied: usize,
    /// The view under which the guard's lease was last confirmed.
    pub(crate) confirmed: usize,
    /// What the guard was told last.
    told: (usize, BTreeSet<NodeId>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) tick: u64,
    pub(crate) nodes: [Node; 2],
    /// What the witness has stored of B's log.
    pub(crate) witness: Vec<Item>,
    pub(crate) register: BTreeMap<Generation, usize>,
    /// Keepalives of A on their way to B, by their numbers, and when they were sent.
    pub(crate) network: BTreeMap<u64, (Keepalive, u64)>,
    pub(crate) matured: BTreeSet<Promise>,
    /// Everything that was ever applied anywhere.
    pub(crate) agreed: Vec<Item>,
    pub(crate) lost: bool,
    pub(crate) left: Budget,
}

/// Who votes after this much of a log.
pub(crate) fn voters_after(begins: Begins, log: &[Item]) -> BTreeSet<NodeId> {
    let change = log.iter().rev().find_map(|item| match item.entry {
        Entry::Alone(node) => Some(BTreeSet::from([id(node)])),
        Entry::Both => Some(BTreeSet::from([id(A), id(B)])),
        Entry::Third => Some(BTreeSet::from([id(A), id(B), id(WITNESS)])),
        _ => None,
    });
    change.unwrap_or_else(|| match begins {
        Begins::Founded => BTreeSet::from([id(A), id(B)]),
        Begins::Alone => BTreeSet::from([id(A)]),
    })
}

fn held() -> Held {
    let holding = Holding::Cgroup { path: "g".into(), grace: Duration::ZERO };
    Held { group: GroupName::new("g").unwrap(), epoch: Epoch(1), holding }
}

fn timers() -> Timers {
    // A little less than whole ticks, so that the fastest and the slowest clock reach them in the same tick.
    let ticks = |n: u64| Duration::from_nanos(n * TICK - TICK / 10);
    Timers {
        heartbeat: ticks(2),
        lease: Duration::from_nanos(4 * TICK),
        release_begins: ticks(3),
        election_standby: ticks(3),
        election_witness: ticks(3),
    }
}

impl State {
    pub(crate) fn initial(world: &Pair) -> Self {
        let (generation, log) = match world.begins {
            Begins::Founded => (Generation(1), Vec::new()),
            Begins::Alone => {
                let item = Item { generation: Generation(2), by: A, entry: Entry::Alone(A) };
                (Generation(2), vec![item])
            }
        };
        let at = log.len();
        let node = Node {
            guard: None,
            noted: (generation, A),
            snapshot: at,
            committed: at,
            applied: at,
            confirmed: 0,
            log: log.clone(),
            told: (0, BTreeSet::new()),
        };
        let mut state = Self {
            tick: 0,
            nodes: [node.clone(), node],
            witness: Vec::new(),
            register: BTreeMap::new(),
            network: BTreeMap::new(),
            matured: BTreeSet::new(),
            agreed: log,
            lost: false,
            left: world.budget,
        };
        if world.guards {
            state.start_guards(world);
        }
        state
    }

    /// Both guards begin; A gets its lease, and acquires.
    fn start_guards(&mut self, world: &Pair) {
        for at in [B, A] {
            let guard = Guard::new(id(at), Incarnation(1), BootId::default(), Vec::new(), self.now(at));
            self.nodes[at].guard = Some(guard);
            let cluster = self.view(world, at);
            let attach = FromDaemon::Attach { promises: Vec::new(), next_round: Round(1), cluster };
            self.step(at, Input::Daemon(attach));
        }
        if let Some((_, (keepalive, _))) = self.network.pop_first() {
            self.step(B, Input::Frame { from: id(A), frame: Frame::Keepalive(keepalive) });
        }
        let hold = FromDaemon::Hold { id: ActId(1), incarnation: Incarnation(1), held: held() };
        self.step(A, Input::Daemon(hold));
        assert!(self.a_holds(), "A did not get its lease");
    }

    fn now(&self, at: usize) -> Moment {
        let rate = u64::try_from(1_000_000 + RATES[at]).unwrap();
        Moment((1000 + self.tick) * TICK * rate / 1_000_000)
    }

    fn entered_of(&self, at: usize) -> Generation {
        let applied = &self.nodes[at].log[..self.nodes[at].applied];
        let last = applied.iter().rev().find(|item| matches!(item.entry, Entry::Alone(_)));
        last.map_or(Generation(1), |item| item.generation)
    }

    /// What a node knows of its generation.
    pub(crate) fn standing(&self, world: &Pair, at: usize) -> Standing {
        let node = &self.nodes[at];
        let applied = &node.log[..node.applied];
        let voters = voters_after(world.begins, applied);
        let since = applied.iter().rposition(Item::changes_voters);
        Standing {
            me: id(at),
            generation: node.noted.0,
            entered: self.entered_of(at),
            voters,
            changing: node.log[node.applied..].iter().any(Item::changes_voters),
            settled: since.is_none_or(|at| applied[at..].iter().any(|item| item.entry == Entry::Settled)),
            quorum_since_boot: true,
        }
    }

    /// Who votes, by what a node knows: the winner of a generation counts alone as soon as it has noted it.
    pub(crate) fn voters(&self, world: &Pair, at: usize) -> BTreeSet<NodeId> {
        let node = &self.nodes[at];
        if self.entered_of(at) >= node.noted.0 {
            return voters_after(world.begins, &node.log[..node.applied]);
        }
        BTreeSet::from([id(node.noted.1)])
    }

    fn view(&self, world: &Pair, at: usize) -> ClusterView {
        ClusterView {
            applied: self.nodes[at].applied as u64,
            voters: self.voters(world, at),
            peers: BTreeSet::from([id(1 - at)]),
            timers: timers(),
            largest_lease: timers().lease,
            registered: BTreeSet::from([life_of(A)]),
            dead: BTreeSet::new(),
        }
    }

    /// Whether a node's guard does not know what its daemon knows.
    pub(crate) fn is_to_be_told(&self, world: &Pair, at: usize) -> bool {
        let node = &self.nodes[at];
        node.guard.is_some() && node.told != (node.applied, self.voters(world, at))
    }

    pub(crate) fn tell(&mut self, world: &Pair, at: usize) {
        let view = self.view(world, at);
        self.nodes[at].told = (self.nodes[at].applied, view.voters.clone());
        self.step(at, Input::Daemon(FromDaemon::Configure(view)));
    }

    /// Lets a guard take a step, and carries out what it wants done. It releases nothing before it must: then it is
    /// reset, and holds nothing.
    pub(crate) fn step(&mut self, at: usize, input: Input) {
        let now = self.now(at);
        let effects = self.nodes[at].guard.as_mut().map(|guard| guard.step(now, input));
        for effect in effects.unwrap_or_default() {
            match effect {
                Effect::Send { frame: Frame::Keepalive(k), .. } if at == A && k.renews => {
                    self.network.insert(k.number, (k, self.tick));
                }
                Effect::Send { frame: Frame::Ack(ack), .. } if at == B => {
                    self.step(A, Input::Frame { from: id(B), frame: Frame::Ack(ack) });
                }
                Effect::Tell(ToDaemon::StorePromise(promise)) => {
                    self.step(at, Input::Daemon(FromDaemon::PromiseStored(promise)));
                }
                Effect::Tell(ToDaemon::PromiseMatured(promise)) => drop(self.matured.insert(promise)),
                Effect::Tell(ToDaemon::Confirmed { applied, .. }) => {
                    self.nodes[at].confirmed = usize::try_from(applied).unwrap();
                }
                Effect::Reset { .. } => self.nodes[at].guard = None,
                _ => {}
            }
        }
    }

    /// The next tick. A's guard looks at its clock first: the order that a proof must bear.
    pub(crate) fn advance(&mut self) {
        self.tick += 1;
        let tick = self.tick;
        self.network.retain(|_, (_, sent)| tick - *sent <= 1);
        NODES.into_iter().for_each(|at| self.step(at, Input::Tick));
    }

    pub(crate) fn a_holds(&self) -> bool {
        self.nodes[A].guard.as_ref().is_some_and(|guard| !guard.held().is_empty())
    }

    /// Whether the log has given A's group to B: its proof, a promise of B's, is one of the sole voter.
    pub(crate) fn b_owns(&self, world: &Pair) -> bool {
        let ended = |at: usize| {
            let voters = voters_after(world.begins, &self.agreed[..at]);
            self.agreed[at].entry == Entry::Ended && voters == BTreeSet::from([id(B)])
        };
        (0..self.agreed.len()).any(ended)
    }

    /// A node applies the next committed entry.
    pub(crate) fn apply(&mut self, world: &Pair, at: usize) {
        let (index, item) = (self.nodes[at].applied, self.nodes[at].log[self.nodes[at].applied]);
        match self.agreed.get(index) {
            Some(known) => self.lost |= *known != item,
            None => self.agreed.push(item),
        }
        self.nodes[at].applied += 1;
        if at == B && self.is_to_be_told(world, B) {
            self.tell(world, B);
        }
    }

    /// The node is turned off and on: it remembers what is durable. Its guard holds nothing any more.
    pub(crate) fn reboot(&mut self, mutants: Mutants, at: usize) {
        let node = &mut self.nodes[at];
        (node.guard, node.committed, node.applied) = (None, node.snapshot, node.snapshot);
        if mutants.off(Condition::NotedDurably) {
            self.nodes[at].noted = (self.entered_of(at), A);
        }
    }
}
