//! Stopping an application: asked first, then ended, and shown to be gone.

use std::time::{Duration, Instant};

use regent_model::action::{Failure, Outcome};
use regent_model::journal::Level;
use rustix::process::Signal;

use super::{Application, MAIN_FOLDER, record};
use crate::cgroup::Folder;
use crate::command::Ended;
use crate::hands::failure;
use crate::process::{self, Identity};
use crate::slot;

/// What a main process leaves behind may react to `SIGTERM` so long.
const REST_GRACE: Duration = Duration::from_secs(2);
/// At most so much of the time is kept back for the kill and the last question.
pub(super) const KEPT_BACK_MAX: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Takes the application down. What is not there is down already.
pub(super) fn release(app: &Application<'_>) -> Result<Outcome, Failure> {
    let job = app.context.job;
    let key = slot::key(app.context.run);
    let known = app.context.inner.applications.find(&key, app.context.run.epoch);
    if let Some(life) = &known {
        life.expect_end();
    }
    let record = record::read(&app.record_path());
    let Some(folder) = Folder::open(&app.path()).map_err(Failure::because)? else {
        app.context.inner.applications.remove(&key);
        app.let_go(record.as_ref())?;
        record::remove(&app.record_path());
        return Ok(Outcome::Stopped);
    };
    let recorded = record.and_then(|r| r.process);
    let main = known.as_ref().and_then(|life| life.process()).or(recorded);
    let kept_back = (job.left() / 4).min(KEPT_BACK_MAX);
    let until = job.until(app.config.stop_timeout.min(job.left().saturating_sub(kept_back)));
    let refused = ask_to_stop(app, &folder, main, until)?;
    kill_the_rest(app, &folder, main)?;
    // Nothing else tells: not its processes, which may live anywhere, and no status.
    if let Some(why) = refused.filter(|_| app.config.status.is_none() && app.was_seen()) {
        return Err(why);
    }
    says_it_stopped(app, &folder)?;
    job.step("remove its control group", || folder.end(Duration::ZERO, job.soft_deadline()))
        .map_err(Failure::because)?;
    app.context.inner.applications.remove(&key);
    app.let_go(record.as_ref())?;
    record::remove(&app.record_path());
    Ok(Outcome::Stopped)
}

/// The polite part: the stop command, or `SIGTERM`; then time to end until `until`. Says why the stop command failed,
/// if it did.
fn ask_to_stop(
    app: &Application<'_>,
    folder: &Folder,
    main: Option<Identity>,
    until: Instant,
) -> Result<Option<Failure>, Failure> {
    let job = app.context.job;
    let members = Folder::open(&folder.path().join(MAIN_FOLDER)).map_err(Failure::because)?;
    let (mut asked, mut failed, mut refused) = (false, false, None);
    let cleanup = app.after_failure(&app.config.monitoring.cleanup);
    let action = if cleanup.is_some() { "cleanup" } else { "stop" };
    if let Some(line) = cleanup.or(app.config.stop.as_deref()) {
        // Whoever has it may keep it long; what must end is ended in any case.
        let name = app.take_host_name(Instant::now() + until.saturating_duration_since(Instant::now()) / 2);
        match name.and_then(|_name| app.command(action, line, folder, until, Signal::KILL)) {
            Ok(done) => {
                asked = done.ended.is_success();
                failed = !asked;
                let level = if asked { Level::Step } else { Level::Warning };
                let what = format!("{action} command {}", done.ended.in_words());
                if !asked {
                    refused = Some(failure(
                        format!("the {what}, and nothing else says that it is stopped"),
                        &done.output,
                    ));
                }
                job.record(level, what, done.took, done.output);
                if done.ended == Ended::CalledOff {
                    job.check()?;
                }
            }
            // It cannot be asked; it can still be ended.
            Err(why) => {
                job.warn(why.reason.clone(), why.evidence.clone());
                refused = Some(why);
            }
        }
    }
    if let Some(members) = members
        && members.is_populated().map_err(Failure::because)?
    {
        if failed {
            app.evidence_before_end(
                &format!("its {action} command failed, and it still runs"),
                KEPT_BACK_MAX,
            );
        }
        job.step("wait for its processes to end", || end_politely(&members, main, asked, until))
            .map_err(Failure::because)?;
    }
    Ok(refused)
}

/// Waits for the main process, with `SIGTERM` unless it was asked otherwise; then the others get theirs.
fn end_politely(members: &Folder, main: Option<Identity>, asked: bool, until: Instant) -> Result<(), String> {
    if let Some(main) = main.filter(|m| m.is_alive()) {
        if !asked {
            main.signal(Signal::TERM);
        }
        while main.is_alive() && members.is_populated()? && Instant::now() < until {
            std::thread::sleep(LOOK_AGAIN);
        }
    } else if asked && main.is_none() && members.wait_empty(until)? {
        return Ok(());
    }
    let rest_until = until.min(Instant::now() + REST_GRACE);
    if Instant::now() < until && members.is_populated()? {
        members.signal(Signal::TERM);
        // A group without a main process has all the time there is.
        members.wait_empty(if main.is_some() { rest_until } else { until })?;
    }
    Ok(())
}

/// Whatever is left is killed, and the kernel says that nobody is.
fn kill_the_rest(app: &Application<'_>, folder: &Folder, main: Option<Identity>) -> Result<(), Failure> {
    let job = app.context.job;
    let left: Vec<String> = folder.all_processes().into_iter().map(process::describe).collect();
    if !left.is_empty() {
        app.evidence_before_end("it was asked to stop, and did not end", KEPT_BACK_MAX);
        let begun = Instant::now();
        job.now_doing("killing what did not end");
        folder.kill().map_err(Failure::because)?;
        let empty = folder.wait_empty(job.soft_deadline()).map_err(Failure::because)?;
        if !empty {
            return Err(Failure { timed_out: true, ..Failure::because(folder.survivors()) });
        }
        let what = format!("{} process(es) did not end and were killed", left.len());
        job.record(Level::Warning, what, begun.elapsed(), left.join("\n"));
    }
    // A main process that has left its control group is still ours.
    if let Some(main) = main.filter(|m| m.is_alive()) {
        job.warn(format!("main process {} had left its control group and is killed", main.pid), "");
        main.signal(Signal::KILL);
        while main.is_alive() {
            job.check()
                .map_err(|_| Failure::because(format!("{} survived SIGKILL", process::describe(main.pid))))?;
            std::thread::sleep(LOOK_AGAIN);
        }
    }
    Ok(())
}

/// The status is asked once more: a stop is not believed for its exit code.
fn says_it_stopped(app: &Application<'_>, folder: &Folder) -> Result<(), Failure> {
    let job = app.context.job;
    let Some(answer) = app.ask(folder, job.soft_deadline())? else { return Ok(()) };
    match answer.ended {
        ended if ended.is_success() => Err(failure(
            format!(
                "{} was stopped and nothing of it is left here, but its status command still says it runs; \
                 look for one that was started by hand, or correct the status command",
                app.name()
            ),
            answer.output,
        )),
        Ended::Exit(_) => {
            let what = format!("the status command {}: it is stopped", answer.ended.in_words());
            job.record(Level::Step, what, answer.took, String::new());
            Ok(())
        }
        Ended::TimedOut | Ended::CalledOff => {
            job.warn(
                format!("the status command {}; its processes are gone", answer.ended.in_words()),
                answer.output,
            );
            Ok(())
        }
    }
}
