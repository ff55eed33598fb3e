//! How an incarnation ends: why it lets go, in what order, until when, and what is left for the next one.

use std::time::Duration;

use regent_model::holding::Held;
use regent_model::{Incarnation, Moment};

use crate::guard::{DAEMON_ABSENCE_MAX, Guard};
use crate::holder::{Bounds, Right};
use crate::io::{Effect, ToDaemon};
use crate::list::HeldOver;
use crate::mutants::Condition;

/// How long letting go may take where no lease limits it and the timers are not known yet.
const RELEASE_BUDGET_UNKNOWN: Duration = Duration::from_secs(1);

/// Letting go, from its beginning until the next incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LettingGo {
    pub(super) reason: String,
    deadline: Moment,
    /// The deadline is a later one than the lease's: the kernel had ended everything by then.
    spared: bool,
    released: Vec<(Held, Duration)>,
}

impl Guard {
    /// What the next guard process of this boot must be told, should this one end now: to be kept, in memory that
    /// outlives the process. The holdings must be kept before the effects of a step are carried out; a right that
    /// is kept too late is too early an end, and does no harm.
    #[must_use]
    pub fn leaves(&self) -> Vec<HeldOver> {
        self.list.leaves(self.ends_or_lapsed())
    }

    /// Looks at the clock, before anything else is done at `now`, and whether the incarnation goes on.
    pub(super) fn look(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.halted {
            return;
        }
        self.holder.look(now);
        if self.letting_go.is_none()
            && let Some(reason) = self.reason_to_let_go(now)
        {
            self.begin_letting_go(now, reason, out);
        }
        self.spare_what_the_kernel_has_ended(now);
        let overdue = self.letting_go.as_ref().is_some_and(|letting_go| letting_go.deadline <= now);
        if overdue && self.right() == Right::LettingGo && !self.list.is_empty() {
            let left: Vec<_> = self.list.all().iter().map(|held| held.holding.to_string()).collect();
            self.reset(format!("the lease has ended and these are still held: {}", left.join(", ")), out);
        }
    }

    /// A guard that did not run in time need not reset a machine on which nothing is left but addresses whose leases the
    /// kernel has ended: nobody is answered for them, and no lease of this incarnation comes back (L11). They are taken
    /// off in order, within another release budget, and only once.
    fn spare_what_the_kernel_has_ended(&mut self, now: Moment) {
        let (budget, ended) = (self.release_budget(), self.kernel_has_ended_all(now));
        let letting_go = self.letting_go.as_mut().filter(|l| l.deadline <= now && !l.spared);
        if let Some(letting_go) = letting_go.filter(|_| ended) {
            (letting_go.deadline, letting_go.spared) = (now + budget, true);
        }
    }

    fn kernel_has_ended_all(&self, now: Moment) -> bool {
        self.kernel_ends_addresses && self.list.ended_addresses_alone(now, self.ends_or_lapsed())
    }

    /// Whether the kernel of this machine answers for no address on the release list longer than its lease lasts,
    /// whatever becomes of this process.
    pub fn kernel_ends_addresses(&mut self, does: bool) {
        self.kernel_ends_addresses = does;
    }

    pub(super) fn ends_or_lapsed(&self) -> Bounds {
        self.holder.ends().unwrap_or(Bounds { release_due: Moment(0), deadline: Moment(0) })
    }

    fn reason_to_let_go(&self, now: Moment) -> Option<String> {
        if self.without_lease {
            return None;
        }
        if self.view.as_ref().is_some_and(|view| view.has_ended(self.own())) {
            return Some("the log has ended this incarnation".into());
        }
        if self.right() == Right::LettingGo {
            return Some("no majority of the voters has acknowledged this node in time".into());
        }
        if self.list.earlier_lease().is_some_and(|bounds| bounds.release_due <= now) {
            return Some("what an earlier incarnation held was not adopted while its lease lasted".into());
        }
        let absent = now.since(self.daemon_heard) >= DAEMON_ABSENCE_MAX;
        (absent && !self.list.is_without_lease())
            .then(|| format!("the daemon was not heard for {} s", DAEMON_ABSENCE_MAX.as_secs()))
    }

