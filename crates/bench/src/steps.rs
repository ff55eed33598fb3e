//! Where the time goes: the steps of a takeover as the journal tells them, in milliseconds since the fault.

use std::collections::BTreeMap;

use crate::figures::{median, short};

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// What was done and by whom, without what differs from run to run.
    pub(crate) what: String,
    /// When it was written down, since the fault (ms).
    pub(crate) at_ms: f64,
    /// How long it took, if it says so (ms).
    pub(crate) took_ms: Option<f64>,
}

/// A step as it was in most of the runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Usual {
    /// What was done and by whom.
    pub(crate) what: String,
    /// When, since the fault: every run that had it.
    pub(crate) at_ms: Vec<f64>,
    /// How long it took.
    pub(crate) took_ms: Vec<f64>,
}

/// The steps that at least half of the runs had, in the order of their medians.
pub(crate) fn usual(runs: &[Vec<Step>]) -> Vec<Usual> {
    let mut found: BTreeMap<&str, Usual> = BTreeMap::new();
    for run in runs {
        let mut seen: Vec<&str> = Vec::new();
        for step in run {
            // What happens again in a run is another matter than the takeover.
            if seen.contains(&step.what.as_str()) {
                continue;
            }
            seen.push(&step.what);
            let new = || Usual { what: step.what.clone(), at_ms: Vec::new(), took_ms: Vec::new() };
            let usual = found.entry(&step.what).or_insert_with(new);
            usual.at_ms.push(step.at_ms);
            usual.took_ms.extend(step.took_ms);
        }
    }
    let mut list: Vec<Usual> =
        found.into_values().filter(|u| u.at_ms.len() * 2 >= runs.len().max(1)).collect();
    let at = |u: &Usual| median(&u.at_ms).unwrap_or(f64::INFINITY);
    list.sort_by(|a, b| at(a).total_cmp(&at(b)));
    list
}

/// The lines that tell them.
pub(crate) fn lines(steps: &[Usual]) -> String {
    let mut text = String::new();
    let mut before = 0.0;
    for step in steps {
        let at = median(&step.at_ms).unwrap_or_default();
        let took = median(&step.took_ms).map_or_else(String::new, |ms| format!("   (took {} ms)", short(ms)));
        text +=
            &format!("  {:>7} ms  +{:<6} {}{took}\n", short(at), short((at - before).max(0.0)), step.what);
        before = at;
    }
    text
}

/// The words without the numbers that differ from run to run, and with roles for the names of nodes.
pub(crate) fn general(text: &str, roles: &[(String, String)]) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let core = word.trim_end_matches([',', ':', ';', '.', ')']).trim_start_matches('(');
        let number = !core.is_empty() && core.chars().all(|c| c.is_ascii_digit());
        let role = roles.iter().find(|(name, _)| name == core);
        words.push(match role {
            _ if number => word.replace(core, "N"),
            Some((name, role)) => word.replace(name, role),
            None => word.to_owned(),
        });
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(what: &str, at_ms: f64) -> Step {
        Step { what: what.into(), at_ms, took_ms: None }
    }

    #[test]
    fn a_step_counts_once_per_run_and_only_if_half_of_the_runs_have_it() {
        let runs = [
            vec![step("a", 1.0), step("b", 20.0), step("a", 99.0)],
            vec![step("b", 10.0), step("a", 3.0), step("odd", 1.0)],
            vec![step("a", 2.0)],
        ];
        let usual = usual(&runs);
        let told: Vec<_> = usual.iter().map(|u| (u.what.as_str(), median(&u.at_ms))).collect();
        assert_eq!(told, [("a", Some(2.0)), ("b", Some(15.0))]);
    }

    #[test]
    fn what_differs_from_run_to_run_is_left_out_of_the_words() {
        let roles = [("lx4".to_owned(), "OLD".to_owned()), ("lx5".to_owned(), "NEW".to_owned())];
        assert_eq!(general("lx5 leads, term 3", &roles), "NEW leads, term N");
        assert_eq!(general("lx4: add 10.77.0.100/24 to eth0", &roles), "OLD: add 10.77.0.100/24 to eth0");
    }
}
