//! A contest on its way: asked for by [`super::when`], carried on by what the disk answers, and brought to its end.

use std::time::Duration;

use regent_arbiter::mutants::Mutants;
use regent_arbiter::standing::Arbiter as Kind;
use regent_arbiter::{Contest, Effect, Generation, Input, Outcome, Record};
use regent_model::config::Arbiter;
use regent_model::ids::AreaId;
use regent_model::journal::Level;
use regent_model::{Moment, NodeId};

use super::cold::Cleared;
use super::fence::ByFence;
use super::word::Word;
use super::{ArbiterAct, ArbiterPlace, ArbiterRun, Memo};
use crate::consensus::Noted;
use crate::engine::{Engine, OnDurable};

/// How long to wait before asking once more when the disk did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// The same where an answer will not change by itself.
const AGAIN_LATER: Duration = Duration::from_secs(10);

/// How long no other life writes after one of whose writes it is not known where they are: of a node's lives, the disk
/// tells eight apart (A4).
const AFTER_UNSURE: Duration = Duration::from_secs(15);

/// How long who was outbid waits, doubled with every time.
const AFTER_OUTBID: Duration = Duration::from_millis(50);

/// A contest, and what was asked of the disk for it.
struct Underway {
    contest: Contest,
    area: AreaId,
    generation: Generation,
    other: NodeId,
    /// The number of what the disk has not answered.
    asked: Option<u64>,
    /// What is written when it is durable that this life writes.
    held_back: Option<Record>,
}

/// What this daemon does about the arbiter.
pub(crate) struct Asking {
    pub(crate) memo: Memo,
    /// Which life may go on alone.
    pub(crate) cleared: Option<Cleared>,
    /// A person's word on which this node has not gone on yet.
    pub(crate) word: Option<Word>,
    /// The life and number of the last write of this daemon, if it may write more.
    life: Option<(u64, u64)>,
    underway: Option<Underway>,
    next_number: u64,
    /// Nobody is asked before.
    pub(super) not_before: Moment,
    outbid: u32,
    /// How the last contest ended, if that leads nowhere.
    pub(super) last: Option<Outcome>,
    /// Since when the other one is not heard.
    pub(super) silent_since: Option<Moment>,
    /// What the fence devices are asked for, or were, where they decide.
    pub(super) by_fence: ByFence,
    /// When to look again whether to ask.
    pub(super) look_at: Option<Moment>,
    /// When the generation that is noted began, by the wall.
    pub(crate) noted_ms: Option<u64>,
    place_told: Option<ArbiterPlace>,
    pub(crate) mutants: Mutants,
}

impl Asking {
    pub(crate) fn new(memo: Memo, cleared: Option<Cleared>, now: Moment) -> Self {
        Self {
            memo,
            cleared,
            word: None,
            life: None,
            underway: None,
            next_number: 0,
            not_before: now,
            outbid: 0,
            last: None,
            silent_since: None,
            by_fence: ByFence::default(),
            look_at: None,
            noted_ms: None,
            place_told: None,
            mutants: Mutants::none(),
        }
    }

    /// When there is something to look at.
    pub(crate) fn next_wake(&self) -> Option<Moment> {
        self.look_at
    }

    /// Whether a contest is on its way.
    pub(crate) fn is_underway(&self) -> bool {
        self.underway.is_some()
    }
}

impl Engine {
    /// The area that decides, if one does.
    pub(crate) fn area(&self) -> Option<AreaId> {
        match self.state.config.arbiter {
            Some(Arbiter::Disk { area, .. }) => Some(area),
            Some(Arbiter::Fence { .. }) | None => None,
        }
    }

    /// Tells the daemon where the area is, and asks when it is time.
    pub(crate) fn follow_arbiter(&mut self) {
        self.tell_place();
        self.asking.look_at = None;
        self.watch_silence();
        self.follow_word();
        self.follow_fence();
        let Some(area) = self.area() else {
            self.asking.underway = None;
            return;
        };
        if self.asking.underway.as_ref().is_some_and(|u| u.area == area) {
            return;
        }
        self.asking.underway = None;
        if let Some((other, generation)) = self.asks_now() {
            self.ask(area, other, generation);
        }
    }

    fn tell_place(&mut self) {
        let place = match &self.state.config.arbiter {
            Some(Arbiter::Disk { disk, area }) => Some(ArbiterPlace {
                disk: disk.clone(),
                area: *area,
                cluster: self.state.config.cluster.clone(),
            }),
            Some(Arbiter::Fence { .. }) | None => None,
        };
        if place != self.asking.place_told {
            self.asking.place_told.clone_from(&place);
            self.out.arbiter_place = Some(place);
        }
    }

    fn ask(&mut self, area: AreaId, other: NodeId, generation: Generation) {
        let memo = self.asking.memo.of(area);
        let life = self.asking.life.unwrap_or((memo.life + 1, 0));
        let (contest, effect) = Contest::new(area, self.me.id, other, generation, life, memo.written);
        // What this node goes on in, or is to go on in by somebody's word, it only says.
        let asks = self.is_to_wait() && self.asking.word.is_none();
        let shared = self.consensus.noted().shared;
        let contest = if asks { contest.unless_parted_since(shared) } else { contest };
        #[cfg(feature = "mutants")]
        let contest = contest.with_mutants(self.asking.mutants);
        let again = self.asking.last == Some(Outcome::Outbid);
        self.asking.underway =
            Some(Underway { contest, area, generation, other, asked: None, held_back: None });
        let is_own = generation == self.consensus.noted().generation;
        if is_own && !again {
            let text =
                format!("looking whether generation {generation} is still the last that the disk knows of");
            self.tell(Level::Step, "arbiter", text);
        } else if !again {
            let who = self.state.name_of(other);
            let text = format!("asking the arbiter who goes on in generation {generation}, without {who}");
            self.tell(Level::Step, "arbiter", text);
        }
        self.contest_wants(effect);
    }

