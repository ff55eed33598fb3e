//! Generations (`docs/arbiter.md`): what is noted durably before anything is done in one.

use regent_model::journal::Level;

use crate::consensus::{Noted, alone};
use crate::engine::{Engine, OnDurable};

impl Engine {
    /// The arbiter has decided, or somebody speaks of a later generation: notes it durably first (A12).
    pub(crate) fn note_generation(&mut self, noted: Noted) {
        let is_noted = |then: &OnDurable| matches!(then, OnDurable::Generation(known) if *known == noted);
        if noted.generation > self.consensus.noted().generation && !self.batches.values().any(is_noted) {
            self.persist(vec![alone::record(noted)], OnDurable::Generation(noted));
        }
    }

    /// It is durable: this node goes on alone, or has lost its vote until the log gives it back.
    pub(crate) fn generation_noted(&mut self, noted: Noted) {
        self.consensus.note(noted);
        let won = noted.winner == Some(self.me.id);
        let winner = noted.winner.map(|id| self.state.name_of(id).to_owned()).unwrap_or_default();
        let text = format!("generation {} has begun: {winner} goes on alone", noted.generation);
        self.tell(Level::Notice, "generation", text);
        if won {
            let others = self.consensus.voters();
            for other in others.into_iter().filter(|id| *id != self.me.id) {
                let _again_later = self.consensus.go_on_alone(self.now, other);
            }
        } else {
            let _again_later = self.consensus.stand_down(self.now, self.me.id);
        }
    }
}
