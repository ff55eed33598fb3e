//! One node at a time writes on a disk, and it is the owner: every write is in the SAN's journal.

use std::collections::BTreeMap;

use regent_lab::{DiskState, SanEvent, SanLog, SanRequest, Writers};

use super::journal::Ownerships;
use super::{Oracle, Violation};

/// Events are judged when nothing that began before them can come any more: a request takes less than this.
const SETTLED_NS: u64 = 2_000_000_000;

/// What is known so far.
#[derive(Default)]
pub(crate) struct Disks {
    writers: Writers,
    told: usize,
    waiting: Vec<SanEvent>,
    /// The writes that were not yet compared with the ownerships, of each node on each disk: per tenth of a second one.
    writes: Vec<SanRequest>,
    last: BTreeMap<(usize, String), u64>,
    /// When a node lost its power.
    pub(crate) cuts: Vec<(String, u64)>,
    /// When a node was registered at the SAN, or its key was taken away.
    pub(crate) keys: Vec<(String, u64, bool)>,
    /// Who began to write on which disk, after a second without.
    begun: Vec<(usize, String, u64)>,
    /// How many writes were judged.
    pub(crate) count: u64,
}

fn began(event: &SanEvent) -> u64 {
    match event {
        SanEvent::Write(r) | SanEvent::Look(r) => r.began,
        SanEvent::Switch { at, .. } | SanEvent::Key { at, .. } => *at,
    }
}

impl Disks {
    /// Takes what the journal says since it was last read. At the end nothing is waited for.
    pub(crate) fn take(&mut self, log: SanLog, last: bool) {
        for event in &log.events {
            if let SanEvent::Key { at, node, registered } = event {
                self.keys.push((node.clone(), *at, *registered));
            }
        }
        self.waiting.extend(log.events);
        self.waiting.sort_by_key(began);
        let newest = self.waiting.last().map_or(0, began);
        let settled = if last {
            self.waiting.len()
        } else {
            self.waiting.partition_point(|e| began(e) + SETTLED_NS < newest)
        };
        for event in self.waiting.drain(..settled) {
            self.writers.see(&event);
            if let SanEvent::Switch { at, node, to: DiskState::Cut } = &event {
                self.cuts.push((node.clone(), *at));
            }
            if let SanEvent::Write(write) = event {
                self.count += 1;
                let key = (write.disk, write.node.clone());
                let before = self.last.insert(key, write.began).unwrap_or(0);
                if write.began > before + 1_000_000_000 {
                    self.begun.push((write.disk, write.node.clone(), write.began));
                }
                if write.began > before + 100_000_000 || before == 0 {
                    self.writes.push(write);
                }
            }
        }
    }

    /// Who began to write on which disk, since it was last asked.
    pub(crate) fn begun(&mut self) -> Vec<(usize, String, u64)> {
        std::mem::take(&mut self.begun)
    }

    /// What was seen since it was last asked. `groups` are the groups by the number of their disk.
    pub(crate) fn judge(&mut self, groups: &BTreeMap<usize, String>, owned: &Ownerships) -> Vec<Violation> {
        let mut found: Vec<Violation> = self.writers.found[self.told..]
            .iter()
            .map(|o| {
                let text = format!(
                    "disk {}: {} wrote at {} ns on what {} had changed at {} ns since it last looked",
                    o.later.disk, o.later.node, o.later.began, o.earlier.node, o.earlier.began
                );
                Violation::new(Oracle::Disk, text)
            })
            .collect();
        self.told = self.writers.found.len();
        for write in std::mem::take(&mut self.writes) {
            let Some(group) = groups.get(&write.disk) else { continue };
            let cut = |from: u64, to: u64| {
                self.cuts.iter().any(|(n, at)| *n == write.node && from <= *at && *at <= to)
            };
            if let Some((epoch, owner)) = owned.superseded(group, &write.node, write.began, &cut) {
                let text = format!(
                    "disk {}: {} wrote at {} ns, when epoch {epoch} of {group} had begun for {owner}",
                    write.disk, write.node, write.began
                );
                found.push(Violation::new(Oracle::Disk, text));
            }
        }
        found.truncate(20);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(node: &str, at: u64) -> SanRequest {
        SanRequest { began: at, ended: at + 1, node: node.into(), boot: 1, disk: 0, offset: 0, length: 512 }
    }

    fn judge(events: Vec<SanEvent>, owned: &Ownerships) -> Vec<Violation> {
        let mut disks = Disks::default();
        disks.take(SanLog { events }, true);
        disks.judge(&BTreeMap::from([(0, "ledger".to_owned())]), owned)
    }

    #[test]
    fn a_forged_journal_with_two_writers_is_seen() {
        let look = |node, at| SanEvent::Look(request(node, at));
        let write = |node, at| SanEvent::Write(request(node, at));
        let none = Ownerships::default();
        let lawful = vec![look("a", 1), write("a", 2), look("b", 5), write("b", 6)];
        assert_eq!(judge(lawful.clone(), &none), []);
        let late = [lawful, vec![write("a", 20)]].concat();
        assert_eq!(judge(late, &none).len(), 1);
    }

    #[test]
    fn a_write_after_the_next_epoch_has_begun_is_seen_before_the_new_owner_writes() {
        let mut owned = Ownerships::default();
        owned.note("ledger", 1, "a", 100);
        owned.note("ledger", 2, "b", 500);
        let write = |at| vec![SanEvent::Write(request("a", at))];
        assert_eq!(judge(write(400), &owned), []);
        assert_eq!(judge(write(600), &owned).len(), 1);
    }

    #[test]
    fn events_wait_for_those_that_began_before_them() {
        let mut disks = Disks::default();
        disks.take(SanLog { events: vec![SanEvent::Write(request("a", 10))] }, false);
        assert_eq!(disks.count, 0);
        disks.take(SanLog { events: vec![SanEvent::Write(request("a", 10 + 2 * SETTLED_NS))] }, false);
        assert_eq!(disks.count, 1);
    }
}
