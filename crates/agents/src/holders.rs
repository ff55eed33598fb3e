//! Who keeps a file system busy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::mountinfo::{self, DeviceNumber, Mount};
use crate::process::{self, Identity};

/// So many things one process holds are named; more are counted.
const NAMED_MAX: usize = 4;

/// A process that uses files of the file system.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) who: Identity,
    pub(crate) command: String,
    pub(crate) holds: Vec<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = self.holds.iter().take(NAMED_MAX).map(String::as_str).collect();
        write!(f, "process {} ({}): {}", self.who.pid, self.command, named.join(", "))?;
        match self.holds.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A mount namespace, not ours, that still has the file system.
#[derive(Debug, Clone)]
pub(crate) struct Elsewhere {
    /// One process that lives in it.
    pub(crate) pid: i32,
    pub(crate) command: String,
    pub(crate) points: Vec<PathBuf>,
}

/// Everything found that keeps a file system busy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holders {
    pub(crate) processes: Vec<Holder>,
    pub(crate) elsewhere: Vec<Elsewhere>,
    /// Mounts on top, loop devices, swap files.
    pub(crate) others: Vec<String>,
}

impl Holders {
    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.elsewhere.is_empty() && self.others.is_empty()
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = self.processes.iter().map(ToString::to_string).collect();
        lines.extend(self.others.iter().cloned());
        for there in &self.elsewhere {
            let points: Vec<String> = there.points.iter().map(|p| p.display().to_string()).collect();
            lines.push(format!(
                "the mount namespace of process {} ({}) has it at {}",
                there.pid,
                there.command,
                points.join(", ")
            ));
        }
        if lines.is_empty() {
            lines.push(
                "nobody was found who holds it; perhaps the kernel itself (nfsd, a device mapper)".into(),
            );
        }
        f.write_str(&lines.join("\n"))
    }
}

/// Looks through every visible process for files on the device, and through every mount namespace.
pub(crate) fn find(device: DeviceNumber, point: &Path) -> Holders {
    let own_namespace = std::fs::read_link("/proc/thread-self/ns/mnt").ok();
    let mut namespaces = BTreeMap::new();
    let mut holders = Holders::default();
    for pid in process::all() {
        holders.processes.extend(holder(pid, held_by(pid, Sought::Device(device))));
        let namespace = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        if namespace.is_some() && namespace != own_namespace {
            namespaces.entry(namespace).or_insert(pid);
        }
    }
    holders.elsewhere = namespaces.into_values().filter_map(|pid| has_mounted(pid, device)).collect();
    holders.others = other_users(device, point);
    holders
}

/// Looks through every visible process for files at or below `point`, by their paths: a folder that was put elsewhere
/// has the device of the file system that it comes from.
pub(crate) fn below(point: &Path) -> Holders {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = namespace("thread-self");
    // A path of another namespace is another place.
    let visible = process::all().into_iter().filter(|pid| namespace(&pid.to_string()) == own);
    let processes = visible.filter_map(|pid| holder(pid, held_by(pid, Sought::Below(point)))).collect();
    Holders { processes, ..Holders::default() }
}

/// Looks for who has the device itself: mounts of it, and processes that have it open.
pub(crate) fn of_device(device: DeviceNumber) -> Holders {
    let mut holders = find(device, Path::new("/"));
    holders.others.clear();
    for mount in mountinfo::own().unwrap_or_default().iter().filter(|m| m.device == device) {
        holders.others.push(format!("it is mounted at {}", mount.point.display()));
    }
    let stacked = std::fs::read_dir(format!("/sys/dev/block/{}:{}/holders", device.0, device.1));
    for entry in stacked.into_iter().flatten().flatten() {
        holders.others.push(format!("/dev/{} is made of it", entry.file_name().display()));
    }
    for pid in process::all() {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let open = open.filter(|fd| is_the_device(&fd.path(), device));
        let holds = open.map(|fd| format!("has open {}", target(&fd.path()))).collect();
        holders.processes.extend(holder(pid, holds));
    }
    holders
}

/// Whether an open file is the block device itself.
fn is_the_device(link: &Path, device: DeviceNumber) -> bool {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, link, flags, StatxFlags::TYPE).is_ok_and(|found| {
        let is_block = rustix::fs::FileType::from_raw_mode(found.stx_mode.into()).is_block_device();
        is_block && (found.stx_rdev_major, found.stx_rdev_minor) == device
    })
}

/// Whether a device of this name, which may not exist any more, is mounted in any visible namespace.
pub(crate) fn is_mounted_anywhere(device: &Path) -> bool {
    let mut seen = BTreeSet::new();
    process::all().into_iter().any(|pid| {
        let namespace = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        seen.insert(namespace) && mountinfo::of(pid).is_ok_and(|m| m.iter().any(|m| m.source == device))
    })
}

fn has_mounted(pid: i32, device: DeviceNumber) -> Option<Elsewhere> {
    let mounts = mountinfo::of(pid).ok()?;
    let points: Vec<PathBuf> = mounts.into_iter().filter(|m| m.device == device).map(|m| m.point).collect();
    (!points.is_empty()).then(|| Elsewhere { pid, command: process::command_line(pid), points })
}

