//! What people are told of the arbiter.

use regent_api::ArbiterStatus;
use regent_arbiter::standing::{Arbiter as Kind, NotNow};
use regent_arbiter::{Generation, Outcome};
use regent_model::NodeId;
use regent_model::action::ARBITER_DISK;
use regent_model::config::Arbiter;
use regent_model::journal::Level;

use crate::engine::Engine;
use crate::fencing::Purpose;

/// What to type where the area itself is of no use any more.
const MAKE_ANEW: &str = "make it anew, with both nodes up: regent arbiter init DISK";

impl Engine {
    /// How a contest ended.
    pub(super) fn tell_outcome(&mut self, outcome: Outcome, other: NodeId) {
        let who = self.state.name_of(other);
        let (level, text) = match outcome {
            Outcome::Won(generation) => {
                (Level::Notice, format!("the arbiter names this node for generation {generation}"))
            }
            Outcome::Lost(generation) => {
                (Level::Warning, format!("the arbiter names {who} for generation {generation}"))
            }
            _ => (Level::Warning, outcome_words(outcome, &who)),
        };
        self.tell(level, "arbiter", text);
    }

    /// What `status` says of who decides between two nodes.
    pub(crate) fn arbiter_status(&self) -> Option<ArbiterStatus> {
        let nobody =
            self.other_member().is_some() && (self.is_to_wait() || self.consensus.voters().len() == 2);
        let what = match self.state.config.arbiter.as_ref() {
            Some(Arbiter::Disk { disk, .. }) => format!("disk {}", disk.display()),
            Some(Arbiter::Fence { .. }) => "fence devices".to_owned(),
            None if nobody => "none".to_owned(),
            None => return None,
        };
        let generation = self.consensus.noted().generation.max(self.entered());
        let counted = self.counted();
        let alone = match counted.iter().next() {
            Some(voter) if counted.len() == 1 && self.state.members.len() > 1 && !self.is_to_wait() => {
                let name = self.state.members.get(voter).map(|m| m.name.clone());
                name.map(|name| (name, self.asking.noted_ms.unwrap_or(self.wall_ms)))
            }
            _ => None,
        };
        let kind = self.arbiter_kind().unwrap_or(Kind::Disk);
        let not_now = self.standing().may_ask(kind, self.asking.mutants).err();
        let (why, advice) = self.why_not(not_now);
        let ready = self.has_arbiter() && not_now.is_none() && why.is_none();
        Some(ArbiterStatus { what, generation: generation.0, alone, ready, why, advice })
    }

    /// What `status` says of a cut that is to decide.
    pub(crate) fn decision_status(&self) -> Option<String> {
        let by = self.fence_work.iter().find(|work| work.purpose == Purpose::Decision)?;
        Some(format!("{} by {} (to go on alone)", by.victim, by.words))
    }

    /// The name of the other member.
    fn other_name(&self) -> String {
        let other = self.state.members.keys().find(|id| **id != self.me.id);
        other.map(|id| self.state.name_of(*id).to_string()).unwrap_or_default()
    }

    /// What a person can say instead of the arbiter.
    fn word_advice(&self) -> String {
        let who = self.other_name();
        format!("if {who} is off, and stays off until it can hear this node: regent node confirm-dead {who}")
    }

    /// Why this node, or whichever is left, does nothing, where that is not for the arbiter to say; and what to do about it.
    fn stands(&self, not_now: Option<NotNow>) -> Option<(String, String)> {
        let (who, word) = (self.other_name(), self.word_advice());
        if self.is_to_wait() {
            let look = match self.asking.last {
                Some(outcome) if self.asking.silent_since.is_some() => {
                    format!(": {}", outcome_words(outcome, &who))
                }
                _ => String::new(),
            };
            let disk = match self.area() {
                Some(_) => ", or for the disk to say that nobody has gone on meanwhile",
                None => "",
            };
            let text = format!("this node alone voted before it went down, and waits for {who}{disk}{look}");
            return Some((text, format!("bring {who} up; {word}")));
        }
        let noted = self.consensus.noted();
        if let Some(winner) = noted.winner.filter(|id| self.is_entering() && *id != self.me.id) {
            let winner = self.state.name_of(winner);
            let text = format!(
                "{winner} was named for generation {}: this node does nothing until it hears {winner}",
                noted.generation
            );
            return Some((text, format!("bring {winner} up, or its networks; {word}")));
        }
        let is_known = matches!(not_now, Some(NotNow::Voters(_) | NotNow::NoVoter | NotNow::Changing));
        (!self.has_arbiter() && !is_known).then(|| {
            let text = "two vote, and nobody decides between them: who is left when one is lost does nothing by itself";
            (text.to_owned(), format!("regent arbiter init DISK, or a witness on a third machine; {word}"))
        })
    }

