//! Loop devices: each node has its own for each shared disk, so that two nodes share no superblock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::cgroup::wait_for;
use crate::error::{Doing, LabError, Result};
use crate::folder::Folder;
use crate::sys;

/// The major number of loop devices.
pub(crate) const MAJOR: u32 = 7;
const ATTEMPTS: u32 = 50;

fn open(number: u32) -> io::Result<File> {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    if !path.exists() {
        mknodat(CWD, &path, FileType::BlockDevice, Mode::from(0o600), makedev(MAJOR, number))?;
    }
    OpenOptions::new().read(true).write(true).open(path)
}

/// Binds `file` to a free loop device with direct I/O, under the machine's tag, and notes it in the lab's
/// folder before it exists for anybody else. Nobody holds the device open afterwards, as with a real disk: only
/// then does the kernel forget the device's contents when a file system is unmounted.
///
/// # Errors
/// When there is no loop device, or the kernel would not use direct I/O on the file.
pub(crate) fn attach(file: &Path, folder: &Folder, machine: &str) -> Result<u32> {
    let control = "/dev/loop-control";
    let control =
        OpenOptions::new().read(true).write(true).open(control).doing(|| format!("open {control}"))?;
    let backing = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(file);
    let backing = backing.doing(|| format!("open {}", file.display()))?;
    let tag = folder.loop_tag(machine);
    for _ in 0..ATTEMPTS {
        let number = sys::loop_free(&control).doing(|| "find a free loop device".into())?;
        let device = open(number).doing(|| format!("open /dev/loop{number}"))?;
        note(folder, machine, number)?;
        match sys::loop_bind(&device, &backing, tag.as_bytes()) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => continue, // somebody was faster
            other => other.doing(|| format!("bind /dev/loop{number} to {}", file.display()))?,
        }
        match sys::loop_tag(&device) {
            Ok(Some((_, true))) => return Ok(number),
            _ => {
                let _is_reported_below = sys::loop_clear(&device);
                return Err(LabError::new(format!(
                    "/dev/loop{number} does no direct I/O: its cache would lie"
                )));
            }
        }
    }
    Err(LabError::new("others take every free loop device before the lab can; try again"))
}

fn note(folder: &Folder, machine: &str, number: u32) -> Result<()> {
    let path = folder.loops();
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut f| f.write_all(format!("{number} {machine}\n").as_bytes()));
    written.doing(|| format!("write {}", path.display()))
}

/// Lets go of a loop device if it still is the machine's, and waits until it is free.
///
/// # Errors
/// When somebody keeps it open for longer than `patience`.
pub(crate) fn detach(number: u32, folder: &Folder, machine: &str, patience: Duration) -> Result<()> {
    let tag = folder.loop_tag(machine);
    let ours = |device: &File| {
        sys::loop_tag(device).is_ok_and(|bound| bound.is_some_and(|(t, _)| t == tag.as_bytes()))
    };
    let free = wait_for(patience, || {
        let Ok(device) = open(number) else { return true };
        if ours(&device) {
            let _is_asked_again = sys::loop_clear(&device);
        }
        // While this descriptor is open the kernel only remembers the wish; the next look tells.
        !ours(&device)
    });
    if free {
        return Ok(());
    }
    Err(LabError::new(format!("/dev/loop{number} of {machine} is still in use")))
}

/// Lets go of every loop device that the lab ever noted and still has.
pub(crate) fn detach_all(folder: &Folder, patience: Duration) -> Vec<LabError> {
    let noted = fs::read_to_string(folder.loops()).unwrap_or_default();
    let mut pairs: Vec<(u32, &str)> = noted
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(number, machine)| Some((number.parse().ok()?, machine)))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
        .into_iter()
        .filter_map(|(number, machine)| detach(number, folder, machine, patience).err())
        .collect()
}
