//! What an engine says of its memory, and does with what others say of theirs.

use regent_model::NodeId;
use regent_model::journal::Level;
use regent_model::mutants::{Condition, off};

use crate::consensus::RaftMessage;
use crate::engine::{Engine, OnDurable};
use crate::io::PeerMessage;

use super::{Mark, Seen};

impl Engine {
    /// How far the memory of a peer goes, as this node durably remembers.
    #[must_use]
    pub fn remembers(&self, peer: NodeId) -> Option<Mark> {
        self.memory.remembers(peer)
    }

    /// A word of consensus, with how far this node's memory goes.
    pub(crate) fn marked(&self, message: RaftMessage) -> PeerMessage {
        let of = self.memory.known_of(message.to());
        PeerMessage::Raft { mark: self.memory.mark(), of, message }
    }

    /// Takes a word of consensus, if its sender knows what it has said before, and this node what the sender believes.
    pub(crate) fn peer_decides(&mut self, from: NodeId, mark: Mark, of: Option<Mark>, message: RaftMessage) {
        if message.from() != from || message.to() != self.me.id {
            return;
        }
        if let Some(of) = of.filter(|of| !self.memory.is_of_this_life(*of) || !self.memory.knows(*of)) {
            self.is_remembered(from, of);
        }
        if self.memory.forgotten().is_none()
            && self.remembers_what_it_said(from, mark)
            && let Some(later) = self.consensus.step(self.now, message)
        {
            if later.parts_from(self.consensus.noted(), self.asking.mutants) {
                self.give_up(from, later);
            } else {
                self.note_generation(later);
            }
        }
    }

    /// Whether what a peer says counts: it knows what it has said before. If it says less, it is asked.
    pub(crate) fn remembers_what_it_said(&mut self, from: NodeId, mark: Mark) -> bool {
        match self.memory.sees(from, mark) {
            Seen::GoesOn => true,
            Seen::Ask(remembered) => {
                self.out.send.push((from, PeerMessage::Remembered(remembered)));
                off(Condition::MemoryGoesOn)
            }
        }
    }

    /// A peer remembers this of this node.
    pub(crate) fn is_remembered(&mut self, by: NodeId, remembered: Mark) {
        if self.memory.knows(remembered) {
            let mark = self.memory.mark();
            self.out.send.push((by, PeerMessage::GoesOn { from: remembered, mark }));
        } else if !off(Condition::MemoryGoesOn) {
            self.has_forgotten(by, remembered);
        }
    }

    /// A peer is no voter any more, by its own word.
    pub(crate) fn peer_has_forgotten(&mut self, peer: NodeId) {
        let name = self.state.name_of(peer);
        let text = format!(
            "{name} takes part in nothing any more: an older copy of its state was put in place, from a backup or with a \
             snapshot of the machine. regent status on {name} says how to bring it in anew"
        );
        self.tell(Level::Error, "forgotten", text);
    }

    /// This node does not know what others rely on. It does and decides nothing any more; that is durable before the daemon ends.
    fn has_forgotten(&mut self, by: NodeId, remembered: Mark) {
        let (me, peer, own) = (&self.me.name, self.state.name_of(by), self.memory.mark());
        let why = format!(
            "{me} has forgotten what it told {peer}: that remembers batch {} of daemon {}, and here batch {} of daemon {} is the \
             last. An older copy of its state was put in place, from a backup or with a snapshot of the machine. \
             Others rely on what it promised and stored since, so it owns nothing and takes part in nothing any more",
            remembered.stored, remembered.session, own.stored, own.session
        );
        self.tell(Level::Error, "forgotten", why.clone());
        // Its last word: the others show it where somebody looks.
        self.broadcast(&PeerMessage::Forgotten);
        let record = self.memory.forget(&why);
        self.persist(vec![record], OnDurable::Forgotten);
    }

    /// Ends the daemon, which takes part in nothing any more.
    pub(crate) fn end_for_good(&mut self) {
        self.out.forgotten = self.memory.forgotten().map(str::to_owned);
        self.out.removed = self.memory.is_removed();
    }
}
