//! Figures of this machine: free memory, idle processors, idle disks, and what a script of the user's says.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::basics;
use crate::sys::{self, ChildSetup};

/// Values are rounded to such steps, so that they do not change at every look.
const MEMORY_STEP_MIB: i64 = 64;
const PERCENT_STEP: i64 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The memory that can be had without swapping, in MiB; `None` where the kernel does not say.
#[must_use]
pub fn free_memory_mib() -> Option<i64> {
    memory_of(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn memory_of(meminfo: &str) -> Option<i64> {
    let kib = i64::try_from(kib_of(meminfo, "MemAvailable:")?).ok()?;
    Some(rounded(kib / 1024, MEMORY_STEP_MIB))
}

/// One line of `/proc/meminfo`, in KiB.
pub(crate) fn kib_of(meminfo: &str, key: &str) -> Option<u64> {
    meminfo.lines().find_map(|l| l.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn rounded(value: i64, step: i64) -> i64 {
    (value + step / 2) / step * step
}

/// What processors and disks have done so far; two of them tell how idle they were in between.
#[derive(Debug, Clone)]
pub struct Load {
    at: Instant,
    cpu_all: i64,
    cpu_idle: i64,
    /// Milliseconds that each disk was busy.
    busy_ms: BTreeMap<String, i64>,
}

impl Load {
    /// As it is now; `None` where the kernel does not say.
    #[must_use]
    pub fn now() -> Option<Self> {
        let (cpu_all, cpu_idle) = cpu_of(&std::fs::read_to_string("/proc/stat").ok()?)?;
        let busy_ms = disks_of(&std::fs::read_to_string("/proc/diskstats").unwrap_or_default());
        Some(Self { at: Instant::now(), cpu_all, cpu_idle, busy_ms })
    }

    /// How idle the processors were since `before`, in percent.
    #[must_use]
    pub fn idle_cpu(&self, before: &Self) -> Option<i64> {
        let all = self.cpu_all - before.cpu_all;
        (all > 0).then(|| rounded((self.cpu_idle - before.cpu_idle) * 100 / all, PERCENT_STEP).clamp(0, 100))
    }

    /// How idle the busiest disk was since `before`, in percent.
    #[must_use]
    pub fn disk_idle(&self, before: &Self) -> Option<i64> {
        let passed =
            i64::try_from(self.at.duration_since(before.at).as_millis()).ok().filter(|ms| *ms > 0)?;
        let busy = |(disk, now): (&String, &i64)| now - before.busy_ms.get(disk).copied().unwrap_or(*now);
        let busiest = self.busy_ms.iter().map(busy).max()?;
        Some(rounded(100 - busiest * 100 / passed, PERCENT_STEP).clamp(0, 100))
    }
}

/// All time and idle time of all processors, in ticks.
fn cpu_of(stat: &str) -> Option<(i64, i64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<i64> = line.split_whitespace().take(8).filter_map(|n| n.parse().ok()).collect();
    (ticks.len() >= 5).then(|| (ticks.iter().sum(), ticks[3] + ticks[4]))
}

/// The thirteenth column of a disk: how long something was under way.
fn disks_of(diskstats: &str) -> BTreeMap<String, i64> {
    let disk = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let name = *columns.get(2)?;
        let real = !name.starts_with("loop") && !name.starts_with("ram");
        Some((name.to_owned(), columns.get(12)?.parse().ok()?)).filter(|_| real)
    };
    diskstats.lines().filter_map(disk).collect()
}

/// Runs a script of the user's; its exit code is the figure. One that is not done in time is killed with all that
/// it has started, and has none. It finds what every command finds, and nothing of the daemon's: neither its variables
/// nor its protection when memory runs out.
#[must_use]
pub fn script(command: &str, timeout: Duration) -> Option<i64> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env_clear().envs(basics(None)).current_dir("/");
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Its session is a process group, too.
    sys::prepare_child(&mut shell, ChildSetup { join: None, user: None });
    let mut child = shell.spawn().ok()?;
    let until = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.code().map(i64::from),
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
            _ => {
                let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
                if let Some(group) = group {
                    let _gone_already =
                        rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _it_was_killed = child.wait();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read_and_rounded() {
        assert_eq!(memory_of("MemTotal: 9\nMemAvailable:    1050000 kB\n"), Some(1024));
        assert_eq!(cpu_of("cpu  10 0 10 70 10 0 0 0 5 5\ncpu0 1"), Some((100, 80)));
        let disks = disks_of("8 0 sda 1 2 3 4 5 6 7 8 9 1500 11\n7 0 loop0 1 2 3 4 5 6 7 8 9 99 1\n");
        assert_eq!(disks, BTreeMap::from([("sda".to_owned(), 1500)]));
        assert!(free_memory_mib().is_some_and(|m| m > 0 && m % MEMORY_STEP_MIB == 0));
        let (before, now) = (Load::now().unwrap(), Load::now().unwrap());
        assert!(now.idle_cpu(&before).is_none_or(|p| (0..=100).contains(&p)));
    }

    #[test]
    fn a_script_speaks_by_its_exit_code_and_one_that_hangs_has_no_figure() {
        assert_eq!(script("exit 17", Duration::from_secs(10)), Some(17));
        assert_eq!(script("sleep 600 & sleep 600", Duration::from_millis(100)), None);
        assert_eq!(script("kill -9 $$", Duration::from_secs(10)), None);
    }

    #[test]
    fn a_script_has_neither_the_daemons_variables_nor_its_standing_with_the_kernel() {
        let before = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        std::fs::write("/proc/self/oom_score_adj", "123").unwrap();
        let line = "test $(cat /proc/self/oom_score_adj) != 123 || exit 1; test -z \"$CARGO_MANIFEST_DIR\" || exit 2; \
                    test $PWD = / || exit 3; exit 4";
        assert_eq!(script(line, Duration::from_secs(10)), Some(4));
        let _only_root_may = std::fs::write("/proc/self/oom_score_adj", before.trim());
    }
}
