//! A lab from outside: start it, work its switches, run commands in it, end it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cgroup;
use crate::error::{Doing, LabError, Result};
use crate::folder::Folder;
use crate::loopdev;
use crate::machine::DEATH_PATIENCE;
use crate::protocol::{Answer, LabStatus, Power, Request};
use crate::run::{Running, command_of, first_process, output_of, pick, spawn_in};
use crate::san::{DiskState, SanLog};
use crate::spec::LabSpec;
use crate::switch::Direction;

/// How long the fabric may take to answer anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a machine that boots is waited for before a command is run in it.
const BOOTS_WITHIN: Duration = Duration::from_secs(20);

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    folder: Folder,
    /// Closing it ends the lab.
    leash: Option<UnixStream>,
}

impl Lab {
    /// Builds a lab that stays when this process ends; [`Lab::down`] ends it.
    ///
    /// # Errors
    /// What kept it from being built; nothing of it is left then.
    pub fn up(spec: &LabSpec) -> Result<Self> {
        Self::start(spec, false)
    }

    /// Builds a lab that goes down when the returned value is dropped, and when this process ends in any way.
    ///
    /// # Errors
    /// What kept it from being built; nothing of it is left then.
    pub fn up_leashed(spec: &LabSpec) -> Result<Self> {
        Self::start(spec, true)
    }

    fn start(spec: &LabSpec, leashed: bool) -> Result<Self> {
        spec.check()?;
        let group = cgroup::of_lab(&spec.name)?;
        if !cgroup::is_empty(&group) {
            return Err(LabError::new(format!("processes of a lab named {} are still there", spec.name))
                .hint(format!(
                    "remove it with `regent lab down --name {0}`, or use another --name",
                    spec.name
                )));
        }
        let folder = Folder::of(&spec.name)?;
        folder.create()?;
        let started = launch(&folder, spec, leashed);
        if started.is_err() {
            clear_away(&folder);
        }
        let leash = started?;
        Ok(Self { folder, leash: leashed.then_some(leash) })
    }

    /// Takes a leash off: the lab stays from now on, as after [`Lab::up`].
    ///
    /// # Errors
    /// When the fabric is gone.
    pub fn stay(mut self) -> Result<Self> {
        if let Some(mut leash) = self.leash.take() {
            leash.write_all(crate::fabric::STAY).doing(|| "take the lab off its leash".into())?;
        }
        Ok(self)
    }

    /// The lab of that name, if it is there.
    ///
    /// # Errors
    /// When there is none or it does not answer.
    pub fn attach(name: &str) -> Result<Self> {
        let folder = Folder::of(name)?;
        folder.connect()?;
        Ok(Self { folder, leash: None })
    }

    pub(crate) fn in_folder(folder: Folder) -> Self {
        Self { folder, leash: None }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Sends one request to the fabric.
    ///
    /// # Errors
    /// When the fabric does not answer, or what it answers.
    pub fn ask(&self, request: &Request) -> Result<Answer> {
        let stream = self.folder.connect()?;
        let doing = || format!("talk to the lab in {}", self.folder.path().display());
        stream.set_read_timeout(Some(PATIENCE)).doing(doing)?;
        let mut line = serde_json::to_string(request).doing(doing)?;
        line.push('\n');
        (&stream).write_all(line.as_bytes()).doing(doing)?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).doing(doing)?;
        match serde_json::from_str(&answer).doing(doing)? {
            Answer::Failed { why } => Err(LabError::new(why)),
            answer => Ok(answer),
        }
    }

    fn order(&self, request: &Request) -> Result<u64> {
        match self.ask(request)? {
            Answer::Done { at } => Ok(at),
            _ => Err(LabError::new("the lab gave another answer than was asked for")),
        }
    }

