//! The cluster's key, as the log knows it: which one is in use, how far a change to the next one is, and by which key pair
//! each member is known to be the same machine.
//!
//! No key stands in the log, only what tells keys apart. A change goes through three stages, and each begins when every
//! member that is waited for has said that it is through with the one before:
//!
//! | stage | what a member does | what it hears | what it says |
//! |---|---|---|---|
//! | spread | gets the new key and keeps it | both | under the old key |
//! | switch | uses the new key | both | under the new key |
//! | retire | forgets the old key | the new key alone | under the new key |
//!
//! So nobody says anything under a key that somebody does not hear yet, or hears no more. What a member does next follows
//! from the log and from the keys that it has, and from nothing else ([`Keys::step`]): a daemon or guard that dies on the
//! way goes on where its key file says that it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, NodeName};
use crate::state::apply::{Changes, void};
use crate::state::tickets::{Fate, MachineKey};
use crate::state::{Change, State};

/// Which key is meant: from this nobody can make it, and no other key has the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyMark(pub [u8; 32]);

impl fmt::Display for KeyMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl fmt::Debug for KeyMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyMark({self}...)")
    }
}

/// How far a change of the key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyStage {
    /// Every member gets the new key.
    Spread,
    /// Every member uses it.
    Switch,
    /// Every member forgets the old one.
    Retire,
}

impl KeyStage {
    /// What members do in it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Spread => "every member gets the new key",
            Self::Switch => "every member begins to use the new key",
            Self::Retire => "every member forgets the old key",
        }
    }
}

/// What the log knows of the cluster's key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keys {
    /// How often it was changed: the number of the key in use.
    pub number: u32,
    /// Which key that is; nothing as long as it was never changed.
    pub mark: Option<KeyMark>,
    /// When it was changed last, in milliseconds since 1970.
    pub changed_ms: Option<u64>,
    /// The change that is under way.
    pub change: Option<KeyChange>,
    /// The public keys of the members' machines, each as it was said first.
    pub machines: BTreeMap<NodeId, MachineKey>,
}

/// A change of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// Which key it will be.
    pub mark: KeyMark,
    /// The member that has made it.
    pub maker: NodeId,
    /// When it began, in milliseconds since 1970.
    pub begun_ms: u64,
    /// How far it is.
    pub stage: KeyStage,
    /// Who is through with this stage.
    pub through: BTreeSet<NodeId>,
    /// Who is not waited for.
    pub without: BTreeSet<NodeId>,
}

/// The keys that a machine has, in its key file, its guard and its channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysHeld {
    /// The number of the one that it uses.
    pub using: u32,
    /// All that it hears, by number.
    pub marks: BTreeMap<u32, KeyMark>,
}

/// What a member is to do about its keys next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyStep {
    /// Ask the other members for the key of this number; it is that one.
    Get(u32, Option<KeyMark>),
    /// Use the key of this number.
    Use(u32),
    /// Forget every key but that of this number.
    Forget(u32),
    /// Say that it is through with this stage of the change to the key of this number.
    Say(u32, KeyStage),
}

/// What changed about the cluster's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyNews {
    /// A change began.
    Begun,
    /// It came to this stage.
    Stage(KeyStage),
    /// A member is not waited for any more.
    Without(NodeId),
    /// It is over: the old key is good for nothing.
    Changed,
    /// It was given up: whoever had the new key is no member any more, or is not waited for.
    GivenUp,
}

impl KeysHeld {
    fn has(&self, number: u32, mark: Option<KeyMark>) -> bool {
        self.marks.get(&number).is_some_and(|held| mark.is_none_or(|mark| mark == *held))
    }
}

impl Keys {
    /// What the member `me` is to do next, if anything. It never goes back: a machine that uses a key of which it has not
    /// applied anything in the log does nothing until the log is there too. The engine asks once it has applied everything
    /// that its daemons before did.
    #[must_use]
    pub fn step(&self, me: NodeId, held: &KeysHeld) -> Option<KeyStep> {
        let Some(change) = &self.change else {
            if held.using > self.number {
                return None;
            }
            if !held.has(self.number, self.mark) {
                return Some(KeyStep::Get(self.number, self.mark));
            }
            // A key that was to be the next one, in a change that was given up, is good for nothing either.
            let more = held.marks.len() > 1;
            return self.leave_behind(held, self.number).or(more.then_some(KeyStep::Forget(self.number)));
        };
        let next = self.number.wrapping_add(1);
        if held.using > next {
            return None;
        }
        if !held.has(next, Some(change.mark)) {
            return Some(KeyStep::Get(next, Some(change.mark)));
        }
        let step = match change.stage {
            KeyStage::Spread => None,
            KeyStage::Switch if held.using < next => Some(KeyStep::Use(next)),
            KeyStage::Switch => None,
            KeyStage::Retire => self.leave_behind(held, next),
        };
        let through = change.through.contains(&me);
        step.or((!through).then_some(KeyStep::Say(next, change.stage)))
    }

    /// Older keys than this one are good for nothing any more.
    fn leave_behind(&self, held: &KeysHeld, number: u32) -> Option<KeyStep> {
        if held.using < number {
            return Some(KeyStep::Use(number));
        }
        held.marks.keys().any(|older| *older < number).then_some(KeyStep::Forget(number))
    }

