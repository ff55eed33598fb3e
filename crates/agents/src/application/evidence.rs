//! When evidence of an application is gathered, and how its own command takes part.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use regent_model::NodeName;
use regent_model::action::{Failure, Op, Outcome};
use regent_model::evidence::EvidenceHead;
use regent_model::journal::Level;
use rustix::process::Signal;

use super::Application;
use crate::cgroup::Folder;
use crate::command::{self, COMMAND_FOLDER, Command, Ended, Finished, Program};
use crate::evidence::{self, Look, Subject};
use crate::output::Output;
use crate::slot::{self, Key};
use crate::sync::lock;

/// A look at a check that hangs, before it is killed. The engine gives checks so much more time.
const HUNG_LOOK: Duration = Duration::from_millis(1200);
/// With less time than this nothing is begun.
const WORTH_WHILE: Duration = Duration::from_millis(30);
/// So much of its time, a tenth, is kept for writing down what was seen; at most this.
const WRITING_MAX: Duration = Duration::from_millis(250);
/// How long the kernel may take to end a command that was killed, before nobody waits for it.
const KILL_TAKES: Duration = Duration::from_millis(100);
/// So much of what the command says is kept, in bytes.
const OUTPUT_BYTES: usize = 256 << 10;

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
    pub(super) fn note(&self, key: Key, action: &str, finished: &Finished) {
        let answer = Answered { at: SystemTime::now(), took: finished.took, ended: finished.ended };
        lock(&self.0).entry(key).or_default().insert(action.to_owned(), answer);
    }

    /// Whether this one did not end by itself the last time.
    fn hung_before(&self, key: &Key, action: &str) -> bool {
        lock(&self.0).get(key).and_then(|all| all.get(action)).is_some_and(|a| a.ended == Ended::TimedOut)
    }

    fn in_words(&self, key: &Key) -> Vec<String> {
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
        let begun = Instant::now();
        let time = until.saturating_duration_since(begun);
        if time < WORTH_WHILE || job.is_called_off() || self.looked.replace(true) {
            return;
        }
        // What was let go of is nobody's to look at any more.
        let Ok(Some(folder)) = Folder::open(&self.path()) else { return };
        job.now_doing("gathering evidence");
        let inner = self.context.inner;
        let look = Look::begin(Subject {
            cgroup: self.path(),
            output: self.output_path(""),
            answers: inner.answers.in_words(&slot::key(self.context.run)),
        });
        let seen_by = until - (time / 10).min(WRITING_MAX);
        let line = diagnose.command.as_deref().filter(|_| with_command);
        let said = line.map(|line| self.diagnose(line, why, &folder, seen_by));
        let (seen, mut complete) = look.seen(seen_by);
        let mut text = format!("{why}\n");
        if let Some(said) = said {
            complete &= said.is_ok();
            let (how, output) = said.unwrap_or_else(|(how, output)| (how, output));
            let _ = writeln!(text, "{}{how}\n{output}", evidence::headline("what its diagnose command says"));
        }
        text.push_str(&seen);
        let keep = |head| evidence::keep(inner.evidence.clone(), head, &text, until);
        match self.head(why, begun, complete).and_then(keep) {
            Ok(head) => {
                let (id, group) = (head.id(), &self.context.run.group);
                let short = if complete { "" } else { ", not all that was to be seen" };
                let what = format!("evidence {id} is kept{short}: regent evidence {group} --show {id}");
                job.record(Level::Notice, what, begun.elapsed(), String::new());
            }
            Err(error) => job.warn(format!("evidence is not kept: {error}"), text),
        }
    }

    fn head(&self, why: &str, begun: Instant, complete: bool) -> Result<EvidenceHead, String> {
        let run = self.context.run;
        let node = run.environment.iter().find(|(key, _)| key == "REGENT_NODE");
        let node = node.and_then(|(_, node)| NodeName::new(node.as_str()).ok());
        Ok(EvidenceHead {
            number: 0,
            node: node.ok_or("nobody said which node this is")?,
            group: run.group.clone(),
            application: self.config.name.clone(),
            epoch: run.epoch,
            at_ms: evidence::wall_ms(),
            reason: why.lines().next().unwrap_or_default().to_owned(),
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            complete,
            bytes: 0,
        })
    }

    /// Runs the user's own command in the application's control group, where the guard can end it with everything
    /// else. Gives how it ended and what it said; as an error, where it did not end by itself.
    fn diagnose(
        &self,
        line: &str,
        why: &str,
        folder: &Folder,
        until: Instant,
    ) -> Result<(String, String), (String, String)> {
        let not = |why: String| (format!("it could not be run: {why}"), String::new());
        let pids: Vec<String> = folder.all_processes().iter().map(ToString::to_string).collect();
        let mut environment = self.environment("diagnose");
        environment.retain(|(key, _)| key != "REGENT_FAILURE");
        environment.push(("REGENT_FAILURE".to_owned(), why.to_owned()));
        environment.push(("REGENT_PIDS".to_owned(), pids.join(" ")));
        let command = Command {
            program: Program::Shell(line),
            environment: &environment,
            user: self.user.as_ref(),
            input: None,
            hung: Signal::KILL,
        };
        let own = folder.create_numbered(COMMAND_FOLDER).map_err(not)?;
        let path = self.output_path("diagnose");
        let output = Output::create(&path, self.user.as_ref());
        let begun = Instant::now();
        let mut running = match command::spawn(&command, &own, &output) {
            Ok(running) => running,
            Err(why) => {
                let _ = own.remove();
                return Err(not(why));
            }
        };
        let ended = running.wait(&output, until, self.context.job);
        output.trim();
        let killed = own.end(Duration::ZERO, Instant::now() + KILL_TAKES);
        // Who does not die at once is reaped when he does, and nobody waits for it.
        if ended == Ended::TimedOut && running.ended().is_none() {
            let (mut child, _) = running.into_parts();
            let reap = std::thread::Builder::new().name("regent-reap".into());
            let _ = reap.spawn(move || child.wait());
        }
        let mut how = format!("it {} after {} ms", ended.in_words(), begun.elapsed().as_millis());
        if let Err(why) = killed {
            let _ = write!(how, "; {why}");
        }
        let said = output.tail(OUTPUT_BYTES);
        if matches!(ended, Ended::Exit(_)) { Ok((how, said)) } else { Err((how, said)) }
    }
}
