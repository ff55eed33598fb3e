//! Applications: started, asked, watched and stopped as commands, held by their control group.
//!
//! An application's folder holds `main`, where the start command and everything it leaves behind lives, and
//! one folder for every other command while it runs.

mod acquire;
mod check;
mod evidence;
pub(crate) mod life;
pub(crate) mod record;
mod release;
mod stale;
mod watch;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use regent_model::action::{Failure, How, Op, Outcome};
use regent_model::config::{ApplicationConfig, MainProcess};
use regent_model::holding::Holding;
use regent_model::journal::Level;
use rustix::process::Signal;

use crate::cgroup::Folder;
use crate::command::{self, Command, Finished, Program};
use crate::environment;
use crate::hands::{Context, failure};
use crate::hostname::Taken;
use crate::process::Identity;
use crate::samba;
use crate::slot;
use crate::sync::lock;
use crate::user::User;

pub(crate) use evidence::Answers;
pub(crate) use life::Applications;

/// The folder of the start command and of what it leaves behind.
const MAIN_FOLDER: &str = "main";
/// For a status command when the configuration sets no limit for it.
const STATUS_LIMIT: Duration = Duration::from_secs(30);

/// An application, and the request that is worked on.
struct Application<'a> {
    context: &'a Context<'a>,
    config: &'a ApplicationConfig,
    user: Option<User>,
    /// Evidence was gathered in this piece of work.
    looked: Cell<bool>,
}

/// Works on an application.
pub(crate) fn work(context: &Context<'_>, config: &ApplicationConfig) -> Result<Outcome, Failure> {
    let user = config.user.as_deref().map(User::find).transpose();
    let user = match (context.run.op, user) {
        (_, Ok(user)) => user,
        // Without its user the commands cannot run, but the processes can still be ended.
        (Op::Release, Err(error)) => {
            context.job.warn(error, "");
            let config = ApplicationConfig { user: None, stop: None, status: None, ..config.clone() };
            return release::release(&Application {
                context,
                config: &config,
                user: None,
                looked: Cell::new(false),
            });
        }
        (_, Err(error)) => return Err(Failure::because(error)),
    };
    let application = Application { context, config, user, looked: Cell::new(false) };
    match context.run.op {
        Op::Probe => check::probe(&application),
        Op::Acquire => acquire::acquire(&application),
        Op::Release => release::release(&application),
        Op::Monitor => match context.run.how {
            How::Watch(at) => watch::look(&application, at),
            How::Notify => watch::notify(&application),
            How::Evidence => evidence::gather(&application),
            How::Plain | How::AfterFailure => check::monitor(&application),
            How::ByHand(_) => Err(Failure::because("by hand only instances are looked at")),
        },
        Op::Swap => Err(Failure::because("an application has no interface to move from")),
    }
}

