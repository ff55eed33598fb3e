//! Framing between the daemon and its guard over a unix stream socket.
//!
//! Each side begins with eight bytes: `RGIP`, the oldest and the newest version it speaks, and two zeros: a
//! restarted daemon may be newer than the guard that outlived its predecessor. Then come messages: the length
//! in four bytes, little-endian, and so many bytes of postcard.
//!
//! Both halves keep what is half done, so that they serve blocking and non-blocking streams alike: after
//! [`IpcError::is_time_limit`] the call is made again. Neither allocates once its buffer has grown.

use std::fmt;
use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError};

/// The newest version of what daemon and guard say to each other.
pub const VERSION_MAX: u8 = 1;
/// The oldest version that this program still speaks.
pub const VERSION_MIN: u8 = 1;
/// The largest message.
pub const MESSAGE_MAX: usize = 1 << 20;
/// The most that a writer keeps for a reader that does not read.
pub const BACKLOG_MAX: usize = 4 << 20;

const GREETING_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;
const CHUNK_BYTES: usize = 16 << 10;

/// Why daemon and guard cannot talk. Except after [`IpcError::is_time_limit`] the connection is of no further use.
#[derive(Debug)]
pub enum IpcError {
    /// The socket failed.
    Io(io::Error),
    /// The other side closed in the middle of a message.
    Cut,
    /// The other side is neither daemon nor guard.
    NotRegent,
    /// No version is common to both.
    Version {
        /// The versions of this side, from and to.
        ours: (u8, u8),
        /// The versions of the other side, from and to.
        theirs: (u8, u8),
    },
    /// A message is larger than [`MESSAGE_MAX`].
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// The other side does not read, and [`BACKLOG_MAX`] is reached.
    Backlog,
    /// A message cannot be written or read.
    Codec(CodecError),
}

