//! Running commands in a machine.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cgroup;
use crate::error::{Doing, LabError, Result};
use crate::protocol::{LabStatus, MachineStatus, Power};
use crate::sys;

/// A handle of a machine's first process: the machine as it is in this boot, and in no other.
pub(crate) fn first_process(status: &MachineStatus) -> Result<OwnedFd> {
    let name = &status.name;
    let off = || LabError::new(format!("{name} is off")).hint(format!("`regent lab on {name}`"));
    if !matches!(status.power, Power::On | Power::Booting) {
        return Err(off());
    }
    let pid = Pid::from_raw(status.pid).ok_or_else(off)?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| off())?;
    // The number may be another process's by now; the machine's control group tells.
    let group = std::fs::read_to_string(format!("/proc/{}/cgroup", status.pid)).unwrap_or_default();
    let ending = format!("/{}", status.name);
    let inside =
        group.lines().any(|l| l.starts_with("0::") && l.contains("/regent-lab/") && l.ends_with(&ending));
    if inside { Ok(handle) } else { Err(off()) }
}

/// A process in a machine. It is buried as soon as it ends, whether anybody waits for it or not: a dead process that
/// nobody buries keeps its machine's process space, and so the machine, from going away.
#[derive(Debug)]
pub struct Running {
    /// Its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    pid: u32,
    handle: OwnedFd,
    burial: JoinHandle<io::Result<ExitStatus>>,
}

impl Running {
    /// Its process number, seen from the host.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal. One that has ended already gets none, and that is no error.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.handle, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other.doing(|| format!("send a signal to process {}", self.pid)),
        }
    }

    /// Kills it; see [`Self::signal`].
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.burial.is_finished()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn wait(mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        let ended = self.burial.join().unwrap_or_else(|_| Err(io::Error::other("a thread died")));
        ended.doing(|| format!("wait for process {}", self.pid))
    }

    /// Reads what it says until it has ended.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn wait_with_output(mut self) -> Result<Output> {
        let read = |source: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _what_there_is = source.map(|mut s| s.read_to_end(&mut text));
                text
            })
        };
        let stdout = read(self.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>));
        let stderr = read(self.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>));
        let status = self.wait()?;
        let [stdout, stderr] = [stdout, stderr].map(|t| t.join().unwrap_or_default());
        Ok(Output { status, stdout, stderr })
    }
}

/// Starts `command` in a machine, with the environment of the machine's own command. Standard input, output and
/// error are what `command` says. The process belongs to the machine: it is frozen and killed with it.
///
/// # Errors
/// When the machine is off, still boots, or has no such program.
pub fn spawn_in(status: &MachineStatus, mut command: Command) -> Result<Running> {
    // Until it has its own root, what runs in it would read and write the host's files.
    if status.power == Power::Booting {
        return Err(LabError::new(format!("{} still boots", status.name)).hint("try again in a moment"));
    }
    let handle = first_process(status)?;
    let own: Vec<_> = command.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
    command.env_clear();
    if let Some(terminal) = std::env::var_os("TERM") {
        command.env("TERM", terminal);
    }
    command.envs(&status.env).envs(own).current_dir("/");
    let procs = cgroup::open_procs(&status.cgroup)?;
    let program = command.get_program().to_string_lossy().into_owned();
    let spawned = sys::spawn_inside(command, std::os::fd::AsFd::as_fd(&handle), procs);
    let mut child = spawned.map_err(|error| {
        let what = format!("cannot run {program} on {}: {error}", status.name);
        match error.kind() {
            io::ErrorKind::NotFound => LabError::new(what)
                .hint("machines of the lab have the host's programs, and /tmp and /run of their own"),
            _ => LabError::new(what),
        }
    })?;
    let pid = child.id();
    let handle = Pid::from_raw(pid.cast_signed()).ok_or(rustix::io::Errno::SRCH);
    let handle = handle.and_then(|p| pidfd_open(p, PidfdFlags::empty()));
    let handle = handle.doing(|| format!("watch process {pid}"))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let burial = std::thread::Builder::new().name("burial".into()).spawn(move || child.wait());
    let burial = burial.doing(|| "start a thread".into())?;
    Ok(Running { stdin, stdout, stderr, pid, handle, burial })
}

/// The status of one machine of a lab.
pub(crate) fn pick<'a>(status: &'a LabStatus, machine: &str) -> Result<&'a MachineStatus> {
    status.machine(machine).ok_or_else(|| {
        let names: Vec<&str> = status.machines.iter().map(|m| m.name.as_str()).collect();
        LabError::new(format!("no machine is named {machine}"))
            .hint(format!("use one of {}", names.join(", ")))
    })
}

/// Makes a command of a list of words.
///
/// # Errors
/// When the list is empty.
pub(crate) fn command_of(words: &[impl AsRef<std::ffi::OsStr>]) -> Result<Command> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| LabError::new("no command is given").hint("add it after `--`"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// Runs a command to its end and collects what it says.
pub(crate) fn output_of(status: &MachineStatus, mut command: Command) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn_in(status, command)?.wait_with_output()
}

/// The exit code as a shell gives it: 128 and the signal's number for a process that was killed.
#[must_use]
pub fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
