//! Reads what every resource has: monitoring, time limits, retries and restarts, and its name.

use std::time::Duration;

use super::finding::Finding;
use super::reader::{Reader, Zero};
use super::scalar;
use super::tree::At;
use super::{MonitorTimes, RestartLimits};

/// Retries of a failed acquire on the same node, unless the configuration says otherwise.
pub const DEFAULT_RETRIES: u32 = 1;
/// Local restarts after a monitored failure within [`DEFAULT_WINDOW`], unless the configuration says
/// otherwise.
pub const DEFAULT_RESTARTS: u32 = 2;
/// The window that counts local restarts, unless the configuration says otherwise.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(600);

/// A monitor as it is written: its times, and (applications only) its command.
pub(super) struct Monitor {
    pub(super) times: MonitorTimes,
    pub(super) command: Option<At<String>>,
    /// Where its timeout is written, if it is.
    pub(super) timeout: Option<At<Duration>>,
}

/// Reads `monitor = { ... }`; what is not given is taken from `defaults`.
pub(super) fn monitor(reader: &mut Reader<'_>, place: &'static str, defaults: MonitorTimes) -> Monitor {
    const EXAMPLE: &str = "{ interval = \"10s\", timeout = \"20s\", failures = 2 }";
    let Some(table) = reader.table("monitor", EXAMPLE) else {
        return Monitor { times: defaults, command: None, timeout: None };
    };
    let mut inner = Reader::new(place, table, reader.findings);
    let monitor = times(&mut inner, defaults);
    inner.finish();
    monitor
}

/// Reads the times of a monitor.
pub(super) fn times(inner: &mut Reader<'_>, defaults: MonitorTimes) -> Monitor {
    let interval = inner.duration("interval", Zero::Allowed, "\"10s\"");
    let timeout = inner.duration("timeout", Zero::Refused, "\"20s\"");
    let failures = inner.number("failures", 1..=1000, "2");
    let of = inner.number("of", 1..=1000, "5");
    let slow_after = inner.duration("slow_after", Zero::Refused, "\"2s\"");
    let decide = failures.as_ref().map_or(defaults.failures, |n| n.value);
    if let Some(of) = of.as_ref().filter(|of| of.value < decide) {
        let message = format!("{decide} failures are never among {} checks", of.value);
        let finding =
            Finding::error(&of.span, message).help(format!("write for example of = {}", decide * 2));
        inner.findings.add(finding);
    }
    let times = MonitorTimes {
        interval: interval.map_or(defaults.interval, |d| d.value),
        timeout: timeout.as_ref().map_or(defaults.timeout, |d| d.value),
        failures: decide,
        of: of.map_or(decide, |n| n.value),
        slow_after: slow_after.as_ref().map(|d| d.value),
    };
    if let Some(slow) = slow_after.filter(|s| s.value >= times.timeout) {
        let message = "it is never slow: a check that takes so long has timed out, which is a failure";
        let finding = Finding::warning(&slow.span, message).help("write less than `timeout`");
        inner.findings.add(finding);
    }
    Monitor { times, command: None, timeout }
}

/// Reads `retries`, `restarts` and `window`.
pub(super) fn limits(reader: &mut Reader<'_>) -> RestartLimits {
    limits_and_window(reader).0
}

/// The same, with the window where it is written.
pub(super) fn limits_and_window(reader: &mut Reader<'_>) -> (RestartLimits, Option<At<Duration>>) {
    let retries = reader.number("retries", 0..=1000, "1");
    let restarts = reader.number("restarts", 0..=1000, "2");
    let window = reader.duration("window", Zero::Refused, "\"10m\"");
    if let (Some(restarts), Some(window)) = (&restarts, &window)
        && restarts.value == 0
    {
        let finding = Finding::warning(&window.span, "`window` counts nothing: `restarts` is 0")
            .help("delete `window`, or allow local restarts: restarts = 2")
            .related(&restarts.span, "no local restart");
        reader.findings.add(finding);
    }
    let limits = RestartLimits {
        retries: retries.map_or(DEFAULT_RETRIES, |n| n.value),
        restarts: restarts.map_or(DEFAULT_RESTARTS, |n| n.value),
        window: window.as_ref().map_or(DEFAULT_WINDOW, |d| d.value),
    };
    (limits, window)
}

/// The resource's name: given, or made of `from` and then placed there.
pub(super) fn name_or(reader: &mut Reader<'_>, from: Option<At<String>>) -> Option<At<String>> {
    match reader.name("name", "\"disk1\"") {
        Some(name) => Some(name),
        None => from.map(|at| At::new(scalar::name_from(&at.value), at.span)),
    }
}
