//! Checking a file system before it is mounted.

use std::path::Path;
use std::time::Duration;

use regent_model::action::Failure;
use regent_model::config::Check;
use regent_model::holding::Holding;
use regent_model::journal::Level;

use super::{Filesystem, superblock};
use crate::cgroup::Folder;
use crate::command::{self, Command, Ended, Finished, Program};
use crate::device;
use crate::hands::failure;

/// The bits of fsck's exit code.
const FIXED: i32 = 1;
const REBOOT: i32 = 2;
const UNCORRECTED: i32 = 4;

/// What an exit code of fsck means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Clean,
    Fixed,
    Broken,
    /// The check itself failed.
    NotChecked,
}

fn judge(code: i32) -> Verdict {
    match code {
        0 => Verdict::Clean,
        code if code & UNCORRECTED != 0 => Verdict::Broken,
        code if code & !(FIXED | REBOOT) != 0 => Verdict::NotChecked,
        _ => Verdict::Fixed,
    }
}

/// Checks the file system if the configuration wants it, now or because its superblock asks for it. It runs
/// under the guard's eyes, for it writes.
pub(super) fn check(filesystem: &Filesystem<'_>) -> Result<(), Failure> {
    let (job, config) = (filesystem.context.job, filesystem.config);
    let is_ext = superblock::is_ext(&config.fstype);
    let mut findings = superblock::Findings::default();
    if is_ext {
        let block = job.step("read the superblock", || device::read_first_block(&config.device));
        let block = block.map_err(Failure::because)?;
        findings = superblock::read(&block).ok_or_else(|| {
            let device = config.device.display();
            Failure::because(format!("{device} holds no {} file system", config.fstype))
        })?;
    }
    if findings.has_mmp {
        job.warn("multi-mount protection is on: after a crash this mount takes about 22 s", "");
    }
    match config.check {
        Check::Never => return Ok(()),
        Check::Auto if !findings.has_errors => return Ok(()),
        Check::Auto => job.warn("the superblock says that errors were found; checking", ""),
        Check::Always => {}
    }
    let force = config.check == Check::Always && is_ext;
    run_guarded(filesystem, force)
}

/// Runs the check in a control group of its own that is on the guard's list.
fn run_guarded(filesystem: &Filesystem<'_>, force: bool) -> Result<(), Failure> {
    let (context, job) = (filesystem.context, filesystem.context.job);
    let holding = Holding::Cgroup { path: filesystem.cgroup_path(), grace: Duration::ZERO };
    let folder = Folder::create(&filesystem.cgroup_path()).map_err(Failure::because)?;
    context.hold(holding.clone())?;
    let finished = run(filesystem, &folder, force);
    folder
        .end(Duration::ZERO, job.soft_deadline() + command::KILL_TAKES_AT_MOST)
        .map_err(Failure::because)?;
    context.let_go(holding)?;
    verdict(filesystem, finished?)
}

fn run(filesystem: &Filesystem<'_>, folder: &Folder, force: bool) -> Result<Finished, Failure> {
    let (context, config) = (filesystem.context, filesystem.config);
    let tool = format!("fsck.{}", config.fstype);
    let device = config.device.to_string_lossy();
    let mut arguments = vec![if superblock::is_ext(&config.fstype) { "-p" } else { "-a" }];
    if force {
        arguments.push("-f");
    }
    arguments.push(&device);
    let tool_path = Path::new(&tool);
    let command = Command {
        program: Program::File(tool_path, &arguments),
        environment: &context.run.environment,
        user: None,
        input: None,
        hung: rustix::process::Signal::KILL,
    };
    let output = context.inner.run_dir.join("output").join(context.run.group.as_str());
    let output = output.join(config.name.as_str()).join("fsck");
    context.job.now_doing(&format!("running {tool}"));
    command::run(&command, folder, &output, context.job.soft_deadline(), context.job).map_err(|e| {
        Failure::because(format!("{e}; install the tool on every node, or say check = \"never\""))
    })
}

fn verdict(filesystem: &Filesystem<'_>, finished: Finished) -> Result<(), Failure> {
    let config = filesystem.config;
    let tool = format!("fsck.{}", config.fstype);
    let device = config.device.display();
    let Some(code) = finished.ended.code() else {
        let timed_out = finished.ended == Ended::TimedOut;
        let reason = format!(
            "{tool} {}; check it by hand, or allow the acquire more time: {tool} -f {device}",
            finished.ended.in_words()
        );
        return Err(Failure { timed_out, ..failure(reason, finished.output) });
    };
    let job = filesystem.context.job;
    let record = |level, what: &str| {
        job.record(level, format!("{tool}: {what}"), finished.took, finished.output.clone())
    };
    match judge(code) {
        Verdict::Clean => record(Level::Step, "clean"),
        Verdict::Fixed => record(Level::Warning, "errors were found and repaired"),
        Verdict::Broken => {
            let reason =
                format!("{tool} could not repair {device} unasked; repair it by hand: {tool} -f {device}");
            return Err(failure(reason, finished.output));
        }
        Verdict::NotChecked => {
            return Err(failure(format!("{tool} could not check {device} (exit {code})"), finished.output));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_read_by_its_bits() {
        assert_eq!(judge(0), Verdict::Clean);
        assert_eq!(judge(1), Verdict::Fixed);
        assert_eq!(judge(3), Verdict::Fixed);
        assert_eq!(judge(4), Verdict::Broken);
        assert_eq!(judge(5), Verdict::Broken);
        assert_eq!(judge(8), Verdict::NotChecked);
        assert_eq!(judge(9), Verdict::NotChecked);
        assert_eq!(judge(32), Verdict::NotChecked);
        assert_eq!(judge(12), Verdict::Broken);
    }
}
