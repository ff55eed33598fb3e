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
