//! A person's word instead of the arbiter's: two nodes that are turned off and on, a network that is cut, a disk that is hidden
//! from either, and people who say at either node that the other one is off. They say so only when it is, and turn it on again
//! while the other goes on by their word only where the two hear each other, or the disk knows.
//!
//! The disk is one that decides at once (which the model of the register shows).

use std::collections::BTreeMap;

use regent_arbiter::mutants::Condition::{self, *};
use regent_arbiter::mutants::Mutants;
use regent_arbiter::{Generation, Noted};
use regent_model::NodeId;

use crate::search::{World, shows};

pub(crate) const SHOWN: &[&[Condition]] = &[&[SoleVoterLooks, PartedGiveUp]];

const NODES: [usize; 2] = [0, 1];

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Off(usize),
    Boot(usize),
    Cut,
    Mend,
    Hide(usize),
    Show(usize),
    /// A node asks the disk for the generation after its own.
    Ask(usize),
    /// A sole voter looks whether it still is, or has the disk say so.
    Look(usize),
    Word(usize),
    /// A node goes on by a word, where the disk says nothing.
    WithoutDisk(usize),
    /// A node hears what the other one has noted.
    Hear(usize),
    /// The one that goes on takes the other one in.
    Join,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    is_on: bool,
    noted: Noted,
    /// Two vote, by its log.
    is_two: bool,
    /// Of this life: somebody gave his word, and that it may go on alone.
    word: bool,
    cleared: bool,
    /// Durable: the last generation in which it went on alone, and committed.
    went_on: Generation,
    /// It came up on the understanding that it hears the other one.
    must_hear: bool,
}

impl Node {
    fn is_sole(&self, at: usize) -> bool {
        !self.is_two && self.noted.winner == Some(id(at))
    }

    fn waits(&self, at: usize) -> bool {
        self.is_on && self.is_sole(at) && !self.cleared
    }

    fn goes_on(&self, at: usize) -> bool {
        self.is_on && self.is_sole(at) && self.cleared
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    nodes: [Node; 2],
    is_cut: bool,
    hidden: [bool; 2],
    /// The last generation that each has asked the disk for.
    asked: [Generation; 2],
    decided: BTreeMap<Generation, usize>,
    words: u8,
    boots: u8,
    cuts: u8,
    hides: u8,
    lost: bool,
    gave_up: bool,
    said: u64,
}

struct People {
    words: u8,
    boots: u8,
    cuts: u8,
    hides: u8,
}

impl State {
    fn together(&self) -> bool {
        !self.is_cut && self.nodes.iter().all(|node| node.is_on)
    }

    /// Whether a node goes on, or will, by a word of which the disk does not know.
    fn rests_on_a_word(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let unsaid = node.noted.word_ms > 0 && self.asked[at] < node.noted.generation;
        node.is_on && (node.word || unsaid && node.is_sole(at))
    }

    fn begin(&mut self, at: usize, passed: Generation) {
        let (mine, is_two) = (self.nodes[at].noted, self.nodes[at].is_two);
        let shared = if mine.winner == Some(id(at)) && !is_two { mine.shared } else { self.entered(at) };
        self.nodes[at].noted = mine.passed_by_word(passed, id(at), shared, self.said);
        self.nodes[at].is_two = false;
    }

    /// The last generation whose log this node has: of one that the other was named for, it has nothing yet.
    fn entered(&self, at: usize) -> Generation {
        let node = &self.nodes[at];
        if node.is_two || node.is_sole(at) { node.noted.generation } else { node.noted.shared }
    }

    fn clear(&mut self, at: usize) {
        self.nodes[at].cleared = true;
        self.nodes[at].went_on = self.nodes[at].noted.generation;
    }

    /// A sole voter asks the disk for its own generation.
    fn look(&mut self, at: usize) {
        let node = &self.nodes[at];
        let (own, theirs) = (node.noted.generation, self.asked[1 - at]);
        let lost = self.decided.get(&own).is_some_and(|winner| *winner != at);
        let parted = !node.cleared && !node.word && node.noted.shared < theirs && theirs < own;
        if theirs > own || lost {
            if node.word && !node.cleared {
                self.begin(at, theirs.max(own));
            }
        } else if !parted {
            self.decided.insert(own, at);
            self.asked[at] = own;
            self.clear(at);
        }
    }

    fn hear(&mut self, at: usize, mutants: Mutants) {
        let alone = NODES.map(|at| self.nodes[at].goes_on(at));
        let theirs = self.nodes[1 - at].noted;
        let mine = self.nodes[at].noted;
        self.nodes[at].must_hear = false;
        if theirs == mine {
            if self.nodes[at].waits(at) {
                self.clear(at);
            }
            return;
        }
        let parts = mine.parts_from(theirs, mutants);
        let yields = mine.yields(alone[at], theirs, alone[1 - at], mutants);
        if yields || !parts && theirs.is_after(mine) {
            self.gave_up |= yields;
            let node = &mut self.nodes[at];
            // What it committed alone, and the other has not got, is under its hands unless it gives that up.
            self.lost |= !yields && theirs.winner != Some(id(at)) && node.went_on > theirs.shared;
            (node.noted, node.is_two, node.cleared, node.word) = (theirs, false, false, false);
            if yields {
                node.went_on = Generation(0);
            }
        }
    }
}

impl World for People {
    type State = State;
    type Action = Action;

    fn name(&self) -> &'static str {
        "two nodes and people"
    }

