//! Breadth-first search over everything that may happen. The first way to something wrong that it finds is a shortest.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use regent_arbiter::mutants::{Condition, Mutants};

/// What is searched.
pub(crate) trait World {
    type State: Hash + Clone;
    type Action: Debug + Copy;

    fn name(&self) -> &'static str;
    fn initial(&self, mutants: Mutants) -> Self::State;
    fn enabled(&self, state: &Self::State, mutants: Mutants) -> Vec<Self::Action>;
    fn take(&self, state: Self::State, action: Self::Action, mutants: Mutants) -> Self::State;
    /// What is wrong, if anything.
    fn wrong(&self, state: &Self::State) -> Option<String>;
    /// What is to be seen in it: a world in which too little happens shows nothing.
    fn sights(&self, state: &Self::State) -> Vec<&'static str>;
}

pub(crate) struct Found<A> {
    pub(crate) states: usize,
    pub(crate) sights: BTreeSet<&'static str>,
    pub(crate) wrong: Option<(String, Vec<A>)>,
}

fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Visits every state of the world, or as many as it takes to find something wrong.
pub(crate) fn search<W: World>(world: &W, mutants: Mutants) -> Found<W::Action> {
    let first = world.initial(mutants);
    let mut seen: HashMap<u64, Option<(u64, W::Action)>> = HashMap::from([(fingerprint(&first), None)]);
    let mut frontier = VecDeque::from([first]);
    let mut found = Found { states: 0, sights: BTreeSet::new(), wrong: None };
    while let Some(state) = frontier.pop_front() {
        found.states += 1;
        found.sights.extend(world.sights(&state));
        let from = fingerprint(&state);
        if let Some(wrong) = world.wrong(&state) {
            let mut way = Vec::new();
            let mut at = from;
            while let Some(Some((from, action))) = seen.get(&at) {
                way.push(*action);
                at = *from;
            }
            way.reverse();
            found.wrong = Some((wrong, way));
            return found;
        }
        for action in world.enabled(&state, mutants) {
            let next = world.take(state.clone(), action, mutants);
            seen.entry(fingerprint(&next)).or_insert_with(|| {
                frontier.push_back(next);
                Some((from, action))
            });
        }
    }
    found
}

/// Shows that nothing goes wrong in the world, that all of `sights` are seen in it, and that each of `needed` is missed.
pub(crate) fn shows<W: World>(world: &W, sights: &[&'static str], needed: &[Condition]) {
    let (name, begun) = (world.name(), Instant::now());
    let found = search(world, Mutants::none());
    println!("{name}: {} states in {:?}, seen: {:?}", found.states, begun.elapsed(), found.sights);
    assert!(found.wrong.is_none(), "{name}: {:#?}", found.wrong);
    assert!(sights.iter().all(|sight| found.sights.contains(sight)), "{name}: only {:?}", found.sights);
    for condition in needed {
        let found = search(world, Mutants::without(*condition));
        let Some((wrong, way)) = found.wrong else { panic!("{name}: nobody misses {condition:?}") };
        println!("without {condition:?}: {wrong} after");
        way.iter().for_each(|action| println!("    {action:?}"));
    }
}
