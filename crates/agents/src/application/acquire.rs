//! Starting an application, until it was seen to run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use regent_model::action::{Failure, Notice, Outcome};
use regent_model::config::{MainProcess, StartIn};
use regent_model::journal::Level;
use rustix::event::PollFlags;
use rustix::process::Signal;

use super::life::{Life, Watch};
use super::record::Phase;
use super::{Application, MAIN_FOLDER, check, stale, watch};
use crate::bind_here;
use crate::cgroup::Folder;
use crate::command::{self, Command, Ended, Finished, Program, Running, how_it_ended, wait_for};
use crate::hands::failure;
use crate::output::Output;
use crate::process::{self, Identity};
use crate::report::Report;
use crate::samba;
use crate::slot;

/// A foreground process without a status command that lives so long is taken to have started. It lies on the way of
/// every takeover, so it is as short as is honest: what cannot be executed, or stumbles over its first options, has
/// ended by then and is a failed start; what ends later is noticed as it does, and restarted.
const SETTLE: Duration = Duration::from_millis(50);
/// The first pause between two questions whether it runs; it grows by half each time.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Starts the application; what runs already is adopted.
pub(super) fn acquire(app: &Application<'_>) -> Result<Outcome, Failure> {
    let job = app.context.job;
    if let Some(outcome) = already_there(app)? {
        return Ok(outcome);
    }
    // The folder is there before the guard is asked: when the guard lets go it removes the folder, and what
    // comes late finds its way barred.
    let folder = Folder::create(&app.path()).map_err(Failure::because)?;
    app.context.hold(app.holding())?;
    if let Some(to) = app.config.bind {
        // Before anything of it runs: what is bound is bound.
        job.step("send its wildcard binds to the service address", || bind_here::attach(folder.path(), to))
            .map_err(Failure::because)?;
    }
    let main = folder.create_child(MAIN_FOLDER).map_err(Failure::because)?;
    if let Some(outcome) = watch::runs_already(app, &folder, &main)? {
        return Ok(outcome);
    }
    stale::clear(app)?;
    if let Some(config) = &app.config.samba {
        samba::prepare(app.context, config)?;
    }
    let until = job.until(app.config.start_timeout);
    let _name = app.take_host_name(until)?;
    let output = Output::create(&app.output_path("start"), app.user.as_ref());
    let restart = app.after_failure(&app.config.monitoring.restart);
    let environment = app.environment(if restart.is_some() { "restart" } else { "start" });
    let command = Command {
        program: Program::Shell(restart.unwrap_or(&app.config.start)),
        environment: &environment,
        user: app.user.as_ref(),
        input: None,
        hung: Signal::KILL,
    };
    job.check()?;
    job.now_doing("running the start command");
    let begun = Instant::now();
    let running = command::spawn(&command, &main, &output)
        .map_err(|e| Failure::because(format!("start command: {e}")))?;
    let mut start = Start { app, folder, main, output, running, begun, until };
    if app.config.monitoring.start_in == StartIn::Background {
        return start.go_on_without();
    }
    match start.until_it_runs() {
        Ok(process) => start.hand_over(process),
        Err(why) => {
            let reason = format!("its start failed: {}", why.reason);
            app.evidence_before_end(&reason, Duration::from_secs(1));
            Err(start.undo(why))
        }
    }
}

/// What an earlier life left: adopted if it is well, ended if not.
fn already_there(app: &Application<'_>) -> Result<Option<Outcome>, Failure> {
    let job = app.context.job;
    let Some(folder) = Folder::open(&app.path()).map_err(Failure::because)? else { return Ok(None) };
    if !folder.is_populated().map_err(Failure::because)? {
        return Ok(None);
    }
    app.context.hold(app.holding())?;
    match check::look(app)? {
        Outcome::Running => {
            stale::adopted(app);
            job.record(Level::Step, "it runs already".into(), Duration::ZERO, String::new());
            return Ok(Some(Outcome::Running));
        }
        Outcome::Failed(why) => job.warn(format!("what runs is ended first: {}", why.reason), why.evidence),
        Outcome::Stopped => {}
    }
    app.context.inner.applications.remove(&slot::key(app.context.run));
    job.step("end what an earlier start left", || folder.end(Duration::ZERO, job.soft_deadline()))
        .map_err(Failure::because)?;
    Ok(None)
}

/// A start in progress.
struct Start<'a> {
    app: &'a Application<'a>,
    folder: Folder,
    main: Folder,
    output: Output,
    running: Running,
    begun: Instant,
    until: Instant,
}

