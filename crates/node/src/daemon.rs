//! The daemon's process, from its start to its end.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use regent_agents::{Hands, HandsConfig};
use regent_engine::io::Leave;
use regent_engine::{Engine, Input, Restored};
use regent_guard::durable::{self, Counter};
use regent_guard::lock::{Lock, LockError};
use regent_guard::{NodeIdentity, Paths, ToGuard, clock, identity, log, realtime, release};
use regent_model::NodeName;
use regent_model::journal::Entry;
use regent_model::state::State;
use regent_store::{FsDisk, Recovered, Store, StoreError};
use regent_wire::handover::KeyAsk;
use ring::rand::{SecureRandom, SystemRandom};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::arbiter::ArbiterLine;
use crate::desk::Desk;
use crate::end::{AGAIN, End, GUARD_GONE, LEFT, REFUSED};
use crate::error::{Doing, NodeError, Result};
use crate::founding::Founding;
use crate::guard_line::{self, GuardGate, GuardLine, Warrants};
use crate::heart::{Addresses, Heart, Zone, input_of};
use crate::inbox::{Inbox, inbox};
use crate::journal::Journal;
use crate::keys::Keys;
use crate::links::{Ears, Links};
use crate::portal::Portals;
use crate::reception::Reception;
use crate::refusals::{Port, Refusals};
use crate::registry::Registrar;
use crate::side::Side;
use crate::{api, copy, inspection, machine, measuring, nightly, open_door, reboot, storage, sys};

/// A daemon that finds no room on its disk is started again after this.
const ROOM_AGAIN: Duration = Duration::from_secs(1);
/// How long the guard may take to start.
const GUARD_WITHIN: Duration = Duration::from_secs(10);
/// How long the daemon before this one may take to be gone.
const PREDECESSOR_WITHIN: Duration = Duration::from_secs(5);
/// How long the guard may take to end, once it holds nothing.
const GOODBYE_WITHIN: Duration = Duration::from_secs(10);

/// Everything that a daemon needs to begin.
struct Beginning {
    paths: Paths,
    identity: NodeIdentity,
    keys: Keys,
    session: u64,
    store: Store<FsDisk>,
    restored: Restored,
    journal: Journal,
}

/// Runs the daemon until it ends, and gives its exit code: see [`crate::end`].
#[must_use]
pub fn daemon(paths: &Paths) -> u8 {
    log::install("regent");
    sys::keep_memory_small();
    end_with_the_first_panic();
    let code = match begin(paths) {
        Ok((_lock, beginning)) => run(beginning),
        Err(Trouble::Again(why)) => {
            tracing::error!("{why}");
            AGAIN
        }
        Err(Trouble::Room(error)) => wait_for_room(paths, &error),
        Err(Trouble::Refuse(error)) => refuse(paths, &error),
    };
    log::flush(Duration::from_secs(1));
    code
}

/// A daemon with a dead thread would look alive to its guard. The next one begins with what is durable.
fn end_with_the_first_panic() {
    std::panic::set_hook(Box::new(|info| {
        tracing::error!("a fault of the program ends the daemon: {info}");
        log::flush(Duration::from_secs(1));
        std::process::abort();
    }));
}

enum Trouble {
    /// Another try may work.
    Again(String),
    /// There is no room on the disk: another try works when there is.
    Room(NodeError),
    /// It will not.
    Refuse(NodeError),
}

impl From<NodeError> for Trouble {
    fn from(error: NodeError) -> Self {
        Self::Refuse(error)
    }
}

/// Says why the daemon does not run, in the log and where `regent status` finds it.
fn refuse(paths: &Paths, error: &NodeError) -> u8 {
    tracing::error!("{error}");
    if let Err(error) = fs::write(paths.refused(), format!("{error}\n")) {
        tracing::warn!("cannot write {}: {error}", paths.refused().display());
    }
    REFUSED
}

/// Says what the daemon waits for, and lets its supervisor start it again.
fn wait_for_room(paths: &Paths, error: &NodeError) -> u8 {
    let error = error.clone().next("make room on that disk: the daemon begins by itself then");
    refuse(paths, &error);
    std::thread::sleep(ROOM_AGAIN);
    AGAIN
}

