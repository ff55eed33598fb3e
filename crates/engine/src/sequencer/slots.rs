//! One resource's place in a sequencer: its limits and its counters.

use std::collections::VecDeque;
use std::time::Duration;

use regent_model::Moment;
use regent_model::action::{Op, Resource};
use regent_model::config::{MonitorAction, MonitorTimes, OnFailure, RestartLimits, StartIn};

use crate::io::ResourceWord;

/// How long a probe may take where the resource says nothing shorter.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// A look at a check that hangs, before it is killed, takes no longer. The same in the agents.
const HUNG_LOOK: Duration = Duration::from_millis(1500);

/// One resource's place.
pub(super) struct Slot {
    pub(super) resource: Resource,
    pub(super) word: ResourceWord,
    pub(super) limits: RestartLimits,
    /// Whether it was looked at and found not to run.
    pub(super) probed: bool,
    /// It was up before something was added to the group, and is not touched by that.
    pub(super) stays: bool,
    /// Failed attempts to bring it up.
    pub(super) attempts: u32,
    /// Its own monitor, then the further ones.
    pub(super) watches: Vec<WatchState>,
    /// Before this nothing is judged but by its checks.
    pub(super) judged_from: Moment,
    stabilisation: Option<Duration>,
    pub(super) in_background: bool,
    /// Nothing is asked, and its end is no failure.
    pub(super) suspended: bool,
    pub(super) on_failure: OnFailure,
    /// Somebody is to be told of failures.
    pub(super) notifies: bool,
    /// Of this failure somebody is to be told.
    pub(super) notify_due: Option<String>,
    /// How long gathering evidence may take; none where that is turned off.
    pub(super) diagnose: Option<Duration>,
    /// Evidence of this failure is to be gathered.
    pub(super) evidence_due: Option<String>,
    /// It failed by this monitor, was told of, and is left as it is.
    pub(super) left_failed: Option<usize>,
    /// It is held, and does not run: nobody started it, or it was taken down by hand.
    pub(super) idle: bool,
    /// It failed while its group was held, and why.
    pub(super) spared: Option<String>,
    /// It is looked at once more, whether it is monitored or not: what it did while its group was held decides.
    pub(super) recheck: bool,
    /// It is being taken down and brought up again because it failed here.
    pub(super) after_failure: bool,
    restarts: VecDeque<Moment>,
}

/// One monitor.
pub(super) struct WatchState {
    /// For people; none is the resource's own.
    pub(super) name: Option<String>,
    pub(super) times: MonitorTimes,
    /// The last answers, the newest last: whether it was well.
    answers: VecDeque<bool>,
    pub(super) next: Moment,
    pub(super) slow: bool,
    /// What it finds is told and looked into, and nothing is done about it.
    pub(super) observes: bool,
    /// It found something, was told of, and is left as it is.
    pub(super) unwell: bool,
}

impl WatchState {
    fn new(name: Option<String>, times: MonitorTimes, action: MonitorAction) -> Self {
        Self {
            name,
            times,
            answers: VecDeque::new(),
            next: Moment::default(),
            slow: false,
            observes: action == MonitorAction::Observe,
            unwell: false,
        }
    }

    /// Takes an answer, and gives the number of failures among the last ones that count.
    pub(super) fn count(&mut self, well: bool) -> u32 {
        self.answers.push_back(well);
        while self.answers.len() > self.times.of.max(1) as usize {
            self.answers.pop_front();
        }
        u32::try_from(self.answers.iter().filter(|well| !**well).count()).unwrap_or(u32::MAX)
    }
}

