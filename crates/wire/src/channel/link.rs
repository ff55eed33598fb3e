//! A channel on a blocking stream.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use regent_model::NodeId;

use super::{
    CONFIRMATION_BYTES, ChannelError, HELLO_BYTES, Handshake, Opening, REPLY_BYTES, Sealing, Session,
    Stranger,
};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A blocking stream that two threads can use at once, one to read and one to write.
pub trait Stream: Read + Write + Sized {
    /// A second handle of the same stream.
    ///
    /// # Errors
    /// When the system gives none.
    fn duplicate(&self) -> io::Result<Self>;
    /// How long one read may wait; for ever without a limit.
    ///
    /// # Errors
    /// When the system refuses, or `limit` is zero.
    fn limit_reads(&self, limit: Option<Duration>) -> io::Result<()>;
    /// How long one write may wait; for ever without a limit.
    ///
    /// # Errors
    /// When the system refuses, or `limit` is zero.
    fn limit_writes(&self, limit: Option<Duration>) -> io::Result<()>;
    /// Ends the stream in both directions, also for a thread that waits in it.
    ///
    /// # Errors
    /// When it has ended already.
    fn end(&self) -> io::Result<()>;
    /// Ends what this side says; what the other one says is still read.
    ///
    /// # Errors
    /// When it has ended already.
    fn end_writing(&self) -> io::Result<()>;
}

