//! The one thread that keeps the lease: it waits for datagrams, the daemon, the workers, signals and the clock, and
//! for nothing else.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use regent_lease::holder::Right;
use regent_lease::io::{Effect, Input};
use regent_lease::{FromDaemon, Guard, ToDaemon};
use regent_model::Moment;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::address_leases::Leases;
use crate::clock;
use crate::daemon_line::{DaemonLine, Heard};
use crate::envelope::{FromGuard, Health, ToGuard};
use crate::held::Mirror;
use crate::networks::{Networks, TURN};
use crate::reset::ResetLine;
use crate::watchdog::Watchdog;
use crate::workers::{Order, Outcome, Workers};

/// How often the daemon is told of the guard's own health, if it changed.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// One of several networks is told to be silent after this, at the earliest. It moves nothing, so there is no hurry,
/// and one that only loses packets must not fill the journal.
const NETWORK_SILENCE_MIN: Duration = Duration::from_secs(1);
/// A reset that has not happened is tried again after this.
const RESET_AGAIN: Duration = Duration::from_millis(200);

/// Everything that the keeper has in its hands.
pub(crate) struct Keeper {
    pub(crate) guard: Guard,
    pub(crate) networks: Networks,
    pub(crate) line: DaemonLine,
    pub(crate) workers: Workers,
    pub(crate) mirror: Mirror,
    pub(crate) leases: Leases,
    pub(crate) watchdog: Watchdog,
    pub(crate) reset: ResetLine,
    pub(crate) signals: UnixStream,
    pub(crate) health: Health,
    pub(crate) course: Course,
}

/// Where things stand apart from the lease.
#[derive(Default)]
pub(crate) struct Course {
    todo: VecDeque<Input>,
    /// The node leaves; whether what is held without lease stays up.
    bye: Option<bool>,
    /// Asked to end while letting go: it ends when that is done.
    ending: bool,
    halted: Option<String>,
    heartbeat: Duration,
    told_health: Health,
    health_due: Moment,
}

