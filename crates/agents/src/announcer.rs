//! Repeats the announcements of every address that is held here, for as long as it is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::announce::Speaker;
use crate::netlink;
use crate::sync::{lock, wait_until};

/// When to repeat after the first announcement. A neighbour may refuse to change its mind within a second, a
/// switch may come late: hence more than once, and after more than a second.
const REPEATS_MS: [u64; 5] = [200, 500, 1200, 3000, 10_000];
/// And for as long as the address is held: switches forget after minutes.
const FOREVER: Duration = Duration::from_secs(60);

type Place = (String, IpAddr);

#[derive(Debug)]
struct Due {
    begun: Instant,
    done: usize,
    next: Instant,
}

#[derive(Default)]
struct State {
    due: BTreeMap<Place, Due>,
    speaker: Speaker,
    running: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The announcer of a node; its thread lives while there is something to announce.
#[derive(Default)]
pub(crate) struct Announcer(Arc<Shared>);

impl Announcer {
    /// Announces now and again later, until [`Announcer::stop`].
    ///
    /// # Errors
    /// The first announcement could not be sent, or no thread made; the repetitions are tried in any case.
    pub(crate) fn start(&self, interface: &str, address: IpAddr) -> Result<(), String> {
        let first = lock(&self.0.state).speaker.announce(interface, address);
        let begun = Instant::now();
        self.add(interface, address, Due { begun, done: 0, next: begun + repeat_after(0) })?;
        first
    }

    /// Sees to the slow repetitions of an address that was adopted; nothing when it is announced already.
    pub(crate) fn keep_up(&self, interface: &str, address: IpAddr) -> Result<(), String> {
        if lock(&self.0.state).due.contains_key(&(interface.to_owned(), address)) {
            return Ok(());
        }
        let now = Instant::now();
        self.add(interface, address, Due { begun: now, done: REPEATS_MS.len(), next: now })
    }

    /// No announcement of the address is sent after this returns.
    pub(crate) fn stop(&self, interface: &str, address: IpAddr) {
        lock(&self.0.state).due.remove(&(interface.to_owned(), address));
        self.0.changed.notify_all();
    }

    pub(crate) fn stop_all(&self) {
        lock(&self.0.state).due.clear();
        self.0.changed.notify_all();
    }

    fn add(&self, interface: &str, address: IpAddr, due: Due) -> Result<(), String> {
        let mut state = lock(&self.0.state);
        state.due.insert((interface.to_owned(), address), due);
        self.0.changed.notify_all();
        if !state.running {
            let shared = self.0.clone();
            std::thread::Builder::new()
                .name("regent-announce".into())
                .spawn(move || shared.work())
                .map_err(|e| format!("cannot make a thread to repeat announcements: {e}"))?;
            state.running = true;
        }
        Ok(())
    }
}

impl Shared {
    fn work(&self) {
        let mut state = lock(&self.state);
        while let Some(next) = state.due.values().map(|due| due.next).min() {
            let now = Instant::now();
            if next > now {
                state = wait_until(&self.changed, state, Some(next));
                continue;
            }
            // The lock is kept while sending, so that nothing is sent once `stop` has returned.
            let State { due, speaker, .. } = &mut *state;
            due.retain(|(interface, address), due| {
                due.next > now || due.repeat(speaker, interface, *address)
            });
        }
        state.running = false;
    }
}

impl Due {
    /// Announces again, if the address is still there: the guard may have let go of it. False ends it.
    fn repeat(&mut self, speaker: &mut Speaker, interface: &str, address: IpAddr) -> bool {
        match is_here(interface, address) {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!(%interface, %address, "no longer here, announced no more");
                return false;
            }
            // Not known is not here: nothing is announced on hope.
            Err(error) => {
                tracing::warn!(%interface, %address, %error, "not announced this time");
                self.next = Instant::now() + repeat_after(0);
                return true;
            }
        }
        if let Err(error) = speaker.announce(interface, address) {
            tracing::warn!(%error, "an announcement was not sent");
        }
        self.done += 1;
        self.next = match REPEATS_MS.get(self.done) {
            Some(_) => self.begun + repeat_after(self.done),
            None => Instant::now() + FOREVER,
        };
        true
    }
}

fn repeat_after(done: usize) -> Duration {
    REPEATS_MS.get(done).map_or(FOREVER, |ms| Duration::from_millis(*ms))
}

fn is_here(interface: &str, address: IpAddr) -> Result<bool, netlink::Error> {
    let links = netlink::links()?;
    let Some(link) = links.iter().find(|l| l.name == interface) else { return Ok(false) };
    Ok(netlink::addresses()?.iter().any(|a| a.link == link.index && a.address == address))
}
