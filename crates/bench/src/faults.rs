//! The faults: how each is made, and which figures it gives.

use std::time::Duration;

use regent_lab::now_ns;
use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::contestant::Made;
use crate::figures::Cell;
use crate::idle;
use crate::service::{Kind, peer};
use crate::stand::Stand;
use crate::steps::Step;
use crate::watch::{Seen, Watch, ms, node_of};

/// How long the service may stay away before that is called for ever.
const PATIENCE: Duration = Duration::from_secs(90);
/// What is watched after all is well again.
const TAIL: Duration = Duration::from_millis(500);

/// What is done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing, without a client: what the daemons cost.
    Idle,
    /// Nothing, with a client: what it feels of the machine alone.
    Quiet,
    /// The owner's power is cut; later the node is booted again.
    PowerCut,
    /// The owner is cut off from everything, its carrier stays; later it is healed.
    Partition,
    /// A planned move to the other node.
    Move,
    /// The application is killed.
    Kill,
    /// The owner loses one of two networks, not the one that carries the service, and gets it back.
    Network,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The figures.
    pub(crate) cells: Vec<(Cell, f64)>,
    /// The steps that the journal tells, with how the client's silence ended among them.
    pub(crate) steps: Vec<Step>,
    /// A remark for the record.
    pub(crate) note: String,
    /// Nothing came back: the lab is to be built anew.
    pub(crate) broken: bool,
}

impl Fault {
    /// In the order in which they are measured.
    pub(crate) const ALL: [Self; 7] =
        [Self::Idle, Self::Quiet, Self::PowerCut, Self::Partition, Self::Move, Self::Kill, Self::Network];

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Quiet => "quiet",
            Self::PowerCut => "power-cut",
            Self::Partition => "partition",
            Self::Move => "move",
            Self::Kill => "kill",
            Self::Network => "network",
        }
    }

    /// Whether it can be made with this contestant and this kind of group.
    pub(crate) fn applies(self, stand: &Stand, kind: Kind) -> bool {
        match self {
            Self::Partition | Self::Network => stand.contestant.survives_partition(),
            Self::Kill => kind != Kind::Address,
            Self::Idle => stand.contestant.has_daemons(),
            _ => true,
        }
    }

    /// Makes it once and waits until all is well again.
    ///
    /// # Errors
    /// When the lab fails, or the cluster does not come to rest.
    pub(crate) fn make(self, stand: &Stand, quick: bool) -> Result<Outcome> {
        let hold = Duration::from_millis(if quick { 1_000 } else { 3_000 });
        match self {
            Self::PowerCut => power_cut(stand),
            Self::Partition => partition(stand, hold),
            Self::Move => planned_move(stand),
            Self::Kill => application_killed(stand),
            Self::Network => one_network(stand, hold),
            Self::Quiet => {
                let (watch, _) = begin(stand)?;
                let at = now_ns();
                std::thread::sleep(hold * 2);
                let cells = vec![(Cell::Quiet, watch.stop().silence(at, u64::MAX))];
                Ok(Outcome { cells, ..Outcome::default() })
            }
            Self::Idle => {
                std::thread::sleep(hold);
                let owner = stand.who_answers().ok_or("nobody answers")?;
                let how_long = Duration::from_secs(if quick { 8 } else { 20 });
                let (cells, names) = idle::measure(stand, &owner, how_long)?;
                Ok(Outcome { cells, note: names, ..Outcome::default() })
            }
        }
    }
}

/// A watch that has run for a random time, so that faults come at any phase of anybody's timers; and who answers.
fn begin(stand: &Stand) -> Result<(Watch, String)> {
    let watch = Watch::start(&stand.lab)?;
    std::thread::sleep(Duration::from_millis(600 + now_ns() / 1_000 % 1_000));
    let first = watch.answer(now_ns(), Duration::from_secs(5), |_| true).ok_or("nobody answers")?;
    Ok((watch, node_of(&first.who).to_owned()))
}

/// Waits for an answer from anybody else; gives when it came. If none comes, what the cluster says of itself is told.
fn taken_over(stand: &Stand, watch: &Watch, from: &str, after: u64) -> Option<u64> {
    let answer = watch.answer(after, PATIENCE, |who| who != from);
    if answer.is_none() {
        // Before anything else is done to it.
        eprintln!("nobody has taken over from {from}\n{}", stand.contestant.evidence(&stand.lab));
    }
    Some(answer?.at)
}

/// The steps of the contestant's journal, and the client's first answer among them.
fn steps(stand: &Stand, at: u64, back: Option<u64>, owner: &str) -> Vec<Step> {
    let Some(back) = back else { return Vec::new() };
    let mut steps = stand.contestant.steps(&stand.lab, at, back + 400_000_000, owner);
    if !steps.is_empty() {
        let what = "==>  the client's first answer from the new owner".to_owned();
        steps.push(Step { what, at_ms: ms(back - at), took_ms: None });
    }
    steps
}

