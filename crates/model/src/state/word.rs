//! A person's word that a node is dead (`confirm-dead`). It is good for a while: what nobody has taken over on the strength
//! of it by then belongs to the lost owner again, as it was acquired, and waits for a proof as before. So it stays as it
//! is configured until then ([`State::keeps_what_is_held`]), and nobody else may have what it holds.

use serde::{Deserialize, Serialize};

use crate::config::{Config, GroupConfig};
use crate::ids::{Epoch, GroupName, IncarnationOf, NodeId};
use crate::proof::Proof;
use crate::state::apply::{Changes, void};
use crate::state::{Change, Group, Ownership, State, Tenure};

/// For how many minutes a word is good, unless the person says something else.
pub const WORD_MINUTES: u32 = 30;
/// For how many at the most: a week.
pub const WORD_MINUTES_MAX: u32 = 7 * 24 * 60;

/// A word on which a group has no owner, and on which nobody has it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// When it was given, in milliseconds since 1970 by the clock of the node that was asked.
    pub given_ms: u64,
    /// For how many minutes.
    pub minutes: u32,
    /// The ownership that it has ended.
    pub ended: Ownership,
    /// What that had acquired, where the configuration said something else.
    pub in_force: Option<Box<GroupConfig>>,
}

impl Word {
    /// Until when it is good, in milliseconds since 1970.
    #[must_use]
    pub fn until_ms(&self) -> u64 {
        self.given_ms.saturating_add(u64::from(self.minutes) * 60_000)
    }
}

impl State {
    /// The word on which a group is free, if that is all that its last owner's end rests on.
    #[must_use]
    pub fn word_of(&self, group: &GroupName) -> Option<&Word> {
        self.groups.get(group)?.word.as_deref()
    }

    pub(super) fn confirm_dead(
        &mut self,
        about: IncarnationOf,
        proof: &Proof,
        (given_ms, minutes): (u64, u32),
    ) -> Changes {
        let before: Vec<_> = self
            .owned_up_to(about)
            .map(|(name, ended)| {
                let in_force = self.groups.get(name).and_then(|group| group.in_force.clone());
                (name.clone(), Word { given_ms, minutes, ended: ended.clone(), in_force })
            })
            .collect();
        let changes = self.end(about, proof);
        for (name, word) in before {
            if let Some(group) = self.groups.get_mut(&name) {
                group.word = Some(Box::new(word));
            }
        }
        if changes.is_empty() { void(format!("{about} is over and owns nothing")) } else { changes }
    }

    /// Whether a configuration leaves as it is what rests on a word: when the word is good no more, its owner has it again.
    pub(super) fn keeps_what_rests_on_words(&self, new: &Config) -> Result<(), String> {
        for (name, group) in &self.groups {
            let Some(word) = group.word.as_deref() else { continue };
            let Some(owner) = self.members.get(&word.ended.owner.node).map(|m| &m.name) else { continue };
            let now = self.config.group(name);
            let Some(held) = word.in_force.as_deref().or(now.map(AsRef::as_ref)) else { continue };
            let mut others = new.groups.iter().filter(|other| &other.name != name);
            let is_free = others.all(|other| held.shares_with(other, owner).is_none())
                && held.address_of_a_node(new).is_none();
            if new.group(name) != now || !is_free {
                return Err(format!(
                    "{name} rests on a person's word that {owner} is dead, and is {owner}'s again as it was acquired if \
                     nobody has taken it over {} minutes after the word; until then it stays as it is, and what it \
                     holds with it; first: regent group enable {name}, or wait; regent explain {name} shows what \
                     it waits for",
                    word.minutes
                ));
            }
        }
        Ok(())
    }

    /// What a word has ended belongs to its owner again. One proof less, never one more: an owner that is over and whose
    /// end is not proven to this group is what there was before the word.
    pub(super) fn expire_word(&mut self, name: &GroupName, epoch: Epoch) -> Changes {
        let Some(group) = self.groups.get_mut(name) else {
            return void(format!("there is no group {name}"));
        };
        if group.epoch != epoch || !matches!(group.tenure, Tenure::Vacant(Proof::OperatorsWord { .. })) {
            return void(format!("{name} does not rest on anybody's word any more"));
        }
        let Some(word) = group.word.take() else {
            return void(format!("{name} rests on no word that expires"));
        };
        group.tenure = Tenure::Owned(word.ended.clone());
        group.in_force = word.in_force;
        vec![Change::WordExpired(name.clone(), word.ended)]
    }

    /// What rests on a word so far, and would have been ended by this proof, rests on the proof from now on.
    pub(super) fn better_than_a_word(&mut self, about: IncarnationOf, proof: &Proof) -> Changes {
        if matches!(proof, Proof::OperatorsWord { .. }) {
            return Vec::new();
        }
        let of_it = |word: &Word| {
            word.ended.owner.node == about.node && word.ended.owner.incarnation <= about.incarnation
        };
        let proven = |(name, group): &(&GroupName, &Group)| {
            group.word.as_ref().is_some_and(|word| of_it(word) && self.accepts(name, &word.ended, proof))
        };
        let proven: Vec<GroupName> =
            self.groups.iter().filter(proven).map(|(name, _)| name.clone()).collect();
        let mut changes = Vec::new();
        for name in proven {
            if let Some(group) = self.groups.get_mut(&name) {
                group.word = None;
                group.tenure = Tenure::Vacant(proof.clone());
                changes.push(Change::Vacated(name, proof.clone()));
            }
        }
        changes
    }
}

impl Group {
    /// The machine of that number is gone for good: what it had can never be its own again.
    pub(super) fn outlives(&mut self, gone: NodeId) {
        if self.word.as_ref().is_some_and(|word| word.ended.owner.node == gone) {
            self.word = None;
        }
    }
}
