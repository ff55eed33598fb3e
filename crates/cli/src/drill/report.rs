//! What a drill found: as text for people, as one value for programs. Pure.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::series::{Outage, Series};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was done, or what was expected was so.
    Held,
    /// What was expected was not so, or it could not be done.
    Failed,
    /// The drill ended before it.
    NotRun,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Held => "ok",
            Self::Failed => "FAILED",
            Self::NotRun => "not run",
        }
    }
}

/// One step as it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepReport {
    /// Its line in the plan.
    pub(super) line: usize,
    /// It as a plan has it.
    pub(super) step: String,
    /// Whether something is expected by it.
    pub(super) expects: bool,
    /// Whether it does something to the cluster, so that a service may be away because of it.
    pub(super) acts: bool,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// What was done or seen.
    pub(super) seen: String,
    /// When it began, from the beginning of the drill.
    pub(super) from: Duration,
    /// How long it took.
    pub(super) took: Duration,
}

/// One service address over the whole drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    /// The address.
    pub(super) address: IpAddr,
    /// Its group.
    pub(super) group: String,
    /// How it was asked.
    pub(super) how: String,
    /// What it answered.
    pub(super) series: Series,
}

/// Everything that a drill found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// The cluster.
    pub(super) cluster: String,
    /// Where: `the lab x`, or `the live cluster`.
    pub(super) ground: String,
    /// Which plan.
    pub(super) plan: String,
    /// When it began, by the wall clock.
    pub(super) began: String,
    /// The steps.
    pub(super) steps: Vec<StepReport>,
    /// The service addresses.
    pub(super) heard: Vec<Heard>,
    /// A time without an answer counts from this length on: shorter ones cannot be told from a slow answer.
    pub(super) worth: Duration,
    /// How long it took.
    pub(super) took: Duration,
    /// Why it ended before its last step, if it did.
    pub(super) ended: Option<String>,
    /// In which state the cluster was left, and how it is mended, a line each.
    pub(super) left: Vec<String>,
}

impl Report {
    /// Whether every step was run and every expectation held.
    #[must_use]
    pub(super) fn is_good(&self) -> bool {
        self.ended.is_none() && self.steps.iter().all(|s| s.outcome == Outcome::Held)
    }

    /// The times away that a step caused, each with its address: those that began after it and before the next step
    /// that did something. What began before all of them belongs to the first step.
    #[must_use]
    pub(super) fn away(&self, number: usize) -> Vec<(IpAddr, Outage)> {
        // A time away begins with the last answer before it: a little before what caused it.
        let before = |s: &StepReport, o: &Outage| s.from <= o.from + self.worth;
        let cause = |o: &Outage| {
            let acted = |s: &StepReport| s.acts && s.outcome != Outcome::NotRun && before(s, o);
            self.steps.iter().rposition(acted).unwrap_or(0)
        };
        let mut found = Vec::new();
        for heard in &self.heard {
            let outages = heard.series.outages(self.worth, self.took);
            found.extend(outages.into_iter().filter(|o| cause(o) == number).map(|o| (heard.address, o)));
        }
        found
    }

    /// The conclusion in one line.
    #[must_use]
    pub(super) fn conclusion(&self) -> String {
        let expected = self.steps.iter().filter(|s| s.expects);
        let held = expected.clone().filter(|s| s.outcome == Outcome::Held).count();
        let all = expected.count();
        match (&self.ended, self.is_good()) {
            (None, true) => format!("every expectation held ({held} of {all})"),
            (Some(why), _) => format!("{held} of {all} expectations held; the drill ended early: {why}"),
            (None, false) => format!("{held} of {all} expectations held"),
        }
    }

