//! The connections of one address, as its owner tells them: whole once, then by what changes.

use std::collections::BTreeSet;
use std::time::Duration;

use regent_model::Moment;
use regent_model::connection::{Change, Connection, RECORDED_MAX, ServiceAddress};
use regent_model::ids::{Epoch, NodeId};
use serde::{Deserialize, Serialize};

/// How often a whole list is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What nodes say to each other of connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionsTalk {
    /// "Of who is connected to this address of mine, this has changed", or after a while, that nothing has.
    Word(ConnectionsWord),
    /// "Send me all of who is connected to this address of yours."
    Wanted(ServiceAddress),
}

/// What an owner says of the connections of an address. Any of it may be lost: the numbers tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsWord {
    /// The address.
    pub of: ServiceAddress,
    /// The ownership under which they are recorded.
    pub epoch: Epoch,
    /// The number of the list to which the change is to be made.
    pub after: u64,
    /// The number of the list that it gives; larger, or the same where nothing changed.
    pub version: u64,
    /// What changes.
    pub change: Change,
    /// How many are recorded then.
    pub count: u32,
}

/// Nothing has changed.
pub(super) fn no_change(beyond: u32) -> Change {
    Change { whole: false, opened: Vec::new(), closed: Vec::new(), beyond }
}

/// What is known of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Whose list it is, and of which ownership.
    pub(crate) from: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) version: u64,
    pub(crate) known: BTreeSet<Connection>,
    /// How many the owner of this epoch records, as it said last. Ahead of the list where that was missed.
    pub(crate) counted: Option<(Epoch, u32)>,
    pub(crate) beyond: u32,
    asked: Option<Moment>,
}

impl Record {
    /// Nothing is known of this address yet.
    pub(crate) fn new() -> Self {
        Self {
            from: NodeId(0),
            epoch: Epoch(0),
            version: 0,
            known: BTreeSet::new(),
            counted: None,
            beyond: 0,
            asked: None,
        }
    }

    /// Takes what this node itself records under `epoch`, and gives the word for the others.
    pub(crate) fn take_own(
        &mut self,
        me: NodeId,
        epoch: Epoch,
        of: &ServiceAddress,
        change: Change,
        first_version: u64,
    ) -> ConnectionsWord {
        let goes_on = self.is_of(me, epoch) && self.version >= first_version;
        // What was an earlier owner's is replaced, also where the beginning of the new list was missed.
        let change = Change { whole: change.whole || !goes_on, ..change };
        let after = if goes_on { self.version } else { first_version };
        (self.from, self.epoch, self.version) = (me, epoch, after + 1);
        self.change(&change);
        let count = self.count();
        self.counted = Some((epoch, count));
        ConnectionsWord { of: of.clone(), epoch, after, version: self.version, change, count }
    }

    /// The whole list, for a peer that missed some of it.
    pub(crate) fn whole(&self, of: &ServiceAddress) -> ConnectionsWord {
        let opened = self.known.iter().copied().collect();
        let change = Change { whole: true, opened, closed: Vec::new(), beyond: self.beyond };
        let (after, version) = (self.version, self.version);
        ConnectionsWord { of: of.clone(), epoch: self.epoch, after, version, change, count: self.count() }
    }

    /// The same without the list: a peer that has another one asks.
    pub(crate) fn brief(&self, of: &ServiceAddress) -> ConnectionsWord {
        let change = no_change(self.beyond);
        let (after, version) = (self.version, self.version);
        ConnectionsWord { of: of.clone(), epoch: self.epoch, after, version, change, count: self.count() }
    }

    /// Takes the word of the address's owner. True when the whole list is to be asked for.
    pub(crate) fn take(&mut self, now: Moment, from: NodeId, word: ConnectionsWord) -> bool {
        if word.epoch < self.epoch {
            return false;
        }
        let ours = self.is_of(from, word.epoch);
        if ours && word.version < self.version {
            return false;
        }
        self.counted = Some((word.epoch, word.count));
        if ours && word.version == self.version {
            return false;
        }
        if word.change.whole || (ours && word.after == self.version) {
            (self.from, self.epoch, self.version) = (from, word.epoch, word.version);
            self.asked = None;
            self.change(&word.change);
            return false;
        }
        // Until it comes, what is known stays: it is better than nothing.
        let early = self.asked.is_some_and(|at| now.since(at) < ASK_AGAIN);
        if !early {
            self.asked = Some(now);
        }
        !early
    }

    fn is_of(&self, node: NodeId, epoch: Epoch) -> bool {
        (self.from, self.epoch) == (node, epoch)
    }

    fn change(&mut self, change: &Change) {
        if change.whole {
            self.known.clear();
        }
        for gone in &change.closed {
            self.known.remove(gone);
        }
        let room = RECORDED_MAX.saturating_sub(self.known.len());
        self.known.extend(change.opened.iter().filter(|c| c.is_possible()).take(room));
        self.beyond = change.beyond;
    }