impl IpcError {
    /// Whether nothing is wrong but that the stream would have to wait.
    #[must_use]
    pub fn is_time_limit(&self) -> bool {
        matches!(self, Self::Io(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }
}

impl fmt::Display for IpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "between daemon and guard: ")?;
        match self {
            Self::Io(error) => write!(f, "the socket failed: {error}"),
            Self::Cut => write!(f, "the other side closed the socket in the middle of a message"),
            Self::NotRegent => write!(f, "the other side is neither daemon nor guard of this cluster"),
            Self::Version { ours, theirs } => write!(
                f,
                "no common version: this side speaks {} to {}, the other {} to {}",
                ours.0, ours.1, theirs.0, theirs.1
            ),
            Self::TooLarge { bytes } => {
                write!(f, "a message of {bytes} bytes is larger than the {MESSAGE_MAX} allowed")
            }
            Self::Backlog => write!(f, "the other side has stopped reading"),
            Self::Codec(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for IpcError {}

/// Writes messages.
pub struct IpcWriter<W> {
    stream: W,
    waiting: Vec<u8>,
    written: usize,
}

/// Reads messages.
pub struct IpcReader<R> {
    stream: R,
    received: Vec<u8>,
    taken: usize,
    chunk: Vec<u8>,
    versions: (u8, u8),
    version: Option<u8>,
}

impl<W: Write> IpcWriter<W> {
    /// A writer on a connected stream. The greeting goes out with the first message, or with [`IpcWriter::flush`].
    #[must_use]
    pub fn new(stream: W) -> Self {
        let mut waiting = Vec::with_capacity(CHUNK_BYTES);
        waiting.extend_from_slice(b"RGIP");
        waiting.extend_from_slice(&[VERSION_MIN, VERSION_MAX, 0, 0]);
        Self { stream, waiting, written: 0 }
    }

    /// The same writer, for a program that speaks the versions from the first to the second. Before anything is said.
    #[must_use]
    pub fn with_versions(mut self, versions: (u8, u8)) -> Self {
        if let Some(said) = self.waiting.get_mut(4..6) {
            said.copy_from_slice(&[versions.0, versions.1]);
        }
        self
    }

    /// Writes `message`, and what had to wait before it.
    ///
    /// # Errors
    /// After [`IpcError::is_time_limit`] the message is kept and goes out with the next [`IpcWriter::flush`] or
    /// send. A message that cannot be encoded, or a full backlog, changes nothing.
    pub fn send<M: Serialize + ?Sized>(&mut self, message: &M) -> Result<(), IpcError> {
        self.enqueue(message)?;
        self.flush()
    }

    /// Keeps `message` for the next [`IpcWriter::flush`].
    ///
    /// # Errors
    /// When it cannot be encoded, or the backlog is full; nothing is changed then.
    pub fn enqueue<M: Serialize + ?Sized>(&mut self, message: &M) -> Result<(), IpcError> {
        if self.written > 0 {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
        let start = self.waiting.len();
        if start > BACKLOG_MAX {
            return Err(IpcError::Backlog);
        }
        self.waiting.extend_from_slice(&[0; LENGTH_BYTES]);
        if let Err(error) = codec::encode_into(message, MESSAGE_MAX, &mut self.waiting) {
            self.waiting.truncate(start);
            return Err(IpcError::Codec(error));
        }
        let bytes = self.waiting.len() - start - LENGTH_BYTES;
        let length = u32::try_from(bytes).map_err(|_| IpcError::TooLarge { bytes })?;
        self.waiting[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// After [`IpcError::is_time_limit`] the rest is kept.
    pub fn flush(&mut self) -> Result<(), IpcError> {
        while self.written < self.waiting.len() {
            match self.stream.write(&self.waiting[self.written..]) {
                Ok(0) => return Err(IpcError::Io(io::ErrorKind::WriteZero.into())),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(IpcError::Io(error)),
            }
        }
        self.waiting.clear();
        self.written = 0;
        Ok(())
    }

    /// Whether something waits to be written.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.written < self.waiting.len()
    }

    /// The stream.
    #[must_use]
    pub const fn stream(&self) -> &W {
        &self.stream
    }
}

impl<R: Read> IpcReader<R> {
    /// A reader on a connected stream.
    #[must_use]
    pub fn new(stream: R) -> Self {
        let (received, chunk) = (Vec::with_capacity(CHUNK_BYTES), vec![0; CHUNK_BYTES]);
        Self { stream, received, taken: 0, chunk, versions: (VERSION_MIN, VERSION_MAX), version: None }
    }

    /// The same reader, for a program that speaks the versions from the first to the second.
    #[must_use]
    pub fn with_versions(self, versions: (u8, u8)) -> Self {
        Self { versions, ..self }
    }

    /// The version that both sides speak, once the other side's greeting has come: with the first message.
    #[must_use]
    pub const fn version(&self) -> Option<u8> {
        self.version
    }

    /// The stream.
    #[must_use]
    pub const fn stream(&self) -> &R {
        &self.stream
    }

    /// The next message; `None` when the other side has closed after its last one.
    ///
    /// # Errors
    /// See [`IpcError`].
    pub fn recv<M: DeserializeOwned>(&mut self) -> Result<Option<M>, IpcError> {
        loop {
            if let Some(message) = self.next_received()? {
                return Ok(Some(message));
            }
            match self.stream.read(&mut self.chunk) {
                Ok(0) if self.taken == self.received.len() => return Ok(None),
                Ok(0) => return Err(IpcError::Cut),
                Ok(read) => {
                    self.received.drain(..self.taken);
                    self.taken = 0;
                    self.received.extend_from_slice(&self.chunk[..read]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(IpcError::Io(error)),
            }
        }
    }

    fn next_received<M: DeserializeOwned>(&mut self) -> Result<Option<M>, IpcError> {
        if self.version.is_none() {
            let Some(greeting) = self.received.first_chunk::<GREETING_BYTES>() else {
                return Ok(None);
            };
            self.version = Some(judge_greeting(*greeting, self.versions)?);
            self.taken = GREETING_BYTES;
        }
        let rest = &self.received[self.taken..];
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let bytes = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if bytes > MESSAGE_MAX {
            return Err(IpcError::TooLarge { bytes });
        }
        let Some(message) = rest.get(..bytes) else {
            return Ok(None);
        };
        let message = codec::decode(message).map_err(IpcError::Codec)?;
        self.taken += LENGTH_BYTES + bytes;
        Ok(Some(message))
    }
}

fn judge_greeting(greeting: [u8; GREETING_BYTES], ours: (u8, u8)) -> Result<u8, IpcError> {
    let [magic @ .., oldest, newest, _, _] = greeting;
    if magic != *b"RGIP" {
        return Err(IpcError::NotRegent);
    }
    let highest = newest.min(ours.1);
    if oldest > newest || highest < oldest.max(ours.0) {
        return Err(IpcError::Version { ours, theirs: (oldest, newest) });
    }
    Ok(highest)
}

impl<W> fmt::Debug for IpcWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpcWriter({} bytes wait)", self.waiting.len() - self.written)
    }
}

impl<R> fmt::Debug for IpcReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpcReader(version {:?})", self.version)
    }
}
