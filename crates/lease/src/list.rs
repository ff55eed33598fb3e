//! The release list: everything that must be let go when the lease ends, known before it is acquired (L12).

use std::collections::BTreeMap;

use regent_model::holding::{Held, Holding};
use regent_model::{Epoch, GroupName, Incarnation, Moment};
use serde::{Deserialize, Serialize};

use crate::holder::Bounds;
use crate::io::ActId;

/// What is being done with a holding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    /// It is held.
    Held,
    /// The act that acquires it is under way; if the act fails, the holding is in the state it was in before.
    Acting { id: ActId, held_before: bool },
    /// It is being let go.
    Releasing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    group: GroupName,
    epoch: Epoch,
    state: State,
    /// The incarnation that acquired or adopted it.
    by: Incarnation,
    ground: Ground,
}

/// By what right something is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ground {
    /// The lease of the present incarnation.
    Lease,
    /// The lease of an earlier incarnation, while it lasts.
    EarlierLease(Bounds),
    /// The log said that it is held without lease (L10).
    WithoutLease,
}

/// By what right that which an earlier incarnation held may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Inherited {
    /// By that incarnation's lease, while it lasts.
    Lease(Bounds),
    /// The log said that it is held without lease (L10).
    WithoutLease,
}

/// One thing that a guard process leaves to the next one of the same boot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeldOver {
    /// What.
    pub held: Held,
    /// The incarnation that acquired or adopted it.
    pub by: Incarnation,
    /// By what right.
    pub right: Inherited,
}

/// The release list of one incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ReleaseList {
    entries: BTreeMap<Holding, Entry>,
}

impl ReleaseList {
    /// What earlier incarnations left behind.
    #[must_use]
    pub fn inherit(left: Vec<HeldOver>) -> Self {
        let entry = |HeldOver { held: Held { group, epoch, holding }, by, right }| {
            let ground = match right {
                Inherited::Lease(bounds) => Ground::EarlierLease(bounds),
                Inherited::WithoutLease => Ground::WithoutLease,
            };
            (holding, Entry { group, epoch, state: State::Held, by, ground })
        };
        Self { entries: left.into_iter().map(entry).collect() }
    }

    /// What to leave behind, if the lease of the present incarnation is valid until `lease`.
    #[must_use]
    pub fn leaves(&self, lease: Bounds) -> Vec<HeldOver> {
        let left = |(holding, entry): (&Holding, &Entry)| HeldOver {
            held: entry.held(holding),
            by: entry.by,
            right: entry.bounds(lease).map_or(Inherited::WithoutLease, Inherited::Lease),
        };
        self.entries.iter().map(left).collect()
    }

    /// Whether nothing is held and nothing is being acquired.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether everything on the list is held without lease.
    #[must_use]
    pub fn is_without_lease(&self) -> bool {
        self.entries.values().all(|entry| entry.ground == Ground::WithoutLease)
    }

    /// Until when what earlier incarnations held by lease may stay, if there is such.
    #[must_use]
    pub fn earlier_lease(&self) -> Option<Bounds> {
        let bounds = |entry: &Entry| match entry.ground {
            Ground::EarlierLease(bounds) => Some(bounds),
            Ground::Lease | Ground::WithoutLease => None,
        };
        self.entries.values().filter_map(bounds).reduce(Bounds::earlier)
    }

    /// When the first lease ends by which something is on the list, if the present incarnation's is valid until `lease`.
    #[must_use]
    pub fn lease_ends(&self, lease: Bounds) -> Option<Moment> {
        self.entries.values().filter_map(|entry| Some(entry.bounds(lease)?.deadline)).min()
    }

    /// Whether everything on the list is an address the lease of which has ended, if the present incarnation's is valid
    /// until `lease`. Not so while one is being acquired.
    #[must_use]
    pub fn ended_addresses_alone(&self, now: Moment, lease: Bounds) -> bool {
        let ended = |(holding, entry): (&Holding, &Entry)| {
            let is_address = matches!(holding, Holding::Address { .. });
            let is_over = entry.bounds(lease).is_some_and(|bounds| bounds.deadline <= now);
            is_address && is_over && !matches!(entry.state, State::Acting { .. })
        };
        self.entries.iter().all(ended)
    }

