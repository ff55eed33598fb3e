//! The journal explains every ownership: who, which epoch, by which proof.

use std::collections::{BTreeMap, BTreeSet};

use regent_api::Status;
use regent_model::journal::Entry;

use super::{Oracle, Violation};

/// Who owned what from when on, as far as it is known, in ns of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ownerships {
    /// By group and epoch.
    known: BTreeMap<(String, u64), (String, u64)>,
    /// The highest epoch of a group that anybody spoke of.
    highest: BTreeMap<String, u64>,
}

impl Ownerships {
    /// An ownership, from the time at which its owner told of it.
    pub(crate) fn note(&mut self, group: &str, epoch: u64, node: &str, at: u64) {
        self.known.entry((group.to_owned(), epoch)).or_insert((node.to_owned(), at));
        self.heard(group, epoch);
    }

    /// That there is such an epoch.
    pub(crate) fn heard(&mut self, group: &str, epoch: u64) {
        let highest = self.highest.entry(group.to_owned()).or_default();
        *highest = (*highest).max(epoch);
    }

    /// The epoch and the owner that a node's act at this time comes too late for: another node's epoch had begun, and
    /// none of its own after that. Where an epoch is not known, nothing is said. A node that loses power tells anew,
    /// and later, what its journal lost: `lost_power` says whether it did so between two times.
    pub(crate) fn superseded(
        &self,
        group: &str,
        node: &str,
        at: u64,
        lost_power: &dyn Fn(u64, u64) -> bool,
    ) -> Option<(u64, String)> {
        let of = |epoch: u64| self.known.get(&(group.to_owned(), epoch));
        let begun = self.known.iter().filter(|((g, _), (_, from))| g == group && *from <= at);
        let epoch = begun.map(|((_, epoch), _)| *epoch).max()?;
        let (owner, _) = of(epoch)?;
        if owner == node {
            return None;
        }
        let highest = self.highest.get(group).copied().unwrap_or(0);
        for later in epoch + 1..=highest {
            let (next, told) = of(later)?;
            if next == node && lost_power(at, *told) {
                return None;
            }
        }
        Some((epoch, owner.clone()))
    }
}

/// Everything that was told and seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    /// By node, number and time: a node whose state was damaged numbers anew when it has joined again.
    entries: BTreeMap<(String, u64, u64), Entry>,
    /// What status said: group and epoch, with every owner and proof.
    seen: BTreeMap<(String, u64), BTreeSet<String>>,
    /// The last epoch that each node said, by group.
    last: BTreeMap<(String, String), u64>,
    proofless: BTreeSet<(String, u64)>,
    /// What enforces a group, by every word that status had for it.
    classes: BTreeMap<String, BTreeSet<String>>,
    found: Vec<Violation>,
}