    /// The lab at this moment.
    ///
    /// # Errors
    /// When the fabric does not answer.
    pub fn status(&self) -> Result<LabStatus> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Ok(status),
            _ => Err(LabError::new("the lab gave another answer than was asked for")),
        }
    }

    /// Cuts a machine's power: SAN port and network ports first, then every process. Gives the time of the cut
    /// (ns of `CLOCK_MONOTONIC`), and does not wait for the rest to be cleared away.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn off(&self, machine: &str) -> Result<u64> {
        self.order(&Request::Off { machine: machine.to_owned(), wait: false })
    }

    /// The same, and waits until nothing of the machine is left.
    ///
    /// # Errors
    /// When there is no such machine, or something of it stays.
    pub fn off_and_wait(&self, machine: &str) -> Result<u64> {
        self.order(&Request::Off { machine: machine.to_owned(), wait: true })
    }

    /// Boots a machine; its command has been started when this returns.
    ///
    /// # Errors
    /// When it is on, or cannot boot.
    pub fn on(&self, machine: &str) -> Result<u64> {
        self.order(&Request::On { machine: machine.to_owned() })
    }

    /// Swallows a machine's frames, on one network or on all; the carrier stays.
    ///
    /// # Errors
    /// When the machine is off or not on that network.
    pub fn cut(&self, machine: &str, network: Option<usize>) -> Result<u64> {
        self.cut_direction(machine, network, Direction::Both)
    }

    /// Swallows only the frames to a machine, or only those from it.
    ///
    /// # Errors
    /// When the machine is off or not on that network.
    pub fn cut_direction(&self, machine: &str, network: Option<usize>, direction: Direction) -> Result<u64> {
        self.order(&Request::Cut { machine: machine.to_owned(), network, interface: None, direction })
    }

    /// Swallows the frames of one interface of a machine, or pulls its cable.
    ///
    /// # Errors
    /// When the machine is off or has no such interface.
    pub fn cut_interface(&self, machine: &str, interface: &str, direction: Direction) -> Result<u64> {
        let (machine, interface) = (machine.to_owned(), Some(interface.to_owned()));
        self.order(&Request::Cut { machine, network: None, interface, direction })
    }

    /// Undoes cuts and losses of one interface.
    ///
    /// # Errors
    /// When the machine is off or has no such interface.
    pub fn heal_interface(&self, machine: &str, interface: &str) -> Result<u64> {
        let (machine, interface) = (machine.to_owned(), Some(interface.to_owned()));
        self.order(&Request::Heal { machine, network: None, interface })
    }

    /// Loses so many of a hundred of a machine's frames at random, each way, on one network or on all; the others
    /// pass at once. 0 loses none.
    ///
    /// # Errors
    /// When the machine is off or not on that network, or the host has no `tc`.
    pub fn lossy(&self, machine: &str, network: Option<usize>, percent: u8) -> Result<u64> {
        self.order(&Request::Lossy { machine: machine.to_owned(), network, percent })
    }

    /// Splits every network: these machines hear each other and nobody else, and so do all the others. The neutral ones
    /// hear both sides, and are heard by both. No machine joins everything again. It holds for machines that boot later,
    /// too.
    ///
    /// # Errors
    /// When there is no such machine, or the host has no `tc`.
    pub fn split(&self, machines: &[impl AsRef<str>], neutral: &[impl AsRef<str>]) -> Result<u64> {
        let machines = machines.iter().map(|m| m.as_ref().to_owned()).collect();
        let neutral = neutral.iter().map(|m| m.as_ref().to_owned()).collect();
        self.order(&Request::Split { machines, neutral })
    }

    /// Joins what was split.
    ///
    /// # Errors
    /// When the host has no `tc`.
    pub fn join(&self) -> Result<u64> {
        self.split(&[""; 0], &[""; 0])
    }

    /// Undoes cuts and losses, on one network or on all.
    ///
    /// # Errors
    /// When the machine is off or not on that network.
    pub fn heal(&self, machine: &str, network: Option<usize>) -> Result<u64> {
        self.order(&Request::Heal { machine: machine.to_owned(), network, interface: None })
    }

    /// Freezes a machine's processes. With `silent` it is what a hypervisor does: its network ports are cut, and
    /// what its kernel still writes to the shared disks is kept in the SAN port until it goes on. Without it the
    /// kernel, which is the host's, answers ARP, acknowledges TCP and writes back for it.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn pause(&self, machine: &str, silent: bool) -> Result<u64> {
        self.order(&Request::Pause { machine: machine.to_owned(), silent })
    }

    /// Thaws a machine's processes and undoes what pausing did to its ports; what the SAN port kept is served.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn resume(&self, machine: &str) -> Result<u64> {
        self.order(&Request::Resume { machine: machine.to_owned() })
    }

    /// Sets the switch in a node's SAN port, for all shared disks.
    ///
    /// # Errors
    /// When the machine is off or has no disk.
    pub fn disk(&self, machine: &str, state: DiskState) -> Result<u64> {
        self.order(&Request::Disk { machine: machine.to_owned(), own: false, device: None, state })
    }

    /// The same for one shared disk alone, by its device; after a boot it is well.
    ///
    /// # Errors
    /// When the machine is off or has no such disk.
    pub fn single_disk(&self, machine: &str, device: &Path, state: DiskState) -> Result<u64> {
        let device = Some(device.to_owned());
        self.order(&Request::Disk { machine: machine.to_owned(), own: false, device, state })
    }

    /// Copies a machine's own disk to a file, as it is at one moment: what a backup or a snapshot keeps.
    ///
    /// # Errors
    /// When there is no such machine, or the file cannot be written.
    pub fn copy_own_disk(&self, machine: &str, to: &Path) -> Result<u64> {
        self.order(&Request::CopyOwn { machine: machine.to_owned(), to: to.to_owned() })
    }

    /// Cuts a machine's power and puts such a copy back. The machine stays off.
    ///
    /// # Errors
    /// When it does not go off, or the copy cannot be read.
    pub fn put_own_disk_back(&self, machine: &str, from: &Path) -> Result<u64> {
        self.order(&Request::PutBack { machine: machine.to_owned(), from: from.to_owned() })
    }

    /// Sets the switch on the way to a machine's own disk, which holds what must outlive its boots.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn own_disk(&self, machine: &str, state: DiskState) -> Result<u64> {
        self.order(&Request::Disk { machine: machine.to_owned(), own: true, device: None, state })
    }

    /// Starts a command in a machine; see [`spawn_in`].
    ///
    /// # Errors
    /// When the machine is off or has no such program.
    pub fn spawn(&self, machine: &str, command: Command) -> Result<Running> {
        spawn_in(pick(&self.booted(machine)?, machine)?, command)
    }

    /// The lab at a moment at which this machine does not boot: it is waited for.
    fn booted(&self, machine: &str) -> Result<LabStatus> {
        let end = Instant::now() + BOOTS_WITHIN;
        loop {
            let status = self.status()?;
            let boots = pick(&status, machine)?.power == Power::Booting;
            if !boots || Instant::now() >= end {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs a command in a machine with this process's standard input, output and error. Gives its exit code.
    ///
    /// # Errors
    /// When the machine is off or has no such program.
    pub fn run(&self, machine: &str, words: &[impl AsRef<std::ffi::OsStr>]) -> Result<i32> {
        Ok(crate::run::exit_code(self.spawn(machine, command_of(words)?)?.wait()?))
    }

    /// Runs a command in a machine and collects what it says.
    ///
    /// # Errors
    /// When the machine is off or has no such program.
    pub fn output(&self, machine: &str, words: &[impl AsRef<std::ffi::OsStr>]) -> Result<Output> {
        output_of(pick(&self.booted(machine)?, machine)?, command_of(words)?)
    }

    /// Runs `work` in a thread of this process whose network is a machine's; its files are this process's. The
    /// thread's result is there unless this function failed.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn thread_on<T: Send + 'static>(
        &self,
        machine: &str,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Option<T>>> {
        let handle = first_process(pick(&self.status()?, machine)?)?;
        let (tell, told) = std::sync::mpsc::channel();
        let (machine, name) = (machine.to_owned(), name.to_owned());
        let enter = move || format!("enter the network of {machine}");
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let entered = rustix::thread::move_into_thread_name_spaces(
                handle.as_fd(),
                rustix::thread::ThreadNameSpaceType::NETWORK,
            );
            drop(handle);
            let inside = entered.is_ok();
            let _who_waits_is_there = tell.send(entered);
            inside.then(work)
        });
        let thread = thread.doing(|| "start a thread".into())?;
        told.recv().map_err(|_| LabError::new("a thread died"))?.doing(enter)?;
        Ok(thread)
    }

    /// Everything the SAN has served so far.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn san_log(&self) -> Result<SanLog> {
        SanLog::read(&self.folder.san_log())
    }

    /// Ends the lab. Nothing of it is left.
    ///
    /// # Errors
    /// When something does not go away.
    pub fn down(mut self) -> Result<()> {
        self.leash = None;
        down(&self.folder)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.leash.take().is_some() {
            let _seen_by_who_looks = down(&self.folder);
        }
    }
}

