//! What may take long is done here, on threads of its own, and the keeper is told how it went.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use regent_agents::acts;
use regent_lease::io::ActId;
use regent_model::holding::{Act, Held};
use regent_model::{Incarnation, Moment};
use rustix::event::{EventfdFlags, eventfd};

use crate::address_leases::Doorkeeper;
use crate::durable::Counter;
use crate::ladder::{self, Released};
use crate::{clock, realtime};

/// A counter that could not be written is tried again after this.
const COUNT_AGAIN: Duration = Duration::from_millis(500);

/// What the keeper wants done.
pub(crate) enum Order {
    /// Perform an act, if it is not too late.
    Perform { id: ActId, act: Act, not_after: Moment },
    /// Let go of all this.
    LetGo { held: Vec<Held>, deadline: Moment },
    /// Number a new incarnation, durably.
    Number,
}

/// What came of it.
pub(crate) enum Outcome {
    /// An act is over.
    Performed { id: ActId, result: Result<(), String> },
    /// It was too late for an act.
    NotBegun { id: ActId, act: Act },
    /// One holding was let go, or not.
    Released(Released),
    /// The number of the new incarnation is durable.
    Numbered(Incarnation),
}

/// The keeper's end.
pub(crate) struct Workers {
    orders: Sender<Order>,
    outcomes: Receiver<Outcome>,
    bell: Arc<OwnedFd>,
}

/// The workers' end.
#[derive(Clone)]
struct Desk {
    outcomes: Sender<Outcome>,
    bell: Arc<OwnedFd>,
    counter: Counter,
    doorkeeper: Doorkeeper,
}

impl Workers {
    /// Starts the thread that hands work to others.
    ///
    /// # Errors
    /// In words: the system gives no thread or no descriptor.
    pub(crate) fn start(counter: Counter, doorkeeper: Doorkeeper) -> Result<Self, String> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| format!("cannot make an event descriptor: {error}"))?;
        let bell = Arc::new(bell);
        let (orders, taken) = channel();
        let (results, outcomes) = channel();
        let desk = Desk { outcomes: results, bell: bell.clone(), counter, doorkeeper };
        let foreman = move || {
            realtime::elevate(realtime::RELEASE);
            taken.into_iter().for_each(|order| desk.begin(order));
        };
        std::thread::Builder::new()
            .name("foreman".into())
            .spawn(foreman)
            .map_err(|error| format!("cannot make a thread: {error}"))?;
        Ok(Self { orders, outcomes, bell })
    }

    /// Begins and returns at once.
    pub(crate) fn order(&self, order: Order) {
        // The other end lives as long as this one: its loop ends when this sender is dropped.
        let _always_taken = self.orders.send(order);
    }

    /// What has come since the last call.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }

    /// Readable when there are outcomes.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// To be called when the bell was heard, before taking the outcomes.
    pub(crate) fn answer_bell(&self) {
        let mut count = [0; 8];
        let _nothing_when_not_rung = rustix::io::read(&*self.bell, &mut count);
    }
}

impl Desk {
    fn tell(&self, outcome: Outcome) {
        let _keeper_has_ended = self.outcomes.send(outcome);
        let _full_means_rung = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }

    /// Works on a thread of its own; where there is none, the foreman does it himself.
    fn begin(&self, order: Order) {
        let (desk, slot) = (self.clone(), Arc::new(std::sync::Mutex::new(Some(order))));
        let taken = slot.clone();
        let spawned = std::thread::Builder::new().name("act".into()).spawn(move || desk.work(take(&taken)));
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot make a thread");
            self.work(take(&slot));
        }
    }

    fn work(&self, order: Option<Order>) {
        match order {
            Some(Order::Perform { id, act, not_after }) => {
                self.doorkeeper.before(&act);
                let in_time = clock::now() < not_after || crate::rule_off::is_late();
                self.tell(if in_time {
                    Outcome::Performed { id, result: acts::perform(&act) }
                } else {
                    Outcome::NotBegun { id, act }
                });
            }
            Some(Order::LetGo { held, deadline }) => {
                realtime::elevate(realtime::RELEASE);
                let report = |released| self.tell(Outcome::Released(released));
                ladder::let_go(held, clock::instant_of(deadline), acts::release, &report);
            }
            Some(Order::Number) => loop {
                match self.counter.next() {
                    Ok(number) => break self.tell(Outcome::Numbered(Incarnation(number))),
                    Err(error) => tracing::error!("no new incarnation can begin: {error}"),
                }
                std::thread::sleep(COUNT_AGAIN);
            },
            None => {}
        }
    }
}

fn take(slot: &std::sync::Mutex<Option<Order>>) -> Option<Order> {
    slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
}
