//! Traps: faults that wait for a word in a journal and strike in that moment, between what a daemon has decided and
//! what it was about to say or store.

use regent_model::ids::NodeId;
use regent_model::journal::Entry;

use crate::event::Event;
use crate::faults::Fault;
use crate::sim::Sim;
use crate::time::Ns;

/// What strikes when something is told.
#[derive(Debug, Clone)]
pub(crate) struct Trap {
    /// Whose journal.
    pub(crate) node: NodeId,
    pub(crate) kind: &'static str,
    /// Words of the entry.
    pub(crate) words: &'static str,
    pub(crate) until: Ns,
    /// What begins, how long after that, and for how long.
    pub(crate) strikes: Vec<(Ns, Fault, Ns)>,
}

impl Sim {
    /// Looks whether a trap waits for this entry. What strikes at once does so before anything else that follows
    /// from the entry.
    pub(crate) fn spring(&mut self, node: NodeId, entry: &Entry) {
        if self.peace || self.traps.is_empty() {
            return;
        }
        let now = self.now;
        self.traps.retain(|trap| now <= trap.until);
        let waits = |t: &Trap| t.node == node && entry.kind == t.kind && entry.text.contains(t.words);
        let Some(at) = self.traps.iter().position(waits) else { return };
        self.marks.hit("a trap struck");
        for (after, fault, lasts) in self.traps.remove(at).strikes {
            if after == 0 {
                self.begin(fault, lasts);
            } else {
                self.for_a_while(after, fault, lasts);
            }
        }
    }

    /// A fault that begins later, and ends after so long if it ends at all.
    pub(crate) fn for_a_while(&mut self, from: Ns, fault: Fault, lasts: Ns) {
        if lasts > 0 {
            self.after(from + lasts, Event::Heals(fault.clone()));
        }
        self.after(from, Event::Fault(fault));
    }
}
