//! Instances of databases: held with their group, and started and stopped with it or by hand.
//!
//! An instance's control group is on the guard's list from its acquire to its release, whether it runs or not, so that
//! whatever is started in it, also by hand, ends with the lease and with the release. By hand it is started only inside
//! that folder, which a release removes: a start that comes late finds nothing to begin in.

mod acquire;
mod commands;
mod environment;
mod evidence;
mod gtm;
mod installed;
mod known;
mod lock;
mod running;
mod sockets;
mod starting;
mod stopping;
mod vendor;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use regent_model::action::{Failure, Hand, How, Notice, Op, Outcome};
use regent_model::config::{InstanceConfig, InstanceKind};
use regent_model::holding::Holding;
use regent_model::journal::Level;
use rustix::process::Signal;

use crate::cgroup::Folder;
use crate::command::{self, Command, Ended, Finished, Program};
use crate::hands::Context;
use crate::hostname::Taken;
use crate::output::Output;
use crate::report::Report;
use crate::slot;
use crate::user::User;

pub(crate) use environment::doubts;
pub use environment::of_instance;
pub(crate) use installed::{Found, Installed};
pub(crate) use known::Instances;

/// The folder of what an instance leaves running.
pub(crate) const MAIN_FOLDER: &str = "main";

/// An instance, and the request that is worked on.
struct Instance<'a> {
    context: &'a Context<'a>,
    config: &'a InstanceConfig,
    user: Option<User>,
    /// The lock that was found at the start was another's, or there was none.
    found_other_owner: Cell<bool>,
    /// It is looked at beside whatever its agent does: nothing that the agent writes is touched.
    beside: bool,
}

/// How an instance was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// It runs and answers.
    Up,
    /// Nothing of it runs.
    Down,
    /// Something of it runs, and it is not as it should be.
    Unwell(String),
}

/// Works on an instance.
pub(crate) fn work(context: &Context<'_>, config: &InstanceConfig) -> Result<Outcome, Failure> {
    let op = context.run.op;
    let user = match config.user.as_deref().map(User::find).transpose() {
        Ok(user) => user,
        // Without its user it cannot be asked to stop, but its processes can still be ended.
        Err(why) if op == Op::Release => {
            context.job.warn(why, "");
            None
        }
        Err(why) => return Err(Failure::because(why)),
    };
    let instance = Instance { beside: false, ..Instance::beside(context, config, user) };
    match (op, context.run.how) {
        (_, How::ByHand(hand)) => instance.by_hand(hand),
        (Op::Probe, _) => acquire::probe(&instance),
        (Op::Acquire, _) => acquire::acquire(&instance),
        (Op::Release, _) => stopping::release(&instance),
        (Op::Monitor, How::Evidence) => evidence::gather(&instance),
        (Op::Monitor, _) => acquire::monitor(&instance),
        (Op::Swap, _) => Err(Failure::because("an instance has no interface to move from")),
    }
}

impl<'a> Instance<'a> {
    /// For a look beside whatever its agent does.
    fn beside(context: &'a Context<'a>, config: &'a InstanceConfig, user: Option<User>) -> Self {
        Self { context, config, user, found_other_owner: Cell::new(false), beside: true }
    }
}

