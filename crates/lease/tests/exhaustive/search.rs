//! Breadth-first search over everything that may happen. The first way to two owners that it finds is a shortest.

use std::collections::{HashMap, VecDeque};

use regent_lease::mutants::Mutants;

use crate::actions::{Action, Actions};
use crate::state::{State, fingerprint};
use crate::world::World;

/// What a search found.
pub(crate) struct Found {
    pub(crate) states: usize,
    /// In how many of them A holds a group, and in how many B was given one: a world without either shows nothing.
    pub(crate) held: usize,
    pub(crate) taken_over: usize,
    /// In how many of them A was removed.
    pub(crate) removed: usize,
    /// The actions that led to two owners, if anything does.
    pub(crate) two_owners: Option<Vec<Action>>,
}

/// Where a state was reached from, by its fingerprint.
type Seen = HashMap<u64, Option<(u64, Action)>>;

/// Visits every state of the world, or as many as it takes to find two owners.
pub(crate) fn search(world: &World, mutants: Mutants) -> Found {
    let actions = Actions { world, mutants };
    let mut seen: Seen = HashMap::new();
    let mut frontier = VecDeque::new();
    let mut found = Found { states: 0, held: 0, taken_over: 0, removed: 0, two_owners: None };
    for rates in 0..world.rates.len() {
        let state = State::initial(world, mutants, rates);
        seen.insert(fingerprint(&state), None);
        frontier.push_back(state);
    }
    while let Some(state) = frontier.pop_front() {
        found.states += 1;
        found.held += usize::from(state.a_holds());
        found.taken_over += usize::from(state.b_was_given_any());
        found.removed += usize::from(state.agreed().removed);
        let from = fingerprint(&state);
        if state.owned_twice(world, mutants).is_some() {
            found.two_owners = Some(way_to(&seen, from));
            return found;
        }
        for action in actions.enabled(&state) {
            let next = actions.take(&state, &action);
            seen.entry(fingerprint(&next)).or_insert_with(|| {
                frontier.push_back(next);
                Some((from, action))
            });
        }
    }
    found
}

fn way_to(seen: &Seen, last: u64) -> Vec<Action> {
    let mut way = Vec::new();
    let mut at = last;
    while let Some(Some((from, action))) = seen.get(&at) {
        way.push(action.clone());
        at = *from;
    }
    way.reverse();
    way
}
