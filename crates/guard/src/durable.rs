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
    /// In words: the file cannot be read, written, or does not hold a number. A counter is never begun anew,
    /// because a number given twice would let two lives of this node be taken for one.
    pub fn next(&self) -> Result<u64, String> {
        let shown = self.path.display();
        let last = match fs::read_to_string(&self.path) {
            Ok(text) => text.trim().parse::<u64>().map_err(|_| {
                format!(
                    "{shown} does not hold a number; this node's state is damaged. Remove the node from the \
                     cluster and join it again"
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(format!("cannot read {shown}: {error}")),
        };
        let next = last.checked_add(1).ok_or_else(|| format!("{shown} cannot count any further"))?;
        replace(&self.path, format!("{next}\n").as_bytes(), 0o600)
            .map_err(|error| format!("cannot write {shown}: {error}"))?;
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
