//! The line to the guard: what the engine says goes out in order, what the guard says comes in, and the agents wait
//! here for the guard's answers.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regent_agents::Gate;
use regent_engine::Input;
use regent_guard::{AddressLeases, FromGuard, Health, ToGuard, WatchdogState, realtime, release};
use regent_lease::io::ActId;
use regent_lease::{FromDaemon, ToDaemon};
use regent_model::action::{ADDRESS_LEASES, Notice, WATCHDOG};
use regent_model::holding::{Act, Held};
use regent_model::{Epoch, GroupName, Incarnation};
use regent_wire::KeyRing;
use regent_wire::ipc::{IpcError, IpcReader, IpcWriter};

use crate::end::End;
use crate::inbox::Inbox;
use crate::refusals::Refusals;

/// The guard answers at once unless the kernel hangs in a mount.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Each session of the daemon numbers its acts from a place of its own: the guard may still work on one of the
/// session before.
const SESSION_SHIFT: u32 = 32;
/// Who is told that the guard is gone is told so late: this daemon ends within that time, and the next one tries what was
/// left undone with a guard that answers. Told at once, the cluster would hear of a failure that is none, and the group
/// would be stuck with it.
const GONE_IS_TOLD_AFTER: Duration = Duration::from_secs(1);
const CONNECT_AGAIN: Duration = Duration::from_millis(10);

type Answer = Result<(), String>;

#[derive(Default)]
struct Waiting {
    callers: BTreeMap<ActId, SyncSender<Answer>>,
    /// Who waits until the guard has taken keys.
    keyed: BTreeMap<u64, SyncSender<()>>,
    gone: bool,
}

/// The line. Clones are the same line.
#[derive(Clone)]
pub(crate) struct GuardLine {
    to_guard: Sender<ToGuard>,
    waiting: Arc<Mutex<Waiting>>,
    next: Arc<AtomicU64>,
    closed: Arc<Mutex<Option<Receiver<()>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls the guard, which may just be starting.
///
/// # Errors
/// The last one, when the time is over.
pub(crate) fn connect(path: &Path, within: Duration) -> io::Result<UnixStream> {
    let until = Instant::now() + within;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => std::thread::sleep(CONNECT_AGAIN),
        }
    }
}

impl GuardLine {
    /// Begins to talk. `gone` is called once when the guard is not there any more, with why.
    ///
    /// # Errors
    /// When there are no threads or descriptors to be had.
    pub(crate) fn start(
        stream: UnixStream,
        session: u64,
        inbox: Inbox,
        refusals: Arc<Refusals>,
        gone: impl FnOnce(End) + Send + 'static,
    ) -> io::Result<Self> {
        let (to_guard, outgoing) = channel();
        let (over, closed) = channel();
        let line = Self {
            to_guard,
            waiting: Arc::default(),
            next: Arc::new(AtomicU64::new(session << SESSION_SHIFT)),
            closed: Arc::new(Mutex::new(Some(closed))),
        };
        let versions = release::line_versions();
        let writer = IpcWriter::new(stream.try_clone()?).with_versions(versions);
        let reader = IpcReader::new(stream).with_versions(versions);
        std::thread::Builder::new()
            .name("guard-writer".into())
            .spawn(move || write_out(writer, &outgoing))?;
        let waiting = line.waiting.clone();
        std::thread::Builder::new().name("guard-reader".into()).spawn(move || {
            let why = read_in(reader, &inbox, &refusals, &waiting);
            gone(why);
            let mut waiting = lock(&waiting);
            waiting.gone = true;
            // Whoever waits sees its sender gone.
            waiting.callers.clear();
            waiting.keyed.clear();
            drop((waiting, over));
        })?;
        Ok(line)
    }

    /// Says something to the guard. Does not wait.
    pub(crate) fn tell(&self, message: ToGuard) {
        let _guard_is_gone = self.to_guard.send(message);
    }

