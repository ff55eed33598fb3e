//! The disk that decides between two nodes: an area of it is read and written here, and looked after.
//!
//! A disk may hang for ever. Whatever touches it does so on a thread of its own, which is waited for no longer than
//! [`Limits::within`]; then the answer is that it failed, and the thread is left to its fate. What matters for that is A4 of
//! `docs/arbiter.md`: of a life one of whose writes failed, or was not answered in time, nothing is written any more.

mod area;
mod look;
mod making;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regent_arbiter::{Input, Record};
use regent_model::NodeId;
use regent_model::action::Notice;

pub use area::Place;
pub use look::{Look, Shows, look_at};
pub use making::{Made, make, mark, marked, unmark};

use crate::sync::lock;

/// How long is waited, and when is said what.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A request that the disk has not answered by then has failed.
    pub within: Duration,
    /// From one look at the disk to the next.
    pub look_every: Duration,
    /// A disk that takes longer to be looked at is slow.
    pub slow: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(10),
            look_every: Duration::from_secs(10),
            slow: Duration::from_secs(1),
        }
    }
}

/// What is asked for by a person may take so long.
const PATIENCE: Duration = Duration::from_secs(12);

/// Threads that wait for the disk, at most: one that hangs is not joined by many.
const HANGING_MAX: usize = 4;

/// So many disks are asked about, or hang, at a time: any name may be asked for.
const DISKS_MAX: usize = 8;

/// What is to be done in the area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Write this record.
    Write(Record),
    /// Read the slots of two nodes.
    Read {
        /// This one.
        own: NodeId,
        /// The other one.
        other: NodeId,
    },
}

enum Work {
    At(Option<Place>),
    Do { number: u64, place: Place, act: Act },
}

/// The hands on the disk of the arbiter.
pub struct DiskArbiter {
    work: Sender<Work>,
    looks: Sender<Option<Place>>,
}

impl DiskArbiter {
    /// Begins. `answer` is called once for each [`Self::act`], in their order; `tell` when something is not as it should
    /// be with the disk, and when it is well again.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        limits: Limits,
        answer: impl Fn(u64, Input) + Send + 'static,
        tell: impl Fn(Notice) + Send + 'static,
    ) -> io::Result<Self> {
        let (work, works) = channel();
        let (looks, places) = channel();
        let acting = move || act(&works, limits, &answer);
        std::thread::Builder::new().name("arbiter".into()).spawn(acting)?;
        let looking = move || look::keep_looking(&places, limits, &tell);
        std::thread::Builder::new().name("arbiter-look".into()).spawn(looking)?;
        Ok(Self { work, looks })
    }

    /// The area is here from now on, or there is none. It is looked at.
    pub fn place(&self, place: Option<Place>) {
        let _ended_with_the_process = self.work.send(Work::At(place.clone()));
        let _ended_with_the_process = self.looks.send(place);
    }

    /// Does this in the area at `place`; if that is not the one told last, it fails and nothing is done.
    pub fn act(&self, number: u64, place: Place, act: Act) {
        let _ended_with_the_process = self.work.send(Work::Do { number, place, act });
    }
}

fn act(works: &Receiver<Work>, limits: Limits, answer: &impl Fn(u64, Input)) {
    let mut at = None;
    // The last life of a daemon here of whose writes one may still be under way.
    let mut unsure: Option<u64> = None;
    let mut hanging = Hanging::default();
    while let Ok(work) = works.recv() {
        let (number, place, act) = match work {
            Work::At(place) if at == place => continue,
            Work::At(place) => {
                // What waits for the disk before has nothing to do with this one.
                (at, hanging) = (place, Hanging::default());
                continue;
            }
            Work::Do { number, place, act } => (number, place, act),
        };
        let here = at.as_ref() == Some(&place);
        let input = match act {
            Act::Write(record) => {
                let refused = !here || unsure.is_some_and(|life| record.life <= life);
                if !refused && write(&hanging, limits, place, record) {
                    Input::Written
                } else {
                    unsure = unsure.max(Some(record.life));
                    Input::WriteFailed
                }
            }
            Act::Read { own, other } => {
                let slots = if here { read(&hanging, limits, place, own, other) } else { None };
                slots.unwrap_or(Input::ReadFailed)
            }
        };
        answer(number, input);
    }
}

