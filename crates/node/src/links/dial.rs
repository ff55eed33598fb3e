//! Dialing one peer on one network, again and again.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use regent_model::NodeId;
use regent_wire::channel::Link;

use super::{Inner, OPEN_WITHIN, connection};
use crate::os;

/// A call that nobody answers is given up early: the kernel would try its next packet much later than we.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
const AGAIN_FIRST: Duration = Duration::from_millis(50);
const AGAIN_LAST: Duration = Duration::from_millis(200);
const LASTED: Duration = Duration::from_secs(1);

/// The will to be connected to one peer on one network.
pub(super) struct Line {
    from: IpAddr,
    to: SocketAddr,
    closed: Arc<AtomicBool>,
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
        let (inner, told) = (inner.clone(), closed.clone());
        let dial = move || dial(&inner, peer, network, (from, to), &told);
        if let Err(error) = std::thread::Builder::new().name("link-dial".into()).spawn(dial) {
            tracing::error!(%peer, network, %error, "cannot make a thread: no channel");
        }
        Self { from, to, closed }
    }

    /// From where to where it goes.
    pub(super) fn course(&self) -> (IpAddr, SocketAddr) {
        (self.from, self.to)
    }

    /// Dials no more. A connection that is open is closed by whoever has it.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

fn dial(inner: &Inner, peer: NodeId, network: usize, course: (IpAddr, SocketAddr), closed: &AtomicBool) {
    let mut pause = AGAIN_FIRST;
    let mut told = String::new();
    while !closed.load(Ordering::Relaxed) {
        match call(inner, peer, course) {
            Ok((second, link)) => {
                told = String::new();
                let begun = Instant::now();
                connection::serve(inner, network, second, link);
                // One that is closed at once is closed by somebody who does not want it.
                if begun.elapsed() > LASTED {
                    pause = AGAIN_FIRST;
                }
            }
            Err(why) => {
                if told != why {
                    tracing::debug!(%peer, network, address = %course.1, "no channel: {why}");
                    told = why;
                }
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(AGAIN_LAST);
    }
}

type Opened = (std::net::TcpStream, Link<std::net::TcpStream>);

fn call(inner: &Inner, peer: NodeId, (from, to): (IpAddr, SocketAddr)) -> Result<Opened, String> {
    let stream = os::dial(Some(from), to, ANSWER_WITHIN).map_err(|error| error.to_string())?;
    let second = connection::prepare(inner, &stream).map_err(|error| error.to_string())?;
    let link = Link::connect(stream, &inner.handshake(), Some(peer), OPEN_WITHIN);
    Ok((second, link.map_err(|error| error.to_string())?))
}
