//! Regent's own supervisor, for machines without systemd: starts guard and daemon, and brings them back.
//!
//! It does as little as possible, because nobody brings it back: it holds nothing, and its death disturbs nothing.
//! The next supervisor watches what the last one left.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use regent_api::{Answer, NodeVerb, Request};
use regent_guard::lock::{Lock, LockError};
use regent_guard::reset::ResetLine;
use regent_guard::{Paths, held, identity, log, run as guard_run};
use regent_model::BootId;
use regent_model::state::StopMode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::{Doing, NodeError, Result};
use crate::launch::Launch;
use crate::watched::{Ended, Watched};
use crate::{client, end};

const RESTART_FIRST: Duration = Duration::from_millis(50);
const RESTART_LAST: Duration = Duration::from_secs(1);
/// A process that ran for so long did not die of its beginning: it is brought back at once.
const RAN_WELL: Duration = Duration::from_secs(5);
/// Who was told to end is told again.
const TELL_AGAIN: Duration = Duration::from_millis(500);
/// A daemon ends by itself when its guard is gone.
const FOLLOW_WITHIN: Duration = Duration::from_secs(2);
const STOP_WITHIN: Duration = Duration::from_secs(40);
const ASK_AGAIN: Duration = Duration::from_millis(200);
const SECOND_SIGNAL: &str = "a second signal ends the supervisor and leaves everything as it is";
const LOOK_FOR_MEMBERSHIP: Duration = Duration::from_millis(100);

/// What the supervisor is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Aim {
    /// Both run.
    Run,
    /// The node has left: the guard ends.
    Leave,
    /// There is no use in a daemon: the guard lets go and ends.
    GiveUp(NodeError),
}

/// One of the two processes.
struct Post {
    process: Option<Watched>,
    began: Instant,
    pause: Duration,
    start_at: Instant,
}

impl Post {
    fn new() -> Self {
        let now = Instant::now();
        Self { process: None, began: now, pause: Duration::ZERO, start_at: now }
    }

    fn occupy(&mut self, process: Watched) {
        self.process = Some(process);
        self.began = Instant::now();
    }

    /// The process has ended; the next one may start after a pause that grows while they die young.
    fn vacate(&mut self) {
        self.process = None;
        self.pause = if self.began.elapsed() > RAN_WELL {
            Duration::ZERO
        } else {
            (self.pause * 2).clamp(RESTART_FIRST, RESTART_LAST)
        };
        self.start_at = Instant::now() + self.pause;
    }

    fn is_due(&self) -> bool {
        self.process.is_none() && Instant::now() >= self.start_at
    }
}

struct Supervisor<'s> {
    paths: &'s Paths,
    launch: &'s Launch,
    boot: BootId,
    reset: ResetLine,
    signals: UnixStream,
    asked_to_stop: bool,
    aim: Aim,
    guard: Post,
    daemon: Post,
    /// When the guard was last found dead, or told to end.
    guard_since: Instant,
}

/// Runs this machine's node until it leaves: `regent node run`. On a machine that belongs to no cluster yet, it
/// waits until it does.
///
/// # Errors
/// When there is another supervisor, or guard or daemon refuse to run. It is for the caller to say.
pub fn supervise(paths: &Paths, launch: &Launch) -> Result<()> {
    log::install("regent-run");
    let done = begin(paths, launch);
    log::flush(Duration::from_secs(1));
    done
}

fn begin(paths: &Paths, launch: &Launch) -> Result<()> {
    fs::create_dir_all(&paths.run).doing(|| format!("make {}", paths.run.display()))?;
    let lock = paths.supervisor_lock();
    let _lock = Lock::take(&lock).map_err(|error| match error {
        LockError::Held(_) => NodeError::new("Regent is run on this machine already").next("regent status"),
        LockError::Io(error) => NodeError::new(format!("cannot lock {}: {error}", lock.display())),
    })?;
    let mut signals = signals()?;
    if !wait_for_membership(paths, &mut signals) {
        return Ok(());
    }
    let mut supervisor = Supervisor {
        paths,
        launch,
        boot: identity::boot_id()?,
        reset: ResetLine::from_environment()?,
        signals,
        asked_to_stop: false,
        aim: Aim::Run,
        guard: Post::new(),
        daemon: Post::new(),
        guard_since: Instant::now(),
    };
    supervisor.adopt_what_runs();
    supervisor.watch()
}

