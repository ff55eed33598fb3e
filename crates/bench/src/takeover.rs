//! The measurement: every row, every fault, every run.

use std::time::Instant;

use serde_json::Value;

use crate::contestant::missing;
use crate::faults::{Fault, Outcome};
use crate::figures::{Cell, Figures, told};
use crate::options::Options;
use crate::rows::{self, Row};
use crate::stand::Stand;
use crate::steps::{Step, Usual, usual};
use crate::{Result, interrupt, report, weight};

/// What is measured is a little more important than what else runs on the machine; its daemons set their own
/// real-time priorities above that.
const NICE: i32 = -10;
/// How often a lab is built anew within one row before the row is given up.
const REBUILDS: usize = 5;

/// A row that was measured.
pub(crate) struct Measured {
    /// Its name.
    pub(crate) name: String,
    /// Every figure.
    pub(crate) figures: Figures,
    /// What the journal says, by fault.
    pub(crate) steps: Vec<(Fault, Vec<Usual>)>,
    /// Remarks.
    pub(crate) notes: Vec<String>,
    /// Version and settings.
    pub(crate) about: Value,
    /// The machine that it was measured on.
    pub(crate) machine: String,
    /// Its load, before and after.
    pub(crate) load: [f64; 2],
    /// What is not installed that the row needs.
    pub(crate) missing: Vec<String>,
    /// Why the row is not complete, if it is not.
    pub(crate) failed: Option<String>,
}

/// Measures what is wanted and prints it.
///
/// # Errors
/// When nothing can be measured on this machine. A row that fails says so in the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted: Vec<Row> = rows::all().into_iter().filter(|r| options.wants(&r.name)).collect();
    if options.list {
        wanted.iter().for_each(|row| println!("{}", row.name));
        return Ok(());
    }
    if wanted.is_empty() {
        return Err("no row has such a name; --list shows them".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("the lab needs root: try sudo".into());
    }
    interrupt::watch()?;
    rustix::process::setpriority_process(None, NICE)?;
    if !weight::take() {
        eprintln!("no control group for the processor's share: other work disturbs the figures more");
    }
    let done = every_row(&wanted, options);
    weight::leave();
    done
}

fn every_row(wanted: &[Row], options: &Options) -> Result<()> {
    let began = Instant::now();
    let mut measured: Vec<Measured> = Vec::new();
    for row in wanted {
        measured.push(measure(row, options, began));
        // After every row: who breaks off keeps what was measured.
        if let Some(file) = &options.json {
            let text = serde_json::to_string_pretty(&report::value(&measured))?;
            std::fs::write(file, text + "\n").map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        }
    }
    print!("{}", report::text(&measured));
    match measured.iter().filter(|m| m.failed.is_some()).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} rows are not complete", measured.len()).into()),
    }
}

fn say(began: Instant, row: &str, words: &str) {
    eprintln!("{:7.1} s  {row:28} {words}", began.elapsed().as_secs_f64());
}

fn measure(row: &Row, options: &Options, began: Instant) -> Measured {
    let mut measured = Measured {
        name: row.name.clone(),
        figures: Figures::new(),
        steps: Vec::new(),
        notes: Vec::new(),
        about: Value::Null,
        machine: report::machine(),
        load: [report::load(); 2],
        missing: missing(row.contestant.programs()),
        failed: None,
    };
    if !measured.missing.is_empty() {
        say(began, &row.name, &format!("left out: {} not installed", measured.missing.join(", ")));
        return measured;
    }
    let done = every_fault(row, options, &mut measured, |words| say(began, &row.name, words));
    if let Err(why) = done {
        say(began, &row.name, &format!("given up: {why}"));
        measured.failed = Some(why.to_string());
    }
    measured.load[1] = report::load();
    measured
}

fn every_fault(row: &Row, options: &Options, measured: &mut Measured, tell: impl Fn(&str)) -> Result<()> {
    tell("building the lab");
    let mut stand = Stand::up(row.contestant.as_ref())?;
    measured.about = row.contestant.about(&stand.lab);
    let mut rebuilds = 0;
    for fault in options.faults.iter().copied().filter(|f| f.applies(&stand, row.kind)).collect::<Vec<_>>() {
        let runs = if fault == Fault::Idle { 1 } else { options.runs };
        let mut told_steps: Vec<Vec<Step>> = Vec::new();
        for run in 1..=runs {
            let outcome = fault.make(&stand, options.quick).unwrap_or_else(|why| Outcome {
                note: why.to_string(),
                broken: true,
                ..Outcome::default()
            });
            tell(&format!("{} {run}/{runs}: {}", fault.name(), words(&outcome)));
            for (cell, value) in &outcome.cells {
                measured.figures.entry(*cell).or_default().push(*value);
            }
            if !outcome.note.is_empty() {
                measured.notes.push(format!("{}: {}", fault.name(), outcome.note));
            }
            if !outcome.steps.is_empty() {
                told_steps.push(outcome.steps);
            }
            if outcome.broken {
                rebuilds += 1;
                if rebuilds > REBUILDS {
                    return Err(
                        format!("{} leaves a cluster that does not come to rest", fault.name()).into()
                    );
                }
                tell("building the lab anew");
                drop(stand);
                stand = Stand::up(row.contestant.as_ref())?;
            }
        }
        if !told_steps.is_empty() {
            measured.steps.push((fault, usual(&told_steps)));
        }
    }
    Ok(())
}

fn words(outcome: &Outcome) -> String {
    let figure = |(cell, value): &(Cell, f64)| {
        let (name, unit) = cell.words();
        format!("{name} {} {unit}", told(&[*value])).trim_end().to_owned()
    };
    let mut words: Vec<String> = outcome.cells.iter().map(figure).collect();
    if !outcome.note.is_empty() {
        words.push(outcome.note.clone());
    }
    words.join(", ")
}
