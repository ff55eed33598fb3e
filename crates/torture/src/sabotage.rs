//! A rule left off on purpose: the oracles must see what comes of it, or they would not see it either when it is a mistake.

use regent_lab::{FENCE_AGENT, LabSpec};

use crate::oracle::Oracle;
use crate::plan::Plan;

/// A fence agent that says that it has cut the power, and has not.
const LIAR: &str = r#"#!/bin/sh
options=$(cat)
case "$options" in
    *action=off* | *action=reboot*) touch /run/lied; exit 0 ;;
    *action=status*) [ -e /run/lied ] && exit 2; exit 0 ;;
    *action=on*) rm -f /run/lied; exit 0 ;;
esac
printf '%s\n' "$options" | exec regent lab fence-agent
"#;

/// A rule, what is played without it, and who has to notice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// What is left off, in words.
    pub(crate) words: &'static str,
    plan: &'static str,
    pub(crate) seen_by: &'static [Oracle],
}

/// Those that a plan is aimed at. Any condition of the lease can be named, too; then random rounds are played.
pub(crate) const RULES: [Rule; 2] = [
    Rule {
        name: "fence-lies",
        words: "a proof is one: the fence device says that it has cut the power, and has not",
        plan: "load ledger\nround\nat 0.500s pause lx1 for 5.000s\nround\nat 0.500s pause lx2 for 5.000s\nround\n\
               at 0.500s pause lx1 for 6.000s\n",
        seen_by: &[Oracle::Disk],
    },
    Rule {
        name: "guard-keeps",
        words: "letting go is finished when the lease ends: the guard keeps what it holds",
        plan: "load front ledger\nround\nat 0.500s split lx1 for 4.000s\nround\nat 0.500s split lx2 for 4.000s\nround\n\
               at 0.500s split lx1 for 5.000s\n",
        seen_by: &[Oracle::Address, Oracle::Answers, Oracle::Disk],
    },
];

/// The rule of that name.
pub(crate) fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.name == name)
}

impl Rule {
    /// The plan that is aimed at it.
    ///
    /// # Errors
    /// Never for the rules above; a test reads them all.
    pub(crate) fn plan(&self) -> crate::Result<Plan> {
        Plan::parse(&format!("nodes 2\nsabotage {}\n{}", self.name, self.plan))
    }
}

/// Leaves the rule off in every machine.
pub(crate) fn leave_off(spec: LabSpec, name: &str) -> LabSpec {
    match name {
        "fence-lies" => spec.file(FENCE_AGENT, 0o755, LIAR),
        // Read by debug builds of the guard alone.
        other => spec.file("/usr/local/bin/rule-off", 0o644, other),
    }
}

/// What a group is content with: where the guard keeps what it holds, a disk is taken over by the end of a lease.
pub(crate) fn needs(name: Option<&str>) -> &'static str {
    if name == Some("guard-keeps") { "\nneeds  = [\"lease-ended\"]" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_aimed_plan_can_be_read_and_names_its_rule() {
        for rule in RULES {
            let plan = rule.plan().unwrap();
            assert_eq!(plan.head.sabotage.as_deref(), Some(rule.name));
            assert!(!plan.rounds.is_empty() && !rule.seen_by.is_empty() && !rule.words.is_empty());
        }
    }
}
