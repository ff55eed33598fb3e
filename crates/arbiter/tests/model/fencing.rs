//! A fence device as arbiter: two nodes that may turn each other off, crash, and be turned on again at any time; the
//! device acts between a request and its answer, whatever became of the asker. The device is honest: what it confirms
//! to be off was off at that time. Or one of them stops in order and names the other one.

use std::collections::{BTreeMap, BTreeSet};

use regent_arbiter::mutants::Condition::{self, *};
use regent_arbiter::mutants::Mutants;
use regent_arbiter::standing::{Arbiter, fence_decides, may_hand_over, takes_part};
use regent_arbiter::{Generation, Standing};
use regent_model::NodeId;

use crate::search::{World, shows};

pub(crate) const SHOWN: &[&[Condition]] =
    &[&[QuorumSinceBoot, OwnRequest, NothingWhileAsking, HandsOverToTheLeader]];

const NODES: [usize; 2] = [0, 1];

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

#[derive(Debug, Clone, Copy)]
enum Action {
    /// Both take part in their generation, and this one is elected; one that was left behind is let in again.
    Meet(usize),
    /// The one that is not the leader hears that the other one is.
    Follow(usize),
    /// It stops, and names the other one.
    HandOver(usize),
    Ask(usize),
    /// The device turns off whom this node wants off.
    Off(usize),
    Answer(usize),
    Crash(usize),
    Boot(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Request {
    life: u64,
    generation: Generation,
    done: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    is_on: bool,
    life: u64,
    generation: Generation,
    quorum_since_boot: bool,
    term: u8,
    leader: Option<usize>,
    /// At the device, whether the node lives or not.
    request: Option<Request>,
}

impl Node {
    fn is_asking(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.life == self.life)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    nodes: [Node; 2],
    winners: BTreeMap<Generation, BTreeSet<usize>>,
    requests: u8,
    boots: u8,
    crashes: u8,
    elections: u8,
}

struct Switch;

impl State {
    fn standing(&self, at: usize) -> Standing {
        let node = &self.nodes[at];
        Standing {
            me: id(at),
            generation: node.generation,
            entered: node.generation,
            voters: NODES.map(id).into(),
            changing: false,
            settled: true,
            quorum_since_boot: node.quorum_since_boot,
        }
    }

    fn is_sole(&self, at: usize) -> bool {
        let generation = self.nodes[at].generation;
        let alone = self.nodes[1 - at].generation < generation;
        alone && self.winners.get(&generation).is_some_and(|winners| winners.contains(&at))
    }
}

impl World for Switch {
    type State = State;
    type Action = Action;

    fn name(&self) -> &'static str {
        "two nodes and a power switch"
    }

    fn initial(&self, _mutants: Mutants) -> State {
        let node = Node {
            is_on: true,
            life: 1,
            generation: Generation(1),
            quorum_since_boot: true,
            term: 0,
            leader: None,
            request: None,
        };
        let nodes = [node.clone(), node];
        State { nodes, winners: BTreeMap::new(), requests: 3, boots: 3, crashes: 1, elections: 3 }
    }

    fn enabled(&self, state: &State, mutants: Mutants) -> Vec<Action> {
        let mut actions = Vec::new();
        let part = |node: &Node| node.is_on && takes_part(node.is_asking(), mutants);
        let both = state.nodes.iter().all(part);
        if both && state.elections > 0 {
            actions.extend(NODES.map(Action::Meet));
        }
        for at in NODES {
            let (node, other) = (&state.nodes[at], &state.nodes[1 - at]);
            let one = (node.generation, node.term) == (other.generation, other.term);
            if both && one && node.leader.is_none() && other.leader == Some(1 - at) {
                actions.push(Action::Follow(at));
            }
            // What it names the other one by is not whether it was in a quorum.
            let stands = state.standing(at).may_ask(Arbiter::Disk, mutants).is_ok() && !state.is_sole(at);
            let leader = node.leader.map(id);
            if node.is_on && stands && !node.is_asking() && may_hand_over(leader, id(1 - at), mutants) {
                actions.push(Action::HandOver(at));
            }
            if node.is_on {
                let may = state.standing(at).may_ask(Arbiter::Fence, mutants).is_ok();
                if may && !state.is_sole(at) && node.request.is_none() && state.requests > 0 {
                    actions.push(Action::Ask(at));
                }
                if state.crashes > 0 {
                    actions.push(Action::Crash(at));
                }
            } else if state.boots > 0 {
                actions.push(Action::Boot(at));
            }
            match &node.request {
                Some(request) if request.done && node.is_on => actions.push(Action::Answer(at)),
                Some(request) if !request.done => actions.push(Action::Off(at)),
                _ => {}
            }
        }
        actions
    }

    fn take(&self, mut state: State, action: Action, mutants: Mutants) -> State {
        match action {
            Action::Meet(elected) => {
                state.elections -= 1;
                let newest = state.nodes.iter().map(|node| node.generation).max().unwrap();
                let term = state.nodes.iter().map(|node| node.term).max().unwrap() + 1;
                for (at, node) in state.nodes.iter_mut().enumerate() {
                    (node.generation, node.quorum_since_boot) = (newest, true);
                    (node.term, node.leader) = (term, (at == elected).then_some(at));
                }
            }
            Action::Follow(at) => state.nodes[at].leader = Some(1 - at),
            Action::HandOver(at) => {
                let node = &mut state.nodes[at];
                (node.generation, node.leader) = (node.generation.next(), None);
                let generation = node.generation;
                state.winners.entry(generation).or_default().insert(1 - at);
            }
            Action::Ask(at) => {
                state.requests -= 1;
                let Node { life, generation, .. } = state.nodes[at];
                state.nodes[at].request = Some(Request { life, generation, done: false });
            }
            Action::Off(at) => {
                state.nodes[1 - at].is_on = false;
                state.nodes[at].request.as_mut().unwrap().done = true;
            }
            Action::Answer(at) => {
                let request = state.nodes[at].request.take().unwrap();
                let decides = fence_decides(request.life, state.nodes[at].life, true, mutants);
                let won =
                    Some(request.generation.next()).filter(|next| *next == state.nodes[at].generation.next());
                if let Some(generation) = won.filter(|_| decides) {
                    state.nodes[at].generation = generation;
                    state.winners.entry(generation).or_default().insert(at);
                }
            }
            Action::Crash(at) => {
                state.crashes -= 1;
                state.nodes[at].is_on = false;
            }
            Action::Boot(at) => {
                state.boots -= 1;
                let node = &mut state.nodes[at];
                (node.is_on, node.life, node.quorum_since_boot) = (true, node.life + 1, false);
                node.leader = None;
            }
        }
        state
    }

    fn wrong(&self, state: &State) -> Option<String> {
        let twice = state.winners.iter().find(|(_, winners)| winners.len() > 1);
        twice.map(|(generation, _)| format!("two winners of generation {generation}"))
    }

    fn sights(&self, state: &State) -> Vec<&'static str> {
        let won = |node| state.winners.values().any(|winners| winners.contains(&node));
        let off = state.nodes.iter().all(|node| !node.is_on);
        let seen =
            [(won(0), "A won"), (won(1), "B won"), (off, "both off"), (state.winners.len() > 1, "twice")];
        seen.into_iter().filter(|(seen, _)| *seen).map(|(_, what)| what).collect()
    }
}

#[test]
fn a15_two_nodes_and_a_power_switch() {
    shows(&Switch, &["A won", "B won", "both off", "twice"], SHOWN[0]);
}
