//! Looking at an application: before the first acquire, after a daemon's restart, and again and again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use regent_model::action::{Failure, Outcome};
use regent_model::config::{ApplicationConfig, MainProcess};
use rustix::time::{ClockId, clock_gettime};

use super::life::{Life, Watch};
use super::record::{self, Phase};
use super::{Application, MAIN_FOLDER, stale};
use crate::cgroup::Folder;
use crate::command::{COMMAND_FOLDER, Ended, KILL_TAKES_AT_MOST};
use crate::hands::failure;
use crate::output::Output;
use crate::process::{self, Identity};
use crate::slot;

/// Ticks a second in `/proc`, the same on every Linux.
const TICKS: u64 = 100;
/// A process that began so long after its pid file was written is somebody else with the same number.
const PID_FILE_SLACK: Duration = Duration::from_secs(10);
/// Commands that look before anything is held run under this folder. No group can have its name.
const PROBE_FOLDER: &str = ".probe";

/// Whether it runs here already. What runs is adopted: its end is news from now on.
pub(super) fn probe(app: &Application<'_>) -> Result<Outcome, Failure> {
    match Folder::open(&app.path()).map_err(Failure::because)? {
        Some(folder) if app.was_seen() || folder.is_populated().map_err(Failure::because)? => {
            end_orphaned_commands(&folder);
            let outcome = look(app)?;
            if outcome == Outcome::Running {
                // What is adopted is let go of like everything else (L12).
                app.context.hold(app.holding())?;
                stale::adopted(app);
            }
            Ok(outcome)
        }
        _ => not_in_our_folder(app),
    }
}

/// Whether it is well.
pub(super) fn monitor(app: &Application<'_>) -> Result<Outcome, Failure> {
    let outcome = look(app)?;
    if outcome == Outcome::Stopped {
        app.context.job.warn(format!("nothing of {} runs any more", app.name()), last_words(app));
    }
    Ok(outcome)
}

/// Looks at the processes, then asks the status command. Adopts what nobody watches yet.
pub(super) fn look(app: &Application<'_>) -> Result<Outcome, Failure> {
    let known = app.context.inner.applications.find(&slot::key(app.context.run), app.context.run.epoch);
    let life = match known {
        Some(life) => life,
        None => match find_life(app)? {
            Found::Life(life) => life,
            Found::Nothing => return Ok(Outcome::Stopped),
            Found::Broken(why) => return Ok(Outcome::Failed(why)),
        },
    };
    if !life.is_alive() {
        return nobody_main(app, &life);
    }
    if let Some(why) = app.does_not_serve() {
        return Ok(Outcome::Failed(failure(why, last_words(app))));
    }
    let limit = app.context.job.until(app.status_limit());
    let Some(answer) = app.ask(&life.folder, limit)? else { return Ok(Outcome::Running) };
    if let Some(why) = app.no_answer(&answer) {
        return Ok(Outcome::Failed(why));
    }
    // An init script that knows of nothing says 3.
    let is_down = answer.ended.code() == Some(3) && app.config.script.is_some();
    Ok(match answer.ended {
        _ if is_down && !life.main.is_populated().unwrap_or(true) => Outcome::Stopped,
        ended if ended.is_success() => Outcome::Running,
        Ended::CalledOff => return Err(Failure::because("the question was called off")),
        ended => Outcome::Failed(Failure {
            reason: format!("the status command {}", ended.in_words()),
            evidence: answer.output,
            timed_out: ended == Ended::TimedOut,
        }),
    })
}

fn nobody_main(app: &Application<'_>, life: &Life) -> Result<Outcome, Failure> {
    if !life.main.is_populated().map_err(Failure::because)? {
        return Ok(Outcome::Stopped);
    }
    let left: Vec<String> = life.main.all_processes().into_iter().map(process::describe).collect();
    let pid = life.process().map_or_else(String::new, |p| format!(" {}", p.pid));
    let reason = format!("the main process{pid} of {} has ended, others still live", app.name());
    Ok(Outcome::Failed(failure(reason, left.join("\n"))))
}

enum Found {
    Life(Arc<Life>),
    Nothing,
    Broken(Failure),
}

