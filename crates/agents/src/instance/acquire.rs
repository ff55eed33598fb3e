//! Taking an instance: its control group is put on the guard's list, and it is started where the configuration says so.

use std::time::Duration;

use regent_model::action::{Failure, How, Outcome};
use regent_model::config::InstanceKind;
use regent_model::journal::Level;

use super::{Instance, MAIN_FOLDER, Seen, starting};
use crate::cgroup::Folder;

/// Whether it is held here already, by an earlier daemon. What runs is watched from now on.
pub(super) fn probe(instance: &Instance<'_>) -> Result<Outcome, Failure> {
    let Some(folder) = Folder::open(&instance.path()).map_err(Failure::because)? else {
        return Ok(Outcome::Stopped);
    };
    if !instance.is_begun() {
        return Ok(Outcome::Stopped);
    }
    // What is adopted is let go of like everything else (L12).
    instance.context.hold(instance.holding())?;
    folder.create_child(MAIN_FOLDER).map_err(Failure::because)?;
    instance.begin()?;
    let seen = instance.glance();
    match &seen {
        Seen::Up => instance.watch(&folder)?,
        Seen::Down if instance.is_locked_here() => {
            let what = format!("{} was up and is not any more: it ended unasked", instance.name());
            instance.context.job.warn(what, "");
        }
        Seen::Down => instance.step("it is held here, and down", Duration::ZERO, ""),
        Seen::Unwell(why) => instance.context.job.warn(why.clone(), ""),
    }
    instance.tell(seen == Seen::Up);
    Ok(Outcome::Running)
}

/// Takes it; what runs of it already is adopted.
pub(super) fn acquire(instance: &Instance<'_>) -> Result<Outcome, Failure> {
    let is_held = probe(instance)? == Outcome::Running;
    if is_held && (!is_to_be_started(instance) || instance.glance() == Seen::Up) {
        return Ok(Outcome::Running);
    }
    let job = instance.context.job;
    // The folder is there before the guard is asked: when the guard lets go it removes the folder, and what comes late
    // finds its way barred.
    let folder = Folder::create(&instance.path()).map_err(Failure::because)?;
    instance.context.hold(instance.holding())?;
    if folder.is_populated().map_err(Failure::because)? {
        end_what_is_left(instance, &folder)?;
    }
    folder.create_child(MAIN_FOLDER).map_err(Failure::because)?;
    if !instance.is_begun() && matches!(instance.config.kind, InstanceKind::Cache | InstanceKind::Iris) {
        instance.drop_locks_of_the_vendor()?;
    }
    instance.begin()?;
    if !is_to_be_started(instance) {
        let what =
            "its control group is on the guard's list; it is started by the group's applications or by hand";
        instance.step(what, Duration::ZERO, "");
        instance.tell(instance.glance() == Seen::Up);
        return Ok(Outcome::Running);
    }
    let until = job.until(instance.config.start_timeout);
    let _name = instance.take_host_name(until)?;
    starting::start(instance, &folder, Some(until))?;
    Ok(Outcome::Running)
}

/// Whether it is started with its group, or was up when it failed.
fn is_to_be_started(instance: &Instance<'_>) -> bool {
    instance.config.autostart || instance.context.run.how == How::AfterFailure
}

/// What an earlier ownership left in the folder is ended: it was started for another epoch.
fn end_what_is_left(instance: &Instance<'_>, folder: &Folder) -> Result<(), Failure> {
    let job = instance.context.job;
    job.record(Level::Warning, "ends what an earlier ownership left".into(), Duration::ZERO, String::new());
    folder.kill().map_err(Failure::because)?;
    match folder.wait_empty(job.soft_deadline()).map_err(Failure::because)? {
        true => Ok(()),
        false => Err(Failure::because(folder.survivors())),
    }
}

/// Whether it is as it was left: one that is down because nobody started it, or somebody stopped it, is.
pub(super) fn monitor(instance: &Instance<'_>) -> Result<Outcome, Failure> {
    match instance.look()? {
        Seen::Up => Ok(Outcome::Running),
        Seen::Down if !instance.is_locked_here() => Ok(Outcome::Running),
        Seen::Down => Ok(Outcome::Failed(Failure::because("it was up, was not stopped, and is down"))),
        Seen::Unwell(why) => Ok(Outcome::Failed(Failure::because(why))),
    }
}
