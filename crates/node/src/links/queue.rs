//! What waits to be sent on one connection: bounded, because what matters is said again.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Messages and bytes that wait for one connection.
const MESSAGES_MAX: usize = 4_096;
const BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Arc<[u8]>>,
    bytes: usize,
    closed: bool,
    /// Nothing more is taken, and what waits is given.
    finished: bool,
    /// The other side says no more.
    heard_out: bool,
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a frame. `false` when there is no room: the connection is then of no use any more.
    pub(crate) fn push(&self, frame: &Arc<[u8]>) -> bool {
        let mut waiting = self.lock();
        if waiting.closed || waiting.finished {
            return true;
        }
        if waiting.frames.len() >= MESSAGES_MAX || waiting.bytes + frame.len() > BYTES_MAX {
            return false;
        }
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame.clone());
        drop(waiting);
        self.bell.notify_one();
        true
    }

    /// Waits for the next frame; `None` once the queue is closed.
    pub(crate) fn pop(&self) -> Option<Arc<[u8]>> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(frame) = waiting.frames.pop_front() {
                waiting.bytes -= frame.len();
                return Some(frame);
            }
            if waiting.finished {
                return None;
            }
            waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes nothing more; what waits is still given.
    pub(crate) fn finish(&self) {
        self.lock().finished = true;
        self.bell.notify_all();
    }

    /// Waits until nothing more is taken, at most so long.
    pub(crate) fn wait_finished(&self, patience: Duration) {
        self.wait(patience, |waiting| waiting.finished);
    }

    /// The other side has said all it had to say: what waits is still given, and then nothing is waited for.
    pub(crate) fn hear_out(&self) {
        let mut waiting = self.lock();
        (waiting.finished, waiting.heard_out) = (true, true);
        drop(waiting);
        self.bell.notify_all();
    }

    /// Waits until the other side has said all it had to say, at most so long.
    pub(crate) fn wait_heard_out(&self, patience: Duration) {
        self.wait(patience, |waiting| waiting.heard_out);
    }

    /// Waits until it is so, or the queue is closed, at most so long.
    fn wait(&self, patience: Duration, is_so: impl Fn(&Waiting) -> bool) {
        let still = |waiting: &mut Waiting| !is_so(waiting) && !waiting.closed;
        drop(
            self.bell
                .wait_timeout_while(self.lock(), patience, still)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Drops what waits; nothing more is taken or given.
    pub(crate) fn close(&self) {
        *self.lock() = Waiting { closed: true, ..Waiting::default() };
        self.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_so_and_a_closed_one_gives_nothing() {
        let queue = Queue::default();
        let frame: Arc<[u8]> = vec![0; 8].into();
        for _ in 0..MESSAGES_MAX {
            assert!(queue.push(&frame));
        }
        assert!(!queue.push(&frame));
        assert!(queue.pop().is_some() && queue.push(&frame));
        queue.close();
        assert!(queue.pop().is_none());
    }

    #[test]
    fn large_frames_are_bounded_by_their_bytes() {
        let queue = Queue::default();
        let frame: Arc<[u8]> = vec![0; 4 << 20].into();
        assert_eq!((0..10).take_while(|_| queue.push(&frame)).count(), 4);
    }
}
