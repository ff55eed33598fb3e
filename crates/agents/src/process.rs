//! One process, told apart from a later one with the same number.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

/// The kernel keeps so much of a program's name.
const NAME_BYTES_MAX: usize = 15;

/// A process: its number and when it began, in clock ticks since boot. Numbers are used again, pairs are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// When it began. First, so that the order is that of age.
    pub(crate) start: u64,
    pub(crate) pid: i32,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) command: String,
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    pub(crate) start: u64,
}

impl Stat {
    /// A zombie has let go of everything but its number.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

impl Identity {
    /// The process that has this number now, if it lives.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        stat(pid).filter(Stat::is_alive).map(|s| Self { start: s.start, pid })
    }

    /// Whether this very process lives.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// A file descriptor of this very process: readable when it has ended. `None` when it already has.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let pidfd = open(self.pid)?;
        // Looked at again after opening: from here on the number cannot be given to another.
        self.is_alive().then_some(pidfd)
    }

    /// Sends a signal to this very process; false when it no longer lives.
    pub(crate) fn signal(self, signal: Signal) -> bool {
        self.open().is_some_and(|pidfd| rustix::process::pidfd_send_signal(&pidfd, signal).is_ok())
    }
}

/// A file descriptor of whichever process has the number.
pub(crate) fn open(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Reads `/proc/PID/stat`. `None` when there is no such process.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// Every process that is visible.
pub(crate) fn all() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// The living processes of this name, as `ps -e` shows it, and of this user if one is given.
pub(crate) fn named(name: &str, uid: Option<u32>) -> Vec<i32> {
    use std::os::unix::fs::MetadataExt;
    let short = &name.as_bytes()[..name.len().min(NAME_BYTES_MAX)];
    let is_his = |pid: i32| {
        uid.is_none_or(|uid| std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|m| m.uid() == uid))
    };
    let meant = |pid: &i32| stat(*pid).is_some_and(|s| s.is_alive() && s.command.as_bytes() == short);
    all().into_iter().filter(meant).filter(|pid| is_his(*pid)).collect()
}

/// The command line for people, or the short name in brackets where there is none.
pub(crate) fn command_line(pid: i32) -> String {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&raw).replace('\0', " ");
    let line: String = words.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect();
    if line.is_empty() { stat(pid).map_or_else(String::new, |s| format!("[{}]", s.command)) } else { line }
}

/// The processes among `all` that descend from `ancestor`, without itself.
pub(crate) fn descendants(ancestor: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> =
        all().into_iter().filter_map(|pid| stat(pid).map(|s| (pid, s.parent))).collect();
    let mut family = vec![ancestor];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        let children = parents.iter().filter(|(pid, p)| *p == parent && !family.contains(pid));
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        family.extend(children);
        at += 1;
    }
    family.split_off(1)
}

/// What a process that cannot be killed waits for, for the operator.
pub(crate) fn describe(pid: i32) -> String {
    let state = stat(pid).map_or('?', |s| s.state);
    let waits = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let waits = if waits.is_empty() || waits == "0" { String::new() } else { format!(", waits in {waits}") };
    format!("process {pid} ({}), state {state}{waits}", command_line(pid))
}

/// The name in the second field may itself hold blanks and brackets, so the fields are counted from its end.
fn parse_stat(line: &str) -> Option<Stat> {
    let (head, tail) = line.rsplit_once(')')?;
    let (_, command) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(Stat {
        command: command.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let line = "77 (a) b (c) S 5 6 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4242 1 1 1";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.command.as_str(), stat.state, stat.parent), ("a) b (c", 'S', 5));
        assert_eq!((stat.session, stat.start), (7, 4242));
    }

    #[test]
    fn a_process_is_not_taken_for_another_with_its_number() {
        let me = Identity::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive() && me.open().is_some());
        let earlier = Identity { start: me.start - 1, ..me };
        assert!(!earlier.is_alive() && earlier.open().is_none());
    }

    #[test]
    fn a_zombie_does_not_count_as_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        while stat(pid).unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        assert_eq!(Identity::of(pid), None);
        child.wait().unwrap();
    }

    proptest! {
        #[test]
        fn any_stat_line_is_read_or_refused_without_harm(line: String) {
            let _ = parse_stat(&line);
        }
    }
}
