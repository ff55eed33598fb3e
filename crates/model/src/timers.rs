//! Every timer of the cluster, derived from the one number the user gives (`takeover`).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The bounded error of a machine's clock rate, in parts per million. Rule 3 stretches every wait by
/// `(1 + r) / (1 - r)`. Quartz is good to 100 ppm; 1000 leaves room for bad and virtual clocks.
pub const CLOCK_RATE_ERROR_PPM: u32 = 1_000;

/// The shortest lease that can be asked for: below it a busy machine loses leases for no reason.
pub const LEASE_MIN: Duration = Duration::from_millis(120);

/// The longest lease that can be asked for.
pub const LEASE_MAX: Duration = Duration::from_secs(60);

/// The timers of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timers {
    /// How often a keepalive is sent on every network.
    pub heartbeat: Duration,
    /// The lease `L`: an owner that could not renew for this long has let go; a takeover waits this long.
    pub lease: Duration,
    /// How long after the last acknowledged keepalive an owner begins to let go.
    pub release_begins: Duration,
    /// The silence after which the best standby asks for election (the leader itself was lost).
    pub election_standby: Duration,
    /// The same for a witness, which leads only if no standby does.
    pub election_witness: Duration,
}

/// The three profiles, from which all other values scale: (lease, heartbeat, release begins, standby, witness) in ms.
const PROFILES_MS: [[u64; 5]; 3] =
    [[120, 20, 90, 60, 80], [600, 100, 450, 250, 350], [4_000, 500, 2_000, 1_500, 2_000]];

/// Why a takeover time was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimersError {
    /// What is wrong, in words for the operator.
    pub message: String,
}

impl fmt::Display for TimersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TimersError {}

impl Timers {
    /// `takeover = "fast"`.
    #[must_use]
    pub fn fast() -> Self {
        Self::of_profile(0)
    }

    /// `takeover = "normal"`, the default.
    #[must_use]
    pub fn normal() -> Self {
        Self::of_profile(1)
    }

    /// `takeover = "slow"`.
    #[must_use]
    pub fn slow() -> Self {
        Self::of_profile(2)
    }

    fn of_profile(index: usize) -> Self {
        Self::of_row(PROFILES_MS[index].map(|ms| Duration::from_millis(ms).as_nanos()))
    }

    fn of_row(row_ns: [u128; 5]) -> Self {
        let [lease, heartbeat, release_begins, election_standby, election_witness] =
            row_ns.map(|ns| Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)));
        let timers = Self { heartbeat, lease, release_begins, election_standby, election_witness };
        assert!(timers.inequality_holds(), "derived timers break their inequality: {timers:?}");
        timers
    }

    /// The timers of a cluster whose lease is `lease`, scaled between the neighbouring profiles.
    ///
    /// # Errors
    /// When `lease` is outside [`LEASE_MIN`]..=[`LEASE_MAX`].
    pub fn for_lease(lease: Duration) -> Result<Self, TimersError> {
        if lease < LEASE_MIN || lease > LEASE_MAX {
            return Err(TimersError {
                message: format!(
                    "a takeover time lies between {} ms and {} s, not {lease:?}",
                    LEASE_MIN.as_millis(),
                    LEASE_MAX.as_secs()
                ),
            });
        }
        let l = lease.as_nanos();
        let rows = PROFILES_MS.map(|row| row.map(|ms| u128::from(ms) * 1_000_000));
        let row = if l >= rows[2][0] {
            rows[2].map(|v| v * l / rows[2][0])
        } else {
            let low = usize::from(l >= rows[1][0]);
            let (a, b) = (rows[low], rows[low + 1]);
            let mut row = [0; 5];
            for (i, value) in row.iter_mut().enumerate() {
                *value = a[i] + (b[i] - a[i]) * (l - a[0]) / (b[0] - a[0]);
            }
            row
        };
        Ok(Self::of_row(row))
    }

    /// How long letting go may take: from its beginning to the end of the lease, on the slowest clock allowed.
    #[must_use]
    pub fn release_budget(&self) -> Duration {
        shrink(self.lease).saturating_sub(self.release_begins)
    }

    /// How long a voter waits after the last keepalive it acknowledged: the lease on the fastest clock allowed (L3).
    #[must_use]
    pub fn promise_wait(&self) -> Duration {
        stretch(self.lease)
    }

    /// The silence after which a voter stops acknowledging and begins to store its promise (L2). It is never
    /// earlier than the instant at which an owner that hears nobody has begun to let go.
    #[must_use]
    pub fn promise_begins(&self) -> Duration {
        stretch(self.release_begins)
    }

    /// The inequality behind the timers: three keepalives fit before letting go begins, letting go has time
    /// to finish, and an election ends inside the lease wait.
    #[must_use]
    pub fn inequality_holds(&self) -> bool {
        self.heartbeat > Duration::ZERO
            && self.heartbeat * 3 <= self.release_begins
            && self.release_begins < shrink(self.lease)
            && self.heartbeat * 2 <= self.election_standby
            && self.election_standby < self.election_witness
            && self.election_witness < self.lease
    }

    /// The inequality in words and numbers, one line per term, as `regent verify` prints it.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        let ms = |d: Duration| format!("{} ms", d.as_micros() as f64 / 1000.0);
        vec![
            format!(
                "heartbeat {}  x 3  <=  letting go begins {}",
                ms(self.heartbeat),
                ms(self.release_begins)
            ),
            format!(
                "letting go begins {}  +  release budget {}  =  lease {} on the slowest clock (-{} ppm)",
                ms(self.release_begins),
                ms(self.release_budget()),
                ms(self.lease),
                CLOCK_RATE_ERROR_PPM
            ),
            format!(
                "election: standby {}  <  witness {}  <  lease {}",
                ms(self.election_standby),
                ms(self.election_witness),
                ms(self.lease)
            ),
            format!("takeover waits {} after the last keepalive heard", ms(self.promise_wait())),
        ]
    }
}