    pub(super) fn release_budget(&self) -> Duration {
        self.view.as_ref().map_or(RELEASE_BUDGET_UNKNOWN, |view| view.timers.release_budget())
    }

    fn begin_letting_go(&mut self, now: Moment, reason: String, out: &mut Vec<Effect>) {
        let deadline = self.limit().map_or(now + self.release_budget(), |limit| limit.deadline);
        self.holder.let_go();
        out.push(Effect::Tell(self.tell_letting_go(reason.clone())));
        self.letting_go = Some(LettingGo { reason, deadline, spared: false, released: Vec::new() });
        self.spare_what_the_kernel_has_ended(now);
        self.release_held(out);
    }

    pub(super) fn tell_letting_go(&self, reason: String) -> ToDaemon {
        ToDaemon::LettingGo { incarnation: self.incarnation(), reason }
    }

    /// Until when what is on the list may stay, if anything limits it: this incarnation's lease (L4), and that
    /// of an earlier one for what is not adopted (L6).
    fn limit(&self) -> Option<Bounds> {
        let lease = self.holder.ends().filter(|_| !self.without_lease);
        [lease, self.list.earlier_lease()].into_iter().flatten().reduce(Bounds::earlier)
    }

    /// The log says that this incarnation holds without lease what it holds (L10), unless it is letting go of it
    /// already. What an earlier one held so was left so.
    pub(super) fn held_without_lease(&mut self, incarnation: Incarnation) {
        let own = incarnation == self.incarnation() || self.mutants.off(Condition::L10OwnWord);
        if own && self.letting_go.is_none() {
            self.without_lease = true;
            self.list.held_without_lease();
        }
    }

    /// Lets go of all that is held, once letting go has begun.
    pub(super) fn release_held(&mut self, out: &mut Vec<Effect>) {
        let Some(LettingGo { deadline, .. }) = self.letting_go else { return };
        let held = self.list.release_held();
        if !held.is_empty() {
            out.push(Effect::LetGo { held, deadline });
        }
    }

    pub(super) fn released(&mut self, held: Held, result: Result<Duration, String>, out: &mut Vec<Effect>) {
        // The daemon may have shown it to be released meanwhile.
        if !self.list.is_releasing(&held.holding) {
            return;
        }
        match result {
            Ok(took) => {
                self.list.released(&held.holding);
                self.letting_go.iter_mut().for_each(|l| l.released.push((held.clone(), took)));
            }
            Err(why) => self.reset(format!("{} could not be let go: {why}", held.holding), out),
        }
    }

    pub(super) fn finish_letting_go(&mut self, out: &mut Vec<Effect>) {
        let Some(letting_go) = &self.letting_go else { return };
        if !self.list.is_empty() || self.right() != Right::LettingGo {
            return;
        }
        let released = letting_go.released.clone();
        let incarnation = self.incarnation();
        self.holder.all_released();
        out.push(Effect::Tell(ToDaemon::LetGo { incarnation, released }));
        out.push(Effect::NewIncarnation);
    }

    fn reset(&mut self, reason: String, out: &mut Vec<Effect>) {
        self.halted = true;
        out.push(Effect::Reset { reason });
    }

    /// When this incarnation must begin to let go, or must have finished, if nothing happens before.
    pub(super) fn next_ending(&self) -> Option<Moment> {
        if let Some(letting_go) = &self.letting_go {
            return (!self.list.is_empty()).then_some(letting_go.deadline);
        }
        let absence = (!self.list.is_without_lease()).then(|| self.daemon_heard + DAEMON_ABSENCE_MAX);
        let limit = self.limit().map(|limit| limit.release_due);
        [absence, limit].into_iter().flatten().min()
    }
}