impl Slot {
    pub(super) fn new(resource: Resource) -> Self {
        let (times, limits) = match &resource {
            Resource::Volume(c) => (c.monitor, c.limits),
            Resource::Filesystem(c) => (c.monitor, c.limits),
            Resource::Address(c) => (c.monitor, c.limits),
            Resource::Instance(c) => (c.monitor, c.limits),
            Resource::Application(c) => (c.monitor, c.limits),
        };
        let monitoring = match &resource {
            Resource::Application(c) => c.monitoring.clone(),
            Resource::Instance(_) => Default::default(),
            Resource::Volume(_) | Resource::Filesystem(_) | Resource::Address(_) => Default::default(),
        };
        let diagnose = match &resource {
            Resource::Application(c) => c.diagnose.as_ref().map(|d| d.budget),
            Resource::Instance(c) => c.diagnose.as_ref().map(|d| d.budget),
            Resource::Volume(_) | Resource::Filesystem(_) | Resource::Address(_) => None,
        };
        let own = WatchState::new(None, times, monitoring.action);
        let more = monitoring.watches.iter();
        let more = more.map(|w| WatchState::new(Some(w.name.clone()), w.times, w.action));
        Self {
            resource,
            word: ResourceWord::Stopped,
            limits,
            probed: false,
            stays: false,
            attempts: 0,
            watches: std::iter::once(own).chain(more).collect(),
            judged_from: Moment::default(),
            stabilisation: monitoring.stabilisation,
            in_background: monitoring.start_in == StartIn::Background,
            suspended: false,
            on_failure: monitoring.on_failure,
            notifies: monitoring.notify.is_some(),
            notify_due: None,
            diagnose,
            evidence_due: None,
            left_failed: None,
            idle: false,
            spared: None,
            recheck: false,
            after_failure: false,
            restarts: VecDeque::new(),
        }
    }

    /// The word for what runs, by what its monitors said last.
    pub(super) fn running_word(&self) -> ResourceWord {
        match () {
            () if self.watches.iter().any(|w| w.unwell) => ResourceWord::Unwell,
            () if self.watches.iter().any(|w| w.slow) => ResourceWord::Slow,
            () => ResourceWord::Running,
        }
    }

    /// It is as it should be, whether that is up or, for an instance, held and down.
    pub(super) fn stands(&mut self) {
        self.word = if self.idle { ResourceWord::Stopped } else { self.running_word() };
    }

    /// It was shown to be down: the next time it is brought up, nothing needs to be looked for.
    pub(super) fn stopped(&mut self) {
        self.word = ResourceWord::Stopped;
        self.stays = false;
        self.probed = true;
        self.left_failed = None;
        self.spared = None;
        self.recheck = false;
        for watch in &mut self.watches {
            watch.answers.clear();
            watch.slow = false;
            watch.unwell = false;
        }
    }

    /// Everything runs from `now`: checks begin when it has had its time to settle.
    pub(super) fn watch_from(&mut self, now: Moment) {
        self.judged_from = now + self.stabilisation.unwrap_or(self.watches[0].times.interval);
        for watch in &mut self.watches {
            watch.next = now + self.stabilisation.unwrap_or(watch.times.interval);
        }
    }

    /// It was not watched for a while: it is looked at at once, and what was before does not count.
    pub(super) fn watch_again(&mut self, now: Moment) {
        for watch in &mut self.watches {
            watch.answers.clear();
            watch.next = now;
        }
    }

    /// How long an operation may take.
    pub(super) fn deadline(&self, op: Op) -> Duration {
        let (acquire, release) = match &self.resource {
            Resource::Volume(c) => (c.acquire_timeout, c.release_timeout),
            Resource::Filesystem(c) => (c.acquire_timeout, c.release_timeout),
            Resource::Address(c) => (c.acquire_timeout, c.release_timeout),
            Resource::Instance(c) => (c.start_timeout, c.stop_timeout),
            Resource::Application(c) => (c.start_timeout, c.stop_timeout),
        };
        match op {
            Op::Probe => PROBE_TIMEOUT.min(acquire),
            Op::Acquire | Op::Swap => acquire + self.evidence_takes(),
            // Killing what the stop command left takes its own time.
            Op::Release => release + Duration::from_secs(10) + self.evidence_takes(),
            Op::Monitor => self.watches[0].times.timeout + self.evidence_takes().min(HUNG_LOOK),
        }
    }

    /// What an operation may take longer for the evidence of its failure. What it does itself has its own limit.
    fn evidence_takes(&self) -> Duration {
        self.diagnose.map_or(Duration::ZERO, |budget| budget + Duration::from_secs(1))
    }

    /// How long a further monitor may take.
    pub(super) fn watch_deadline(&self, watch: usize) -> Duration {
        self.watches[watch].times.timeout + self.evidence_takes().min(HUNG_LOOK)
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