/// A stream that becomes readable when somebody wants the supervisor to end.
fn signals() -> Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair().doing(|| "make a pair of sockets".to_owned())?;
    ours.set_nonblocking(true).doing(|| "prepare a socket".to_owned())?;
    for signal in [SIGTERM, SIGINT] {
        let theirs = theirs.try_clone().doing(|| "copy a socket".to_owned())?;
        signal_hook::low_level::pipe::register(signal, theirs).doing(|| "watch for signals".to_owned())?;
    }
    // The end of a terminal is no reason to disturb groups.
    let ignored = std::sync::Arc::default();
    signal_hook::flag::register(SIGHUP, ignored).doing(|| "watch for signals".to_owned())?;
    Ok(ours)
}

fn is_signalled(signals: &mut UnixStream) -> bool {
    let mut bytes = [0; 16];
    signals.read(&mut bytes).is_ok_and(|read| read > 0)
}

/// Waits until this machine belongs to a cluster; `false` when it was told to end instead.
fn wait_for_membership(paths: &Paths, signals: &mut UnixStream) -> bool {
    let identity = paths.identity();
    if !identity.exists() {
        tracing::info!("this machine belongs to no cluster yet; waiting for: regent init, or regent join");
    }
    while !identity.exists() {
        if is_signalled(signals) {
            return false;
        }
        std::thread::sleep(LOOK_FOR_MEMBERSHIP);
    }
    true
}

