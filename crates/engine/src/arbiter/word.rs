//! A person's word that the other one of two nodes is off, where nobody else can say who goes on: this node goes on alone,
//! in a generation that passes over the one which the arbiter may have decided without anybody knowing.
//!
//! The word is good for one life of this node, and for a while. What is known by the disk is asked for first, so that the other
//! one finds there what has happened.

use std::time::Duration;

use regent_api::Answer;
use regent_arbiter::{Generation, Outcome};
use regent_model::journal::Level;
use regent_model::state::Command;
use regent_model::{Moment, NodeId};

use crate::engine::Engine;

/// A word on which this node has not gone on yet.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    about: NodeId,
    who: String,
    why: String,
    minutes: u32,
    given: Moment,
    given_ms: u64,
}

impl Engine {
    /// Whether nothing can be put into the log here but on somebody's word that `node` is off.
    pub(crate) fn needs_a_word_about(&self, node: NodeId) -> bool {
        let two = self.other_voter() == Some(node) && self.consensus.voters().contains(&self.me.id);
        let waits = self.is_to_wait() && self.other_member() == Some(node);
        !self.consensus.leads() && (two || waits)
    }

    /// Goes on alone on this word, in time.
    pub(crate) fn go_on_by_word(
        &mut self,
        about: NodeId,
        (who, why): (String, String),
        minutes: u32,
    ) -> Answer {
        let name = self.state.name_of(about);
        if let Some(refusal) = self.word_refused(about) {
            return refusal;
        }
        let (given, given_ms) = (self.now, self.wall_ms);
        let text = format!(
            "{who} says that {name} is off ({why}), and that it stays off until it hears this node: going on alone"
        );
        self.tell(Level::Warning, "word", text);
        self.asking.word = Some(Word { about, who: who.clone(), why, minutes, given, given_ms });
        self.asking.not_before = self.now;
        let passed = match self.asking.last {
            Some(Outcome::Lost(generation) | Outcome::Behind(generation) | Outcome::Parted(generation)) => {
                Some(generation)
            }
            _ => None,
        };
        if let Some(passed) = passed.or((!self.is_to_wait()).then(Generation::default)) {
            self.begin_by_word(passed);
        }
        Answer::Done(format!(
            "the word of {who} that {name} is dead is recorded: this node goes on alone, and it is good for {minutes} min. {name} \
             must stay off until it can hear this node: regent status"
        ))
    }

    fn word_refused(&mut self, about: NodeId) -> Option<Answer> {
        let name = self.state.name_of(about);
        let standing = self.standing();
        let mine = self.consensus.noted();
        let matured = self
            .own_promises
            .iter()
            .any(|p| Some(p.about) == self.state.living(about) && self.promises.get(p) == Some(&true));
        let in_a_moment = "say it again in a moment";
        if self.guard.incarnation.is_none() {
            return Some(Answer::refused("the guard of this node has not begun", in_a_moment));
        }
        if self.asking.word.is_some() || self.is_noting() {
            return Some(Answer::refused("somebody's word is being acted on already", "regent status"));
        }
        if !matured && !self.has_listened() {
            let reason = format!("{name} was heard a moment ago, or this daemon has only begun to listen");
            return Some(Answer::refused(reason, in_a_moment));
        }
        let bring_up = format!("bring {name} up");
        if standing.changing {
            let reason = "a change of voters or of the arbiter was stored here, and nobody knows whether it is in force";
            return Some(Answer::refused(reason, bring_up));
        }
        let has_all = standing.settled
            || mine.winner.is_some() && self.is_entering()
            || mine.winner == Some(self.me.id);
        if !has_all {
            let reason = format!(
                "this node may not have got all that {name} decided alone: the two had not yet confirmed to each other that they \
                 are two"
            );
            return Some(Answer::refused(reason, bring_up));
        }
        None
    }

    /// Begins a generation on the word that was given: one that nobody can have been named for, whatever the disk shows.
    pub(super) fn begin_by_word(&mut self, shown: Generation) {
        let Some(word) = &self.asking.word else { return };
        let (me, mine) = (self.me.id, self.consensus.noted());
        let shared = if self.is_sole_voter() { mine.shared } else { self.entered() };
        let noted = mine.passed_by_word(shown, me, shared, word.given_ms);
        self.note_generation(noted);
    }

    /// Whether this daemon knows already that the disk does not answer.
    fn disk_is_lost(&self) -> bool {
        let lost = matches!(
            self.asking.last,
            Some(
                Outcome::Unread
                    | Outcome::Unsure
                    | Outcome::Damaged
                    | Outcome::Forgotten
                    | Outcome::Overtaken
            )
        );
        self.area().is_none() || lost && !self.asking.is_underway()
    }

    /// Does what the word that was given allows, in time.
    pub(super) fn follow_word(&mut self) {
        let Some(word) = self.asking.word.clone() else { return };
        let name = self.state.name_of(word.about);
        if self.now.since(word.given) >= Duration::from_secs(u64::from(word.minutes) * 60) {
            self.asking.word = None;
            let text = format!(
                "the word of {} that {name} is off is good no more, and nothing was done on it",
                word.who
            );
            self.tell(Level::Warning, "word", text);
        } else if self.is_to_wait() && !self.is_noting() && self.disk_is_lost() {
            let text = format!(
                "going on without the arbiter, on the word of {} alone: {name} must stay off",
                word.who
            );
            self.tell(Level::Warning, "word", text);
            self.clear();
        } else if self.goes_on_alone() && self.consensus.leads_with_all_applied() && !self.is_entering() {
            self.asking.word = None;
            let owner = self.owner_or_living(word.about);
            if let Some(about) = owner {
                let Word { who, why, minutes, given_ms, .. } = word;
                self.propose(Command::ConfirmDead { about, who, why, given_ms, minutes });
            }
        } else if self.consensus.noted().winner != Some(self.me.id) && !self.is_noting() {
            self.asking.word = None;
        }
    }

    /// Whether a person's word was given here that was not used yet.
    #[must_use]
    pub fn has_a_word(&self) -> bool {
        self.asking.word.is_some()
    }

    /// Whether this node goes on by a person's word of which the arbiter's disk does not know: the other one could be named
    /// there.
    #[must_use]
    pub fn rests_on_a_word(&self) -> bool {
        let noted = self.consensus.noted();
        let unsaid = self.area().is_some_and(|area| self.asking.memo.of(area).said < noted.generation);
        noted.word_ms > 0 && self.is_sole_voter() && unsaid
    }
}
