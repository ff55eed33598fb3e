//! When evidence of an application is gathered, and how its own command takes part.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use regent_model::action::{Failure, Op, Outcome};
use regent_model::ids::INSTANCE_RESOURCE_PREFIX;

use super::Application;
use crate::command::{Ended, Finished};
use crate::evidence::{Gathering, is_worth_while};
use crate::slot::{self, Key};
use crate::sync::lock;

/// A look at a check that hangs, before it is killed. The engine gives checks so much more time.
const HUNG_LOOK: Duration = Duration::from_millis(1200);
/// What the commands of every application ended with last.
#[derive(Default)]
pub(crate) struct Answers(Mutex<BTreeMap<Key, BTreeMap<String, Answered>>>);

struct Answered {
    at: SystemTime,
    took: Duration,
    ended: Ended,
}

impl Answers {
    /// Takes note of an answer.
    pub(crate) fn note(&self, key: Key, action: &str, finished: &Finished) {
        let answer = Answered { at: SystemTime::now(), took: finished.took, ended: finished.ended };
        lock(&self.0).entry(key).or_default().insert(action.to_owned(), answer);
    }

    /// Whether this one did not end by itself the last time.
    fn hung_before(&self, key: &Key, action: &str) -> bool {
        lock(&self.0).get(key).and_then(|all| all.get(action)).is_some_and(|a| a.ended == Ended::TimedOut)
    }

    pub(crate) fn in_words(&self, key: &Key) -> Vec<String> {
        let all = lock(&self.0);
        let mut answers: Vec<(&String, &Answered)> = all.get(key).into_iter().flatten().collect();
        answers.sort_by_key(|(_, answer)| std::cmp::Reverse(answer.at));
        let words = |(action, a): (&String, &Answered)| {
            let ago = SystemTime::now().duration_since(a.at).unwrap_or_default().as_secs_f64();
            format!("{action}: {} after {} ms, {ago:.1} s ago", a.ended.in_words(), a.took.as_millis())
        };
        answers.into_iter().map(words).collect()
    }
}

/// Gathers the evidence of a failure that the engine is about to act on, or to leave alone.
pub(super) fn gather(app: &Application<'_>) -> Result<Outcome, Failure> {
    let environment = &app.context.run.environment;
    let why = environment.iter().find(|(key, _)| key == "REGENT_FAILURE").map_or("", |(_, why)| why);
    app.keep_evidence(why, app.context.job.soft_deadline(), true);
    Ok(Outcome::Running)
}

impl Application<'_> {
    /// Evidence before something of it is ended: within its budget, and within what the work at hand can spare beyond
    /// `kept_back`.
    pub(super) fn evidence_before_end(&self, why: &str, kept_back: Duration) {
        let Some(diagnose) = &self.config.diagnose else { return };
        let spare = self.context.job.left().saturating_sub(kept_back);
        self.keep_evidence(why, self.context.job.until(diagnose.budget.min(spare)), true);
    }

    /// A look at a command whose time is up, before it is killed. Of one that hangs again and again, the first counts.
    pub(super) fn look_at_hung(&self, action: &str) {
        let job = self.context.job;
        let run = self.context.run;
        let why = format!("its {action} command did not end in its time");
        match (run.op, action) {
            (Op::Release, "stop" | "cleanup") => {
                self.evidence_before_end(&why, super::release::KEPT_BACK_MAX)
            }
            (Op::Monitor, "status") => {}
            (Op::Monitor, action) if action.starts_with("monitor-") => {}
            _ => return,
        }
        let key = slot::key(run);
        if run.op == Op::Monitor && !self.context.inner.answers.hung_before(&key, action) {
            self.keep_evidence(&why, job.until(HUNG_LOOK), false);
        }
    }

    /// Gathers evidence and keeps it, by `until` at the latest. Once in each piece of work.
    fn keep_evidence(&self, why: &str, until: Instant, with_command: bool) {
        let Some(diagnose) = &self.config.diagnose else { return };
        let job = self.context.job;
        if !is_worth_while(until) || job.is_called_off() || self.looked.replace(true) {
            return;
        }
        let gathering = Gathering {
            context: self.context,
            diagnose,
            user: self.user.as_ref(),
            environment: self.environment("diagnose"),
            cgroups: self.with_its_instances(),
            output: self.output_path(""),
            answers: self.context.inner.answers.in_words(&slot::key(self.context.run)),
        };
        gathering.keep(why, until, with_command);
    }

    /// Its control group, and those of the instances of its group: one that only starts a database has nothing in its own
    /// that could tell why.
    fn with_its_instances(&self) -> Vec<PathBuf> {
        let own = self.path();
        let beside = own.parent().and_then(|group| std::fs::read_dir(group).ok());
        let entries = beside.into_iter().flatten().flatten();
        let is_one =
            |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(INSTANCE_RESOURCE_PREFIX.as_bytes());
        let mut instances: Vec<PathBuf> = entries
            .filter(|e| is_one(&e.file_name()))
            .map(|e| e.path())
            .filter(|path| *path != own)
            .collect();
        instances.sort();
        std::iter::once(own).chain(instances).collect()
    }
}
