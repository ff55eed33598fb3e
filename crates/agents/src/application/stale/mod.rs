//! What an application left behind under an earlier epoch is removed before it starts under a new one; not at a restart
//! within one.
//!
//! The epoch under which it was last begun here is written beside its record, where it outlives the daemon and not the
//! boot: neither an adoption nor a restart is taken for a new beginning.

mod glob;
mod sweep;

use std::path::PathBuf;

use regent_model::action::{Failure, Notice};

use super::{Application, record};
use crate::report::Report;
use sweep::Swept;

/// So many removed files are named in the journal's line; more of them stand in its evidence.
const IN_LINE: usize = 3;

/// Removes what is stale, unless that was done under this epoch.
///
/// # Errors
/// Something cannot be removed; the application must not start on it.
pub(super) fn clear(app: &Application<'_>) -> Result<(), Failure> {
    if is_begun(app) {
        return Ok(());
    }
    let mut swept = Swept::default();
    let job = app.context.job;
    if !app.config.stale.is_empty() {
        job.now_doing("removing stale files");
        let result = app.config.stale.iter().try_for_each(|pattern| sweep::sweep(pattern, job, &mut swept));
        tell(app, &swept);
        result.map_err(|why| Failure {
            reason: format!("what it left behind must be removed before it starts anew: {}", why.reason),
            ..why
        })?;
    }
    match (note(app), app.config.stale.is_empty()) {
        (Err(why), false) => Err(Failure::because(why)),
        _ => Ok(()),
    }
}

/// Notes that what runs belongs to this epoch.
pub(super) fn adopted(app: &Application<'_>) {
    if !is_begun(app)
        && let Err(why) = note(app)
    {
        app.context.job.warn(why, "");
    }
}

fn path(app: &Application<'_>) -> PathBuf {
    app.record_path().with_file_name(format!("{}.epoch", app.name()))
}

fn note(app: &Application<'_>) -> Result<(), String> {
    record::write_text(&path(app), app.context.run.epoch.0.to_string().as_bytes())
}

/// Whether it was begun here under this epoch, or under the one that this goes on with.
fn is_begun(app: &Application<'_>) -> bool {
    let run = app.context.run;
    let noted = std::fs::read_to_string(path(app)).ok().and_then(|text| text.trim().parse::<u64>().ok());
    // The same machine goes on under a new guard: what is left behind is its own.
    let adopted = run.environment.iter().any(|(key, value)| key == "REGENT_PROOF" && value == "adopted");
    noted.is_some_and(|epoch| epoch == run.epoch.0 || adopted)
}

fn tell(app: &Application<'_>, swept: &Swept) {
    let job = app.context.job;
    if swept.count > 0 {
        let first: Vec<&str> = swept.named.iter().take(IN_LINE).map(String::as_str).collect();
        let more = swept.count - first.len() as u64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let plural = if swept.count == 1 { "" } else { "s" };
        let text = format!("removed {} stale file{plural}: {}{more}", swept.count, first.join(", "));
        // At once: the steps of a start are lost with a daemon that is killed before it ends.
        let run = app.context.run;
        (app.context.inner.report)(Report::Notice(Notice::Told {
            group: run.group.clone(),
            epoch: run.epoch,
            resource: run.resource.name().clone(),
            warning: false,
            text,
            evidence: swept.named.join("\n"),
        }));
    }
    if !swept.folders.is_empty() {
        let folders: Vec<&str> = swept.folders.iter().map(String::as_str).collect();
        let text = format!("`stale` means files, and {} is a folder and was left", folders[0]);
        job.warn(format!("{text}; write {}/** for what is in it", folders[0]), folders.join("\n"));
    }
}
