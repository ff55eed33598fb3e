//! The command line: seeds spread over the cores, rates, violations with their replay commands.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use crate::hunts::hunt;
use crate::scenario::Scenario;
use crate::{ArbiterCondition, Condition, Marks, Options, Plot, Report, Variant, run};

const USAGE: &str =
    "regent-sim [--seeds N] [--from K] [--variant NAME] [--plot NAME] [--mutant CONDITION] [--arbiter-mutant CONDITION] [--marks]
regent-sim --seed K [--variant NAME] [--plot NAME] [--mutant CONDITION] [--hunt] [--verbose]
regent-sim --mutants [--seeds N]
regent-sim --scenario FILE";

/// So many seeds reach every mark, or there is a hole in the faults.
const SEEDS_FOR_ALL_MARKS: u64 = 2_000;

/// How many violations are shown before the rest is only counted.
const SHOWN_MAX: usize = 8;

#[derive(Debug, Default)]
struct Wanted {
    seeds: Option<u64>,
    from: u64,
    seed: Option<u64>,
    mutants: bool,
    marks: bool,
    scenario: Option<String>,
    options: Options,
}

fn read(args: Vec<String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { from: 1, ..Wanted::default() };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n{USAGE}"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}\n{USAGE}"));
        match arg.as_str() {
            "--seeds" => wanted.seeds = Some(number(value()?)?),
            "--from" => wanted.from = number(value()?)?,
            "--seed" => wanted.seed = Some(number(value()?)?),
            "--verbose" => wanted.options.verbose = true,
            "--mutants" => wanted.mutants = true,
            "--hunt" => wanted.options.hunts = true,
            "--marks" => wanted.marks = true,
            "--scenario" => wanted.scenario = Some(value()?),
            "--variant" => {
                let name = value()?;
                let names: Vec<&str> = Variant::ALL.iter().map(|v| v.name()).collect();
                let known = Variant::named(&name);
                wanted.options.variant =
                    Some(known.ok_or_else(|| format!("{name} is none of {}", names.join(", ")))?);
            }
            "--plot" => {
                let name = value()?;
                let known = Plot::ALL.into_iter().find(|p| format!("{p:?}") == name);
                wanted.options.plot =
                    Some(known.ok_or_else(|| format!("{name} is none of {:?}", Plot::ALL))?);
            }
            "--mutant" => {
                let name = value()?;
                let known = Condition::ALL.into_iter().find(|m| format!("{m:?}") == name);
                let names = Condition::ALL;
                wanted.options.mutant = Some(known.ok_or_else(|| format!("{name} is none of {names:?}"))?);
            }
            "--arbiter-mutant" => {
                let name = value()?;
                let known = ArbiterCondition::ALL.into_iter().find(|m| format!("{m:?}") == name);
                let names = ArbiterCondition::ALL;
                wanted.options.arbiter_mutant =
                    Some(known.ok_or_else(|| format!("{name} is none of {names:?}"))?);
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    let switches = wanted.options.mutant.is_some() || wanted.options.arbiter_mutant.is_some();
    if (switches || wanted.mutants) && !cfg!(feature = "mutants") {
        return Err("this build has nothing to switch off: build with --features mutants".into());
    }
    Ok(wanted)
}

/// Does what the arguments say; whether everything was found in order. How far it is goes to `progress`, a terminal.
///
/// # Errors
/// The usage, when the arguments are wrong; or that nobody reads the output.
pub fn main(
    args: Vec<String>,
    out: &mut impl Write,
    progress: Option<&mut dyn Write>,
) -> Result<bool, String> {
    let wanted = read(args)?;
    if let Some(file) = wanted.scenario {
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
        let lines = Scenario::read(&text)?.play()?;
        return out.write_all((lines.join("\n") + "\n").as_bytes()).map(|()| true).map_err(|e| e.to_string());
    }
    // A panic of an engine is a violation of its seed: it is shown there, with the place it came from.
    if let Some(seed) = wanted.seed {
        return one(seed, &wanted.options, out).map_err(|e| e.to_string());
    }
    std::panic::set_hook(Box::new(|_| {}));
    if wanted.mutants {
        return hunt(wanted.seeds.unwrap_or(60), out).map_err(|e| e.to_string());
    }
    many(&wanted, out, progress).map_err(|e| e.to_string())
}

fn one(seed: u64, options: &Options, out: &mut impl Write) -> std::io::Result<bool> {
    let report = run(seed, options);
    for line in &report.trace {
        writeln!(out, "{line}")?;
    }
    show(&report, options, out)?;
    let (ms, events) = (report.virtual_ms, report.events);
    writeln!(
        out,
        "seed {seed}, {}: {ms} virtual ms, {events} events, hash {:016x}",
        report.variant, report.hash
    )?;
    Ok(report.violations.is_empty())
}

fn show(report: &Report, options: &Options, out: &mut impl Write) -> std::io::Result<()> {
    for violation in &report.violations {
        writeln!(out, "seed {} ({}): {violation}", report.seed, report.variant)?;
        writeln!(out, "    {}", report.replay(options))?;
    }
    Ok(())
}

/// Runs seeds from `from` on over all cores; gives the reports to `take` as they come, until it wants no more.
fn spread(from: u64, count: u64, options: &Options, mut take: impl FnMut(Report) -> bool) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (sender, reports) = mpsc::sync_channel(64);
        for _ in 0..cores {
            let sender = sender.clone();
            let next = &next;
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count || sender.send(run(from + at, options)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for report in reports {
            if !take(report) {
                next.store(count, Ordering::Relaxed);
                break;
            }
        }
    });
}

