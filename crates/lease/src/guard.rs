//! The guard of a node: its lease, its vote and its release list in one (L7, L12).
//!
//! [`Guard::step`] takes what happened and the time at which it is looked at, and says what to do. Every step
//! begins with a look at the clock, so that a guard that was paused finds out that its lease has ended before it
//! does anything in its name.

mod ending;
mod watch;

use std::time::Duration;

use regent_model::holding::{Act, Held};
use regent_model::ids::IncarnationOf;
use regent_model::proof::Promise;
use regent_model::{BootId, GroupName, Incarnation, Moment, NodeId, Round};

use crate::frame::Frame;
use crate::guard::ending::LettingGo;
use crate::guard::watch::Watch;
use crate::holder::{Bounds, Holder, Right};
use crate::io::{ActId, ClusterView, Effect, FromDaemon, Input, ToDaemon};
use crate::list::{HeldOver, ReleaseList};
use crate::mutants::{Condition, Mutants};
use crate::voter::Voter;

/// How long a guard keeps what it holds without a word from its daemon.
pub const DAEMON_ABSENCE_MAX: Duration = Duration::from_secs(5);

/// How often a guard looks at the clock before it knows the timers.
const POLL_BEFORE_ATTACH: Duration = Duration::from_millis(50);

/// One node's guard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Guard {
    me: NodeId,
    boot: BootId,
    holder: Holder,
    voter: Voter,
    list: ReleaseList,
    /// Set from the moment letting go begins until the next incarnation.
    letting_go: Option<LettingGo>,
    /// The log says that this incarnation holds without lease (L10): it renews no more, and acquires no more.
    without_lease: bool,
    /// The incarnation began with nothing held over.
    clean: bool,
    /// Nothing before the first attach: then a guard knows neither peers nor promises.
    view: Option<ClusterView>,
    watch: Watch,
    /// See [`Guard::kernel_ends_addresses`].
    kernel_ends_addresses: bool,
    attached: bool,
    daemon_heard: Moment,
    next_keepalive: Moment,
    told_valid: bool,
    told_confirmed: bool,
    /// The machine is being reset.
    halted: bool,
    mutants: Mutants,
}

impl Guard {
    /// The guard of node `me` at the start of its process. `incarnation` is larger than any before, durably.
    /// `held_over` is what the guard before it, in the same boot, left behind ([`Guard::leaves`]).
    #[must_use]
    pub fn new(
        me: NodeId,
        incarnation: Incarnation,
        boot: BootId,
        held_over: Vec<HeldOver>,
        now: Moment,
    ) -> Self {
        let list = ReleaseList::inherit(held_over);
        let mutants = Mutants::none();
        Self {
            me,
            boot,
            holder: Holder::new(me, incarnation, mutants),
            voter: Voter::new(me, mutants),
            letting_go: None,
            without_lease: false,
            clean: list.is_empty(),
            list,
            view: None,
            watch: Watch::default(),
            kernel_ends_addresses: false,
            attached: false,
            daemon_heard: now,
            next_keepalive: now,
            told_valid: false,
            told_confirmed: false,
            halted: false,
            mutants,
        }
    }

    /// The same guard with a condition switched off.
    #[cfg(any(test, feature = "mutants", debug_assertions))]
    #[must_use]
    pub fn with_mutants(mut self, mutants: Mutants) -> Self {
        self.mutants = mutants;
        self.holder = Holder::new(self.me, self.holder.incarnation(), mutants);
        self.voter = Voter::new(self.me, mutants);
        self
    }

