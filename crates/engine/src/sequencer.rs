//! One group on its owner: acquired step by step, watched, restarted where it failed, released in reverse order.
//!
//! Steps run strictly one after the other, each done before the next, each with a deadline. The stages:
//!
//! ```text
//! Acquiring --all run--> Online --monitor fails--> Mending --released down to it--> Acquiring
//!     |                    |                          |
//!     +--a step fails------+--told to release---------+--restarts used up--> Releasing --> Released
//!                                                                               +--a step fails--> Stuck
//! ```

mod by_hand;
mod evidence;
mod failing;
mod gate;
mod growing;
mod holding;
mod monitoring;
mod numbers;
mod slots;
mod swap;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_model::action::{How, Op, Outcome, Resource, Run, RunId};
use regent_model::event::EventName;
use regent_model::ids::{Epoch, GroupName, ResourceName};
use regent_model::journal::Level;
use regent_model::state::Phase;
use regent_model::{Moment, NodeName};

use crate::io::{ResourceWord, StepTaken};
use failing::{as_failure, no_answer};
pub(crate) use gate::Gate;
use monitoring::Asked;
pub(crate) use numbers::RunNumbers;
use slots::Slot;

/// How much longer than its deadline an agent may take to say so, before its answer is not waited for any more.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// What a sequencer wants.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Let an agent do this.
    Run(Run),
    /// Everything runs: tell the log.
    Online,
    /// Everything is shown to be down: tell the log, and why it had to come down, if it failed here.
    Released(Option<String>),
    /// Something cannot be taken down: tell the log.
    Stuck(String),
    /// This happens to an application: make it a cluster event.
    Raise(EventName, ResourceName),
    /// Tell the journal.
    Tell {
        level: Level,
        kind: &'static str,
        resource: Option<ResourceName>,
        text: String,
        took: Option<Duration>,
        evidence: String,
    },
}

/// Where a sequencer is. `at` is the slot being worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Bringing up slot `at`; those before it run.
    Acquiring { at: usize },
    /// Everything runs.
    Online,
    /// Taking down from the last slot to slot `to`, in order to bring it up again.
    Mending { at: usize, to: usize },
    /// Taking everything down.
    Releasing { at: usize, failure: Option<String> },
    /// All down.
    Released,
    /// Slot `at` could not be taken down.
    Stuck,
}

/// The sequencer of one ownership.
pub(crate) struct Sequencer {
    group: GroupName,
    epoch: Epoch,
    node: NodeName,
    slots: Vec<Slot>,
    /// What was not looked at yet may run all the same.
    inherits: bool,
    /// What cannot be taken down ends with the node's reboot: it is passed over.
    ends_by_reboot: bool,
    stage: Stage,
    /// Whether the guard lets anything be acquired: not right after a change of voters (L8).
    admitted: bool,
    /// When that was not so last.
    barred_at: Option<Moment>,
    /// How far the events of the node let it go.
    gate: Gate,
    current: Option<Current>,
    monitors: BTreeMap<RunId, Asked>,
    /// Commands that tell of a failure: nothing waits for them.
    notices: BTreeMap<RunId, Asked>,
    /// Those of the checks that move an address.
    swaps: BTreeSet<RunId>,
    /// What is done to instances by hand, with their slots: nothing waits for it.
    hands: BTreeMap<RunId, usize>,
    began: Moment,
    told_online: bool,
    /// The log knows that something could not be taken down.
    stuck_known: bool,
    /// Its group is held: what fails is told, and left as it is.
    held: bool,
    /// It ran when this began: what of it is found down while it is held is left as it is, too.
    ran_before: bool,
    /// The configuration that it follows, and what of it is not yet taken note of.
    serial: u64,
    wanted: Vec<Resource>,
}

/// The step that runs now.
struct Current {
    id: RunId,
    slot: usize,
    op: Op,
    began: Moment,
    give_up: Moment,
}

