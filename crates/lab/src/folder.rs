//! The lab's folder: what is where, and the record that lets anyone clean up.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Doing, LabError, Result};
use crate::spec::{LabSpec, check_lab_name};

/// Where labs live unless `REGENT_LAB_DIR` says otherwise.
pub const DEFAULT_BASE: &str = "/run/regent-lab";

/// The folder of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// Everything needed to use a lab, and to clean up after one whose fabric is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// What the lab consists of.
    pub spec: LabSpec,
    /// The process number of the fabric.
    pub fabric: i32,
    /// The lab's control group, as a path on the host.
    pub cgroup: PathBuf,
}

impl Folder {
    /// The folder of the lab of that name: below `REGENT_LAB_DIR`, or below `/run/regent-lab`.
    ///
    /// # Errors
    /// When the name cannot be a lab's.
    pub fn of(name: &str) -> Result<Self> {
        check_lab_name(name)?;
        Ok(Self(base().join(name)))
    }

    /// A folder known by its path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder; nobody but root can look inside, for it holds the cluster's key.
    pub(crate) fn create(&self) -> Result<()> {
        match create_beside_others(&self.0, |path| fs::DirBuilder::new().mode(0o700).create(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let name = self.0.file_name().unwrap_or_default().to_string_lossy();
                Err(LabError::new(format!("there is a lab named {name} already, in {}", self.0.display()))
                    .hint(format!("remove it with `regent lab down --name {name}`, or use another --name")))
            }
            other => other.doing(|| format!("make the folder {}", self.0.display())),
        }
    }

    pub(crate) fn spec_file(&self) -> PathBuf {
        self.0.join("spec.json")
    }

    pub(crate) fn record_file(&self) -> PathBuf {
        self.0.join("lab.json")
    }

    /// What the SAN writes about every request, one line each.
    #[must_use]
    pub fn san_log(&self) -> PathBuf {
        self.0.join("san.log")
    }

    /// What the fabric has to say.
    #[must_use]
    pub fn fabric_log(&self) -> PathBuf {
        self.0.join("fabric.log")
    }

    /// The image behind a shared disk. Only read it, and only while no node writes.
    #[must_use]
    pub fn image(&self, disk: usize) -> PathBuf {
        self.0.join(format!("disk{disk}.img"))
    }

    /// The folder of one machine.
    #[must_use]
    pub fn machine(&self, name: &str) -> PathBuf {
        self.0.join("machines").join(name)
    }

    /// What a machine's first process and its command printed, over all boots.
    #[must_use]
    pub fn console(&self, machine: &str) -> PathBuf {
        self.machine(machine).join("console.log")
    }

    /// What a machine's own disk holds when it is new.
    pub(crate) fn seeds(&self, machine: &str) -> PathBuf {
        self.machine(machine).join("seeds")
    }

    /// The image of a machine's own disk.
    pub(crate) fn own_image(&self, machine: &str) -> PathBuf {
        self.machine(machine).join("disk.img")
    }

    pub(crate) fn own_mount(&self, machine: &str) -> PathBuf {
        self.machine(machine).join("disk")
    }

    /// Where the machines' programs are pinned; only the fabric and what it starts see anything there.
    pub(crate) fn programs(&self) -> PathBuf {
        self.0.join("programs")
    }

    pub(crate) fn san_mount(&self, machine: &str) -> PathBuf {
        self.machine(machine).join("san")
    }

    /// One line per loop device that was ever bound: its number and tag.
    pub(crate) fn loops(&self) -> PathBuf {
        self.0.join("loops")
    }

    /// The tag of a machine's loop devices. Loop devices know no namespace; their tag says whose they are.
    pub(crate) fn loop_tag(&self, machine: &str) -> String {
        use std::os::unix::ffi::OsStrExt;
        let whose = crc32c::crc32c(self.0.as_os_str().as_bytes());
        let mut tag = format!("regent-lab:{whose:08x}:{machine}");
        tag.truncate(63);
        tag
    }

