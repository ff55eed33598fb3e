//! One clock for everything the lab measures.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`: the same in every machine of the lab.
#[must_use]
pub fn now_ns() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
}

/// How far `CLOCK_BOOTTIME`, which Regent's journal has, is before `CLOCK_MONOTONIC`: the time the machine slept, in ns.
#[must_use]
pub fn boot_clock_ahead_ns() -> u64 {
    let t = clock_gettime(ClockId::Boottime);
    let boot = u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0);
    boot.saturating_sub(now_ns())
}
