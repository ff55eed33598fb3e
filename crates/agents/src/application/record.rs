//! What a restarted daemon must know of an application: its main process, written down beside the boot's
//! other short-lived things. The control group is the truth; the record only says who in it is who.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::Identity;

/// A pid file holds a number; more than this is something else.
const PID_FILE_BYTES_MAX: usize = 4096;

/// How far the start had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// The start command was begun; whether the application runs was not seen yet.
    Starting,
    /// It was seen to run.
    Running,
}

/// The record of one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) phase: Phase,
    /// The start command, while starting; then the main process, unless the whole control group is.
    pub(super) process: Option<Identity>,
    /// The grace with which the control group is on the guard's list; the configuration may have changed
    /// since.
    pub(super) grace: Duration,
}

/// Writes the record so that a reader finds the old one or the new one, never half of one.
pub(super) fn write(path: &Path, record: Record) -> Result<(), String> {
    write_text(path, &serde_json::to_vec(&record).map_err(|e| format!("cannot write the record: {e}"))?)
}

/// Writes a file so that a reader finds the old one or the new one.
pub(crate) fn write_text(path: &Path, text: &[u8]) -> Result<(), String> {
    let fail = |e: io::Error| {
        format!("cannot write {}, which a restarted daemon would have to know: {e}", path.display())
    };
    let new = path.with_extension("new");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    std::fs::write(&new, text).map_err(fail)?;
    std::fs::rename(&new, path).map_err(fail)
}

/// Reads the record. One that cannot be read is as none.
pub(super) fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Forgets the application.
pub(super) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// The living process that a pid file names.
pub(super) fn read_pid_file(path: &Path) -> Option<Identity> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(PID_FILE_BYTES_MAX))?);
    let pid: i32 = text.split_whitespace().next()?.parse().ok()?;
    (pid > 0).then(|| Identity::of(pid)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_comes_back_as_written_and_rubbish_is_none() {
        let folder = std::env::temp_dir().join(format!("regent-record-{}", std::process::id()));
        let path = folder.join("g/app.json");
        let record = Record {
            phase: Phase::Running,
            process: Some(Identity { start: 7, pid: 9 }),
            grace: Duration::ZERO,
        };
        write(&path, record).unwrap();
        assert_eq!(read(&path), Some(record));
        std::fs::write(&path, b"{\"phase\":\"Run").unwrap();
        assert_eq!(read(&path), None);
        remove(&path);
        assert_eq!(read(&path), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_pid_file_names_a_living_process_or_nobody() {
        let path = std::env::temp_dir().join(format!("regent-pidfile-{}", std::process::id()));
        let own = std::process::id();
        for (text, found) in [
            (format!("{own}\n/data\n5432\n"), true),
            (format!("  {own}"), true),
            ("0".into(), false),
            (format!("-{own}"), false),
            ("none".into(), false),
            (String::new(), false),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(read_pid_file(&path).is_some(), found, "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    proptest! {
        #[test]
        fn any_record_survives_being_written(start: u64, pid: i32, running: bool, process: bool) {
            let phase = if running { Phase::Running } else { Phase::Starting };
            let record = Record {
                phase,
                process: process.then_some(Identity { start, pid }),
                grace: Duration::from_nanos(start),
            };
            let text = serde_json::to_vec(&record).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Record>(&text).unwrap(), record);
        }
    }
}