fn begin(paths: &Paths) -> std::result::Result<(Lock, Beginning), Trouble> {
    fs::create_dir_all(&paths.run).doing(|| format!("make {}", paths.run.display()))?;
    let identity = NodeIdentity::read(&paths.identity()).map_err(NodeError::from)?;
    let ring = identity::read_keys(&paths.key).map_err(NodeError::from)?;
    let founding = Founding::read(&paths.founding())?.state()?;
    let lock = take_lock(paths)?;
    let keys = Keys::new(paths, &identity, ring, machine::of_member(paths)?);
    let (store, recovered) = open_store(paths, &identity)?;
    check_snapshot(&recovered)?;
    let session = session(paths)?;
    let (journal, kept) = open_journal(paths)?;
    let restored = Restored { recovered, founding: Some(founding), journal: kept };
    Ok((lock, Beginning { paths: paths.clone(), identity, keys, session, store, restored, journal }))
}

fn take_lock(paths: &Paths) -> std::result::Result<Lock, Trouble> {
    let until = Instant::now() + PREDECESSOR_WITHIN;
    let path = paths.daemon_lock();
    loop {
        match Lock::take(&path) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held(_)) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20))
            }
            Err(LockError::Held(pid)) => {
                let pid = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
                return Err(Trouble::Again(format!(
                    "another daemon of this node runs already, process {pid}"
                )));
            }
            Err(LockError::Io(error)) => {
                return Err(NodeError::new(format!("cannot lock {}: {error}", path.display())).into());
            }
        }
    }
}

fn open_store(
    paths: &Paths,
    identity: &NodeIdentity,
) -> std::result::Result<(Store<FsDisk>, Recovered), Trouble> {
    let owner = regent_store::Identity { cluster: identity.cluster.clone(), node: identity.node };
    let opened = FsDisk::open(paths.store()).and_then(|disk| Store::open(disk, owner));
    opened.map_err(|error| {
        let what = NodeError::new(format!("this node cannot use its state: {error}"));
        match &error {
            StoreError::InUse { .. } => Trouble::Again(error.to_string()),
            _ if error.is_full() => Trouble::Room(what),
            StoreError::Corrupt { .. } | StoreError::Missing { .. } => {
                what.next(durable::begin_anew(&paths.state)).into()
            }
            _ => what.into(),
        }
    })
}

fn session(paths: &Paths) -> std::result::Result<u64, Trouble> {
    Counter::new(paths.session()).next().map_err(|error| {
        let what = NodeError::new(error.to_string());
        if error.is_full() { Trouble::Room(what) } else { what.into() }
    })
}

fn open_journal(paths: &Paths) -> std::result::Result<(Journal, Vec<Entry>), Trouble> {
    Journal::open(paths.journal()).map_err(|error| {
        let what = NodeError::new(format!("cannot open {}: {error}", paths.journal().display()));
        if durable::is_full(&error) { Trouble::Room(what) } else { what.into() }
    })
}

/// The store has shown that the snapshot is what was written; this shows that this version can read it.
fn check_snapshot(recovered: &Recovered) -> Result<()> {
    let Some(snapshot) = &recovered.snapshot else { return Ok(()) };
    regent_engine::format::read::<State>(&snapshot.data, release::speaks())
        .map(drop)
        .map_err(|error| NodeError::new(format!("the state of this node: {error}")).next(error.advice()))
}

fn run(beginning: Beginning) -> u8 {
    let paths = beginning.paths.clone();
    let (end, ends) = channel();
    let Running { guard, desk, links } = match set_up(beginning, &end) {
        Ok(parts) => parts,
        Err(Trouble::Again(why)) => {
            tracing::error!("{why}");
            return GUARD_GONE;
        }
        Err(Trouble::Room(error) | Trouble::Refuse(error)) => return refuse(&paths, &error),
    };
    watch_signals(&end);
    match ends.recv().unwrap_or(End::Signal) {
        End::Leave(Leave::Reboot) => {
            desk.finish(Duration::from_millis(500));
            reboot::machine()
        }
        End::Leave(leave) => {
            desk.finish(Duration::from_millis(500));
            // What was committed last may still be on its way to the peers.
            std::thread::sleep(Duration::from_millis(100));
            guard.tell(ToGuard::Bye { leave_running: leave == Leave::LeaveRunning });
            if !guard.wait_until_closed(GOODBYE_WITHIN) {
                tracing::warn!("the guard still runs: it ends when it holds nothing any more");
            }
            links.close();
            tracing::info!("this node has left");
            LEFT
        }
        End::GuardGone(why) => {
            tracing::error!(
                "the line to the guard has ended: {why}; the daemon is started again, and the guard if need be"
            );
            tracing::error!(
                "if that happens again and again while the guard runs on, the two are of different builds, and the log of \
                 the guard says what it could not read. Install regent and regent-guard of one release; then: \
                 regent node stop --takeover, regent node start"
            );
            GUARD_GONE
        }
        End::GuardForeign(why) => {
            let next = "it lets go of what it holds within five seconds; then: systemctl stop regent-guard (where Regent's \
                        own supervisor runs, it ends by itself), and regent node start";
            refuse(
                &paths,
                &NodeError::new(format!("the guard of this machine is of another release: {why}")).next(next),
            )
        }
        End::StoreFailed(why) => {
            let next = "repair the disk, then: regent node start";
            refuse(
                &paths,
                &NodeError::new(format!("this node cannot make anything durable any more: {why}")).next(next),
            )
        }
        End::Forgotten(why) => {
            end_for_good(&guard, &links);
            refuse(&paths, &NodeError::new(why).next(durable::begin_anew(&paths.state)))
        }
        End::Removed(why) => {
            end_for_good(&guard, &links);
            refuse(&paths, &NodeError::new(why).next(durable::belong_to_another(&paths.state)))
        }
        End::Unreadable(why) => refuse(&paths, &NodeError::new(why).next("regent node start")),
        End::Signal => {
            tracing::info!("the daemon was told to end; what this node owns stays with its guard");
            AGAIN
        }
    }
}

