//! What may happen next.

use std::collections::BTreeSet;

use regent_arbiter::mutants::{Condition, Mutants};
use regent_arbiter::standing::{Arbiter, Readiness, may_settle};
use regent_arbiter::{Generation, Outcome};
use regent_lease::{Frame, Input};

use crate::generations::state::{A, B, Entry, Item, NODES, Pair, State, id};
use crate::search::World;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Tick,
    /// A keepalive of A arrives at B.
    Deliver(u64),
    Append(usize, Entry),
    /// The other one stores the next entry of this one's log; with guards, all of them.
    Replicate(usize),
    /// The witness stores all of B's log.
    Witness,
    /// A node learns how much is committed.
    Commit(usize),
    Apply(usize),
    /// A node's guard hears of what its daemon applied.
    Tell(usize),
    Snapshot(usize),
    Reboot(usize),
    Ask(usize),
    /// A node finds that it has won, and goes on alone.
    Win(usize),
}

impl State {
    /// How much of this node's log all that vote have stored.
    fn committable(&self, world: &Pair, at: usize) -> usize {
        let (voters, log) = (self.voters(world, at), &self.nodes[at].log);
        let stored = |index: usize| {
            let logs = [&self.nodes[A].log, &self.nodes[B].log, &self.witness];
            let by = |node: &usize| voters.contains(&id(*node)) && logs[*node].get(index) == log.get(index);
            (0..logs.len()).filter(by).count() > voters.len() / 2
        };
        let from = self.nodes[at].committed;
        if voters.is_empty() {
            return from;
        }
        (from..log.len()).find(|index| !stored(*index)).unwrap_or(log.len())
    }

    fn common(&self) -> usize {
        let [a, b] = &self.nodes;
        a.log.iter().zip(&b.log).take_while(|(a, b)| a == b).count()
    }

    /// Whether a node may lead: alone, or with the longer log of the two that are in its generation.
    fn may_lead(&self, world: &Pair, at: usize) -> bool {
        let voters = self.voters(world, at);
        let (mine, other) = (&self.nodes[at], &self.nodes[1 - at]);
        if world.budget.thirds > 0 && mine.noted.0 == Generation(1) {
            return at == B;
        }
        // One that counts itself alone gives its vote to nobody.
        let votes = self.voters(world, 1 - at).len() == 2 && self.common() == other.log.len();
        let elected = other.noted.0 != mine.noted.0 || votes;
        voters.contains(&id(at)) && (voters.len() == 1 || elected)
    }

    fn may_replicate(&self, world: &Pair, from: usize, mutants: Mutants) -> bool {
        let (leader, other) = (&self.nodes[from], &self.nodes[1 - from]);
        let hears = self.standing(world, 1 - from).hears(leader.noted.0, mutants);
        let voters = self.voters(world, from);
        if world.budget.thirds > 0 && leader.noted.0 == Generation(1) && from == A {
            return false;
        }
        let news = self.common() < leader.log.len() || other.noted.0 < leader.noted.0;
        // One that counts itself alone leads, and follows nobody of its generation.
        let leads =
            other.noted.0 == leader.noted.0 && self.voters(world, 1 - from) == BTreeSet::from([id(1 - from)]);
        voters.contains(&id(from)) && hears && news && !leads
    }

    fn replicate(&mut self, world: &Pair, from: usize) {
        let common = self.common();
        let leader = self.nodes[from].clone();
        let other = &mut self.nodes[1 - from];
        if other.noted.0 < leader.noted.0 {
            other.noted = leader.noted;
        }
        self.lost |= common < other.applied;
        let keep = if world.guards { leader.log.len() } else { leader.log.len().min(common + 1) };
        other.log = leader.log[..keep].to_vec();
        (other.applied, other.committed) = (other.applied.min(common), other.committed.min(common));
        other.snapshot = other.snapshot.min(common);
    }

    /// What a leader may put into its log next.
    fn proposals(&self, world: &Pair, at: usize, mutants: Mutants) -> Vec<Entry> {
        let (mine, other, voters) = (&self.nodes[at], &self.nodes[1 - at], self.voters(world, at));
        let mut entries = Vec::new();
        if self.left.data > 0 {
            entries.push(Entry::Data(self.left.data));
        }
        let last =
            mine.log.iter().rposition(Item::changes_voters).map(|index| (index + 1, mine.log[index].entry));
        let all_applied = mine.applied == mine.log.len();
        let caught_up = other.noted == mine.noted && other.log == mine.log;
        let joins = self.left.joins > 0;
        if joins
            && voters.len() == 1
            && all_applied
            && caught_up
            && matches!(last, Some((_, Entry::Alone(_))))
        {
            entries.push(Entry::Both);
        }
        if let Some((at, Entry::Both)) = last.filter(|(at, _)| *at <= mine.applied) {
            let settled = mine.log[at..].iter().any(|item| item.entry == Entry::Settled);
            let ready = NODES.map(|node| Readiness {
                // B's guard asks for no lease: nothing is ever given to it before it has won.
                lease_confirmed: (node == A && self.a_holds()).then_some(self.nodes[A].confirmed as u64),
                voters_durable: (!world.guards).then_some(self.nodes[node].snapshot as u64),
            });
            if !settled && may_settle(at as u64, &ready, mutants) {
                entries.push(Entry::Settled);
            }
        }
        if self.left.thirds > 0 && at == B && voters.len() == 2 {
            entries.push(Entry::Third);
        }
        let ended = mine.log.iter().any(|item| item.entry == Entry::Ended);
        if at == B && !ended && self.matured.iter().any(|promise| promise.voter == id(B)) {
            entries.push(Entry::Ended);
        }
        entries
    }

