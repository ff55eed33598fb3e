//! Shared memory that processes of the database left behind when they were killed.
//!
//! GT.M's recovery works on it, so that nothing is lost that was written into it. But a process that was killed while it
//! wrote a journal keeps its place there, and the recovery then waits for it for a minute.

use std::path::Path;

use super::sys;
use crate::job::Job;

/// What such a segment begins with, before the name of the database's file.
const LABEL: &str = "GDSDYNUNX";
const LABEL_BYTES: usize = 12;
/// So much of it is looked at.
const BEGINNING: usize = 512;

/// The segments of databases in `directory` that nobody is attached to.
pub(super) fn left_behind(directory: &Path) -> Vec<i32> {
    let list = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    list.lines().filter_map(unattached).filter(|id| is_of(*id, directory)).collect()
}

/// Removes them. Everything that a transaction committed is in the journals.
pub(super) fn remove(segments: &[i32], job: &Job) {
    for segment in segments {
        if let Err(e) = sys::remove(*segment) {
            job.warn(format!("cannot remove the shared memory {segment}: {e}"), "");
        }
    }
}

/// A line of the kernel's list (key, number, rights, size, two processes, how many are attached), if it tells of a
/// private segment that nobody is attached to.
fn unattached(line: &str) -> Option<i32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let size: usize = words.get(3)?.parse().ok()?;
    let is_free = words[0] == "0" && words.get(6) == Some(&"0") && size >= BEGINNING;
    is_free.then(|| words[1].parse().ok()).flatten()
}

fn is_of(segment: i32, directory: &Path) -> bool {
    let Ok(bytes) = sys::beginning(segment, BEGINNING) else { return false };
    let label = sys::text(&bytes[..LABEL_BYTES]).is_some_and(|text| text.starts_with(LABEL));
    label && sys::text(&bytes[LABEL_BYTES..]).is_some_and(|file| Path::new(file).starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_segments_that_nobody_is_attached_to_are_looked_at() {
        assert_eq!(unattached("0 32775 666 11591680 22438 27032 0 0 0 0 0 1 1 1 5959680 0"), Some(32775));
        for other in [
            "0 32775 666 11591680 22438 27032 2 0 0 0 0 1 1 1 5959680 0",
            "7 32775 666 11591680 22438 27032 0 0 0 0 0 1 1 1 5959680 0",
            "0 32775 666 64 22438 27032 0 0 0 0 0 1 1 1 5959680 0",
            "key shmid perms size cpid lpid nattch uid",
            "",
        ] {
            assert_eq!(unattached(other), None, "{other}");
        }
    }
}
