//! The report of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::oracle::{Oracle, Violation};
use crate::outages::Outages;
use crate::plan::Head;

/// Everything that a run has to say.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) head: Head,
    pub(crate) rounds: u64,
    pub(crate) seconds: f64,
    /// By kind: how many happened, and how many could not.
    pub(crate) faults: BTreeMap<String, (u64, u64)>,
    /// Orders: answered well, refused or unsettled, without an answer.
    pub(crate) orders: (u64, u64, u64),
    /// The first line of what the others were told, with the order.
    pub(crate) refusals: Vec<String>,
    pub(crate) outages: Outages,
    pub(crate) violations: Vec<Violation>,
    /// How long peace took, in seconds, the longest of all.
    pub(crate) peace: f64,
    /// What operators had to do.
    pub(crate) helped: BTreeMap<String, u64>,
    /// How long a frozen machine answered beside the owner, in ns: the times, and the longest.
    pub(crate) excused: (usize, u64),
    /// What was looked at.
    pub(crate) looked: BTreeMap<&'static str, u64>,
    /// What clients got acknowledged.
    pub(crate) acknowledged: BTreeMap<String, u64>,
}

impl Report {
    /// The report of a run that is about to begin.
    pub(crate) fn new(head: &Head) -> Self {
        Self {
            head: head.clone(),
            rounds: 0,
            seconds: 0.0,
            faults: BTreeMap::new(),
            orders: (0, 0, 0),
            refusals: Vec::new(),
            outages: Outages::default(),
            violations: Vec::new(),
            peace: 0.0,
            helped: BTreeMap::new(),
            excused: (0, 0),
            looked: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let head = &self.head;
        let mut text = format!(
            "seed {}, {}, takeover {}, groups {}: {} rounds in {:.0} s\n",
            head.seed,
            head.site(),
            head.takeover,
            head.loads.join(" "),
            self.rounds,
            self.seconds
        );
        let list =
            |map: &BTreeMap<String, u64>| map.iter().map(|(k, v)| format!("{k} {v}")).collect::<Vec<_>>();
        let looked: Vec<String> = self.looked.iter().map(|(k, v)| format!("{v} {k}")).collect();
        let _ = writeln!(
            text,
            "looked at: {}; acknowledged: {}",
            looked.join(", "),
            list(&self.acknowledged).join(", ")
        );
        let _ = writeln!(
            text,
            "\n  {:<22} {:>5} {:>8}   longest silence (alone / in company)",
            "fault", "times", "not done"
        );
        for (kind, (done, not)) in &self.faults {
            let (alone, company) = self.outages.longest.get(kind).copied().unwrap_or_default();
            let _ =
                writeln!(text, "  {kind:<22} {done:>5} {not:>8}   {} / {}", seconds(alone), seconds(company));
        }
        let (well, refused, none) = self.orders;
        let _ = writeln!(
            text,
            "\norders: {well} done, {refused} refused or not settled in their time, {none} without an answer"
        );
        for refusal in &self.refusals {
            let _ = writeln!(text, "  {refusal}");
        }
        let _ =
            writeln!(text, "well again after each round within {:.1} s; operators had to: {}", self.peace, {
                let list = list(&self.helped);
                if list.is_empty() { "do nothing".to_owned() } else { list.join(", ") }
            });
        let alone = &self.outages.unexplained;
        if let Some(longest) = alone.iter().max_by_key(|s| s.to.saturating_sub(s.from)) {
            let _ = writeln!(
                text,
                "silences more than 2 s after any fault (ways back, orders of operators): {}, {} at most ({})",
                alone.len(),
                seconds(longest.to.saturating_sub(longest.from)),
                longest.group
            );
        }
        if self.excused.0 > 0 {
            let _ = writeln!(
                text,
                "a frozen machine answered beside the owner {} times, {} at most (class guard: no process of it runs)",
                self.excused.0,
                seconds(self.excused.1)
            );
        }
        self.verdicts(&mut text);
        text
    }

    fn verdicts(&self, text: &mut String) {
        text.push('\n');
        for oracle in Oracle::ALL {
            let count = self.violations.iter().filter(|v| v.oracle == oracle).count();
            let verdict = if count == 0 { "holds".to_owned() } else { format!("{count} VIOLATIONS") };
            let _ = writeln!(text, "  {:<70} {verdict}", oracle.words());
        }
        for violation in &self.violations {
            let _ = writeln!(text, "\nVIOLATION {violation}");
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let ms = |ns: u64| ns as f64 / 1e6;
        let faults: serde_json::Map<String, Value> = self
            .faults
            .iter()
            .map(|(kind, (done, not))| {
                let (alone, company) = self.outages.longest.get(kind).copied().unwrap_or_default();
                let value = json!({ "done": done, "not_done": not, "silence_alone_ms": ms(alone), "silence_in_company_ms": ms(company) });
                (kind.clone(), value)
            })
            .collect();
        let oracles: serde_json::Map<String, Value> = Oracle::ALL
            .iter()
            .map(|o| {
                let texts: Vec<&str> =
                    self.violations.iter().filter(|v| v.oracle == *o).map(|v| v.text.as_str()).collect();
                (format!("{o:?}").to_lowercase(), json!(texts))
            })
            .collect();
        json!({
            "seed": self.head.seed, "nodes": self.head.nodes, "takeover": self.head.takeover,
            "arbiter_disk": self.head.arbiter_disk, "storage_fence": self.head.storage_fence, "groups": self.head.loads,
            "rounds": self.rounds, "seconds": self.seconds, "faults": faults,
            "orders": { "done": self.orders.0, "refused": self.orders.1, "unanswered": self.orders.2, "refusals": self.refusals },
            "peace_seconds": self.peace, "helped": self.helped, "looked": self.looked,
            "acknowledged": self.acknowledged,
            "frozen_answered": { "times": self.excused.0, "longest_ms": ms(self.excused.1) },
            "violations": oracles,
        })
    }
}

fn seconds(ns: u64) -> String {
    if ns == 0 { "-".into() } else { format!("{:.2} s", ns as f64 / 1e9) }
}