/// Finds out from the control group and the record what an earlier daemon started.
fn find_life(app: &Application<'_>) -> Result<Found, Failure> {
    let Some(folder) = Folder::open(&app.path()).map_err(Failure::because)? else {
        return Ok(Found::Nothing);
    };
    let main_path = folder.path().join(MAIN_FOLDER);
    let Some(main) = Folder::open(&main_path).map_err(Failure::because)? else { return Ok(Found::Nothing) };
    let members = main.all_processes();
    if members.is_empty() && !app.was_seen() {
        return Ok(Found::Nothing);
    }
    let record = record::read(&app.record_path());
    let starting = record.filter(|r| r.phase == Phase::Starting).and_then(|r| r.process);
    if let Some(command) = starting.filter(|p| p.is_alive() && app.config.main != MainProcess::Child) {
        let reason = format!(
            "its start command (process {}) was begun by an earlier daemon and still runs",
            command.pid
        );
        return Ok(Found::Broken(Failure::because(reason)));
    }
    let recorded = record.and_then(|r| r.process).filter(|p| members.contains(&p.pid) && p.is_alive());
    let process = match &app.config.main {
        MainProcess::Cgroup | MainProcess::None => None,
        MainProcess::Child => recorded.or_else(|| leader(&members)),
        MainProcess::PidFile(_) => {
            recorded.or_else(|| app.named_by_pid_file().filter(|p| members.contains(&p.pid)))
        }
    };
    let has_main = matches!(app.config.main, MainProcess::Child | MainProcess::PidFile(_));
    if process.is_none() && has_main {
        let left: Vec<String> = members.into_iter().map(process::describe).collect();
        let reason = format!("processes of {} are left, but its main process is not among them", app.name());
        return Ok(Found::Broken(failure(reason, left.join("\n"))));
    }
    adopt(app, folder, main, process).map(Found::Life)
}

/// The oldest process that leads a session: commands are begun as such.
fn leader(members: &[i32]) -> Option<Identity> {
    let leads = |pid: &&i32| process::stat(**pid).is_some_and(|s| s.session == **pid);
    members.iter().filter(leads).filter_map(|pid| Identity::of(*pid)).min()
}

/// Watches what runs, from now on.
pub(super) fn adopt(
    app: &Application<'_>,
    folder: Folder,
    main: Folder,
    process: Option<Identity>,
) -> Result<Arc<Life>, Failure> {
    let run = app.context.run;
    let life = Life::new(slot::key(run), run.epoch, folder, main, process, app.is_told());
    let life = life.map_err(Failure::because)?;
    app.context.inner.applications.insert(&life);
    let watch = Watch {
        child: None,
        output: Output::reopen(&app.output_path("start")),
        pid_file: pid_file(app.config),
        report: app.context.inner.report.clone(),
    };
    life.watch(watch).map_err(Failure::because)?;
    Ok(life)
}

/// The pid file, if the application has one.
pub(super) fn pid_file(config: &ApplicationConfig) -> Option<PathBuf> {
    match &config.main {
        MainProcess::PidFile(path) => Some(path.clone()),
        MainProcess::Child | MainProcess::Cgroup | MainProcess::None => None,
    }
}

/// Commands whose daemon died have nobody left to hear their answer.
fn end_orphaned_commands(folder: &Folder) {
    for name in folder.children().iter().filter(|name| name.starts_with(COMMAND_FOLDER)) {
        let ended = crate::cgroup::end(
            &folder.path().join(name),
            Duration::ZERO,
            std::time::Instant::now() + KILL_TAKES_AT_MOST,
        );
        if let Err(error) = ended {
            tracing::warn!(%error, "a command of an earlier daemon does not end");
        }
    }
}

/// Nothing runs under our hands. A pid file may still tell of one that was started by somebody else's:
/// neither the guard nor a release could end that, so it is neither adopted nor passed over.
fn not_in_our_folder(app: &Application<'_>) -> Result<Outcome, Failure> {
    // Before a start it is asked whether it runs already, and what runs is taken in.
    if app.config.monitoring.startup.is_some() {
        return Ok(Outcome::Stopped);
    }
    let Some(process) = app.named_by_pid_file().filter(|p| !is_number_used_again(app, *p)) else {
        return Ok(Outcome::Stopped);
    };
    if app.config.status.is_some() {
        let name = format!("{}.{}", app.context.run.group, app.name());
        let path = app.context.inner.cgroups.join(PROBE_FOLDER).join(name);
        let folder = Folder::create(&path).map_err(Failure::because)?;
        let answer = app.ask(&folder, app.context.job.soft_deadline());
        let _ = folder.remove();
        let answer = answer?;
        if let Some(why) = answer.as_ref().and_then(|answer| app.no_answer(answer)) {
            return Err(why);
        }
        if !answer.is_some_and(|a| a.ended.is_success()) {
            return Ok(Outcome::Stopped);
        }
    }
    Err(failure(
        format!(
            "{} runs already (process {}), but was not started by Regent: stop it, or remove the pid file if \
             it is a stale one",
            app.name(),
            process.pid
        ),
        process::describe(process.pid),
    ))
}

fn is_number_used_again(app: &Application<'_>, process: Identity) -> bool {
    let written = pid_file(app.config).and_then(|p| std::fs::metadata(p).ok()?.modified().ok());
    let (Some(written), Ok(boot)) = (written, u64::try_from(clock_gettime(ClockId::Boottime).tv_sec)) else {
        return false;
    };
    let age = Duration::from_secs(boot.saturating_sub(process.start / TICKS));
    SystemTime::now().checked_sub(age).is_some_and(|began| began > written + PID_FILE_SLACK)
}

fn last_words(app: &Application<'_>) -> String {
    Output::reopen(&app.output_path("start")).evidence()
}
