//! The fence devices decide between two nodes: who has turned the other one off goes on (A15).
//!
//! No entry of the log asks them, for alone neither node has a majority to commit one. From the request to the answer
//! this node takes no part in its generation. The request is this daemon's own: one that is started again hears no answer
//! of before, was in no quorum yet, and asks nothing; so two that come up without each other do not cut each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regent_arbiter::standing::{Arbiter as Kind, takes_part};
use regent_arbiter::{Generation, Outcome};
use regent_model::NodeId;
use regent_model::config::{Arbiter, FenceConfig, FenceLevel};
use regent_model::ids::IncarnationOf;
use regent_model::journal::Level;
use regent_model::state::{Command, FenceRequest};

use crate::consensus::Noted;
use crate::engine::Engine;
use crate::fencing::Purpose;

/// How long to wait before the first level is tried again, once all have failed.
const AGAIN: Duration = Duration::from_secs(3);

/// What the devices are asked for, and what they said.
#[derive(Default)]
pub(crate) struct ByFence {
    asked: Option<Asked>,
    /// Which of the levels is next.
    at: usize,
    /// Whom this node has turned off to go on, and by what: the proof of that end.
    cut: Option<Cut>,
    /// Why a level failed, until one succeeds.
    pub(super) failed: Option<String>,
}

/// A level of devices at work.
struct Asked {
    generation: Generation,
    /// Whether there is no level after it.
    is_last: bool,
    cut: Option<Cut>,
}

/// A life of the other node that the log knew when its power was cut, and what it was cut by, as the log will be asked for
/// that.
struct Cut {
    about: IncarnationOf,
    request: FenceRequest,
}

impl Engine {
    /// Who decides, if somebody does.
    pub(crate) fn arbiter_kind(&self) -> Option<Kind> {
        self.state.config.arbiter.as_ref().map(|arbiter| match arbiter {
            Arbiter::Disk { .. } => Kind::Disk,
            Arbiter::Fence { .. } => Kind::Fence,
        })
    }

    /// Whether somebody decides between two nodes.
    pub(crate) fn has_arbiter(&self) -> bool {
        self.state.config.arbiter.is_some()
    }

    /// Whether this node is turning the other one off to go on alone.
    #[must_use]
    pub fn fences_other(&self) -> bool {
        self.asking.by_fence.asked.is_some()
    }

    /// Turns the other one off when it is time.
    pub(super) fn follow_fence(&mut self) {
        let Some(Arbiter::Fence { delay }) = self.state.config.arbiter else { return };
        if self.fences_other() || self.is_noting() {
            return;
        }
        if self.asking.silent_since.is_none() {
            (self.asking.by_fence.at, self.asking.by_fence.failed) = (0, None);
        }
        if let Some((other, generation)) = self.fences_now(delay) {
            self.turn_off(other, generation);
        }
    }

    /// Whom to turn off for which generation, if that is to be done now. Both see who has more to lose by the same log: that
    /// one begins at once, and has cut the other before that begins.
    fn fences_now(&mut self, delay: Duration) -> Option<(NodeId, Generation)> {
        let other = self.other_voter()?;
        let since = self.asking.silent_since?;
        if !self.guard.attached || self.leaving {
            return None;
        }
        let living = self.state.living(other);
        let promised = self.own_promises.iter().any(|p| Some(p.about) == living);
        let timers = &self.state.config.timers;
        let silence = match living {
            // It is about a silence that has lasted long enough.
            Some(_) if promised => Duration::ZERO,
            Some(_) => return None,
            None => timers.promise_wait().max(self.state.largest_lease * 2),
        };
        let (mine, theirs) = (self.weight(self.me.id), self.weight(other));
        let is_heavier = (mine, other) > (theirs, self.me.id);
        let at = since + silence + if is_heavier { Duration::ZERO } else { delay };
        let at = at.max(self.asking.not_before);
        if self.now < at {
            self.asking.look_at = Some(at);
            return None;
        }
        self.standing().may_ask(Kind::Fence, self.asking.mutants).ok()
    }

    fn turn_off(&mut self, other: NodeId, generation: Generation) {
        let Some(victim) = self.state.members.get(&other).map(|m| m.name.clone()) else { return };
        let config = self.state.config.clone();
        let mut levels = config.fence_levels(&victim);
        // What cuts off from disks says nothing about the rest of a machine.
        levels.retain(|level| !level.is_storage());
        let at = self.asking.by_fence.at % levels.len().max(1);
        let Some(FenceLevel { level, devices }) = levels.get(at) else { return };
        let devices: Vec<Arc<FenceConfig>> = devices.iter().map(|device| Arc::clone(device)).collect();
        let request = FenceRequest {
            level: *level,
            devices: devices.iter().map(|device| device.name.clone()).collect(),
            by: self.me.id,
            attempt: 0,
            round: 0,
            barriers: BTreeMap::new(),
        };
        let words = request.words();
        let text = format!(
            "{victim} is silent: turning it off by {words}; who has turned the other one off goes on in generation {generation}"
        );
        self.tell(Level::Notice, "arbiter", text);
        let cut = self.state.living(other).map(|about| Cut { about, request });
        self.asking.by_fence.asked = Some(Asked { generation, is_last: at + 1 == levels.len(), cut });
        self.consensus.wait(!takes_part(true, self.asking.mutants));
        self.operate(Purpose::Decision, victim, words, false, devices);
    }

    /// The devices have confirmed that the other one is off, or have not.
    pub(crate) fn fence_has_decided(&mut self, result: Result<String, String>) {
        let Some(Asked { generation, is_last, cut }) = self.asking.by_fence.asked.take() else { return };
        if let Err(why) = result {
            self.asking.by_fence.at += 1;
            if is_last {
                self.asking.by_fence.at = 0;
                self.asking.not_before = self.now + AGAIN;
            }
            self.asking.by_fence.failed = Some(why);
            return;
        }
        (self.asking.by_fence.at, self.asking.by_fence.failed) = (0, None);
        // Nothing was stored since it was asked. But somebody may have gone on by a person's word.
        let mutants = self.asking.mutants;
        let won = self.standing().is_won(Outcome::Won(generation), Kind::Fence, mutants);
        if won.is_some() {
            self.asking.by_fence.cut = cut;
            self.note_generation(Noted::decided(generation, self.me.id));
        }
    }

    /// Whether this node has cut that very life with these devices to go on alone: they need not be asked again. The life was
    /// in the log that this node went on with, and had begun before the cut.
    pub(crate) fn has_cut(&mut self, about: IncarnationOf, request: &FenceRequest) -> bool {
        let cut = self.asking.by_fence.cut.as_ref();
        let has = cut.is_some_and(|cut| cut.about == about && cut.request.devices == request.devices);
        if has {
            self.fenced.insert(about, request.words());
        }
        has
    }

    /// The request that the log needs for the proof that is there already.
    pub(crate) fn cut_to_tell(&self) -> Option<Command> {
        let Cut { about, request } = self.asking.by_fence.cut.as_ref()?;
        if self.state.living(about.node) != Some(*about) || self.fenced.contains_key(about) {
            return None;
        }
        let before = self.state.fence_requests.get(about);
        let (attempt, round) = before.map_or((0, 0), |r| (r.attempt, r.round));
        let request = FenceRequest { attempt: attempt + 1, round, ..request.clone() };
        Some(Command::RequestFence { about: *about, request })
    }
}