    fn count(&self) -> u32 {
        u32::try_from(self.known.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWNER: NodeId = NodeId(1);
    const FIRST: u64 = 7 << 32;

    fn of() -> ServiceAddress {
        ServiceAddress { group: "db".to_owned().try_into().unwrap(), address: "10.77.0.100".parse().unwrap() }
    }

    fn connection(number: u16) -> Connection {
        Connection { peer: ([10, 77, 0, 9], 1024 + number).into(), port: 80 }
    }

    fn opened(numbers: &[u16], whole: bool) -> Change {
        let opened = numbers.iter().map(|n| connection(*n)).collect();
        Change { whole, opened, closed: Vec::new(), beyond: 0 }
    }

    fn own(record: &mut Record, epoch: u64, change: Change) -> ConnectionsWord {
        record.take_own(OWNER, Epoch(epoch), &of(), change, FIRST)
    }

    #[test]
    fn what_was_missed_is_asked_for_whole_and_until_then_the_old_list_stays() {
        let (mut owner, mut peer) = (Record::new(), Record::new());
        let first = own(&mut owner, 5, opened(&[1], true));
        assert!(!peer.take(Moment(0), OWNER, first));
        let _lost = own(&mut owner, 5, opened(&[2], false));
        let next = own(&mut owner, 5, opened(&[3], false));
        assert!(peer.take(Moment(0), OWNER, next.clone()), "it asks");
        assert!(!peer.take(Moment(0), OWNER, next), "and not all the time");
        assert_eq!(peer.known, [connection(1)].into());
        assert_eq!(peer.counted, Some((Epoch(5), 3)));
        assert!(!peer.take(Moment(0), OWNER, owner.whole(&of())));
        assert_eq!(peer.known, owner.known);
    }

    #[test]
    fn the_last_change_that_is_lost_is_noticed_by_the_next_brief_word() {
        let (mut owner, mut peer) = (Record::new(), Record::new());
        peer.take(Moment(0), OWNER, own(&mut owner, 5, opened(&[1], true)));
        assert!(!peer.take(Moment(0), OWNER, owner.brief(&of())));
        let _lost = own(&mut owner, 5, opened(&[2], false));
        assert!(peer.take(Moment(0), OWNER, owner.brief(&of())));
    }

    #[test]
    fn the_list_of_the_owner_before_stays_until_the_new_one_has_told_its_own() {
        let mut peer = Record::new();
        peer.take(Moment(0), OWNER, own(&mut Record::new(), 5, opened(&[1, 2], true)));
        let mut next = Record::new();
        let late = ConnectionsWord { epoch: Epoch(4), ..next.whole(&of()) };
        assert!(!peer.take(Moment(0), NodeId(3), late));
        let first = next.take_own(NodeId(2), Epoch(6), &of(), opened(&[], true), FIRST);
        assert!(peer.take(Moment(0), NodeId(2), next.brief(&of())), "it is not known yet");
        assert_eq!((peer.known.len(), peer.epoch), (2, Epoch(5)));
        assert!(!peer.take(Moment(0), NodeId(2), first));
        assert_eq!((peer.known.len(), peer.epoch), (0, Epoch(6)));
    }

    #[test]
    fn a_daemon_that_begins_anew_begins_a_list_that_none_of_the_old_one_fits() {
        let (mut owner, mut peer) = (Record::new(), Record::new());
        peer.take(Moment(0), OWNER, own(&mut owner, 5, opened(&[1], true)));
        let mut anew = Record::new();
        let _lost = anew.take_own(OWNER, Epoch(5), &of(), opened(&[9], true), FIRST + (1 << 32));
        let next = anew.take_own(OWNER, Epoch(5), &of(), opened(&[8], false), FIRST + (1 << 32));
        assert!(peer.take(Moment(0), OWNER, next));
    }

    #[test]
    fn a_list_is_bounded_and_holds_nothing_to_which_nothing_may_be_sent() {
        let mut peer = Record::new();
        let many: Vec<u16> = (0..10_000).collect();
        let mut word = own(&mut Record::new(), 5, opened(&[], true));
        word.change = opened(&many, true);
        let everybody = Connection { peer: "255.255.255.255:9".parse().unwrap(), port: 80 };
        word.change.opened.insert(0, everybody);
        peer.take(Moment(0), OWNER, word);
        assert_eq!(peer.known.len(), RECORDED_MAX);
        assert!(!peer.known.contains(&everybody));
    }

    proptest! {
        /// Whatever is lost, doubled or late: after one exchange in peace the peer has the owner's list.
        #[test]
        fn peers_agree_after_a_moment_of_peace(
            steps in prop::collection::vec((0..20u16, any::<bool>(), 0..4u8), 1..60)
        ) {
            let (mut owner, mut peer) = (Record::new(), Record::new());
            let mut late = vec![own(&mut owner, 5, opened(&[], true))];
            for (number, opens, fate) in steps {
                let mut change = no_change(0);
                if opens { change.opened.push(connection(number)) } else { change.closed.push(connection(number)) }
                let word = own(&mut owner, 5, change);
                match fate {
                    0 => {}
                    1 => late.push(word),
                    2 => { peer.take(Moment(0), OWNER, word.clone()); peer.take(Moment(0), OWNER, word); }
                    _ => { if let Some(old) = late.pop() { peer.take(Moment(0), OWNER, old); }
                           peer.take(Moment(0), OWNER, word); }
                }
            }
            let later = Moment(10_000_000_000);
            if peer.take(later, OWNER, owner.brief(&of())) {
                peer.take(later, OWNER, owner.whole(&of()));
            }
            prop_assert_eq!(peer.known, owner.known);
        }
    }
}
