//! Runs a plan, step by step, on whatever stands for the cluster. Decides what held; does nothing itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use regent_api::{GroupStatus, Registry, Status};
use regent_model::{Epoch, GroupName, NodeName};

use super::instance::{self, Versions};
use super::plan::{Act, Step, What};
use super::report::{Outcome, StepReport, seconds};
use super::series::Series;
use crate::settle::is_unwell;
use crate::trouble::Result;

/// How often is looked whether an expectation holds.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The cluster that a plan is run on, and the clock.
pub(super) trait Stage {
    /// The time since the drill began.
    fn now(&self) -> Duration;
    /// Lets time pass.
    fn pause(&mut self, time: Duration);
    /// Whether somebody wants the drill to end.
    fn wants_to_end(&self) -> bool;
    /// The cluster, as somebody sees it who is in touch with a majority.
    ///
    /// # Errors
    /// When nobody is.
    fn status(&mut self) -> Result<Status>;
    /// The registry of instances, as whoever gives the status has it.
    ///
    /// # Errors
    /// When nobody is in touch with a majority.
    fn registry(&mut self) -> Result<Registry>;
    /// What a service address answered so far.
    fn heard(&mut self, address: IpAddr) -> Series;
    /// Asks whoever has to consent to a step that hurts.
    ///
    /// # Errors
    /// When the consent is not given.
    fn consent(&mut self, number: usize, step: &Step) -> Result<()>;
    /// Does what a step says, and says what was done.
    ///
    /// # Errors
    /// When it could not be done.
    fn act(&mut self, act: &Act) -> Result<String>;
}

/// What became of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// Every step.
    pub(super) steps: Vec<StepReport>,
    /// Why it ended before its last step, if it did.
    pub(super) ended: Option<String>,
}

/// Runs the plan until its end, or until something is not as it is expected. `tell` hears of every step before it
/// begins and after it has ended.
///
/// # Errors
/// When nobody can be told, or the registry of instances cannot be had in the beginning where the plan needs it.
pub(super) fn run(
    stage: &mut dyn Stage,
    steps: &[Step],
    tell: &mut dyn FnMut(usize, &StepReport, bool) -> Result<()>,
) -> Result<Run> {
    let mut run = Run::default();
    let mut so = So::default();
    if steps.iter().any(|s| matches!(s.act, Act::Expect { what: What::Instance { .. }, .. })) {
        so.versions = instance::versions(&stage.registry()?);
    }
    for (number, step) in steps.iter().enumerate() {
        let mut report = StepReport {
            line: step.line,
            step: step.act.to_string(),
            expects: matches!(step.act, Act::Expect { .. }),
            acts: !matches!(step.act, Act::Expect { .. } | Act::Wait(_) | Act::Probe(_)),
            outcome: Outcome::NotRun,
            seen: String::new(),
            from: stage.now(),
            took: Duration::ZERO,
        };
        if run.ended.is_none() && stage.wants_to_end() {
            run.ended = Some("somebody wanted it to end".to_owned());
        }
        if run.ended.is_none() {
            tell(number, &report, false)?;
            let (outcome, seen) = one(stage, number, step, &mut report.from, &mut so);
            (report.outcome, report.seen) = (outcome, seen);
            report.took = stage.now().saturating_sub(report.from);
            tell(number, &report, true)?;
            run.ended = match outcome {
                Outcome::Held => None,
                Outcome::Failed => Some(format!("step {} (line {}) failed", number + 1, step.line)),
                Outcome::NotRun => Some(report.seen.clone()),
            };
        }
        run.steps.push(report);
    }
    Ok(run)
}

/// What the steps so far have done.
#[derive(Default)]
struct So {
    /// When the last step that hurts began.
    hurt_at: Duration,
    /// The nodes that have failed: what the cluster still says of them is old.
    failed: BTreeSet<NodeName>,
    /// What versions the instances had when the drill began.
    versions: Versions,
}

impl So {
    fn follow(&mut self, done: &Act) {
        match done {
            Act::Fail { node, .. } => {
                self.failed.insert(node.clone());
            }
            Act::Return(node) => {
                self.failed.remove(node);
            }
            _ => {}
        }
    }
}

/// One step. Time that a person takes to consent is not the step's.
fn one(
    stage: &mut dyn Stage,
    number: usize,
    step: &Step,
    from: &mut Duration,
    so: &mut So,
) -> (Outcome, String) {
    if step.act.hurts() {
        if let Err(refused) = stage.consent(number, step) {
            return (Outcome::NotRun, refused.what);
        }
        *from = stage.now();
        so.hurt_at = *from;
    }
    match &step.act {
        Act::Wait(time) => wait(stage, *time),
        Act::Expect { what, limit } => expect(stage, what, *limit, so),
        act => match stage.act(act) {
            Ok(done) => {
                so.follow(act);
                (Outcome::Held, done)
            }
            Err(trouble) => (Outcome::Failed, trouble.to_string().replace("\n  next: ", "; next: ")),
        },
    }
}

