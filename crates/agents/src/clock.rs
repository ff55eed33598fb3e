//! Answers in the place of a worker that does not.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use regent_model::action::{CommandEnd, Failure, Outcome, RunId};

use crate::job::Job;
use crate::report::Report;
use crate::sync::{lock, wait_until};

/// Where reports go.
pub(crate) type Reporter = Arc<dyn Fn(Report) + Send + Sync>;

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Run(RunId),
    Fence(RunId),
    Event(RunId),
    Look(RunId),
}

impl Asked {
    /// The answer that it failed.
    pub(crate) fn failed(self, failure: Failure, job: &Job) -> Report {
        let steps = job.take_steps();
        match self {
            Self::Run(id) => Report::Done { id, outcome: Outcome::Failed(failure), steps },
            Self::Fence(id) => Report::Fenced { id, result: Err(failure), steps },
            Self::Event(id) => {
                let (words, output) = (failure.reason, failure.evidence);
                Report::Ran { id, end: CommandEnd { code: None, words, output } }
            }
            Self::Look(id) => Report::Seen { id, text: failure.reason },
        }
    }
}

/// The work that is not yet answered, by deadline.
#[derive(Default)]
pub(crate) struct Clock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pending: BTreeMap<(Instant, u64), (Asked, Arc<Job>)>,
    next: u64,
    hung: usize,
    stopped: bool,
}

/// The number under which work is pending.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(Instant, u64);

impl Clock {
    /// Starts the thread that keeps the time.
    pub(crate) fn start(report: Reporter) -> Result<Arc<Self>, String> {
        let clock = Arc::new(Self::default());
        let own = clock.clone();
        std::thread::Builder::new()
            .name("regent-clock".into())
            .spawn(move || own.keep_time(&report))
            .map_err(|e| format!("cannot make a thread: {e}"))?;
        Ok(clock)
    }

    /// From now on the work is answered at its hard deadline, unless its ticket is taken back before.
    pub(crate) fn add(&self, asked: Asked, job: Arc<Job>) -> Ticket {
        let mut state = lock(&self.state);
        state.next += 1;
        let ticket = Ticket(job.hard_deadline(), state.next);
        state.pending.insert((ticket.0, ticket.1), (asked, job));
        self.changed.notify_all();
        ticket
    }

    /// Takes the ticket back: true for the one who may answer. False means that the clock has answered, and
    /// that the thread which asks no longer hangs.
    pub(crate) fn take_back(&self, ticket: Ticket) -> bool {
        let mut state = lock(&self.state);
        let mine = state.pending.remove(&(ticket.0, ticket.1)).is_some();
        if !mine {
            state.hung = state.hung.saturating_sub(1);
        }
        mine
    }

    /// What is being worked on, and since when, for the operator.
    pub(crate) fn doing(&self) -> Vec<String> {
        let state = lock(&self.state);
        let looks = |asked: &Asked| matches!(asked, Asked::Look(_));
        let jobs = state.pending.values().filter(|(asked, _)| !looks(asked));
        jobs.map(|(_, job)| format!("{}: {}", job.what, job.doing())).collect()
    }

    /// How many threads still work on what the clock has answered.
    pub(crate) fn hung(&self) -> usize {
        lock(&self.state).hung
    }

    /// Ends the thread; what is pending is answered by its own workers only.
    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    fn keep_time(&self, report: &Reporter) {
        let mut state = lock(&self.state);
        while !state.stopped {
            let first = state.pending.first_key_value().map(|((at, number), _)| (*at, *number));
            match first {
                Some((at, number)) if at <= Instant::now() => {
                    let Some((asked, job)) = state.pending.remove(&(at, number)) else { continue };
                    state.hung += 1;
                    job.abandon();
                    drop(state);
                    tracing::error!(what = %job.what, doing = %job.doing(), "no answer in time");
                    report(asked.failed(overdue(&job), &job));
                    state = lock(&self.state);
                }
                first => state = wait_until(&self.changed, state, first.map(|(at, _)| at)),
            }
        }
    }
}

fn overdue(job: &Job) -> Failure {
    let reason = format!("{} did not end in {}: {}", job.what, seconds(job.begun.elapsed()), job.doing());
    Failure { timed_out: true, ..Failure::because(reason) }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn clock() -> (Arc<Clock>, mpsc::Receiver<Report>) {
        let (sender, receiver) = mpsc::channel();
        let report = move |report| sender.send(report).unwrap();
        (Clock::start(Arc::new(report)).unwrap(), receiver)
    }

    #[test]
    fn work_that_hangs_is_answered_once_before_its_deadline_and_counted() {
        let (clock, reports) = clock();
        let job = Arc::new(Job::new("mounting".into(), Duration::from_millis(600)));
        job.now_doing("reading the disk");
        let ticket = clock.add(Asked::Run(RunId(7)), job.clone());
        let Report::Done { id, outcome: Outcome::Failed(failure), .. } = reports.recv().unwrap() else {
            panic!("not an answer");
        };
        // On an idle machine before 600 ms; a busy one wakes threads late.
        assert!(job.begun.elapsed() <= Duration::from_millis(900));
        assert!(id == RunId(7) && failure.timed_out && failure.reason.contains("reading the disk"));
        assert_eq!(clock.hung(), 1);
        assert!(!clock.take_back(ticket));
        assert_eq!(clock.hung(), 0);
        clock.stop();
    }

    #[test]
    fn work_that_is_answered_by_its_worker_is_not_answered_again() {
        let (clock, reports) = clock();
        let job = Arc::new(Job::new("quick".into(), Duration::from_millis(40)));
        let ticket = clock.add(Asked::Fence(RunId(8)), job);
        assert!(clock.take_back(ticket));
        assert!(reports.recv_timeout(Duration::from_millis(120)).is_err());
        clock.stop();
    }
}