    /// The log says that everything on the list is held without lease (L10).
    pub fn held_without_lease(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.ground = Ground::WithoutLease);
    }

    /// Everything on the list.
    #[must_use]
    pub fn all(&self) -> Vec<Held> {
        self.entries.iter().map(|(holding, entry)| entry.held(holding)).collect()
    }

    /// Puts a holding on the list, or renews the epoch of one that is there.
    ///
    /// # Errors
    /// When another group holds it, or when it is being let go. The list is not changed.
    pub fn hold(&mut self, by: Incarnation, held: Held) -> Result<(), String> {
        self.put(by, held, |before| before.unwrap_or(State::Held))
    }

    /// Puts the holding of an act on the list, before the act is performed.
    ///
    /// # Errors
    /// As for [`ReleaseList::hold`], and when an act for the same holding is under way.
    pub fn begin_act(&mut self, by: Incarnation, id: ActId, held: Held) -> Result<(), String> {
        if let Some(Entry { state: State::Acting { id, .. }, .. }) = self.entries.get(&held.holding) {
            return Err(format!("{}: act {} for it is under way", held.holding, id.0));
        }
        self.put(by, held, |before| State::Acting { id, held_before: before.is_some() })
    }

    fn put(
        &mut self,
        by: Incarnation,
        held: Held,
        state: impl FnOnce(Option<State>) -> State,
    ) -> Result<(), String> {
        let before = self.entries.get(&held.holding);
        if let Some(entry) = before {
            if entry.group != held.group {
                return Err(format!("{} is held for group {} here", held.holding, entry.group));
            }
            if entry.state == State::Releasing {
                return Err(format!("{} is being let go", held.holding));
            }
        }
        let state = state(before.map(|entry| entry.state));
        let entry = Entry { group: held.group, epoch: held.epoch, state, by, ground: Ground::Lease };
        self.entries.insert(held.holding, entry);
        Ok(())
    }

    /// In whose name, and for which group, an act is under way.
    #[must_use]
    pub fn acting(&self, id: ActId) -> Option<(Incarnation, &GroupName)> {
        let acts = |entry: &&Entry| matches!(entry.state, State::Acting { id: acting, .. } if acting == id);
        self.entries.values().find(acts).map(|entry| (entry.by, &entry.group))
    }

    /// An act is over. One that failed has left nothing behind. Says whether there was such an act.
    pub fn end_act(&mut self, id: ActId, done: bool) -> bool {
        let found = self.entries.iter().find_map(|(holding, entry)| match entry.state {
            State::Acting { id: acting, held_before } if acting == id => Some((holding.clone(), held_before)),
            _ => None,
        });
        let Some((holding, held_before)) = found else { return false };
        if !done && !held_before {
            self.entries.remove(&holding);
        } else if let Some(entry) = self.entries.get_mut(&holding) {
            entry.state = State::Held;
        }
        true
    }

    /// Takes off what was shown to be released. What is not on the list is dropped already.
    ///
    /// # Errors
    /// When it is held under another ownership, or still being acquired. The list is not changed.
    pub fn drop(&mut self, held: &Held) -> Result<(), String> {
        let Some(entry) = self.entries.get(&held.holding) else { return Ok(()) };
        if entry.held(&held.holding) != *held {
            return Err(format!(
                "{} is held for group {} under epoch {}",
                held.holding, entry.group, entry.epoch
            ));
        }
        if let State::Acting { id, .. } = entry.state {
            return Err(format!("{}: act {} for it is under way", held.holding, id.0));
        }
        self.entries.remove(&held.holding);
        Ok(())
    }

    /// The log says that what this group holds is `by`'s now, under a new epoch (L6). Until `by` has a lease
    /// ([`ReleaseList::adopted`]) an earlier lease limits it, or `at_once` what was held without lease.
    pub fn adopt(&mut self, by: Incarnation, group: &GroupName, epoch: Epoch, at_once: Bounds) {
        for entry in self.entries.values_mut().filter(|e| e.group == *group && e.epoch <= epoch) {
            entry.epoch = epoch;
            entry.by = by;
            if entry.ground == Ground::WithoutLease {
                entry.ground = Ground::EarlierLease(at_once);
            }
        }
    }

    /// `by`, the present incarnation, has a valid lease: it limits what the log has adopted for `by` from now on.
    pub fn adopted(&mut self, by: Incarnation, even_what_is_not: bool) {
        for entry in self.entries.values_mut().filter(|e| e.by == by || even_what_is_not) {
            if let Ground::EarlierLease(_) = entry.ground {
                entry.ground = Ground::Lease;
            }
        }
    }

    /// Marks everything that is held as being let go, and gives it in the order to do so ([`Held::rungs`]).
    /// What is being acquired follows when its act is over.
    pub fn release_held(&mut self) -> Vec<Held> {
        let mut held = Vec::new();
        for (holding, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.state == State::Held) {
            entry.state = State::Releasing;
            held.push(entry.held(holding));
        }
        Held::rungs(held).into_iter().flatten().collect()
    }

    /// Whether this is being let go.
    #[must_use]
    pub fn is_releasing(&self, holding: &Holding) -> bool {
        self.entries.get(holding).is_some_and(|entry| entry.state == State::Releasing)
    }

    /// Takes off what was let go.
    pub fn released(&mut self, holding: &Holding) {
        self.entries.remove(holding);
    }
}

impl Entry {
    /// Until when it may stay, if the present incarnation's lease is valid until `lease`; nothing if no lease limits it.
    fn bounds(&self, lease: Bounds) -> Option<Bounds> {
        match self.ground {
            Ground::Lease => Some(lease),
            Ground::EarlierLease(bounds) => Some(bounds),
            Ground::WithoutLease => None,
        }
    }

    fn held(&self, holding: &Holding) -> Held {
        Held { group: self.group.clone(), epoch: self.epoch, holding: holding.clone() }
    }
}
