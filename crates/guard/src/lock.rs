//! One of each process on a machine: a file that its process keeps locked, with its process number in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

const LOOKS: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A lock that is held until this is dropped, or the last thread of the process is gone.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it; its number, if it could be read.
    Held(Option<i32>),
    /// The file cannot be had.
    Io(io::Error),
}

impl Lock {
    /// Takes the lock, practically without waiting.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(LockError::Io)?;
        for attempt in 0.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                // Somebody may only be looking who holds it ([`Lock::holder`]).
                Err(Errno::WOULDBLOCK) if attempt < LOOKS => std::thread::sleep(LOOK_AGAIN),
                Err(Errno::WOULDBLOCK) => return Err(LockError::Held(number_in(path))),
                Err(error) => return Err(LockError::Io(error.into())),
            }
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(LockError::Io)?;
        Ok(Self { _file: file })
    }

    /// The process that holds the lock, if one does.
    #[must_use]
    pub fn holder(path: &Path) -> Option<i32> {
        let file = File::open(path).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => number_in(path),
            _ => None,
        }
    }
}

fn number_in(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::tests::Folder;

    #[test]
    fn a_lock_has_one_holder_and_names_it() {
        let folder = Folder::new("lock");
        let path = folder.path().join("guard.lock");
        assert_eq!(Lock::holder(&path), None);
        let lock = Lock::take(&path).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(Lock::take(&path), Err(LockError::Held(Some(pid))) if pid == own));
        assert_eq!(Lock::holder(&path), Some(own));
        drop(lock);
        assert_eq!(Lock::holder(&path), None);
        drop(Lock::take(&path).unwrap());
    }
}
