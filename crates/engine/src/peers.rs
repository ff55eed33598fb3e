//! The other members: whom messages go to, and whom the daemon keeps a channel to.

use std::collections::BTreeMap;

use regent_model::ids::NodeId;

use crate::engine::Engine;
use crate::io::PeerMessage;

impl Engine {
    pub(crate) fn peer_said(&mut self, from: NodeId, message: PeerMessage) {
        if self.is_removed(from) {
            return;
        }
        match message {
            PeerMessage::Removed => self.has_been_removed(from),
            PeerMessage::Raft { mark, of, message } => self.peer_decides(from, mark, of, message),
            PeerMessage::Forgotten => self.peer_has_forgotten(from),
            PeerMessage::Remembered(mark) => self.is_remembered(from, mark),
            PeerMessage::GoesOn { from: remembered, mark } => self.memory.goes_on(from, remembered, mark),
            PeerMessage::Propose(proposal) => {
                self.put_into_log(&proposal);
            }
            PeerMessage::Promised { mark, promise, matured } => {
                if self.remembers_what_it_said(from, mark) {
                    self.peer_promised(from, promise, matured);
                }
            }
            PeerMessage::Facts { mark, facts } => {
                let counts = self.remembers_what_it_said(from, mark);
                let (noted, alone) = (facts.noted, facts.alone);
                self.peer_facts(from, *facts);
                if counts {
                    self.peer_generation(from, noted, alone);
                }
            }
            PeerMessage::Fenced { about, attempt, result } => self.fence_result(about, attempt, result),
            PeerMessage::Journal { after, entries } => {
                if let Some(member) = self.state.members.get(&from) {
                    self.chronicle.learn_all(&member.name, after, entries);
                }
            }
            PeerMessage::Connections(talk) => self.peer_connections(from, talk),
            PeerMessage::JournalAfter(after) => {
                if let Some(answer) = self.chronicle.own_after(after) {
                    self.out.send.push((from, answer));
                }
            }
        }
    }

    /// Everyone that messages go to: the members, without this node.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        self.state.members.keys().copied().filter(|id| *id != self.me.id).collect()
    }

    pub(crate) fn broadcast(&mut self, message: &PeerMessage) {
        for to in self.others() {
            self.out.send.push((to, message.clone()));
        }
    }

    /// Tells the daemon whom to keep a channel to.
    pub(crate) fn tell_peers(&mut self) {
        // They follow from what is applied alone.
        if self.peers_told.1.replace(self.consensus.applied()) == Some(self.consensus.applied()) {
            return;
        }
        let address = |name| self.state.config.member(name).map(|n| n.addresses.clone());
        let mut peers: BTreeMap<NodeId, Vec<std::net::IpAddr>> = self
            .state
            .members
            .iter()
            .filter(|(id, _)| **id != self.me.id)
            .filter_map(|(id, m)| Some((*id, address(&m.name)?)))
            .collect();
        // A node that joins knows its peers from the configuration before the log tells it their numbers.
        if self.state.members.is_empty() {
            peers.clear();
        }
        if peers != self.peers_told.0 {
            self.peers_told.0.clone_from(&peers);
            self.out.peers = Some(peers);
            self.out.former = self.former();
        }
    }
}