macro_rules! stream {
    ($type:ty) => {
        impl Stream for $type {
            fn duplicate(&self) -> io::Result<Self> {
                self.try_clone()
            }
            fn limit_reads(&self, limit: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(limit)
            }
            fn limit_writes(&self, limit: Option<Duration>) -> io::Result<()> {
                self.set_write_timeout(limit)
            }
            fn end(&self) -> io::Result<()> {
                self.shutdown(Shutdown::Both)
            }
            fn end_writing(&self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

/// An open channel on a stream.
#[derive(Debug)]
pub struct Link<S> {
    stream: S,
    session: Session,
}

/// The writing half of a [`Link`].
pub struct LinkWriter<S> {
    stream: S,
    sealing: Sealing,
    broken: bool,
}

/// The reading half of a [`Link`].
pub struct LinkReader<S> {
    stream: S,
    opening: Opening,
    chunk: Vec<u8>,
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> ChannelError {
    move |source| match source.kind() {
        io::ErrorKind::UnexpectedEof => ChannelError::Closed { doing },
        _ => ChannelError::Io { doing, source },
    }
}

/// The handshake's side of a stream: everything together must be over at one time.
struct Timed<'s, S> {
    stream: &'s mut S,
    until: Instant,
}

impl<S: Stream> Timed<'_, S> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    fn read<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (mut bytes, mut filled) = ([0; N], 0);
        while filled < N {
            self.stream.limit_reads(Some(self.left()?))?;
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The few bytes of a handshake fit into any empty send buffer: one limit is enough.
        self.stream.limit_writes(Some(self.left()?))?;
        self.stream.write_all(bytes)
    }

    fn unlimit(&self) -> io::Result<()> {
        self.stream.limit_reads(None)?;
        self.stream.limit_writes(None)
    }
}

impl<S: Stream> Link<S> {
    /// Opens a channel to the node `called`, or to whoever answers, on a connected stream. The handshake may
    /// take at most `within`; afterwards the stream has no time limits.
    ///
    /// # Errors
    /// See [`ChannelError`]; the stream is dropped.
    pub fn connect(
        mut stream: S,
        side: &Handshake,
        called: Option<NodeId>,
        within: Duration,
    ) -> Result<Self, ChannelError> {
        let mut timed = Timed { stream: &mut stream, until: Instant::now() + within };
        let (initiator, hello) = side.initiate(called)?;
        timed.write(&hello).map_err(failed("sending the hello"))?;
        let reply = timed.read::<REPLY_BYTES>().map_err(failed("waiting for the reply"))?;
        let (confirmation, session) = initiator.finish(&reply)?;
        timed.write(&confirmation).map_err(failed("sending the confirmation"))?;
        timed.unlimit().map_err(failed("ending the handshake"))?;
        Ok(Self { stream, session })
    }

    /// Answers a caller on an accepted stream, within the same limits as [`Link::connect`].
    ///
    /// # Errors
    /// See [`ChannelError`]; the caller was told why if it speaks Regent's language, and the stream is dropped.
    pub fn accept(mut stream: S, side: &Handshake, within: Duration) -> Result<Self, ChannelError> {
        let mut timed = Timed { stream: &mut stream, until: Instant::now() + within };
        let hello = timed.read::<HELLO_BYTES>().map_err(failed("waiting for the hello"))?;
        let (responder, reply) = match side.respond(&hello) {
            Ok(accepted) => accepted,
            Err(rejected) => {
                if let Some(refusal) = rejected.refusal {
                    // Only a hint to the other side: what is reported is why its hello was rejected.
                    let _ = timed.write(&refusal);
                }
                return Err(rejected.error);
            }
        };
        timed.write(&reply).map_err(failed("sending the reply"))?;
        let confirmation =
            timed.read::<CONFIRMATION_BYTES>().map_err(failed("waiting for the confirmation"))?;
        let session = responder.finish(&confirmation)?;
        timed.unlimit().map_err(failed("ending the handshake"))?;
        Ok(Self { stream, session })
    }

    /// Who is at the other side; `NodeId(0)` for a stranger.
    #[must_use]
    pub const fn peer(&self) -> NodeId {
        self.session.peer()
    }

    /// The version that both speak.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.session.version()
    }

    /// The number of the cluster's key under which it was opened.
    #[must_use]
    pub const fn key(&self) -> u32 {
        self.session.key()
    }

    /// Who is at the other side, if it has called without a key of the cluster.
    #[must_use]
    pub const fn stranger(&self) -> Option<Stranger> {
        self.session.stranger()
    }

    /// The two halves, for two threads.
    ///
    /// # Errors
    /// When the system gives no second handle of the stream.
    pub fn split(self) -> Result<(LinkReader<S>, LinkWriter<S>), ChannelError> {
        let second = self.stream.duplicate().map_err(failed("splitting the link"))?;
        let (sealing, opening) = self.session.split();
        let writer = LinkWriter { stream: second, sealing, broken: false };
        Ok((LinkReader { stream: self.stream, opening, chunk: vec![0; CHUNK_BYTES] }, writer))
    }
}

impl<S: Stream> LinkWriter<S> {
    /// Seals and sends one message.
    ///
    /// # Errors
    /// A message that is too large is refused and changes nothing. Every other failure ends the link, also
    /// when a time limit passed: part of the frame may be on its way.
    pub fn send(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        if self.broken {
            return Err(ChannelError::Broken);
        }
        let frame = self.sealing.seal(message)?;
        self.stream.write_all(&frame).map_err(|error| {
            self.broken = true;
            failed("sending")(error)
        })
    }

    /// The stream, for its time limits and its end.
    #[must_use]
    pub const fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: Stream> LinkReader<S> {
    /// Waits for the next message.
    ///
    /// # Errors
    /// When the other side closes the link, or a frame is not acceptable. After a time limit
    /// ([`ChannelError::is_time_limit`]) it can be called again and nothing is lost.
    pub fn recv(&mut self) -> Result<Vec<u8>, ChannelError> {
        loop {
            if let Some(message) = self.opening.open()? {
                return Ok(message);
            }
            match self.stream.read(&mut self.chunk) {
                Ok(0) if self.opening.is_within_frame() => {
                    return Err(ChannelError::Closed { doing: "receiving a frame" });
                }
                Ok(0) => return Err(ChannelError::Closed { doing: "waiting for a frame" }),
                Ok(read) => self.opening.push(&self.chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("receiving")(error)),
            }
        }
    }

    /// Waits for the next message for so long, all of it together: a byte now and then does not draw it out. Leaves the
    /// stream with a limit of time.
    ///
    /// # Errors
    /// As [`LinkReader::recv`]; a time limit when it has not come.
    pub fn recv_within(&mut self, within: Duration) -> Result<Vec<u8>, ChannelError> {
        let until = Instant::now() + within;
        loop {
            if let Some(message) = self.opening.open()? {
                return Ok(message);
            }
            let timed = Timed { stream: &mut self.stream, until };
            let left = timed.left().map_err(failed("receiving"))?;
            timed.stream.limit_reads(Some(left)).map_err(failed("receiving"))?;
            match timed.stream.read(&mut self.chunk) {
                Ok(0) => return Err(ChannelError::Closed { doing: "waiting for a frame" }),
                Ok(read) => self.opening.push(&self.chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("receiving")(error)),
            }
        }
    }

    /// The stream, for its time limits and its end.
    #[must_use]
    pub const fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S> fmt::Debug for LinkWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkWriter({:?}, broken: {})", self.sealing, self.broken)
    }
}

impl<S> fmt::Debug for LinkReader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkReader({:?})", self.opening)
    }
}