    /// Reads the record.
    ///
    /// # Errors
    /// When there is no such lab, or its record cannot be read.
    pub fn record(&self) -> Result<Record> {
        let path = self.record_file();
        let text = fs::read(&path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                let name = self.0.file_name().unwrap_or_default().to_string_lossy();
                LabError::new(format!("there is no lab in {}", self.0.display()))
                    .hint(format!("start one with `regent lab up --name {name}`"))
            } else {
                LabError::new(format!("cannot read {}: {error}", path.display()))
            }
        })?;
        serde_json::from_slice(&text).doing(|| format!("understand {}", path.display()))
    }

    pub(crate) fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        let text = serde_json::to_vec_pretty(value).doing(|| format!("write {}", path.display()))?;
        let new = path.with_extension("new");
        fs::write(&new, text).doing(|| format!("write {}", new.display()))?;
        fs::rename(&new, path).doing(|| format!("write {}", path.display()))
    }

    /// Listens on a socket in `folder`. The short way in keeps long paths within a socket address.
    pub(crate) fn listen(folder: &Path, name: &str) -> Result<UnixListener> {
        let path = folder.join(name);
        let short = open_folder(folder)?;
        UnixListener::bind(format!("/proc/self/fd/{}/{name}", short.as_raw_fd()))
            .doing(|| format!("listen on {}", path.display()))
    }

    /// Connects to the socket of the fabric.
    pub(crate) fn connect(&self) -> Result<UnixStream> {
        let short = open_folder(&self.0).map_err(|_| {
            let name = self.0.file_name().unwrap_or_default().to_string_lossy();
            LabError::new(format!("there is no lab in {}", self.0.display()))
                .hint(format!("start one with `regent lab up --name {name}`"))
        })?;
        UnixStream::connect(format!("/proc/self/fd/{}/{CONTROL}", short.as_raw_fd())).map_err(|error| {
            let name = self.0.file_name().unwrap_or_default().to_string_lossy();
            LabError::new(format!("the lab in {} does not answer: {error}", self.0.display()))
                .hint(format!("clear it away with `regent lab down --name {name}`"))
        })
    }
}

/// The name of the fabric's socket in the lab's folder.
pub(crate) const CONTROL: &str = "control.sock";
/// The name of a machine's power switch socket in the machine's folder.
pub(crate) const POWER: &str = "power.sock";

fn open_folder(folder: &Path) -> Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(folder)
        .doing(|| format!("open {}", folder.display()))
}

/// Makes a folder in one that all labs share, and that the last of them to end takes away, maybe just now.
///
/// # Errors
/// When the parent cannot be made, and whatever `make` says.
pub(crate) fn create_beside_others(path: &Path, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{AlreadyExists, NotFound};
    for _taken_away_meanwhile in 0..10_000 {
        // One that was there for `mkdir` and is not for the look after it is said to exist already.
        match path.parent().map_or(Ok(()), fs::create_dir_all) {
            Err(error) if matches!(error.kind(), NotFound | AlreadyExists) => continue,
            other => other?,
        }
        match make(path) {
            Err(error) if error.kind() == NotFound => {}
            other => return other,
        }
    }
    make(path)
}

/// Where the labs of this machine live.
#[must_use]
pub fn base() -> PathBuf {
    std::env::var_os("REGENT_LAB_DIR").map_or_else(|| DEFAULT_BASE.into(), PathBuf::from)
}

/// The names of all labs of this machine, running or broken. Whatever else lies in their folder is none: a file, or
/// something that no lab could be named.
#[must_use]
pub fn all_labs() -> Vec<String> {
    labs_in(&base())
}

fn labs_in(base: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let folders = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = folders.filter_map(|e| e.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| check_lab_name(name).is_ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_can_be_made_while_the_last_lab_takes_the_common_one_away() {
        let base = std::env::temp_dir().join(format!("regent-labs-beside-{}", std::process::id()));
        let over = std::sync::atomic::AtomicBool::new(false);
        let failed = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let _not_empty_or_not_there = fs::remove_dir(&base);
                    std::thread::sleep(std::time::Duration::from_micros(20));
                }
            });
            let mine = base.join("mine");
            let made = || create_beside_others(&mine, |path| fs::create_dir(path));
            let failed = (0..300).find_map(|_| made().and_then(|()| fs::remove_dir(&mine)).err());
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            failed
        });
        let _taken_away_or_not = fs::remove_dir(&base);
        assert!(failed.is_none(), "{failed:?}");
    }

    #[test]
    fn only_folders_with_a_labs_name_are_labs() {
        let base = std::env::temp_dir().join(format!("regent-labs-{}", std::process::id()));
        for folder in ["two", "one", "no lab"] {
            fs::create_dir_all(base.join(folder)).unwrap();
        }
        fs::write(base.join("notes"), "a plain file").unwrap();
        std::os::unix::fs::symlink(base.join("one"), base.join("three")).unwrap();
        let found = labs_in(&base);
        fs::remove_dir_all(&base).unwrap();
        assert_eq!(found, ["one", "two"]);
    }
}