fn launch(folder: &Folder, spec: &LabSpec, leashed: bool) -> Result<UnixStream> {
    folder.write_json(&folder.spec_file(), spec)?;
    let (ours, theirs) = UnixStream::pair().doing(|| "make a socket pair".into())?;
    let log = folder.fabric_log();
    let log = fs::File::create(&log).doing(|| format!("make {}", log.display()))?;
    let mut command = Command::new(&spec.executable);
    command.args(&spec.words).arg("fabric").arg(folder.path()).args(leashed.then_some("--leashed"));
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).stderr(log);
    command.stdout(Stdio::null()).process_group(0);
    let mut child = command.spawn().doing(|| format!("start the lab with {}", spec.executable.display()))?;
    drop(command); // it holds a copy of the fabric's end
    let mut said = String::new();
    ours.set_read_timeout(Some(PATIENCE)).doing(|| "set a timeout".into())?;
    let heard = BufReader::new(&ours).read_line(&mut said);
    if said == "ready\n" {
        // Whoever waits for this process's children will not be surprised by the fabric.
        let _reaper = std::thread::Builder::new().name("fabric".into()).spawn(move || child.wait());
        return Ok(ours);
    }
    drop(ours);
    let ended = child.wait();
    let log = fs::read_to_string(folder.fabric_log()).unwrap_or_default();
    Err(match (said.trim(), heard) {
        ("", Err(error)) => LabError::new(format!("the lab does not get ready: {error}")),
        ("", Ok(_)) => {
            let ended = ended.map_or_else(|e| e.to_string(), |s| s.to_string());
            LabError::new(format!("the lab's fabric ended before it was ready ({ended}) {}", log.trim()))
        }
        (why, _) => LabError::new(why),
    })
}

