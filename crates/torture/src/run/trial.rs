//! Every rule that a plan is aimed at: kept, the plan shows nothing; left off, the oracles see two owners.

use std::time::Instant;

use super::{Script, run_script};
use crate::Result;
use crate::options::Options;
use crate::report::Report;
use crate::sabotage::{RULES, Rule};

/// What came of a rule.
struct Tried {
    rule: Rule,
    /// Whether nothing was seen while it was kept; nothing where that was not tried.
    held: Option<bool>,
    /// Who saw that it was left off, and how often.
    seen: Vec<String>,
    well: bool,
    seconds: f64,
}

/// Tries all of them, or the quick ones, and prints the table. Whether each came out as it must.
///
/// # Errors
/// What kept one from running.
pub(super) fn all(options: &Options, quick: bool) -> Result<bool> {
    let mut table = Vec::new();
    for rule in RULES.into_iter().filter(|r| r.quick || !quick) {
        table.push(one(rule, options, quick).map_err(|why| format!("{}: {why}", rule.name))?);
    }
    println!(
        "\n{:<22} {:>4}  {:<8} {:<32} {:>6}",
        "rule or condition", "of", "kept", "left off, seen by", "s"
    );
    for tried in &table {
        let held = tried.held.map_or("-", |held| if held { "holds" } else { "BROKEN" });
        let seen = if tried.seen.is_empty() { "NOBODY".to_owned() } else { tried.seen.join(", ") };
        println!("{:<22} {:>4}  {held:<8} {seen:<32} {:>6.0}", tried.rule.name, tried.rule.of, tried.seconds);
    }
    Ok(table.iter().all(|tried| tried.well))
}

fn one(rule: Rule, options: &Options, quick: bool) -> Result<Tried> {
    let held = if quick { None } else { Some(play(rule, true, options)?.0) };
    let mut began = Instant::now();
    let (mut seen_well, mut report) = play(rule, false, options)?;
    for _ in 1..rule.tries {
        if seen_well {
            break;
        }
        println!("{}: once more, for who is elected is left to chance", rule.name);
        began = Instant::now();
        (seen_well, report) = play(rule, false, options)?;
    }
    let mut seen: Vec<String> = report
        .violations
        .iter()
        .filter(|v| rule.seen_by.contains(&v.oracle))
        .map(|v| format!("{:?}", v.oracle).to_lowercase())
        .collect();
    seen.sort();
    seen.dedup();
    let well = seen_well && held != Some(false);
    Ok(Tried { rule, held, seen, well, seconds: began.elapsed().as_secs_f64() })
}

fn play(rule: Rule, kept: bool, options: &Options) -> Result<(bool, Report)> {
    run_script(Script { plan: rule.plan(kept)?, replayed: true }, options)
}
