//! Starting an instance, until it was seen to run.

use std::time::{Duration, Instant};

use regent_model::action::Failure;
use regent_model::config::InstanceKind;

use super::{Instance, MAIN_FOLDER, Seen, commands, gtm, stopping, vendor};
use crate::cgroup::Folder;
use crate::hands::failure;

/// The first pause between two looks; it grows by half each time.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Taking down what did not come up has so long.
const UNDO: Duration = Duration::from_secs(10);

/// Starts it in `folder`, its control group; what runs already is left as it is.
///
/// # Errors
/// It does not run; nothing of it is left running, and the error says so where that could not be shown.
pub(super) fn start(instance: &Instance<'_>, folder: &Folder, until: Option<Instant>) -> Result<(), Failure> {
    let job = instance.context.job;
    let until = until.unwrap_or_else(|| job.until(instance.config.start_timeout));
    let main = folder.create_child(MAIN_FOLDER).map_err(Failure::because)?;
    match instance.look()? {
        Seen::Up => {
            instance.step("it runs already", Duration::ZERO, "");
            instance.watch(folder)?;
            instance.tell(true);
            return Ok(());
        }
        Seen::Unwell(why) => {
            job.warn(format!("what is left of it is ended first: {why}"), "");
            stopping::end_everything(instance, folder, until)?;
        }
        Seen::Down => {}
    }
    instance.take_lock()?;
    let begun = Instant::now();
    let started = bring_up(instance, &main, until).and_then(|()| until_it_runs(instance, until));
    match started {
        Ok(()) => {
            instance.step(format!("{} was seen to run", instance.name()), begun.elapsed(), "");
            instance.watch(folder)?;
            instance.tell(true);
            Ok(())
        }
        Err(why) => Err(undo(instance, folder, why)),
    }
}

fn bring_up(instance: &Instance<'_>, main: &Folder, until: Instant) -> Result<(), Failure> {
    match instance.config.kind {
        InstanceKind::Gtm => gtm::start(instance, main, until),
        InstanceKind::Cache | InstanceKind::Iris => vendor::start(instance, main, until),
        InstanceKind::Command => commands::start(instance, main, until),
    }
}

/// A start is believed when the instance was seen, whatever its command said.
fn until_it_runs(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    let job = instance.context.job;
    job.now_doing("waiting until it runs");
    let mut pause = PAUSE_FIRST;
    loop {
        let seen = instance.look()?;
        if seen == Seen::Up {
            return Ok(());
        }
        job.check()?;
        if Instant::now() + pause >= until {
            let why = match seen {
                Seen::Unwell(why) => why,
                Seen::Up | Seen::Down => "it is down".into(),
            };
            let reason = format!("{} was started and does not run: {why}", instance.name());
            return Err(Failure { timed_out: true, ..failure(reason, instance.last_words()) });
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

/// It does not run: nothing of it is left running. The folder stays on the guard's list.
fn undo(instance: &Instance<'_>, folder: &Folder, why: Failure) -> Failure {
    instance.expect_end();
    instance.evidence_before_end(&why.reason, Duration::ZERO);
    let ended = stopping::end_everything(instance, folder, Instant::now() + UNDO);
    instance.tell(false);
    match ended {
        Ok(()) => {
            instance.drop_lock();
            why
        }
        Err(more) => Failure { reason: format!("{}; moreover {}", why.reason, more.reason), ..why },
    }
}
