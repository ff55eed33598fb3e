//! Control groups of version 2: who is in one, joining one, and ending everything in one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::mountinfo;
use crate::process;

const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// A hint that is missed must not cost more than this.
const POLL_MAX: Duration = Duration::from_millis(100);
const NAMED_MAX: usize = 8;
const NUMBERED_MAX: u32 = 1000;

/// Finds where version 2 is mounted. In a hybrid set-up it lies beside the version 1 controllers.
pub(crate) fn find_hierarchy() -> Result<PathBuf, String> {
    let mounts = mountinfo::own()?;
    let found = mounts.iter().filter(|m| m.fstype == "cgroup2");
    let writable = found.clone().find(|m| !m.has("ro"));
    match (writable, found.clone().next()) {
        (Some(mount), _) => Ok(mount.point.clone()),
        (None, Some(mount)) => Err(format!(
            "the control group hierarchy at {0} is read-only; make it writable: mount -o remount,rw {0}",
            mount.point.display()
        )),
        (None, None) => Err("control groups of version 2 are not mounted, and applications cannot be held \
                             without them; type: mount -t cgroup2 none /sys/fs/cgroup/unified"
            .into()),
    }
}

/// One control group that exists, or existed when it was opened.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

impl Folder {
    /// Makes the folder, and those above it, if needed.
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        let fail =
            |e: &dyn std::fmt::Display| format!("cannot make the control group {}: {e}", path.display());
        // Somebody who tidies up may remove a folder above between making it and making this one.
        for _ in 0..3 {
            std::fs::create_dir_all(path).map_err(|e| fail(&e))?;
            if let Some(folder) = Self::open(path)? {
                if !folder.path.join("cgroup.kill").exists() && folder.path.exists() {
                    return Err(fail(&"it has no cgroup.kill; a kernel of 5.14 or later is needed"));
                }
                return Ok(folder);
            }
        }
        Err(fail(&"it is removed again and again; does another daemon run?"))
    }

    /// Opens the folder, if it exists.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { path: path.to_owned(), fd })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(format!("cannot open the control group {}: {e}", path.display())),
        }
    }

    /// Makes a folder in this one. It fails when this one was removed since it was opened, even when another
    /// of the same name was made: what the guard has let go of is not brought back by a late hand.
    pub(crate) fn create_child(&self, name: &str) -> Result<Self, String> {
        match self.make(name) {
            Ok(()) | Err(Errno::EXIST) => self.open_child(name),
            Err(e) => Err(format!("cannot make the control group {}: {e}", self.path.join(name).display())),
        }
    }

    /// Makes a folder in this one that nobody has: `prefix` and the first free number.
    pub(crate) fn create_numbered(&self, prefix: &str) -> Result<Self, String> {
        for number in 1..=NUMBERED_MAX {
            let name = format!("{prefix}{number}");
            match self.make(&name) {
                Ok(()) => return self.open_child(&name),
                Err(Errno::EXIST) => {}
                Err(e) => {
                    let path = self.path.join(name);
                    return Err(format!("cannot make the control group {}: {e}", path.display()));
                }
            }
        }
        Err(format!(
            "{} holds {NUMBERED_MAX} unfinished commands; see what they hang in",
            self.path.display()
        ))
    }

    fn make(&self, name: &str) -> Result<(), Errno> {
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755))
    }

    fn open_child(&self, name: &str) -> Result<Self, String> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { path, fd }),
            Err(e) => Err(format!("cannot open the control group {}: {e}", path.display())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An open `cgroup.procs`: whoever writes "0" to it joins, unless the folder was removed meanwhile.
    pub(crate) fn door(&self) -> Result<OwnedFd, String> {
        self.file("cgroup.procs", OFlags::WRONLY)
            .map_err(|e| format!("cannot join the control group {}: {e}", self.path.display()))
    }

    /// Moves a process here.
    pub(crate) fn take_in(&self, pid: i32) -> Result<(), String> {
        let door = self.door()?;
        match rustix::io::write(&door, pid.to_string().as_bytes()) {
            Ok(_) | Err(Errno::SRCH) => Ok(()),
            Err(e) => Err(format!("cannot move process {pid} into {}: {e}", self.path.display())),
        }
    }

    /// The processes in this folder alone. A removed folder has none.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let text = self.read("cgroup.procs").unwrap_or_default();
        // 0 stands for a process that this PID namespace cannot see.
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
    }

    /// The processes in this folder and in all below it.
    pub(crate) fn all_processes(&self) -> Vec<i32> {
        let mut found = self.processes();
        for name in self.children() {
            if let Ok(Some(child)) = Self::open(&self.path.join(name)) {
                found.extend(child.all_processes());
            }
        }
        found
    }

    /// The names of the folders in this one.
    pub(crate) fn children(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let folders = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        folders.filter_map(|e| e.file_name().into_string().ok()).collect()
    }

    /// Whether a process lives in this folder or below it. A removed folder is empty.
    pub(crate) fn is_populated(&self) -> Result<bool, String> {
        match self.read("cgroup.events") {
            Ok(text) => Ok(text.lines().any(|line| line == "populated 1")),
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(e) => Err(format!("cannot see whether {} is empty: {e}", self.path.display())),
        }
    }

    /// An open `cgroup.events`, whose poll reports `PRI` when `populated` changes. Read it before waiting.
    pub(crate) fn events(&self) -> Result<OwnedFd, Errno> {
        self.file("cgroup.events", OFlags::RDONLY)
    }

    /// Waits until nobody is left here or below; false when somebody still is at `until`.
    pub(crate) fn wait_empty(&self, until: Instant) -> Result<bool, String> {
        let events = match self.events() {
            Ok(events) => events,
            Err(Errno::NOENT | Errno::NODEV) => return Ok(true),
            Err(e) => return Err(format!("cannot watch {}: {e}", self.path.display())),
        };
        loop {
            let mut text = [0; 256];
            let _ = rustix::io::pread(&events, &mut text, 0);
            if !self.is_populated()? {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            wait_pri(&events, left.min(POLL_MAX));
        }
    }

    /// Kills everything here and below, also what is just being forked.
    pub(crate) fn kill(&self) -> Result<(), String> {
        let result = self.file("cgroup.kill", OFlags::WRONLY).and_then(|f| rustix::io::write(&f, b"1"));
        match result {
            Ok(_) | Err(Errno::NODEV) => Ok(()),
            Err(Errno::NOENT) if !self.path.join("cgroup.procs").exists() => Ok(()),
            Err(Errno::NOENT) => Err(format!(
                "{} has no cgroup.kill; a kernel of 5.14 or later is needed",
                self.path.display()
            )),
            Err(e) => Err(format!("cannot kill the processes in {}: {e}", self.path.display())),
        }
    }

    /// Sends a signal to everything here and below.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.all_processes() {
            // Seen here after the descriptor was opened, it is the process that was meant.
            if let Some(pidfd) = process::open(pid)
                && self.all_processes().contains(&pid)
            {
                let _ = rustix::process::pidfd_send_signal(&pidfd, signal);
            }
        }
    }

    /// Removes this folder and those in it. `EBUSY` when somebody joined.
    pub(crate) fn remove(&self) -> Result<(), Errno> {
        for name in self.children() {
            if let Ok(Some(child)) = Self::open(&self.path.join(name)) {
                child.remove()?;
            }
        }
        match rustix::fs::unlinkat(rustix::fs::CWD, &self.path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Ends everything here and below and removes the folder: `SIGTERM` and `grace` (if any), then the kill,
    /// until the kernel says that it is empty.
    ///
    /// # Errors
    /// Who is still there at `deadline`.
    pub(crate) fn end(&self, grace: Duration, deadline: Instant) -> Result<(), String> {
        if !grace.is_zero() && self.is_populated()? {
            let now = Instant::now();
            // A quarter of the time is kept for the kill.
            let polite = deadline.saturating_duration_since(now) * 3 / 4;
            self.signal(Signal::TERM);
            self.wait_empty(now + grace.min(polite))?;
        }
        loop {
            self.kill()?;
            if !self.wait_empty(deadline)? {
                return Err(self.survivors());
            }
            match self.remove() {
                Ok(()) => return Ok(()),
                // Somebody joined through a door that was opened earlier, or is half-way out.
                Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
                Err(e) => return Err(format!("cannot remove {}: {e}", self.path.display())),
            }
        }
    }

    /// Says who survived the kill, and where in the kernel.
    pub(crate) fn survivors(&self) -> String {
        let pids = self.all_processes();
        let named: Vec<String> = pids.iter().take(NAMED_MAX).map(|pid| process::describe(*pid)).collect();
        format!(
            "{} process(es) in {} survived SIGKILL: {}",
            pids.len().max(1),
            self.path.display(),
            if named.is_empty() { "none that can be seen from here".into() } else { named.join("; ") }
        )
    }

    fn file(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.fd, name, flags | OFlags::CLOEXEC, Mode::empty())
    }

    fn read(&self, name: &str) -> Result<String, Errno> {
        let file = self.file(name, OFlags::RDONLY)?;
        let mut text = String::new();
        io::Read::read_to_string(&mut std::fs::File::from(file), &mut text)
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        Ok(text)
    }
}

fn wait_pri(events: impl AsFd, at_most: Duration) {
    let timeout = Timespec::try_from(at_most).ok();
    let mut fds = [PollFd::new(&events, PollFlags::PRI)];
    let _ = rustix::event::poll(&mut fds, timeout.as_ref());
}

/// Ends whatever is in the folder at `path`, which may not exist. See [`Folder::end`].
pub(crate) fn end(path: &Path, grace: Duration, deadline: Instant) -> Result<(), String> {
    match Folder::open(path)? {
        Some(folder) => folder.end(grace, deadline),
        None => Ok(()),
    }
}
