//! The cluster's keys on this machine: in the key file, in the guard, in the channels. The log says what is to be done about
//! them (`model/state/keys.rs`); one thread does it, always in the same order: what was said is durable before the guard
//! hears of it, the guard has it before the channels, and the engine is told last. A daemon that dies on the way finds in
//! the key file how far it was, and goes on.

mod asking;
mod crash;
mod known;
mod made;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use regent_engine::Input;
use regent_guard::{NodeIdentity, Paths, identity};
use regent_model::NodeId;
use regent_model::action::Notice;
use regent_model::state::{KeyMark, KeyStep, KeysHeld, MachineKey};
use regent_wire::handover::{KeyAsk, KeysGiven};
use regent_wire::invite::MachineSecret;
use regent_wire::{ClusterKey, KeyRing};

use crate::guard_line::GuardLine;
use crate::inbox::Inbox;
use crate::links::Links;
use crash::crash_at;
pub(crate) use known::Known;

/// What could not be done is tried again after this.
const AGAIN: Duration = Duration::from_millis(500);
/// Members are asked for a key that nobody has ordered no more often than this.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// With nothing to do, the thread looks up this rarely.
const IDLE: Duration = Duration::from_secs(3600);
/// The trouble of a node whose key the others do not know any more.
const TOPIC: &str = "cluster_key";
/// Why it has the new one without having been there.
const RENEWED: &str =
    "the cluster's key was changed while this node was away; a member has given it the new one";
/// How long a new key may take to be made and durable: the thread may be waiting for the guard, or for the other members.
const MAKE_WITHIN: Duration = Duration::from_secs(70);

enum Order {
    /// The log says something else of the members' machines.
    Known,
    /// By the log.
    Step(KeyStep),
    /// A key of this number, to be the next one if the log agrees.
    Make(u32, SyncSender<Result<KeyMark, String>>),
    /// Somebody does not know the key that was used, or used one that is not known here.
    Foreign,
}

/// The keys of this machine. Clones are the same.
#[derive(Clone)]
pub(crate) struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    me: NodeId,
    cluster: String,
    port: u16,
    path: PathBuf,
    run: PathBuf,
    secret: MachineSecret,
    ring: Mutex<KeyRing>,
    /// Where each of the others is to be called.
    addresses: Mutex<BTreeMap<NodeId, Vec<IpAddr>>>,
    known: Mutex<Known>,
    state: PathBuf,
    orders: Sender<Order>,
    waiting: Mutex<Option<Receiver<Order>>>,
    /// Others are to be asked without an order: said once, whoever calls how often.
    foreign: AtomicBool,
}

use crate::links::lock;

impl Keys {
    pub(crate) fn new(paths: &Paths, identity: &NodeIdentity, ring: KeyRing, secret: MachineSecret) -> Self {
        let (orders, waiting) = channel();
        let inner = Inner {
            me: identity.node,
            cluster: identity.cluster.to_string(),
            port: identity.port,
            path: paths.key.clone(),
            run: paths.run.clone(),
            secret,
            ring: Mutex::new(ring),
            addresses: Mutex::default(),
            known: Mutex::new(Known::read(&paths.state)),
            state: paths.state.clone(),
            orders,
            waiting: Mutex::new(Some(waiting)),
            foreign: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The keys that this machine has now.
    pub(crate) fn ring(&self) -> KeyRing {
        lock(&self.inner.ring).clone()
    }

    /// Where the others are by now.
    pub(crate) fn set_addresses(&self, addresses: &BTreeMap<NodeId, Vec<IpAddr>>) {
        lock(&self.inner.addresses).clone_from(addresses);
    }

    /// By what the members' machines are known here: by the log, or as it was when the last daemon ended.
    pub(crate) fn known(&self) -> Known {
        lock(&self.inner.known).clone()
    }

    /// The log says this of the members' machines. What is ordered after it, is done after it was kept.
    pub(crate) fn set_known(&self, known: &Known) {
        lock(&self.inner.known).clone_from(known);
        let _ended_with_the_process = self.inner.orders.send(Order::Known);
    }

    /// Does this from now on, until it is done, in the place of what was ordered before. Does not wait.
    pub(crate) fn order(&self, step: KeyStep) {
        let _ended_with_the_process = self.inner.orders.send(Order::Step(step));
    }

    /// Somebody has other keys. Does not wait.
    pub(crate) fn foreign(&self) {
        if !self.inner.foreign.swap(true, Ordering::AcqRel) {
            let _ended_with_the_process = self.inner.orders.send(Order::Foreign);
        }
    }

    /// Makes a key of this number, and keeps it. It is none of the cluster's before the log agrees.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn make(&self, number: u32) -> Result<KeyMark, String> {
        let (sender, made) = sync_channel(1);
        let _ended_with_the_process = self.inner.orders.send(Order::Make(number, sender));
        made.recv_timeout(MAKE_WITHIN)
            .unwrap_or_else(|_| Err("the new key was not made and durable in time".to_owned()))
    }

    /// A machine asks for the keys: they are for the member that it says it is, if it has shown that.
    pub(crate) fn give(&self, ask: &KeyAsk) -> Option<KeysGiven> {
        let known = self.known();
        let machine = known.machines.get(&ask.member)?;
        let ring = self.ring();
        // A key that is newer than what is known of the members may have been made because one of them is none any more.
        if !ask.is_of(&machine.0, &self.inner.cluster) || ring.newest() > known.upto {
            return None;
        }
        tracing::info!(node = %ask.member, "a member asks for the cluster's keys, and is given them");
        ask.give(&ring, self.inner.me, &self.inner.secret).ok()
    }

    /// Begins to work: the guard and the channels get the keys that the file has.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(&self, guard: GuardLine, links: Links, inbox: Inbox) -> std::io::Result<()> {
        let Some(orders) = lock(&self.inner.waiting).take() else { return Ok(()) };
        let worker = Worker {
            keys: self.inner.clone(),
            guard,
            links,
            inbox,
            step: None,
            asked: None,
            told: false,
            failed: String::new(),
            unkept: false,
            unsettled: false,
            renewed: false,
        };
        std::thread::Builder::new().name("keys".into()).spawn(move || worker.work(&orders)).map(drop)
    }
}