/// The guard goes once nothing is held. Until then it acknowledges others as any guard without a daemon does: what it
/// promised and forgot counts only for incarnations whose lease had ended by then, and L11 makes that final.
fn end_for_good(guard: &GuardLine, links: &Links) {
    guard.tell(ToGuard::Bye { leave_running: false });
    links.close();
}

/// What the main thread needs of a daemon that runs.
struct Running {
    guard: GuardLine,
    desk: Arc<Desk>,
    links: Links,
}

/// Starts every thread of the daemon.
fn set_up(beginning: Beginning, end: &Sender<End>) -> std::result::Result<Running, Trouble> {
    let Beginning { paths, identity, keys, session, store, restored, journal } = beginning;
    realtime::spare_from_oom(-900);
    let (inbox, inputs) = inbox();
    let desk = Arc::new(Desk::new(inbox.clone()));
    let refusals = Arc::new(Refusals::new(inbox.clone()));
    let guard = call_guard(&paths, session, &inbox, &refusals, end)?;
    // Not before: it may be the guard that refuses, and has said why.
    let _none_is_fine = fs::remove_file(paths.refused());
    let me = engine_identity(&identity, session);
    // What is applied again here must come out as it did on the thread of the engine.
    regent_guard::rule_off::weaken_the_daemon();
    let (engine, first) = Engine::new(me, restored, random_number()?, clock::now(), clock::wall_ms());
    let side = Side::new(identity.name.clone(), session);
    let reception = Arc::new(Reception::new(desk.clone(), keys.clone(), &identity, side.clone()));
    let links = links(&keys, &identity, session, engine.state(), &inbox, &reception, &refusals);
    side.use_links(links.clone());
    side.use_evidence(paths.evidence());
    let warrants = Warrants::default();
    let hands = hands(&paths, &identity, &guard, &warrants, &inbox)?;
    let inspection = hands
        .as_ref()
        .map(|hands| inspection::start(hands.inspector(), identity.name.clone(), inbox.clone()))
        .transpose()
        .doing(threads)?;
    let registrar =
        hands.as_ref().map(|hands| Registrar::new(identity.name.clone(), hands.inspector(), inbox.clone()));
    if let Some(registrar) = &registrar {
        side.use_registrar(registrar.clone());
    }
    let registry = registrar.map(Registrar::start).transpose().doing(threads)?;
    let figures = measuring::start(identity.name.clone(), inbox.clone()).doing(threads)?;
    let (ear, ear_of_disk) = (inbox.clone(), inbox.clone());
    let portals = Portals::start(paths.configuration(), move |notice| ear.push(Input::Notice(notice)));
    let key_inbox = inbox.clone();
    let heart = Heart {
        engine,
        inputs,
        storage: storage::start(store, inbox.clone(), end.clone()).doing(threads)?,
        journal: journal.on_its_own().doing(threads)?,
        inbox,
        links: links.clone(),
        keys: keys.clone(),
        guard: guard.clone(),
        warrants,
        hands,
        inspection,
        registry,
        desk: desk.clone(),
        end: end.clone(),
        identity_path: paths.identity(),
        identity,
        addresses: Addresses::default(),
        zone: Zone::default(),
        figures,
        portals: portals.doing(threads)?,
        copy: copy::start(paths.configuration()).doing(threads)?,
        arbiter: ArbiterLine::start(ear_of_disk).doing(threads)?,
    };
    keys.start(guard.clone(), links.clone(), key_inbox).doing(threads)?;
    let beat = move || heart.beat(first);
    std::thread::Builder::new().name("heart".into()).spawn(beat).doing(threads)?;
    nightly::start(reception.clone()).doing(threads)?;
    let socket = paths.api_socket();
    let open = socket.with_file_name(regent_api::OPEN_SOCKET);
    open_door::start(&open, reception.clone())
        .doing(|| format!("serve the registry at {}", open.display()))?;
    api::start(&socket, reception, refusals).doing(|| format!("serve requests at {}", socket.display()))?;
    Ok(Running { guard, desk, links })
}