fn many(
    wanted: &Wanted,
    out: &mut impl Write,
    mut progress: Option<&mut dyn Write>,
) -> std::io::Result<bool> {
    let began = Instant::now();
    let count = wanted.seeds.unwrap_or(200);
    let (mut marks, mut virtual_ms, mut events, mut runs) = (Marks::default(), 0, 0, 0_u64);
    let (mut partitions, mut hash) = (0, 0_u64);
    let mut bad = Vec::new();
    spread(wanted.from, count, &wanted.options, |report| {
        marks.add(&report.marks);
        virtual_ms += report.virtual_ms;
        events += report.events;
        partitions += report.partitions;
        // In whatever order they come.
        hash = hash.wrapping_add(report.hash.rotate_left((report.seed % 64) as u32));
        runs += 1;
        if !report.violations.is_empty() {
            bad.push(report);
        }
        if let Some(progress) = progress.as_mut().filter(|_| runs % 50 == 0 || runs == count) {
            // Only for the eye: whether it is written does not matter.
            let _written = write!(progress, "\r{runs} of {count} seeds, {} with violations ", bad.len());
            let _written = if runs == count { writeln!(progress) } else { progress.flush() };
        }
        true
    });
    bad.sort_by_key(|report| report.seed);
    for report in bad.iter().take(SHOWN_MAX) {
        show(report, &wanted.options, out)?;
    }
    if bad.len() > SHOWN_MAX {
        let seeds: Vec<String> = bad.iter().map(|r| r.seed.to_string()).collect();
        writeln!(out, "{} seeds with violations: {}", bad.len(), seeds.join(" "))?;
    }
    let whole = wanted.marks || runs >= SEEDS_FOR_ALL_MARKS;
    if wanted.marks {
        for (mark, count) in marks.iter() {
            writeln!(out, "{count:>9}  {mark}")?;
        }
    }
    let missed: Vec<&str> = marks.iter().filter(|(_, count)| whole && *count == 0).map(|(m, _)| m).collect();
    for mark in &missed {
        writeln!(out, "never reached: {mark}")?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let hours = virtual_ms as f64 / 3_600_000.0;
    writeln!(
        out,
        "{runs} seeds, {partitions} partitions, {hours:.2} cluster-hours, {:.1} M events in {seconds:.1} s: {:.2} \
         cluster-hours a second; hash {hash:016x}; {} with violations",
        events as f64 / 1e6,
        hours / seconds,
        bad.len()
    )?;
    Ok(bad.is_empty() && missed.is_empty())
}
