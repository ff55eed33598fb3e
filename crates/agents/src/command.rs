//! Commands: each in a control group of its own, in its own session, with a limit of time and of output.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use crate::cgroup::Folder;
use crate::job::Job;
use crate::output::Output;
use crate::process;
use crate::sys::{self, ChildSetup};
use crate::user::User;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A printer that never pauses is looked at so often.
const PRINTER_PAUSE: Duration = Duration::from_millis(25);
/// The folder of a command is named so, with a number.
pub(crate) const COMMAND_FOLDER: &str = "cmd-";
/// How long a command that hangs may take to react to its signal.
const HUNG_GRACE: Duration = Duration::from_millis(500);
/// How long the kernel may take to end what was killed.
pub(crate) const KILL_TAKES_AT_MOST: Duration = Duration::from_secs(5);

/// What to execute.
#[derive(Debug, Clone)]
pub(crate) enum Program<'a> {
    /// A line for `/bin/sh -c`.
    Shell(&'a str),
    /// A file with arguments.
    File(&'a Path, &'a [&'a str]),
}

/// A command to be.
#[derive(Debug, Clone)]
pub(crate) struct Command<'a> {
    pub(crate) program: Program<'a>,
    /// Its whole environment but for what every command has (`PATH`, `HOME`, `USER`, ...).
    pub(crate) environment: &'a [(String, String)],
    pub(crate) user: Option<&'a User>,
    /// What it reads on its standard input; by default nothing.
    pub(crate) input: Option<&'a str>,
    /// What it gets when its time is up, before it is killed.
    pub(crate) hung: Signal,
}

/// A command that was started.
pub(crate) struct Running {
    child: Child,
    pidfd: OwnedFd,
}

/// How waiting for a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself.
    Exit(ExitStatus),
    /// It was still there when its time was up.
    TimedOut,
    /// It was still there when nobody wanted its result any more.
    CalledOff,
}

impl Ended {
    pub(crate) fn is_success(self) -> bool {
        matches!(self, Self::Exit(status) if status.success())
    }

    /// Whether a shell says that there was nothing it could run: the answer says nothing about what was asked.
    pub(crate) fn found_nothing_to_run(self) -> bool {
        matches!(self.code(), Some(126 | 127))
    }

    /// The exit code, if it exited.
    pub(crate) fn code(self) -> Option<i32> {
        match self {
            Self::Exit(status) => status.code(),
            _ => None,
        }
    }

    /// In words, to follow the command's name.
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Exit(status) => how_it_ended(status),
            Self::TimedOut => "did not end in its time and was killed".into(),
            Self::CalledOff => "was killed, because its result is no longer wanted".into(),
        }
    }
}

/// The end of a process in words.
pub(crate) fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// Starts the command in `folder`. It prints to `output`.
///
/// # Errors
/// Nothing was started: there is no such file or user, or the control group was removed meanwhile.
pub(crate) fn spawn(command: &Command<'_>, folder: &Folder, output: &Output) -> Result<Running, String> {
    let mut real = match command.program {
        Program::Shell(line) => {
            let mut real = std::process::Command::new("/bin/sh");
            real.arg("-c").arg(line);
            real
        }
        Program::File(path, arguments) => {
            let mut real = std::process::Command::new(path);
            real.args(arguments);
            real
        }
    };
    real.env_clear().envs(basics(command.user)).envs(command.environment.iter().cloned());
    real.current_dir("/").stdout(output.stdio()).stderr(output.stdio());
    real.stdin(if command.input.is_some() { Stdio::piped() } else { Stdio::null() });
    let setup = ChildSetup { join: Some(folder.door()?), user: command.user.cloned() };
    sys::prepare_child(&mut real, setup);
    let mut child = real.spawn().map_err(|e| match e.raw_os_error() {
        Some(libc::ENODEV) => {
            format!("{} was removed by the guard before the command began", folder.path().display())
        }
        _ => format!("cannot execute {}: {e}", real.get_program().display()),
    })?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), command.input) {
        // Shorter than a pipe holds, so this does not wait; a command that does not read it is none the
        // worse.
        let _ = stdin.write_all(input.as_bytes());
    }
    let pid = child.id().cast_signed();
    match process::open(pid) {
        Some(pidfd) => Ok(Running { child, pidfd }),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("cannot watch process {pid}; is the kernel older than 5.3?"))
        }
    }
}

