//! Processes that have the database open, also those that somebody else began.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use regent_model::action::Failure;
use rustix::process::Signal;

use super::LOOK_AGAIN;
use crate::hands::failure;
use crate::job::Job;
use crate::process::{self, Identity};

/// Everybody who has a database or a journal in `directory` open. A path of another mount namespace is another place.
pub(super) fn to(directory: &Path) -> Vec<Identity> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = namespace("thread-self");
    let is_of_it = |link: &Path| {
        let Ok(target) = std::fs::read_link(link) else { return false };
        let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        target.starts_with(directory) && (name.ends_with(".dat") || name.contains(".mjl"))
    };
    let has_it = |pid: &i32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.into_iter().any(|fd| is_of_it(&fd.path()))
    };
    let all = process::all().into_iter().filter(|pid| namespace(&pid.to_string()) == own);
    all.filter(has_it).filter_map(Identity::of).collect()
}

/// Tells them to end, as MUPIP STOP does with `SIGTERM`, and waits until they have.
///
/// # Errors
/// Who still lives at `until`.
pub(super) fn end(who: &[Identity], signal: Signal, until: Instant, job: &Job) -> Result<(), Failure> {
    for process in who {
        process.signal(signal);
    }
    loop {
        let left: Vec<String> =
            who.iter().filter(|p| p.is_alive()).map(|p| process::describe(p.pid)).collect();
        if left.is_empty() {
            return Ok(());
        }
        job.check()?;
        if Instant::now() >= until {
            let reason = format!("{} process(es) have the database open and did not end", left.len());
            return Err(Failure { timed_out: true, ..failure(reason, left.join("\n")) });
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Makes the folder where GT.M's processes meet, whoever they are.
pub(super) fn make_shared(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o1777))
}
