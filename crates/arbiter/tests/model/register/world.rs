//! Two nodes, one disk, and what may happen to them.

use std::collections::{BTreeMap, BTreeSet};

use regent_arbiter::mutants::{Condition, Mutants};
use regent_arbiter::record::{AreaId, Look, Record};
use regent_arbiter::{Contest, Effect, Generation, Input, Outcome, Slot};
use regent_model::NodeId;

use crate::search::World;

const AREA: AreaId = AreaId([7; 16]);
/// More than there are lives in any world: no place is used twice.
const PLACES: usize = 4;
const NODES: [usize; 2] = [0, 1];

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// How often each node asks.
    pub(crate) contests: [u8; 2],
    /// A node loses what it has in memory.
    pub(crate) crashes: [u8; 2],
    /// What was being written then may land at any time after.
    pub(crate) late: u8,
    /// What was being written then is torn.
    pub(crate) torn: u8,
    /// A place becomes unreadable, in both copies.
    pub(crate) damages: u8,
    /// The area becomes what it was when it was made.
    pub(crate) restores: u8,
    /// A write may also fail, and its node lives on: its next life begins.
    pub(crate) fails: bool,
    /// The last generation that is asked for. A generation is asked for when the one before is decided, or again.
    pub(crate) generations: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            contests: [1, 1],
            crashes: [0, 0],
            late: 0,
            torn: 0,
            damages: 0,
            restores: 0,
            fails: false,
            generations: 2,
        }
    }
}

pub(crate) struct Disk {
    pub(crate) name: &'static str,
    pub(crate) budget: Budget,
}

impl World for Disk {
    type State = State;
    type Action = Action;

    fn name(&self) -> &'static str {
        self.name
    }

    fn initial(&self, _mutants: Mutants) -> State {
        State::initial(self)
    }

    fn enabled(&self, state: &State, _mutants: Mutants) -> Vec<Action> {
        state.enabled(self)
    }

    fn take(&self, state: State, action: Action, mutants: Mutants) -> State {
        state.take(action, mutants)
    }

    fn wrong(&self, state: &State) -> Option<String> {
        let twice = state.winners.iter().find(|(_, winners)| winners.len() > 1);
        twice.map(|(generation, _)| format!("two winners of generation {generation}"))
    }

    fn sights(&self, state: &State) -> Vec<&'static str> {
        let won = |node| state.winners.values().any(|winners| winners.contains(&node));
        let seen = [(won(0), "A won"), (won(1), "B won"), (state.damaged, "damage")];
        seen.into_iter().filter(|(seen, _)| *seen).map(|(_, what)| what).collect()
    }
}

/// What becomes of the copy that is being written when its node crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Torn,
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Ask(usize, Generation),
    /// The copy that a node writes is on the disk.
    Land(usize),
    /// A node reads both slots.
    Read(usize),
    Crash(usize, Fate),
    /// A node hears that what it writes failed.
    Fail(usize, Fate),
    LandsLate(Late),
    Damage(usize, usize),
    Restore,
}

/// A copy that a crashed node was writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Late {
    slot: usize,
    place: usize,
    copy: usize,
    record: Record,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Doing {
    Nothing,
    Reading,
    Writing { record: Record, copy: usize },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    life: u64,
    sequence: u64,
    /// Durable.
    remembered: (u64, u64),
    contest: Option<Contest>,
    doing: Doing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    slots: [Slot; 2],
    late: BTreeSet<Late>,
    nodes: [Node; 2],
    /// Whether a contest ended because of damage.
    damaged: bool,
    /// Who won, by what either was told.
    winners: BTreeMap<Generation, BTreeSet<usize>>,
    left: Budget,
}

impl State {
    fn initial(world: &Disk) -> Self {
        let node = Node { life: 1, sequence: 0, remembered: (0, 0), contest: None, doing: Doing::Nothing };
        Self {
            slots: NODES.map(|node| Slot::formatted(AREA, id(node), PLACES)),
            late: BTreeSet::new(),
            nodes: [node.clone(), node],
            damaged: false,
            winners: BTreeMap::new(),
            left: world.budget,
        }
    }