    /// Waits until the guard has closed the line. Says whether it has.
    pub(crate) fn wait_until_closed(&self, within: Duration) -> bool {
        let closed = lock(&self.closed).take();
        closed.is_none_or(|c| c.recv_timeout(within) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected))
    }

    /// Gives the guard these keys, and waits until it has taken them.
    ///
    /// # Errors
    /// In words; nobody knows then which keys it has.
    pub(crate) fn take_keys(&self, ring: &KeyRing) -> Result<(), String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = sync_channel(1);
        {
            let mut waiting = lock(&self.waiting);
            if waiting.gone {
                return Err("the guard is gone".to_owned());
            }
            waiting.keyed.insert(id, sender);
        }
        self.tell(ToGuard::Keys { id, ring: ring.clone() });
        answer.recv_timeout(ANSWER_WITHIN).map_err(|_| {
            lock(&self.waiting).keyed.remove(&id);
            "the guard has not taken the cluster's keys".to_owned()
        })
    }

    fn call(&self, make: impl FnOnce(ActId) -> FromDaemon) -> Answer {
        let id = ActId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = sync_channel(1);
        {
            let mut waiting = lock(&self.waiting);
            if waiting.gone {
                drop(waiting);
                return gone();
            }
            waiting.callers.insert(id, sender);
        }
        self.tell(ToGuard::Lease(make(id)));
        match answer.recv_timeout(ANSWER_WITHIN) {
            Ok(answer) => answer,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => gone(),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                lock(&self.waiting).callers.remove(&id);
                Err(format!("the guard gave no answer within {} s", ANSWER_WITHIN.as_secs()))
            }
        }
    }
}

fn gone() -> Answer {
    std::thread::sleep(GONE_IS_TOLD_AFTER);
    Err("the guard is gone".to_owned())
}

fn write_out(mut writer: IpcWriter<UnixStream>, outgoing: &Receiver<ToGuard>) {
    realtime::elevate(realtime::ENGINE);
    // The greeting: the guard learns at once which version this daemon speaks.
    if let Err(error) = writer.flush() {
        tracing::error!("{error}");
    }
    for message in outgoing {
        if let Err(error) = writer.send(&message) {
            // The reader finds the line closed, and ends the daemon.
            tracing::error!("{error}");
            return;
        }
    }
}

fn read_in(
    mut reader: IpcReader<UnixStream>,
    inbox: &Inbox,
    refusals: &Refusals,
    waiting: &Mutex<Waiting>,
) -> End {
    realtime::elevate(realtime::ENGINE);
    let mut health = Health::default();
    let mut reports = 0;
    loop {
        match reader.recv() {
            Ok(Some(FromGuard::Lease(ToDaemon::Done { id, result }))) => {
                if let Some(caller) = lock(waiting).callers.remove(&id) {
                    let _caller_waits_no_more = caller.try_send(result);
                }
            }
            Ok(Some(FromGuard::Keyed { id })) => {
                if let Some(caller) = lock(waiting).keyed.remove(&id) {
                    let _caller_waits_no_more = caller.try_send(());
                }
            }
            Ok(Some(FromGuard::Lease(said))) => inbox.push(Input::Guard(said)),
            Ok(Some(FromGuard::Networks(networks))) => inbox.push(Input::Networks(networks)),
            Ok(Some(FromGuard::Health(now))) => {
                tell_health(&health, &now);
                reports += 1;
                refusals.datagrams(reports, &health, &now);
                if let Some(notice) = of_addresses(&health.addresses, &now.addresses) {
                    inbox.push(Input::Notice(notice));
                }
                if let Some(notice) = of_watchdog(&health.watchdog, &now.watchdog) {
                    inbox.push(Input::Notice(notice));
                }
                health = now;
            }
            Ok(None) => return End::GuardGone("the guard closed the line".to_owned()),
            Err(error @ IpcError::Version { .. }) => return End::GuardForeign(error.to_string()),
            Err(error) => return End::GuardGone(error.to_string()),
        }
    }
}

