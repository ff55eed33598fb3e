//! One piece of work in hand: its deadline, the steps so far, and whether it is still wanted.

use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use regent_model::action::Failure;
use regent_model::journal::Level;
use rustix::event::EventfdFlags;

use crate::report::Step;
use crate::sync::lock;

/// The worker stops a tenth of its time before the answer is due, but not earlier than this before.
const MARGIN_MAX: Duration = Duration::from_millis(300);

/// One piece of work. Shared by the thread that does it, the clock that answers in its place, and whoever
/// wants it to end.
pub(crate) struct Job {
    /// What it is, for people: "acquire of application db".
    pub(crate) what: String,
    pub(crate) begun: Instant,
    limit: Duration,
    steps: Mutex<Vec<Step>>,
    doing: Mutex<(Instant, String)>,
    unwanted: Mutex<Option<String>>,
    abandoned: AtomicBool,
    /// Becomes readable when the work is unwanted.
    alarm: Option<OwnedFd>,
}

impl Job {
    pub(crate) fn new(what: String, limit: Duration) -> Self {
        let begun = Instant::now();
        let alarm = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
        Self {
            what,
            begun,
            limit,
            steps: Mutex::default(),
            doing: Mutex::new((begun, "beginning".into())),
            unwanted: Mutex::default(),
            abandoned: AtomicBool::new(false),
            alarm,
        }
    }

    fn margin(&self) -> Duration {
        (self.limit / 10).min(MARGIN_MAX)
    }

    /// When the worker must come to an end by itself.
    pub(crate) fn soft_deadline(&self) -> Instant {
        self.begun + self.limit - self.margin()
    }

    /// When the clock answers in the worker's place; a little before the answer is due.
    pub(crate) fn hard_deadline(&self) -> Instant {
        self.begun + self.limit - self.margin() / 2
    }

    /// `limit` from now, or the worker's deadline, whichever is first.
    pub(crate) fn until(&self, limit: Duration) -> Instant {
        let now = Instant::now();
        now.checked_add(limit).map_or_else(|| self.soft_deadline(), |at| at.min(self.soft_deadline()))
    }

    pub(crate) fn left(&self) -> Duration {
        self.soft_deadline().saturating_duration_since(Instant::now())
    }

    /// Whether the work is still wanted and has time left; asked before every step that changes something.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if let Some(why) = lock(&self.unwanted).clone() {
            return Err(Failure::because(why));
        }
        if self.left().is_zero() {
            let reason = format!("the time of {:?} is up", self.limit);
            return Err(Failure { timed_out: true, ..Failure::because(reason) });
        }
        Ok(())
    }

    /// Says that the work is no longer wanted. It ends at its next step; a command that it waits for is
    /// killed.
    pub(crate) fn call_off(&self, why: &str) {
        lock(&self.unwanted).get_or_insert_with(|| why.to_owned());
        if let Some(alarm) = &self.alarm {
            let _ = rustix::io::write(alarm, &1_u64.to_ne_bytes());
        }
    }

    pub(crate) fn is_called_off(&self) -> bool {
        lock(&self.unwanted).is_some()
    }

    /// A descriptor that becomes readable when the work is called off.
    pub(crate) fn alarm(&self) -> Option<&OwnedFd> {
        self.alarm.as_ref()
    }

    /// Marks the work as answered by the clock; whatever its thread still finds out is lost.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.call_off("its time was up");
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// What is being done now and since when, for the operator.
    pub(crate) fn doing(&self) -> String {
        let (since, what) = &*lock(&self.doing);
        format!("{what} for {} ms", since.elapsed().as_millis())
    }

    /// Does `work` as one step: named while it lasts, recorded with its time afterwards.
    pub(crate) fn step<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        *lock(&self.doing) = (begun, what.to_owned());
        let result = work();
        *lock(&self.doing) = (Instant::now(), format!("going on after: {what}"));
        self.record(Level::Step, what.to_owned(), begun.elapsed(), String::new());
        result
    }

    /// Names what is being done now without recording a step.
    pub(crate) fn now_doing(&self, what: &str) {
        *lock(&self.doing) = (Instant::now(), what.to_owned());
    }

    /// Records a step or a finding.
    pub(crate) fn record(&self, level: Level, what: String, took: Duration, evidence: String) {
        lock(&self.steps).push(Step { what, took, level, evidence });
    }

    /// Records something that a person should look at.
    pub(crate) fn warn(&self, what: impl Into<String>, evidence: impl Into<String>) {
        self.record(Level::Warning, what.into(), Duration::ZERO, evidence.into());
    }

    /// The steps so far; they are handed out once.
    pub(crate) fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut *lock(&self.steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_ends_before_the_clock_and_the_clock_before_the_deadline() {
        for ms in [10, 100, 1000, 60_000] {
            let limit = Duration::from_millis(ms);
            let job = Job::new("test".into(), limit);
            assert!(job.soft_deadline() < job.hard_deadline());
            assert!(job.hard_deadline() < job.begun + limit);
        }
    }

    #[test]
    fn work_that_was_called_off_says_why_at_its_next_step() {
        let job = Job::new("test".into(), Duration::from_secs(9));
        assert!(job.check().is_ok());
        job.call_off("a release was asked for");
        assert!(job.check().unwrap_err().reason.contains("release"));
    }

    #[test]
    fn work_without_time_left_has_timed_out() {
        let job = Job::new("test".into(), Duration::ZERO);
        assert!(job.check().unwrap_err().timed_out);
    }
}