fn mark(key: &ClusterKey) -> KeyMark {
    KeyMark(key.commitment())
}

struct Worker {
    keys: Arc<Inner>,
    guard: GuardLine,
    links: Links,
    inbox: Inbox,
    /// What is to be done.
    step: Option<KeyStep>,
    /// When the others were asked last without an order.
    asked: Option<Instant>,
    /// The others do not know this node's key, and that was said.
    told: bool,
    /// Why something could not be done, as it was said last.
    failed: String,
    /// What the log says of the machines is not kept yet.
    unkept: bool,
    /// The file has keys that guard or channels may not have yet.
    unsettled: bool,
    /// These keys came without an order, and that is not told yet.
    renewed: bool,
}

impl Worker {
    fn work(mut self, orders: &Receiver<Order>) {
        let ring = lock(&self.keys.ring).clone();
        while let Err(why) = self.guard.take_keys(&ring) {
            self.fails(why);
            std::thread::sleep(AGAIN);
        }
        self.tell();
        self.follow(orders);
    }

    fn follow(mut self, orders: &Receiver<Order>) {
        loop {
            let busy = self.step.is_some() || self.unkept || self.unsettled;
            let next = orders.recv_timeout(if busy { AGAIN } else { IDLE });
            match next {
                Ok(Order::Step(step)) => self.step = Some(step),
                Ok(Order::Make(number, made)) => {
                    let _nobody_waits_any_more = made.try_send(self.make(number));
                }
                Ok(Order::Known) => self.unkept = true,
                Ok(Order::Foreign) => self.foreign(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Err(why) = self.go_on() {
                self.fails(why);
            }
        }
    }

    /// Does what is left to be done, if anything. Keys that the file has are brought to guard and channels whether or not
    /// there is an order: without them no channel may open, and then no order comes.
    fn go_on(&mut self) -> Result<(), String> {
        if self.unsettled {
            self.settle("again")?;
            self.failed.clear();
        }
        if std::mem::take(&mut self.renewed) {
            self.is_well(RENEWED);
        }
        self.keep_known()?;
        if let Some(step) = self.step {
            self.carry_out(step)?;
            self.step = None;
            self.failed.clear();
        }
        Ok(())
    }

    /// Before any key that is newer: see [`Known::upto`].
    fn keep_known(&mut self) -> Result<(), String> {
        if self.unkept {
            let known = lock(&self.keys.known).clone();
            known.keep(&self.keys.state)?;
            self.unkept = false;
        }
        Ok(())
    }

    fn fails(&mut self, why: String) {
        if self.failed != why {
            tracing::warn!("the cluster's key: {why}; trying again");
            self.failed = why;
        }
    }

    /// One step of the log's. Doing it twice is doing it once.
    fn carry_out(&mut self, step: KeyStep) -> Result<(), String> {
        let ring = lock(&self.keys.ring).clone();
        match step {
            KeyStep::Get(number, wanted) => {
                let fits = |other: &KeyRing| {
                    let of_number = other.keys().find(|(known, _)| *known == number);
                    of_number.is_some_and(|(_, key)| wanted.is_none_or(|wanted| wanted == mark(key)))
                };
                if fits(&ring) {
                    self.tell();
                    return Ok(());
                }
                let made = made::all(&self.keys.path).into_iter().find(|key| wanted == Some(mark(key)));
                if let Some(made) = made.filter(|_| ring.using().wrapping_add(1) == number) {
                    self.take(ring.with_next(made), "own")?;
                } else {
                    let wanted = |other: &KeyRing| fits(other) && ring.is_behind(other);
                    self.take(asking::ask_all(&self.keys, &wanted).map_err(|none| none.why)?, "get")?;
                }
                made::forget(&self.keys.path);
                Ok(())
            }
            KeyStep::Use(number) if ring.using() < number && ring.newest() == number => {
                self.take(ring.using_newest(), "use")
            }
            KeyStep::Forget(number) if ring.using() == number => self.take(ring.current_alone(), "forget"),
            // The log does not know yet how far this machine is.
            KeyStep::Use(_) | KeyStep::Forget(_) | KeyStep::Say(..) => {
                self.tell();
                Ok(())
            }
        }
    }

    /// Takes another ring: file, guard, channels, and then it is said.
    fn take(&mut self, ring: KeyRing, doing: &str) -> Result<(), String> {
        let inner = &self.keys;
        crash_at(&inner.run, &format!("{doing}-before"));
        identity::write_keys(&inner.path, &ring)
            .map_err(|error| format!("cannot write {}: {error}", inner.path.display()))?;
        *lock(&inner.ring) = ring.clone();
        self.unsettled = true;
        crash_at(&inner.run, &format!("{doing}-durable"));
        self.settle(doing)
    }

    /// Guard and channels get what the file has.
    fn settle(&mut self, doing: &str) -> Result<(), String> {
        let ring = lock(&self.keys.ring).clone();
        self.guard.take_keys(&ring)?;
        crash_at(&self.keys.run, &format!("{doing}-guard"));
        self.links.set_ring(&ring);
        self.unsettled = false;
        tracing::info!("the cluster's keys here: {ring:?}");
        self.tell();
        Ok(())
    }

    /// Says which keys this machine has.
    fn tell(&mut self) {
        let ring = lock(&self.keys.ring).clone();
        let marks = ring.keys().map(|(number, key)| (number, mark(key))).collect();
        let held = KeysHeld { using: ring.using(), marks };
        let machine = MachineKey(self.keys.secret.public());
        self.inbox.push(Input::Keys { held, machine });
    }

    fn make(&mut self, number: u32) -> Result<KeyMark, String> {
        let ring = lock(&self.keys.ring).clone();
        if ring.using().wrapping_add(1) != number {
            return Err(format!(
                "this node uses key number {}, and {number} is to be the next one: try again in a moment",
                ring.using()
            ));
        }
        let key = ClusterKey::generate().map_err(|error| error.to_string())?;
        let mark = mark(&key);
        made::keep(&self.keys.path, &key).map_err(|error| {
            format!("cannot keep the new key beside {}: {error}", self.keys.path.display())
        })?;
        crash_at(&self.keys.run, "make-durable");
        Ok(mark)
    }

    /// The key may have been changed while this node was not there. Nobody but a member whose machine the log knows is
    /// believed.
    fn foreign(&mut self) {
        self.keys.foreign.store(false, Ordering::Release);
        let now = Instant::now();
        if self.asked.is_some_and(|at| now - at < ASK_AGAIN) {
            return;
        }
        let using = lock(&self.keys.ring).using();
        let found = asking::ask_all(&self.keys, &|other: &KeyRing| other.using() > using);
        self.asked = Some(Instant::now());
        match found {
            Ok(ring) => {
                if let Err(why) = self.take(ring, "renew") {
                    self.fails(why);
                }
                self.renewed = lock(&self.keys.ring).using() > using;
            }
            Err(none) if none.nobody_knows_us => {
                tracing::debug!(
                    "another key is in use somewhere, and none is given to this node: {}",
                    none.why
                );
                if !std::mem::replace(&mut self.told, true) {
                    let text =
                        "the other members use another key of the cluster, and do not know this machine";
                    let advice = "if it is to be a member: on a member, regent token; here, let it join again under its name: \
                                  docs/security.md, \"A machine that is not known any more\"";
                    let (topic, text, advice) = (TOPIC.into(), text.into(), advice.into());
                    self.inbox.push(Input::Notice(Notice::Trouble { topic, text, advice }));
                }
            }
            // Somebody has called who is of another cluster, or behind: a member has said that all is well.
            Err(none) if none.answered && self.told => {
                self.is_well("the other members use the same key of the cluster")
            }
            Err(_) => {}
        }
    }

    fn is_well(&mut self, text: &str) {
        tracing::info!("{text}");
        self.inbox.push(Input::Notice(Notice::Well { topic: TOPIC.into(), text: text.into() }));
        self.told = false;
    }
}

fn socket(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

#[cfg(test)]
mod tests;
