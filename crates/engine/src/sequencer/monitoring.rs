//! Watching what runs: checks and when they are due, what is slow, and what follows when something fails.

use std::collections::BTreeSet;
use std::time::Duration;

use regent_model::Moment;
use regent_model::action::{How, Op, Outcome, Resource};
use regent_model::config::OnFailure;
use regent_model::event::EventName;
use regent_model::ids::ResourceName;
use regent_model::journal::Level;

use super::{ANSWER_GRACE, RunNumbers, Sequencer, Stage, Wish, as_failure};
use crate::io::ResourceWord;

/// How long a command may take that tells somebody of a failure.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(60);

/// A question to an agent that no step waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) slot: usize,
    /// Which of the slot's monitors.
    watch: usize,
    began: Moment,
    pub(super) give_up: Moment,
}

impl Asked {
    /// Whether a resource could be moved counts as a check of it.
    pub(super) fn as_check(slot: usize, began: Moment, give_up: Moment) -> Self {
        Self { slot, watch: 0, began, give_up }
    }
}

impl Sequencer {
    /// Takes note of which applications are not to be watched. One that is to be watched again is looked at at once.
    pub(crate) fn suspend(
        &mut self,
        now: Moment,
        suspended: &BTreeSet<ResourceName>,
        wishes: &mut Vec<Wish>,
    ) {
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            let is = suspended.contains(slot.resource.name());
            if std::mem::replace(&mut slot.suspended, is) == is {
                continue;
            }
            if !is {
                slot.watch_again(now);
            }
            let (level, word) = match is {
                true => (Level::Warning, "is not watched any more: its monitors are suspended"),
                false => (Level::Notice, "is watched again"),
            };
            let text = format!("{} {word}", self.described(at));
            let kind = if is { "suspended" } else { "resumed" };
            wishes.push(self.tell_slot(level, kind, at, text, Duration::ZERO, ""));
        }
    }

    /// Tells whoever wants to know of failures that were seen.
    pub(super) fn send_notices(&mut self, now: Moment, numbers: &mut RunNumbers, wishes: &mut Vec<Wish>) {
        for at in 0..self.slots.len() {
            let Some(why) = self.slots[at].notify_due.take() else { continue };
            let id = numbers.next();
            let give_up = now + NOTIFY_TIMEOUT + ANSWER_GRACE;
            self.notices.insert(id, Asked { slot: at, watch: 0, began: now, give_up });
            let mut run = self.order(id, at, Op::Monitor, How::Notify, NOTIFY_TIMEOUT);
            run.environment.push(("REGENT_FAILURE".to_owned(), why));
            wishes.push(Wish::Run(run));
        }
    }

    /// Asks every monitor that is due and not asked yet.
    pub(super) fn monitor(&mut self, now: Moment, numbers: &mut RunNumbers, wishes: &mut Vec<Wish>) {
        for (at, watch) in self.watched() {
            let state = &self.slots[at].watches[watch];
            if now < state.next {
                continue;
            }
            let id = numbers.next();
            let deadline = self.slots[at].watch_deadline(watch);
            let give_up = now + deadline + ANSWER_GRACE;
            self.monitors.insert(id, Asked { slot: at, watch, began: now, give_up });
            let how = match watch {
                0 => How::Plain,
                more => How::Watch(u32::try_from(more - 1).unwrap_or(u32::MAX)),
            };
            wishes.push(Wish::Run(self.order(id, at, Op::Monitor, how, deadline)));
        }
    }

    /// Every monitor that is on and waits for no answer.
    fn watched(&self) -> Vec<(usize, usize)> {
        let by_hand = |at: usize| self.hands.values().any(|slot| *slot == at);
        let busy =
            |at, watch| by_hand(at) || self.monitors.values().any(|a| (a.slot, a.watch) == (at, watch));
        let all = self.slots.iter().enumerate().filter(|(_, slot)| !slot.suspended).flat_map(|(at, slot)| {
            let recheck = slot.recheck;
            let watches = slot.watches.iter().enumerate();
            let on = watches.filter(move |(at, w)| !w.times.interval.is_zero() || (recheck && *at == 0));
            on.map(move |(watch, _)| (at, watch))
        });
        all.filter(|(at, watch)| !busy(*at, *watch)).collect()
    }

    pub(super) fn next_check(&self) -> Option<Moment> {
        self.watched().into_iter().map(|(at, watch)| self.slots[at].watches[watch].next).min()
    }

    pub(super) fn monitored(&mut self, now: Moment, asked: Asked, outcome: Outcome, wishes: &mut Vec<Wish>) {
        let Asked { slot: at, watch, .. } = asked;
        if self.stage != Stage::Online || self.slots[at].suspended {
            return;
        }
        let recheck = watch == 0 && std::mem::take(&mut self.slots[at].recheck);
        let interval = self.slots[at].watches[watch].times.interval;
        self.slots[at].watches[watch].next = now + interval;
        if outcome == Outcome::Running {
            self.answered(at, watch, now.since(asked.began), wishes);
            return;
        }
        let failure = as_failure(outcome, "it does not run");
        let state = &mut self.slots[at].watches[watch];
        let count = state.count(false);
        let (limit, of) = (state.times.failures.max(1), state.times.of);
        // Nobody is to be told again and again what was told and is left as it is.
        if self.slots[at].left_failed == Some(watch) || self.slots[at].watches[watch].unwell {
            return;
        }
        let what = self.watch_described(at, watch);
        let counted = match of > limit {
            false => format!("{count} of {limit}"),
            true => format!("{count} of the last {of} checks; {limit} decide"),
        };
        let text = format!("{what} is not well ({counted}): {}", failure.reason);
        wishes.push(self.tell_slot(Level::Warning, "monitor", at, text, Duration::ZERO, &failure.evidence));
        if count >= limit || recheck {
            self.failed(now, at, watch, &failure.reason, wishes);
        }
    }

    /// A monitor says that all is well, after so long.
    fn answered(&mut self, at: usize, watch: usize, took: Duration, wishes: &mut Vec<Wish>) {
        let what = self.watch_described(at, watch);
        let slot = &mut self.slots[at];
        let state = &mut slot.watches[watch];
        state.count(true);
        let limit = state.times.slow_after.unwrap_or(Duration::MAX);
        let slow = took > limit;
        let was_slow = std::mem::replace(&mut state.slow, slow);
        let was_unwell = std::mem::take(&mut state.unwell);
        let well_again = was_unwell || slot.left_failed == Some(watch);
        if slot.left_failed == Some(watch) {
            slot.left_failed = None;
            slot.spared = None;
        }
        if slot.left_failed.is_none() {
            slot.stands();
        }
        if well_again {
            let text = format!("{what} is well again");
            wishes.push(self.tell_slot(Level::Notice, "monitor", at, text, Duration::ZERO, ""));
        }
        let (level, text) = match (was_slow, slow) {
            (false, true) => {
                let limit = regent_model::config::duration_text(limit);
                (
                    Level::Warning,
                    format!("{what} is slow: it is well, and took longer than {limit} to say so"),
                )
            }
            (true, false) => (Level::Notice, format!("{what} is not slow any more")),
            _ => return,
        };
        wishes.push(self.tell_slot(level, "slow", at, text, took, ""));
    }

    /// The main process of an application has ended: no monitor needs to be asked.
    pub(crate) fn exited(&mut self, now: Moment, resource: &ResourceName, how: &str, wishes: &mut Vec<Wish>) {
        let Some(at) = self.slots.iter().position(|s| s.resource.name() == resource) else { return };
        let stands = match self.stage {
            Stage::Online => true,
            Stage::Acquiring { at: next } => at < next || self.slots[at].stays,
            _ => false,
        };
        if !stands {
            return;
        }
        let slot = &self.slots[at];
        let judged_later = slot.in_background
            && !slot.watches[0].times.interval.is_zero()
            && (self.stage != Stage::Online || now < slot.judged_from);
        let unwatched =
            matches!(slot.resource, Resource::Instance(_)) && slot.watches[0].times.interval.is_zero();
        let (mark, fails) = match (slot.suspended, judged_later, slot.left_failed) {
            _ if unwatched => ("; it is not monitored, and is left as it is", false),
            (true, ..) => ("; its monitors are suspended", false),
            _ if slot.watches[0].unwell => ("; it is left as it is", false),
            (_, true, _) => ("; the first check will judge", false),
            (_, _, Some(_)) => ("; it is left as it is", false),
            _ => ("", true),
        };
        let text = format!("{} has ended: {how}{mark}", self.described(at));
        wishes.push(self.tell_slot(Level::Warning, "exited", at, text, Duration::ZERO, ""));
        if unwatched {
            self.slots[at].word = ResourceWord::Failed;
            self.slots[at].evidence_due = Some(how.to_owned());
        }
        if fails {
            self.failed(now, at, 0, how, wishes);
        }
    }

    /// Slot `at` failed: it and what stands on it are restarted, as often as is allowed.
    fn failed(&mut self, now: Moment, at: usize, watch: usize, why: &str, wishes: &mut Vec<Wish>) {
        let slot = &mut self.slots[at];
        slot.notify_due = slot.notifies.then(|| why.to_owned());
        slot.evidence_due = slot.diagnose.map(|_| why.to_owned());
        if slot.watches[watch].observes {
            self.observed(at, watch, wishes);
            return;
        }
        if self.is_spared(at, watch, why, wishes) {
            return;
        }
        let what = self.described(at);
        let slot = &mut self.slots[at];
        slot.word = ResourceWord::Failed;
        if slot.may_restart(now) {
            slot.after_failure = true;
            let text = format!("{what} failed; restarting it here");
            wishes.push(self.tell_slot(Level::Notice, "restart", at, text, Duration::ZERO, ""));
            self.raise(EventName::ServerRestart, at, wishes);
            self.began = now;
            self.monitors.clear();
            self.current = None;
            self.stage = Stage::Mending { at: self.slots.len(), to: at };
            return;
        }
        let left = slot.on_failure == OnFailure::Notify;
        let more = if left { "; it is left as it is (on_failure = \"notify\")" } else { "" };
        if left {
            slot.left_failed = Some(watch);
        }
        let text = format!("{what} failed, and its restarts are used up{more}");
        wishes.push(self.tell_slot(Level::Error, "gave_up", at, text, Duration::ZERO, ""));
        self.raise(EventName::ServerDown, at, wishes);
        if !left {
            self.began = now;
            self.begin_release(Some(format!("{what}: {why}")));
        }
    }

    /// A monitor that only observes has found something: it is told once, until the monitor is content again.
    fn observed(&mut self, at: usize, watch: usize, wishes: &mut Vec<Wish>) {
        let what = self.watch_described(at, watch);
        let slot = &mut self.slots[at];
        slot.watches[watch].unwell = true;
        slot.word = slot.running_word();
        let text =
            format!("{what} is not well; it only observes, and nothing is done (action = \"observe\")");
        wishes.push(self.tell_slot(Level::Warning, "observed", at, text, Duration::ZERO, ""));
    }

    fn watch_described(&self, at: usize, watch: usize) -> String {
        let what = self.described(at);
        match &self.slots[at].watches[watch].name {
            None => what,
            Some(name) => format!("monitor {name} of {what}"),
        }
    }
}