    /// The disk has answered.
    pub(crate) fn arbiter_answers(&mut self, number: u64, input: Input) {
        let Some(underway) = self.asking.underway.as_mut().filter(|u| u.asked == Some(number)) else {
            return;
        };
        underway.asked = None;
        // After it nothing is written before the area was read again.
        let is_written = input == Input::Written;
        let effect = underway.contest.step(input);
        if is_written {
            self.asking.memo.written = underway.contest.written();
            let record = self.asking.memo.record();
            self.persist(vec![record], OnDurable::Nothing);
        }
        if let Some(effect) = effect {
            self.contest_wants(effect);
        }
    }

    fn contest_wants(&mut self, effect: Effect) {
        let Some(underway) = self.asking.underway.as_mut() else { return };
        match effect {
            Effect::Read => {
                let (own, other) = (self.me.id, underway.other);
                self.run_arbiter(ArbiterAct::Read { own, other });
            }
            Effect::Write(record) => {
                let known = self.asking.memo.of(underway.area);
                let memo = Memo { life: record.life, contest: underway.generation, ..known };
                if memo == self.asking.memo {
                    self.run_arbiter(ArbiterAct::Write(record));
                    return;
                }
                // That this life writes, and what it begins, is durable first.
                underway.held_back = Some(record);
                self.asking.memo = memo;
                self.persist(vec![memo.record()], OnDurable::ArbiterMemo(record.written()));
            }
            Effect::Over(outcome) => self.contest_over(outcome),
        }
    }

    /// It is durable that this life writes.
    pub(crate) fn arbiter_memo_durable(&mut self, write: (u64, u64)) {
        let Some(underway) = self.asking.underway.as_mut() else { return };
        if underway.held_back.is_some_and(|record| record.written() == write)
            && let Some(record) = underway.held_back.take()
        {
            self.run_arbiter(ArbiterAct::Write(record));
        }
    }

    fn run_arbiter(&mut self, act: ArbiterAct) {
        let Some(underway) = self.asking.underway.as_mut() else { return };
        self.asking.next_number += 1;
        let number = self.asking.next_number;
        underway.asked = Some(number);
        self.out.arbiter.push(ArbiterRun { number, area: underway.area, act });
    }

    fn contest_over(&mut self, outcome: Outcome) {
        let Some(underway) = self.asking.underway.take() else { return };
        let written = underway.contest.written();
        // A life that wrote goes on where it was; after a write of which nothing is known the next one writes.
        let wrote = self.asking.memo.life == written.0;
        self.asking.life = (wrote && !underway.contest.is_unsure()).then_some(written);
        let wait = match outcome {
            Outcome::Won(_) | Outcome::Lost(_) | Outcome::Unread => AGAIN,
            Outcome::Behind(_)
            | Outcome::Parted(_)
            | Outcome::Damaged
            | Outcome::Forgotten
            | Outcome::Overtaken => AGAIN_LATER,
            Outcome::Outbid => self.after_outbid(underway.other),
            Outcome::Unsure => AFTER_UNSURE,
        };
        self.asking.outbid = if outcome == Outcome::Outbid { self.asking.outbid + 1 } else { 0 };
        self.asking.not_before = self.now + wait;
        let is_own = underway.generation == self.consensus.noted().generation;
        let is_news = self.asking.last.replace(outcome) != Some(outcome) && outcome != Outcome::Outbid;
        if is_news && !(is_own && matches!(outcome, Outcome::Won(_))) {
            self.tell_outcome(outcome, underway.other);
        }
        if is_own {
            return self.own_contest_over(outcome);
        }
        // Who may not ask any more has not won, and nobody else has by its help (A9): the voters have changed since.
        let standing = self.standing();
        let mutants = self.asking.mutants;
        let winner = match outcome {
            Outcome::Won(_) => standing.is_won(outcome, Kind::Disk, mutants).map(|_| self.me.id),
            Outcome::Lost(generation) => {
                let asked = standing.may_ask(Kind::Disk, mutants);
                (asked == Ok((underway.other, generation))).then_some(underway.other)
            }
            _ => None,
        };
        if winner == Some(self.me.id) {
            self.asking.memo.said = underway.generation;
            let record = self.asking.memo.record();
            self.persist(vec![record], OnDurable::Nothing);
        }
        if let Some(winner) = winner {
            self.note_generation(Noted::decided(underway.generation, winner));
        }
    }

    /// Whoever has less to lose waits longer.
    fn after_outbid(&self, other: NodeId) -> Duration {
        let (mine, theirs) = (self.weight(self.me.id), self.weight(other));
        let is_heavier = (mine, other) > (theirs, self.me.id);
        let times = 1 << self.asking.outbid.min(6);
        AFTER_OUTBID * times * if is_heavier { 1 } else { 4 }
    }
}
