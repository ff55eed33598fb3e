//! A rule left off on purpose: the oracles must see what comes of it, or they would not see it either when it is a
//! mistake. The same plan with the rule kept must show nothing, or it would prove nothing.

use regent_lab::{FENCE_AGENT, LabSpec, STORAGE_AGENT};

use crate::oracle::Oracle;
use crate::plan::{Head, Plan};

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

/// The same at the storage: who is registered stays so.
const STORAGE_LIAR: &str = r#"#!/bin/sh
options=$(cat)
lied=/run/lied.$(printf '%s\n' "$options" | sed -n 's/^\(plug\|port\|nodename\)=//p' | head -n 1)
case "$options" in
    *action=off*) touch $lied; exit 0 ;;
    *action=status*) [ -e $lied ] && exit 2 ;;
    *action=on*) rm -f $lied ;;
esac
printf '%s\n' "$options" | exec regent lab fence-agent san
"#;

/// The second feed of a machine with two: its switch does not obey.
const FEED_B: &str = "/usr/sbin/fence_feed_b";
const DEAF: &str = r#"#!/bin/sh
options=$(cat)
case "$options" in
    *action=off* | *action=reboot*) echo 'the relay does not move' >&2; exit 1 ;;
    *action=status* | *action=on*) exit 0 ;;
esac
printf '%s\n' "$options" | exec regent lab fence-agent
"#;

/// A rule, what is played without it, and who has to notice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// Which of the four rules it belongs to.
    pub(crate) of: u8,
    /// What is left off, in words.
    pub(crate) words: &'static str,
    plan: &'static str,
    pub(crate) seen_by: &'static [Oracle],
    /// Whether it is quick enough to be played with every `cargo xtask test`.
    pub(crate) quick: bool,
    /// Something must be seen in one of so many plays: more than one where the plan needs a certain leader, and who is
    /// elected is left to chance.
    pub(crate) tries: u8,
}

const OWNERS: &[Oracle] = &[Oracle::Disk, Oracle::Address, Oracle::Answers];

