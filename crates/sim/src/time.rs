//! True time, which only the simulator sees, and the clocks of machines, which run at their own rates.

use regent_model::Moment;

/// True time since the run began, in nanoseconds.
pub(crate) type Ns = u64;

/// A microsecond.
pub(crate) const US: Ns = 1_000;
/// A millisecond.
pub(crate) const MS: Ns = 1_000_000;
/// A second.
pub(crate) const S: Ns = 1_000_000_000;

const MILLION: u64 = 1_000_000;

/// One machine's boot clock: its zero is the boot, its rate is wrong by up to a thousandth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    since: Ns,
    shown: u64,
    rate_ppm: i64,
}

impl Clock {
    /// A clock that shows `shown` at the true time `since`.
    pub(crate) fn new(since: Ns, shown: u64, rate_ppm: i64) -> Self {
        Self { since, shown, rate_ppm }
    }

    fn per_million(self) -> u64 {
        MILLION.saturating_add_signed(self.rate_ppm)
    }

    /// What it shows at a true time.
    pub(crate) fn at(self, now: Ns) -> Moment {
        let passed = now.saturating_sub(self.since);
        let (seconds, rest) = (passed / MILLION, passed % MILLION);
        Moment(self.shown + seconds * self.per_million() + rest * self.per_million() / MILLION)
    }

    /// The first true time, not before `now`, at which it shows `moment` or later.
    pub(crate) fn when(self, moment: Moment, now: Ns) -> Ns {
        let ahead = u128::from(moment.0.saturating_sub(self.shown));
        let passed = (ahead * u128::from(MILLION)).div_ceil(u128::from(self.per_million()));
        let mut when = self.since.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)).max(now);
        while self.at(when) < moment && when < u64::MAX {
            when += 1;
        }
        when
    }

    /// The same clock, going on at another rate from `now` on.
    pub(crate) fn at_rate(self, now: Ns, rate_ppm: i64) -> Self {
        Self { since: now, shown: self.at(now).0, rate_ppm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_finds_the_time_at_which_it_shows_a_moment() {
        for ppm in [-1000, -7, 0, 3, 1000] {
            let clock = Clock::new(17, 5_000, ppm);
            for ahead in [0, 1, 999, 1_000_000, 123_456_789, 90 * S] {
                let moment = Moment(5_000 + ahead);
                let when = clock.when(moment, 0);
                assert!(clock.at(when) >= moment);
                assert!(when == 17 || clock.at(when - 1) < moment, "{ppm} ppm, {ahead} ahead");
            }
        }
    }

    #[test]
    fn a_change_of_rate_does_not_turn_a_clock_back() {
        let clock = Clock::new(0, 0, 1000);
        let slower = clock.at_rate(S, -1000);
        assert_eq!(slower.at(S), clock.at(S));
        assert!(slower.at(2 * S) < clock.at(2 * S));
    }
}
