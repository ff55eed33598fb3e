//! The line to the daemon: one at a time, the newest wins.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::envelope::{FromGuard, ToGuard};
use crate::sys;
use regent_wire::ipc::{IpcReader, IpcWriter};

/// Where the daemon calls, and the daemon that did last.
pub(crate) struct DaemonLine {
    listener: UnixListener,
    daemon: Option<Daemon>,
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
        Ok(Self { listener, daemon: None })
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

    /// Takes a caller, in place of whoever was on the line. Says whether there was one.
    pub(crate) fn accept(&mut self) -> bool {
        let Ok((stream, _)) = self.listener.accept() else { return false };
        match Daemon::new(stream) {
            Ok(daemon) => {
                self.daemon = Some(daemon);
                true
            }
            Err(error) => {
                tracing::warn!("a caller was not taken for the daemon: {error}");
                false
            }
        }
    }

    /// The next thing that the daemon says.
    pub(crate) fn hear(&mut self) -> Heard {
        let Some(daemon) = &mut self.daemon else { return Heard::Nothing };
        match daemon.reader.recv() {
            Ok(Some(said)) => return Heard::Said(said),
            Ok(None) => {}
            Err(error) if error.is_time_limit() => return Heard::Nothing,
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

    fn write(
        &mut self,
        write: impl FnOnce(&mut IpcWriter<UnixStream>) -> Result<(), regent_wire::ipc::IpcError>,
    ) -> bool {
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
        let reader = IpcReader::new(stream.try_clone().map_err(words)?);
        let mut writer = IpcWriter::new(stream.try_clone().map_err(words)?);
        writer.flush().map_err(|error| error.to_string())?;
        Ok(Self { stream, reader, writer })
    }
}