fn power_cut(stand: &Stand) -> Result<Outcome> {
    let (watch, owner) = begin(stand)?;
    let at = stand.lab.off(&owner)?;
    stand.contestant.fault_made(&stand.lab, Made::PowerCut(&owner))?;
    let back = taken_over(stand, &watch, &owner, at);
    std::thread::sleep(TAIL);
    let steps = steps(stand, at, back, &owner);
    std::thread::sleep(TAIL);
    stand.power_on(&owner)?;
    let settled = stand.settle();
    std::thread::sleep(TAIL);
    let last = stand.who_answers();
    let seen = watch.stop();
    let until = back.unwrap_or(u64::MAX);
    let mut cells = vec![(Cell::PowerCut, seen.silence(at, until))];
    if settled.is_ok() && back.is_some() {
        cells.push((Cell::Rejoin, seen.silence(until + 1, u64::MAX)));
    }
    let note = if last.as_deref() == Some(owner.as_str()) { "the service moved back by itself" } else { "" };
    Ok(Outcome { cells, steps, note: note.into(), broken: settled.is_err() || back.is_none() })
}

fn partition(stand: &Stand, hold: Duration) -> Result<Outcome> {
    let (watch, owner) = begin(stand)?;
    let at = stand.lab.cut(&owner, None)?;
    let back = taken_over(stand, &watch, &owner, at);
    std::thread::sleep(TAIL);
    let steps = steps(stand, at, back, &owner);
    std::thread::sleep(hold);
    let healed = stand.heal(&owner)?;
    let settled = stand.settle();
    std::thread::sleep(TAIL);
    let last = stand.who_answers();
    let seen = watch.stop();
    let mut cells = vec![
        (Cell::Partition, seen.silence(at, back.unwrap_or(u64::MAX))),
        (Cell::TwoOwners, seen.two_owners(at, healed)),
    ];
    if back.is_some() {
        cells.push((Cell::Heal, seen.silence(healed, u64::MAX)));
    }
    let mut note = wrong_answers(&seen, &owner, back.unwrap_or(healed), healed);
    if last.as_deref() == Some(owner.as_str()) {
        note += "the service moved back by itself";
    }
    Ok(Outcome { cells, steps, note, broken: settled.is_err() || back.is_none() })
}

/// Says how often the old owner still answered the client after it had been replaced, if it did.
fn wrong_answers(seen: &Seen, owner: &str, from: u64, until: u64) -> String {
    let wrong = |r: &&regent_lab::probe::Reply| r.sent > from && r.at < until && node_of(&r.who) == owner;
    match seen.series.replies.iter().filter(wrong).count() {
        0 => String::new(),
        count => format!("{owner} answered {count} times after it had been replaced; "),
    }
}

fn planned_move(stand: &Stand) -> Result<Outcome> {
    let (watch, owner) = begin(stand)?;
    let at = now_ns();
    stand.contestant.order_move(&stand.lab, &owner, peer(&owner))?;
    let back = taken_over(stand, &watch, &owner, at);
    std::thread::sleep(TAIL);
    let seen = watch.stop();
    let mut steps = steps(stand, at, back, &owner);
    // The silence begins here: until then the order was on its way.
    let last = seen.series.replies.iter().rfind(|r| r.at < back.unwrap_or(0) && node_of(&r.who) == owner);
    if let Some(last) = last.filter(|_| !steps.is_empty()) {
        let what = "==>  the client's last answer from the old owner".to_owned();
        steps.push(Step { what, at_ms: ms(last.at.saturating_sub(at)), took_ms: None });
    }
    stand.contestant.after_move(&stand.lab, &owner)?;
    let settled = stand.settle();
    let cells = vec![(Cell::Move, seen.silence(at, u64::MAX))];
    Ok(Outcome { cells, steps, note: String::new(), broken: settled.is_err() || back.is_none() })
}

fn application_killed(stand: &Stand) -> Result<Outcome> {
    let (watch, owner) = begin(stand)?;
    let processes = stand.processes(&owner)?;
    let serves = |(_, line): &&(u32, String)| line.starts_with("regent lab ledger serve");
    let (pid, _) = processes.iter().find(serves).ok_or("the application is not found")?;
    let pid = Pid::from_raw(pid.cast_signed()).ok_or("the application is not found")?;
    let at = now_ns();
    kill_process(pid, Signal::KILL)?;
    stand.contestant.fault_made(&stand.lab, Made::Killed(&owner))?;
    // Questions that the dead one's socket had already taken are never answered; new ones show the new one.
    std::thread::sleep(Duration::from_millis(1));
    let back = watch.answer(now_ns(), PATIENCE, |_| true);
    std::thread::sleep(TAIL);
    let seen = watch.stop();
    let steps = steps(stand, at, back.as_ref().map(|r| r.at), &owner);
    let settled = stand.settle();
    let moved = back.as_ref().is_some_and(|r| !r.who.starts_with(&owner));
    let note = if moved { "it came back on the other node" } else { "" };
    let cells = vec![(Cell::Kill, seen.silence(at, u64::MAX))];
    Ok(Outcome { cells, steps, note: note.into(), broken: settled.is_err() || back.is_none() })
}

fn one_network(stand: &Stand, hold: Duration) -> Result<Outcome> {
    let (watch, owner) = begin(stand)?;
    let at = stand.lab.cut(&owner, Some(1))?;
    std::thread::sleep(hold);
    stand.lab.heal(&owner, Some(1))?;
    let settled = stand.settle();
    std::thread::sleep(TAIL);
    let last = stand.who_answers();
    let seen = watch.stop();
    let note = if last.as_deref() == Some(owner.as_str()) { "" } else { "the service has moved" };
    let cells = vec![(Cell::Network, seen.silence(at, u64::MAX))];
    Ok(Outcome { cells, steps: Vec::new(), note: note.into(), broken: settled.is_err() })
}