    /// For people.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let mut out = format!(
            "Drill of {} on {}\n  plan   {}\n  began  {}\n  took   {}\n  result {}\n\n",
            self.cluster,
            self.ground,
            self.plan,
            self.began,
            seconds(self.took),
            self.conclusion()
        );
        for (number, step) in self.steps.iter().enumerate() {
            out.push_str(&self.step_text(number, step));
        }
        out.push_str("\nService addresses, as they were seen from outside\n");
        if self.heard.is_empty() {
            out.push_str("  none was asked\n");
        }
        for heard in &self.heard {
            out.push_str(&self.address_text(heard));
        }
        if !self.left.is_empty() {
            out.push_str("\nThe cluster was left so\n");
            for line in &self.left {
                let _ = writeln!(out, "  {line}");
            }
        }
        out
    }

    fn step_text(&self, number: usize, step: &StepReport) -> String {
        let StepReport { step: words, outcome, seen, took, line, .. } = step;
        let mut out = format!("{:>3}. {words}  (line {line})\n", number + 1);
        let took = if *outcome == Outcome::NotRun { String::new() } else { format!(", {}", seconds(*took)) };
        let _ = write!(out, "     {}{took}", outcome.word());
        if !seen.is_empty() {
            let _ = write!(out, ": {seen}");
        }
        out.push('\n');
        for (address, outage) in self.away(number) {
            let _ = writeln!(out, "     {address} away {}", self.outage_text(&outage));
        }
        out
    }

    fn outage_text(&self, outage: &Outage) -> String {
        let name = |n: &Option<regent_model::NodeName>| n.as_ref().map(ToString::to_string);
        let who = match (name(&outage.before), name(&outage.after), outage.to) {
            (_, _, None) => "it did not answer again".to_owned(),
            (Some(before), Some(after), _) => format!("{before} answered before, {after} after"),
            (None, Some(after), _) => format!("then {after} answered"),
            _ => "then it answered".to_owned(),
        };
        format!("{}: {who}", seconds(outage.length(self.took)))
    }

    fn address_text(&self, heard: &Heard) -> String {
        let outages = heard.series.outages(self.worth, self.took);
        let lengths: Vec<Duration> = outages.iter().map(|o| o.length(self.took)).collect();
        let longest = lengths.iter().max().copied().unwrap_or_default();
        let away = match lengths.len() {
            0 => format!("never away for {} or longer", seconds(self.worth)),
            1 => format!("away once, {}", seconds(longest)),
            n => format!(
                "away {n} times, {} together, {} at most",
                seconds(lengths.iter().sum()),
                seconds(longest)
            ),
        };
        format!("  {} ({}, {}): {away}\n", heard.address, heard.group, heard.how)
    }

    /// For programs.
    #[must_use]
    pub(super) fn json(&self) -> Value {
        let outage = |o: &Outage| {
            json!({
                "from_s": o.from.as_secs_f64(),
                "away_s": o.length(self.took).as_secs_f64(),
                "before": o.before,
                "after": o.after,
                "ended": o.to.is_some(),
            })
        };
        let steps: Vec<Value> = self
            .steps
            .iter()
            .enumerate()
            .map(|(number, s)| {
                let away: Vec<Value> = self
                    .away(number)
                    .iter()
                    .map(|(address, o)| {
                        let mut value = outage(o);
                        value["address"] = json!(address);
                        value
                    })
                    .collect();
                json!({
                    "number": number + 1,
                    "line": s.line,
                    "step": s.step,
                    "expects": s.expects,
                    "outcome": s.outcome.word(),
                    "seen": s.seen,
                    "from_s": s.from.as_secs_f64(),
                    "took_s": s.took.as_secs_f64(),
                    "away": away,
                })
            })
            .collect();
        let addresses: Vec<Value> = self
            .heard
            .iter()
            .map(|h| {
                let outages = h.series.outages(self.worth, self.took);
                json!({
                    "address": h.address,
                    "group": h.group,
                    "how": h.how,
                    "away": outages.iter().map(outage).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "good": self.is_good(),
            "conclusion": self.conclusion(),
            "cluster": self.cluster,
            "ground": self.ground,
            "plan": self.plan,
            "began": self.began,
            "took_s": self.took.as_secs_f64(),
            "steps": steps,
            "addresses": addresses,
            "ended": self.ended,
            "left": self.left,
        })
    }
}

/// Seconds as people read them: two digits after the point below ten, one above.
#[must_use]
pub(super) fn seconds(time: Duration) -> String {
    let s = time.as_secs_f64();
    if s < 9.995 { format!("{s:.2} s") } else { format!("{s:.1} s") }
}
