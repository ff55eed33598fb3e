//! A plan: what a run consists of, as a text that can be kept, read, shortened by hand and replayed.

use std::fmt;
use std::time::Duration;

use crate::Result;
use crate::fault::{Fault, seconds, seconds_of};

/// One line: when, what, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// From the beginning of its round.
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
    /// How long it lasts; nothing where it is over at once.
    pub(crate) lasts: Duration,
}

/// What happens between two times of peace. At its end all faults are lifted, and all has to be well again.
pub(crate) type Round = Vec<Line>;

/// The cluster that a plan is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seed: u64,
    /// How many nodes; two of them get a witness, or a disk that decides.
    pub(crate) nodes: usize,
    /// `takeover` of the configuration.
    pub(crate) takeover: String,
    /// The groups.
    pub(crate) loads: Vec<String>,
    /// A disk decides between two nodes, and no witness.
    pub(crate) arbiter_disk: bool,
    /// The fence device is at the storage, and cuts no power.
    pub(crate) storage_fence: bool,
    /// The rule that is left off on purpose.
    pub(crate) sabotage: Option<String>,
    /// The cluster is the one of the sabotage, but the rule holds: the same plan must show nothing then.
    pub(crate) kept: bool,
}

impl Head {
    /// The site, for people.
    pub(crate) fn site(&self) -> String {
        let arbiter = match (self.nodes, self.arbiter_disk) {
            (2, true) => " and a disk that decides",
            (2, false) => " and a witness",
            _ => "",
        };
        let fence = if self.storage_fence { ", fenced at the storage" } else { "" };
        format!("{} nodes{arbiter}{fence}", self.nodes)
    }
}

/// A whole plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) head: Head,
    pub(crate) rounds: Vec<Round>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} {}", seconds(self.at), self.fault)?;
        if self.lasts.is_zero() { Ok(()) } else { write!(f, " for {}", seconds(self.lasts)) }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { seed, nodes, takeover, loads, arbiter_disk, storage_fence, sabotage, kept } = &self.head;
        writeln!(f, "# A torture plan; cargo xtask torture --replay FILE runs it.")?;
        writeln!(f, "seed {seed}\nnodes {nodes}\ntakeover {takeover}\nload {}", loads.join(" "))?;
        for (is_so, line) in [(*arbiter_disk, "arbiter disk"), (*storage_fence, "fence storage")] {
            if is_so {
                writeln!(f, "{line}")?;
            }
        }
        if let Some(rule) = sabotage {
            writeln!(f, "sabotage {rule}{}", if *kept { " kept" } else { "" })?;
        }
        for round in &self.rounds {
            writeln!(f, "\nround")?;
            for line in round {
                writeln!(f, "{line}")?;
            }
        }
        Ok(())
    }
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// The first line that is none of a plan.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let head = Head {
            seed: 0,
            nodes: 2,
            takeover: "normal".into(),
            loads: Vec::new(),
            arbiter_disk: false,
            storage_fence: false,
            sabotage: None,
            kept: false,
        };
        let mut plan = Self { head, rounds: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            plan.take(&words).map_err(|why| format!("line {}: {why}", number + 1))?;
        }
        if plan.head.loads.is_empty() {
            return Err("the plan has no line `load GROUP ...`".into());
        }
        if plan.head.arbiter_disk && plan.head.nodes != 2 {
            return Err("`arbiter disk` is for two nodes".into());
        }
        Ok(plan)
    }

    fn take(&mut self, words: &[&str]) -> Result<()> {
        match *words {
            [] => {}
            ["seed", seed] => self.head.seed = seed.parse()?,
            ["nodes", nodes] => self.head.nodes = nodes.parse()?,
            ["takeover", takeover] => takeover.clone_into(&mut self.head.takeover),
            ["load", ref loads @ ..] => self.head.loads = loads.iter().map(|l| (*l).to_owned()).collect(),
            ["arbiter", "disk"] => self.head.arbiter_disk = true,
            ["fence", "storage"] => self.head.storage_fence = true,
            ["sabotage", rule, ref rest @ ..] if matches!(rest, [] | ["kept"]) => {
                self.head.sabotage = Some(rule.to_owned());
                self.head.kept = !rest.is_empty();
            }
            ["round"] => self.rounds.push(Vec::new()),
            ["at", at, ref rest @ ..] => {
                let (fault, lasts) = match rest {
                    [fault @ .., "for", time] => (fault, seconds_of(time)?),
                    fault => (fault, Duration::ZERO),
                };
                let line = Line { at: seconds_of(at)?, fault: Fault::parse(fault)?, lasts };
                self.rounds.last_mut().ok_or("a line `round` has to come before the first `at`")?.push(line);
            }
            _ => return Err(format!("`{}` is no line of a plan", words.join(" ")).into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A torture plan; cargo xtask torture --replay FILE runs it.\nseed 7\nnodes 3\n\
        takeover normal\nload front ledger\n\nround\nat 1.250s power lx1 for 3.000s\nat 2.000s kill guard lx2\n\
        \nround\nat 0.000s order lx3 group move ledger lx1\n";

    #[test]
    fn a_plan_is_written_as_it_was_read() {
        let plan = Plan::parse(TEXT).unwrap();
        assert_eq!((plan.head.seed, plan.head.nodes, plan.rounds.len()), (7, 3, 2));
        assert_eq!(plan.to_string(), TEXT);
        let site = "seed 7\nnodes 2\ntakeover normal\nload front\narbiter disk\nfence storage\n";
        let plan = Plan::parse(site).unwrap();
        assert!(plan.head.arbiter_disk && plan.head.storage_fence && plan.to_string().ends_with(site));
    }

    #[test]
    fn the_plans_that_ci_plays_can_be_read() {
        let plan = Plan::parse(include_str!("../plans/short")).unwrap();
        assert!(plan.rounds.len() == 1 && plan.rounds[0].len() >= 10);
        let pair = Plan::parse(include_str!("../plans/pair")).unwrap();
        assert!(pair.head.arbiter_disk && pair.head.storage_fence && pair.rounds.len() == 2);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, line) in [
            ("seed 1\nload a\nround\nat 1s explode lx1\n", "line 4"),
            ("load a\nat 1s power lx1\n", "line 2"),
            ("load a\nround\nat soon power lx1\n", "line 3"),
            ("seed 3\n", "load"),
            ("load a\nnodes 3\narbiter disk\n", "two nodes"),
        ] {
            let why = Plan::parse(text).unwrap_err().to_string();
            assert!(why.contains(line), "{why}");
        }
    }
}
