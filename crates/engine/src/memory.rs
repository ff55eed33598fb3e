//! Whether a node still knows what it has told its peers.
//!
//! A voter whose disk was put back to an earlier copy, from a backup or with a snapshot of a virtual machine, has
//! forgotten promises, votes and entries that others count on, and cannot see that by itself. So every daemon counts
//! what it makes durable and says how far it is with every word that counts; its peers remember that, and do not hear
//! a daemon that says less, nor one that they do not know. It is told what is remembered, and asked whether it goes on
//! from there. Who does not is no voter any more: it comes back under another number, with an empty disk.
//!
//! | a peer remembers | this node knows | it |
//! |---|---|---|
//! | this life of the daemon, no more than is durable | | goes on |
//! | this life, more than is durable | | has forgotten |
//! | an earlier life, no more than that had at its end | that life | goes on |
//! | an earlier life, more than that had at its end | that life | has forgotten |
//! | a life of that number, another one | another one | has forgotten |
//! | a later life | | has forgotten |
//! | a life of long ago | none so old | goes on |

mod asked;

use std::collections::BTreeMap;

use regent_model::ids::NodeId;
use regent_store::Record;
use serde::{Deserialize, Serialize};

/// So many earlier lives are known.
const LIVES_KEPT: usize = 64;

const OWN: &str = "memory";
const LIVES: &str = "lives";
const PEERS: &str = "remembered";
const FORGOTTEN: &str = "forgotten";
const REMOVED: &str = "removed";

/// How far the memory of a node goes. Larger ones of one life are later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The daemon, by its number.
    pub session: u64,
    /// And by chance: an earlier copy of a disk leads to a daemon of the same number.
    pub nonce: u64,
    /// How many batches of this daemon are durable.
    pub stored: u64,
}

impl Mark {
    fn is_of_one_life_with(self, other: Self) -> bool {
        (self.session, self.nonce) == (other.session, other.nonce)
    }
}

/// How far a memory went that stored this under this key, if it is its mark.
#[must_use]
pub fn memory_mark(key: &str, value: &[u8]) -> Option<Mark> {
    (key == OWN).then(|| postcard::from_bytes(value).ok()).flatten()
}

/// What a peer's mark shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It knows what it knew.
    GoesOn,
    /// It says less than this, or is another daemon: to be asked whether it goes on from there.
    Ask(Mark),
}

/// What this node has made durable, and what it remembers of the others.
#[derive(Debug)]
pub(crate) struct Memory {
    own: Mark,
    /// Earlier lives, by session: the chance, and how much each had at its end.
    lives: BTreeMap<u64, (u64, u64)>,
    peers: BTreeMap<NodeId, Mark>,
    /// Why this node is no voter any more, if it is none.
    forgotten: Option<String>,
    /// Because it was removed.
    removed: bool,
    /// The lives are to be written once, and what is remembered when it has changed.
    lives_written: bool,
    peers_written: BTreeMap<NodeId, Mark>,
}

fn read<T: for<'a> Deserialize<'a>>(meta: &BTreeMap<String, Vec<u8>>, key: &str) -> Option<T> {
    meta.get(key).and_then(|bytes| postcard::from_bytes(bytes).ok())
}

fn written(key: &str, value: &impl Serialize) -> Record {
    // Numbers and maps of numbers: there is nothing in them that could fail.
    Record::Meta { key: key.to_owned(), value: postcard::to_allocvec(value).unwrap_or_default() }
}

impl Memory {
    /// The memory of the daemon of this number and chance, from what was stored by key.
    pub(crate) fn new(session: u64, nonce: u64, meta: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut lives: BTreeMap<u64, (u64, u64)> = read(meta, LIVES).unwrap_or_default();
        if let Some(last) = read::<Mark>(meta, OWN) {
            lives.insert(last.session, (last.nonce, last.stored));
        }
        while lives.len() > LIVES_KEPT {
            lives.pop_first();
        }
        let peers: BTreeMap<NodeId, Mark> = read(meta, PEERS).unwrap_or_default();
        Self {
            own: Mark { session, nonce, stored: 0 },
            lives,
            peers_written: peers.clone(),
            peers,
            forgotten: read(meta, FORGOTTEN),
            removed: read(meta, REMOVED).unwrap_or_default(),
            lives_written: false,
        }
    }