/// Who ends the leases of addresses, if that is not what was said before; a guard whose kernel does is nothing to tell of.
fn of_addresses(before: &AddressLeases, now: &AddressLeases) -> Option<Notice> {
    let topic = ADDRESS_LEASES.to_owned();
    match now {
        _ if now == before => None,
        AddressLeases::Kernel => {
            let text =
                "the kernel ends the leases of service addresses again, where the guard cannot".to_owned();
            Some(Notice::Well { topic, text })
        }
        AddressLeases::GuardAlone(why) => {
            let text = format!("only the guard ends the leases of service addresses here: {why}");
            let advice =
                "a guard that is frozen or killed leaves its addresses answering until it runs again or a \
                          fence device cuts the node; a kernel of 5.8 or later with BPF for traffic control \
                          (modules sch_ingress and cls_bpf) does better"
                    .to_owned();
            Some(Notice::Trouble { topic, text, advice })
        }
    }
}

/// What became of the watchdog, if that is not what was said before.
fn of_watchdog(before: &WatchdogState, now: &WatchdogState) -> Option<Notice> {
    let topic = WATCHDOG.to_owned();
    match now {
        _ if now == before => None,
        WatchdogState::None => {
            Some(Notice::Well { topic, text: "no watchdog is configured here any more".to_owned() })
        }
        WatchdogState::Fed(timeout) => {
            let text = format!("the guard feeds the watchdog of this machine, which fires after {timeout:?}");
            Some(Notice::Well { topic, text })
        }
        WatchdogState::Unfed(why) => {
            let text = format!("no watchdog resets this machine should its guard not run: {why}");
            let advice = "groups that need \"watchdog\" are not acquired here, and what is held is ended by the guard \
                          alone; see watchdog = \"...\" in the [[node]], and wdctl on the machine"
                .to_owned();
            Some(Notice::Trouble { topic, text, advice })
        }
    }
}

/// Says in the log how the guard itself is.
fn tell_health(before: &Health, now: &Health) {
    if now.late > before.late {
        let (times, worst) = (now.late - before.late, now.worst_lateness);
        tracing::warn!("the guard woke late {times} times, at worst by {worst:?}: this machine is too busy");
    }
    for (network, _) in now.bound.iter().enumerate().filter(|(_, bound)| !**bound) {
        tracing::warn!(network, "the guard cannot listen on this network");
    }
}

/// In whose name the agents act: the incarnation under which each group's epoch was given. An agent that is slow
/// must not act for a later incarnation than the engine meant.
#[derive(Clone, Default)]
pub(crate) struct Warrants {
    given: Arc<Mutex<BTreeMap<GroupName, (Epoch, Incarnation)>>>,
}

impl Warrants {
    /// From now on acts for this ownership of the group are in this incarnation's name.
    pub(crate) fn give(&self, group: &GroupName, epoch: Epoch, incarnation: Incarnation) {
        lock(&self.given).insert(group.clone(), (epoch, incarnation));
    }

    fn of(&self, group: &GroupName, epoch: Epoch) -> Result<Incarnation, String> {
        match lock(&self.given).get(group) {
            Some((current, incarnation)) if *current == epoch => Ok(*incarnation),
            Some((current, _)) => Err(format!("epoch {epoch} of {group} is over; it is {current} now")),
            None => Err(format!("{group} is not this node's to act for")),
        }
    }
}

/// The agents' way to the guard.
pub(crate) struct GuardGate {
    pub(crate) line: GuardLine,
    pub(crate) warrants: Warrants,
}

impl Gate for GuardGate {
    fn hold(&self, held: Held) -> Answer {
        let incarnation = self.warrants.of(&held.group, held.epoch)?;
        self.line.call(|id| FromDaemon::Hold { id, incarnation, held })
    }

    fn perform(&self, group: &GroupName, epoch: Epoch, act: Act) -> Answer {
        let incarnation = self.warrants.of(group, epoch)?;
        let group = group.clone();
        self.line.call(|id| FromDaemon::Perform { id, incarnation, group, epoch, act })
    }

    fn drop(&self, held: Held) -> Answer {
        self.line.call(|id| FromDaemon::Drop { id, held })
    }
}

#[cfg(test)]
mod tests {
    use regent_model::holding::Holding;

    use super::*;
    use crate::inbox::{Inputs, inbox};

    type Served = (IpcReader<UnixStream>, IpcWriter<UnixStream>, GuardGate, Inputs, Receiver<End>);

