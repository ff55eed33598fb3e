//! The event journal of all nodes: each numbers its own entries, and all tell each other what the others miss.

use std::collections::{BTreeMap, VecDeque};

use regent_model::event::EventNote;
use regent_model::journal::Entry;
use regent_model::{Epoch, GroupName, NodeId, NodeName};

use crate::io::PeerMessage;

/// How many entries are kept in memory, of all nodes together.
const KEPT_MAX: usize = 4_000;

/// The numbers of a daemon's entries begin at its session times this. What the daemon before it wrote last may be lost
/// with the power and known to peers all the same: its numbers are not used again.
const NUMBERS_PER_DAEMON: u64 = 1_000_000;

/// How many entries one message carries.
const PER_MESSAGE_MAX: usize = 64;

/// The merged journal as this node knows it.
pub(crate) struct Chronicle {
    me: NodeName,
    /// All entries in the order of learning of them, with a cursor that only grows.
    entries: VecDeque<(u64, Entry)>,
    cursor: u64,
    /// The last number known, per node.
    last: BTreeMap<NodeName, u64>,
    /// The last number given to a cluster event of this node.
    event: u64,
    /// The last number of the daemons before, and the one after which this daemon's begin.
    leap: (u64, u64),
    fresh: Vec<Entry>,
}

impl Chronicle {
    pub(crate) fn new(me: NodeName, session: u64, kept: Vec<Entry>) -> Self {
        let mut chronicle = Self {
            me,
            entries: VecDeque::new(),
            cursor: 0,
            last: BTreeMap::new(),
            event: 0,
            leap: (0, 0),
            fresh: Vec::new(),
        };
        for entry in kept {
            chronicle.learn(entry);
        }
        let own = chronicle.entries.iter().filter(|(_, e)| e.node == chronicle.me);
        // An event costs at least one entry: where none is kept, the entry's own number is larger than any event's.
        let kept = own.filter_map(|(_, e)| e.event.as_ref()).map(|n| n.number).max();
        chronicle.event = kept.unwrap_or_else(|| chronicle.own_last());
        let before = chronicle.own_last();
        chronicle.leap = (before, before.max(session.saturating_mul(NUMBERS_PER_DAEMON)));
        chronicle.last.insert(chronicle.me.clone(), chronicle.leap.1);
        chronicle
    }

    /// The events of this node that began and, as far as is kept, never ended.
    pub(crate) fn unfinished_events(&self) -> Vec<EventNote> {
        let mut open: Vec<EventNote> = Vec::new();
        for (_, entry) in self.entries.iter().filter(|(_, e)| e.node == self.me) {
            let Some(note) = &entry.event else { continue };
            match entry.kind.as_str() {
                "event_start" => open.push(note.clone()),
                "event_complete" | "event_interrupted" => open.retain(|o| o.number != note.number),
                _ => {}
            }
        }
        open
    }

    /// The next number for a cluster event of this node: larger than that of every event before, also those of
    /// earlier daemons.
    pub(crate) fn next_event(&mut self) -> u64 {
        self.event += 1;
        self.event
    }

    /// The highest index of the log that an own entry tells of: older entries were told before a restart.
    pub(crate) fn told_up_to(&self) -> u64 {
        self.entries.iter().filter(|(_, e)| e.node == self.me).filter_map(|(_, e)| e.index).max().unwrap_or(0)
    }

    /// When this node first told of this ownership of a group, on its wall clock.
    pub(crate) fn began(&self, group: &GroupName, epoch: Epoch) -> Option<u64> {
        let own = self.entries.iter().map(|(_, e)| e).filter(|e| e.node == self.me && e.epoch == Some(epoch));
        own.filter(|e| e.group.as_ref() == Some(group)).map(|e| e.wall_ms).min()
    }

    /// Numbers and keeps an entry of this node.
    pub(crate) fn write(&mut self, mut entry: Entry) {
        entry.number = self.own_last() + 1;
        self.last.insert(self.me.clone(), entry.number);
        self.fresh.push(entry.clone());
        self.keep(entry);
    }

    /// The number of the own entry before this one.
    pub(crate) fn before(&self, number: u64) -> u64 {
        if number == self.leap.1 + 1 { self.leap.0 } else { number - 1 }
    }