impl Instance<'_> {
    fn name(&self) -> &str {
        self.config.name.as_str()
    }

    /// Its control group.
    fn path(&self) -> PathBuf {
        let run = self.context.run;
        self.context.inner.cgroups.join(run.group.as_str()).join(self.config.resource.as_str())
    }

    /// What the guard must end.
    fn holding(&self) -> Holding {
        Holding::Cgroup { path: self.path(), grace: Duration::ZERO }
    }

    /// What its vendor's command gets besides, as somebody asked.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.context.run.words.iter().map(String::as_str)
    }

    /// What somebody asks for. Everything but a look needs that it is held under this very ownership.
    fn by_hand(&self, hand: Hand) -> Result<Outcome, Failure> {
        let run = self.context.run;
        let is_held = self.context.inner.instances.is_held(&slot::key(run), run.epoch);
        let folder = || {
            let gone = || Failure::because(format!("{} is not held on this node any more", self.name()));
            let there = if is_held { Folder::open(&self.path()).map_err(Failure::because)? } else { None };
            there.ok_or_else(gone)
        };
        match hand {
            Hand::Status => self.status_by_hand(is_held),
            Hand::Start => starting::start(self, &folder()?, None).map(|()| Outcome::Running),
            Hand::Stop => stopping::stop(self, &folder()?).map(|()| Outcome::Stopped),
            Hand::Force => stopping::force(self, &folder()?).map(|()| Outcome::Stopped),
        }
    }

    /// Looks at it for somebody, who may just have installed another version: where it is held that is told too, also of
    /// one that was stopped. Of an unexpected end its monitor tells.
    fn status_by_hand(&self, is_held: bool) -> Result<Outcome, Failure> {
        let seen = self.look()?;
        let is_up = !matches!(seen, Seen::Down);
        if is_held && (is_up || !self.is_locked_here()) {
            self.tell_version(is_up, self.version());
        }
        Ok(match seen {
            Seen::Up => Outcome::Running,
            Seen::Down => Outcome::Stopped,
            Seen::Unwell(why) => Outcome::Failed(Failure::because(why)),
        })
    }

    /// Looks at it, and changes nothing.
    fn look(&self) -> Result<Seen, Failure> {
        match self.config.kind {
            InstanceKind::Gtm => gtm::look(self),
            InstanceKind::Cache | InstanceKind::Iris => vendor::look(self),
            InstanceKind::Command => commands::look(self),
        }
    }

    /// The same where nothing depends on it: what cannot be looked at is told, and does not run as far as is known.
    fn glance(&self) -> Seen {
        self.look().unwrap_or_else(|why| {
            self.context.job.warn(why.reason, why.evidence);
            Seen::Down
        })
    }

    /// Finds out which version it is.
    fn version(&self) -> Option<String> {
        let found = match self.config.kind {
            InstanceKind::Gtm => gtm::version(self),
            InstanceKind::Cache | InstanceKind::Iris => vendor::version(self),
            InstanceKind::Command => commands::version(self),
        };
        found.map_err(|why| self.context.job.warn(why.reason, why.evidence)).ok().flatten()
    }

    /// Says how it is, for `status` and the registry.
    fn tell(&self, runs: bool) {
        // While it is down, what is installed may be about to change.
        self.tell_version(runs, if runs { self.version() } else { None });
    }

    fn tell_version(&self, runs: bool, version: Option<String>) {
        let run = self.context.run;
        if let Some(version) = &version {
            self.context.inner.installed.told(&self.config.name, version);
        }
        (self.context.inner.report)(Report::Notice(Notice::Instance {
            group: run.group.clone(),
            epoch: run.epoch,
            resource: self.config.resource.clone(),
            runs,
            version,
        }));
    }

    fn step(&self, what: impl Into<String>, took: Duration, evidence: impl Into<String>) {
        self.context.job.record(Level::Step, what.into(), took, evidence.into());
    }

    /// What the request says of the cluster: a variable of its environment.
    fn told(&self, key: &str) -> Option<&str> {
        let all = &self.context.run.environment;
        all.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn output_path(&self, action: &str) -> PathBuf {
        let folder = self.context.inner.run_dir.join("output").join(self.context.run.group.as_str());
        let folder = folder.join(self.config.resource.as_str());
        if self.beside { folder.join(LOOKS).join(action) } else { folder.join(action) }
    }

    /// Gives the node the group's name, if it has one, until the result is dropped. Not by hand: whoever called may
    /// have it already.
    fn take_host_name(&self, until: Instant) -> Result<Option<Taken<'_>>, Failure> {
        let by_hand = matches!(self.context.run.how, How::ByHand(_));
        let name = self.config.hostname.as_deref().filter(|_| !by_hand);
        name.map(|name| self.context.inner.host_name.take(name, self.context.job, until)).transpose()
    }

    /// The environment of one of its commands.
    fn environment(&self, action: &str) -> Vec<(String, String)> {
        let mut all = crate::environment::of_command(self.context.run, action);
        crate::environment::add(&mut all, [("REGENT_INSTANCE", self.name().to_owned())]);
        crate::environment::complete(&mut all);
        all
    }

    /// Runs a command to its end; what it leaves behind is killed.
    fn run(&self, call: &Call<'_>, until: Instant) -> Result<Finished, Failure> {
        let job = self.context.job;
        let folder = self.command_folder()?;
        let command = self.command(call);
        job.now_doing(&format!("running {}", call.what));
        let finished = command::run(&command, &folder, &self.output_path(call.what), until, job);
        if let Ok(finished) = &finished
            && !self.beside
        {
            self.context.inner.answers.note(slot::key(self.context.run), call.what, finished);
        }
        finished.map_err(|e| Failure::because(format!("{}: {e}", call.what)))
    }

    /// Runs a command that takes it down, to its end. How it ended is a matter for the journal only: whether the instance
    /// is down is looked at afterwards.
    fn order(&self, call: &Call<'_>, until: Instant) -> Result<(), Failure> {
        let done = self.run(call, until)?;
        if done.ended == Ended::CalledOff {
            self.context.job.check()?;
        }
        let level = if done.ended.is_success() { Level::Step } else { Level::Warning };
        let what = format!("{} command {}", call.what, done.ended.in_words());
        self.context.job.record(level, what, done.took, done.output);
        Ok(())
    }

    /// Runs a command that brings it up, in the folder where what it leaves behind stays. As with [`Self::order`] its
    /// end is a matter for the journal.
    fn begin_in(&self, main: &Folder, call: &Call<'_>, until: Instant) -> Result<(), Failure> {
        let job = self.context.job;
        job.check()?;
        let output = Output::create(&self.output_path("start"), self.user.as_ref());
        job.now_doing("running the start command");
        let begun = Instant::now();
        let mut running = command::spawn(&self.command(call), main, &output)
            .map_err(|e| Failure::because(format!("start command: {e}")))?;
        let ended = running.wait(&output, until, job);
        match ended {
            Ended::CalledOff => job.check()?,
            Ended::Exit(status) if status.success() => {}
            _ => {
                let what = format!("start command {}", ended.in_words());
                job.record(Level::Warning, what, begun.elapsed(), output.evidence());
                return Ok(());
            }
        }
        self.step(format!("start command {}", ended.in_words()), begun.elapsed(), output.evidence());
        Ok(())
    }

    fn command<'c>(&'c self, call: &Call<'c>) -> Command<'c> {
        Command {
            program: call.program.clone(),
            environment: call.environment,
            user: self.user.as_ref(),
            input: call.input,
            hung: Signal::KILL,
        }
    }

    /// Where its commands run: in its own folder, or beside it where it has none yet.
    fn command_folder(&self) -> Result<Folder, Failure> {
        if let Some(folder) = Folder::open(&self.path()).map_err(Failure::because)? {
            return Ok(folder);
        }
        Folder::create(&self.context.inner.cgroups.join(LOOK_FOLDER)).map_err(Failure::because)
    }
}

/// Commands that look before anything is held run under this folder. No group can have its name.
const LOOK_FOLDER: &str = ".instance";

/// What those print that look beside the agent is kept in this folder.
const LOOKS: &str = "looks";

/// A command to run.
struct Call<'a> {
    /// What it is, in words that make a file name.
    what: &'a str,
    program: Program<'a>,
    environment: &'a [(String, String)],
    input: Option<&'a str>,
}
