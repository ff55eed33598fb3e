//! What is always looked at, in the order of how unlikely it is to hang.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Sections, Subject, processes, processes_of, sockets};
use crate::output::Output;

/// So much of the end of every output is shown, in bytes.
const OUTPUT_BYTES: usize = 8 << 10;
/// How many outputs are shown, the newest first.
const OUTPUTS_MAX: usize = 16;
/// So many of the kernel's last messages are shown.
const KERNEL_LINES: usize = 40;

pub(super) fn all(subject: &Subject, sections: &mut Sections<'_>) {
    sections.add("last answers of its commands and monitors", || subject.answers.join("\n"));
    sections.add("last lines of their output", || outputs(&subject.output));
    sections.add("memory and load of its processes together", || control_groups(&subject.cgroups));
    sections.add("the machine", machine);
    let pids = processes_of(&subject.cgroups);
    sections.add("processes", || processes::tree(&pids));
    if !pids.is_empty() {
        sections.add("where their threads are in the kernel", || processes::stacks(&pids));
        sections.add("open files", || processes::files(&pids));
        sections.add("sockets", || sockets::of(&pids));
        sections.add("command lines", || processes::command_lines(&pids));
    }
    sections.add("last messages of the kernel", kernel);
}

fn outputs(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> =
        entries.filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
    files.sort();
    let mut text = String::new();
    for (written, path) in files.into_iter().rev().take(OUTPUTS_MAX) {
        let lines = Output::reopen(&path).tail(OUTPUT_BYTES);
        let ago = SystemTime::now().duration_since(written).unwrap_or_default().as_secs();
        let name = path.file_name().unwrap_or_default().display();
        let said = if lines.is_empty() { " said nothing".to_owned() } else { format!(":\n{lines}") };
        let _ = writeln!(text, "--- {name}, {ago} s ago{said}");
    }
    text
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

fn control_groups(all: &[PathBuf]) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
    match all {
        [one] => control_group(one),
        all => all.iter().map(|path| format!("--- {}\n{}", name(path), control_group(path))).collect(),
    }
}

fn control_group(path: &Path) -> String {
    let mut text = String::new();
    let files = [
        "memory.current",
        "memory.peak",
        "memory.max",
        "memory.swap.current",
        "memory.events",
        "pids.current",
        "cpu.stat",
        "cpu.pressure",
        "memory.pressure",
        "io.pressure",
    ];
    for file in files {
        let found = read(&path.join(file));
        if !found.is_empty() {
            let _ = writeln!(text, "{file}: {}", found.replace('\n', "; "));
        }
    }
    text
}

fn machine() -> String {
    let mut text = format!("load: {}\n", read(Path::new("/proc/loadavg")));
    let wanted = ["MemTotal", "MemAvailable", "SwapFree", "Dirty", "Writeback", "HugePages_Free"];
    let memory = read(Path::new("/proc/meminfo"));
    for line in memory.lines().filter(|line| wanted.iter().any(|w| line.starts_with(w))) {
        let _ = writeln!(text, "{}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    for what in ["cpu", "memory", "io"] {
        let found = read(&Path::new("/proc/pressure").join(what));
        if !found.is_empty() {
            let _ = writeln!(text, "pressure on {what}: {}", found.replace('\n', "; "));
        }
    }
    text
}

/// What is in the kernel's log now; who reads it does not wait.
fn kernel() -> String {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(log) = open("/dev/kmsg", flags, Mode::empty()) else { return String::new() };
    let mut lines = Vec::new();
    let mut record = [0; 8192];
    loop {
        match rustix::io::read(&log, &mut record) {
            Ok(0) => break,
            Ok(bytes) => {
                let text = String::from_utf8_lossy(record.get(..bytes).unwrap_or_default()).into_owned();
                let Some((head, words)) = text.split_once(';') else { continue };
                let us: u64 = head.split(',').nth(2).and_then(|at| at.parse().ok()).unwrap_or(0);
                let words = words.lines().next().unwrap_or_default();
                lines.push(format!("[{}.{:06}] {words}", us / 1_000_000, us % 1_000_000));
            }
            // Messages were overwritten before they were read: it goes on with the oldest that is left.
            Err(rustix::io::Errno::PIPE) => {}
            Err(_) => break,
        }
    }
    lines.split_off(lines.len().saturating_sub(KERNEL_LINES)).join("\n")
}