    /// Why nobody goes on, or would, and what to do about it.
    fn why_not(&self, not_now: Option<NotNow>) -> (Option<String>, Option<String>) {
        let some = |text: &str| Some(text.to_owned());
        let (who, word) = (self.other_name(), self.word_advice());
        if let Some((why, advice)) = self.stands(not_now) {
            return (Some(why), Some(advice));
        }
        if self.is_entering() {
            return (some("this node was named, and is about to go on alone"), None);
        }
        match not_now {
            Some(NotNow::Voters(1)) if self.rests_on_a_word() => {
                let text = format!(
                    "one node votes alone on a person's word, of which the disk knows nothing: {who} must stay off until it can hear \
                     this node"
                );
                (Some(text), Some(format!("mend the disk; bring {who} up where it hears this node")))
            }
            Some(NotNow::Voters(1)) => {
                let text = format!("one node votes alone; {who} votes again once it is up and has caught up");
                (Some(text), Some(format!("bring {who} up: regent status")))
            }
            Some(NotNow::Voters(count)) => {
                (Some(format!("{count} nodes vote: nobody needs to decide between them")), None)
            }
            Some(NotNow::NoVoter) => {
                (Some(format!("this node does not vote: {who} takes it in once it has caught up")), None)
            }
            Some(NotNow::LeftBehind(Generation(generation))) => {
                let text =
                    format!("generation {generation} has begun, and its log has not reached this node yet");
                (Some(text), Some(format!("bring {who} up, or its networks")))
            }
            Some(NotNow::Changing) => {
                let text = "a change of voters or of the arbiter was stored here, and nobody knows whether it is in force";
                (some(text), Some(format!("bring {who} up, or its networks")))
            }
            Some(NotNow::NotSettled) if self.asking.silent_since.is_some() => {
                let text = format!(
                    "{who} may have decided something alone that this node has not got yet: without {who} nobody goes on"
                );
                let advice = format!(
                    "bring {who} up, or its networks; if what it had stored is lost, the cluster has to be founded anew: regent init"
                );
                (Some(text), Some(advice))
            }
            Some(NotNow::NotSettled) => {
                let text = "the two have not yet confirmed to each other that they are two: that takes a moment with \
                            both up";
                (some(text), Some(format!("if it stays so, look at the leases of both: {who} and this node")))
            }
            Some(NotNow::NoQuorumSinceBoot) => {
                let text = format!(
                    "this daemon has only begun and has not met {who}: it turns nobody off, or two that come up would do so in turn"
                );
                (Some(text), Some(format!("bring {who} up, or its networks; {word}")))
            }
            None => self.last_try(&who, word),
        }
    }

    /// What came of asking, where this node may ask.
    fn last_try(&self, who: &str, word: String) -> (Option<String>, Option<String>) {
        let some = |text: &str| Some(text.to_owned());
        if self.fences_other() {
            return (Some(format!("{who} is being turned off")), None);
        }
        if let Some(failed) = &self.asking.by_fence.failed {
            let text = format!("{who} could not be turned off, which is tried again: {failed}");
            return (Some(text), Some(format!("regent fence status; {word}")));
        }
        match self.asking.last {
            Some(outcome) if self.misses_quietly() && self.asking.silent_since.is_some() => {
                let damaged = matches!(outcome, Outcome::Damaged | Outcome::Forgotten | Outcome::Overtaken);
                let advice = if damaged { format!("{MAKE_ANEW}; {word}") } else { word };
                (Some(outcome_words(outcome, who)), Some(advice))
            }
            _ if self.troubles.contains_key(ARBITER_DISK) => {
                let text = self.troubles[ARBITER_DISK].clone();
                (Some(format!("this node could not ask now: {text}")), some("regent arbiter status"))
            }
            _ if self.asking.is_underway() => (some("the arbiter is being asked"), None),
            _ => (None, None),
        }
    }

    /// Whether the last contest led nowhere.
    fn misses_quietly(&self) -> bool {
        !matches!(self.asking.last, None | Some(Outcome::Won(_) | Outcome::Lost(_)))
    }
}

fn outcome_words(outcome: Outcome, other: &str) -> String {
    match outcome {
        Outcome::Won(generation) => format!("this node was named for generation {generation}"),
        Outcome::Lost(generation) => format!("{other} was named for generation {generation}"),
        Outcome::Behind(generation) => format!(
            "generation {generation} was asked for already: this node was left behind, and waits for {other}"
        ),
        Outcome::Parted(generation) => format!(
            "{other} has asked for generation {generation}, which a person's word passed over here: it may be going on"
        ),
        Outcome::Outbid => format!("{other} asks the arbiter, too: asking again"),
        Outcome::Damaged => "the arbiter's area is damaged: it decides nothing any more".to_owned(),
        Outcome::Forgotten => {
            "the arbiter's area has not got what this node wrote there: an older copy of the disk was put back".to_owned()
        }
        Outcome::Overtaken => {
            "a later daemon wrote to this node's place in the arbiter's area: is its number in use twice?".to_owned()
        }
        Outcome::Unread => "the arbiter's disk cannot be read: asking again".to_owned(),
        Outcome::Unsure => {
            "the arbiter's disk did not confirm a write: asking again in a while".to_owned()
        }
    }
}
