//! A person's word that a node is dead, and its end: the leader sees to it that nothing is given on a word that is good no
//! more.

use std::time::Duration;

use regent_api::{Answer, WordStatus};
use regent_model::GroupName;
use regent_model::ids::{IncarnationOf, NodeId};
use regent_model::proof::Proof;
use regent_model::state::{Command, Group, Tenure, WORD_MINUTES, WORD_MINUTES_MAX, Word};

use crate::engine::Engine;
use crate::io::RequestId;
use crate::proposals::Waiting;

/// So long at the least a word is good after this leader has learnt of it, whatever the clocks on the walls say: they may
/// differ. Only a word that this leader finds already old when it learns of it is of no use at all.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);

impl Engine {
    pub(crate) fn confirm_dead(
        &mut self,
        id: RequestId,
        node: &str,
        (who, why): (String, String),
        minutes: Option<u32>,
    ) -> Option<Answer> {
        let minutes = minutes.unwrap_or(WORD_MINUTES);
        if !(1..=WORD_MINUTES_MAX).contains(&minutes) {
            let reason =
                format!("a word is good for 1 to {WORD_MINUTES_MAX} minutes (a week), not for {minutes}");
            return Some(Answer::refused(reason, "say it again with another --for-minutes"));
        }
        let node = match self.known_node(node) {
            Ok(node) => node,
            Err(answer) => return Some(answer),
        };
        let name = self.state.name_of(node);
        let is_heard = self.heard.contains_key(&node) || node == self.me.id;
        if !is_heard && self.needs_a_word_about(node) {
            return Some(self.go_on_by_word(node, (who, why), minutes));
        }
        let Some(about) = self.owner_or_living(node) else {
            return Some(Answer::refused(
                format!("{name} is over already and owns nothing"),
                "regent status",
            ));
        };
        if is_heard {
            let advice = format!("stop it first: regent node stop {name} --takeover");
            return Some(Answer::refused(format!("{name} is heard: it is not dead"), advice));
        }
        let words = format!(
            "the word of {who} that {name} is dead is recorded; it is good for {minutes} min: what nobody has taken over \
             by then waits for a proof again"
        );
        let command = Command::ConfirmDead { about, who, why, given_ms: self.wall_ms, minutes };
        self.propose_for(command, Waiting::Request(id, words));
        None
    }

    /// The life of a node that owns something, or else the one that lives.
    pub(crate) fn owner_or_living(&self, node: NodeId) -> Option<IncarnationOf> {
        let owner = self.state.groups.values().find_map(|g| match &g.tenure {
            Tenure::Owned(o) if o.owner.node == node => Some(o.owner),
            _ => None,
        });
        owner.or_else(|| self.state.living(node))
    }

    /// The groups that are free on a word that is good no more: nothing is given of them, and they are to go back.
    pub(crate) fn stale_words(&mut self) -> Vec<Command> {
        let words: Vec<(GroupName, Word)> = (self.state.groups.iter())
            .filter_map(|(name, group)| Some((name.clone(), group.word.as_deref()?.clone())))
            .collect();
        let now = self.now;
        let mut stale = Vec::new();
        self.since
            .words
            .retain(|about, _| words.iter().any(|(name, w)| (name, &w.ended.epoch) == (&about.0, &about.1)));
        for (group, word) in words {
            let epoch = word.ended.epoch;
            let over = self.wall_ms >= word.until_ms();
            let known = self.since.words.entry((group.clone(), epoch)).or_insert((now, over));
            let (since, was_over) = *known;
            let here = now.since(since);
            let spent = here >= Duration::from_secs(u64::from(word.minutes) * 60);
            if spent || was_over || over && here >= CLOCKS_DIFFER {
                stale.push(Command::ExpireWord { group, epoch });
            }
        }
        stale
    }
}