    /// Who is waited for in the change that is under way.
    #[must_use]
    pub fn waits_for(&self, members: impl IntoIterator<Item = NodeId>) -> BTreeSet<NodeId> {
        let Some(change) = &self.change else { return BTreeSet::new() };
        let waited = |id: &NodeId| !change.through.contains(id) && !change.without.contains(id);
        members.into_iter().filter(waited).collect()
    }
}

impl State {
    pub(super) fn change_key(
        &mut self,
        number: u32,
        mark: KeyMark,
        maker: NodeId,
        without: &BTreeSet<NodeId>,
        at_ms: u64,
    ) -> Changes {
        if self.keys.change.is_some() {
            return void("the key is being changed already: regent key status");
        }
        if number != self.keys.number.wrapping_add(1) {
            return void("the key was changed meanwhile; look and change it again: regent key status");
        }
        if without.contains(&maker) || !self.members.contains_key(&maker) {
            return void("the member that made the key is none that can hand it on");
        }
        let unknown = self.members.keys().filter(|id| !without.contains(id));
        if let Some(unknown) = unknown.into_iter().find(|id| !self.keys.machines.contains_key(id)) {
            let name = self.name_of(*unknown);
            return void(format!(
                "{name} has not said yet by which key pair its machine is known: start it (regent node start there), or: \
                 regent key rotate --without {name}"
            ));
        }
        self.keys.change = Some(KeyChange {
            mark,
            maker,
            begun_ms: at_ms,
            stage: KeyStage::Spread,
            // It made the key durable before anybody heard of it.
            through: BTreeSet::new(),
            without: without.clone(),
        });
        let mut changes = vec![Change::Key(KeyNews::Begun)];
        changes.extend(self.go_on_with_key());
        changes
    }

    pub(super) fn key_through(&mut self, node: NodeId, mark: KeyMark, stage: KeyStage) -> Changes {
        let is_member = self.members.contains_key(&node);
        match &mut self.keys.change {
            Some(change) if is_member && mark == change.mark && change.stage == stage => {
                change.through.insert(node);
                self.go_on_with_key()
            }
            _ => void("the change of the key has gone on"),
        }
    }

    pub(super) fn key_without(&mut self, nodes: &BTreeSet<NodeId>) -> Changes {
        let Some(change) = &mut self.keys.change else {
            return void("the key is not being changed");
        };
        let nodes = nodes.iter().filter(|id| self.members.contains_key(id));
        let left_out = nodes.filter(|id| change.without.insert(**id));
        let mut changes: Changes = left_out.map(|id| Change::Key(KeyNews::Without(*id))).collect();
        changes.extend(self.go_on_with_key());
        changes
    }

    pub(super) fn machine_is(&mut self, node: NodeId, machine: MachineKey) -> Changes {
        if !self.members.contains_key(&node) {
            return void(format!("node {node} is no member"));
        }
        match self.keys.machines.get(&node) {
            Some(known) if *known == machine => Vec::new(),
            Some(_) => void(format!("the machine of {} is known by another key pair", self.name_of(node))),
            None => {
                self.keys.machines.insert(node, machine);
                Vec::new()
            }
        }
    }

    /// A member is there under a number of its own: by its token it is known which machine it is.
    pub(super) fn machine_has_joined(&mut self, id: NodeId, name: &NodeName) {
        let used = self.tickets.values().filter_map(|ticket| match &ticket.fate {
            Fate::Used { machine, name: joined, at_ms } if joined == name => Some((*at_ms, *machine)),
            _ => None,
        });
        if let Some((_, machine)) = used.max() {
            self.keys.machines.insert(id, machine);
        }
    }

    /// A number is no member's any more.
    pub(super) fn machine_has_left(&mut self, id: NodeId) -> Changes {
        self.keys.machines.remove(&id);
        if let Some(change) = &mut self.keys.change {
            change.through.remove(&id);
            change.without.remove(&id);
        }
        self.go_on_with_key()
    }

    /// Whether neither the maker of the next key nor anybody who has said to have it is both a member and waited for. In the
    /// later stages everybody who was waited for has it.
    fn next_key_is_lost(&self) -> bool {
        self.keys.change.as_ref().is_some_and(|change| {
            let has_it = |id: &NodeId| self.members.contains_key(id) && !change.without.contains(id);
            change.stage == KeyStage::Spread && !change.through.iter().chain([&change.maker]).any(has_it)
        })
    }

    /// The next stage begins when everybody who is waited for is through with this one. A change whose key nobody can hand
    /// on is given up: nobody uses that key yet, and whoever has it forgets it.
    fn go_on_with_key(&mut self) -> Changes {
        if self.next_key_is_lost() {
            self.keys.change = None;
            return vec![Change::Key(KeyNews::GivenUp)];
        }
        let waits = self.keys.waits_for(self.members.keys().copied());
        let Some(change) = &mut self.keys.change else { return Vec::new() };
        if !waits.is_empty() || change.through.is_empty() {
            return Vec::new();
        }
        let next = match change.stage {
            KeyStage::Spread => KeyStage::Switch,
            KeyStage::Switch => KeyStage::Retire,
            KeyStage::Retire => {
                self.keys.number = self.keys.number.wrapping_add(1);
                self.keys.mark = Some(change.mark);
                self.keys.changed_ms = Some(change.begun_ms);
                self.keys.change = None;
                return vec![Change::Key(KeyNews::Changed)];
            }
        };
        change.stage = next;
        change.through.clear();
        vec![Change::Key(KeyNews::Stage(next))]
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