    /// The generation that a node may ask for, unless it sees that a later one was asked for.
    fn askable(&self, world: &Pair, at: usize, mutants: Mutants) -> Option<Generation> {
        let asked = self.standing(world, at).may_ask(Arbiter::Disk, mutants).ok()?.1;
        let behind = self.register.keys().next_back().is_some_and(|last| *last >= asked);
        (!behind && asked.0 <= world.asks).then_some(asked)
    }

    fn won(&self, world: &Pair, at: usize, mutants: Mutants) -> Option<Generation> {
        let next = self.nodes[at].noted.0.next();
        let mine = self.register.get(&next) == Some(&at);
        mine.then(|| self.standing(world, at).is_won(Outcome::Won(next), Arbiter::Disk, mutants)).flatten()
    }

    fn win(&mut self, world: &Pair, generation: Generation, at: usize, mutants: Mutants) {
        let node = &mut self.nodes[at];
        node.noted = (generation, at);
        if mutants.off(Condition::WholeLog) {
            node.log.truncate(node.applied);
        }
        node.log.push(Item { generation, by: at, entry: Entry::Alone(at) });
        if at == B && self.is_to_be_told(world, B) {
            self.tell(world, B);
        }
    }
}

impl World for Pair {
    type State = State;
    type Action = Action;

    fn name(&self) -> &'static str {
        self.name
    }

    fn initial(&self, _mutants: Mutants) -> State {
        State::initial(self)
    }

    fn enabled(&self, state: &State, mutants: Mutants) -> Vec<Action> {
        let mut actions = Vec::new();
        if state.tick < self.ticks {
            actions.push(Action::Tick);
        }
        if state.left.deliveries > 0 {
            actions.extend(state.network.keys().copied().map(Action::Deliver));
        }
        let three = state.voters(self, B).len() == 3 && state.nodes[B].noted.0 == Generation(1);
        if three && state.witness != state.nodes[B].log {
            actions.push(Action::Witness);
        }
        for at in NODES {
            let node = &state.nodes[at];
            if state.may_lead(self, at) {
                let entries = state.proposals(self, at, mutants);
                actions.extend(entries.into_iter().map(|entry| Action::Append(at, entry)));
            }
            let may = [
                (state.may_replicate(self, at, mutants), Action::Replicate(at)),
                (state.committable(self, at) > node.committed, Action::Commit(at)),
                (node.applied < node.committed, Action::Apply(at)),
                (state.is_to_be_told(self, at), Action::Tell(at)),
                (node.snapshot < node.applied && !self.guards, Action::Snapshot(at)),
                (state.left.crashes > 0, Action::Reboot(at)),
                (state.askable(self, at, mutants).is_some(), Action::Ask(at)),
                (state.won(self, at, mutants).is_some(), Action::Win(at)),
            ];
            actions.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, action)| action));
        }
        actions
    }

    fn take(&self, mut state: State, action: Action, mutants: Mutants) -> State {
        match action {
            Action::Tick => state.advance(),
            Action::Deliver(number) => {
                state.left.deliveries -= 1;
                if let Some((keepalive, _)) = state.network.remove(&number) {
                    let frame = Frame::Keepalive(keepalive);
                    state.step(B, Input::Frame { from: id(A), frame });
                }
            }
            Action::Append(at, entry) => {
                state.left.data -= u8::from(matches!(entry, Entry::Data(_)));
                state.left.joins -= u8::from(entry == Entry::Both);
                state.left.thirds -= u8::from(entry == Entry::Third);
                let generation = state.nodes[at].noted.0;
                state.nodes[at].log.push(Item { generation, by: at, entry });
            }
            Action::Witness => state.witness = state.nodes[B].log.clone(),
            Action::Replicate(from) => state.replicate(self, from),
            Action::Commit(at) => {
                state.nodes[at].committed = state.committable(self, at);
                while self.guards && state.nodes[at].applied < state.nodes[at].committed {
                    state.apply(self, at);
                }
            }
            Action::Apply(at) => state.apply(self, at),
            Action::Tell(at) => state.tell(self, at),
            Action::Snapshot(at) => state.nodes[at].snapshot = state.nodes[at].applied,
            Action::Reboot(at) => {
                state.left.crashes -= 1;
                state.reboot(mutants, at);
            }
            Action::Ask(at) => {
                if let Some(generation) = state.askable(self, at, mutants) {
                    state.register.insert(generation, at);
                }
            }
            Action::Win(at) => {
                if let Some(generation) = state.won(self, at, mutants) {
                    state.win(self, generation, at, mutants);
                }
            }
        }
        state
    }

    fn wrong(&self, state: &State) -> Option<String> {
        if state.lost {
            return Some("what was committed is lost".into());
        }
        (state.b_owns(self) && state.a_holds()).then(|| "two owners".into())
    }

    fn sights(&self, state: &State) -> Vec<&'static str> {
        let alone = |at: usize| {
            let applied = state.agreed.iter().any(|item| item.entry == Entry::Alone(at));
            applied && state.voters(self, at) == BTreeSet::from([id(at)])
        };
        let joined = state.agreed.iter().any(|item| item.entry == Entry::Settled);
        let seen = [
            (alone(A), "A alone"),
            (alone(B), "B alone"),
            (joined, "joined again"),
            (state.agreed.iter().any(|item| item.entry == Entry::Third), "three vote"),
            (alone(A) && state.a_holds(), "A holds alone"),
            (state.b_owns(self), "B owns"),
        ];
        seen.into_iter().filter(|(seen, _)| *seen).map(|(_, what)| what).collect()
    }
}