/// What makes a sequencer.
pub(crate) struct Task {
    pub(crate) group: GroupName,
    pub(crate) epoch: Epoch,
    pub(crate) node: NodeName,
    pub(crate) resources: Vec<Resource>,
    /// The serial of the configuration that says so.
    pub(crate) serial: u64,
    /// An earlier daemon or life of this machine may have left any of it running.
    pub(crate) inherits: bool,
    /// Its release is complete only after a reboot of the node.
    pub(crate) ends_by_reboot: bool,
    /// All of it ran when it was seen last, before an end of the daemon or of the guard.
    pub(crate) ran_before: bool,
}

impl Sequencer {
    /// Begins to bring the group up. Every resource is probed first: what already runs is adopted.
    pub(crate) fn acquire(task: Task, now: Moment) -> Self {
        Self::new(task, Stage::Acquiring { at: 0 }, now)
    }

    /// Begins to take the group down, whatever of it is up.
    pub(crate) fn release_all(task: Task, now: Moment) -> Self {
        let last = task.resources.len();
        Self::new(task, Stage::Releasing { at: last, failure: None }, now)
    }

    fn new(task: Task, stage: Stage, now: Moment) -> Self {
        Self {
            group: task.group,
            epoch: task.epoch,
            node: task.node,
            slots: task.resources.into_iter().map(Slot::new).collect(),
            inherits: task.inherits,
            ends_by_reboot: task.ends_by_reboot,
            stage,
            admitted: true,
            barred_at: None,
            gate: Gate::OPEN,
            current: None,
            monitors: BTreeMap::new(),
            notices: BTreeMap::new(),
            swaps: BTreeSet::new(),
            hands: BTreeMap::new(),
            began: now,
            told_online: false,
            stuck_known: false,
            held: false,
            ran_before: task.ran_before,
            serial: task.serial,
            wanted: Vec::new(),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The state of each resource, for `status`.
    pub(crate) fn words(&self) -> Vec<(ResourceName, ResourceWord)> {
        self.slots.iter().map(|s| (s.resource.name().clone(), s.word)).collect()
    }

    /// Takes note of what the log says about the group.
    pub(crate) fn follow(&mut self, phase: &Phase) {
        match phase {
            Phase::Releasing(_) => self.release(),
            Phase::Stuck(_) => self.stuck_known = true,
            Phase::Acquiring | Phase::Online | Phase::AwaitsReboot => {}
        }
    }

    /// Whether something could not be taken down, and the log knows of it.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stage == Stage::Stuck && self.stuck_known
    }

    /// Takes note of whether the guard lets anything be acquired at `now`. What it refuses meanwhile is no failure.
    pub(crate) fn admit(&mut self, now: Moment, admitted: bool) {
        self.admitted = admitted;
        if !admitted {
            self.barred_at = Some(now);
        }
    }

    /// The log says that the group comes down. What could not be taken down is not tried again before the log
    /// knows of it and asks once more.
    fn release(&mut self) {
        // What is asked for now waits for no evidence.
        if self.current.as_ref().is_some_and(|c| c.op == Op::Monitor) {
            self.current = None;
        }
        let underway = matches!(self.stage, Stage::Releasing { .. } | Stage::Released);
        if underway || (self.stage == Stage::Stuck && !self.stuck_known) {
            return;
        }
        self.stuck_known = false;
        self.begin_release(None);
    }

    fn begin_release(&mut self, failure: Option<String>) {
        self.current = None;
        self.monitors.clear();
        self.slots.iter_mut().for_each(|slot| slot.after_failure = false);
        self.stage = Stage::Releasing { at: self.slots.len(), failure };
    }

    /// Goes on as far as it can at `now`.
    pub(crate) fn advance(&mut self, now: Moment, numbers: &mut RunNumbers, wishes: &mut Vec<Wish>) {
        if let Some(overdue) = self.current.as_ref().filter(|c| now >= c.give_up).map(|c| c.id) {
            self.done(now, overdue, no_answer(), wishes);
        }
        let asked = self.monitors.iter().chain(&self.notices);
        let silent: Vec<RunId> = asked.filter(|(_, a)| now >= a.give_up).map(|(id, _)| *id).collect();
        for id in silent {
            self.done(now, id, no_answer(), wishes);
        }
        self.send_notices(now, numbers, wishes);
        self.gather_evidence(now, numbers, wishes);
        if self.stage == Stage::Online {
            self.grow();
        }
        while self.current.is_none() {
            let next = match self.stage.clone() {
                Stage::Acquiring { at } if at == self.slots.len() => {
                    self.come_online(now, wishes);
                    None
                }
                // It ran before something was added below it.
                Stage::Acquiring { at } if self.slots[at].stays => {
                    self.stage = Stage::Acquiring { at: at + 1 };
                    continue;
                }
                Stage::Acquiring { at } if !self.may_come_up(at) => None,
                Stage::Acquiring { at } => {
                    let op = if self.slots[at].probed { Op::Acquire } else { Op::Probe };
                    self.slots[at].word = ResourceWord::Acquiring;
                    (op == Op::Probe || self.admitted).then_some((at, op))
                }
                Stage::Mending { at, to } if at == to => {
                    self.inherits = false;
                    self.stage = Stage::Acquiring { at: to };
                    continue;
                }
                Stage::Releasing { at: 0, failure } => {
                    self.stage = Stage::Released;
                    wishes.push(Wish::Released(failure));
                    None
                }
                Stage::Releasing { at, failure: None } if !self.may_go_down(at - 1) => None,
                Stage::Mending { at, .. } | Stage::Releasing { at, .. } => {
                    self.slots[at - 1].word = ResourceWord::Releasing;
                    Some((at - 1, Op::Release))
                }
                Stage::Online | Stage::Released | Stage::Stuck => None,
            };
            let Some((slot, op)) = next else { break };
            self.run(now, slot, op, numbers, wishes);
        }
        if self.stage == Stage::Online {
            self.monitor(now, numbers, wishes);
        }
    }

    fn run(&mut self, now: Moment, slot: usize, op: Op, numbers: &mut RunNumbers, wishes: &mut Vec<Wish>) {
        let id = numbers.next();
        let deadline = self.slots[slot].deadline(op);
        self.current = Some(Current { id, slot, op, began: now, give_up: now + deadline + ANSWER_GRACE });
        let after_failure = self.slots[slot].after_failure && op != Op::Probe;
        let how = if after_failure { How::AfterFailure } else { How::Plain };
        wishes.push(Wish::Run(self.order(id, slot, op, how, deadline)));
    }

    fn order(&self, id: RunId, slot: usize, op: Op, how: How, deadline: Duration) -> Run {
        let resource = self.slots[slot].resource.clone();
        let environment = vec![("REGENT_RESOURCE".to_owned(), resource.name().to_string())];
        let (group, places, words) = (self.group.clone(), Vec::new(), Vec::new());
        Run { id, group, epoch: self.epoch, resource, op, how, deadline, environment, places, words }
    }

    fn come_online(&mut self, now: Moment, wishes: &mut Vec<Wish>) {
        self.stage = Stage::Online;
        for slot in &mut self.slots {
            if !std::mem::take(&mut slot.stays) {
                slot.watch_from(now);
            }
        }
        let text = if self.told_online { "restarted" } else { "online" };
        wishes.push(self.tell(
            Level::Notice,
            "online",
            None,
            text.into(),
            Some(now.since(self.began)),
            String::new(),
        ));
        if !std::mem::replace(&mut self.told_online, true) {
            wishes.push(Wish::Online);
        }
    }

    /// Whether the answer to this run is waited for.
    pub(crate) fn waits_for(&self, id: RunId) -> bool {
        self.monitors.contains_key(&id)
            || self.notices.contains_key(&id)
            || self.hands.contains_key(&id)
            || self.current.as_ref().is_some_and(|c| c.id == id)
    }

    /// What the agent did on the way, for the journal. Of a check only what deserves attention.
    pub(crate) fn steps(&self, id: RunId, steps: Vec<StepTaken>, wishes: &mut Vec<Wish>) {
        let watched = self.monitors.get(&id).map(|a| a.slot);
        let told = self.notices.get(&id).map(|a| a.slot);
        let current = self.current.as_ref().filter(|c| c.id == id).map(|c| c.slot);
        let by_hand = self.hands.get(&id).copied();
        let Some(at) = watched.or(told).or(current).or(by_hand) else { return };
        let watched = watched.is_some() && !self.swaps.contains(&id);
        for step in steps.into_iter().filter(|s| !watched || s.level > Level::Step) {
            wishes.push(self.tell_slot(step.level, "step", at, step.text, step.took, &step.evidence));
        }
    }

    /// Takes an agent's answer; one to a question that is not open any more is ignored.
    pub(crate) fn done(&mut self, now: Moment, id: RunId, outcome: Outcome, wishes: &mut Vec<Wish>) {
        self.swaps.remove(&id);
        if let Some(asked) = self.monitors.remove(&id) {
            self.monitored(now, asked, outcome, wishes);
            return;
        }
        if self.notices.remove(&id).is_some() {
            return;
        }
        if let Some(at) = self.hands.remove(&id) {
            self.slots[at].watch_again(now);
            return;
        }
        let Some(current) = self.current.take_if(|c| c.id == id) else { return };
        let took = now.since(current.began);
        let slot = current.slot;
        match (current.op, outcome) {
            (Op::Probe | Op::Acquire, Outcome::Running) => self.is_up(slot, current.op, took, wishes),
            (Op::Probe, outcome @ (Outcome::Stopped | Outcome::Failed(_))) if self.spares_what_is_down() => {
                self.found_down(slot, outcome, took, wishes);
            }
            (Op::Probe, Outcome::Stopped) => self.slots[slot].probed = true,
            (Op::Probe, Outcome::Failed(failure)) => {
                let text = format!("{} is in a doubtful state: {}", self.described(slot), failure.reason);
                wishes.push(self.tell_slot(Level::Warning, "probe", slot, text, took, &failure.evidence));
                self.slots[slot].probed = true;
            }
            (Op::Acquire, outcome) => {
                let barred = self.barred_at.is_some_and(|at| at >= current.began);
                self.slots[slot].attempts += u32::from(!barred);
                self.acquire_failed(slot, outcome, took, wishes);
            }
            (Op::Release, Outcome::Stopped) => {
                self.slots[slot].stopped();
                let name = self.described(slot);
                wishes.push(self.tell_slot(
                    Level::Step,
                    "release",
                    slot,
                    format!("{name} is down"),
                    took,
                    "",
                ));
                match &mut self.stage {
                    Stage::Mending { at, .. } | Stage::Releasing { at, .. } => *at = slot,
                    _ => {}
                }
            }
            (Op::Release, outcome) => self.release_failed(slot, outcome, took, wishes),
            (Op::Monitor | Op::Swap, _) => {}
        }
    }

    /// A resource was found running, or was brought up: the next one's turn has come.
    fn is_up(&mut self, slot: usize, op: Op, took: Duration, wishes: &mut Vec<Wish>) {
        self.slots[slot].stands();
        let (name, idle) = (self.described(slot), self.slots[slot].idle);
        let (kind, how) = match (op, idle) {
            (Op::Probe, false) => ("adopt", "runs already: adopted"),
            (Op::Probe, true) => ("adopt", "is held already, and down: adopted"),
            (_, false) => ("acquire", "is up"),
            (_, true) => ("acquire", "is held, and not started"),
        };
        wishes.push(self.tell_slot(Level::Step, kind, slot, format!("{name} {how}"), took, ""));
        if op == Op::Acquire && std::mem::take(&mut self.slots[slot].after_failure) {
            self.raise(EventName::ServerRestartComplete, slot, wishes);
        }
        self.stage = Stage::Acquiring { at: slot + 1 };
    }

    /// When something is due, at the latest.
    pub(crate) fn next_wake(&self) -> Option<Moment> {
        let current = self.current.as_ref().map(|c| c.give_up);
        let answers = self.monitors.values().chain(self.notices.values()).map(|a| a.give_up).min();
        let monitors = (self.stage == Stage::Online).then(|| self.next_check()).flatten();
        [current, answers, monitors].into_iter().flatten().min()
    }
}
