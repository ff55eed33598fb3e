//! Commands of cluster events, and a look at what takes so long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use regent_model::action::{CommandEnd, EventRun, LookRun};
use regent_model::event::with_arguments;

use crate::cgroup::Folder;
use crate::command::{self, COMMAND_FOLDER, Command, Ended, KILL_TAKES_AT_MOST, Program};
use crate::environment;
use crate::hands::Inner;
use crate::job::Job;
use crate::output::Output;
use crate::process;

/// Commands of events run under this folder. No group can have its name.
const FOLDER: &str = ".event";
/// A command without a timeout: as good as never.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How many processes are described at most.
const SHOWN_MAX: usize = 24;
/// How much of a process's kernel stack is shown.
const STACK_LINES: usize = 4;

/// How long a command may take before the clock answers in its place.
pub(crate) fn limit(run: &EventRun) -> Duration {
    run.timeout.map_or(NEVER, |timeout| timeout * 10 / 9 + KILL_TAKES_AT_MOST + Duration::from_secs(1))
}

/// Runs a command to its end. What it leaves running goes on; only at its timeout all of it is killed.
pub(crate) fn run(inner: &Inner, run: &EventRun, job: &Job) -> CommandEnd {
    match try_run(inner, run, job) {
        Ok((ended, output)) => CommandEnd { code: ended.code(), words: ended.in_words(), output },
        Err(why) => {
            CommandEnd { code: None, words: format!("could not be run: {why}"), output: String::new() }
        }
    }
}

fn try_run(inner: &Inner, run: &EventRun, job: &Job) -> Result<(Ended, String), String> {
    let parent = Folder::create(&inner.cgroups.join(FOLDER))?;
    let folder = parent.create_numbered(COMMAND_FOLDER)?;
    let line = with_arguments(&run.line);
    let mut words = vec!["-c", line.as_str(), "regent-event"];
    words.extend(run.args.iter().map(String::as_str));
    let shell = std::path::Path::new("/bin/sh");
    let mut environment = run.environment.clone();
    environment::complete(&mut environment);
    let command = Command {
        program: Program::File(shell, &words),
        environment: &environment,
        user: None,
        input: None,
        hung: rustix::process::Signal::KILL,
    };
    let output = Output::create(&inner.run_dir.join("output").join(FOLDER).join(run.id.0.to_string()), None);
    let until = Instant::now() + run.timeout.unwrap_or(NEVER);
    job.now_doing(&run.what);
    let started = command::spawn(&command, &folder, &output).map(|mut running| {
        let ended = running.wait(&output, until, job);
        (ended, running)
    });
    output.trim();
    let (ended, running) = match started {
        Ok(started) => started,
        Err(why) => {
            let _ = folder.remove();
            return Err(why);
        }
    };
    let mut evidence = output.evidence();
    if matches!(ended, Ended::Exit(_)) {
        // A daemon that it started may live on in the folder; then it cannot be removed.
        let _ = folder.remove();
    } else {
        match folder.end(Duration::ZERO, Instant::now() + KILL_TAKES_AT_MOST) {
            Ok(()) => drop(running.into_parts().0.wait()),
            Err(why) => evidence = format!("{why}\n{evidence}"),
        }
    }
    Ok((ended, evidence))
}

/// The processes of a group, or of the events' commands, as a tree, with what each waits for; and what the agent's
/// own threads are at.
pub(crate) fn look(inner: &Inner, look: &LookRun) -> String {
    let folder = look.group.as_ref().map_or(FOLDER, |group| group.as_str());
    let mut lines: Vec<String> = inner.doing();
    match Folder::open(&inner.cgroups.join(folder)) {
        Ok(Some(folder)) => lines.extend(tree(&folder.all_processes())),
        Ok(None) => {}
        Err(why) => lines.push(why),
    }
    if lines.is_empty() {
        lines.push("no process is at work on it".into());
    }
    lines.join("\n")
}

fn tree(pids: &[i32]) -> Vec<String> {
    let parents: BTreeMap<i32, i32> =
        pids.iter().filter_map(|pid| process::stat(*pid).map(|s| (*pid, s.parent))).collect();
    let mut lines = Vec::new();
    let roots = parents.iter().filter(|(_, parent)| !parents.contains_key(parent));
    for (root, _) in roots {
        describe(*root, 0, &parents, &mut lines);
    }
    let more = parents.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        lines.push(format!("... and {more} more"));
    }
    lines
}

fn describe(pid: i32, depth: usize, parents: &BTreeMap<i32, i32>, lines: &mut Vec<String>) {
    if depth > SHOWN_MAX || lines.len() > SHOWN_MAX * (STACK_LINES + 1) {
        return;
    }
    let indent = "  ".repeat(depth);
    lines.push(format!("{indent}{}", process::describe(pid)));
    let stack = std::fs::read_to_string(format!("/proc/{pid}/stack")).unwrap_or_default();
    lines.extend(stack.lines().take(STACK_LINES).map(|line| format!("{indent}    {line}")));
    for (child, _) in parents.iter().filter(|(_, parent)| **parent == pid) {
        describe(*child, depth + 1, parents, lines);
    }
}