impl Journal {
    /// Takes entries; those known before are left.
    pub(crate) fn learn(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let key = (entry.node.to_string(), entry.number, entry.at.0);
            self.entries.entry(key).or_insert(entry);
        }
    }

    /// Takes what a node said of the cluster that is in touch with a majority and has a lease.
    pub(crate) fn see(&mut self, status: &Status) {
        for group in &status.groups {
            let classes = self.classes.entry(group.name.to_string()).or_default();
            classes.insert(group.guarantee_class.clone());
            let (name, epoch) = (group.name.to_string(), group.epoch.0);
            let last = self.last.entry((status.node.to_string(), name.clone())).or_default();
            if epoch < *last {
                let text = format!("{name}: {} said epoch {epoch} after epoch {last}", status.node);
                self.found.push(Violation::new(Oracle::Journal, text));
            }
            *last = (*last).max(epoch);
            if let Some(owner) = &group.owner {
                self.seen.entry((name.clone(), epoch)).or_default().insert(owner.to_string());
                if group.proof.is_empty() {
                    self.proofless.insert((name, epoch));
                }
            }
        }
    }

    /// Whether the kernel has always promised to end what this group's owner answers for.
    pub(crate) fn is_of_the_kernel(&self, group: &str) -> bool {
        self.classes.get(group).is_some_and(|c| c.iter().all(|class| class == "kernel"))
    }

    /// How many entries are known.
    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Every entry, by node and number.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Who owned what. `ahead` is how far the boot clock, which the journal has, is before the monotonic one.
    pub(crate) fn ownerships(&self, ahead: u64) -> Ownerships {
        let mut owned = Ownerships::default();
        for entry in self.entries.values() {
            let (Some(group), Some(epoch)) = (&entry.group, entry.epoch) else { continue };
            owned.heard(group.as_str(), epoch.0);
            if entry.kind == "assigned" {
                let at = entry.at.0.saturating_sub(ahead);
                owned.note(group.as_str(), epoch.0, entry.node.as_str(), at);
            }
        }
        for (group, epoch) in self.seen.keys() {
            owned.heard(group, *epoch);
        }
        owned
    }

    /// What is not as it must be. `whole` are the nodes that never lost what their journal had not yet on the disk.
    pub(crate) fn judge(&self, lost_power: &BTreeSet<String>) -> Vec<Violation> {
        let mut found = self.found.clone();
        let mut say = |text: String| found.push(Violation::new(Oracle::Journal, text));
        let mut owners = self.seen.clone();
        let mut explained: BTreeSet<(String, u64)> = BTreeSet::new();
        let mut orders: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for entry in self.entries.values() {
            let (Some(group), Some(epoch)) = (&entry.group, entry.epoch) else { continue };
            let key = (group.to_string(), epoch.0);
            if entry.kind == "assigned" {
                owners.entry(key.clone()).or_default().insert(entry.node.to_string());
                if !entry.text.contains("proof: ") {
                    say(format!("{group}: epoch {epoch} began without a proof: {}", entry.text));
                }
                if let Some(index) = entry.index {
                    orders.entry(group.as_str()).or_default().push((index, epoch.0));
                }
            }
            explained.insert(key);
        }
        for ((group, epoch), nodes) in &owners {
            if nodes.len() > 1 {
                say(format!("{group}: epoch {epoch} had two owners: {nodes:?}"));
            }
        }
        for (group, mut list) in orders {
            list.sort_unstable();
            if let Some(pair) = list.windows(2).find(|p| p[1].1 < p[0].1) {
                say(format!("{group}: epoch {} came after epoch {} in the log", pair[1].1, pair[0].1));
            }
        }
        for ((group, epoch), nodes) in &self.seen {
            // What an owner told in the half second before its power was cut is lost with its disk's cache.
            let lost = nodes.iter().any(|n| lost_power.contains(n));
            if !lost && !explained.contains(&(group.clone(), *epoch)) {
                say(format!("{group}: nobody's journal tells of epoch {epoch}, which {nodes:?} had"));
            }
        }
        for (group, epoch) in &self.proofless {
            say(format!("{group}: status shows epoch {epoch} without a proof"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use regent_model::journal::Level;
    use regent_model::{Epoch, GroupName, Moment, NodeName};

    use super::*;

    fn assigned(node: &str, epoch: u64, index: u64, text: &str) -> Entry {
        Entry {
            node: NodeName::new(node).unwrap(),
            number: index,
            at: Moment(index * 100),
            wall_ms: 0,
            level: Level::Notice,
            kind: "assigned".into(),
            group: Some(GroupName::new("ledger").unwrap()),
            resource: None,
            epoch: Some(Epoch(epoch)),
            index: Some(index),
            event: None,
            text: text.into(),
            took: None,
            evidence: String::new(),
        }
    }

    fn judge(entries: Vec<Entry>) -> Vec<Violation> {
        let mut journal = Journal::default();
        journal.learn(entries);
        journal.judge(&BTreeSet::new())
    }

    #[test]
    fn forged_journals_with_two_owners_no_proof_or_epochs_that_fall_are_seen() {
        let proof = "proof: released";
        assert_eq!(judge(vec![assigned("a", 1, 5, proof), assigned("b", 2, 9, proof)]), []);
        assert_eq!(judge(vec![assigned("a", 1, 5, proof), assigned("b", 1, 9, proof)]).len(), 1);
        assert_eq!(judge(vec![assigned("a", 2, 5, proof), assigned("b", 1, 9, proof)]).len(), 1);
        assert_eq!(judge(vec![assigned("a", 1, 5, "owns it from now on")]).len(), 1);
    }

    #[test]
    fn a_node_that_joined_again_and_numbers_anew_is_heard() {
        let mut journal = Journal::default();
        let first = assigned("a", 1, 5, "proof: released");
        let anew = Entry { at: Moment(9_000), epoch: Some(Epoch(2)), index: Some(90), ..first.clone() };
        journal.learn(vec![first.clone(), anew]);
        journal.learn(vec![first]);
        assert_eq!(journal.count(), 2);
    }

    #[test]
    fn an_epoch_that_is_not_known_accuses_nobody() {
        let mut owned = Ownerships::default();
        owned.note("ledger", 1, "a", 100);
        owned.note("ledger", 2, "b", 200);
        let never = |_: u64, _: u64| false;
        assert_eq!(owned.superseded("ledger", "a", 300, &never), Some((2, "b".into())));
        assert_eq!(owned.superseded("ledger", "a", 150, &never), None);
        owned.heard("ledger", 4);
        assert_eq!(owned.superseded("ledger", "a", 300, &never), None, "epoch 3 may have been a's");
        owned.note("ledger", 4, "b", 600);
        owned.note("ledger", 3, "a", 700);
        let cut = |from: u64, to: u64| from < 500 && 500 < to;
        assert_eq!(owned.superseded("ledger", "a", 300, &cut), None, "told anew after the power was back");
        assert!(owned.superseded("ledger", "a", 300, &never).is_some());
    }
}
