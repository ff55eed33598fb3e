//! Control groups (version 2): every process of a lab is in one, so that none can be missed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Doing, LabError, Result};

/// The control group of a lab that holds the fabric itself.
pub(crate) const FABRIC: &str = "_fabric";

/// Where the version 2 hierarchy is mounted.
///
/// # Errors
/// When it is not mounted.
pub(crate) fn mount_point() -> Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").doing(|| "read /proc/self/mountinfo".into())?;
    let found = table.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        (right.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    });
    found.ok_or_else(|| {
        LabError::new("no control groups of version 2 are mounted")
            .hint("try `mkdir -p /run/cgroup2 && mount -t cgroup2 none /run/cgroup2`")
    })
}

/// The group of the lab of that name.
pub(crate) fn of_lab(lab: &str) -> Result<PathBuf> {
    Ok(mount_point()?.join("regent-lab").join(lab))
}

/// Makes a group and those above it.
pub(crate) fn create(group: &Path) -> Result<()> {
    let made = crate::folder::create_beside_others(group, |group| fs::create_dir_all(group));
    made.doing(|| format!("make the control group {}", group.display()))
}

/// Opens the list of a group's processes for writing.
pub(crate) fn open_procs(group: &Path) -> Result<File> {
    let path = group.join("cgroup.procs");
    fs::OpenOptions::new().write(true).open(&path).doing(|| format!("open {}", path.display()))
}

/// Moves the calling process into a group.
pub(crate) fn join(group: &Path) -> Result<()> {
    let path = group.join("cgroup.procs");
    fs::write(&path, "0").doing(|| format!("write {}", path.display()))
}

/// Kills every process of a group and of those below it. A group that is not there has none.
pub(crate) fn kill(group: &Path) {
    let _gone_is_fine = fs::write(group.join("cgroup.kill"), "1");
}

/// Freezes or thaws a group, and waits until the kernel says it is done. It cannot freeze a process that waits for a
/// hanging disk; that one stands still anyway, and after half a second it is left at that.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn freeze(group: &Path, frozen: bool) -> Result<()> {
    let path = group.join("cgroup.freeze");
    fs::write(&path, if frozen { "1" } else { "0" }).doing(|| format!("write {}", path.display()))?;
    let wanted = format!("frozen {}", u8::from(frozen));
    wait_for(Duration::from_millis(500), || says(group, &wanted));
    Ok(())
}

fn says(group: &Path, wanted: &str) -> bool {
    fs::read_to_string(group.join("cgroup.events")).is_ok_and(|text| text.lines().any(|l| l == wanted))
}

/// Whether no process is left in a group; one that is not there is empty.
pub(crate) fn is_empty(group: &Path) -> bool {
    !group.exists() || says(group, "populated 0")
}

/// Waits until no process is left in a group. Says whether that came true in time.
pub(crate) fn wait_empty(group: &Path, patience: Duration) -> bool {
    wait_for(patience, || is_empty(group))
}

/// Removes a group and all below it. Says whether it is gone.
pub(crate) fn remove(group: &Path) -> bool {
    wait_for(Duration::from_secs(2), || {
        remove_once(group);
        !group.exists()
    })
}

/// Removes the groups below a group.
pub(crate) fn remove_below(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        remove_once(&entry.path());
    }
}

fn remove_once(group: &Path) {
    remove_below(group);
    let _shown_by_its_existence = fs::remove_dir(group);
}

/// Asks every millisecond at first, then less often.
pub(crate) fn wait_for(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