fn wait(stage: &mut dyn Stage, time: Duration) -> (Outcome, String) {
    let until = stage.now() + time;
    while stage.now() < until {
        if stage.wants_to_end() {
            return (Outcome::NotRun, "somebody wanted it to end".to_owned());
        }
        let left = until.saturating_sub(stage.now());
        stage.pause(left.min(LOOK_EVERY));
    }
    (Outcome::Held, String::new())
}

/// What one look says of an expectation.
enum Seen {
    /// It is so.
    So(String),
    /// It is not so yet.
    NotYet(String),
    /// It will not be so any more.
    Never(String),
}

fn expect(stage: &mut dyn Stage, what: &What, limit: Duration, so: &So) -> (Outcome, String) {
    let began = stage.now();
    let mut first: Option<Vec<Standing>> = None;
    loop {
        let seen = match what {
            What::Stay { groups, on } => stays(stage, groups, on.as_ref(), so, &mut first),
            What::Away(address) => {
                let longest = stage.heard(*address).longest_since(so.hurt_at, stage.now());
                let words = format!("away {} at most", seconds(longest));
                if longest <= limit { Seen::So(words) } else { Seen::Never(words) }
            }
            What::Answers { address, from } => answers(stage, *address, from.as_ref(), began),
            What::Silent(address) => silent(stage, *address),
            What::Up(node) => node_is(stage, node, true),
            What::Lost(node) => node_is(stage, node, false),
            What::Online { groups, on } => every(stage, groups, |g| online(g, on.as_ref(), so)),
            What::Down { groups } => every(stage, groups, down),
            What::Instance { name, on } => match stage.registry() {
                Ok(registry) => {
                    let is = instance::up(&registry, name, on.as_ref(), &so.failed, &so.versions);
                    is.map_or_else(Seen::NotYet, Seen::So)
                }
                Err(trouble) => Seen::NotYet(trouble.what),
            },
        };
        let passed = stage.now().saturating_sub(began);
        let lasts = matches!(what, What::Stay { .. });
        match seen {
            Seen::Never(words) => return (Outcome::Failed, words),
            Seen::So(words) if !lasts || passed >= limit => return (Outcome::Held, words),
            Seen::NotYet(words) if passed >= limit => {
                return (Outcome::Failed, format!("not within {}: {words}", seconds(limit)));
            }
            Seen::So(_) | Seen::NotYet(_) => {}
        }
        if stage.wants_to_end() {
            return (Outcome::NotRun, "somebody wanted it to end".to_owned());
        }
        stage.pause(LOOK_EVERY);
    }
}

/// Where a group was when it was looked at first: it is to stay there, in the same ownership.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    owner: Option<NodeName>,
    epoch: Epoch,
}

fn find<'a>(status: &'a Status, group: &GroupName) -> std::result::Result<&'a GroupStatus, String> {
    status
        .groups
        .iter()
        .find(|g| g.name == *group)
        .ok_or_else(|| format!("there is no group {group} any more"))
}

fn stays(
    stage: &mut dyn Stage,
    groups: &[GroupName],
    on: Option<&NodeName>,
    so: &So,
    first: &mut Option<Vec<Standing>>,
) -> Seen {
    let status = match stage.status() {
        Ok(status) => status,
        Err(trouble) => return Seen::NotYet(trouble.what),
    };
    let (mut standing, mut words) = (Vec::new(), Vec::new());
    for name in groups {
        match find(&status, name).and_then(|group| online(group, on, so).map(|words| (group, words))) {
            Ok((group, text)) => {
                standing.push(Standing { owner: group.owner.clone(), epoch: group.epoch });
                words.push(text);
            }
            Err(why) => return Seen::Never(why),
        }
    }
    let before = first.get_or_insert_with(|| standing.clone());
    if *before == standing {
        return Seen::So(words.join("; "));
    }
    let moved = groups.iter().zip(before.iter()).zip(&standing).find(|((_, b), a)| b != a);
    let name = moved.map(|((name, _), _)| name.to_string()).unwrap_or_default();
    Seen::Never(format!("{name} did not stay: {}", words.join("; ")))
}

