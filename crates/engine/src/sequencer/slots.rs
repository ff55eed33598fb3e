//! One resource's place in a sequencer: its limits and its counters.

use std::collections::VecDeque;
use std::time::Duration;

use regent_model::Moment;
use regent_model::action::{Op, Resource};
use regent_model::config::{MonitorTimes, RestartLimits};

use crate::io::ResourceWord;

/// How long a probe may take where the resource says nothing shorter.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// One resource's place.
pub(super) struct Slot {
    pub(super) resource: Resource,
    pub(super) word: ResourceWord,
    pub(super) times: MonitorTimes,
    pub(super) limits: RestartLimits,
    /// Whether it was looked at and found not to run.
    pub(super) probed: bool,
    /// Failed attempts to bring it up.
    pub(super) attempts: u32,
    /// Failed checks in a row.
    pub(super) failures: u32,
    pub(super) next_monitor: Moment,
    restarts: VecDeque<Moment>,
}

impl Slot {
    pub(super) fn new(resource: Resource) -> Self {
        let (times, limits) = match &resource {
            Resource::Filesystem(c) => (c.monitor, c.limits),
            Resource::Address(c) => (c.monitor, c.limits),
            Resource::Application(c) => (c.monitor, c.limits),
        };
        Self {
            resource,
            word: ResourceWord::Stopped,
            times,
            limits,
            probed: false,
            attempts: 0,
            failures: 0,
            next_monitor: Moment::default(),
            restarts: VecDeque::new(),
        }
    }

    /// It was shown to be down: the next time it is brought up, nothing needs to be looked for.
    pub(super) fn stopped(&mut self) {
        self.word = ResourceWord::Stopped;
        self.failures = 0;
        self.probed = true;
    }

    /// How long an operation may take.
    pub(super) fn deadline(&self, op: Op) -> Duration {
        let (acquire, release) = match &self.resource {
            Resource::Filesystem(c) => (c.acquire_timeout, c.release_timeout),
            Resource::Address(c) => (c.acquire_timeout, c.release_timeout),
            Resource::Application(c) => (c.start_timeout, c.stop_timeout),
        };
        match op {
            Op::Probe => PROBE_TIMEOUT.min(acquire),
            Op::Acquire => acquire,
            // Killing what the stop command left takes its own time.
            Op::Release => release + Duration::from_secs(10),
            Op::Monitor => self.times.timeout,
        }
    }

    /// Counts a restart at `now`, if one more is allowed within the window.
    pub(super) fn may_restart(&mut self, now: Moment) -> bool {
        while self.restarts.front().is_some_and(|at| now.since(*at) > self.limits.window) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= self.limits.restarts as usize {
            return false;
        }
        self.restarts.push_back(now);
        self.attempts = 0;
        true
    }
}
