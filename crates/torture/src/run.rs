//! A run: round after round of faults, peace after each, and the oracles' judgement.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use regent_lab::wish_to_end;

use crate::clients::Clients;
use crate::fault::Fault;
use crate::hands::{self, Done};
use crate::options::Options;
use crate::oracle::{Oracle, Violation};
use crate::plan::{Line, Plan, Round};
use crate::report::Report;
use crate::stage::Stage;
use crate::watch::{Watch, now};
use crate::{Result, evidence, generate, loads, peace, sabotage};

mod trial;

/// Half a beat of a network that flaps.
const BEAT: Duration = Duration::from_millis(125);

/// A fault that happened, in ns of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) fault: Fault,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) done: Done,
}

/// What a run plays.
struct Script {
    plan: Plan,
    /// Whether the rounds are all there; else they are drawn as it goes.
    replayed: bool,
}

/// Runs, prints the report, and keeps what is needed after a violation. Whether every oracle holds.
///
/// # Errors
/// What kept it from running.
pub(crate) fn run(options: &Options) -> Result<bool> {
    match options.sabotages {
        Some(quick) => trial::all(options, quick),
        None => run_script(script(options)?, options).map(|(well, _)| well),
    }
}

/// Runs a plan. Whether it came out as it must, and the report.
fn run_script(mut script: Script, options: &Options) -> Result<(bool, Report)> {
    let head = script.plan.head.clone();
    let wish = wish_to_end()?;
    println!(
        "torture: seed {}, {}, takeover {}, groups {}",
        head.seed,
        head.site(),
        head.takeover,
        head.loads.join(" ")
    );
    if !loads::skipped().is_empty() {
        println!("skipped, because it is not installed here: {}", loads::skipped().join(", "));
    }
    let stage = Arc::new(Stage::up(&head)?);
    let clients = Clients::start(&stage)?;
    let mut report = Report::new(&head);
    let began = Instant::now();
    let first = peace::make(&stage, &clients);
    if !first.missing.is_empty() {
        let folder = evidence::keep(&stage, &report, &script.plan.to_string(), &options.keep)?;
        return Err(format!(
            "the cluster does not come up: {}; see {}",
            first.missing.join("; "),
            folder.display()
        )
        .into());
    }
    println!("   {:6.1} s  all is well; the faults begin", began.elapsed().as_secs_f64());
    let mut watch = Watch::start(&stage)?;
    let began = Instant::now();
    let mut number = 0;
    while report.violations.is_empty() && !wish.load(Ordering::Relaxed) {
        let Some(round) = next(&mut script, number, began.elapsed(), options) else { break };
        number += 1;
        play(&stage, &clients, &mut watch, &round, &mut report, (number, began));
        report.seconds = began.elapsed().as_secs_f64();
    }
    report.acknowledged = clients.counts().into_iter().map(|(n, c)| (n.to_owned(), c as u64)).collect();
    if head.sabotage.is_none() {
        report.violations.extend(clients.audit(&stage));
    } else {
        drop(clients);
    }
    let last = watch.judge(&stage, &[], now(), true);
    report.violations.extend(last.violations);
    report.violations.dedup();
    let well = finish(&stage, &watch, &mut report, &script.plan, options)?;
    Ok((well, report))
}