/// What people are told of the word on which a group is free.
pub(crate) fn status(group: &Group) -> Option<WordStatus> {
    let Tenure::Vacant(Proof::OperatorsWord { who, why }) = &group.tenure else { return None };
    let word = group.word.as_deref()?;
    Some(WordStatus { who: who.clone(), why: why.clone(), until_ms: word.until_ms() })
}

/// Whether this gives somebody the group that is free on that word.
pub(crate) fn rests_on(command: &Command, word: &Command) -> bool {
    let Command::ExpireWord { group: name, .. } = word else { return false };
    match command {
        Command::Assign { group, .. } => group == name,
        Command::NodeDown { takeovers, .. } => takeovers.iter().any(|(group, _)| group == name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use regent_model::ids::{Epoch, Incarnation, IncarnationOf, NodeId};
    use regent_model::state::{Ownership, Phase};

    use super::*;
    use crate::answers::tests::lx5;

    const GIVEN_MS: u64 = 1_000_000;

    /// An engine with a group that is free on a word that is good for one minute.
    fn engine() -> Engine {
        let mut engine = lx5();
        let owner = IncarnationOf { node: NodeId(1), incarnation: Incarnation(1) };
        let ended = Ownership {
            epoch: Epoch(3),
            owner,
            phase: Phase::Online,
            proof: Proof::NeverOwned,
            previous: None,
            parent_epoch: None,
            without_lease: false,
        };
        let group = engine.state.groups.values_mut().next().unwrap();
        group.tenure =
            Tenure::Vacant(Proof::OperatorsWord { who: "maria".into(), why: "its plug is out".into() });
        group.epoch = Epoch(3);
        group.word = Some(Box::new(Word { given_ms: GIVEN_MS, minutes: 1, ended, in_force: None }));
        engine
    }

    fn stale_at(engine: &mut Engine, after: Duration, wall_ms: u64) -> bool {
        engine.now = engine.now + after;
        engine.wall_ms = wall_ms;
        !engine.stale_words().is_empty()
    }

    #[test]
    fn a_word_ends_by_the_clock_of_the_leader_also_when_the_clock_on_its_wall_stands_still() {
        let mut engine = engine();
        assert!(!stale_at(&mut engine, Duration::ZERO, GIVEN_MS));
        assert!(!stale_at(&mut engine, Duration::from_secs(59), GIVEN_MS));
        assert!(stale_at(&mut engine, Duration::from_secs(1), GIVEN_MS));
    }

    #[test]
    fn a_leader_that_comes_later_goes_by_the_clock_on_the_wall() {
        let mut young = engine();
        assert!(!stale_at(&mut young, Duration::ZERO, GIVEN_MS + 59_000));
        assert!(
            !stale_at(&mut young, Duration::from_secs(2), GIVEN_MS + 61_000),
            "it may go wrong by some seconds"
        );
        assert!(stale_at(&mut young, Duration::from_secs(8), GIVEN_MS + 69_000));
        let mut old = engine();
        assert!(
            stale_at(&mut old, Duration::ZERO, GIVEN_MS + 60_000),
            "what was over before gives nothing more"
        );
    }

    #[test]
    fn what_would_be_given_on_a_stale_word_is_not_proposed() {
        let mut engine = engine();
        let word = {
            stale_at(&mut engine, Duration::ZERO, u64::MAX);
            engine.stale_words().remove(0)
        };
        let Command::ExpireWord { group, epoch } = word.clone() else { panic!("{word:?}") };
        let to = IncarnationOf { node: NodeId(2), incarnation: Incarnation(1) };
        assert!(rests_on(&Command::Assign { group: group.clone(), after: epoch, to }, &word));
        let down = |takeovers| Command::NodeDown { about: to, proof: Proof::Released, takeovers };
        assert!(rests_on(&down(vec![(group.clone(), to)]), &word) && !rests_on(&down(Vec::new()), &word));
        assert!(!rests_on(&Command::Enable(group), &word));
    }
}
