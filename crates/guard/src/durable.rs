//! Small files that are there in full after a power cut, in the old or in the new form.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Gives `path` the content `bytes`, readable as `mode` says. It has returned when the disk has it.
///
/// # Errors
/// The kernel's; the file is then as it was before.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let fresh = beside(path);
    // What an interrupted attempt left could have another mode.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Whether there was no room on the disk: that may pass.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What to type on a node whose state in `folder` is lost or damaged. It comes back under a new number: under the old
/// one it would break what it promised.
#[must_use]
pub fn begin_anew(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "mkdir {folder}.damaged && mv {folder}/* {folder}.damaged/, and join again as a new member, with a token from another node (regent token \
         there): regent join TOKEN. Groups and their data are not touched by that; an older copy of the state must \
         not be put back"
    )
}

/// What to type on a machine that was removed from its cluster, where its state is in this folder.
#[must_use]
pub fn belong_to_another(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "to have this machine in a cluster again: mkdir {folder}.removed && mv {folder}/* {folder}.removed/, and, with a token \
         of that cluster (regent token on a member): regent join TOKEN"
    )
}

/// Why a counter gives no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterError {
    why: String,
    full: bool,
}

impl CounterError {
    /// Whether the disk is full: then it may be tried again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }
}

impl std::fmt::Display for CounterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

/// A number that only grows, kept in a file.
#[derive(Debug, Clone)]
pub struct Counter {
    path: PathBuf,
}

impl Counter {
    /// The counter in this file; one that is not there has counted nothing yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The next number, from 1. It is durable when this returns, and never given again.
    ///
    /// # Errors
    /// The file cannot be read, written, or does not hold a number. A counter is never begun anew, because a number
    /// given twice would let two lives of this node be taken for one.
    pub fn next(&self) -> Result<u64, CounterError> {
        let shown = self.path.display();
        let fail = |why: String| CounterError { why, full: false };
        let last = match fs::read_to_string(&self.path) {
            Ok(text) => text.trim().parse::<u64>().map_err(|_| {
                fail(format!("{shown} does not hold a number: this node's state is damaged, and it owns nothing. Type: {}",
                    begin_anew(self.path.parent().unwrap_or(Path::new(".")))))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(fail(format!("cannot read {shown}: {error}"))),
        };
        let next = last.checked_add(1).ok_or_else(|| fail(format!("{shown} cannot count any further")))?;
        replace(&self.path, format!("{next}\n").as_bytes(), 0o600).map_err(|error| CounterError {
            why: format!("cannot write {shown}: {error}"),
            full: is_full(&error),
        })?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::tests::Folder;

    #[test]
    fn a_counter_gives_no_number_twice_even_to_another_process() {
        let folder = Folder::new("counter");
        let path = folder.path().join("n");
        assert_eq!(Counter::new(path.clone()).next(), Ok(1));
        assert_eq!(Counter::new(path.clone()).next(), Ok(2));
        fs::write(folder.path().join("n.new"), "left by a power cut").unwrap();
        assert_eq!(Counter::new(path.clone()).next(), Ok(3));
        assert_eq!(fs::read_to_string(path).unwrap(), "3\n");
    }

    #[test]
    fn a_damaged_counter_is_refused_and_not_begun_anew() {
        let folder = Folder::new("damaged");
        let path = folder.path().join("n");
        for damage in ["", "seven", "-1", "99999999999999999999999"] {
            fs::write(&path, damage).unwrap();
            assert!(Counter::new(path.clone()).next().is_err(), "{damage:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damage);
        }
    }

    #[test]
    fn a_replaced_file_has_the_mode_that_was_asked_for() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("mode");
        let path = folder.path().join("key");
        fs::write(folder.path().join("key.new"), "open to all").unwrap();
        replace(&path, b"secret", 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
    }
}