impl Start<'_> {
    /// Waits until the application runs; gives its main process, if it has one.
    fn until_it_runs(&mut self) -> Result<Option<Identity>, Failure> {
        let job = self.app.context.job;
        // Also one that has ended already: it is not waited for yet, so its number is still its own.
        let pid = self.running.pid();
        let command = process::stat(pid).map(|s| Identity { start: s.start, pid });
        self.app.write_record(Phase::Starting, command);
        if !self.is_foreground() {
            let ended = self.running.wait(&self.output, self.until, job);
            self.judge_start_command(ended)?;
        }
        job.now_doing("waiting until it runs");
        let asked_from = Instant::now();
        let mut pause = PAUSE_FIRST;
        let mut questions = 0_u32;
        let mut not_yet = String::new();
        loop {
            match self.main_process(command) {
                Ok(_) => {
                    questions += 1;
                    if self.says_it_runs(&mut not_yet)? {
                        // It may have died while it was asked about.
                        match self.main_process(command) {
                            Ok(process) => {
                                self.note_questions(asked_from, questions);
                                return Ok(process);
                            }
                            Err(why) => not_yet = why,
                        }
                    }
                }
                Err(why) => not_yet = why,
            }
            self.judge_foreground()?;
            job.check().map_err(|f| if f.timed_out { self.too_late(&not_yet) } else { f })?;
            if Instant::now() >= self.until {
                return Err(self.too_late(&not_yet));
            }
            let settled = self.begun + SETTLE;
            let next = self.until.min(Instant::now() + pause);
            // The end of settling is known, and need not be met by chance.
            let settles = self.is_foreground() && self.app.config.status.is_none();
            let next = if settles { next.max(settled).min(self.until) } else { next };
            // The end of a start command that goes into the background is known already.
            let end = self.is_foreground().then(|| (self.running.end_event(), PollFlags::IN));
            wait_for(end.as_slice(), job.alarm(), &self.output, Some(next));
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
    }

    /// Whether the start command is the application.
    fn is_foreground(&self) -> bool {
        self.app.config.main == MainProcess::Child
    }

    /// The start command of an application that goes into the background must end with 0.
    fn judge_start_command(&self, ended: Ended) -> Result<(), Failure> {
        let took = self.begun.elapsed();
        match ended {
            Ended::Exit(status) if status.success() => {
                let what = "start command exited with 0".to_owned();
                self.app.context.job.record(Level::Step, what, took, self.output.evidence());
                Ok(())
            }
            Ended::Exit(_) => {
                Err(failure(format!("the start command {}", ended.in_words()), self.output.evidence()))
            }
            Ended::CalledOff => {
                Err(self.app.context.job.check().err().unwrap_or_else(|| Failure::because("given up")))
            }
            Ended::TimedOut => Err(Failure {
                reason: format!(
                    "the start command still ran after {:.1} s and was killed; if it is meant to stay in the \
                     foreground, say main = \"child\"",
                    took.as_secs_f64()
                ),
                evidence: self.output.evidence(),
                timed_out: true,
            }),
        }
    }

    /// A start command that is the application must not end.
    fn judge_foreground(&mut self) -> Result<(), Failure> {
        if !self.is_foreground() {
            return Ok(());
        }
        match self.running.ended() {
            None => Ok(()),
            Some(status) => Err(failure(
                format!(
                    "the start command {} after {:.1} s, though it is the application; if it leaves the \
                     application in the background, say main = \"cgroup\" or name its pid file",
                    how_it_ended(status),
                    self.begun.elapsed().as_secs_f64()
                ),
                self.output.evidence(),
            )),
        }
    }

    /// The main process as it is now, or why there is none yet.
    fn main_process(&mut self, command: Option<Identity>) -> Result<Option<Identity>, String> {
        match &self.app.config.main {
            MainProcess::Child => match command {
                Some(command) if self.running.ended().is_none() => Ok(Some(command)),
                _ => Err("the start command has ended".into()),
            },
            MainProcess::Cgroup => match self.main.is_populated()? {
                true => Ok(None),
                false => Err("the start command left no process behind".into()),
            },
            MainProcess::None => Ok(None),
            MainProcess::PidFile(path) => {
                let named = self.app.named_by_pid_file();
                let named = named.ok_or_else(|| format!("{} names no living process", path.display()))?;
                self.take_in(named, command)?;
                Ok(Some(named))
            }
        }
    }

    /// Sees that the process which the pid file names lives in our control group.
    fn take_in(&self, named: Identity, command: Option<Identity>) -> Result<(), String> {
        if self.main.all_processes().contains(&named.pid) {
            return Ok(());
        }
        if command.is_none_or(|command| named.start < command.start) {
            return Err(format!(
                "the pid file names process {} ({}), which is older than the start command and not ours",
                named.pid,
                process::command_line(named.pid)
            ));
        }
        // Some way of starting (a login session, a service manager) has moved it elsewhere.
        let family = process::descendants(named.pid);
        for pid in std::iter::once(named.pid).chain(family) {
            self.main.take_in(pid)?;
        }
        let what =
            format!("process {} had left the application's control group and was brought back", named.pid);
        self.app.context.job.warn(what, process::command_line(named.pid));
        Ok(())
    }

    /// Asks the status command, or waits a moment where there is none. Says in `not_yet` why it does not run.
    fn says_it_runs(&self, not_yet: &mut String) -> Result<bool, Failure> {
        match self.app.ask(&self.folder, self.until)? {
            Some(answer) if answer.ended.is_success() => return Ok(true),
            Some(answer) if answer.ended == Ended::CalledOff => self.app.context.job.check()?,
            // Waiting mends no missing command.
            Some(answer) if answer.ended.found_nothing_to_run() => {
                return Err(self.app.no_answer(&answer).unwrap_or_else(|| Failure::because("no answer")));
            }
            // A question that was cut short by the end of all waiting says less than the one before.
            Some(answer) if answer.ended == Ended::TimedOut && !not_yet.is_empty() => {}
            Some(answer) => {
                let how = answer.ended.in_words();
                *not_yet =
                    format!("the status command {how}: {}{}", answer.output, self.no_status_at_all(&answer));
            }
            None if self.is_foreground() && self.begun.elapsed() < SETTLE => {
                *not_yet = "it has only begun".into();
            }
            None => match self.app.does_not_serve() {
                Some(why) => *not_yet = why,
                None => return Ok(true),
            },
        }
        Ok(false)
    }

    /// A script without a status says how it is used, whatever it is asked.
    fn no_status_at_all(&self, answer: &Finished) -> &'static str {
        let says = |word: &str| answer.output.to_ascii_lowercase().contains(word);
        match self.app.config.script.is_some() && (says("usage") || says("unknown")) {
            true => " (if the script has no status, say status = \"none\")",
            false => "",
        }
    }

    fn note_questions(&self, since: Instant, questions: u32) {
        let what = match &self.app.config.status {
            Some(_) => format!("it was seen to run (status asked {questions} time(s))"),
            None if self.app.is_told() => "it runs, as its start command says: it has no status".into(),
            None => "it was seen to run".into(),
        };
        let level = Level::Step;
        self.app.context.job.record(level, what, since.elapsed(), String::new());
    }

    fn too_late(&self, not_yet: &str) -> Failure {
        let reason =
            format!("it did not run {:.1} s after its start: {not_yet}", self.begun.elapsed().as_secs_f64());
        Failure { reason, evidence: self.output.evidence(), timed_out: true }
    }

    /// It runs: from here on its end is news.
    fn hand_over(self, process: Option<Identity>) -> Result<Outcome, Failure> {
        self.app.write_record(Phase::Running, process);
        let Self { app, folder, main, output, running, .. } = self;
        let (child, _) = running.into_parts();
        let key = slot::key(app.context.run);
        let life: Arc<Life> = Life::new(key, app.context.run.epoch, folder, main, process, app.is_told())
            .map_err(Failure::because)?;
        app.context.inner.applications.insert(&life);
        let watch = Watch {
            child: (app.config.main == MainProcess::Child).then_some(child),
            output,
            pid_file: check::pid_file(app.config),
            report: app.context.inner.report.clone(),
        };
        life.watch(watch).map_err(Failure::because)?;
        Ok(Outcome::Running)
    }

    /// The start command is left to itself. Its end will be told; whether the application runs, the first check says.
    fn go_on_without(self) -> Result<Outcome, Failure> {
        self.app.write_record(Phase::Running, None);
        let Self { app, folder, main, output, running, begun, .. } = self;
        let (mut child, _) = running.into_parts();
        let run = app.context.run;
        let key = slot::key(run);
        let life = Life::new(key.clone(), run.epoch, folder, main, None, app.is_told());
        let life = life.map_err(Failure::because)?;
        app.context.inner.applications.insert(&life);
        let report = app.context.inner.report.clone();
        let watch = Watch { child: None, output, pid_file: None, report: report.clone() };
        life.watch(watch).map_err(Failure::because)?;
        let (path, epoch) = (app.output_path("start"), run.epoch);
        let tell = move || {
            let Ok(status) = child.wait() else { return };
            let how = how_it_ended(status);
            let text = format!(
                "the start command in the background {how} after {:.1} s",
                begun.elapsed().as_secs_f64()
            );
            let (group, resource) = key;
            let evidence = Output::reopen(&path).evidence();
            let warning = !status.success();
            report(Report::Notice(Notice::Told { group, epoch, resource, warning, text, evidence }));
        };
        let thread = std::thread::Builder::new().name("regent-start".into()).spawn(tell);
        thread.map_err(|e| {
            Failure::because(format!("cannot make a thread to wait for the start command: {e}"))
        })?;
        let what = "the start command was begun in the background, and is not waited for";
        app.context.job.record(Level::Step, what.into(), Duration::ZERO, String::new());
        Ok(Outcome::Running)
    }

    /// It does not run: nothing of it is left running. The folder stays on the guard's list until the
    /// release, which also asks the stop command to tidy up.
    fn undo(mut self, why: Failure) -> Failure {
        let ended = self.folder.kill().and_then(|()| {
            let until = Instant::now() + command::KILL_TAKES_AT_MOST;
            match self.folder.wait_empty(until)? {
                true => Ok(()),
                false => Err(self.folder.survivors()),
            }
        });
        if let Err(error) = ended {
            return Failure { reason: format!("{}; moreover {error}", why.reason), ..why };
        }
        self.running.ended();
        why
    }
}
