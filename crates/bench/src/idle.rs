//! What the daemons cost while nothing happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::Result;
use crate::figures::{Cell, short};
use crate::stand::Stand;

/// Command lines that are not the cluster's: the lab's first process, and the service itself.
const OTHERS: [&str; 5] = ["regent-lab ", "ledger serve", "regent-bench", "bench-boot", "sleep "];

/// One process.
#[derive(Debug, Default, Clone)]
struct Memory {
    rss_kib: u64,
    pss_kib: u64,
    /// Proportional, without the pages of files.
    private_kib: u64,
    /// Resident pages of files, by the file and the place in it.
    files: BTreeMap<String, u64>,
}

/// Measures the daemons of `node` for so long. Gives the figures, and the names of the processes.
///
/// # Errors
/// When the node is off.
pub(crate) fn measure(stand: &Stand, node: &str, how_long: Duration) -> Result<(Vec<(Cell, f64)>, String)> {
    let status = stand.lab.status()?;
    let group = status.machine(node).ok_or("no such machine")?.cgroup.clone();
    let all_ns = || -> Result<u64> {
        let text = std::fs::read_to_string(group.join("cpu.stat"))?;
        let usec = text.lines().find_map(|l| l.strip_prefix("usage_usec ")?.parse::<u64>().ok());
        Ok(usec.ok_or("the kernel does not tell processor time")? * 1_000)
    };
    let (daemons, others): (Vec<_>, Vec<_>) =
        stand.processes(node)?.into_iter().partition(|(_, line)| is_daemon(line));
    let each_ns =
        |list: &[(u32, String)]| list.iter().map(|(pid, _)| processor_ns(*pid)).collect::<Vec<u64>>();
    let (began, before) = (Instant::now(), (all_ns()?, each_ns(&others), each_ns(&daemons)));
    std::thread::sleep(how_long);
    let after = (all_ns()?, each_ns(&others), each_ns(&daemons));
    let percent = |ns: u64| ns as f64 / began.elapsed().as_nanos() as f64 * 100.0;
    let spent = |from: &[u64], to: &[u64]| to.iter().sum::<u64>().saturating_sub(from.iter().sum());
    // What has ended meanwhile, as the scripts of monitors do, counts too: so all but the others.
    let used = percent(after.0.saturating_sub(before.0).saturating_sub(spent(&before.1, &after.1)));
    let memory: Vec<Memory> = daemons.iter().map(|(pid, _)| memory_of(*pid)).collect();
    let mib = |kib: u64| kib as f64 / 1024.0;
    let name = |((_, line), (from, to)): (&(u32, String), (&u64, &u64))| {
        format!("{} {} %", short_name(line), short(percent(to.saturating_sub(*from))))
    };
    let mut names: Vec<String> = daemons.iter().zip(before.2.iter().zip(&after.2)).map(name).collect();
    names.sort_unstable();
    let figures = vec![
        (Cell::Memory, mib(alone(&memory))),
        (Cell::Pss, mib(memory.iter().map(|m| m.pss_kib).sum())),
        (Cell::Rss, mib(memory.iter().map(|m| m.rss_kib).sum())),
        (Cell::Processes, daemons.len() as f64),
        (Cell::Cpu, used),
    ];
    Ok((figures, names.join(", ")))
}

fn is_daemon(line: &str) -> bool {
    !line.is_empty() && !OTHERS.iter().any(|other| line.contains(other))
}

/// The program and its first words.
fn short_name(line: &str) -> &str {
    let name = line.split(" --").next().unwrap_or(line);
    name.rsplit('/').next().unwrap_or(name).trim()
}

/// What they would use on a machine of their own: pages of files count once for all of them, and wholly; other labs
/// and nodes on this machine share them too, which a real node's would not.
fn alone(processes: &[Memory]) -> u64 {
    let mut files: BTreeMap<&str, u64> = BTreeMap::new();
    for (place, kib) in processes.iter().flat_map(|p| &p.files) {
        let most = files.entry(place).or_default();
        *most = (*most).max(*kib);
    }
    processes.iter().map(|p| p.private_kib).sum::<u64>() + files.values().sum::<u64>()
}

fn processor_ns(pid: u32) -> u64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of = |path: std::path::PathBuf| -> Option<u64> {
        std::fs::read_to_string(path).ok()?.split(' ').next()?.parse().ok()
    };
    tasks.flatten().filter_map(|task| of(task.path().join("schedstat"))).sum()
}

fn memory_of(pid: u32) -> Memory {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = |name: &str| -> u64 {
        let line = rollup.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
    };
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    Memory {
        rss_kib: kib("Rss"),
        pss_kib: kib("Pss"),
        private_kib: kib("Pss_Anon") + kib("Pss_Shmem"),
        files: resident_files(&maps),
    }
}

/// Resident pages of files in KiB, without the pages of them that the process has made its own.
fn resident_files(maps: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let (mut place, mut rss) = (None, 0_u64);
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [range, _, offset, device, inode, ..] if range.contains('-') => {
                place = (*inode != "0").then(|| format!("{device} {inode} {offset}"));
            }
            ["Rss:", kib, _] => rss = kib.parse().unwrap_or(0),
            ["Anonymous:", kib, _] => {
                let own: u64 = kib.parse().unwrap_or(0);
                if let Some(place) = place.take() {
                    found.insert(place, rss.saturating_sub(own));
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
5581-5582 r-xp 00001000 08:01 77  /usr/bin/x
Rss:                 100 kB
Anonymous:            30 kB
7ffc-7ffd rw-p 00000000 00:00 0  [stack]
Rss:                  40 kB
Anonymous:            40 kB
";

    #[test]
    fn a_page_of_a_file_counts_once_for_all_daemons_of_a_node() {
        let files = resident_files(MAPS);
        assert_eq!(files.values().collect::<Vec<_>>(), [&70]);
        let one = Memory { private_kib: 40, files, ..Memory::default() };
        assert_eq!(alone(&[one.clone(), one]), 150);
    }

    #[test]
    fn the_service_and_the_lab_are_not_counted() {
        assert!(is_daemon("/usr/local/bin/regent node daemon") && is_daemon("corosync -f"));
        for other in ["regent lab ledger serve --listen x", "regent-lab init", "", "regent-bench answer x"] {
            assert!(!is_daemon(other), "{other}");
        }
    }
}
