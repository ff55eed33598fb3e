//! One open connection: a thread that reads, a thread that writes.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use regent_guard::realtime;
use regent_model::NodeId;
use regent_model::format::Format;
use regent_wire::channel::{ChannelError, Link, LinkReader, LinkWriter, Stream};

use super::queue::Queue;
use super::{Attached, HEADER_BYTES, Inner, KIND_MESSAGE, KIND_NUMBERED, KIND_SIDE, Stranger, lock, message};
use crate::os;

/// One connection, as those see it who send.
pub(super) struct Connection {
    pub(super) number: u64,
    /// The newest format that both sides speak.
    pub(super) format: Format,
    /// The number of the cluster's key under which it was opened.
    pub(super) key: u32,
    pub(super) queue: Arc<Queue>,
    stream: TcpStream,
}

impl Connection {
    pub(super) fn new(number: u64, stream: TcpStream, format: Format, key: u32) -> Self {
        Self { number, format, key, queue: Arc::new(Queue::default()), stream }
    }

    /// Another one takes its place: what waits is sent, then this side says no more, and the other one is heard to its end.
    pub(super) fn replaced(&self) {
        self.queue.finish();
    }

    /// Ends both threads of the connection, wherever they wait.
    pub(super) fn close(&self) {
        self.queue.close();
        let _has_ended_already = self.stream.shutdown(Shutdown::Both);
    }
}

/// Works on an open link until it ends, for whatever reason.
pub(super) fn serve(inner: &Inner, network: usize, second: TcpStream, link: Link<TcpStream>) {
    let from = link.peer();
    let attached = match inner.attach(from, network, second, link.version(), link.key()) {
        Ok(attached) => attached,
        Err(Stranger::OldKey) => {
            tracing::debug!(peer = %from, network, "the key of a channel was retired while it was being opened");
            return;
        }
        Err(Stranger::NoMember) => {
            if (inner.ears.refused)(&format!("node {from} is no member; was it removed?")) {
                tracing::warn!(node = %from, "a node called that is no member; was it removed?");
            }
            return;
        }
    };
    tracing::info!(peer = %from, network, "channel open");
    let ended = converse(inner, &attached, link);
    inner.detach(from, network, attached.number);
    tracing::info!(peer = %from, network, "channel closed: {ended}");
}

fn converse(inner: &Inner, attached: &Attached, link: Link<TcpStream>) -> ChannelError {
    let from = link.peer();
    let (mut reader, writer) = match link.split() {
        Ok(halves) => halves,
        Err(error) => return error,
    };
    let patience = inner.patience();
    let queue = attached.queue.clone();
    let write = move || write_out(writer, &queue, patience);
    let writing = std::thread::Builder::new().name("link-writer".into()).spawn(write);
    let Ok(writing) = writing else { return ChannelError::Broken };
    realtime::elevate(realtime::ENGINE);
    let ended = read_in(inner, attached, from, &mut reader);
    if matches!(ended, ChannelError::Closed { .. }) && inner.is_changing_keys() {
        // The other side has the channel that takes this one's place: until it is here, too, this one is written.
        attached.queue.wait_finished(patience);
        attached.queue.hear_out();
        let _it_logs_its_own_end = writing.join();
    } else {
        attached.queue.close();
        let _has_ended_already = reader.stream().end();
        let _it_logs_its_own_end = writing.join();
    }
    ended
}

fn write_out(mut writer: LinkWriter<TcpStream>, queue: &Queue, patience: std::time::Duration) {
    realtime::elevate(realtime::ENGINE);
    let _without_a_limit_it_waits_longer = writer.stream().limit_writes(Some(patience));
    let mut is_whole = true;
    while let Some(frame) = queue.pop() {
        if let Err(error) = writer.send(&frame) {
            tracing::debug!("a channel cannot be written: {error}");
            is_whole = false;
            break;
        }
    }
    if is_whole && writer.stream().end_writing().is_ok() {
        // Replaced: the other side may still have something to say.
        queue.wait_heard_out(patience);
    }
    queue.close();
    // Wakes the reader, which takes the connection out of use.
    let _has_ended_already = writer.stream().end();
}

fn read_in(
    inner: &Inner,
    attached: &Attached,
    from: NodeId,
    reader: &mut LinkReader<TcpStream>,
) -> ChannelError {
    loop {
        let frame = match reader.recv() {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        let Some((kind, session, number, body)) = parse(&frame) else {
            tracing::warn!(peer = %from, "a frame that makes no sense was dropped");
            continue;
        };
        // Held until it is delivered: otherwise the other network's thread could overtake this one.
        let mut window = lock(&attached.window);
        if !window.take(session, number) {
            continue;
        }
        if kind == KIND_SIDE && inner.is_former(from) {
            continue;
        }
        if kind == KIND_SIDE {
            (inner.ears.side)(from, body.to_owned());
            continue;
        }
        match message::take(kind, body, inner.speaks) {
            Ok(message) => (inner.ears.deliver)(from, message),
            Err(error) => {
                tracing::warn!(peer = %from, "a message was dropped; is the peer of another version? {error}");
            }
        }
    }
}

fn parse(frame: &[u8]) -> Option<(u8, u64, u64, &[u8])> {
    let (header, body) = frame.split_at_checked(HEADER_BYTES)?;
    let number = |at: usize| header[at..at + 8].try_into().ok().map(u64::from_le_bytes);
    let kind = header[0];
    [KIND_MESSAGE, KIND_SIDE, KIND_NUMBERED].contains(&kind).then_some((kind, number(1)?, number(9)?, body))
}

/// Makes a stream fit for a channel, and gives a second handle of it.
pub(super) fn prepare(inner: &Inner, stream: &TcpStream) -> std::io::Result<TcpStream> {
    os::make_lively(stream, inner.patience())?;
    stream.try_clone()
}