fn threads() -> String {
    "make a thread".to_owned()
}

fn engine_identity(identity: &NodeIdentity, session: u64) -> regent_engine::Identity {
    let (id, name) = (identity.node, identity.name.clone());
    regent_engine::Identity {
        id,
        name,
        session,
        version: release::version().to_owned(),
        speaks: release::speaks(),
    }
}

fn random_number() -> Result<u64> {
    let mut seed = [0; 8];
    SystemRandom::new().fill(&mut seed).map_err(|_| NodeError::new("the kernel gives no random numbers"))?;
    Ok(u64::from_le_bytes(seed))
}

fn call_guard(
    paths: &Paths,
    session: u64,
    inbox: &Inbox,
    refusals: &Arc<Refusals>,
    end: &Sender<End>,
) -> std::result::Result<GuardLine, Trouble> {
    let path = paths.guard_socket();
    let stream = guard_line::connect(&path, GUARD_WITHIN)
        .map_err(|error| Trouble::Again(format!("no guard answers at {}: {error}", path.display())))?;
    let end = end.clone();
    let gone = move |why| {
        let _ends_already = end.send(why);
    };
    Ok(GuardLine::start(stream, session, inbox.clone(), refusals.clone(), gone).doing(threads)?)
}

fn links(
    keys: &Keys,
    identity: &NodeIdentity,
    session: u64,
    state: &State,
    inbox: &Inbox,
    reception: &Arc<Reception>,
    refusals: &Arc<Refusals>,
) -> Links {
    let inbox = inbox.clone();
    let deliver = Box::new(move |from, message| inbox.offer(Input::Peer { from, message }));
    let (side, reception) = (reception.side(), reception.clone());
    let side = Box::new(move |from, text: Vec<u8>| side.heard(from, &text));
    let join = Box::new(move |ticket, ask| reception.join(ticket, ask));
    // A node that joins knows no members until the log tells it: until then whoever has the key may call.
    let open = state.members.is_empty();
    let refusals = refusals.clone();
    let refused = Box::new(move |why: &str| refusals.note(Port::Calls, 1, why));
    let (giver, told) = (keys.clone(), keys.clone());
    let (given, foreign) = (Box::new(move |ask: &KeyAsk| giver.give(ask)), Box::new(move || told.foreign()));
    let ears = Ears { deliver, side, join, refused, keys: given, foreign };
    Links::new(&keys.ring(), identity.node, release::speaks(), session, open, ears)
}

fn hands(
    paths: &Paths,
    identity: &NodeIdentity,
    guard: &GuardLine,
    warrants: &Warrants,
    inbox: &Inbox,
) -> Result<Option<Hands>> {
    let cgroup_root = std::env::var_os("REGENT_CGROUP_ROOT").map(|top| PathBuf::from(top).join("regent"));
    let config = HandsConfig { cgroup_root, run_dir: paths.run.join("work"), evidence: paths.evidence() };
    let gate = Arc::new(GuardGate { line: guard.clone(), warrants: warrants.clone() });
    let inbox = inbox.clone();
    let report = Box::new(move |report| inbox.push(input_of(report)));
    match Hands::new(config, gate, report) {
        Ok(hands) => Ok(Some(hands)),
        Err(why) if identity.witness => {
            tracing::info!("this witness could hold nothing, and need not: {why}");
            Ok(None)
        }
        Err(why) => Err(NodeError::new(why)),
    }
}

fn watch_signals(end: &Sender<End>) {
    let end = end.clone();
    match signal_hook::iterator::Signals::new([SIGTERM, SIGINT]) {
        Ok(mut signals) => {
            let watch = move || {
                signals.forever().next();
                let _ends_already = end.send(End::Signal);
            };
            if let Err(error) = std::thread::Builder::new().name("signals".into()).spawn(watch) {
                tracing::warn!(%error, "signals end the daemon without a word");
            }
        }
        Err(error) => tracing::warn!(%error, "signals end the daemon without a word"),
    }
}

/// The name of this machine's node, if it is a member.
#[must_use]
pub fn member_name(paths: &Paths) -> Option<NodeName> {
    NodeIdentity::read(&paths.identity()).ok().map(|identity| identity.name)
}