/// Those that a plan is aimed at. Any condition of the lease can be named, too; then random rounds are played. Groups
/// prefer nodes in the order of the loads: the first group is on lx1.
pub(crate) const RULES: [Rule; 16] = [
    Rule {
        name: "L12Gate",
        of: 1,
        words: "the guard does what its daemon asked for in an incarnation that is over, and does not take it back",
        plan: "nodes 3\ntakeover slow\nload front\nround\nat 0.300s stop guard lx3 for 7.000s\n\
               at 0.500s order lx2 group move front lx3\nat 1.500s stop daemon lx3 for 6.900s\n",
        seen_by: OWNERS,
        quick: false,
        tries: 1,
    },
    Rule {
        name: "DefinitionInForce",
        of: 1,
        words: "an edited configuration gives to a group what another one's owner still holds",
        plan: "load front ledger\nround\nat 0.300s apply lx1 swapped\nat 1.300s order lx1 group restart front\n",
        seen_by: OWNERS,
        quick: false,
        tries: 1,
    },
    Rule {
        name: "guard-keeps",
        of: 2,
        words: "the guard keeps what it holds when the lease ends",
        plan: "load front ledger\nround\nat 0.500s split lx1 for 4.000s\n",
        seen_by: OWNERS,
        quick: true,
        tries: 1,
    },
    Rule {
        name: "L4FinishInTime",
        of: 2,
        words: "letting go begins when it should be finished",
        plan: "takeover slow\nload ledger\nround\nat 0.500s split lx1 for 7.000s\nat 1.000s san lx1 hang for 4.800s\n",
        seen_by: &[Oracle::Disk],
        quick: false,
        tries: 1,
    },
    Rule {
        name: "KernelEndsAddresses",
        of: 2,
        words: "the kernel answers for an address after its lease has ended",
        plan: "load front\nround\nat 0.500s freeze lx1 for 4.000s\n",
        seen_by: &[Oracle::Address],
        quick: false,
        tries: 1,
    },
    Rule {
        name: "fence-lies",
        of: 3,
        words: "the fence device says that it has cut the power, and has not",
        plan: LATE_WRITES,
        seen_by: &[Oracle::Disk],
        quick: true,
        tries: 1,
    },
    Rule {
        name: "storage-lies",
        of: 3,
        words: "the fence device at the storage says that it has cut a node off, and has not",
        plan: LATE_WRITES_AT_THE_STORAGE,
        seen_by: &[Oracle::Disk],
        quick: false,
        tries: 1,
    },
    Rule {
        name: "L10NoLeaseProof",
        of: 3,
        words: "the end of the lease is taken for a proof about what is held without a lease",
        plan: "load ledger\nround\nat 0.500s order lx1 node stop lx1 --forced\n",
        seen_by: OWNERS,
        quick: true,
        tries: 1,
    },
    Rule {
        name: "L1RestartWait",
        of: 3,
        words: "a voter that restarted does not count its start as an acknowledgement",
        plan: "takeover slow\nload ledger\nround\nat 0.200s apart lx1 wit for 5.600s\nat 5.700s cut lx1 all both for 6.000s\n\
               at 5.900s kill guard lx2\nat 6.300s san lx1 hang for 2.700s\n",
        seen_by: &[Oracle::Disk],
        quick: false,
        tries: 1,
    },
    Rule {
        name: "L1DurablePromise",
        of: 3,
        words: "a promise counts before it is on the disk, and is forgotten with the power",
        plan: "nodes 5\ntakeover slow\nload front ledger\nround\nat 0.100s state-disk lx3 hang for 4.800s\n\
               at 0.200s apart lx1 lx3 for 4.800s\nat 4.700s power lx3 for 0.500s\n\
               at 8.500s apart lx1 lx4 lx5 for 7.500s\nat 11.000s stop daemon lx1 for 4.700s\n",
        seen_by: OWNERS,
        quick: false,
        tries: 1,
    },
    Rule {
        name: "L2StopBeforeStoring",
        of: 3,
        words: "a voter acknowledges until its promise is on the disk",
        plan: "nodes 5\ntakeover slow\nload front ledger\nround\nat 0.200s apart lx1 lx3 for 3.300s\n\
               at 0.800s stop daemon lx3 for 7.600s\nat 8.300s kill daemon lx3\nat 3.700s apart lx1 lx4 lx5 for 8.300s\n\
               at 7.600s stop daemon lx1 for 4.500s\nat 8.400s apart lx1 lx3 lx4 lx5 for 3.500s\n",
        seen_by: OWNERS,
        quick: false,
        tries: 1,
    },
    Rule {
        name: "L2PromiseEndsAcks",
        of: 3,
        words: "a voter acknowledges though it has promised not to",
        plan: PROMISED,
        seen_by: OWNERS,
        quick: false,
        tries: 1,
    },
    Rule {
        name: "L5OnlyTheLogWithdraws",
        of: 3,
        words: "a voter forgets its promise when it hears the owner again",
        plan: PROMISED,
        seen_by: OWNERS,
        quick: false,
        tries: 1,
    },
    Rule {
        name: "L5CitedWithdrawn",
        of: 3,
        words: "a promise that was withdrawn is cited as a proof",
        plan: "takeover slow\nload front ledger\nround\nat 0.200s apart lx1 wit for 4.800s\n\
               at 8.000s apart lx1 lx2 for 7.000s\nat 10.000s stop daemon lx1 for 4.700s\n",
        seen_by: OWNERS,
        quick: false,
        tries: 1,
    },
    Rule {
        name: "L7OwnVote",
        of: 3,
        words: "an owner's own guard promises to acknowledge itself no more, and goes on",
        plan: "takeover slow\nload front ledger\nround\nat 0.200s apart lx1 wit for 8.000s\n\
               at 3.500s stop daemon lx1 for 4.500s\n",
        seen_by: OWNERS,
        quick: false,
        tries: 3,
    },
    Rule {
        name: "FenceWholeLevel",
        of: 4,
        words: "a machine with two feeds counts as off though one of the two devices failed",
        plan: "load ledger\nround\nat 0.400s san lx1 hang for 7.500s\nat 0.500s pause lx1 for 9.000s\n",
        seen_by: &[Oracle::Disk],
        quick: false,
        tries: 1,
    },
];

