//! Room on a busy machine: where the kernel shares the processor between control groups (version 1) or between login
//! sessions, niceness alone does not tell the lab from a compiler in another session. So this process, and with it
//! the lab that it starts, moves into a group with more weight.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The usual weight is 1024.
const SHARES: &str = "20480";
/// Of every second, what real-time processes of the group may use, where the kernel shares that out too (us).
const REAL_TIME_US: [&str; 3] = ["900000", "400000", "100000"];
const NAME: &str = "regent-bench-";

/// The group, and the one this process came from.
static ROOM: Mutex<Option<(PathBuf, PathBuf)>> = Mutex::new(None);

/// Moves into a group of its own. Says whether there is one; without it niceness has to do.
pub(crate) fn take() -> bool {
    let Some(root) = processor_groups() else { return false };
    sweep(&root);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let from = own.lines().find_map(|l| l.split_once(":cpu:").or_else(|| l.split_once(":cpu,cpuacct:")));
    let from = from.map_or_else(|| root.clone(), |(_, path)| root.join(path.trim_start_matches('/')));
    let group = root.join(format!("{NAME}{}", std::process::id()));
    let done = fs::create_dir(&group).is_ok() && set_up(&group) && join(&group);
    if done {
        *ROOM.lock().unwrap_or_else(PoisonError::into_inner) = Some((group, from));
    } else {
        let _was_not_made = fs::remove_dir(&group);
    }
    done
}

/// Moves back, and removes the group; the lab must be gone.
pub(crate) fn leave() {
    let Some((group, from)) = ROOM.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    join(&from);
    for _ in 0..50 {
        if fs::remove_dir(&group).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A group without leave for real-time processes would hinder the guards, so it is of no use then.
fn set_up(group: &Path) -> bool {
    let real_time = group.join("cpu.rt_runtime_us");
    let allowed = !real_time.exists() || REAL_TIME_US.iter().any(|us| fs::write(&real_time, us).is_ok());
    allowed && fs::write(group.join("cpu.shares"), SHARES).is_ok()
}

fn join(group: &Path) -> bool {
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).is_ok()
}

/// Groups of earlier runs that were killed are empty.
fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(NAME)) {
        let _another_run_is_in_it = fs::remove_dir(entry.path());
    }
}

/// Where the groups are among which the processor is shared, if they are of version 1.
fn processor_groups() -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut words = right.split(' ');
        let is_cgroup = words.next() == Some("cgroup");
        let has_cpu = words.nth(1)?.split(',').any(|option| option == "cpu");
        (is_cgroup && has_cpu).then(|| PathBuf::from(left.split(' ').nth(4).unwrap_or_default()))
    })
}
