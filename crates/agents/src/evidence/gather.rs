//! Gathers what can be seen of something that failed, and what the user's own command says of it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use regent_model::NodeName;
use regent_model::config::Diagnose;
use regent_model::evidence::EvidenceHead;
use regent_model::journal::Level;
use rustix::process::Signal;

use super::{Look, Subject, headline, keep, wall_ms};
use crate::cgroup::Folder;
use crate::command::{self, COMMAND_FOLDER, Command, Ended, Program};
use crate::hands::Context;
use crate::output::Output;
use crate::user::User;

/// With less time than this nothing is begun.
const WORTH_WHILE: Duration = Duration::from_millis(30);
/// So much of its time, a tenth, is kept for writing down what was seen; at most this.
const WRITING_MAX: Duration = Duration::from_millis(250);
/// How long the kernel may take to end a command that was killed, before nobody waits for it.
const KILL_TAKES: Duration = Duration::from_millis(100);
/// So much of what the command says is kept, in bytes.
const OUTPUT_BYTES: usize = 256 << 10;

/// What is looked at, for whom, and what takes part in it.
pub(crate) struct Gathering<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) diagnose: &'a Diagnose,
    pub(crate) user: Option<&'a User>,
    /// What its other commands are told.
    pub(crate) environment: Vec<(String, String)>,
    /// Its control groups. The first is its own, in which the command runs, where the guard can end it.
    pub(crate) cgroups: Vec<PathBuf>,
    /// The folder with the output of its commands.
    pub(crate) output: PathBuf,
    /// What its commands ended with last.
    pub(crate) answers: Vec<String>,
}

/// Whether there is time enough until then.
pub(crate) fn is_worth_while(until: Instant) -> bool {
    until.saturating_duration_since(Instant::now()) >= WORTH_WHILE
}

impl Gathering<'_> {
    /// Gathers evidence and keeps it, by `until` at the latest, with what the command says or without.
    pub(crate) fn keep(&self, why: &str, until: Instant, with_command: bool) {
        let job = self.context.job;
        let begun = Instant::now();
        let time = until.saturating_duration_since(begun);
        // What was let go of is nobody's to look at any more.
        let Some(Ok(Some(folder))) = self.cgroups.first().map(|own| Folder::open(own)) else { return };
        job.now_doing("gathering evidence");
        let look = Look::begin(Subject {
            cgroups: self.cgroups.clone(),
            output: self.output.clone(),
            answers: self.answers.clone(),
        });
        let seen_by = until - (time / 10).min(WRITING_MAX);
        let line = self.diagnose.command.as_deref().filter(|_| with_command);
        let said = line.map(|line| self.ask(line, why, &folder, seen_by));
        let (seen, mut complete) = look.seen(seen_by);
        let mut text = format!("{why}\n");
        if let Some(said) = said {
            complete &= said.is_ok();
            let (how, output) = said.unwrap_or_else(|(how, output)| (how, output));
            let _ = writeln!(text, "{}{how}\n{output}", headline("what its diagnose command says"));
        }
        text.push_str(&seen);
        let folder = self.context.inner.evidence.clone();
        match self.head(why, begun, complete).and_then(|head| keep(folder, head, &text, until)) {
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
            application: run.resource.name().clone(),
            epoch: run.epoch,
            at_ms: wall_ms(),
            reason: why.lines().next().unwrap_or_default().to_owned(),
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            complete,
            bytes: 0,
        })
    }

    /// Runs the user's own command. Gives how it ended and what it said; as an error, where it did not end by itself.
    fn ask(
        &self,
        line: &str,
        why: &str,
        folder: &Folder,
        until: Instant,
    ) -> Result<(String, String), (String, String)> {
        let not = |why: String| (format!("it could not be run: {why}"), String::new());
        let pids: Vec<String> = super::processes_of(&self.cgroups).iter().map(ToString::to_string).collect();
        let mut environment = self.environment.clone();
        environment.retain(|(key, _)| key != "REGENT_FAILURE");
        environment.push(("REGENT_FAILURE".to_owned(), why.to_owned()));
        environment.push(("REGENT_PIDS".to_owned(), pids.join(" ")));
        let command = Command {
            program: Program::Shell(line),
            environment: &environment,
            user: self.user,
            input: None,
            hung: Signal::KILL,
        };
        let own = folder.create_numbered(COMMAND_FOLDER).map_err(not)?;
        let output = Output::create(&self.output.join("diagnose"), self.user);
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