/// The writes that a machine had under way when it was paused come to the disk late.
const LATE_WRITES: &str =
    "load ledger\nround\nat 0.400s san lx1 hang for 4.000s\nat 0.500s pause lx1 for 5.000s\n";

/// The same where a device at the storage has to refuse them.
const LATE_WRITES_AT_THE_STORAGE: &str = "nodes 3\nfence storage\nload ledger\nround\n\
     at 0.400s san lx1 hang for 4.000s\nat 0.500s pause lx1 for 5.000s\n";

/// lx3 has promised and hears the owner again, and its daemon, which would have the promise withdrawn, stands still.
const PROMISED: &str = "nodes 5\ntakeover slow\nload front ledger\nround\nat 0.200s apart lx1 lx3 for 5.000s\n\
     at 5.000s stop daemon lx3 for 8.000s\nat 5.300s apart lx1 lx4 lx5 for 7.700s\n\
     at 8.300s stop daemon lx1 for 4.700s\n";

/// The rule of that name.
pub(crate) fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.name == name)
}

impl Rule {
    /// The plan that is aimed at it, with the rule left off, or kept.
    ///
    /// # Errors
    /// Never for the rules above; a test reads them all.
    pub(crate) fn plan(&self, kept: bool) -> crate::Result<Plan> {
        Plan::parse(&format!(
            "nodes 2\nsabotage {}{}\n{}",
            self.name,
            if kept { " kept" } else { "" },
            self.plan
        ))
    }
}

/// Leaves the rule off in every machine, if one is.
pub(crate) fn leave_off(spec: LabSpec, head: &Head) -> LabSpec {
    let Some(name) = head.sabotage.as_deref() else { return spec };
    let spec = match name {
        "FenceWholeLevel" => spec.file(FENCE_AGENT, 0o755, LIAR).file(FEED_B, 0o755, DEAF),
        "fence-lies" if !head.kept => return spec.file(FENCE_AGENT, 0o755, LIAR),
        "storage-lies" if !head.kept => return spec.file(STORAGE_AGENT, 0o755, STORAGE_LIAR),
        _ => spec,
    };
    // Read by debug builds of the daemon and of the guard alone.
    if head.kept { spec } else { spec.file("/usr/local/bin/rule-off", 0o644, name) }
}

/// The fence devices: names, agents, and what else is said of them. Where a rule of the lease is left off, there are
/// none: nothing but the lease stands between two owners.
pub(crate) fn fences(head: &Head) -> &'static [(&'static str, &'static str, &'static str)] {
    match head.sabotage.as_deref() {
        None | Some("fence-lies") => &[("power", FENCE_AGENT, "")],
        // What the second one does not do is waited for as long as a call may take.
        Some("FenceWholeLevel") => &[("feed-a", FENCE_AGENT, ""), ("feed-b", FEED_B, "timeout = \"1s\"\n")],
        Some(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_aimed_plan_can_be_read_and_names_its_rule() {
        for rule in RULES {
            let plan = rule.plan(false).unwrap();
            assert_eq!(plan.head.sabotage.as_deref(), Some(rule.name));
            assert!(!plan.head.kept && rule.plan(true).unwrap().head.kept);
            assert_eq!(plan.rounds.len(), 1);
            assert!(!rule.seen_by.is_empty() && !rule.words.is_empty());
        }
    }

    #[test]
    fn each_of_the_four_rules_is_left_off_somewhere() {
        for number in 1..=4 {
            assert!(RULES.iter().any(|r| r.of == number), "rule {number}");
        }
    }
}
