//! The clock of consensus: its ticks, counted when they matter, and when a node asks to be elected.

use std::collections::BTreeSet;
use std::time::Duration;

use raft::{ProgressState, SnapshotStatus};
use regent_model::Moment;
use regent_model::timers::Timers;

use super::{Consensus, ELECTION_TICKS_MAX, Rank};

/// The ticks between two heartbeats of a leader.
pub(super) const HEARTBEAT_TICKS: usize = 2;

/// How long a node may take to answer to the whole state, before it is sent again.
const STATE_PATIENCE: Duration = Duration::from_millis(500);

impl Consensus {
    fn tick_interval(&self) -> Duration {
        self.timers.heartbeat / 2
    }

    /// When [`Self::tick`] has something to do: a leader's heartbeat, or an election. Nobody wakes for the ticks between.
    pub(crate) fn next_tick(&self) -> Moment {
        self.ticked + self.tick_interval() * ticks_u32(self.ticks_left())
    }

    fn ticks_left(&self) -> usize {
        let raft = &self.raft.raft;
        let (due, elapsed) = if self.leads() {
            (HEARTBEAT_TICKS, raft.heartbeat_elapsed())
        } else {
            (raft.randomized_election_timeout(), raft.election_elapsed)
        };
        due.saturating_sub(elapsed).max(1)
    }

    /// Lets time pass up to `now`. Ticks that were missed are not made up for in a burst, and whoever comes late to
    /// an election waits for one more tick: what the leader said meanwhile may be waiting to be heard.
    pub(crate) fn tick(&mut self, now: Moment) {
        let left = self.ticks_left();
        let is_late = self.ticks_passed(now) > left;
        self.count_ticks(now, if is_late && !self.leads() { left - 1 } else { left });
        if is_late {
            self.ticked = self.ticked + self.tick_interval() * ticks_u32(self.ticks_passed(now));
        }
        self.send_lost_states_again(now);
    }

    /// Counts what passed before something is heard: it does not count after it. Nothing becomes due by that.
    pub(super) fn catch_up(&mut self, now: Moment) {
        self.count_ticks(now, self.ticks_left() - 1);
    }

    fn ticks_passed(&self, now: Moment) -> usize {
        let ticks = now.since(self.ticked).as_nanos() / self.tick_interval().as_nanos();
        usize::try_from(ticks).unwrap_or(usize::MAX)
    }

    fn count_ticks(&mut self, now: Moment, most: usize) {
        let count = self.ticks_passed(now).min(most);
        self.ticked = self.ticked + self.tick_interval() * ticks_u32(count);
        if self.is_taking_over() || self.stands_still() {
            return;
        }
        for _ in 0..count {
            let follows = !self.leads();
            self.raft.tick();
            if follows && self.raft.raft.election_elapsed == 0 {
                self.elections_fired += 1;
            }
            self.set_timeout();
        }
    }

    /// The library waits for ever for the answer to a whole state that it sent; the message may have been lost.
    fn send_lost_states_again(&mut self, now: Moment) {
        let leads = self.leads();
        let unanswered: BTreeSet<u64> = self
            .raft
            .raft
            .prs()
            .iter()
            .filter(|(_, p)| leads && p.state == ProgressState::Snapshot)
            .map(|(id, _)| *id)
            .collect();
        self.states_sent.retain(|id, _| unanswered.contains(id));
        for id in unanswered {
            let since = *self.states_sent.entry(id).or_insert(now);
            if now.since(since) >= STATE_PATIENCE {
                self.states_sent.remove(&id);
                self.raft.report_snapshot(id, SnapshotStatus::Failure);
            }
        }
    }

    /// Sets the library's election timeout from the rank: after every call of it, for it draws one at random.
    pub(super) fn set_timeout(&mut self) {
        let base = match self.rank {
            Rank::Standby => election_ticks(&self.timers, self.timers.election_standby),
            Rank::Witness => election_ticks(&self.timers, self.timers.election_witness),
            Rank::Owner => {
                let step = self.timers.election_witness - self.timers.election_standby;
                election_ticks(&self.timers, self.timers.election_witness + step)
            }
        };
        // Equal ranks are told apart by their place in the configuration; a second try within one silence adds
        // some ticks of its own, so that two that met once do not meet for ever.
        let again = if self.elections_fired == 0 {
            0
        } else {
            mix(self.seed ^ self.place.rotate_left(32) ^ self.elections_fired) % 4
        };
        let ticks = base as u64 + self.place + again;
        let ticks = usize::try_from(ticks).unwrap_or(ELECTION_TICKS_MAX);
        let ticks = ticks.clamp(self.raft.raft.election_timeout(), ELECTION_TICKS_MAX - 1);
        self.raft.raft.set_randomized_election_timeout(ticks);
        if self.raft.raft.leader_id != raft::INVALID_ID {
            self.elections_fired = 0;
        }
    }
}

fn ticks_u32(ticks: usize) -> u32 {
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

pub(super) fn election_ticks(timers: &Timers, timeout: Duration) -> usize {
    let tick = (timers.heartbeat / 2).as_nanos();
    usize::try_from(timeout.as_nanos().div_ceil(tick)).unwrap_or(usize::MAX).max(4)
}

/// A well-mixed number from a plain one (the finalizer of splitmix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