/// `duration` stretched by `(1 + r) / (1 - r)`: long enough on any clock that `duration` has passed on every other.
#[must_use]
pub fn stretch(duration: Duration) -> Duration {
    let r = u64::from(CLOCK_RATE_ERROR_PPM);
    // Asked at every datagram: nearly always, 64 bits are wide enough.
    let ns = u64::try_from(duration.as_nanos()).ok().and_then(|ns| ns.checked_mul(1_000_000 + r));
    if let Some(ns) = ns {
        return Duration::from_nanos(ns.div_ceil(1_000_000 - r));
    }
    let r = u128::from(r);
    let ns = (duration.as_nanos() * (1_000_000 + r)).div_ceil(1_000_000 - r);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// `duration` shrunk by `(1 - r)`: what is left of it on the slowest clock allowed.
#[must_use]
pub fn shrink(duration: Duration) -> Duration {
    let r = u128::from(CLOCK_RATE_ERROR_PPM);
    let ns = duration.as_nanos() * (1_000_000 - r) / 1_000_000;
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_are_those_of_the_table_and_lie_on_the_scale() {
        for timers in [Timers::fast(), Timers::normal(), Timers::slow()] {
            assert_eq!(Timers::for_lease(timers.lease), Ok(timers));
        }
        assert_eq!(Timers::fast().lease, Duration::from_millis(120));
        assert_eq!(Timers::normal().heartbeat, Duration::from_millis(100));
        assert_eq!(Timers::slow().election_witness, Duration::from_secs(2));
    }

    #[test]
    fn every_lease_on_the_scale_satisfies_the_inequality() {
        for ms in (120..60_000).step_by(7) {
            let timers = Timers::for_lease(Duration::from_millis(ms)).unwrap();
            assert!(timers.inequality_holds(), "{ms} ms: {timers:?}");
            assert!(timers.promise_begins() < timers.promise_wait());
        }
    }

    #[test]
    fn stretching_is_the_same_in_64_and_128_bits() {
        let r = u128::from(CLOCK_RATE_ERROR_PPM);
        for ns in [0, 1, 999, 120_000_000, 18_428_297_329_635, 18_428_297_329_636, u64::MAX / 2] {
            let wide = (u128::from(ns) * (1_000_000 + r)).div_ceil(1_000_000 - r);
            assert_eq!(stretch(Duration::from_nanos(ns)).as_nanos(), wide, "{ns}");
        }
    }

    #[test]
    fn what_is_off_the_scale_is_refused() {
        assert!(Timers::for_lease(Duration::from_millis(119)).is_err());
        assert!(Timers::for_lease(Duration::from_secs(61)).is_err());
    }
}
