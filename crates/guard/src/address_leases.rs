//! What the guard tells the kernel about its addresses: until when each may be answered. Should this process be
//! stopped, killed or starved, the kernel ends them alone.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use regent_agents::address_lease::{self, Deadlines, Doors, NEVER};
use regent_lease::list::{HeldOver, Inherited};
use regent_model::Moment;
use regent_model::holding::{Act, Holding};

use crate::envelope::AddressLeases;
use crate::rule_off;

/// The keeper's part: it alone says until when.
pub(crate) struct Leases {
    deadlines: Option<Deadlines>,
    doorkeeper: Doorkeeper,
}

/// What stands at the interfaces, for whoever is about to add an address there.
#[derive(Clone)]
pub(crate) struct Doorkeeper {
    doors: Option<Doors>,
    state: Arc<Mutex<AddressLeases>>,
}

impl Leases {
    /// Sees what the kernel can do, and has it know `left` before anything of an earlier guard's is replaced.
    pub(crate) fn begin(left: &[HeldOver]) -> Self {
        let (made, state) = match address_lease::begin() {
            Ok((deadlines, doors)) => (Some((deadlines, doors)), AddressLeases::Kernel),
            Err(why) => (None, AddressLeases::GuardAlone(why)),
        };
        let (deadlines, doors) = made.unzip();
        let doorkeeper = Doorkeeper { doors, state: Arc::new(Mutex::new(state)) };
        let mut leases = Self { deadlines, doorkeeper };
        leases.keep(left);
        leases
    }

    /// For whoever never has an address.
    pub(crate) fn none() -> Self {
        Self { deadlines: None, doorkeeper: Doorkeeper { doors: None, state: Arc::default() } }
    }

    /// Has the kernel know until when what would be `left` may be answered: never longer than the right to it lasts.
    pub(crate) fn keep(&mut self, left: &[HeldOver]) {
        let Some(deadlines) = &mut self.deadlines else { return };
        if let Err(why) = deadlines.keep(left.iter().filter_map(end_of)) {
            self.doorkeeper.note(AddressLeases::GuardAlone(why));
        }
    }

    pub(crate) fn doorkeeper(&self) -> &Doorkeeper {
        &self.doorkeeper
    }
}

/// The address, if it is one, and the moment at which its right ends.
fn end_of(left: &HeldOver) -> Option<(IpAddr, Moment)> {
    let Holding::Address { address, .. } = &left.held.holding else { return None };
    let end = match left.right {
        _ if rule_off::keeps() => NEVER,
        Inherited::Lease(bounds) => bounds.deadline,
        Inherited::WithoutLease => NEVER,
    };
    Some((*address, end))
}

impl Doorkeeper {
    /// Keeps the doors on a thread of its own, for as long as the process lives.
    pub(crate) fn start(&self) {
        let Some(doors) = self.doors.clone() else { return };
        let own = self.clone();
        let keep = move || {
            doors.keep_standing(|how| {
                own.note(how.map_or_else(AddressLeases::GuardAlone, |()| AddressLeases::Kernel))
            });
        };
        if let Err(error) = std::thread::Builder::new().name("doors".into()).spawn(keep) {
            self.note(AddressLeases::GuardAlone(format!("cannot make a thread: {error}")));
        }
    }

    /// What the kernel is to end must be able to end before it begins. Where it is not, the guard ends it alone, and
    /// says so.
    pub(crate) fn before(&self, act: &Act) {
        let (Some(doors), Act::AddAddress { interface, .. }) = (&self.doors, act) else { return };
        if let Err(why) = doors.stand_at(interface) {
            self.note(AddressLeases::GuardAlone(why));
        }
    }

    /// Nothing is held any more, and nobody comes after.
    pub(crate) fn leave(&self) {
        self.doors.iter().for_each(Doors::leave);
    }

    /// Who ends the leases of addresses here.
    pub(crate) fn state(&self) -> AddressLeases {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, now: AddressLeases) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != now {
            if let AddressLeases::GuardAlone(why) = &now {
                tracing::warn!("{why}: this guard alone ends the leases of addresses");
            }
            *state = now;
        }
    }
}