    /// What is to be stored with the batch of this number.
    pub(crate) fn records(&mut self, batch: u64) -> Vec<Record> {
        let mut records = Vec::new();
        if !std::mem::replace(&mut self.lives_written, true) {
            records.push(written(LIVES, &self.lives));
        }
        records.push(written(OWN, &Mark { stored: batch, ..self.own }));
        if self.peers != self.peers_written {
            self.peers_written.clone_from(&self.peers);
            records.push(written(PEERS, &self.peers));
        }
        records
    }

    /// The batch of this number, and with it all before, is durable.
    pub(crate) fn durable(&mut self, batch: u64) {
        self.own.stored = self.own.stored.max(batch);
    }

    /// How far this node's memory goes.
    pub(crate) fn mark(&self) -> Mark {
        self.own
    }

    /// A peer says how far its memory goes.
    pub(crate) fn sees(&mut self, peer: NodeId, says: Mark) -> Seen {
        match self.peers.get_mut(&peer) {
            Some(known) if !known.is_of_one_life_with(says) || says.stored < known.stored => {
                Seen::Ask(*known)
            }
            Some(known) => {
                *known = says;
                Seen::GoesOn
            }
            None => {
                self.peers.insert(peer, says);
                Seen::GoesOn
            }
        }
    }

    /// A peer says that it goes on from what was remembered of it.
    pub(crate) fn goes_on(&mut self, peer: NodeId, from: Mark, says: Mark) {
        // An answer to an earlier question says nothing about what is remembered now.
        if self.peers.get(&peer) == Some(&from) {
            self.peers.insert(peer, says);
        }
    }

    /// Whether this node knows what a peer remembers of it: the table above.
    pub(crate) fn knows(&self, remembered: Mark) -> bool {
        if remembered.session == self.own.session {
            return remembered.nonce == self.own.nonce && remembered.stored <= self.own.stored;
        }
        if remembered.session > self.own.session {
            return false;
        }
        match self.lives.get(&remembered.session) {
            Some((nonce, stored)) => remembered.nonce == *nonce && remembered.stored <= *stored,
            // One that made nothing durable left nothing behind, and one of long ago is not kept.
            None => remembered.stored == 0 || self.lives.keys().next() > Some(&remembered.session),
        }
    }

    /// This node is no voter any more: what is to be stored, so that it never takes itself for one again.
    pub(crate) fn forget(&mut self, why: &str) -> Record {
        self.forgotten = Some(why.to_owned());
        written(FORGOTTEN, &why)
    }

    /// The same, because it was removed from the cluster.
    pub(crate) fn forget_removed(&mut self, why: &str) -> Vec<Record> {
        self.removed = true;
        vec![written(REMOVED, &true), self.forget(why)]
    }