impl Supervisor<'_> {
    /// What an earlier supervisor left running.
    fn adopt_what_runs(&mut self) {
        for (lock, post, name) in [
            (self.paths.guard_lock(), &mut self.guard, "guard"),
            (self.paths.daemon_lock(), &mut self.daemon, "daemon"),
        ] {
            if let Some(process) = Lock::holder(&lock).and_then(Watched::adopt) {
                tracing::info!("the {name} runs already; watching it");
                post.occupy(process);
            }
        }
    }

    fn watch(&mut self) -> Result<()> {
        loop {
            if self.aim == Aim::Run {
                self.start_what_is_due();
            }
            self.wait();
            if let Some(ended) = self.daemon.process.as_mut().and_then(Watched::ended) {
                self.daemon_ended(ended);
            }
            if let Some(ended) = self.guard.process.as_mut().and_then(Watched::ended) {
                self.guard_ended(ended);
            }
            if is_signalled(&mut self.signals) {
                if self.asked_to_stop {
                    tracing::warn!("the supervisor ends; guard and daemon go on without one");
                    return Ok(());
                }
                self.stop();
            }
            match &self.aim {
                Aim::Run => {}
                Aim::Leave if self.guard.process.is_none() => return Ok(()),
                Aim::GiveUp(why) if self.guard.process.is_none() => return Err(why.clone()),
                Aim::Leave | Aim::GiveUp(_) => self.hurry(),
            }
        }
    }

    fn wait(&self) {
        let mut fds = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        for post in [&self.guard, &self.daemon] {
            fds.extend(post.process.iter().map(|p| PollFd::from_borrowed_fd(p.fd(), PollFlags::IN)));
        }
        let now = Instant::now();
        let starts =
            [&self.guard, &self.daemon].into_iter().filter(|p| p.process.is_none() && self.aim == Aim::Run);
        let left = starts.map(|p| p.start_at.saturating_duration_since(now)).min().unwrap_or(TELL_AGAIN);
        let left = left.clamp(Duration::from_millis(1), TELL_AGAIN);
        if let Ok(left) = Timespec::try_from(left) {
            let _interrupted_is_fine = poll(&mut fds, Some(&left));
        }
    }

    fn start_what_is_due(&mut self) {
        // A guard that is gone comes back only after its daemon has gone too: if the node leaves, both end.
        let daemon_follows = self.daemon.process.is_some() && self.guard.process.is_none();
        if daemon_follows && self.guard_since.elapsed() > FOLLOW_WITHIN {
            self.daemon.process.iter().for_each(|daemon| daemon.signal(Signal::KILL));
        }
        if self.guard.is_due() && !daemon_follows {
            start(&mut self.guard, "guard", &self.launch.guard, self.paths);
        }
        if self.daemon.is_due() && self.guard.process.is_some() {
            start(&mut self.daemon, "daemon", &self.launch.daemon, self.paths);
        }
    }

    fn daemon_ended(&mut self, ended: Ended) {
        self.daemon.vacate();
        if self.aim != Aim::Run {
            return;
        }
        match ended {
            Ended::Code(code) if code == i32::from(end::LEFT) => self.aim = Aim::Leave,
            Ended::Code(code) if code == i32::from(end::REFUSED) => {
                self.aim = Aim::GiveUp(self.refusal("daemon"));
            }
            other => tracing::warn!("the daemon ended ({other}); starting it again"),
        }
    }

    fn guard_ended(&mut self, ended: Ended) {
        self.guard.vacate();
        self.guard_since = Instant::now();
        while held::needs_a_guard(&self.paths.held(), &self.boot) {
            self.reset.pull(&format!("the guard died ({ended}) while this machine held groups"));
            std::thread::sleep(Duration::from_millis(200));
        }
        if ended == Ended::Code(i32::from(guard_run::REFUSED)) {
            self.daemon.process.iter().for_each(|daemon| daemon.signal(Signal::KILL));
            self.aim = Aim::GiveUp(self.refusal("guard"));
        } else if self.aim == Aim::Run {
            tracing::info!("the guard ended ({ended})");
        }
    }

    fn refusal(&self, who: &str) -> NodeError {
        let why = fs::read_to_string(self.paths.refused()).unwrap_or_default();
        let why = if why.trim().is_empty() { "see the log" } else { why.trim() };
        NodeError::new(format!("the {who} refuses to run: {why}"))
    }

    /// Makes the node leave, as `regent node stop --takeover` does.
    fn stop(&mut self) {
        self.asked_to_stop = true;
        tracing::info!("told to end: the node leaves, and its groups go to others");
        let socket = self.paths.api_socket();
        let asked = std::thread::Builder::new().name("stop".into()).spawn(move || ask_to_leave(&socket));
        if asked.is_err() {
            self.aim = Aim::Leave;
        }
    }

    /// The guard is to end as soon as it holds nothing.
    fn hurry(&mut self) {
        if self.guard_since.elapsed() >= TELL_AGAIN {
            self.guard_since = Instant::now();
            self.guard.process.iter().for_each(|guard| guard.signal(Signal::TERM));
        }
    }
}

/// Asks the daemon, which may just be starting, until it answers or nobody waits any more.
fn ask_to_leave(socket: &Path) {
    let request = Request::Node { node: None, verb: NodeVerb::Stop(StopMode::Takeover) };
    let until = Instant::now() + STOP_WITHIN;
    loop {
        match client::ask(socket, &request, STOP_WITHIN) {
            Ok(Answer::Done(words)) => return tracing::info!("{words}"),
            Ok(other) if Instant::now() >= until => {
                return tracing::error!("the node does not leave: {other:?}; {SECOND_SIGNAL}");
            }
            Err(error) if Instant::now() >= until => {
                return tracing::error!("the daemon gives no answer: {error}; {SECOND_SIGNAL}");
            }
            Ok(_) | Err(_) => std::thread::sleep(ASK_AGAIN),
        }
    }
}

fn start(post: &mut Post, name: &str, words: &[std::ffi::OsString], paths: &Paths) {
    let mut command = Launch::command(words, paths);
    // Keys pressed at a terminal are meant for the supervisor.
    command.process_group(0);
    match Watched::start(&mut command) {
        Ok(process) => post.occupy(process),
        Err(error) => {
            tracing::error!("cannot start the {name}: {error}");
            post.vacate();
        }
    }
}
