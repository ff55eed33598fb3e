//! Generations (`docs/arbiter.md`): what is noted durably before anything is done in one, and what follows from it.

use regent_arbiter::Generation;
use regent_arbiter::mutants::Condition;
use regent_model::NodeId;
use regent_model::journal::Level;

use crate::consensus::{Noted, alone};
use crate::engine::{Engine, OnDurable};

impl Engine {
    /// Switches a condition of the arbiter off, to see whether that is noticed.
    #[cfg(feature = "mutants")]
    pub fn switch_off_arbiter(&mut self, mutants: regent_arbiter::mutants::Mutants) {
        self.asking.mutants = mutants;
        self.consensus.mutants = mutants;
    }

    /// Who votes, as far as this node knows: the one that an arbiter named, as soon as that is noted.
    #[must_use]
    pub fn counted_voters(&self) -> std::collections::BTreeSet<NodeId> {
        self.counted()
    }

    /// The last generation whose beginning this node has applied.
    pub(crate) fn entered(&self) -> Generation {
        Generation(self.state.generation)
    }

    /// Whether a generation is noted whose beginning the log has not brought here yet.
    pub(crate) fn is_entering(&self) -> bool {
        self.consensus.noted().generation > self.entered()
    }

    /// Who votes, as far as this node knows; see [`crate::consensus::Consensus::counted`].
    pub(crate) fn counted(&self) -> std::collections::BTreeSet<NodeId> {
        self.consensus.counted(self.entered())
    }

    /// The arbiter has decided, or somebody speaks of a later generation: notes it durably first (A12). Until then
    /// consensus stands still: what was looked at when it was decided is true as long as nothing more is stored (A9).
    pub(crate) fn note_generation(&mut self, noted: Noted) {
        let is_noted = |then: &OnDurable| matches!(then, OnDurable::Generation(known) if *known == noted);
        let is_later = noted.is_after(self.consensus.noted()) && noted.winner.is_some();
        if !is_later || self.batches.values().any(is_noted) {
            return;
        }
        if self.asking.mutants.off(Condition::NotedDurably) {
            self.generation_noted(noted);
            return;
        }
        self.consensus.begin_noting();
        self.persist(vec![alone::record(noted)], OnDurable::Generation(noted));
    }

    /// It is durable: this node goes on alone, or has lost its vote until the log gives it back.
    pub(crate) fn generation_noted(&mut self, noted: Noted) {
        self.consensus.note(noted);
        if self.batches.values().any(|then| matches!(then, OnDurable::Generation(_))) {
            self.consensus.begin_noting();
        }
        self.asking.noted_ms = Some(self.wall_ms);
        // What a person begins is asked about first.
        if noted.winner == Some(self.me.id) && self.asking.word.is_none() {
            self.clear();
        }
        let winner = noted.winner.map(|id| self.state.name_of(id).to_owned()).unwrap_or_default();
        let text = format!("generation {} has begun: {winner} goes on alone", noted.generation);
        self.tell(Level::Notice, "generation", text);
    }

    /// Until the log has brought the beginning of the generation that is noted: its winner goes on alone, leads, and
    /// puts the beginning into the log; the other one counts itself out. Again and again: after a restart the log
    /// may still say otherwise, and so may earlier changes of it when they are applied.
    pub(crate) fn follow_generation(&mut self) {
        let noted = self.consensus.noted();
        let Some(winner) = noted.winner.filter(|_| self.is_entering()) else { return };
        if winner != self.me.id {
            let _again_later = self.consensus.stand_down(self.now, self.me.id);
            return;
        }
        let votes = self.consensus.voters().into_iter().find(|id| *id != self.me.id);
        let other = votes.or_else(|| self.consensus.learners().into_iter().next());
        if self.consensus.go_on_alone(self.now, self.me.id)
            && let Some(other) = other
        {
            let _again_later = self.consensus.begin_alone(other);
        }
    }
}
