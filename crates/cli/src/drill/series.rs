//! What a service address answered, and how long it was away. Pure.

use std::time::Duration;

use regent_model::NodeName;

/// An answer of a service address; times count from the beginning of the drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// When it was there.
    pub(super) at: Duration,
    /// Which node gave it, if that could be told.
    pub(super) from: Option<NodeName>,
}

/// A time without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    /// From the last answer before, or the beginning.
    pub(super) from: Duration,
    /// To the first answer after; nothing if it lasts.
    pub(super) to: Option<Duration>,
    /// Who answered before.
    pub(super) before: Option<NodeName>,
    /// Who answered after.
    pub(super) after: Option<NodeName>,
}

impl Outage {
    /// How long it was, or has been.
    #[must_use]
    pub(super) fn length(&self, now: Duration) -> Duration {
        self.to.unwrap_or(now).saturating_sub(self.from)
    }
}

/// Everything that one address answered, and when it did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Series {
    answers: Vec<Answer>,
    /// When the questions were asked that got no answer.
    missed: Vec<Duration>,
}

impl Series {
    /// Takes an answer. Those of questions asked side by side may come in any order.
    pub(super) fn push(&mut self, answer: Answer) {
        let place = self.answers.partition_point(|a| a.at <= answer.at);
        self.answers.insert(place, answer);
    }

    /// Takes note of a question that got no answer. Without one a time without answers shows nothing: on a machine that
    /// has much else to do nobody may have asked.
    pub(super) fn miss(&mut self, asked_at: Duration) {
        let place = self.missed.partition_point(|at| *at <= asked_at);
        self.missed.insert(place, asked_at);
    }

    /// Whether a question that was asked then got no answer.
    #[must_use]
    pub(super) fn missed(&self, from: Duration, to: Duration) -> bool {
        let first = self.missed.partition_point(|at| *at < from);
        self.missed.get(first).is_some_and(|at| *at <= to)
    }

    /// The newest answer.
    #[must_use]
    pub(super) fn latest(&self) -> Option<&Answer> {
        self.answers.last()
    }

    /// Every time without an answer that lasted at least `worth`, and in which somebody asked.
    #[must_use]
    pub(super) fn outages(&self, worth: Duration, now: Duration) -> Vec<Outage> {
        let mut found = Vec::new();
        let (mut from, mut before) = (Duration::ZERO, None);
        for answer in &self.answers {
            if answer.at.saturating_sub(from) >= worth && self.missed(from, answer.at) {
                let (to, after) = (Some(answer.at), answer.from.clone());
                found.push(Outage { from, to, before, after });
            }
            (from, before) = (answer.at, answer.from.clone());
        }
        if now.saturating_sub(from) >= worth && self.missed(from, now) {
            found.push(Outage { from, to: None, before, after: None });
        }
        found
    }

    /// The longest time without an answer that had not ended at `since`.
    #[must_use]
    pub(super) fn longest_since(&self, since: Duration, now: Duration) -> Duration {
        let all = self.outages(Duration::ZERO, now);
        all.iter()
            .filter(|o| o.to.is_none_or(|to| to >= since))
            .map(|o| o.length(now))
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn series(list: &[(u64, &str)]) -> Series {
        let mut series = Series::default();
        for (at, node) in list {
            series.push(Answer { at: ms(*at), from: NodeName::new(*node).ok() });
        }
        for (pair, at) in list.windows(2).map(|pair| (pair, (pair[0].0 + pair[1].0) / 2)) {
            if pair[1].0 > pair[0].0 + 200 {
                series.miss(ms(at));
            }
        }
        series
    }

    #[test]
    fn a_time_away_is_from_answer_to_answer_and_names_both_nodes() {
        let heard = series(&[(50, "lx4"), (100, "lx4"), (800, "lx5"), (850, "lx5")]);
        let outages = heard.outages(ms(300), ms(900));
        assert_eq!(outages.len(), 1);
        assert_eq!((outages[0].from, outages[0].to), (ms(100), Some(ms(800))));
        let names = |n: &Option<NodeName>| n.as_ref().map(ToString::to_string);
        assert_eq!(names(&outages[0].before).as_deref(), Some("lx4"));
        assert_eq!(names(&outages[0].after).as_deref(), Some("lx5"));
        assert_eq!(heard.longest_since(ms(400), ms(900)), ms(700));
        assert_eq!(heard.longest_since(ms(801), ms(900)), ms(0));
    }

    #[test]
    fn an_address_that_never_answers_is_away_all_the_time() {
        let mut series = Series::default();
        series.miss(ms(90));
        let outages = series.outages(ms(300), ms(5000));
        assert_eq!((outages.len(), outages[0].to, outages[0].length(ms(5000))), (1, None, ms(5000)));
    }

    #[test]
    fn a_time_in_which_nobody_asked_is_no_time_away() {
        let mut heard = Series::default();
        for at in [50, 800] {
            heard.push(Answer { at: ms(at), from: None });
        }
        assert_eq!(heard.outages(ms(300), ms(5000)), []);
        assert_eq!(heard.longest_since(ms(0), ms(5000)), ms(0));
        heard.miss(ms(400));
        assert_eq!(heard.outages(ms(300), ms(5000)).len(), 1, "only the first of them was asked in");
        assert_eq!(heard.longest_since(ms(0), ms(5000)), ms(750));
        heard.miss(ms(900));
        assert_eq!(heard.outages(ms(300), ms(5000)).len(), 2);
        assert!(heard.missed(ms(800), ms(1000)) && !heard.missed(ms(901), ms(5000)));
    }

    #[test]
    fn answers_of_questions_asked_side_by_side_may_come_in_any_order() {
        assert_eq!(series(&[(100, "a"), (50, "a"), (70, "b")]), series(&[(50, "a"), (70, "b"), (100, "a")]));
    }
}
