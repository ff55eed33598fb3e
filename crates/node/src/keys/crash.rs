//! A daemon or guard that dies at a certain point of a change of the key: for tests, and not in a release build.

use std::path::Path;

/// Where a test says at which points, and who, a line each: `use-durable daemon`.
#[cfg(debug_assertions)]
const FILE: &str = "crash-at";

/// Ends this process at this point, or its guard, once, if a test wants that.
#[cfg(debug_assertions)]
pub(super) fn crash_at(run: &Path, point: &str) {
    let file = run.join(FILE);
    let Ok(wanted) = std::fs::read_to_string(&file) else { return };
    let here = |line: &&str| line.split_once(' ').is_some_and(|(at, _)| at == point);
    let Some(who) = wanted.lines().find(here).and_then(|line| line.split_once(' ')).map(|(_, who)| who)
    else {
        return;
    };
    // Gone before, so that it happens once.
    let rest: Vec<&str> = wanted.lines().filter(|line| !here(line)).collect();
    if std::fs::write(&file, rest.join("\n")).is_err() {
        return;
    }
    tracing::error!("a test ends the {who} at {point}");
    if who == "guard" {
        let pid =
            std::fs::read_to_string(run.join("guard.lock")).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _gone_already = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    } else {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(super) fn crash_at(_run: &Path, _point: &str) {}