    /// The new entries of this node, to be written to the file and sent to the peers.
    pub(crate) fn take_fresh(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.fresh)
    }

    fn keep(&mut self, entry: Entry) {
        self.cursor += 1;
        self.entries.push_back((self.cursor, entry));
        if self.entries.len() > KEPT_MAX {
            self.entries.pop_front();
        }
    }

    /// Takes what a peer says of its journal. What would leave a gap is left: it is asked for in order.
    pub(crate) fn learn_all(&mut self, peer: &NodeName, after: u64, entries: Vec<Entry>) {
        if after > self.last_of(peer) {
            return;
        }
        for entry in entries.into_iter().filter(|e| &e.node == peer) {
            self.learn(entry);
        }
    }

    /// Takes an entry; one known before is left.
    fn learn(&mut self, entry: Entry) {
        let last = self.last.entry(entry.node.clone()).or_insert(0);
        if entry.number > *last {
            *last = entry.number;
            self.keep(entry);
        }
    }

    /// Everything that is kept, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    pub(crate) fn last_of(&self, node: &NodeName) -> u64 {
        self.last.get(node).copied().unwrap_or(0)
    }

    pub(crate) fn own_last(&self) -> u64 {
        self.last_of(&self.me)
    }

    /// What to answer to a peer that knows our entries up to `after`.
    pub(crate) fn own_after(&self, after: u64) -> Option<PeerMessage> {
        let entries: Vec<Entry> = self
            .entries
            .iter()
            .filter(|(_, e)| e.node == self.me && e.number > after)
            .take(PER_MESSAGE_MAX)
            .map(|(_, e)| e.clone())
            .collect();
        (!entries.is_empty()).then_some(PeerMessage::Journal { after, entries })
    }

    /// What to ask a peer that says its newest entry is `last`.
    pub(crate) fn missing(&self, peer: NodeId, name: &NodeName, last: u64) -> Option<(NodeId, PeerMessage)> {
        let known = self.last_of(name);
        (known < last).then_some((peer, PeerMessage::JournalAfter(known)))
    }

    /// The newest `limit` entries after the cursor, and the newest cursor.
    pub(crate) fn after(&self, cursor: u64, limit: usize) -> (Vec<(u64, Entry)>, u64) {
        let mut found: Vec<_> =
            self.entries.iter().rev().take_while(|(c, _)| *c > cursor).take(limit).cloned().collect();
        found.reverse();
        (found, self.cursor)
    }
}

#[cfg(test)]
mod tests {
    use regent_model::Moment;
    use regent_model::journal::Level;

    use super::*;

    fn name(text: &str) -> NodeName {
        text.to_owned().try_into().unwrap()
    }

    fn write(chronicle: &mut Chronicle, text: &str) {
        chronicle.write(Entry {
            node: chronicle.me.clone(),
            number: 0,
            at: Moment(0),
            wall_ms: 0,
            level: Level::Notice,
            kind: "test".into(),
            group: None,
            resource: None,
            epoch: None,
            event: None,
            index: None,
            text: text.into(),
            took: None,
            evidence: String::new(),
        });
    }

    fn told(from: &mut Chronicle, to: &mut Chronicle) {
        let fresh = from.take_fresh();
        let after = from.before(fresh[0].number);
        to.learn_all(&from.me.clone(), after, fresh);
    }

    #[test]
    fn what_was_lost_with_the_power_hides_nothing_that_is_written_after_it() {
        let (me, mut peer) = (name("lx4"), Chronicle::new(name("lx5"), 1, Vec::new()));
        let mut first = Chronicle::new(me.clone(), 1, Vec::new());
        for text in ["kept", "lost", "lost too"] {
            write(&mut first, text);
        }
        let kept = first.all().take(1).cloned().collect();
        told(&mut first, &mut peer);
        let mut second = Chronicle::new(me, 2, kept);
        write(&mut second, "after the power cut");
        told(&mut second, &mut peer);
        let texts: Vec<&str> = peer.all().map(|e| e.text.as_str()).collect();
        assert_eq!(texts, ["kept", "lost", "lost too", "after the power cut"]);
    }
}
