//! Dialing one peer on one network, again and again.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use regent_model::NodeId;
use regent_wire::channel::{ChannelError, Link, Refusal};

use super::{Inner, OPEN_WITHIN, connection};
use crate::os;

/// A call that nobody answers is given up early: the kernel would try its next packet much later than we.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
const AGAIN_FIRST: Duration = Duration::from_millis(50);
const AGAIN_LAST: Duration = Duration::from_millis(200);
/// A machine that was removed may never come back.
const AGAIN_FORMER: Duration = Duration::from_secs(10);
const LASTED: Duration = Duration::from_secs(1);

/// The will to be connected to one peer on one network.
pub(super) struct Line {
    from: IpAddr,
    to: SocketAddr,
    closed: Arc<AtomicBool>,
    wakes: Sender<Wake>,
}

/// Why whoever dials is woken while a connection is there.
enum Wake {
    /// The connection of this number has ended.
    Ended(u64),
    /// Another key of the cluster is used.
    Renew,
}

impl Line {
    pub(super) fn open(
        inner: &Arc<Inner>,
        peer: NodeId,
        network: usize,
        from: IpAddr,
        to: SocketAddr,
    ) -> Self {
        let closed = Arc::new(AtomicBool::new(false));
        let (wakes, woken) = channel();
        let dialing = Dialing {
            inner: inner.clone(),
            peer,
            network,
            course: (from, to),
            closed: closed.clone(),
            wakes: wakes.clone(),
        };
        let dial = move || dialing.dial(&woken);
        if let Err(error) = std::thread::Builder::new().name("link-dial".into()).spawn(dial) {
            tracing::error!(%peer, network, %error, "cannot make a thread: no channel");
        }
        Self { from, to, closed, wakes }
    }

    /// From where to where it goes.
    pub(super) fn course(&self) -> (IpAddr, SocketAddr) {
        (self.from, self.to)
    }

    /// Dials no more. A connection that is open is closed by whoever has it.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Puts a connection under the key that is used now in the place of one under another.
    pub(super) fn renew(&self) {
        let _dials_no_more = self.wakes.send(Wake::Renew);
    }
}

struct Dialing {
    inner: Arc<Inner>,
    peer: NodeId,
    network: usize,
    course: (IpAddr, SocketAddr),
    closed: Arc<AtomicBool>,
    wakes: Sender<Wake>,
}

impl Dialing {
    fn dial(&self, woken: &Receiver<Wake>) {
        let (peer, network) = (self.peer, self.network);
        let mut pause = AGAIN_FIRST;
        let mut told = String::new();
        for number in 0.. {
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            match call(&self.inner, peer, self.course) {
                Ok((second, link)) => {
                    told = String::new();
                    let begun = Instant::now();
                    let key = link.key();
                    if !self.serve(number, second, link) {
                        // Without a thread the peer sees its connection closed.
                        std::thread::sleep(pause);
                        continue;
                    }
                    if self.wait(woken, number, key) {
                        continue;
                    }
                    // One that is closed at once is closed by somebody who does not want it.
                    if begun.elapsed() > LASTED {
                        pause = AGAIN_FIRST;
                    }
                }
                Err(why) => {
                    if told != why {
                        tracing::debug!(%peer, network, address = %self.course.1, "no channel: {why}");
                        told = why;
                    }
                }
            }
            let is_former = self.inner.is_former(peer);
            std::thread::sleep(if is_former { AGAIN_FORMER } else { pause });
            pause = (pause * 2).min(AGAIN_LAST);
        }
    }

    /// Works on a connection on a thread of its own: it may have to be replaced while it is used.
    fn serve(&self, number: u64, second: TcpStream, link: Link<TcpStream>) -> bool {
        let (inner, network, wakes) = (self.inner.clone(), self.network, self.wakes.clone());
        let serve = move || {
            connection::serve(&inner, network, second, link);
            let _dials_no_more = wakes.send(Wake::Ended(number));
        };
        std::thread::Builder::new().name("link".into()).spawn(serve).is_ok()
    }

    /// Waits until the connection of this number has ended, or is to be replaced: then `true`.
    fn wait(&self, woken: &Receiver<Wake>, number: u64, key: u32) -> bool {
        while let Ok(wake) = woken.recv() {
            match wake {
                Wake::Ended(ended) if ended == number => return false,
                Wake::Ended(_) => {}
                Wake::Renew if self.inner.uses.load(Ordering::Acquire) != key => return true,
                Wake::Renew => {}
            }
        }
        false
    }
}

type Opened = (TcpStream, Link<TcpStream>);

fn call(inner: &Inner, peer: NodeId, (from, to): (IpAddr, SocketAddr)) -> Result<Opened, String> {
    let stream = os::dial(Some(from), to, ANSWER_WITHIN).map_err(|error| error.to_string())?;
    let second = connection::prepare(inner, &stream).map_err(|error| error.to_string())?;
    let link = Link::connect(stream, &inner.handshake(), Some(peer), OPEN_WITHIN);
    if let Err(ChannelError::ForeignKey | ChannelError::Refused(Refusal::ForeignKey)) = &link {
        (inner.ears.foreign)();
    }
    Ok((second, link.map_err(|error| error.to_string())?))
}
