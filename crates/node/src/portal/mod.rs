//! Portals: a small page over HTTP on a service address, that says which node has it.
//!
//! Which are open and what they say is the engine's word ([`Portal`]); here they are listened on. One that is not open
//! any more is closed at once, with every connection to it: that is done before the address is released.

mod http;
mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regent_api::portal::{Portal, PortalPage};
use regent_model::action::Notice;

/// What one portal puts up with.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at the same time; more are turned away.
    connections: usize,
    /// How long one connection may take from its beginning to its end.
    time: Duration,
    /// How long after a failed attempt to listen it is tried again.
    again: Duration,
}

const LIMITS: Limits =
    Limits { connections: 16, time: Duration::from_secs(5), again: Duration::from_millis(250) };
/// So many failed attempts to listen are told as trouble: the address may be about to come.
const TRIES_UNTOLD: u32 = 8;

type Tell = Arc<dyn Fn(Notice) + Send + Sync>;

/// All portals of this node.
pub(crate) struct Portals {
    doors: Mutex<BTreeMap<(IpAddr, u16), Arc<Door>>>,
    opened: Sender<Arc<Door>>,
    configuration: PathBuf,
    limits: Limits,
}

/// One portal that is to be open.
struct Door {
    address: IpAddr,
    port: u16,
    limits: Limits,
    /// Where a copy of the configuration in force lies.
    configuration: PathBuf,
    state: Mutex<DoorState>,
}

struct DoorState {
    page: PortalPage,
    closed: bool,
    listener: Option<Arc<TcpListener>>,
    /// The connections that are being served, by a number of their own.
    connections: BTreeMap<u64, TcpStream>,
    next: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Portals {
    /// Begins with none. `configuration` is the path that the pages name, and `tell` hears of portals that nobody can
    /// reach.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(
        configuration: PathBuf,
        tell: impl Fn(Notice) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::with(configuration, tell, LIMITS)
    }

    fn with(
        configuration: PathBuf,
        tell: impl Fn(Notice) + Send + Sync + 'static,
        limits: Limits,
    ) -> io::Result<Self> {
        let (opened, doors) = channel();
        let tell: Tell = Arc::new(tell);
        // On a thread of its own: who sets the portals has a priority that their threads must not inherit.
        std::thread::Builder::new().name("portals".into()).spawn(move || open_all(&doors, &tell))?;
        Ok(Self { doors: Mutex::default(), opened, configuration, limits })
    }

    /// These are open from now on, and no others. Waits for nothing; those that are closed take no connection any more
    /// when this returns.
    pub(crate) fn set(&self, wanted: Vec<Portal>) {
        let mut doors = lock(&self.doors);
        doors.retain(|(address, port), door| {
            let stays = wanted.iter().any(|p| (p.address, p.port) == (*address, *port));
            if !stays {
                door.close();
            }
            stays
        });
        for Portal { address, port, page } in wanted {
            if let Some(door) = doors.get(&(address, port)) {
                lock(&door.state).page = page;
                continue;
            }
            let state =
                DoorState { page, closed: false, listener: None, connections: BTreeMap::new(), next: 0 };
            let configuration = self.configuration.clone();
            let door = Door { address, port, limits: self.limits, configuration, state: Mutex::new(state) };
            let door = Arc::new(door);
            doors.insert((address, port), door.clone());
            let _ended_with_the_process = self.opened.send(door);
        }
    }
}

fn open_all(doors: &Receiver<Arc<Door>>, tell: &Tell) {
    for door in doors {
        let tell = tell.clone();
        let thread = std::thread::Builder::new().name("portal".into());
        if let Err(error) = thread.spawn(move || door.serve(&tell)) {
            tracing::warn!(%error, "cannot make a thread for a portal");
        }
    }
}

impl Door {
    /// Nobody is served any more, also those who are in the middle of it.
    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        if let Some(listener) = state.listener.take() {
            let _it_is_closed_already = rustix::net::shutdown(&*listener, rustix::net::Shutdown::Both);
        }
        for connection in std::mem::take(&mut state.connections).into_values() {
            let _it_is_closed_already = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    fn serve(self: &Arc<Self>, tell: &Tell) {
        let Some(listener) = self.listen(tell) else { return };
        loop {
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(_) if self.is_closed() => return,
                Err(error) => {
                    tracing::debug!(%error, "a portal cannot accept for the moment");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    /// Listens as soon as that is possible; nothing when the portal is closed before.
    fn listen(&self, tell: &Tell) -> Option<Arc<TcpListener>> {
        let topic = format!("portal {}:{}", self.address, self.port);
        let mut tries = 0_u32;
        loop {
            let made = TcpListener::bind((self.address, self.port)).map(Arc::new);
            let mut state = lock(&self.state);
            if state.closed {
                drop(state);
                if tries >= TRIES_UNTOLD {
                    tell(Notice::Well { topic, text: "its address is not here any more".to_owned() });
                }
                return None;
            }
            match made {
                Ok(listener) => {
                    state.listener = Some(listener.clone());
                    drop(state);
                    if tries >= TRIES_UNTOLD {
                        tell(Notice::Well { topic, text: "the portal is open".to_owned() });
                    }
                    return Some(listener);
                }
                Err(error) => {
                    drop(state);
                    tries = tries.saturating_add(1);
                    if tries == TRIES_UNTOLD {
                        let text =
                            format!("nobody can reach the portal at {}:{}: {error}", self.address, self.port);
                        let advice = "let what listens there use another port, or change `portal`".to_owned();
                        tell(Notice::Trouble { topic: topic.clone(), text, advice });
                    }
                    std::thread::sleep(self.limits.again);
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream) {
        let number = {
            let mut state = lock(&self.state);
            let Ok(own) = stream.try_clone() else { return };
            if state.closed {
                return;
            }
            if state.connections.len() >= self.limits.connections {
                None
            } else {
                state.next += 1;
                let number = state.next;
                state.connections.insert(number, own);
                Some(number)
            }
        };
        let Some(number) = number else {
            http::turn_away(&stream);
            return;
        };
        let door = self.clone();
        let serve = move || {
            let page = || page::answer_for(&lock(&door.state).page, &door.configuration);
            if let Err(error) = http::serve(&stream, door.limits.time, page) {
                tracing::debug!(%error, "a client of a portal was let go");
            }
            lock(&door.state).connections.remove(&number);
        };
        if let Err(error) = std::thread::Builder::new().name("portal-client".into()).spawn(serve) {
            tracing::warn!(%error, "cannot make a thread for a client of a portal");
            lock(&self.state).connections.remove(&number);
        }
    }
}
