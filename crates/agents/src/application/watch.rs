//! Further monitors of an application, what is asked before its start, and who is told of its failures.

use std::time::Duration;

use regent_model::action::{Failure, Outcome};
use regent_model::config::{HungSignal, MainProcess, Watched};
use regent_model::journal::Level;
use rustix::process::Signal;

use super::record::Phase;
use super::{Application, check, stale};
use crate::cgroup::Folder;
use crate::command::Ended;
use crate::hands::failure;
use crate::process::{self, Identity};
use crate::user::User;

/// Commands that tell of a failure run under this folder: whatever becomes of the application must not end them. No
/// group can have its name.
const NOTIFY_FOLDER: &str = ".notify";

pub(super) fn signal(hung: HungSignal) -> Signal {
    match hung {
        HungSignal::Kill => Signal::KILL,
        HungSignal::Term => Signal::TERM,
        HungSignal::Abrt => Signal::ABORT,
        HungSignal::Quit => Signal::QUIT,
        HungSignal::Int => Signal::INT,
        HungSignal::Hup => Signal::HUP,
        HungSignal::Usr1 => Signal::USR1,
        HungSignal::Usr2 => Signal::USR2,
    }
}

/// Whether the monitor at this place of the list is content.
pub(super) fn look(app: &Application<'_>, at: u32) -> Result<Outcome, Failure> {
    // One that a newer configuration took out complains of nothing.
    let Some(watch) = app.config.monitoring.watches.get(at as usize) else { return Ok(Outcome::Running) };
    match &watch.what {
        Watched::Processes { names, owner, instances } => {
            let owner = owner.as_deref().map(User::find).transpose().map_err(Failure::because)?;
            names.iter().try_for_each(|name| counted(name, owner.as_ref(), *instances))?;
            Ok(Outcome::Running)
        }
        Watched::Command(line) => {
            let Some(folder) = Folder::open(&app.path()).map_err(Failure::because)? else {
                return Ok(Outcome::Stopped);
            };
            let limit = app.context.job.until(watch.times.timeout);
            let action = format!("monitor-{at}");
            let answer = app.command(&action, line, &folder, limit, signal(watch.hung_signal))?;
            match answer.ended {
                ended if ended.is_success() => Ok(Outcome::Running),
                Ended::CalledOff => Err(Failure::because("the question was called off")),
                ended => Err(Failure {
                    reason: format!("its command {}", ended.in_words()),
                    evidence: answer.output,
                    timed_out: ended == Ended::TimedOut,
                }),
            }
        }
    }
}

fn counted(name: &str, owner: Option<&User>, instances: u32) -> Result<(), Failure> {
    let found = process::named(name, owner.map(|user| user.uid.as_raw()));
    if found.len() == instances as usize {
        return Ok(());
    }
    let whose = owner.map_or_else(String::new, |user| format!(" of {}", user.name));
    let hint = if found.is_empty() { "; a shell script is not found by its name" } else { "" };
    let reason = format!(
        "{} process(es) {name}{whose} run on this node, and there must be {instances}{hint}",
        found.len()
    );
    let list: Vec<String> = found.into_iter().map(process::describe).collect();
    Err(failure(reason, list.join("\n")))
}

/// Tells whoever wants to know of a failure.
pub(super) fn notify(app: &Application<'_>) -> Result<Outcome, Failure> {
    let Some(line) = &app.config.monitoring.notify else { return Ok(Outcome::Running) };
    let job = app.context.job;
    let name = format!("{}.{}", app.context.run.group, app.name());
    let folder = Folder::create(&app.context.inner.cgroups.join(NOTIFY_FOLDER).join(name));
    let folder = folder.map_err(Failure::because)?;
    let answer = app.command("notify", line, &folder, job.soft_deadline(), Signal::KILL);
    let _ = folder.remove();
    match answer {
        Ok(answer) => {
            let level = if answer.ended.is_success() { Level::Step } else { Level::Warning };
            job.record(
                level,
                format!("notify command {}", answer.ended.in_words()),
                answer.took,
                answer.output,
            );
        }
        Err(why) => job.warn(why.reason, why.evidence),
    }
    Ok(Outcome::Running)
}

/// Asks before a start whether it runs already, without Regent: then its processes are taken in, and nothing is
/// started.
pub(super) fn runs_already(
    app: &Application<'_>,
    folder: &Folder,
    main: &Folder,
) -> Result<Option<Outcome>, Failure> {
    let Some((line, limit)) = &app.config.monitoring.startup else { return Ok(None) };
    let job = app.context.job;
    let answer = app.command("startup", line, folder, job.until(*limit), Signal::KILL)?;
    if !answer.ended.is_success() {
        job.check()?;
        let what = format!("the startup monitor {}: it does not run yet", answer.ended.in_words());
        job.record(Level::Step, what, answer.took, answer.output);
        return Ok(None);
    }
    let found = processes_of(app)?;
    let Some(first) = found.first().copied() else {
        let what = "the startup monitor says that it runs, but none of its processes is found: it is started";
        job.warn(what, answer.output);
        return Ok(None);
    };
    let mut family = found.clone();
    family.extend(found.iter().flat_map(|p| process::descendants(p.pid)).filter_map(Identity::of));
    for process in &family {
        main.take_in(process.pid).map_err(Failure::because)?;
    }
    let process = match app.config.main {
        MainProcess::Cgroup | MainProcess::None => None,
        MainProcess::Child | MainProcess::PidFile(_) => Some(first),
    };
    app.write_record(Phase::Running, process);
    let reopen = |path: &std::path::Path| {
        let folder = Folder::open(path).map_err(Failure::because)?;
        folder.ok_or_else(|| Failure::because(format!("{} was removed by the guard", path.display())))
    };
    check::adopt(app, reopen(folder.path())?, reopen(main.path())?, process)?;
    stale::adopted(app);
    let what = format!("it runs already: {} process(es) are taken in, and nothing is started", family.len());
    let list: Vec<String> = family.iter().map(|p| process::describe(p.pid)).collect();
    job.record(Level::Notice, what, Duration::ZERO, list.join("\n"));
    Ok(Some(Outcome::Running))
}

/// The application's processes, as far as the configuration tells them: by its pid file, by their names.
fn processes_of(app: &Application<'_>) -> Result<Vec<Identity>, Failure> {
    let mut found: Vec<Identity> = app.named_by_pid_file().into_iter().collect();
    for watch in &app.config.monitoring.watches {
        let Watched::Processes { names, owner, .. } = &watch.what else { continue };
        let owner = owner.as_deref().map(User::find).transpose().map_err(Failure::because)?;
        let uid = owner.map(|user| user.uid.as_raw());
        let pids = names.iter().flat_map(|name| process::named(name, uid));
        let mut new: Vec<Identity> = pids.filter_map(Identity::of).filter(|p| !found.contains(p)).collect();
        new.sort();
        found.append(&mut new);
    }
    Ok(found)
}