/// Whether the record is known to be on the disk.
fn write(hanging: &Hanging, limits: Limits, place: Place, record: Record) -> bool {
    let given_up = Arc::new(AtomicBool::new(false));
    let seen = given_up.clone();
    let done = hanging.within(limits.within, move || place.write(&record, &seen));
    given_up.store(true, Ordering::SeqCst);
    log(done.as_ref().map(|done| done.as_ref().map(drop)));
    matches!(done, Some(Ok(())))
}

fn read(hanging: &Hanging, limits: Limits, place: Place, own: NodeId, other: NodeId) -> Option<Input> {
    let done = hanging.within(limits.within, move || place.read(own, other));
    log(done.as_ref().map(|done| done.as_ref().map(drop)));
    let (own, other) = done?.ok()?;
    Some(Input::Slots { own, other })
}

fn log(done: Option<Result<(), &String>>) {
    match done {
        Some(Ok(())) => {}
        Some(Err(why)) => tracing::warn!("the arbiter's disk: {why}"),
        None => tracing::warn!("the arbiter's disk does not answer"),
    }
}

/// What `work` gives, for which this disk is asked.
///
/// # Errors
/// It does not answer; the thread that asked it waits on, alone.
pub fn in_time<T: Send + 'static>(
    disk: &Path,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    // Each disk by itself: another one answers while this one hangs.
    static HANGING: Mutex<BTreeMap<PathBuf, Hanging>> = Mutex::new(BTreeMap::new());
    let hanging = {
        let mut disks = lock(&HANGING);
        disks.retain(|_, hanging| hanging.is_asked());
        if disks.len() >= DISKS_MAX && !disks.contains_key(disk) {
            return Err(format!("{DISKS_MAX} other disks are asked, or do not answer: try again in a while"));
        }
        disks.entry(disk.to_owned()).or_default().clone()
    };
    let within = PATIENCE;
    hanging
        .within(within, work)
        .unwrap_or_else(|| Err(format!("the disk does not answer within {} s", within.as_secs())))
}

/// How many threads wait for the disk and were given up.
#[derive(Clone, Default)]
pub(crate) struct Hanging(Arc<AtomicUsize>);

impl Hanging {
    /// Whether somebody waits for the disk, or was left to wait for it.
    fn is_asked(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// What `work` gives, if it does so in time. If not, its thread goes on alone.
    pub(crate) fn within<T: Send + 'static>(
        &self,
        within: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.0.load(Ordering::SeqCst) >= HANGING_MAX {
            return None;
        }
        let (sender, done) = channel();
        let given_up = Arc::new(Mutex::new(false));
        let (count, was_given_up) = (self.0.clone(), given_up.clone());
        let thread = move || {
            let result = work();
            // Under the lock: either it is taken, or it was counted and is not any more.
            let given_up = lock(&was_given_up);
            if *given_up {
                count.fetch_sub(1, Ordering::SeqCst);
            } else {
                let _is_taken_below = sender.send(result);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("arbiter-disk".into()).spawn(thread) {
            tracing::warn!(%error, "cannot make a thread to ask the arbiter's disk");
            return None;
        }
        match done.recv_timeout(within) {
            Ok(result) => Some(result),
            Err(RecvTimeoutError::Timeout) => {
                let mut given_up = lock(&given_up);
                // It may have come just now.
                done.try_recv().ok().or_else(|| {
                    *given_up = true;
                    self.0.fetch_add(1, Ordering::SeqCst);
                    None
                })
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}
