//! The SAN's journal: every write with its node and time, so that two writers are seen.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::port::DiskState;
use crate::error::{Doing, LabError, Result};

/// Writes the journal: one line, one system call.
pub(crate) struct Journal(File);

/// What is journaled about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    ReadFirstBlock,
    Write,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.doing(|| format!("open {}", path.display()))?))
    }

    pub(super) fn request(
        &self,
        kind: Kind,
        (began, ended): (u64, u64),
        node: &str,
        boot: u64,
        (disk, offset, length): (usize, u64, u32),
    ) {
        let letter = if kind == Kind::Write { 'W' } else { 'R' };
        self.line(&format!("{letter} {began} {ended} {node} {boot} {disk} {offset} {length}\n"));
    }

    pub(super) fn switched(&self, at: u64, node: &str, boot: u64, to: DiskState) {
        let (word, ms) = match to {
            DiskState::Ok => ("ok", 0),
            DiskState::Slow(ms) => ("slow", ms),
            DiskState::Hang => ("hang", 0),
            DiskState::Error => ("error", 0),
            DiskState::Cut => ("cut", 0),
        };
        self.line(&format!("S {at} {at} {node} {boot} {word} {ms} 0\n"));
    }

    pub(super) fn key(&self, at: u64, node: &str, registered: bool) {
        let word = if registered { "registered" } else { "preempted" };
        self.line(&format!("K {at} {at} {node} 0 {word} 0 0\n"));
    }

    fn line(&self, text: &str) {
        let _a_full_host_disk_shows_elsewhere = (&self.0).write_all(text.as_bytes());
    }
}

/// A request that the SAN served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SanRequest {
    /// When it reached the image, in ns of `CLOCK_MONOTONIC`.
    pub began: u64,
    /// When it was done, before the node was told.
    pub ended: u64,
    /// Whose it was.
    pub node: String,
    /// In which boot of the node (1 is the first).
    pub boot: u64,
    /// Which disk.
    pub disk: usize,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes.
    pub length: u32,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SanEvent {
    /// A node wrote.
    Write(SanRequest),
    /// A node read the first block, as every mount does; a mounted file system has it in memory.
    Look(SanRequest),
    /// A port was switched.
    Switch {
        /// When.
        at: u64,
        /// Whose port.
        node: String,
        /// To what.
        to: DiskState,
    },
    /// A node was registered, or its key was taken away.
    Key {
        /// When.
        at: u64,
        /// Whose key.
        node: String,
        /// Whether it may write from now on.
        registered: bool,
    },
}

/// The journal, read back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SanLog {
    /// Everything in the order of its beginning.
    pub events: Vec<SanEvent>,
}

impl SanLog {
    /// Reads a journal; a last line that is only half there is left out.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is not a journal's.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
        Self::parse(&text).map_err(|line| {
            LabError::new(format!("{} line {line} is not a line of a SAN journal", path.display()))
        })
    }

    /// Reads what has been written since `from`, a number of bytes, and says up to where that is. Its events are in the
    /// order of their beginning among themselves; one that took long may stand behind others that began after it.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is not a journal's.
    pub fn read_on(path: &Path, from: u64) -> Result<(Self, u64)> {
        let mut file = File::open(path).doing(|| format!("open {}", path.display()))?;
        let mut text = Vec::new();
        let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut text));
        read.doing(|| format!("read {}", path.display()))?;
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let log = Self::parse(&String::from_utf8_lossy(&text[..whole])).map_err(|line| {
            let path = path.display();
            LabError::new(format!("{path} line {line} after byte {from} is not a line of a SAN journal"))
        })?;
        Ok((log, from + whole as u64))
    }

    fn parse(text: &str) -> std::result::Result<Self, usize> {
        let mut events = Vec::new();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in whole.lines().enumerate() {
            events.push(parse_line(line).ok_or(number + 1)?);
        }
        events.sort_by_key(began);
        Ok(Self { events })
    }

    /// The writes, in order.
    pub fn writes(&self) -> impl Iterator<Item = &SanRequest> {
        self.events.iter().filter_map(|e| match e {
            SanEvent::Write(request) => Some(request),
            _ => None,
        })
    }
}

fn began(event: &SanEvent) -> u64 {
    match event {
        SanEvent::Write(r) | SanEvent::Look(r) => r.began,
        SanEvent::Switch { at, .. } | SanEvent::Key { at, .. } => *at,
    }
}

fn parse_line(line: &str) -> Option<SanEvent> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [letter, began, ended, node, boot, a, b, c] = fields[..] else { return None };
    let node = node.to_owned();
    if letter == "S" {
        let to = match a {
            "ok" => DiskState::Ok,
            "slow" => DiskState::Slow(b.parse().ok()?),
            "hang" => DiskState::Hang,
            "error" => DiskState::Error,
            "cut" => DiskState::Cut,
            _ => return None,
        };
        return Some(SanEvent::Switch { at: began.parse().ok()?, node, to });
    }
    if letter == "K" {
        return Some(SanEvent::Key { at: began.parse().ok()?, node, registered: a == "registered" });
    }
    let request = SanRequest {
        began: began.parse().ok()?,
        ended: ended.parse().ok()?,
        node,
        boot: boot.parse().ok()?,
        disk: a.parse().ok()?,
        offset: b.parse().ok()?,
        length: c.parse().ok()?,
    };
    match letter {
        "W" => Some(SanEvent::Write(request)),
        "R" => Some(SanEvent::Look(request)),
        _ => None,
    }
}