fn script(options: &Options) -> Result<Script> {
    if let Some(rule) = options.sabotage.as_deref().and_then(sabotage::rule) {
        return Ok(Script { plan: rule.plan(options.kept)?, replayed: true });
    }
    let Some(file) = &options.replay else {
        let mut head = generate::head(options.seed, options.nodes, options.loads.clone());
        head.arbiter_disk = options.arbiter_disk.unwrap_or(head.arbiter_disk);
        head.storage_fence =
            options.storage_fence.unwrap_or(head.storage_fence) && options.sabotage.is_none();
        head.sabotage.clone_from(&options.sabotage);
        return Ok(Script { plan: Plan { head, rounds: Vec::new() }, replayed: false });
    };
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut plan = Plan::parse(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    loads::check_loads(&plan.head.loads)?;
    if let Some(only) = options.only {
        let round = plan.rounds.get(only.wrapping_sub(1)).cloned();
        plan.rounds = vec![round.ok_or_else(|| format!("the plan has no round {only}"))?];
    }
    Ok(Script { plan, replayed: true })
}

/// The next round: of the plan that is replayed, or drawn, while there is time.
fn next(script: &mut Script, number: u64, elapsed: Duration, options: &Options) -> Option<Round> {
    if script.replayed {
        return script.plan.rounds.get(usize::try_from(number).ok()?).cloned();
    }
    if elapsed >= options.time() || options.rounds.is_some_and(|most| number >= most) {
        return None;
    }
    let round = generate::round(&script.plan.head, number);
    script.plan.rounds.push(round.clone());
    Some(round)
}

fn play(
    stage: &Stage,
    clients: &Clients,
    watch: &mut Watch,
    round: &Round,
    report: &mut Report,
    (number, began): (u64, Instant),
) {
    let since = now();
    let stop = AtomicBool::new(false);
    let (happened, peace) = std::thread::scope(|scope| {
        scope.spawn(|| watch.follow(stage, &stop));
        let happened = strike(stage, round);
        // What is sabotaged need not become well again.
        let peace = if stage.head.sabotage.is_some() { rest() } else { peace::make(stage, clients) };
        stop.store(true, Ordering::SeqCst);
        (happened, peace)
    });
    let seen = watch.judge(stage, &happened, since, false);
    count(&happened, report);
    report.outages.take(&seen.silences, &happened);
    report.violations.extend(seen.violations);
    report.peace = report.peace.max(peace.after.as_secs_f64());
    for (what, times) in &peace.helped {
        *report.helped.entry(what.clone()).or_default() += times;
    }
    if !peace.missing.is_empty() {
        let text = format!(
            "not well {} s after the faults were lifted: {}",
            peace::BOUND.as_secs(),
            peace.missing.join("; ")
        );
        report.violations.push(Violation::new(Oracle::Alive, text));
    }
    report.rounds = number;
    let words: Vec<String> = happened.iter().map(|h| h.fault.to_string()).collect();
    println!(
        "   {:6.1} s  round {number}: {}; well after {:.1} s{}",
        began.elapsed().as_secs_f64(),
        words.join(", "),
        peace.after.as_secs_f64(),
        if report.violations.is_empty() {
            String::new()
        } else {
            format!("; {} VIOLATIONS", report.violations.len())
        }
    );
}

/// A moment in which what a fault leaves behind shows.
fn rest() -> peace::Peace {
    std::thread::sleep(Duration::from_secs(3));
    peace::Peace::default()
}

/// Every line in a thread of its own: faults overlap as they please.
fn strike(stage: &Stage, round: &Round) -> Vec<Happened> {
    let happened = Mutex::new(Vec::new());
    if let Err(why) = hands::copy(stage, &mut round.iter().map(|line| &line.fault)) {
        println!("no copy is made: {why}");
    }
    let began = Instant::now();
    std::thread::scope(|scope| {
        for line in round {
            let happened = &happened;
            scope.spawn(move || {
                std::thread::sleep(line.at.saturating_sub(began.elapsed()));
                let done = one(stage, line);
                happened.lock().unwrap_or_else(PoisonError::into_inner).push(done);
            });
        }
    });
    let mut happened = happened.into_inner().unwrap_or_else(PoisonError::into_inner);
    happened.sort_by_key(|h| h.began);
    happened
}

fn one(stage: &Stage, line: &Line) -> Happened {
    let (began, at) = (now(), Instant::now());
    let done = hands::begin(stage, &line.fault);
    if let Fault::Flap(node, network) = &line.fault {
        let mut cut = true;
        while at.elapsed() < line.lasts {
            std::thread::sleep(BEAT);
            cut = !cut;
            hands::beat(stage, node, *network, cut);
        }
    } else {
        std::thread::sleep(line.lasts.saturating_sub(at.elapsed()));
    }
    if !line.lasts.is_zero() {
        hands::end(stage, &line.fault);
    }
    Happened { fault: line.fault.clone(), began, ended: now(), done }
}

fn count(happened: &[Happened], report: &mut Report) {
    for h in happened {
        let (done, not) = report.faults.entry(h.fault.kind()).or_default();
        match &h.done {
            Done::Not(_) => *not += 1,
            _ => *done += 1,
        }
        match &h.done {
            Done::Answered { code: 0, .. } => report.orders.0 += 1,
            Done::Answered { code, words } => {
                report.orders.1 += 1;
                let first = words.lines().next().unwrap_or_default();
                report.refusals.push(format!("{} (exit code {code}): {first}", h.fault));
                if words.is_empty() {
                    let text = format!("`{}` ended with {code} and said nothing", h.fault);
                    report.violations.push(Violation::new(Oracle::Alive, text));
                }
            }
            Done::Unanswered => {
                report.orders.2 += 1;
                let text = format!("`{}` had no answer in {} s", h.fault, hands::ORDER_PATIENCE.as_secs());
                report.violations.push(Violation::new(Oracle::Alive, text));
            }
            _ => {}
        }
    }
}

fn finish(stage: &Stage, watch: &Watch, report: &mut Report, plan: &Plan, options: &Options) -> Result<bool> {
    let longest = watch.excused.iter().map(|(from, to)| to - from).max().unwrap_or(0);
    report.excused = (watch.excused.len(), longest);
    let entries = watch.journal.lock().unwrap_or_else(PoisonError::into_inner).count() as u64;
    report.looked = [
        ("writes", watch.writes()),
        ("questions for addresses", watch.questions),
        ("journal entries", entries),
    ]
    .into();
    println!("\n{}", report.text());
    if let Some(rule) = &stage.head.sabotage {
        let seen = is_seen(rule, report);
        let well = seen != stage.head.kept;
        if !well && !seen {
            let folder = evidence::keep(stage, report, &plan.to_string(), &options.keep)?;
            println!("everything is kept in {}", folder.display());
        }
        if well || !seen {
            return Ok(well);
        }
    }
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", report.json()))
            .map_err(|e| format!("{}: {e}", file.display()))?;
    }
    if report.violations.is_empty() {
        return Ok(true);
    }
    let folder = evidence::keep(stage, report, &plan.to_string(), &options.keep)?;
    println!(
        "everything is kept in {}\nto see it again: cargo xtask torture --replay {}",
        folder.display(),
        folder.join("plan").display()
    );
    if report.rounds > 1 {
        println!("its last round alone: add --only {}", report.rounds);
    }
    Ok(false)
}

/// Whether the end of a rule was seen by who has to see it.
fn is_seen(name: &str, report: &Report) -> bool {
    let rule = sabotage::rule(name);
    let by = rule.map_or(&Oracle::ALL[..], |r| r.seen_by);
    let seen = report.violations.iter().any(|v| by.contains(&v.oracle));
    let words = rule.map_or(name, |r| r.words);
    match (report.head.kept, seen) {
        (false, true) => println!("left off: {words}\nit was seen, as it must be"),
        (false, false) => println!("left off: {words}\nIT WAS NOT SEEN"),
        (true, false) => println!("kept, what would be: {words}\nnothing was seen, as it must be"),
        (true, true) => println!("kept, what would be: {words}\nBUT TWO OWNERS WERE SEEN"),
    }
    seen
}
