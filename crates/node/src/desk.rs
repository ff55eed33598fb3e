//! Where requests wait for the engine's answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regent_api::{Answer, Request};
use regent_engine::Input;
use regent_engine::io::RequestId;
use regent_model::action::Notice;

use crate::inbox::Inbox;

/// The engine answers by itself when there is no majority; this is for an engine that is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(35);
/// A database may recover for long; its own limit of time is what counts.
const INSTANCE_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// The desk.
pub(crate) struct Desk {
    inbox: Inbox,
    next: AtomicU64,
    waiting: Mutex<BTreeMap<RequestId, SyncSender<Answer>>>,
    /// Requests whose answer is not yet with whoever asked.
    open: AtomicUsize,
}

/// A request that is being answered; the daemon does not end before it is over.
pub(crate) struct Open<'d>(&'d Desk);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Desk {
    pub(crate) fn new(inbox: Inbox) -> Self {
        Self { inbox, next: AtomicU64::new(1), waiting: Mutex::default(), open: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RequestId, SyncSender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody begins to be served; keep the result until the answer is with him.
    pub(crate) fn open(&self) -> Open<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    /// Asks the engine and waits for its answer.
    pub(crate) fn ask(&self, request: Request) -> Answer {
        let id = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let within =
            if matches!(request, Request::Instance { .. }) { INSTANCE_WITHIN } else { ANSWER_WITHIN };
        let (sender, answer) = sync_channel(1);
        self.lock().insert(id, sender);
        self.inbox.push(Input::Request { id, request });
        answer.recv_timeout(within).unwrap_or_else(|_| {
            self.lock().remove(&id);
            let reason = format!("the daemon gave no answer within {} s", within.as_secs());
            Answer::refused(reason, "regent status shows whether it was done; then look at the daemon's log")
        })
    }

    /// Tells the engine something unasked.
    pub(crate) fn tell(&self, notice: Notice) {
        self.inbox.push(Input::Notice(notice));
    }

    /// The engine's answer.
    pub(crate) fn answer(&self, id: RequestId, answer: Answer) {
        if let Some(sender) = self.lock().remove(&id) {
            let _nobody_waits_any_more = sender.try_send(answer);
        }
    }

    /// Waits until everybody has his answer, but not long.
    pub(crate) fn finish(&self, within: Duration) {
        let until = Instant::now() + within;
        while self.open.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
