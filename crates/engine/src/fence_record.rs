//! The record of what people do with fence devices by hand. It proves nothing: the cluster has the devices confirm by itself.

use regent_api::{Answer, HandAct, HandEnd, roles};
use regent_model::journal::Level;

use crate::engine::Engine;

/// The kind of these entries.
const KIND: &str = "fence_by_hand";

impl Engine {
    /// Writes into the journal what is about to be done, or how it ended.
    pub(crate) fn fenced_by_hand(
        &mut self,
        node: &str,
        act: HandAct,
        who: &str,
        ended: Option<HandEnd>,
    ) -> Answer {
        let node = match self.known_node(node) {
            Ok(node) => self.state.name_of(node),
            Err(refusal) => return refusal,
        };
        let (who, verb) = (roles::plain_words(who), act.word());
        let (level, text) = match ended {
            None => {
                let level = if act == HandAct::On { Level::Notice } else { Level::Warning };
                let does = match act {
                    HandAct::Off => "cuts the power of",
                    HandAct::On => "gives its power back to",
                    HandAct::Test => "tests the fence devices of",
                };
                (level, format!("{who} {does} {node} by hand (regent fence {verb})"))
            }
            Some(HandEnd { done, words }) => {
                let words = roles::plain_words(&words);
                let (level, how) = if done { (Level::Notice, "done") } else { (Level::Error, "FAILED") };
                (level, format!("regent fence {verb} {node} by {who}: {how}: {words}"))
            }
        };
        self.tell(level, KIND, text);
        Answer::Done("recorded".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use regent_api::Request;

    use super::*;
    use crate::answers::tests::lx5;
    use crate::io::RequestId;

    #[test]
    fn what_is_done_by_hand_and_how_it_ended_stands_in_the_journal_on_one_line() {
        let mut engine = lx5();
        let mut asked = |node: &str, act, ended| {
            let request = Request::FenceByHand { node: node.into(), act, who: "maria".into(), ended };
            engine.request(RequestId(1), request);
            let answer = engine.out.answer.pop().map(|(_, answer)| answer);
            let last = engine.chronicle.after(0, 100).0.pop().map(|(_, entry)| entry);
            (answer.unwrap(), last.map(|e| (e.level, e.text)))
        };
        let (answer, told) = asked("lx4", HandAct::Off, None);
        assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
        let begins = "maria cuts the power of lx4 by hand (regent fence off)".to_owned();
        assert_eq!(told, Some((Level::Warning, begins.clone())));
        let ended = HandEnd { done: false, words: "bmc does not say\nthat it is off".into() };
        let (_, told) = asked("lx4", HandAct::Off, Some(ended));
        let failed = "regent fence off lx4 by maria: FAILED: bmc does not say\\nthat it is off".to_owned();
        assert_eq!(told, Some((Level::Error, failed.clone())));
        let (answer, told) = asked("lx9", HandAct::On, None);
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
        assert_eq!(told, Some((Level::Error, failed)), "about nobody nothing is noted");
    }
}
