//! Many engines and guards in virtual time: one thread, one seed, every fault we could think of, and checkers that
//! judge every event.
//!
//! A run is a function of its seed: the cluster, the network, the disks, the clocks, the faults and the operator
//! all draw from one stream of numbers, and nothing reads a clock. What runs is the real thing wherever that is
//! possible: [`regent_engine::Engine`], [`regent_lease::Guard`] and [`regent_store::Store`] (on a virtual disk
//! that tears what was not synced); simulated are the machines under them (`machine`, `body`), the networks
//! (`net`), the agents' hands (`hands`, `guardian`), the fence devices (`power`, `array`), the operator (`operator`).
//!
//! - [`run`]: one seed, and what it showed.
//! - [`scenario`]: a story with its journal, for tests and for reading.
//! - [`hunts`]: every condition of the lease switched off, one at a time, until a run shows two owners.
//!
//! What goes wrong is chosen by chance (`faults`), told in stories that aim at one condition (`nemesis`, `stories`), or
//! waits for a word in a journal (`traps`). Which rare branches that reaches is counted (`marks`): 2000 seeds must
//! reach all.

mod area;
mod array;
mod body;
mod changes;
mod clients;
pub mod command;
mod commands;
mod daemon;
mod event;
mod faults;
mod guardian;
mod hands;
pub mod hunts;
mod instances;
mod judge;
mod machine;
mod marks;
mod members;
mod nemesis;
mod net;
mod operator;
mod pairs;
mod peace;
mod power;
mod put_back;
mod removals;
mod rng;
pub mod scenario;
mod shadow;
mod sim;
mod stillness;
mod stories;
mod time;
mod trace;
mod traps;
mod variant;
mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use judge::Violation;
pub use marks::Marks;
pub use nemesis::Plot;
pub use regent_arbiter::mutants::Condition as ArbiterCondition;
pub use regent_lease::mutants::Condition;
pub use variant::Variant;

use event::Event;
use rng::Rng;
use sim::Sim;
use time::{MS, S};
use trace::Trace;

/// What is to be run, beside the seed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The cluster; chosen by the seed if absent.
    pub variant: Option<Variant>,
    /// The condition that is switched off, to see whether that is noticed. Needs the feature `mutants`.
    pub mutant: Option<Condition>,
    /// The condition of the arbiter that is switched off; likewise.
    pub arbiter_mutant: Option<ArbiterCondition>,
    /// The only story of faults to be told, again and again; any fault if absent.
    pub plot: Option<Plot>,
    /// Whether only two owners are looked for: the run ends with the faults.
    pub hunts: bool,
    /// Whether to keep the whole trace in words.
    pub verbose: bool,
}

/// What a run showed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The cluster.
    pub variant: Variant,
    /// What went wrong; empty if nothing did.
    pub violations: Vec<Violation>,
    /// A hash of everything that happened: the same for the same seed and program.
    pub hash: u64,
    /// How often nodes that were connected were parted from each other.
    pub partitions: u64,
    /// The branches that were reached.
    pub marks: Marks,
    /// Virtual time that passed, in milliseconds.
    pub virtual_ms: u64,
    /// Events that happened.
    pub events: u64,
    /// The whole trace, if it was asked for.
    pub trace: Vec<String>,
}

impl Report {
    /// The command that shows this run again, in words.
    #[must_use]
    pub fn replay(&self, options: &Options) -> String {
        let variant = options.variant.map_or(String::new(), |v| format!(" --variant {v}"));
        let mutant = options.mutant.map_or(String::new(), |m| format!(" --mutant {m:?}"));
        let mutant =
            mutant + &options.arbiter_mutant.map_or(String::new(), |m| format!(" --arbiter-mutant {m:?}"));
        let plot = options.plot.map_or(String::new(), |p| format!(" --plot {p:?}"));
        let hunts = if options.hunts { " --hunt" } else { "" };
        format!("cargo xtask sim --seed {}{variant}{plot}{mutant}{hunts} --verbose", self.seed)
    }
}

/// Runs a seed: a cluster comes up, faults and commands come for a minute or two, then everything is put right
/// and must run. Ends at the first violation.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    let mut rng = Rng::new(seed.wrapping_mul(31).wrapping_add(7));
    let variant = options.variant.unwrap_or_else(|| Variant::of(seed, &mut rng));
    let mut sim = Sim::new(seed, variant, false, Trace::new(options.verbose, false));
    sim.mutant = options.mutant;
    sim.arbiter_mutant = options.arbiter_mutant;
    sim.only = options.plot;
    sim.judge.hunts = options.hunts;
    switch_off(options.mutant);
    let panicked = catch_unwind(AssertUnwindSafe(|| play(&mut sim, &mut rng)));
    if let Err(panic) = panicked {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        sim.judge.violated(sim.now, &mut sim.trace, format!("a panic: {text}"));
    }
    Report {
        seed,
        variant,
        violations: std::mem::take(&mut sim.judge.violations),
        hash: sim.trace.hash(),
        virtual_ms: sim.now / MS,
        events: sim.events,
        partitions: sim.partitions,
        marks: std::mem::take(&mut sim.marks),
        trace: std::mem::take(&mut sim.trace.lines),
    }
}

fn play(sim: &mut Sim, rng: &mut Rng) {
    for node in sim.nodes() {
        let at = rng.skewed(1, 2_000) * MS;
        sim.queue.put(at, Event::PowerOn(node));
    }
    // A long lease makes everything take longer.
    let lease = guardian::nanoseconds(sim.config.timers.lease);
    sim.queue.put(rng.between(1, 6) * S + 2 * lease, Event::ChooseFault);
    if sim.only.is_none() {
        sim.queue.put(rng.between(2, 8) * S, Event::Operate);
    }
    let faults = rng.between(30, 60) * S + 5 * lease;
    // They can join only once.
    let faults = if sim.judge.hunts && sim.config.witnesses.len() > 1 { 16 * S } else { faults };
    if sim.judge.hunts {
        sim.run_until(faults);
        return;
    }
    sim.queue.put(faults, Event::Peace);
    // Two nodes are parted once more when everything runs, and must run again.
    let peaces = if sim.variant_is_pair() { 8 } else { 2 };
    sim.run_until(faults + peaces * sim.peace_max());
}

#[cfg(feature = "mutants")]
fn switch_off(condition: Option<Condition>) {
    regent_model::mutants::switch_off(condition);
}

#[cfg(not(feature = "mutants"))]
const fn switch_off(_condition: Option<Condition>) {}