fn answers(stage: &mut dyn Stage, address: IpAddr, from: Option<&NodeName>, began: Duration) -> Seen {
    let series = stage.heard(address);
    let Some(answer) = series.latest() else { return Seen::NotYet("nobody answered".to_owned()) };
    if answer.at < began {
        let ago = stage.now().saturating_sub(answer.at);
        return Seen::NotYet(format!("the last answer was {} ago", seconds(ago)));
    }
    match (&answer.from, from) {
        (Some(is), Some(wanted)) if is == wanted => Seen::So(format!("{is} answers")),
        (Some(is), Some(_)) => Seen::NotYet(format!("{is} answers")),
        (Some(is), None) => Seen::So(format!("{is} answers")),
        (None, None) => Seen::So("it answers".to_owned()),
        (None, Some(_)) => {
            Seen::NotYet("it answers, but which node it is cannot be told from here".to_owned())
        }
    }
}

fn silent(stage: &mut dyn Stage, address: IpAddr) -> Seen {
    /// Long enough for several questions to have got no answer.
    const QUIET: Duration = Duration::from_secs(1);
    let now = stage.now();
    let series = stage.heard(address);
    let last = series.latest().map_or(Duration::ZERO, |a| a.at);
    let quiet = now.saturating_sub(last);
    if quiet >= QUIET && series.missed(last, now) {
        Seen::So(format!("nobody has answered for {}", seconds(quiet)))
    } else {
        Seen::NotYet("it answers".to_owned())
    }
}

fn node_is(stage: &mut dyn Stage, node: &NodeName, up: bool) -> Seen {
    let status = match stage.status() {
        Ok(status) => status,
        Err(trouble) => return Seen::NotYet(trouble.what),
    };
    let Some(is) = status.nodes.iter().find(|n| n.name == *node) else {
        return Seen::Never(format!("there is no node {node} any more"));
    };
    let words = format!("{node} is {}", is.state);
    let ready = is.state == "up" && is.voter;
    let gone = ["silent", "down", "stopped"].contains(&is.state.as_str());
    if (up && ready) || (!up && gone) { Seen::So(words) } else { Seen::NotYet(words) }
}

fn every(
    stage: &mut dyn Stage,
    groups: &[GroupName],
    judge: impl Fn(&GroupStatus) -> std::result::Result<String, String>,
) -> Seen {
    let status = match stage.status() {
        Ok(status) => status,
        Err(trouble) => return Seen::NotYet(trouble.what),
    };
    let judged: std::result::Result<Vec<String>, String> =
        groups.iter().map(|name| find(&status, name).and_then(&judge)).collect();
    match judged {
        Ok(words) => Seen::So(words.join("; ")),
        Err(words) => Seen::NotYet(words),
    }
}

fn online(group: &GroupStatus, on: Option<&NodeName>, so: &So) -> std::result::Result<String, String> {
    let is = in_words(group);
    if let Some(lost) = group.owner.as_ref().filter(|owner| so.failed.contains(owner)) {
        return Err(format!("{} is still {lost}'s, which has failed", group.name));
    }
    let there = group.owner.as_ref().is_some_and(|owner| on.is_none_or(|node| node == owner));
    if group.state == "online" && there { Ok(is) } else { Err(is) }
}

fn down(group: &GroupStatus) -> std::result::Result<String, String> {
    let is = in_words(group);
    if group.owner.is_none() && group.state != "acquiring" { Ok(is) } else { Err(is) }
}

/// A group in one line.
#[must_use]
pub(super) fn in_words(group: &GroupStatus) -> String {
    let name = &group.name;
    let owner = group.owner.as_ref().map(|o| format!(" on {o}")).unwrap_or_default();
    match (&group.blocked, group.state.as_str()) {
        (_, "online") => format!("{name} is online{owner}, epoch {} ({})", group.epoch, group.proof),
        (Some(why), state) => format!("{name} is {state}{owner}: {why}"),
        (None, state) => format!("{name} is {state}{owner}"),
    }
}

/// What keeps a drill from beginning: a cluster is tested when it is well.
#[must_use]
pub(super) fn unwell(status: &Status) -> Vec<String> {
    let mut found = Vec::new();
    if !status.quorate {
        found.push(format!("{} is not in touch with a majority", status.node));
    }
    for node in status.nodes.iter().filter(|n| n.state != "up" || !n.voter) {
        let votes = if node.voter { "" } else { ", and does not vote" };
        found.push(format!("{} is {}{votes}", node.name, node.state));
    }
    for node in &status.nodes {
        for network in node.networks.iter().filter(|n| n.heard == Some(false)) {
            found.push(format!("{} is not heard at {}", node.name, network.address));
        }
    }
    for group in &status.groups {
        if is_unwell(group) || !matches!(group.state.as_str(), "online" | "disabled") {
            found.push(in_words(group));
        }
    }
    found.extend(status.fencing.iter().map(|f| format!("a fence request is open: {f}")));
    found
}
