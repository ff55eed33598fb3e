//! Running commands in a machine.

use std::io;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cgroup;
use crate::error::{Doing, LabError, Result};
use crate::protocol::{LabStatus, MachineStatus, Power};
use crate::sys;

/// A handle of a machine's first process: the machine as it is in this boot, and in no other.
pub(crate) fn first_process(status: &MachineStatus) -> Result<std::os::fd::OwnedFd> {
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

/// Starts `command` in a machine, with the environment of the machine's own command. Standard input, output and
/// error are what `command` says. The process belongs to the machine: it is frozen and killed with it.
///
/// # Errors
/// When the machine is off or has no such program.
pub fn spawn_in(status: &MachineStatus, mut command: Command) -> Result<Child> {
    let handle = first_process(status)?;
    let own: Vec<_> = command.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
    command.env_clear();
    if let Some(terminal) = std::env::var_os("TERM") {
        command.env("TERM", terminal);
    }
    command.envs(&status.env).envs(own).current_dir("/");
    let procs = cgroup::open_procs(&status.cgroup)?;
    let program = command.get_program().to_string_lossy().into_owned();
    sys::spawn_inside(command, std::os::fd::AsFd::as_fd(&handle), procs).map_err(|error| {
        let what = format!("cannot run {program} on {}: {error}", status.name);
        match error.kind() {
            io::ErrorKind::NotFound => LabError::new(what)
                .hint("machines of the lab have the host's programs, and /tmp and /run of their own"),
            _ => LabError::new(what),
        }
    })
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
    let child = spawn_in(status, command)?;
    child.wait_with_output().doing(|| format!("wait for a command on {}", status.name))
}

/// The exit code as a shell gives it: 128 and the signal's number for a process that was killed.
#[must_use]
pub fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