impl Application<'_> {
    fn name(&self) -> &str {
        self.config.name.as_str()
    }

    /// Its control group.
    fn path(&self) -> PathBuf {
        self.context.inner.cgroups.join(self.context.run.group.as_str()).join(self.name())
    }

    /// What the guard must end.
    fn holding(&self) -> Holding {
        Holding::Cgroup { path: self.path(), grace: self.config.lapse_grace }
    }

    /// Takes it off the guard's list, also where it was put there under an earlier configuration.
    fn let_go(&self, record: Option<&record::Record>) -> Result<(), Failure> {
        if let Some(record) = record.filter(|r| r.grace != self.config.lapse_grace) {
            self.context.let_go(Holding::Cgroup { path: self.path(), grace: record.grace })?;
        }
        self.context.let_go(self.holding())
    }

    fn output_path(&self, action: &str) -> PathBuf {
        let folder = self.context.inner.run_dir.join("output").join(self.context.run.group.as_str());
        folder.join(self.name()).join(action)
    }

    fn write_record(&self, phase: record::Phase, process: Option<Identity>) {
        let record = record::Record { phase, process, grace: self.config.lapse_grace };
        if let Err(error) = record::write(&self.record_path(), record) {
            self.context.job.warn(error, "");
        }
    }

    /// What is in order after a failure here, if something else is than usually.
    fn after_failure<'c>(&self, command: &'c Option<String>) -> Option<&'c str> {
        command.as_deref().filter(|_| self.context.run.how == How::AfterFailure)
    }

    fn record_path(&self) -> PathBuf {
        let folder = self.context.inner.run_dir.join("applications").join(self.context.run.group.as_str());
        folder.join(format!("{}.json", self.name()))
    }

    /// The environment of one of its commands.
    fn environment(&self, action: &str) -> Vec<(String, String)> {
        let run = self.context.run;
        let mut all = environment::of_command(run, action);
        if self.config.samba.is_some() {
            let path = samba::config_path(self.context).display().to_string();
            environment::add(&mut all, [(samba::CONFIG_VARIABLE, path)]);
        }
        let remarks = environment::complete(&mut all);
        for remark in remarks.into_iter().filter(|_| action == "start") {
            let topic = format!("{}: {remark}", run.group);
            if lock(&self.context.inner.said).insert(topic) {
                self.context.job.record(Level::Notice, remark, Duration::ZERO, String::new());
            }
        }
        all
    }

    /// Gives the node the group's name, if it has one, until the result is dropped.
    fn take_host_name(&self, until: Instant) -> Result<Option<Taken<'_>>, Failure> {
        let name = self.config.hostname.as_deref();
        name.map(|name| self.context.inner.host_name.take(name, self.context.job, until)).transpose()
    }

    /// Runs one of its commands to the end, as a step.
    fn command(
        &self,
        action: &str,
        line: &str,
        folder: &Folder,
        until: Instant,
        hung: Signal,
    ) -> Result<Finished, Failure> {
        let environment = self.environment(action);
        let command = Command {
            program: Program::Shell(line),
            environment: &environment,
            user: self.user.as_ref(),
            input: None,
            hung,
        };
        let job = self.context.job;
        job.now_doing(&format!("running the {action} command"));
        let look = || self.look_at_hung(action);
        let finished = command::run_watched(&command, folder, &self.output_path(action), until, job, &look);
        let finished = finished.map_err(|e| Failure::because(format!("{action} command: {e}")))?;
        self.context.inner.answers.note(slot::key(self.context.run), action, &finished);
        Ok(finished)
    }

    /// How long one call of the status command may take.
    fn status_limit(&self) -> Duration {
        if self.config.monitor.timeout.is_zero() { STATUS_LIMIT } else { self.config.monitor.timeout }
    }

    /// Asks the status command, if there is one. It runs in `folder`.
    fn ask(&self, folder: &Folder, until: Instant) -> Result<Option<Finished>, Failure> {
        let limit = self.context.job.until(self.status_limit()).min(until);
        let line = self.config.status.as_deref();
        let hung = watch::signal(self.config.monitoring.hung_signal);
        line.map(|line| self.command("status", line, folder, limit, hung)).transpose()
    }

    /// Why the answer of the status command is none, if so: the command itself could not be run.
    fn no_answer(&self, answer: &Finished) -> Option<Failure> {
        answer.ended.found_nothing_to_run().then(|| {
            let how = answer.ended.in_words();
            failure(
                format!(
                    "the status command cannot be run (it {how}), so that nobody can tell whether {} runs: {:?}",
                    self.name(),
                    self.config.status.as_deref().unwrap_or_default()
                ),
                answer.output.clone(),
            )
        })
    }

    /// Why it does not do what it is known to do, where that can be seen from outside.
    fn does_not_serve(&self) -> Option<String> {
        samba::listens(self.config.samba.as_ref()?).err()
    }

    /// The process that the pid file names, if it lives.
    fn named_by_pid_file(&self) -> Option<Identity> {
        match &self.config.main {
            MainProcess::PidFile(path) => record::read_pid_file(path),
            MainProcess::Child | MainProcess::Cgroup | MainProcess::None => None,
        }
    }

    /// Whether only its commands say how it is, and no process of its own.
    fn is_told(&self) -> bool {
        self.config.main == MainProcess::None
    }

    /// Whether one that only its commands tell of was seen to run, and was not released since. A script's service may
    /// run without a process in the control group.
    fn was_seen(&self) -> bool {
        self.is_told() && record::read(&self.record_path()).is_some_and(|r| r.phase == record::Phase::Running)
    }
}
