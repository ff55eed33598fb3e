//! What the kernel says of processes: their tree, where they wait, what they have open, how much memory they hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use crate::process;

/// How many processes are looked at.
const PROCESSES_MAX: usize = 128;
/// How many threads of one.
const THREADS_MAX: usize = 24;
/// How many open files of one.
const FILES_MAX: usize = 256;

fn proc(pid: i32, what: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// One line of `status`, without its name.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or("?").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn name(pid: i32) -> String {
    process::stat(pid).map_or_else(|| "?".to_owned(), |s| s.command)
}

/// The processes as a tree: number, state, where each waits, memory, threads.
pub(super) fn tree(pids: &[i32]) -> String {
    let parents: BTreeMap<i32, i32> =
        pids.iter().filter_map(|pid| Some((*pid, process::stat(*pid)?.parent))).collect();
    if parents.is_empty() {
        return "no process is left".to_owned();
    }
    let mut text = String::new();
    let roots: Vec<i32> =
        parents.iter().filter(|(_, parent)| !parents.contains_key(parent)).map(|(pid, _)| *pid).collect();
    let mut left = PROCESSES_MAX;
    for root in roots {
        branch(root, 0, &parents, &mut left, &mut text);
    }
    if parents.len() > PROCESSES_MAX {
        let _ = writeln!(text, "... and {} more", parents.len() - PROCESSES_MAX);
    }
    text
}

fn branch(pid: i32, depth: usize, parents: &BTreeMap<i32, i32>, left: &mut usize, text: &mut String) {
    if *left == 0 || depth > 64 {
        return;
    }
    *left -= 1;
    let status = proc(pid, "status");
    let wchan = match proc(pid, "wchan").as_str() {
        "" | "0" => String::new(),
        at => format!(" waits in {at}"),
    };
    let _ = writeln!(
        text,
        "{}{pid} {} [{}]{wchan}; memory {} of {}; {} thread(s); uid {}",
        "  ".repeat(depth),
        name(pid),
        field(&status, "State"),
        field(&status, "VmRSS"),
        field(&status, "VmSize"),
        field(&status, "Threads"),
        field(&status, "Uid").split(' ').next().unwrap_or("?"),
    );
    for child in parents.iter().filter(|(_, parent)| **parent == pid).map(|(child, _)| *child) {
        branch(child, depth + 1, parents, left, text);
    }
}

/// Where each thread of the processes is in the kernel.
pub(super) fn stacks(pids: &[i32]) -> String {
    let mut text = String::new();
    for pid in pids.iter().take(PROCESSES_MAX) {
        let _ = writeln!(text, "{pid} {}", name(*pid));
        let mut threads: Vec<i32> = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.parse().ok())
            .collect();
        threads.sort_unstable();
        for thread in threads.iter().take(THREADS_MAX) {
            let task = format!("task/{thread}");
            let state = field(&proc(*pid, &format!("{task}/status")), "State");
            let called = proc(*pid, &format!("{task}/syscall"));
            let called = called.split(' ').next().unwrap_or_default();
            let called = match called {
                "" | "running" | "-1" => String::new(),
                number => format!(", system call {number}"),
            };
            let _ = writeln!(text, "  thread {thread} [{state}]{called}");
            match fs::read_to_string(format!("/proc/{pid}/{task}/stack")) {
                Ok(stack) => stack.lines().for_each(|line| {
                    let _ = writeln!(text, "    {line}");
                }),
                Err(error) => {
                    let _ = writeln!(text, "    its kernel stack cannot be read: {error}");
                }
            }
        }
        if threads.len() > THREADS_MAX {
            let _ = writeln!(text, "  ... and {} more threads", threads.len() - THREADS_MAX);
        }
    }
    text
}

/// What a process has open: number and target.
pub(super) fn open_of(pid: i32) -> Vec<(u32, String)> {
    let mut found: Vec<(u32, String)> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((number, target.display().to_string()))
        })
        .collect();
    found.sort();
    found
}

/// The open files of the processes, with the place that each is at.
pub(super) fn files(pids: &[i32]) -> String {
    let mut text = String::new();
    for pid in pids.iter().take(PROCESSES_MAX) {
        let open = open_of(*pid);
        let limit = proc(*pid, "limits");
        let limit = limit.lines().find_map(|line| line.strip_prefix("Max open files"));
        let limit = limit.and_then(|line| line.split_whitespace().next()).unwrap_or("?").to_owned();
        let _ = writeln!(text, "{pid} {}: {} of at most {limit} open", name(*pid), open.len());
        for (number, target) in open.iter().take(FILES_MAX) {
            let info = proc(*pid, &format!("fdinfo/{number}"));
            let place = info.lines().find_map(|line| line.strip_prefix("pos:")).map(str::trim);
            let place = match place {
                Some(place) if place != "0" && target.starts_with('/') => format!(" at byte {place}"),
                _ => String::new(),
            };
            let _ = writeln!(text, "  {number:>4} {target}{place}");
        }
        if open.len() > FILES_MAX {
            let _ = writeln!(text, "  ... and {} more", open.len() - FILES_MAX);
        }
    }
    text
}

/// Their command lines. Last, because a process whose memory is locked keeps the reader waiting.
pub(super) fn command_lines(pids: &[i32]) -> String {
    let line = |pid: &i32| format!("{pid} {}\n", process::command_line(*pid));
    pids.iter().take(PROCESSES_MAX).map(line).collect()
}