    /// Whether it was removed.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed
    }

    /// Why this node is no voter any more.
    pub(crate) fn forgotten(&self) -> Option<&str> {
        self.forgotten.as_deref()
    }

    /// Nobody of this number comes back.
    pub(crate) fn only(&mut self, members: impl Fn(NodeId) -> bool) {
        self.peers.retain(|peer, _| members(*peer));
    }

    /// What is remembered of a peer.
    pub(crate) fn known_of(&self, peer: NodeId) -> Option<Mark> {
        self.peers.get(&peer).copied()
    }

    /// Whether this is said of the daemon that runs now.
    pub(crate) fn is_of_this_life(&self, mark: Mark) -> bool {
        mark.is_of_one_life_with(self.own)
    }

    /// What is durably remembered of a peer.
    pub(crate) fn remembers(&self, peer: NodeId) -> Option<Mark> {
        self.peers_written.get(&peer).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    fn mark(session: u64, nonce: u64, stored: u64) -> Mark {
        Mark { session, nonce, stored }
    }

    /// What the disk holds after so many batches of a daemon that found `disk`.
    fn lives_on(
        disk: &BTreeMap<String, Vec<u8>>,
        session: u64,
        nonce: u64,
        batches: u64,
    ) -> BTreeMap<String, Vec<u8>> {
        let mut disk = disk.clone();
        let mut memory = Memory::new(session, nonce, &disk);
        for batch in 1..=batches {
            for record in memory.records(batch) {
                let Record::Meta { key, value } = record else { panic!("{record:?}") };
                disk.insert(key, value);
            }
        }
        disk
    }

    #[test]
    fn a_daemon_that_is_started_again_goes_on() {
        let disk = lives_on(&BTreeMap::new(), 1, 11, 40);
        let memory = Memory::new(2, 12, &disk);
        assert!(memory.knows(mark(1, 11, 40)));
        assert!(memory.knows(mark(1, 11, 7)));
        assert!(memory.knows(mark(2, 12, 0)));
        let later = lives_on(&disk, 2, 12, 3);
        let memory = Memory::new(4, 14, &later);
        assert!(memory.knows(mark(1, 11, 40)) && memory.knows(mark(2, 12, 3)));
        // It died before it had stored anything, and had spoken.
        assert!(memory.knows(mark(3, 13, 0)));
    }

    #[test]
    fn a_disk_that_was_put_back_is_found_out() {
        let copy = lives_on(&BTreeMap::new(), 1, 11, 40);
        let _what_is_lost = lives_on(&copy, 2, 12, 9);
        // The next daemon has the number of one that was there before, or a larger one after some starts.
        let again = Memory::new(2, 99, &copy);
        assert!(!again.knows(mark(2, 12, 9)));
        assert!(again.knows(mark(1, 11, 40)), "who was not there meanwhile notices nothing");
        let restarted = lives_on(&lives_on(&copy, 2, 99, 2), 3, 98, 2);
        assert!(!Memory::new(4, 97, &restarted).knows(mark(2, 12, 9)));
        // In the middle of a life.
        let middle = lives_on(&BTreeMap::new(), 1, 11, 20);
        assert!(!Memory::new(2, 12, &middle).knows(mark(1, 11, 40)));
        assert!(!Memory::new(1, 11, &BTreeMap::new()).knows(mark(1, 11, 1)), "memory and all, put back");
        assert!(!Memory::new(2, 12, &middle).knows(mark(3, 13, 1)));
    }

    #[test]
    fn lives_of_long_ago_are_not_held_against_anybody() {
        let mut disk = BTreeMap::new();
        for session in 1..=100 {
            disk = lives_on(&disk, session, session, 2);
        }
        let memory = Memory::new(101, 101, &disk);
        assert!(memory.knows(mark(3, 77, 900)));
        assert!(!memory.knows(mark(99, 77, 1)));
    }

    #[test]
    fn a_peer_that_says_less_is_not_heard_until_it_goes_on() {
        let mut memory = Memory::new(1, 1, &BTreeMap::new());
        assert_eq!(memory.sees(PEER, mark(5, 50, 3)), Seen::GoesOn);
        assert_eq!(memory.sees(PEER, mark(5, 50, 8)), Seen::GoesOn);
        assert_eq!(memory.sees(PEER, mark(5, 50, 7)), Seen::Ask(mark(5, 50, 8)), "late, or put back");
        assert_eq!(memory.sees(PEER, mark(6, 60, 1)), Seen::Ask(mark(5, 50, 8)));
        memory.goes_on(PEER, mark(5, 50, 3), mark(6, 60, 1));
        assert_eq!(memory.sees(PEER, mark(6, 60, 1)), Seen::Ask(mark(5, 50, 8)), "that was about less");
        memory.goes_on(PEER, mark(5, 50, 8), mark(6, 60, 1));
        assert_eq!(memory.sees(PEER, mark(6, 60, 2)), Seen::GoesOn);
    }

    #[test]
    fn what_is_remembered_of_peers_and_of_having_forgotten_outlives_the_daemon() {
        let mut memory = Memory::new(1, 1, &BTreeMap::new());
        memory.sees(PEER, mark(5, 50, 3));
        let mut records = memory.records(1);
        records.push(memory.forget("why"));
        let keep = |record| match record {
            Record::Meta { key, value } => (key, value),
            other => panic!("{other:?}"),
        };
        let disk: BTreeMap<String, Vec<u8>> = records.into_iter().map(keep).collect();
        let mut memory = Memory::new(2, 2, &disk);
        assert_eq!(memory.forgotten(), Some("why"));
        assert_eq!(memory.sees(PEER, mark(5, 50, 2)), Seen::Ask(mark(5, 50, 3)));
        assert_eq!(memory.remembers(PEER), Some(mark(5, 50, 3)));
    }
}
