//! What a command prints: kept in a file, never in a pipe, and never without bound.
//!
//! A pipe would break when the daemon ends, and the application with it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::inotify;

use crate::user::User;

/// A file longer than this is cut down.
const BYTES_MAX: u64 = 1 << 20;
/// So much of its end is kept then.
const BYTES_KEPT: usize = 1 << 18;
/// So much of the end goes into the journal.
const EVIDENCE_BYTES: usize = 4096;

/// The output of one command.
pub(crate) struct Output {
    /// Nowhere, when no file could be made: a full disk must not keep an application from starting.
    file: Option<File>,
    /// Becomes readable when something is printed.
    watch: Option<OwnedFd>,
}

impl Output {
    /// A new file at `path`; what was there before is kept beside it as `*.previous`.
    pub(crate) fn create(path: &Path, user: Option<&User>) -> Self {
        let made = Self::try_create(path, user);
        if let Err(error) = &made {
            tracing::warn!(path = %path.display(), %error, "the output of a command is not kept");
        }
        Self::watched(made.ok(), path)
    }

    /// The file at `path`, which a running process prints into.
    pub(crate) fn reopen(path: &Path) -> Self {
        Self::watched(File::options().read(true).append(true).open(path).ok(), path)
    }

    fn try_create(path: &Path, user: Option<&User>) -> io::Result<File> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Whoever still prints into the old file goes on doing so there.
        match std::fs::rename(path, previous(path)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = File::options().read(true).append(true).create_new(true).mode(0o640).open(path)?;
        if let Some(user) = user {
            // A process that opens its own /dev/stdout again needs the right to.
            rustix::fs::fchown(&file, Some(user.uid), Some(user.gid))?;
        }
        Ok(file)
    }

    fn watched(file: Option<File>, path: &Path) -> Self {
        let watch = file.as_ref().and_then(|_| {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            let watch = inotify::init(flags).ok()?;
            inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY).ok()?;
            Some(watch)
        });
        Self { file, watch }
    }

    /// Where a child prints to.
    pub(crate) fn stdio(&self) -> Stdio {
        self.file.as_ref().and_then(|f| f.try_clone().ok()).map_or_else(Stdio::null, Stdio::from)
    }

    /// A descriptor that becomes readable when something is printed, until [`Output::trim`].
    pub(crate) fn watch(&self) -> Option<&OwnedFd> {
        self.watch.as_ref()
    }

    /// Cuts the file down to its end when it has grown too long.
    pub(crate) fn trim(&self) {
        if let Some(watch) = &self.watch {
            let mut events = [0; 4096];
            while rustix::io::read(watch, &mut events).is_ok_and(|read| read > 0) {}
        }
        let Some(file) = &self.file else { return };
        if file.metadata().is_ok_and(|m| m.len() > BYTES_MAX) {
            let end = self.end(BYTES_KEPT);
            // Printers append: after the cut they go on at the new end. What they print between reading and
            // cutting is lost, which a file without bound would be too.
            let cut = file.set_len(0).and_then(|()| {
                let note = b"[... cut ...]\n";
                io::Write::write_all(&mut &*file, note)?;
                io::Write::write_all(&mut &*file, &end)
            });
            if let Err(error) = cut {
                tracing::warn!(%error, "the output of a command could not be cut down");
            }
        }
    }

    /// The end of what was printed, for the journal.
    pub(crate) fn evidence(&self) -> String {
        String::from_utf8_lossy(&self.end(EVIDENCE_BYTES)).trim_end().to_owned()
    }

    /// So many bytes of the end of what was printed.
    pub(crate) fn tail(&self, bytes: usize) -> String {
        String::from_utf8_lossy(&self.end(bytes)).trim_end().to_owned()
    }

    /// The last line that was printed, shortened.
    pub(crate) fn last_line(&self) -> String {
        let evidence = self.evidence();
        evidence.lines().last().unwrap_or_default().chars().take(200).collect()
    }

    fn end(&self, bytes: usize) -> Vec<u8> {
        let Some(file) = &self.file else { return Vec::new() };
        let length = file.metadata().map_or(0, |m| m.len());
        let from = length.saturating_sub(bytes as u64);
        let mut end = vec![0; usize::try_from(length - from).unwrap_or(bytes)];
        let mut filled = 0;
        while let Some(rest) = end.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, from + filled as u64) {
                Ok(0) | Err(_) => break,
                Ok(read) => filled += read,
            }
        }
        end.truncate(filled);
        end
    }
}

fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".previous");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    struct Folder(PathBuf);
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        Folder(std::env::temp_dir().join(format!("regent-output-{}-{name}", std::process::id())))
    }

    #[test]
    fn a_file_that_grew_too_long_keeps_its_end_and_its_printers() {
        let folder = folder("long");
        let path = folder.0.join("a/start");
        let output = Output::create(&path, None);
        let mut printer = output.file.as_ref().unwrap().try_clone().unwrap();
        for number in 0..200_000 {
            writeln!(printer, "line {number}").unwrap();
        }
        output.trim();
        writeln!(printer, "the end").unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length < BYTES_MAX / 2, "{length}");
        assert!(output.evidence().ends_with("line 199999\nthe end"));
        assert_eq!(output.last_line(), "the end");
    }

    #[test]
    fn the_output_before_is_kept_beside_and_not_mixed_in() {
        let folder = folder("previous");
        let path = folder.0.join("start");
        let first = Output::create(&path, None);
        writeln!(first.file.as_ref().unwrap(), "first life").unwrap();
        let second = Output::create(&path, None);
        writeln!(first.file.as_ref().unwrap(), "still there").unwrap();
        assert_eq!(second.evidence(), "");
        assert_eq!(std::fs::read_to_string(previous(&path)).unwrap(), "first life\nstill there\n");
    }

    #[test]
    fn without_a_place_to_write_there_is_no_output_and_no_harm() {
        let output = Output::create(Path::new("/proc/no/such/place"), None);
        assert_eq!(output.evidence(), "");
        output.trim();
    }
}
