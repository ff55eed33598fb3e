//! The line to the daemon: one at a time, the newest wins, once it has said something that only a daemon says.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::envelope::{FromGuard, ToGuard};
use crate::{release, sys};
use regent_wire::ipc::{IpcError, IpcReader, IpcWriter};

/// Where the daemon calls, and the daemon that did last.
pub(crate) struct DaemonLine {
    listener: UnixListener,
    daemon: Option<Daemon>,
    /// Somebody who has called and said nothing yet.
    caller: Option<Daemon>,
}

struct Daemon {
    stream: UnixStream,
    reader: IpcReader<UnixStream>,
    writer: IpcWriter<UnixStream>,
}

/// What came over the line.
pub(crate) enum Heard {
    /// The daemon says this.
    Said(ToGuard),
    /// Nothing more for now.
    Nothing,
    /// The daemon is gone.
    Gone,
}

impl DaemonLine {
    /// Listens at `path`, where nobody else does.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn listen(path: &Path) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("cannot listen at {}: {error}", path.display());
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(fail)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        Ok(Self { listener, daemon: None, caller: None })
    }

    /// Readable when a daemon calls.
    pub(crate) fn calls(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The daemon's stream, and whether something waits to be written to it.
    pub(crate) fn stream(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.daemon.as_ref().map(|daemon| (daemon.stream.as_fd(), daemon.writer.is_waiting()))
    }

    /// Whether a daemon is on the line.
    pub(crate) fn is_open(&self) -> bool {
        self.daemon.is_some()
    }

    /// Lets a caller speak, in place of one before who has not.
    pub(crate) fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        match Daemon::new(stream) {
            Ok(caller) => self.caller = Some(caller),
            Err(error) => tracing::warn!("a caller was not taken for the daemon: {error}"),
        }
    }

    /// The stream of a caller who has yet to speak.
    pub(crate) fn caller(&self) -> Option<BorrowedFd<'_>> {
        self.caller.as_ref().map(|caller| caller.stream.as_fd())
    }

    /// The first thing that a caller says. If it is a daemon's, the line is the caller's from now on.
    pub(crate) fn hear_caller(&mut self) -> Option<ToGuard> {
        let mut caller = self.caller.take()?;
        match caller.reader.recv() {
            Ok(Some(said)) => {
                self.daemon = Some(caller);
                return Some(said);
            }
            Ok(None) => {}
            Err(error) if error.is_time_limit() => self.caller = Some(caller),
            Err(error) => tracing::warn!("a caller is no daemon: {error}"),
        }
        None
    }

    /// The next thing that the daemon says.
    pub(crate) fn hear(&mut self) -> Heard {
        let Some(daemon) = &mut self.daemon else { return Heard::Nothing };
        match daemon.reader.recv() {
            Ok(Some(said)) => return Heard::Said(said),
            Ok(None) => {}
            Err(error) if error.is_time_limit() => return Heard::Nothing,
            Err(error @ IpcError::Codec(_)) => tracing::error!(
                "{error}: the daemon is of another build than this guard (release {}). Install regent and regent-guard \
                 of one release; then: regent node stop --takeover, regent node start",
                release::version()
            ),
            Err(error) => tracing::warn!("{error}"),
        }
        self.daemon = None;
        Heard::Gone
    }

    /// Tells the daemon, if one is there. Says whether the line was lost over it.
    pub(crate) fn tell(&mut self, message: &FromGuard) -> bool {
        self.write(|writer| writer.send(message))
    }

    /// Writes what had to wait. Says whether the line was lost over it.
    pub(crate) fn flush(&mut self) -> bool {
        self.write(IpcWriter::flush)
    }

    fn write(&mut self, write: impl FnOnce(&mut IpcWriter<UnixStream>) -> Result<(), IpcError>) -> bool {
        let Some(daemon) = &mut self.daemon else { return false };
        match write(&mut daemon.writer) {
            Ok(()) => return false,
            Err(error) if error.is_time_limit() => return false,
            Err(error) => tracing::warn!("{error}"),
        }
        self.daemon = None;
        true
    }
}

impl Daemon {
    fn new(stream: UnixStream) -> Result<Self, String> {
        let words = |error: std::io::Error| error.to_string();
        let caller = sys::peer(&stream).map_err(words)?;
        if caller.uid != 0 && caller.uid != rustix::process::geteuid().as_raw() {
            return Err(format!("process {} runs as user {}", caller.pid, caller.uid));
        }
        stream.set_nonblocking(true).map_err(words)?;
        let versions = release::line_versions();
        let reader = IpcReader::new(stream.try_clone().map_err(words)?).with_versions(versions);
        let mut writer = IpcWriter::new(stream.try_clone().map_err(words)?).with_versions(versions);
        writer.flush().map_err(|error| error.to_string())?;
        Ok(Self { stream, reader, writer })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::held::tests::Folder;

    fn bye(leave_running: bool) -> ToGuard {
        ToGuard::Bye { leave_running }
    }

    fn call(path: &Path) -> (UnixStream, IpcWriter<UnixStream>) {
        let stream = UnixStream::connect(path).unwrap();
        (stream.try_clone().unwrap(), IpcWriter::new(stream))
    }

    #[test]
    fn whoever_calls_and_speaks_nonsense_or_nothing_does_not_put_the_daemon_off_the_line() {
        let folder = Folder::new("line");
        let path = folder.path().join("guard.sock");
        let mut line = DaemonLine::listen(&path).unwrap();
        let (_kept, mut daemon) = call(&path);
        daemon.send(&bye(false)).unwrap();
        line.accept();
        assert_eq!(line.hear_caller(), Some(bye(false)));

        for nonsense in [&b""[..], b"RGIP", &[0xff; 5000], b"{}\n", b"RGIP\x01\x01\0\0\xff\xff\xff\xff"] {
            let mut stranger = UnixStream::connect(&path).unwrap();
            stranger.write_all(nonsense).unwrap();
            line.accept();
            assert_eq!(line.hear_caller(), None, "{nonsense:?}");
            daemon.send(&bye(true)).unwrap();
            assert!(matches!(line.hear(), Heard::Said(said) if said == bye(true)), "{nonsense:?}");
        }
        // The next daemon takes the line over.
        let (_kept, mut next) = call(&path);
        next.send(&bye(true)).unwrap();
        line.accept();
        assert_eq!(line.hear_caller(), Some(bye(true)));
        next.send(&bye(false)).unwrap();
        assert!(matches!(line.hear(), Heard::Said(said) if said == bye(false)));
    }
}
