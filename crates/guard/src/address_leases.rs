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
    /// The table refused something when it was last told.
    refused: bool,
}

/// What stands at the interfaces, for whoever is about to add an address there.
#[derive(Clone)]
pub(crate) struct Doorkeeper {
    doors: Option<Doors>,
    troubles: Arc<Mutex<Troubles>>,
}

/// Why the kernel does not end every lease, as each of those said who find out: one that is well mends nothing of
/// another's trouble.
#[derive(Debug, Default)]
struct Troubles([Option<String>; 3]);

#[derive(Debug, Clone, Copy)]
enum Who {
    /// Who began this all. Its trouble stays.
    Beginning,
    /// The table of moments.
    Table,
    /// The programs at the interfaces.
    Doors,
}

impl Troubles {
    /// Takes note, and says whether that is news.
    fn note(&mut self, who: Who, trouble: Option<String>) -> bool {
        let before = &mut self.0[who as usize];
        let is_new = *before != trouble;
        *before = trouble;
        is_new
    }

    fn state(&self) -> AddressLeases {
        let first = self.0.iter().flatten().next();
        first.cloned().map_or(AddressLeases::Kernel, AddressLeases::GuardAlone)
    }
}

impl Leases {
    /// Sees what the kernel can do, and has it know `left` before anything of an earlier guard's is replaced.
    pub(crate) fn begin(left: &[HeldOver]) -> Self {
        let (made, lacks) = match address_lease::begin() {
            Ok(made) => (Some(made), None),
            Err(why) => (None, Some(why)),
        };
        let (deadlines, doors) = made.unzip();
        let doorkeeper = Doorkeeper { doors, troubles: Arc::default() };
        doorkeeper.note(Who::Beginning, lacks);
        let mut leases = Self { deadlines, doorkeeper, refused: false };
        leases.keep(left);
        leases
    }

    /// For whoever never has an address.
    pub(crate) fn none() -> Self {
        let doorkeeper = Doorkeeper { doors: None, troubles: Arc::default() };
        Self { deadlines: None, doorkeeper, refused: false }
    }

    /// Has the kernel know until when what would be `left` may be answered: never longer than the right to it lasts.
    pub(crate) fn keep(&mut self, left: &[HeldOver]) {
        let Some(deadlines) = &mut self.deadlines else { return };
        let trouble = deadlines.keep(left.iter().filter_map(end_of)).err();
        // Mostly there is nothing to say, and this thread waits for nobody.
        if trouble.is_some() || self.refused {
            self.refused = trouble.is_some();
            self.doorkeeper.note(Who::Table, trouble);
        }
    }

    /// Whether the kernel ends every lease of an address here.
    pub(crate) fn end_all(&self) -> bool {
        self.deadlines.is_some() && !rule_off::keeps() && self.doorkeeper.state() == AddressLeases::Kernel
    }

    pub(crate) fn doorkeeper(&self) -> &Doorkeeper {
        &self.doorkeeper
    }
}

/// The address, if it is one, and the moment at which its right ends.
fn end_of(left: &HeldOver) -> Option<(IpAddr, Moment)> {
    let Holding::Address { address, .. } = &left.held.holding else { return None };
    let end = match left.right {
        _ if rule_off::kernel_answers_on() => NEVER,
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
        let keep = move || doors.keep_standing(|how| own.note(Who::Doors, how.err()));
        if let Err(error) = std::thread::Builder::new().name("doors".into()).spawn(keep) {
            self.note(Who::Beginning, Some(format!("cannot make a thread: {error}")));
        }
    }

    /// What the kernel is to end must be able to end before it begins. Where it is not, the guard ends it alone, and
    /// says so.
    pub(crate) fn before(&self, act: &Act) {
        let (Some(doors), Act::AddAddress { interface, .. }) = (&self.doors, act) else { return };
        if let Err(why) = doors.stand_at(interface) {
            self.note(Who::Doors, Some(why));
        }
    }

    /// Nothing is held any more, and nobody comes after.
    pub(crate) fn leave(&self) {
        self.doors.iter().for_each(Doors::leave);
    }

    /// Who ends the leases of addresses here.
    pub(crate) fn state(&self) -> AddressLeases {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).state()
    }

    fn note(&self, who: Who, trouble: Option<String>) {
        let said = trouble.clone();
        // Nobody waits for this lock while something is written to the log.
        let is_new = self.troubles.lock().unwrap_or_else(PoisonError::into_inner).note(who, trouble);
        if let Some(why) = said.filter(|_| is_new) {
            tracing::warn!("{why}: this guard alone ends the leases of addresses");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(why: &str) -> AddressLeases {
        AddressLeases::GuardAlone(why.into())
    }

    #[test]
    fn what_the_table_refuses_and_where_no_program_stands_mend_each_other_not() {
        let doorkeeper = Leases::none().doorkeeper;
        assert_eq!(doorkeeper.state(), AddressLeases::Kernel);
        doorkeeper.note(Who::Table, Some("full".into()));
        doorkeeper.note(Who::Doors, None);
        assert_eq!(doorkeeper.state(), alone("full"));
        doorkeeper.note(Who::Doors, Some("lan0".into()));
        assert_eq!(doorkeeper.state(), alone("full"), "the first of them is said");
        doorkeeper.note(Who::Table, None);
        assert_eq!(doorkeeper.state(), alone("lan0"));
        doorkeeper.note(Who::Doors, None);
        assert_eq!(doorkeeper.state(), AddressLeases::Kernel);
    }
}