    fn enabled(&self, world: &Disk) -> Vec<Action> {
        let mut actions: Vec<Action> = self.late.iter().copied().map(Action::LandsLate).collect();
        for at in NODES {
            let node = &self.nodes[at];
            match node.doing {
                Doing::Nothing if self.left.contests[at] > 0 => {
                    let last = self.winners.keys().next_back().map_or(1, |last| last.0);
                    let asked = 2..=world.budget.generations.min(last + 1);
                    actions.extend(asked.map(|generation| Action::Ask(at, Generation(generation))));
                }
                Doing::Nothing => {}
                Doing::Reading => actions.push(Action::Read(at)),
                Doing::Writing { .. } => actions.push(Action::Land(at)),
            }
            if self.left.crashes[at] > 0 && node.contest.is_some() {
                let writes = matches!(node.doing, Doing::Writing { .. });
                actions.extend((world.budget.late == 0).then_some(Action::Crash(at, Fate::Lost)));
                actions.extend((writes && self.left.torn > 0).then_some(Action::Crash(at, Fate::Torn)));
                actions.extend((writes && self.left.late > 0).then_some(Action::Crash(at, Fate::Late)));
                if world.budget.fails && writes {
                    actions.push(Action::Fail(at, Fate::Lost));
                    actions.extend((self.left.torn > 0).then_some(Action::Fail(at, Fate::Torn)));
                    actions.extend((self.left.late > 0).then_some(Action::Fail(at, Fate::Late)));
                }
            }
            if self.left.damages > 0 {
                actions.extend((0..PLACES).map(|place| Action::Damage(at, place)));
            }
        }
        // A node that never wrote anything has nothing to miss.
        let have_written = self.nodes.iter().all(|node| node.remembered > (0, 0));
        let idle = self.nodes.iter().all(|node| node.doing == Doing::Nothing);
        actions.extend((self.left.restores > 0 && have_written && idle).then_some(Action::Restore));
        actions
    }

    fn take(mut self, action: Action, mutants: Mutants) -> Self {
        match action {
            Action::Ask(at, generation) => {
                self.left.contests[at] -= 1;
                let node = &self.nodes[at];
                let written = (node.life, node.sequence);
                let (contest, effect) =
                    Contest::new(AREA, id(at), id(1 - at), generation, written, node.remembered);
                self.nodes[at].contest = Some(contest.with_mutants(mutants));
                self.carry_out(at, Some(effect));
            }
            Action::Land(at) => self.land(at, mutants),
            Action::Read(at) => {
                let input = Input::Slots { own: self.slots[at].clone(), other: self.slots[1 - at].clone() };
                self.step(at, input);
            }
            Action::Crash(at, fate) => self.crash(at, fate, mutants),
            Action::Fail(at, fate) => {
                let contest = self.nodes[at].contest.clone();
                self.crash(at, fate, mutants);
                let effect = contest.and_then(|mut contest| contest.step(Input::WriteFailed));
                self.carry_out(at, effect);
            }
            Action::LandsLate(late) => {
                self.late.remove(&late);
                self.slots[late.slot].places[late.place][late.copy] = Look::Whole(late.record);
            }
            Action::Damage(at, place) => {
                self.left.damages -= 1;
                self.slots[at].places[place] = [Look::Unreadable; 2];
            }
            Action::Restore => {
                self.left.restores -= 1;
                self.slots = NODES.map(|node| Slot::formatted(AREA, id(node), PLACES));
            }
        }
        self
    }

    fn place(&self, at: usize, mutants: Mutants) -> usize {
        if mutants.off(Condition::OwnPlace) { 0 } else { self.nodes[at].life as usize % PLACES }
    }

    /// The copy is on the disk: the next one follows, and after the last the contest goes on.
    fn land(&mut self, at: usize, mutants: Mutants) {
        let Doing::Writing { record, copy } = self.nodes[at].doing else { return };
        let place = self.place(at, mutants);
        self.slots[at].places[place][copy] = Look::Whole(record);
        if copy == 0 {
            self.nodes[at].doing = Doing::Writing { record, copy: 1 };
            return;
        }
        self.nodes[at].remembered = record.written();
        self.nodes[at].sequence = record.sequence;
        self.step(at, Input::Written);
    }

    fn crash(&mut self, at: usize, fate: Fate, mutants: Mutants) {
        self.left.crashes[at] -= 1;
        if let Doing::Writing { record, copy } = self.nodes[at].doing {
            let place = self.place(at, mutants);
            match fate {
                Fate::Lost => {}
                Fate::Torn => {
                    self.left.torn -= 1;
                    self.slots[at].places[place][copy] = Look::Unreadable;
                }
                Fate::Late => {
                    self.left.late -= 1;
                    self.late.insert(Late { slot: at, place, copy, record });
                }
            }
        }
        let node = &mut self.nodes[at];
        (node.life, node.sequence, node.contest, node.doing) = (node.life + 1, 0, None, Doing::Nothing);
    }

    fn step(&mut self, at: usize, input: Input) {
        let effect = self.nodes[at].contest.as_mut().and_then(|contest| contest.step(input));
        self.carry_out(at, effect);
    }

    fn carry_out(&mut self, at: usize, effect: Option<Effect>) {
        self.nodes[at].doing = match effect {
            Some(Effect::Read) => Doing::Reading,
            Some(Effect::Write(record)) => Doing::Writing { record, copy: 0 },
            Some(Effect::Over(outcome)) => {
                self.nodes[at].contest = None;
                let winner = match outcome {
                    Outcome::Won(generation) => Some((generation, at)),
                    Outcome::Lost(generation) => Some((generation, 1 - at)),
                    _ => None,
                };
                if let Some((generation, winner)) = winner {
                    self.winners.entry(generation).or_default().insert(winner);
                }
                self.damaged |= outcome == Outcome::Damaged;
                Doing::Nothing
            }
            None => Doing::Nothing,
        };
    }
}
