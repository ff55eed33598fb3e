//! Recovery before every open, and closing after every stop.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use regent_model::action::Failure;
use regent_model::journal::Level;

use super::create::{believe, set_journals};
use super::{memory, tool};
use crate::command::{Ended, Finished};
use crate::instance::Instance;

/// So many of the journals that recoveries set aside are kept, of each database file.
const KEPT: usize = 3;
/// So long a recovery may take that works on what was left in memory; then it begins anew without.
const WAITS_AT_MOST: Duration = Duration::from_secs(3);

/// Recovers the database from its journals. It must not be opened where this fails.
pub(super) fn recover(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    let begun = Instant::now();
    let done = try_to(instance, until)?;
    if done.output.contains("NOTALLJNLEN") {
        let what =
            "the database had no journals, without which no takeover keeps what was written: turned on";
        instance.context.job.record(Level::Warning, what.into(), Duration::ZERO, done.output);
        return set_journals(instance, until);
    }
    believe("the database could not be recovered, and is not opened", &done)?;
    let what = if done.output.contains("Before image applying") || done.output.contains("FILERENAME") {
        "recovered the database from its journals (it was not stopped)"
    } else {
        "the journals hold nothing to recover: it was stopped"
    };
    instance.step(what, begun.elapsed(), done.output);
    Ok(())
}

/// Runs the recovery, and does not let it wait for processes that were killed.
fn try_to(instance: &Instance<'_>, until: Instant) -> Result<Finished, Failure> {
    let job = instance.context.job;
    let words = ["journal", "-recover", "-backward", "*"];
    let run = |until| tool(instance, "recover", "mupip", &words, None, until);
    let left = memory::left_behind(&instance.config.directory);
    if left.is_empty() {
        return run(until);
    }
    if instance.was_locked_here() {
        let first = run(until.min(Instant::now() + WAITS_AT_MOST))?;
        if first.ended != Ended::TimedOut || Instant::now() >= until {
            return Ok(first);
        }
        job.check()?;
        let what = "the recovery waits for a process that was killed: what it left in memory is given up, and what was \
                    committed is in the journals";
        job.record(Level::Notice, what.into(), first.took, first.output);
    }
    // Of an earlier time here, or of no more use.
    memory::remove(&left, job);
    run(until)
}

/// Closes the database after its last process has ended.
pub(super) fn run_down(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    let begun = Instant::now();
    let run_down = || tool(instance, "rundown", "mupip", &["rundown", "-region", "*"], None, until);
    let done = run_down()?;
    if let Err(why) = believe("it could not be closed", &done) {
        // Somebody was killed while he had it open: recovery closes it, too.
        instance.context.job.warn(why.reason, why.evidence);
        recover(instance, until)?;
        believe("it could not be closed", &run_down()?)?;
    }
    instance.step("closed the database (mupip rundown)", begun.elapsed(), "");
    Ok(())
}

/// Removes all but the newest journals that recoveries set aside: they would fill the disk, and nothing needs them
/// once a recovery has succeeded.
pub(super) fn prune(instance: &Instance<'_>) {
    let (mut removed, mut named) = (0_u32, String::new());
    for path in set_aside(&instance.config.directory) {
        match std::fs::remove_file(&path) {
            Ok(()) => {
                removed += 1;
                named.push_str(&format!("{}\n", path.display()));
            }
            Err(e) => instance.context.job.warn(format!("cannot remove {}: {e}", path.display()), ""),
        }
    }
    if removed > 0 {
        let what = format!("removed {removed} journal(s) that earlier recoveries set aside");
        instance.step(what, Duration::ZERO, named);
    }
}

/// The journals to remove: of each file's, all but the newest.
fn set_aside(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<(String, String, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (of, when) = name.rsplit_once(".mjl_")?;
            let is_time = when.starts_with(|c: char| c.is_ascii_digit());
            is_time.then(|| (of.to_owned(), when.to_owned(), entry.path()))
        })
        .collect();
    found.sort();
    let newest_of = |of: &str| found.iter().filter(|(other, ..)| other == of).count();
    let mut seen = std::collections::BTreeMap::new();
    let mut old = Vec::new();
    for (of, _, path) in &found {
        let at: &mut usize = seen.entry(of.as_str()).or_default();
        *at += 1;
        if newest_of(of) - *at >= KEPT {
            old.push(path.clone());
        }
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_journals_of_each_file_are_kept_and_nothing_else_is_touched() {
        let folder = std::env::temp_dir().join(format!("regent-journals-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let times = ["2026326063925", "2026326063926", "2026326064340", "2026327000000", "2026327000001"];
        for name in times.iter().map(|t| format!("mumps.mjl_{t}")).chain([
            "mumps.mjl".into(),
            "mumps.dat".into(),
            "other.mjl_2025".into(),
            "notes.mjl_old".into(),
        ]) {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let old: Vec<_> = set_aside(&folder).iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(old, ["mumps.mjl_2026326063925", "mumps.mjl_2026326063926"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