/// Ends the lab in `folder`, whether its fabric lives, hangs or is gone.
///
/// # Errors
/// When there is no such lab, or something does not go away.
pub fn down(folder: &Folder) -> Result<()> {
    let path = folder.path().display();
    if !folder.path().exists() {
        return Err(LabError::new(format!("there is no lab in {path}"))
            .hint("`regent lab status` shows the labs there are"));
    }
    if let Ok(record) = folder.record() {
        ask_to_end(folder, record.fabric);
    }
    clear_away(folder);
    if folder.path().exists() {
        return Err(LabError::new(format!("something of the lab in {path} does not go away"))
            .hint("try `regent lab down` again; see also the kernel's messages (dmesg)"));
    }
    Ok(())
}

/// Asks the fabric to end the lab, and waits until it is gone.
fn ask_to_end(folder: &Folder, fabric: i32) {
    let Some(pid) = Pid::from_raw(fabric) else { return };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let lab = Lab { folder: folder.clone(), leash: None };
    if lab.order(&Request::Down).is_err() {
        return;
    }
    let mut fds = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
    let _killed_below_if_it_stays = rustix::event::poll(&mut fds, Some(&limit));
}

/// Removes everything a lab may have left: processes, loop devices, control groups, the folder. The folder stays
/// if anything else does, so that it can be tried again.
pub(crate) fn clear_away(folder: &Folder) {
    let mut clean = true;
    if let Ok(record) = folder.record() {
        cgroup::kill(&record.cgroup);
        clean &= cgroup::wait_empty(&record.cgroup, DEATH_PATIENCE);
        clean &= loopdev::detach_all(folder, DEATH_PATIENCE).is_empty();
        clean &= cgroup::remove(&record.cgroup);
        if let Some(all) = record.cgroup.parent() {
            let _others_use_it = fs::remove_dir(all);
        }
    }
    if clean {
        let _shown_by_its_existence = fs::remove_dir_all(folder.path());
        if let Some(base) = folder.path().parent().filter(|b| *b == Path::new(crate::folder::DEFAULT_BASE)) {
            let _others_use_it = fs::remove_dir(base);
        }
    }
}