    fn initial(&self, _mutants: Mutants) -> State {
        let node = Node {
            is_on: true,
            noted: Noted::default(),
            is_two: true,
            word: false,
            cleared: false,
            went_on: Generation(0),
            must_hear: false,
        };
        State {
            nodes: [node.clone(), node],
            is_cut: false,
            hidden: [false; 2],
            asked: [Generation(0); 2],
            decided: BTreeMap::new(),
            words: self.words,
            boots: self.boots,
            cuts: self.cuts,
            hides: self.hides,
            lost: false,
            gave_up: false,
            said: 0,
        }
    }

    fn enabled(&self, state: &State, _mutants: Mutants) -> Vec<Action> {
        let mut actions = Vec::new();
        let due = state.nodes.iter().any(|node| node.must_hear);
        if state.is_cut {
            actions.push(Action::Mend);
        } else if state.cuts > 0 && !due {
            actions.push(Action::Cut);
        }
        let joins = |at: usize| {
            let other = &state.nodes[1 - at];
            state.nodes[at].goes_on(at) && other.noted == state.nodes[at].noted && !other.is_two
        };
        if state.together() && NODES.into_iter().any(joins) {
            actions.push(Action::Join);
        }
        for at in NODES {
            let (node, other) = (&state.nodes[at], &state.nodes[1 - at]);
            if state.hidden[at] {
                actions.push(Action::Show(at));
            } else if state.hides > 0 {
                actions.push(Action::Hide(at));
            }
            if !node.is_on {
                if state.boots > 0 && (!state.rests_on_a_word(1 - at) || !state.is_cut) {
                    actions.push(Action::Boot(at));
                }
                continue;
            }
            let silent = !other.is_on || state.is_cut;
            let entered = node.is_two || node.is_sole(at);
            let stands = node.is_two || node.waits(at) || !entered;
            let publishes = node.goes_on(at) && state.asked[at] < node.noted.generation;
            let may = [
                (!due, Action::Off(at)),
                (node.is_two && silent && !node.must_hear && !state.hidden[at], Action::Ask(at)),
                ((node.waits(at) && silent || publishes) && !state.hidden[at], Action::Look(at)),
                (!other.is_on && stands && !node.word && state.words > 0, Action::Word(at)),
                (node.word && node.waits(at) && state.hidden[at], Action::WithoutDisk(at)),
                (state.together(), Action::Hear(at)),
            ];
            actions.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, action)| action));
        }
        actions
    }

    fn take(&self, mut state: State, action: Action, mutants: Mutants) -> State {
        match action {
            Action::Off(at) => {
                let node = &mut state.nodes[at];
                (node.is_on, node.word, node.cleared) = (false, false, false);
            }
            Action::Boot(at) => {
                state.boots -= 1;
                state.nodes[at].is_on = true;
                state.nodes[at].must_hear = state.rests_on_a_word(1 - at);
                if mutants.off(SoleVoterLooks) && state.nodes[at].is_sole(at) {
                    state.clear(at);
                }
            }
            Action::Cut => {
                state.cuts -= 1;
                state.is_cut = true;
            }
            Action::Mend => state.is_cut = false,
            Action::Hide(at) => {
                state.hides -= 1;
                state.hidden[at] = true;
            }
            Action::Show(at) => state.hidden[at] = false,
            Action::Ask(at) => {
                let next = state.nodes[at].noted.generation.next();
                if state.asked[1 - at] <= next {
                    state.asked[at] = state.asked[at].max(next);
                    let winner = *state.decided.entry(next).or_insert(at);
                    let node = &mut state.nodes[at];
                    (node.noted, node.is_two) = (Noted::decided(next, id(winner)), false);
                    if winner == at {
                        state.clear(at);
                    }
                }
            }
            Action::Look(at) => state.look(at),
            Action::Word(at) => {
                state.words -= 1;
                state.said += 1;
                if !state.nodes[at].waits(at) {
                    state.begin(at, Generation(0));
                }
                state.nodes[at].word = true;
            }
            Action::WithoutDisk(at) => state.clear(at),
            Action::Hear(at) => state.hear(at, mutants),
            Action::Join => {
                for node in &mut state.nodes {
                    (node.is_two, node.word, node.cleared) = (true, false, false);
                    node.went_on = Generation(0);
                }
            }
        }
        state
    }

    fn wrong(&self, state: &State) -> Option<String> {
        if state.lost {
            return Some("what was committed is lost".into());
        }
        let both = NODES.into_iter().all(|at| state.nodes[at].goes_on(at));
        both.then(|| "both go on alone".into())
    }

    fn sights(&self, state: &State) -> Vec<&'static str> {
        let by_word = |at: usize| state.nodes[at].goes_on(at) && state.nodes[at].noted.word_ms > 0;
        let two = state.nodes.iter().all(|node| node.is_two && node.noted.word_ms > 0);
        let seen = [
            (by_word(0), "A by a word"),
            (by_word(1), "B by a word"),
            (state.gave_up, "one gave up"),
            (two, "joined again after a word"),
            (NODES.into_iter().any(|at| state.rests_on_a_word(at) && by_word(at)), "without the disk"),
        ];
        seen.into_iter().filter(|(seen, _)| *seen).map(|(_, what)| what).collect()
    }
}

#[test]
fn a16_a17_two_nodes_and_people() {
    let sights =
        ["A by a word", "B by a word", "one gave up", "joined again after a word", "without the disk"];
    shows(&People { words: 2, boots: 3, cuts: 1, hides: 1 }, &sights, SHOWN[0]);
}
