//! The way to the engine's thread, for everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use regent_engine::Input;

/// Beyond this many waiting inputs, what will be said again is dropped.
const ROOM: usize = 10_000;

/// Hands inputs to the engine. Never waits.
#[derive(Clone)]
pub(crate) struct Inbox {
    sender: Sender<Input>,
    waiting: Arc<AtomicUsize>,
}

/// The engine's end.
pub(crate) struct Inputs {
    receiver: Receiver<Input>,
    waiting: Arc<AtomicUsize>,
}

/// A new inbox with its other end.
pub(crate) fn inbox() -> (Inbox, Inputs) {
    let (sender, receiver) = channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Inbox { sender, waiting: waiting.clone() }, Inputs { receiver, waiting })
}

impl Inbox {
    /// Hands in what must not be lost.
    pub(crate) fn push(&self, input: Input) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _engine_has_ended = self.sender.send(input);
    }

    /// Hands in what will be said again if it matters: dropped when the engine is far behind.
    pub(crate) fn offer(&self, input: Input) {
        if self.waiting.load(Ordering::Relaxed) < ROOM {
            self.push(input);
        }
    }
}

impl Inputs {
    /// The next input, within a time.
    pub(crate) fn next(&self, within: Duration) -> Result<Input, RecvTimeoutError> {
        let input = self.receiver.recv_timeout(within)?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(input)
    }

    /// The next input, if one waits.
    pub(crate) fn waiting(&self) -> Result<Input, TryRecvError> {
        let input = self.receiver.try_recv()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_be_said_again_is_dropped_when_the_engine_is_behind_and_the_rest_is_not() {
        let (inbox, inputs) = inbox();
        (0..ROOM + 5).for_each(|_| inbox.offer(Input::Tick));
        inbox.push(Input::Tick);
        let mut taken = 0;
        while inputs.waiting().is_ok() {
            taken += 1;
        }
        assert_eq!(taken, ROOM + 1);
        inbox.offer(Input::Tick);
        assert!(inputs.next(Duration::from_secs(1)).is_ok());
        assert!(inputs.next(Duration::from_millis(1)).is_err());
    }
}
