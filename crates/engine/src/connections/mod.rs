//! Who is connected to the service addresses: recorded by the owner, told to the peers beside the log, and made to
//! notice it by the next owner.
//!
//! Nothing waits for any of it, and no proof or lease depends on it: at worst a client waits for its own keepalive.

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use regent_model::Moment;
use regent_model::connection::{Change, RECORDED_MAX, ServiceAddress, TickleRun, Tickled, in_words};
use regent_model::ids::{Epoch, GroupName, NodeId};
use regent_model::journal::Level;
use regent_model::state::Tenure;

use crate::engine::Engine;
use crate::io::PeerMessage;

use record::Record;
pub use record::{ConnectionsTalk, ConnectionsWord};

/// How often peers hear the state of each list when nothing changes: one of them may have missed the last change.
const BRIEF_EVERY: Duration = Duration::from_secs(1);
/// That a list is full is told again only after it was emptier than this.
const ROOM_AGAIN: usize = RECORDED_MAX / 4 * 3;

/// What this node knows of connections.
#[derive(Default)]
pub(crate) struct Connections {
    records: BTreeMap<ServiceAddress, Record>,
    /// The addresses that are up here and whose connections are recorded, each under its ownership.
    up: BTreeMap<ServiceAddress, Epoch>,
    /// Whose connections are being ended.
    ended: BTreeMap<ServiceAddress, NodeId>,
    /// Addresses of which it was told that they have more connections than are recorded.
    full: BTreeSet<ServiceAddress>,
    brief_at: Moment,
}

impl Engine {
    /// Takes note of the addresses that came up here or are about to go: what is connected is recorded from then on, or
    /// left as it was; and who was connected to an earlier owner is made to notice it.
    pub(crate) fn follow_connections(&mut self) {
        let mut up = BTreeMap::new();
        let mut acquired = Vec::new();
        for (group, sequencer) in &self.sequencers {
            for (address, is_fresh) in sequencer.addresses_up() {
                let of = ServiceAddress { group: group.clone(), address };
                if is_fresh && !self.connections.up.contains_key(&of) {
                    acquired.push(of.clone());
                }
                up.insert(of, sequencer.epoch());
            }
        }
        if up == self.connections.up {
            return;
        }
        self.out.record = Some(up.keys().cloned().collect());
        self.connections.up = up;
        for address in acquired {
            self.end_what_was_before(&address);
        }
    }

    /// The address has just come up here: whoever was connected to it talks to nobody. Where a connection does exist
    /// here, nothing happens to it.
    fn end_what_was_before(&mut self, address: &ServiceAddress) {
        let epoch = self.connections.up.get(address).copied().unwrap_or_default();
        let before = self.connections.records.get(address).filter(|r| r.epoch < epoch && !r.known.is_empty());
        let Some(record) = before else { return };
        let connections = record.known.iter().copied().collect();
        self.connections.ended.insert(address.clone(), record.from);
        self.out.tickle.push(TickleRun { of: address.clone(), connections });
    }

    /// The clients were told once; that is repeated for a while.
    pub(crate) fn tickled(&mut self, done: Tickled) {
        let Some(from) = self.connections.ended.remove(&done.of) else { return };
        let (address, had) = (done.of.address, self.state.name_of(from).to_owned());
        let (level, text) = match (&done.error, done.sent) {
            (Some(_), 0) => (
                Level::Warning,
                format!(
                    "who was connected to {address} on {had} could not be told, and may wait for its keepalive"
                ),
            ),
            (_, sent) => {
                (Level::Step, format!("reset {} of {address} that {had} had", in_words(sent as usize)))
            }
        };
        let epoch = self.connections.up.get(&done.of).copied();
        self.write(level, "connections", text, |e| {
            e.group = Some(done.of.group);
            e.epoch = epoch;
            e.took = Some(done.took);
            e.evidence = done.error.unwrap_or_default();
        });
    }

    /// The agent says what has changed at an address that this node owns.
    pub(crate) fn connections_changed(&mut self, address: ServiceAddress, change: Change) {
        let owned = self.state.ownership(&address.group).filter(|o| Some(o.owner) == self.my_life());
        let Some(epoch) = owned.map(|o| o.epoch) else { return };
        let first_version = self.me.session << 32;
        let record = self.connections.records.entry(address.clone()).or_insert_with(Record::new);
        let word = record.take_own(self.me.id, epoch, &address, change, first_version);
        let (known, beyond) = (record.known.len(), record.beyond);
        for peer in self.heirs(&address.group) {
            self.out.send.push((peer, PeerMessage::Connections(ConnectionsTalk::Word(word.clone()))));
        }
        self.tell_full(address, known, beyond);
    }

