//! Checking that a mounted file system still reads and still writes.
//!
//! Every step may hang for ever in the kernel. It then keeps this thread and nothing else: the clock answers.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use regent_model::action::{Failure, Outcome};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Filesystem, acquire};
use crate::device;
use crate::hands::failure;
use crate::mountinfo::Mount;

/// Written to on every check. Dull on purpose: a script that lists a folder should not meet it.
const FILE: &str = ".regent-monitor";
/// The file never changes its length, so that a full file system can still be checked.
const RECORD_BYTES: usize = 512;
/// Words in the options that say that writing has ended.
const NO_MORE_WRITES: [&str; 3] = ["ro", "emergency_ro", "shutdown"];

/// Checks: still mounted from that device, not turned read-only, the device reads, the file system writes.
pub(super) fn monitor(filesystem: &Filesystem<'_>) -> Result<Outcome, Failure> {
    let (job, config) = (filesystem.context.job, filesystem.config);
    // Looked for twice: on old kernels one reading of a list that changes meanwhile may miss an entry.
    let found = filesystem.mounted()?;
    let Some(mount) = found.map_or_else(|| filesystem.mounted(), |mount| Ok(Some(mount)))? else {
        return vanished(filesystem);
    };
    let wants_read_only = acquire::wants_read_only(&config.options);
    let turned = NO_MORE_WRITES.iter().find(|word| mount.has(word));
    if let Some(word) = turned.filter(|word| !(wants_read_only && **word == "ro")) {
        return Err(failure(
            format!(
                "{} has turned read-only ({word}); the kernel log says why: dmesg",
                mount.point.display()
            ),
            format!("{} {}", mount.options, mount.super_options),
        ));
    }
    let number = device::number(&config.device).map_err(Failure::because)?;
    if mount.device.0 != 0 && mount.device != number {
        return Err(Failure::because(format!(
            "{} is another device now ({}:{}) than the one that is mounted ({}:{})",
            config.device.display(),
            number.0,
            number.1,
            mount.device.0,
            mount.device.1
        )));
    }
    job.step("read a block of the device", || device::read_first_block(&config.device))
        .map_err(Failure::because)?;
    if !wants_read_only {
        write(filesystem, &mount)?;
    }
    Ok(Outcome::Running)
}

/// It is not mounted any more. Whether that means stopped depends on the device being free.
fn vanished(filesystem: &Filesystem<'_>) -> Result<Outcome, Failure> {
    let config = filesystem.config;
    let what = format!("{} is no longer mounted at {}", config.device.display(), config.mount.display());
    match device::try_claim(&config.device) {
        Ok(()) => {
            filesystem.context.job.warn(what, "");
            Ok(Outcome::Stopped)
        }
        Err(e) => Err(Failure::because(format!("{what}, and the device is not free: {e}"))),
    }
}

fn write(filesystem: &Filesystem<'_>, mount: &Mount) -> Result<(), Failure> {
    let job = filesystem.context.job;
    let path = mount.point.join(FILE);
    let record = record(filesystem);
    let result = job.step("write durably", || write_durably(&path, &record));
    match result {
        Ok(()) => Ok(()),
        // The next node would find the same disk just as full.
        Err(Errno::NOSPC | Errno::DQUOT) => {
            job.warn(format!("{} is full; delete something on it", mount.point.display()), "");
            Ok(())
        }
        Err(e) => Err(Failure::because(format!(
            "{} cannot be written to: {}",
            mount.point.display(),
            io::Error::from(e)
        ))),
    }
}

/// Who checked, under which ownership and when; a person who finds the file can read it.
fn record(filesystem: &Filesystem<'_>) -> Vec<u8> {
    let run = filesystem.context.run;
    let node = run.environment.iter().find(|(key, _)| key == "REGENT_NODE").map_or("?", |(_, v)| v.as_str());
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let text = format!("node {node}\ngroup {}\nepoch {}\nat {seconds}\n", run.group, run.epoch);
    let mut record = text.into_bytes();
    record.resize(RECORD_BYTES - 1, b' ');
    record.push(b'\n');
    record
}

fn write_durably(path: &Path, record: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?;
    let mut written = 0;
    while let Some(rest) = record.get(written..).filter(|rest| !rest.is_empty()) {
        written += rustix::io::pwrite(&file, rest, written as u64)?;
    }
    rustix::fs::fdatasync(&file)
}
