//! The watchdog device of a machine, and what its timeout must be so that a lease ends with it.
//!
//! A guard feeds the device only while the last keepalive that a majority acknowledged is young enough. How young
//! follows from the latest moment at which the machine may still be reset after a look that allowed one more feed:
//!
//! - the process may stop between that look and the feed, which then comes as late as the device lets it: less than one
//!   timeout `w` after the feed before, which was earlier than the look;
//! - the kernel feeds the device once more when a process that has it open dies without having disarmed it, again less
//!   than one `w` later;
//! - after that nobody feeds it, and it fires after a third `w`, at most the latency `d` late.
//!
//! So the machine is reset before `look + 3 w + d`, and a look may allow a feed while that lies before the end of the lease
//! ([`reach`]). The timeout is the one that the driver *returned*: it may have rounded up.

use std::time::Duration;

use crate::timers::{Timers, stretch};

/// How much later than its timeout a device may fire, and the machine be without any effect.
pub const LATENCY: Duration = Duration::from_millis(250);

/// How often a device is fed.
pub const FEED_EVERY: Duration = Duration::from_millis(250);

/// The shortest timeout that a device can be given: drivers count in seconds.
pub const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// From a look that allows one more feed to the latest moment at which the machine is reset, on any clock allowed.
#[must_use]
pub fn reach(timeout: Duration) -> Duration {
    stretch(timeout.saturating_mul(3).saturating_add(LATENCY))
}

/// How long after the last keepalive that a majority acknowledged an owner is reset at the earliest, though its guard
/// runs: letting go must be shown by then. Nothing when the lease is too short for any feed.
#[must_use]
pub fn bites_after(timers: &Timers, timeout: Duration) -> Option<Duration> {
    let fed_until = timers.lease.checked_sub(reach(timeout))?;
    (fed_until + timeout).checked_sub(FEED_EVERY)
}

/// Whether a device with this timeout is of use: it resets no machine whose guard has not begun to let go.
#[must_use]
pub fn fits(timers: &Timers, timeout: Duration) -> bool {
    bites_after(timers, timeout).is_some_and(|bites| bites >= timers.release_begins)
}

/// The timeout to ask a device for: the longest, in whole seconds, that leaves half of the release budget for letting go,
/// and otherwise the shortest.
#[must_use]
pub fn timeout_wanted(timers: &Timers) -> Duration {
    let half = timers.release_budget() / 2;
    let leaves_half = |timeout: &Duration| {
        bites_after(timers, *timeout).is_some_and(|bites| bites >= timers.release_begins + half)
    };
    let seconds = 1..=timers.lease.as_secs();
    seconds.map(Duration::from_secs).take_while(leaves_half).last().unwrap_or(TIMEOUT_MIN)
}

/// The shortest lease with which a device is of use, in steps of 10 ms.
#[must_use]
pub fn shortest_lease() -> Duration {
    let leases = (12..=6_000).map(|step| Duration::from_millis(step * 10));
    let fit = |lease: &Duration| Timers::for_lease(*lease).is_ok_and(|timers| fits(&timers, TIMEOUT_MIN));
    leases.into_iter().find(fit).unwrap_or(crate::timers::LEASE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timers::shrink;

    #[test]
    fn a_machine_is_reset_before_its_lease_ends_whatever_happens_after_the_last_look() {
        for seconds in 1..12 {
            let timeout = Duration::from_secs(seconds);
            // In true time: the device's clock may be slow, and the lease is measured by one that may be fast.
            let slowest = timeout * 3 + LATENCY;
            assert!(shrink(reach(timeout)) >= slowest, "{seconds} s: {:?}", reach(timeout));
        }
    }

    #[test]
    fn whatever_is_wanted_fits_from_the_shortest_lease_on() {
        let shortest = shortest_lease();
        assert_eq!(shortest, Duration::from_millis(5_020));
        for ms in (120..60_000).step_by(10) {
            let timers = Timers::for_lease(Duration::from_millis(ms)).unwrap();
            let wanted = timeout_wanted(&timers);
            assert_eq!(fits(&timers, wanted), timers.lease >= shortest, "{ms} ms");
            // Fed last before an act was begun, when nothing was held yet, the device must fire in time too: no later
            // than after the feed, the one of a dying process, and its latency.
            let acted = timers.release_begins + wanted * 2 + LATENCY;
            assert!(timers.lease < shortest || acted <= shrink(timers.lease), "{ms} ms");
        }
    }

    #[test]
    fn a_longer_lease_is_given_a_longer_timeout() {
        let of = |s| timeout_wanted(&Timers::for_lease(Duration::from_secs(s)).unwrap()).as_secs();
        assert_eq!([of(6), of(12), of(30), of(60)], [1, 1, 3, 7]);
    }
}