/// A node wrote on a disk that another node had changed since the first one last looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The other node's last write before.
    pub earlier: SanRequest,
    /// The write of the node that could not know of it.
    pub later: SanRequest,
}

/// Finds two writers. A node that mounts a file system reads its first block from the disk, and has it in
/// memory from then on. So a write is unlawful if another node wrote after the writer's last such look: there
/// were two owners at once, no matter how far apart their writes lie. Successive writes of the same pair are
/// reported once.
#[must_use]
pub fn two_writers(log: &SanLog) -> Vec<Overlap> {
    let mut writers = Writers::default();
    for event in &log.events {
        writers.see(event);
    }
    writers.found
}

/// The same for a journal that is still being written, as far as it has been read.
#[derive(Debug, Clone, Default)]
pub struct Writers {
    /// When a node in a boot of it last looked at a disk.
    looked: BTreeMap<(usize, String, u64), u64>,
    /// The last write of each node on each disk.
    last: BTreeMap<(usize, String), SanRequest>,
    /// What was found so far.
    pub found: Vec<Overlap>,
}

impl Writers {
    /// Takes the next event, in the order of their beginning.
    pub fn see(&mut self, event: &SanEvent) {
        match event {
            SanEvent::Look(look) => {
                self.looked.insert((look.disk, look.node.clone(), look.boot), look.began);
            }
            SanEvent::Write(write) => {
                let key = (write.disk, write.node.clone(), write.boot);
                let seen = self.looked.get(&key).copied().unwrap_or(0);
                let stranger = self
                    .last
                    .iter()
                    .filter(|((disk, node), w)| *disk == write.disk && *node != write.node && w.ended > seen)
                    .max_by_key(|(_, w)| w.ended);
                if let Some((_, earlier)) = stranger {
                    let again = self.found.last().is_some_and(|o| {
                        (&o.later.node, o.later.boot, &o.earlier) == (&write.node, write.boot, earlier)
                    });
                    if !again {
                        self.found.push(Overlap { earlier: earlier.clone(), later: write.clone() });
                    }
                }
                self.last.insert((write.disk, write.node.clone()), write.clone());
            }
            SanEvent::Switch { .. } | SanEvent::Key { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaps(text: &str) -> Vec<(String, String)> {
        let log = SanLog::parse(text).unwrap();
        two_writers(&log).into_iter().map(|o| (o.earlier.node, o.later.node)).collect()
    }

    #[test]
    fn one_owner_after_the_other_is_lawful() {
        let moves = "R 1 2 a 1 0 0 4096\nW 3 4 a 1 0 8192 4096\nR 5 6 b 1 0 0 4096\nW 7 8 b 1 0 0 4096\n\
                     R 9 10 a 1 0 1024 512\nW 11 12 a 1 0 0 4096\n";
        assert_eq!(overlaps(moves), []);
    }

    #[test]
    fn a_late_write_of_the_old_owner_is_seen() {
        let late = "R 1 2 a 1 0 0 4096\nW 3 4 a 1 0 0 4096\nR 5 6 b 1 0 0 4096\nW 7 8 b 1 0 0 4096\n\
                    W 20 21 a 1 0 4096 4096\n";
        assert_eq!(overlaps(late), [("b".to_owned(), "a".to_owned())]);
    }

    #[test]
    fn a_write_between_look_and_first_write_of_the_new_owner_is_seen() {
        let between = "R 1 2 a 1 0 0 4096\nR 5 6 b 1 0 0 4096\nW 7 8 a 1 0 0 4096\nW 9 10 b 1 0 0 4096\n";
        assert_eq!(overlaps(between), [("a".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn different_disks_have_different_owners() {
        let apart = "W 1 2 a 1 0 0 512\nW 3 4 b 1 1 0 512\nW 5 6 a 1 0 0 512\n";
        assert_eq!(overlaps(apart), []);
    }

    #[test]
    fn a_look_of_an_earlier_boot_does_not_count() {
        let rebooted = "W 1 2 b 1 0 0 512\nR 3 4 a 1 0 0 4096\nW 5 6 a 2 0 0 512\n";
        assert_eq!(overlaps(rebooted), [("b".to_owned(), "a".to_owned())]);
    }

    #[test]
    fn a_journal_that_grows_is_read_on_from_where_it_ended() {
        let path = std::env::temp_dir().join(format!("regent-test-san-{}", std::process::id()));
        std::fs::write(&path, "R 1 2 a 1 0 0 4096\nW 3 4 a 1 0 0").unwrap();
        let (first, end) = SanLog::read_on(&path, 0).unwrap();
        std::fs::write(&path, "R 1 2 a 1 0 0 4096\nW 3 4 a 1 0 0 4096\nW 5 6 b 1 0 0 4096\n").unwrap();
        let (second, _) = SanLog::read_on(&path, end).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((first.events.len(), end, second.events.len()), (1, 19, 2));
        let mut writers = Writers::default();
        first.events.iter().chain(&second.events).for_each(|e| writers.see(e));
        assert_eq!(writers.found.len(), 1);
    }

    #[test]
    fn a_half_written_last_line_is_left_out_and_a_wrong_line_is_named() {
        assert_eq!(SanLog::parse("S 1 1 a 1 cut 0 0\nW 2 3 a").unwrap().events.len(), 1);
        assert_eq!(SanLog::parse("S 1 1 a 1 cut 0 0\nX 2 3 a 1 0 0 0\n"), Err(2));
    }
}