/// What every command finds in its environment.
pub(crate) fn basics(user: Option<&User>) -> Vec<(String, String)> {
    let (name, home, shell) = match user {
        Some(user) => (user.name.as_str(), user.home.as_str(), user.shell.as_str()),
        None => ("root", "/root", "/bin/sh"),
    };
    let pairs = [
        ("PATH", PATH),
        ("HOME", home),
        ("USER", name),
        ("LOGNAME", name),
        ("SHELL", shell),
        ("LANG", "C.UTF-8"),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The end of the process, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the process ends, `until` comes, or `job` is called off. Its output is kept in bounds.
    pub(crate) fn wait(&mut self, output: &Output, until: Instant, job: &Job) -> Ended {
        loop {
            if let Some(status) = self.ended() {
                return Ended::Exit(status);
            }
            if job.is_called_off() {
                return Ended::CalledOff;
            }
            if Instant::now() >= until {
                return Ended::TimedOut;
            }
            wait_for(&[(self.pidfd.as_fd(), PollFlags::IN)], job.alarm(), output, Some(until));
        }
    }

    /// A descriptor that becomes readable when the process has ended.
    pub(crate) fn end_event(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Hands over what a watcher needs.
    pub(crate) fn into_parts(self) -> (Child, OwnedFd) {
        (self.child, self.pidfd)
    }
}

/// Waits until one of `fds` has what is waited for, the alarm rings, or `until` comes. Trims the output
/// meanwhile.
pub(crate) fn wait_for(
    fds: &[(BorrowedFd<'_>, PollFlags)],
    alarm: Option<&OwnedFd>,
    output: &Output,
    until: Option<Instant>,
) {
    let mut printed_at: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let rested = printed_at.is_none_or(|at| now >= at + PRINTER_PAUSE);
        if rested && printed_at.take().is_some() {
            output.trim();
        }
        let wake = [until, printed_at.map(|at| at + PRINTER_PAUSE)].into_iter().flatten().min();
        if until.is_some_and(|until| now >= until) {
            return;
        }
        let timeout = wake.and_then(|at| Timespec::try_from(at.saturating_duration_since(now)).ok());
        let mut polled: Vec<PollFd<'_>> =
            fds.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        polled.extend(alarm.map(|fd| PollFd::new(fd, PollFlags::IN)));
        let wanted = polled.len();
        if printed_at.is_none() {
            polled.extend(output.watch().map(|fd| PollFd::new(fd, PollFlags::IN)));
        }
        if rustix::event::poll(&mut polled, timeout.as_ref()).is_err() {
            return;
        }
        if polled.iter().take(wanted).any(|fd| !fd.revents().is_empty()) {
            return;
        }
        if polled.iter().skip(wanted).any(|fd| !fd.revents().is_empty()) {
            printed_at = Some(Instant::now());
        }
    }
}

/// A command's end with the end of its output.
pub(crate) struct Finished {
    pub(crate) ended: Ended,
    pub(crate) took: Duration,
    pub(crate) output: String,
}

/// Runs a command to its end in a folder of its own inside `parent`; whatever it leaves behind is killed, and
/// the folder removed.
///
/// # Errors
/// It could not be started, or something of it survived the kill.
pub(crate) fn run(
    command: &Command<'_>,
    parent: &Folder,
    output_path: &Path,
    until: Instant,
    job: &Job,
) -> Result<Finished, String> {
    run_watched(command, parent, output_path, until, job, &|| ())
}

/// The same; `look` is called when its time is up, before anything is done to it.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_watched(
    command: &Command<'_>,
    parent: &Folder,
    output_path: &Path,
    until: Instant,
    job: &Job,
    look: &dyn Fn(),
) -> Result<Finished, String> {
    let begun = Instant::now();
    let folder = parent.create_numbered(COMMAND_FOLDER)?;
    let output = Output::create(output_path, command.user);
    let waited = spawn(command, &folder, &output).map(|mut running| {
        let ended = running.wait(&output, until, job);
        if ended == Ended::TimedOut {
            look();
        }
        if ended == Ended::TimedOut && command.hung != Signal::KILL {
            folder.signal(command.hung);
            let _ = folder.wait_empty(Instant::now() + HUNG_GRACE);
        }
        (ended, running)
    });
    output.trim();
    let end = folder.end(Duration::ZERO, Instant::now() + KILL_TAKES_AT_MOST);
    let (ended, mut running) = waited?;
    end?;
    // What was killed is reaped; it is dead, so this does not wait.
    let _ = running.child.wait();
    Ok(Finished { ended, took: begun.elapsed(), output: output.evidence() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_said_in_words() {
        assert_eq!(how_it_ended(ExitStatus::from_raw(3 << 8)), "exited with 3");
        assert_eq!(how_it_ended(ExitStatus::from_raw(9)), "was killed by signal 9");
        assert!(Ended::Exit(ExitStatus::from_raw(0)).is_success());
        assert!(!Ended::TimedOut.is_success() && Ended::TimedOut.code().is_none());
    }
}
