//! The clock of leases, and its place on the clock of timeouts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use regent_model::Moment;
use rustix::time::{ClockId, clock_gettime};

/// The present on `CLOCK_BOOTTIME`, which goes on while the machine is suspended.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    Moment(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

/// The same moment for what measures by `CLOCK_MONOTONIC`; the present for a moment that has passed.
#[must_use]
pub fn instant_of(moment: Moment) -> Instant {
    Instant::now() + moment.since(now())
}

/// The wall clock in milliseconds since 1970, for people; nothing decides by it.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A wall clock's milliseconds as people write them, in UTC.
#[must_use]
pub fn utc_text(wall_ms: u64) -> String {
    let (days, ms) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{:03}", ms % 1_000)
}

/// Year, month and day so many days after the first of 1970. Counted in years that begin in March, so that the leap
/// day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc_text(0), "1970-01-01 00:00:00.000");
        assert_eq!(utc_text(951_782_399_999), "2000-02-28 23:59:59.999");
        assert_eq!(utc_text(951_782_400_000), "2000-02-29 00:00:00.000");
        assert_eq!(utc_text(1_735_689_599_001), "2024-12-31 23:59:59.001");
        assert_eq!(utc_text(4_107_542_400_000), "2100-03-01 00:00:00.000");
    }
}