    fn served() -> Served {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (inbox, inputs) = inbox();
        let (gone, ended) = channel();
        let refusals = Arc::new(Refusals::new(inbox.clone()));
        let line = GuardLine::start(ours, 3, inbox, refusals, move |why| gone.send(why).unwrap()).unwrap();
        let gate = GuardGate { line, warrants: Warrants::default() };
        (IpcReader::new(theirs.try_clone().unwrap()), IpcWriter::new(theirs), gate, inputs, ended)
    }

    fn group() -> GroupName {
        GroupName::new("g").unwrap()
    }

    fn held(epoch: u64) -> Held {
        let holding = Holding::Mount { device: "/dev/x".into(), mount: "/m".into() };
        Held { group: group(), epoch: Epoch(epoch), holding }
    }

    #[test]
    fn an_agent_acts_in_the_name_of_the_incarnation_its_epoch_was_given_to() {
        let (mut reader, mut writer, gate, _inputs, _ended) = served();
        assert!(gate.hold(held(4)).unwrap_err().contains("not this node's"));
        gate.warrants.give(&group(), Epoch(4), Incarnation(2));
        let guard = std::thread::spawn(move || {
            let said: ToGuard = reader.recv().unwrap().unwrap();
            let ToGuard::Lease(FromDaemon::Hold { id, incarnation, .. }) = said else { panic!("{said:?}") };
            assert_eq!((incarnation, id.0 >> 32), (Incarnation(2), 3));
            let done = ToDaemon::Done { id, result: Err("no lease".into()) };
            writer.send(&FromGuard::Lease(done)).unwrap();
            (reader, writer)
        });
        assert_eq!(gate.hold(held(4)), Err("no lease".to_owned()));
        gate.warrants.give(&group(), Epoch(5), Incarnation(3));
        assert!(gate.hold(held(4)).unwrap_err().contains("epoch 4 of g is over"));
        guard.join().unwrap();
    }

    #[test]
    fn whoever_waits_for_a_guard_that_dies_is_told_and_so_is_the_daemon() {
        let (mut reader, writer, gate, inputs, ended) = served();
        gate.warrants.give(&group(), Epoch(4), Incarnation(2));
        let guard = std::thread::spawn(move || {
            let _: Option<ToGuard> = reader.recv().unwrap();
            let at = Instant::now();
            drop((reader, writer));
            at
        });
        assert_eq!(gate.hold(held(4)), Err("the guard is gone".to_owned()));
        // The daemon was told to end long before: what the guard could not do is no failure of the group.
        assert!(guard.join().unwrap().elapsed() >= GONE_IS_TOLD_AFTER);
        assert_eq!(ended.try_recv().unwrap(), End::GuardGone("the guard closed the line".to_owned()));
        assert_eq!(gate.hold(held(4)), Err("the guard is gone".to_owned()));
        assert!(gate.line.wait_until_closed(Duration::from_secs(1)));
        assert!(inputs.waiting().is_err());
    }

    #[test]
    fn a_guard_of_the_next_release_is_talked_to_and_one_of_the_release_after_that_ends_the_daemon_with_words()
    {
        for (theirs, speaks) in [((1, 2), true), ((2, 3), false)] {
            let (ours, theirs_end) = UnixStream::pair().unwrap();
            let (inbox, inputs) = inbox();
            let (gone, ended) = channel();
            let refusals = Arc::new(Refusals::new(inbox.clone()));
            let _line =
                GuardLine::start(ours, 3, inbox, refusals, move |why| gone.send(why).unwrap()).unwrap();
            let mut guard = IpcWriter::new(theirs_end).with_versions(theirs);
            guard.send(&FromGuard::Networks(BTreeMap::new())).unwrap();
            if speaks {
                let heard = inputs.next(Duration::from_secs(30)).unwrap();
                assert!(matches!(heard, Input::Networks(_)), "{heard:?}");
            } else {
                let End::GuardForeign(why) = ended.recv().unwrap() else { panic!("{theirs:?}") };
                assert!(why.contains("this side speaks 1 to 1, the other 2 to 3"), "{why}");
            }
        }
    }
}