fn watch(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

/// What woke the keeper.
#[derive(Default)]
struct Woken {
    sockets: Vec<usize>,
    bell: bool,
    signal: bool,
    call: bool,
    caller: bool,
    daemon: bool,
    writable: bool,
}

impl Keeper {
    /// Keeps the lease until the guard may end.
    pub(crate) fn keep(mut self) {
        loop {
            let now = clock::now();
            let wake =
                if self.course.halted.is_some() { now + RESET_AGAIN } else { self.guard.next_wake(now) };
            let wake = self.watchdog.due().map_or(wake, |due| wake.min(due));
            self.guard.kernel_ends_addresses(self.leases.end_all());
            let woken = self.wait(wake.since(now));
            self.measure(wake, &woken);
            self.take(&woken);
            self.course.todo.push_back(Input::Tick);
            self.work_off();
            let now = clock::now();
            self.networks.bind_missing(now);
            self.tend_watchdog();
            self.report(now);
            if let Some(reason) = self.course.halted.clone() {
                self.reset.pull(&reason);
            } else if self.may_end() {
                return self.leave();
            }
        }
    }

    fn wait(&self, timeout: Duration) -> Woken {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(16);
        fds.push(watch(self.workers.bell()));
        fds.push(PollFd::new(&self.signals, PollFlags::IN));
        fds.push(watch(self.line.calls()));
        let daemon = self.line.stream();
        if let Some((stream, waiting)) = daemon {
            let flags = if waiting { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            fds.push(PollFd::from_borrowed_fd(stream, flags));
        }
        let caller = self.line.caller().map(|stream| {
            fds.push(watch(stream));
            fds.len() - 1
        });
        let first_socket = fds.len();
        let mut numbers = [0; regent_wire::datagram::NETWORKS_MAX];
        for (place, (number, socket)) in self.networks.sockets().enumerate() {
            numbers[place] = number;
            fds.push(watch(socket));
        }
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Woken::default(),
            Ok(_) => {}
            Err(error) => {
                // Out of memory at worst: the clock goes on, and so does the lease.
                tracing::error!(%error, "cannot wait");
                std::thread::sleep(Duration::from_millis(1));
                return Woken::default();
            }
        }
        let ready = |at: usize| !fds[at].revents().is_empty();
        let ready_sockets = (first_socket..fds.len()).filter(|at| ready(*at));
        Woken {
            bell: ready(0),
            signal: ready(1),
            call: ready(2),
            caller: caller.is_some_and(ready),
            daemon: daemon.is_some() && ready(3),
            writable: daemon.is_some() && fds[3].revents().contains(PollFlags::OUT),
            sockets: ready_sockets.map(|at| numbers[at - first_socket]).collect(),
        }
    }

    /// Counts how late the keeper is when it was to be woken by the clock.
    fn measure(&mut self, wake: Moment, woken: &Woken) {
        let late = clock::now().since(wake);
        let by_clock =
            woken.sockets.is_empty() && !woken.bell && !woken.daemon && !woken.call && !woken.caller;
        if by_clock && late > Duration::ZERO {
            self.health.worst_lateness = self.health.worst_lateness.max(late);
            self.health.late +=
                u64::from(late > self.course.heartbeat / 2 && !self.course.heartbeat.is_zero());
        }
    }

    fn take(&mut self, woken: &Woken) {
        for number in &woken.sockets {
            for _ in 0..TURN {
                match self.networks.receive(*number, clock::now()) {
                    Some(Some((from, frame))) => self.course.todo.push_back(Input::Frame { from, frame }),
                    Some(None) => {}
                    None => break,
                }
            }
        }
        // What was heard goes first: the clock of the voter's silence must not be ahead of its ears.
        self.work_off();
        if woken.bell {
            self.workers.answer_bell();
            while let Some(outcome) = self.workers.outcome() {
                self.outcome(outcome);
            }
        }
        if woken.call {
            self.line.accept();
        }
        if woken.caller
            && let Some(said) = self.line.hear_caller()
        {
            self.networks.tell_again();
            self.course.health_due = Moment(0);
            self.course.told_health = Health::default();
            self.course.todo.push_back(Input::DaemonGone);
            self.said(said);
            self.work_off();
            self.hear_daemon();
        }
        if woken.writable && self.line.flush() {
            self.course.todo.push_back(Input::DaemonGone);
        }
        if woken.daemon {
            self.hear_daemon();
        }
        if woken.signal {
            self.signalled();
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Performed { id, result } => self.course.todo.push_back(Input::Performed { id, result }),
            Outcome::NotBegun { id, act } => self.course.todo.push_back(Input::NotBegun { id, act }),
            Outcome::Released((held, result)) => {
                self.course.todo.push_back(Input::Released { held, result });
            }
            Outcome::Numbered(incarnation) => {
                self.work_off();
                if self.course.halted.is_none() && self.guard.right() == Right::Over {
                    let effects = self.guard.reborn(clock::now(), incarnation);
                    self.carry_out(effects);
                }
            }
        }
        self.work_off();
    }

    fn hear_daemon(&mut self) {
        loop {
            match self.line.hear() {
                Heard::Said(said) => self.said(said),
                Heard::Nothing => return,
                Heard::Gone => {
                    self.course.todo.push_back(Input::DaemonGone);
                    return self.work_off();
                }
            }
            self.work_off();
        }
    }

    fn said(&mut self, said: ToGuard) {
        match said {
            ToGuard::Lease(said) => {
                if let FromDaemon::Attach { cluster, .. } | FromDaemon::Configure(cluster) = &said {
                    self.course.heartbeat = cluster.timers.heartbeat;
                    self.networks.set_patience(cluster.timers.promise_begins().max(NETWORK_SILENCE_MIN));
                }
                let is_wish = matches!(said, FromDaemon::Watchdog(_));
                self.course.todo.push_back(Input::Daemon(said));
                if is_wish {
                    // What is acquired next may need it.
                    self.work_off();
                    self.watchdog.hurry();
                    self.tend_watchdog();
                }
            }
            ToGuard::Keys { id, ring } => {
                tracing::info!("keys of the cluster: {ring:?}");
                self.networks.set_keys(&ring);
                self.tell(&FromGuard::Keyed { id });
            }
            ToGuard::Addresses { own, peers } => {
                self.networks.set_own(&own, clock::now());
                self.networks.set_peers(&peers);
            }
            ToGuard::Bye { leave_running } => self.course.bye = Some(leave_running),
        }
    }

    /// Somebody wants this process to end. What is held by a valid lease comes first.
    fn signalled(&mut self) {
        let mut signal = [0; 512];
        while rustix::io::read(&self.signals, &mut signal).is_ok_and(|read| read > 0) {}
        let nothing_held = self.guard.held().is_empty();
        if nothing_held || self.guard.right() != Right::Valid {
            self.course.ending = true;
        } else {
            tracing::warn!(
                "asked to end, but this node holds groups under a valid lease. Type: regent node stop --takeover"
            );
        }
    }

    fn work_off(&mut self) {
        while let Some(input) = self.course.todo.pop_front() {
            let effects = self.guard.step(clock::now(), input);
            self.carry_out(effects);
        }
    }

    /// Carries effects out in their order, after the next guard would know of them.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        let left = self.guard.leaves();
        self.leases.keep(&left);
        let kept = self.mirror.keep(left);
        if let Err(error) = &kept {
            tracing::error!("{error}: nothing new can be held");
        }
        let keeps = crate::rule_off::keeps() || crate::rule_off::is_late();
        for effect in effects {
            match effect {
                Effect::Send { to, frame } => self.networks.send(to, &frame),
                Effect::Tell(ToDaemon::Done { id, result }) => {
                    let result = result.and(kept.clone());
                    self.tell(&FromGuard::Lease(ToDaemon::Done { id, result }));
                }
                Effect::Tell(said) => self.tell(&FromGuard::Lease(said)),
                Effect::Perform { id, act, not_after } => match &kept {
                    Ok(()) => self.workers.order(Order::Perform { id, act, not_after }),
                    Err(why) => {
                        self.course.todo.push_back(Input::Performed { id, result: Err(why.clone()) });
                    }
                },
                Effect::LetGo { .. } | Effect::Reset { .. } if keeps => {}
                Effect::LetGo { held, deadline } => self.workers.order(Order::LetGo { held, deadline }),
                Effect::NewIncarnation => self.workers.order(Order::Number),
                Effect::Reset { reason } => {
                    self.reset.pull(&reason);
                    self.course.halted = Some(reason);
                    return;
                }
            }
        }
    }

    /// A machine that is being reset is not kept alive.
    fn tend_watchdog(&mut self) {
        if self.course.halted.is_none() {
            self.watchdog.tend(&mut self.guard);
        }
    }

    fn tell(&mut self, message: &FromGuard) {
        if self.line.tell(message) {
            self.course.todo.push_back(Input::DaemonGone);
        }
    }

    /// Tells the daemon what it should know beside the lease.
    fn report(&mut self, now: Moment) {
        if !self.line.is_open() {
            return;
        }
        if let Some(networks) = self.networks.changed(now) {
            self.tell(&FromGuard::Networks(networks));
        }
        if now >= self.course.health_due {
            self.course.health_due = now + HEALTH_INTERVAL;
            self.health.datagrams = self.networks.counts();
            self.health.unsent = self.networks.unsent();
            self.health.bound = self.networks.bound();
            self.health.addresses = self.leases.doorkeeper().state();
            self.health.watchdog = self.watchdog.state();
            if self.health != self.course.told_health {
                self.course.told_health = self.health.clone();
                self.tell(&FromGuard::Health(self.health.clone()));
            }
        }
    }

    fn leave(&mut self) {
        self.watchdog.leave();
        // What is held without lease stays answered: the kernel knows no end of it.
        if self.guard.held().is_empty() {
            self.leases.doorkeeper().leave();
        }
    }

    fn may_end(&self) -> bool {
        if self.course.bye.is_none() && !self.course.ending {
            return false;
        }
        let unmanaged =
            |left: &regent_lease::list::HeldOver| left.right == regent_lease::list::Inherited::WithoutLease;
        let left = self.guard.leaves();
        left.is_empty() || (self.course.bye == Some(true) && left.iter().all(unmanaged))
    }
}