    /// The present incarnation.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.holder.incarnation()
    }

    /// What the incarnation may do, as of the last step.
    #[must_use]
    pub fn right(&self) -> Right {
        self.holder.right()
    }

    /// Everything that is held or being acquired.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        self.list.all()
    }

    /// Something has happened, and it is `now`. The effects are to be carried out in their order, after
    /// [`Guard::leaves`] was kept where the next guard process finds it.
    pub fn step(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.look(now, &mut out);
        if !self.halted {
            self.take(now, input, &mut out);
            self.own_what_is_adopted(now);
            // What was said may have ended the incarnation.
            self.look(now, &mut out);
            self.follow_up(now, &mut out);
        }
        out
    }

    fn take(&mut self, now: Moment, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Tick => {}
            Input::Frame { from, frame } => self.frame(now, from, frame, out),
            Input::Daemon(said) => self.daemon(now, said, out),
            Input::DaemonGone => self.attached = false,
            Input::Performed { id, result } => self.performed(id, result, out),
            Input::NotBegun { id, act } => self.not_begun(now, id, act, out),
            Input::Released { held, result } => self.released(held, result, out),
        }
    }

    /// The next incarnation begins; to be called once after [`Effect::NewIncarnation`], with a number that is
    /// durable and larger than any before.
    ///
    /// # Panics
    /// When the present incarnation is not over, which is an error of the caller.
    pub fn reborn(&mut self, now: Moment, incarnation: Incarnation) -> Vec<Effect> {
        let is_over = self.right() == Right::Over || self.mutants.off(Condition::L11LapseIsFinal);
        assert!(
            is_over && incarnation > self.incarnation(),
            "incarnation {} is {}: {incarnation} cannot begin",
            self.incarnation(),
            self.right()
        );
        let mut out = Vec::new();
        self.holder = Holder::new(self.me, incarnation, self.mutants);
        if let Some(view) = &self.view {
            self.holder.set_voters(now, &view.voters);
        }
        self.letting_go = None;
        self.without_lease = false;
        self.clean = true;
        self.next_keepalive = now;
        self.welcome(&mut out);
        self.follow_up(now, &mut out);
        out
    }

    /// How often [`Guard::step`] must be called at the least, with [`Input::Tick`] if nothing happens.
    #[must_use]
    pub fn poll_interval(&self) -> Duration {
        self.view.as_ref().map_or(POLL_BEFORE_ATTACH, |view| view.timers.heartbeat / 2)
    }

    /// When [`Guard::step`] should be called next if nothing happens before.
    #[must_use]
    pub fn next_wake(&self, now: Moment) -> Moment {
        let voter = self.view.as_ref().and_then(|view| self.voter.next_wake(view));
        let keepalive = self.view.as_ref().map(|_| self.next_keepalive);
        let poll = now + self.poll_interval();
        [voter, keepalive, self.next_ending()].into_iter().flatten().fold(poll, Moment::min).max(now)
    }

    fn frame(&mut self, now: Moment, from: NodeId, frame: Frame, out: &mut Vec<Effect>) {
        let Some(view) = self.view.as_ref().filter(|view| view.peers.contains(&from)) else { return };
        match frame {
            Frame::Keepalive(keepalive) if keepalive.node == from => {
                if let Some(ack) = self.voter.heard(now, view, &keepalive, out) {
                    out.push(Effect::Send { to: from, frame: Frame::Ack(ack) });
                }
            }
            Frame::Ack(ack) if ack.voter == from => self.holder.acknowledged(now, ack),
            Frame::Keepalive(_) | Frame::Ack(_) => {}
        }
    }

    fn daemon(&mut self, now: Moment, said: FromDaemon, out: &mut Vec<Effect>) {
        self.daemon_heard = now;
        match said {
            FromDaemon::Attach { promises, next_round, cluster } => {
                self.attach(now, &promises, next_round, cluster, out);
            }
            FromDaemon::Configure(view) if self.view.is_some() => self.learn(now, view),
            FromDaemon::PromiseStored(promise) => self.voter.stored(promise),
            FromDaemon::PromiseWithdrawn(promise) => self.voter.withdrawn(now, promise),
            FromDaemon::Hold { id, incarnation, held } => {
                let gate = self.gate(now, incarnation, &held.group);
                let result = gate.and_then(|()| self.list.hold(incarnation, held));
                out.push(Effect::Tell(ToDaemon::Done { id, result }));
            }
            FromDaemon::Perform { id, incarnation, group, epoch, act } => {
                let held = Held { group, epoch, holding: act.holding() };
                self.perform(now, id, incarnation, held, act, out);
            }
            FromDaemon::Drop { id, held } => {
                let result = self.list.drop(&held);
                out.push(Effect::Tell(ToDaemon::Done { id, result }));
            }
            FromDaemon::Rename { incarnation, group, epoch } if incarnation == self.incarnation() => {
                let at_once = Bounds { release_due: now, deadline: now + self.release_budget() };
                self.list.adopt(incarnation, &group, epoch, at_once);
            }
            FromDaemon::Watchdog(wish) => self.watch.wish = Some(wish),
            FromDaemon::HeldWithoutLease { incarnation } => self.held_without_lease(incarnation),
            FromDaemon::Configure(_) | FromDaemon::Rename { .. } | FromDaemon::Alive => {}
        }
    }

    fn attach(
        &mut self,
        now: Moment,
        promises: &[Promise],
        next_round: Round,
        view: ClusterView,
        out: &mut Vec<Effect>,
    ) {
        self.attached = true;
        self.welcome(out);
        if let Some(LettingGo { reason, .. }) = &self.letting_go {
            out.push(Effect::Tell(self.tell_letting_go(reason.clone())));
        }
        self.learn(now, view);
        if let Some(view) = &self.view {
            self.voter.restore(now, view, promises, next_round, out);
        }
    }

    fn welcome(&mut self, out: &mut Vec<Effect>) {
        self.told_valid = false;
        self.told_confirmed = false;
        out.push(Effect::Tell(ToDaemon::Welcome {
            incarnation: self.incarnation(),
            boot: self.boot.clone(),
            held: self.list.all(),
            clean: self.clean,
        }));
    }

    /// Takes the view of the log, unless a later one is known.
    fn learn(&mut self, now: Moment, view: ClusterView) {
        if self.view.as_ref().is_some_and(|known| known.applied > view.applied) {
            return;
        }
        self.holder.set_voters(now, &view.voters);
        self.voter.learn(now, &view);
        self.told_confirmed = false;
        self.view = Some(view);
    }

    /// Whether something may be acquired at `now` in the name of `incarnation`; if not, why (L12).
    fn gate(&self, now: Moment, incarnation: Incarnation, group: &GroupName) -> Result<(), String> {
        if self.mutants.off(Condition::L12Gate) {
            return Ok(());
        }
        let own = self.incarnation();
        if incarnation != own {
            return Err(format!("the guard's incarnation is {own}, not {incarnation}"));
        }
        if self.without_lease {
            return Err(format!("incarnation {own} holds without lease: it may acquire nothing more"));
        }
        match self.right() {
            Right::Seeking => return Err("no majority of the voters has acknowledged this node yet".into()),
            Right::LettingGo => return Err(format!("incarnation {own} is letting go")),
            Right::Over => return Err(format!("incarnation {own} is over")),
            Right::Valid => {}
        }
        let current =
            self.holder.valid_under_current_set(now) || self.mutants.off(Condition::L8CurrentVoters);
        if !current {
            return Err(
                "the voters have changed, and no majority of the new ones has acknowledged yet".into()
            );
        }
        self.is_watched_enough(group)
    }

    fn perform(
        &mut self,
        now: Moment,
        id: ActId,
        incarnation: Incarnation,
        held: Held,
        act: Act,
        out: &mut Vec<Effect>,
    ) {
        let gate = self.gate(now, incarnation, &held.group);
        match gate.and_then(|()| self.list.begin_act(incarnation, id, held)) {
            Ok(()) => out.push(self.to_be_performed(now, id, act)),
            Err(why) => out.push(Effect::Tell(ToDaemon::Done { id, result: Err(why) })),
        }
    }

    fn to_be_performed(&self, now: Moment, id: ActId, act: Act) -> Effect {
        let not_after = self.holder.ends().map_or(now, |ends| ends.release_due);
        Effect::Perform { id, act, not_after }
    }

    /// The machine was too slow for an act. Where the lease went on meanwhile, it goes through the same gate once more;
    /// what came too late for its lease is over.
    fn not_begun(&mut self, now: Moment, id: ActId, act: Act, out: &mut Vec<Effect>) {
        let Some((by, group)) = self.list.acting(id) else { return };
        match self.gate(now, by, group) {
            Ok(()) => out.push(self.to_be_performed(now, id, act)),
            Err(why) => {
                let why = format!("it was not begun before the lease was to be let go: {why}");
                self.performed(id, Err(why), out);
            }
        }
    }

    fn performed(&mut self, id: ActId, result: Result<(), String>, out: &mut Vec<Effect>) {
        if !self.list.end_act(id, result.is_ok()) {
            return;
        }
        let result = match &self.letting_go {
            Some(letting_go) => Err(format!("it is let go at once: {}", letting_go.reason)),
            None => result,
        };
        out.push(Effect::Tell(ToDaemon::Done { id, result }));
        self.release_held(out);
    }

    /// A lease that is valid limits from now on what the log has adopted for this incarnation, and only that (L6).
    fn own_what_is_adopted(&mut self, now: Moment) {
        if self.holder.valid_under_current_set(now) {
            self.list.adopted(self.incarnation(), self.mutants.off(Condition::L6Adopt));
        }
    }

    /// What follows from the step: what has become true is told, and keepalives go out.
    fn follow_up(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.halted {
            return;
        }
        self.finish_letting_go(out);
        self.tell_valid(now, out);
        if let Some(view) = &self.view {
            self.voter.tick(now, view, out);
            if self.next_keepalive <= now {
                self.send_keepalives(now, out);
            }
        }
    }

    fn tell_valid(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let incarnation = self.incarnation();
        let Some(view) = &self.view else { return };
        if !self.attached || self.right() != Right::Valid {
            return;
        }
        if !self.told_valid {
            self.told_valid = true;
            out.push(Effect::Tell(ToDaemon::LeaseValid { incarnation }));
        }
        if !self.told_confirmed && self.holder.valid_under_current_set(now) {
            self.told_confirmed = true;
            out.push(Effect::Tell(ToDaemon::Confirmed { incarnation, applied: view.applied }));
        }
    }

    fn send_keepalives(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let renews = matches!(self.right(), Right::Seeking | Right::Valid) && !self.without_lease;
        let Some(view) = &self.view else { return };
        let keepalive = self.holder.keepalive(now, &view.timers, renews);
        let frame = Frame::Keepalive(keepalive);
        out.extend(view.peers.iter().map(|peer| Effect::Send { to: *peer, frame }));
        // A late step does not send the missed ones: the next is due a heartbeat from now.
        let on_time = self.next_keepalive + view.timers.heartbeat;
        self.next_keepalive = if on_time > now { on_time } else { now + view.timers.heartbeat };
    }

    fn own(&self) -> IncarnationOf {
        IncarnationOf { node: self.me, incarnation: self.incarnation() }
    }
}
