//! Clocks that run fast and slow.

use regent_model::Moment;

pub(crate) const MS: u64 = 1_000_000;

/// A clock: it showed `local` at true time `at`, and gains `ppm` since.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) at: u64,
    pub(crate) local: u64,
    pub(crate) ppm: i64,
}

impl Clock {
    pub(crate) fn now(self, time: u64) -> Moment {
        let rate = u128::try_from(1_000_000 + self.ppm).unwrap();
        let passed = u128::from(time - self.at) * rate / 1_000_000;
        Moment(self.local + u64::try_from(passed).unwrap())
    }

    /// The first true time at which the clock shows `moment`.
    pub(crate) fn when(self, moment: Moment) -> u64 {
        let rate = u128::try_from(1_000_000 + self.ppm).unwrap();
        let ahead = u128::from(moment.0.saturating_sub(self.local)) * 1_000_000;
        self.at + u64::try_from(ahead.div_ceil(rate)).unwrap()
    }
}
