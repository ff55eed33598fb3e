//! An instance that is driven by commands of the configuration.

use std::time::{Duration, Instant};

use regent_model::action::Failure;

use super::{Call, Instance, MAIN_FOLDER, Seen};
use crate::cgroup::Folder;
use crate::command::{Ended, Program};
use crate::hands::failure;

const LOOK_WITHIN: Duration = Duration::from_secs(30);

/// Asks its status command; without one it is what lives in its control group.
pub(super) fn look(instance: &Instance<'_>) -> Result<Seen, Failure> {
    let Some(line) = &instance.config.commands.status else {
        let main = Folder::open(&instance.path().join(MAIN_FOLDER)).map_err(Failure::because)?;
        let lives = main.map_or(Ok(false), |main| main.is_populated()).map_err(Failure::because)?;
        return Ok(if lives { Seen::Up } else { Seen::Down });
    };
    let environment = instance.environment("status");
    let call = Call { what: "status", program: Program::Shell(line), environment: &environment, input: None };
    let answer = instance.run(&call, instance.context.job.until(LOOK_WITHIN))?;
    let said = answer.output.trim().lines().last().unwrap_or_default().to_owned();
    match answer.ended {
        ended if ended.is_success() => Ok(Seen::Up),
        ended if ended.found_nothing_to_run() => {
            Err(failure(format!("its status command cannot be run: {line:?}"), answer.output))
        }
        Ended::Exit(_) => Ok(Seen::Down),
        Ended::TimedOut => Ok(Seen::Unwell(format!("its status command did not end: {said}"))),
        Ended::CalledOff => Err(Failure::because("the question was called off")),
    }
}

/// Runs its start command; what that leaves running is the instance.
pub(super) fn start(instance: &Instance<'_>, main: &Folder, until: Instant) -> Result<(), Failure> {
    let line = instance.config.commands.start.as_deref();
    let line = line.ok_or_else(|| Failure::because("it has no start command"))?;
    let environment = instance.environment("start");
    let call = Call { what: "start", program: Program::Shell(line), environment: &environment, input: None };
    instance.begin_in(main, &call, until)
}

/// Runs its stop command.
pub(super) fn stop(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    order(instance, "stop", instance.config.commands.stop.as_deref(), until)
}

/// Runs the command that forces it down; without one, what lives in its control group is killed.
pub(super) fn force(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    order(instance, "force", instance.config.commands.force.as_deref(), until)
}

fn order(instance: &Instance<'_>, what: &str, line: Option<&str>, until: Instant) -> Result<(), Failure> {
    let Some(line) = line else {
        // Without a stop command, a stop is what every process understands.
        if what == "stop"
            && let Some(main) = Folder::open(&instance.path().join(MAIN_FOLDER)).map_err(Failure::because)?
        {
            main.signal(rustix::process::Signal::TERM);
            main.wait_empty(until).map_err(Failure::because)?;
        }
        return Ok(());
    };
    let environment = instance.environment(what);
    let call = Call { what, program: Program::Shell(line), environment: &environment, input: None };
    instance.order(&call, until)
}

/// What its version command prints first.
pub(super) fn version(instance: &Instance<'_>) -> Result<Option<String>, Failure> {
    let Some(line) = &instance.config.commands.version else { return Ok(None) };
    let environment = instance.environment("version");
    let call =
        Call { what: "version", program: Program::Shell(line), environment: &environment, input: None };
    let answer = instance.run(&call, instance.context.job.until(LOOK_WITHIN))?;
    if !answer.ended.is_success() {
        let how = answer.ended.in_words();
        return Err(failure(format!("its version is not known: the command {how}"), answer.output));
    }
    Ok(answer.output.lines().map(str::trim).find(|l| !l.is_empty()).map(str::to_owned))
}