    fn tell_full(&mut self, address: ServiceAddress, known: usize, beyond: u32) {
        if beyond == 0 {
            if known < ROOM_AGAIN {
                self.connections.full.remove(&address);
            }
            return;
        }
        if !self.connections.full.insert(address.clone()) {
            return;
        }
        let text = format!(
            "{} has more than {RECORDED_MAX} connections: {beyond} of them are not recorded, and their clients may wait \
             for their keepalive after a takeover",
            address.address
        );
        self.write(Level::Warning, "connections", text, |e| e.group = Some(address.group));
    }

    /// Who may own this group after this node.
    fn heirs(&self, group: &GroupName) -> Vec<NodeId> {
        let nodes = self.state.config.group(group).map(|g| g.nodes.clone()).unwrap_or_default();
        let ids = nodes.iter().filter_map(|name| self.state.id_of(name));
        ids.filter(|id| *id != self.me.id).collect()
    }

    /// Tells everybody now and then which list is the newest.
    pub(crate) fn repeat_connections(&mut self) {
        if self.now < self.connections.brief_at {
            return;
        }
        self.connections.brief_at = self.now + BRIEF_EVERY;
        let config = &self.state.config;
        let is_known = |of: &ServiceAddress| {
            config.group(&of.group).is_some_and(|g| g.addresses.iter().any(|a| a.address == of.address))
        };
        self.connections.records.retain(|of, _| is_known(of));
        let Connections { up, records, .. } = &self.connections;
        let own = up.iter().filter_map(|(of, epoch)| {
            let record = records.get(of).filter(|r| r.from == self.me.id && r.epoch == *epoch)?;
            Some(PeerMessage::Connections(ConnectionsTalk::Word(record.brief(of))))
        });
        for message in own.collect::<Vec<_>>() {
            self.broadcast(&message);
        }
    }

    /// A peer tells of connections, or wants to be told.
    pub(crate) fn peer_connections(&mut self, from: NodeId, talk: ConnectionsTalk) {
        match talk {
            ConnectionsTalk::Word(word) => self.connections_told(from, word),
            ConnectionsTalk::Wanted(of) => self.connections_wanted(from, &of),
        }
    }

    /// The owner of an address tells of its connections. Only the owner is believed, and only about addresses that the
    /// configuration gives it.
    fn connections_told(&mut self, from: NodeId, word: ConnectionsWord) {
        let owned = self.state.ownership(&word.of.group);
        let is_owner = owned.is_some_and(|o| o.owner.node == from && o.epoch == word.epoch);
        let Some(group) = self.state.config.group(&word.of.group).filter(|_| is_owner) else { return };
        if !group.addresses.iter().any(|a| a.address == word.of.address) {
            return;
        }
        let inherits = group.nodes.contains(&self.me.name);
        let of = word.of.clone();
        let record = self.connections.records.entry(of.clone()).or_insert_with(Record::new);
        if record.take(self.now, from, word) && inherits {
            self.out.send.push((from, PeerMessage::Connections(ConnectionsTalk::Wanted(of))));
        }
    }

    /// A peer has missed something.
    fn connections_wanted(&mut self, by: NodeId, of: &ServiceAddress) {
        let up = self.connections.up.get(of);
        let record = self.connections.records.get(of);
        let own = record.filter(|r| r.from == self.me.id && Some(&r.epoch) == up);
        let Some(word) = own.map(|record| record.whole(of)) else { return };
        if self.heirs(&of.group).contains(&by) {
            self.out.send.push((by, PeerMessage::Connections(ConnectionsTalk::Word(word))));
        }
    }

    /// How many connections of an address are recorded, as far as this node knows.
    pub(crate) fn connections_of(&self, group: &GroupName, address: IpAddr) -> Option<u32> {
        let Tenure::Owned(owned) = &self.state.groups.get(group)?.tenure else { return None };
        let record = self.connections.records.get(&ServiceAddress { group: group.clone(), address })?;
        record.counted.filter(|(epoch, _)| *epoch == owned.epoch).map(|(_, count)| count)
    }
}
