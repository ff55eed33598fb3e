//! When a group goes back to a better node: at once, after a while, or by the calendar.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calendar::{FailbackAt, LocalTime, failback_at};
use super::draft::{Draft, GroupDraft};
use super::finding::{Finding, Findings};
use super::reader::{Reader, Zero};
use super::tree::At;
use super::{Config, Failback};
use crate::ids::GroupName;

/// When a group goes back, if its policy lets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FailbackTimes {
    /// How long the better node must have been up; zero: it need not.
    pub after: Duration,
    /// The calendar; without it, at any time.
    pub at: Option<FailbackAt>,
}

#[derive(Debug, Default)]
pub(super) struct FailbackDraft {
    after: Option<At<Duration>>,
    at: Option<At<FailbackAt>>,
}

impl FailbackDraft {
    pub(super) fn times(&self) -> FailbackTimes {
        FailbackTimes {
            after: self.after.as_ref().map_or(Duration::ZERO, |a| a.value),
            at: self.at.as_ref().map(|a| a.value),
        }
    }
}

pub(super) fn failback(reader: &mut Reader<'_>) -> FailbackDraft {
    let after = reader.duration("failback_after", Zero::Allowed, "\"2m\"");
    let at = reader.text("failback_at", "\"daily 02:00\"");
    FailbackDraft { after, at: reader.checked("failback_at", at, failback_at) }
}

pub(super) fn check(draft: &Draft, now: Option<LocalTime>, findings: &mut Findings) {
    for group in &draft.groups {
        decides_nothing(group, findings);
        if let (Some(at), Some(now)) = (&group.failback.at, now)
            && at.value.is_past(now)
        {
            let message = format!("{} is past: `{}` goes back at once", at.value, group.title());
            findings.add(
                Finding::warning(&at.span, message)
                    .help("write a date to come, or \"daily 02:00\"; or delete the line if that is meant"),
            );
        }
    }
}

fn decides_nothing(group: &GroupDraft, findings: &mut Findings) {
    let Some(policy) = &group.policy else { return };
    let after = group.failback.after.as_ref().map(|a| ("failback_after", &a.span));
    let at = group.failback.at.as_ref().map(|a| ("failback_at", &a.span));
    let (idle, why, help) = match policy.value.failback {
        Failback::Home => return,
        Failback::Never => {
            ([after, at], "never fails back", "write failback = \"home\" in the policy, or delete the line")
        }
        Failback::Join => (
            [None, at],
            "goes home only when its home node joins",
            "delete the line, or write failback = \"home\" to go back by the calendar",
        ),
    };
    for (key, span) in idle.into_iter().flatten() {
        findings.add(
            Finding::warning(span, format!("`{key}` decides nothing: `{}` {why}", group.title()))
                .help(help)
                .related(&policy.span, "its policy"),
        );
    }
}

/// The groups of a configuration whose one date of failback is over.
#[must_use]
pub fn past_dates(config: &Config, now: LocalTime) -> Vec<GroupName> {
    let past = |at: &FailbackAt| at.is_past(now);
    config
        .groups
        .iter()
        .filter(|g| g.failback.at.as_ref().is_some_and(past))
        .map(|g| g.name.clone())
        .collect()
}
