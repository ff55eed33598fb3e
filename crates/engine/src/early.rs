//! Orders that come before this node knows how things stand: a daemon that has just begun has the state of its last time,
//! and would judge an order by it.

use std::time::Duration;

use regent_api::Request;
use regent_model::Moment;

use crate::engine::Engine;
use crate::io::RequestId;

/// So long an order waits; then it is judged by what is known. Without a majority nothing else will ever be known.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many wait at the most; the others are judged at once.
const WAITING_MAX: usize = 64;

/// What waits, and how long it may.
pub(crate) struct Early {
    until: Moment,
    waiting: Vec<(RequestId, Request)>,
}

impl Early {
    pub(crate) fn new(now: Moment) -> Self {
        Self { until: now + PATIENCE, waiting: Vec::new() }
    }
}

impl Engine {
    /// Judges a request now, or as soon as this node knows how things stand.
    pub(crate) fn request_in_time(&mut self, id: RequestId, request: Request) {
        self.early_requests();
        if is_order(&request) && self.is_too_early() && self.early.waiting.len() < WAITING_MAX {
            self.early.waiting.push((id, request));
        } else {
            self.request(id, request);
        }
    }

    /// Judges what has waited, if it is time. True when there was something.
    pub(crate) fn early_requests(&mut self) -> bool {
        if self.early.waiting.is_empty() || self.is_too_early() {
            return false;
        }
        for (id, request) in std::mem::take(&mut self.early.waiting) {
            self.request(id, request);
        }
        true
    }

    /// What is applied here does not tell of this node's present life: the log has not come so far yet.
    fn is_too_early(&self) -> bool {
        let known = self.state.living(self.me.id);
        let is_member = self.state.members.contains_key(&self.me.id);
        is_member && (known.is_none() || known != self.my_life()) && self.now < self.early.until
    }
}

fn is_order(request: &Request) -> bool {
    match request {
        Request::Group { .. }
        | Request::Node { .. }
        | Request::Remove { .. }
        | Request::Application { .. }
        | Request::Instance { .. }
        | Request::Apply { .. }
        | Request::ApplyLater { .. }
        | Request::Change { .. }
        | Request::Simulate { .. }
        | Request::ConfirmDead { .. }
        | Request::ResumeEvents { .. } => true,
        Request::Status
        | Request::Events { .. }
        | Request::Config
        | Request::LockConfig { .. }
        | Request::Environment { .. }
        | Request::Instances
        | Request::EventQueue
        | Request::Join { .. }
        | Request::Nodes(_)
        | Request::MakeArea { .. }
        | Request::FenceByHand { .. }
        | Request::Token { .. }
        | Request::Invite { .. }
        | Request::Tokens
        | Request::Key(_)
        | Request::Access
        | Request::RevokeToken { .. } => false,
    }
}
