//! What people are told of the arbiter.

use regent_api::ArbiterStatus;
use regent_arbiter::standing::{Arbiter as Kind, NotNow};
use regent_arbiter::{Generation, Outcome};
use regent_model::NodeId;
use regent_model::config::Arbiter;
use regent_model::journal::Level;

use crate::engine::Engine;

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
        let what = match self.state.config.arbiter.as_ref()? {
            Arbiter::Disk { disk, .. } => format!("disk {}", disk.display()),
            Arbiter::Fence => "fence device".to_owned(),
        };
        let generation = self.consensus.noted().generation.max(self.entered());
        let counted = self.counted();
        let alone = match counted.iter().next() {
            Some(voter) if counted.len() == 1 && self.state.members.len() > 1 => {
                let name = self.state.members.get(voter).map(|m| m.name.clone());
                name.map(|name| (name, self.asking.noted_ms.unwrap_or(self.wall_ms)))
            }
            _ => None,
        };
        let not_now = self.standing().may_ask(Kind::Disk, self.asking.mutants).err();
        let (why, advice) = self.why_not(not_now);
        let ready = not_now.is_none() && why.is_none();
        Some(ArbiterStatus { what, generation: generation.0, alone, ready, why, advice })
    }

    /// Why nobody goes on, or would, and what to do about it.
    fn why_not(&self, not_now: Option<NotNow>) -> (Option<String>, Option<String>) {
        let some = |text: &str| Some(text.to_owned());
        let other = self.state.members.keys().find(|id| **id != self.me.id);
        let who = other.map(|id| self.state.name_of(*id)).unwrap_or_default();
        if self.is_entering() {
            let noted = self.consensus.noted();
            let winner = noted.winner.map(|id| self.state.name_of(id)).unwrap_or_default();
            if noted.winner == Some(self.me.id) {
                return (some("this node was named, and is about to go on alone"), None);
            }
            let text = format!(
                "the arbiter has named {winner} for generation {}: this node does nothing until it hears {winner}",
                noted.generation
            );
            return (Some(text), Some(format!("bring {winner} up, or its networks")));
        }
        match not_now {
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
            Some(NotNow::NotSettled) => {
                let text = "the two have not yet confirmed to each other that they are two: that takes a moment with \
                            both up";
                (some(text), Some(format!("if it stays so, look at the leases of both: {who} and this node")))
            }
            Some(NotNow::NoQuorumSinceBoot) => {
                (Some(format!("this node was in no majority with {who} since it booted")), None)
            }
            None => match self.asking.last {
                Some(outcome) if self.misses_quietly() && self.asking.silent_since.is_some() => {
                    let damaged =
                        matches!(outcome, Outcome::Damaged | Outcome::Forgotten | Outcome::Overtaken);
                    (Some(outcome_words(outcome, &who)), damaged.then(|| MAKE_ANEW.to_owned()))
                }
                _ if self.asking.is_underway() => (some("the arbiter is being asked"), None),
                _ => (None, None),
            },
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