/// The process, if it holds anything and is still there.
fn holder(pid: i32, holds: Vec<String>) -> Option<Holder> {
    let who = (!holds.is_empty()).then(|| Identity::of(pid))??;
    Some(Holder { who, command: process::command_line(pid), holds })
}

/// Which files are looked for.
#[derive(Clone, Copy)]
enum Sought<'a> {
    /// Those on a device. Device numbers are compared and not paths: a path is another one in another root, and a
    /// deleted file has none. The question is answered from what the kernel has at hand, so a dead server cannot make
    /// it hang.
    Device(DeviceNumber),
    /// Those whose path is this or below it.
    Below(&'a Path),
}

impl Sought<'_> {
    fn is(self, link: &Path) -> bool {
        match self {
            Self::Device(device) => {
                let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
                rustix::fs::statx(CWD, link, flags, StatxFlags::TYPE)
                    .is_ok_and(|found| (found.stx_dev_major, found.stx_dev_minor) == device)
            }
            Self::Below(point) => std::fs::read_link(link).is_ok_and(|target| target.starts_with(point)),
        }
    }

    /// The path of one line of `maps`, if it is a file that is looked for.
    fn mapping(self, line: &str) -> Option<&str> {
        let mut rest = line;
        let mut fields = [""; 5];
        for field in &mut fields {
            (*field, rest) = rest.trim_start().split_once(' ')?;
        }
        let path = rest.trim();
        let same = match self {
            Self::Device((major, minor)) => {
                let (found_major, found_minor) = fields[3].split_once(':')?;
                u32::from_str_radix(found_major, 16) == Ok(major)
                    && u32::from_str_radix(found_minor, 16) == Ok(minor)
            }
            Self::Below(point) => Path::new(path).starts_with(point),
        };
        same.then_some(path)
    }
}

fn held_by(pid: i32, sought: Sought<'_>) -> Vec<String> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let mut holds = Vec::new();
    for (link, word) in [("cwd", "works in"), ("root", "has as its root"), ("exe", "runs")] {
        let path = folder.join(link);
        if sought.is(&path) {
            holds.push(format!("{word} {}", target(&path)));
        }
    }
    for entry in std::fs::read_dir(folder.join("fd")).into_iter().flatten().flatten() {
        if sought.is(&entry.path()) {
            holds.push(format!("has open {}", target(&entry.path())));
        }
    }
    for path in mapped(&folder.join("maps"), sought) {
        let word = format!("maps {path}");
        if !holds.contains(&word) && !holds.contains(&format!("runs {path}")) {
            holds.push(word);
        }
    }
    holds
}

fn target(link: &Path) -> String {
    std::fs::read_link(link).map_or_else(|_| "a file".into(), |path| path.display().to_string())
}

fn mapped(maps: &Path, sought: Sought<'_>) -> Vec<String> {
    let text = std::fs::read(maps).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut paths: Vec<String> =
        text.lines().filter_map(|line| sought.mapping(line)).map(str::to_owned).collect();
    paths.dedup();
    paths
}

fn other_users(device: DeviceNumber, point: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mounts = mountinfo::own().unwrap_or_default();
    let ours: Vec<&Mount> = mounts.iter().filter(|m| m.device == device).collect();
    for mount in &ours {
        if mount.point != point {
            found.push(format!("it is mounted at {} too", mount.point.display()));
        }
        for nested in mountinfo::nested(&mounts, mount) {
            found.push(format!("{} is mounted on it at {}", nested.source.display(), nested.point.display()));
        }
    }
    for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let backing = std::fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if Path::new(backing.trim()).starts_with(point) && !backing.trim().is_empty() {
            let name = entry.file_name();
            found.push(format!("the loop device /dev/{} is made of {}", name.display(), backing.trim()));
        }
    }
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let files = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    found.extend(files.filter(|f| Path::new(f).starts_with(point)).map(|f| format!("{f} is used as swap")));
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_known_by_its_device_or_its_place_and_keeps_blanks_in_its_path() {
        let line = "7f0a-7f0b r-xp 00001000 fd:1f 4242    /srv/a b (deleted)";
        let (device, other) = (Sought::Device((0xfd, 0x1f)), Sought::Device((0xfd, 1)));
        assert_eq!(device.mapping(line), Some("/srv/a b (deleted)"));
        assert_eq!(other.mapping(line), None);
        assert_eq!(Sought::Below(Path::new("/srv")).mapping(line), Some("/srv/a b (deleted)"));
        assert_eq!(Sought::Below(Path::new("/sr")).mapping(line), None);
        for sought in [device, Sought::Below(Path::new("/srv"))] {
            assert_eq!(sought.mapping("7f0a-7f0b rw-p 00000000 00:00 0 "), None);
        }
    }

    #[test]
    fn this_process_is_found_to_run_from_its_own_file_system() {
        let (major, minor) = {
            let exe = rustix::fs::stat("/proc/self/exe").unwrap();
            (rustix::fs::major(exe.st_dev), rustix::fs::minor(exe.st_dev))
        };
        let holds = held_by(std::process::id() as i32, Sought::Device((major, minor)));
        assert!(holds.iter().any(|h| h.starts_with("runs ")), "{holds:?}");
    }
}
