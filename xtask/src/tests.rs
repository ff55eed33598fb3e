//! The demo, the tests and the simulator.

use crate::needs;
use crate::run::{cargo, step, target};
use crate::{deny, tidy};

/// How many seeds of the simulator CI runs before anything slow: a minute on two cores. So many must reach every
/// coverage mark.
const SEEDS_FIRST: &str = "2000";

/// The rest of 20,000: played last, because it takes ten minutes. Not beside the lab: where both processors are busy, the
/// kernel takes its time to tear a namespace down, and fast takeovers wait for it.
const SEEDS_LAST: [&str; 4] = ["--from", "2001", "--seeds", "18000"];

/// The whole story, on this machine.
///
/// # Errors
/// When something of it fails, or an acknowledged write is missing at its end.
pub(crate) fn demo() -> Result<(), String> {
    needs::install(&needs::DEMO)?;
    build()?;
    let regent = target().join("debug/regent");
    step("the demo", &regent.to_string_lossy(), &["lab", "demo"])
}

fn build() -> Result<(), String> {
    // Not quiet: who waits for minutes wants to see how far it is.
    let args = ["build", "--workspace", "--bins"];
    step("building (some minutes the first time)", &cargo(), &args)
}

/// Everything that CI checks.
///
/// # Errors
/// When something of it fails.
pub(crate) fn all(quick: bool) -> Result<(), String> {
    needs::install(&needs::TESTS)?;
    if !quick {
        needs::install_if_possible(&needs::FENCING, "fencing over IPMI");
    }
    println!("\n== the rules of the house");
    tidy::check()?;
    println!("\n== dependencies");
    deny::check()?;
    let cargo = cargo();
    step("format", &cargo, &["fmt", "--all", "--check"])?;
    step("lints", &cargo, &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    build()?;
    let pure = ["test", "--quiet", "--workspace", "--exclude", "regent-cli"];
    step("tests of every crate", &cargo, &pure)?;
    step(
        "tests of the command line",
        &cargo,
        &["test", "--quiet", "-p", "regent-cli", "--lib", "--bins", "--test", "verify"],
    )?;
    if quick {
        return Ok(());
    }
    simulate(&["--seeds", SEEDS_FIRST])?;
    // The checkers must be able to fail: with a condition switched off they do.
    simulate(&["--mutants", "--seeds", "60"])?;
    // One lab at a time: they measure, and there are two cores.
    let lab = ["test", "-p", "regent-cli", "--test", "lab", "--", "--test-threads", "1"];
    step("whole clusters in the lab, with real services", &cargo, &lab)?;
    let hacmp = ["test", "-p", "regent-cli", "--test", "hacmp", "--", "--test-threads", "1"];
    step("the HACMP guide's four configurations, with real services", &cargo, &hacmp)?;
    let cache = ["test", "-p", "regent-cli", "--test", "cache", "--", "--test-threads", "1"];
    step("the Caché guide's clusters, on GT.M", &cargo, &cache)?;
    short_torture()?;
    simulate(&SEEDS_LAST)
}

/// Torture: real daemons, random faults, oracles.
///
/// # Errors
/// When an oracle sees a violation; what replays it is printed.
pub(crate) fn torture(args: &[&str]) -> Result<(), String> {
    needs::install(&needs::TESTS)?;
    build()?;
    let torture = target().join("debug/regent-torture");
    step("torture", &torture.to_string_lossy(), args)
}

/// A short run, and whether the oracles see what comes of a rule that is left off.
fn short_torture() -> Result<(), String> {
    let torture = target().join("debug/regent-torture");
    let torture = torture.to_string_lossy();
    for plan in ["short", "pair"] {
        let plan = format!("crates/torture/plans/{plan}");
        step(&format!("torture, a short plan ({plan})"), &torture, &["--replay", &plan])?;
    }
    step("torture with a rule left off, which must be seen", &torture, &["--sabotages", "--quick"])
}

/// The simulator.
///
/// # Errors
/// When a seed shows a violation; its replay command is printed.
pub(crate) fn simulate(args: &[&str]) -> Result<(), String> {
    let mut all =
        vec!["run", "--quiet", "--profile", "sim", "-p", "regent-sim", "--features", "mutants", "--"];
    all.extend(args);
    step("the simulator", &cargo(), &all)
}
