//! This node's own event journal on the disk: a line of JSON per entry, in two files that take turns.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use regent_model::journal::Entry;

/// A file that has grown to this becomes the old one.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Entries given back after a restart.
const RESTORED_MAX: usize = 2_000;
/// What was written reaches the disk after this at the latest.
const SYNC_AFTER: Duration = Duration::from_millis(500);
/// How long the thread sleeps when nothing is to be done.
const IDLE: Duration = Duration::from_secs(3600);

/// The journal, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    limit: u64,
}

impl Journal {
    /// Opens the journal at `path` and gives the newest entries that can be read, oldest first. What cannot be read
    /// (a line that a power cut tore) is passed over.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(path: PathBuf) -> io::Result<(Self, Vec<Entry>)> {
        Self::open_limited(path, FILE_BYTES_MAX)
    }

    fn open_limited(path: PathBuf, limit: u64) -> io::Result<(Self, Vec<Entry>)> {
        let mut entries: Vec<Entry> = Vec::new();
        for file in [older(&path), path.clone()] {
            read(&file, &mut entries)?;
        }
        entries.drain(..entries.len().saturating_sub(RESTORED_MAX));
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(&path)?;
        let bytes = file.metadata()?.len();
        if bytes > 0 {
            // Ends a torn line; an empty one is passed over when the journal is read.
            file.write_all(b"\n")?;
        }
        Ok((Self { path, file, bytes: bytes + 1, limit }, entries))
    }

    /// Appends entries. They outlive the process on return, and the machine after [`Journal::sync`].
    ///
    /// # Errors
    /// The kernel's; the entries may be there in part.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut text = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
        }
        if self.bytes > 1 && self.bytes + text.len() as u64 > self.limit {
            self.file.sync_data()?;
            fs::rename(&self.path, older(&self.path))?;
            self.file = OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path)?;
            self.bytes = 0;
        }
        self.file.write_all(&text)?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Appends on a thread of its own from now on, so that nobody waits for the disk.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn on_its_own(mut self) -> io::Result<Sender<Vec<Entry>>> {
        let (sender, entries) = channel();
        std::thread::Builder::new().name("journal".into()).spawn(move || self.follow(&entries))?;
        Ok(sender)
    }

    fn follow(&mut self, entries: &Receiver<Vec<Entry>>) {
        let mut due = Due::default();
        loop {
            let mut done = match entries.recv_timeout(due.wait(Instant::now())) {
                Ok(entries) => {
                    due.written(Instant::now());
                    self.append(&entries)
                }
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if due.is_over(Instant::now()) {
                done = done.and(self.sync());
            }
            if let Err(error) = done {
                tracing::warn!("the event journal {} misses entries: {error}", self.path.display());
            }
        }
    }
}

/// When the disk must have what was written: counted from the first entry that it may not have, however many follow.
#[derive(Debug, Default)]
struct Due(Option<Instant>);

impl Due {
    fn written(&mut self, now: Instant) {
        self.0.get_or_insert(now + SYNC_AFTER);
    }

    fn wait(&self, now: Instant) -> Duration {
        self.0.map_or(IDLE, |due| due.saturating_duration_since(now))
    }

    /// Whether that is now; then nothing is due any more.
    fn is_over(&mut self, now: Instant) -> bool {
        self.0.take_if(|due| *due <= now).is_some()
    }
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".1");
    path.with_file_name(name)
}

fn read(path: &Path, entries: &mut Vec<Entry>) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        entries.extend(serde_json::from_slice::<Entry>(&line).ok());
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use regent_model::journal::Level;
    use regent_model::{Moment, NodeName};

    use super::*;
    use crate::testing::Folder;

    fn entry(number: u64) -> Entry {
        Entry {
            node: NodeName::new("a").unwrap(),
            number,
            at: Moment(number),
            wall_ms: number,
            level: Level::Step,
            kind: "test".into(),
            group: None,
            resource: None,
            epoch: None,
            index: None,
            event: None,
            text: "x".repeat(50),
            took: Some(Duration::from_millis(1)),
            evidence: "line\nline".into(),
        }
    }

    fn numbers(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|e| e.number).collect()
    }

    #[test]
    fn entries_come_back_in_order_across_the_turn_of_the_files_and_the_files_stay_bounded() {
        let folder = Folder::new("journal-turn");
        let path = folder.path().join("journal");
        let (mut journal, restored) = Journal::open_limited(path.clone(), 2_000).unwrap();
        assert!(restored.is_empty());
        for number in 1..=100 {
            journal.append(&[entry(number)]).unwrap();
        }
        let sizes = [&path, &older(&path)].map(|p| fs::metadata(p).unwrap().len());
        assert!(sizes.iter().all(|bytes| *bytes <= 2_000), "{sizes:?}");
        let (_, restored) = Journal::open_limited(path, 2_000).unwrap();
        let first = restored[0].number;
        assert_eq!(numbers(&restored), (first..=100).collect::<Vec<_>>());
        assert!(first > 1 && restored.len() > 5, "{first}");
        assert_eq!(restored[0], entry(first));
    }

    #[test]
    fn a_torn_line_is_passed_over_and_what_follows_it_is_whole() {
        let folder = Folder::new("journal-torn");
        let path = folder.path().join("journal");
        Journal::open(path.clone()).unwrap().0.append(&[entry(1), entry(2)]).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
        let (mut journal, restored) = Journal::open(path.clone()).unwrap();
        assert_eq!(numbers(&restored), [1]);
        journal.append(&[entry(2), entry(3)]).unwrap();
        assert_eq!(numbers(&Journal::open(path).unwrap().1), [1, 2, 3]);
    }

    #[test]
    fn only_the_newest_entries_are_restored() {
        let folder = Folder::new("journal-newest");
        let path = folder.path().join("journal");
        let all: Vec<Entry> = (1..=2_500).map(entry).collect();
        Journal::open(path.clone()).unwrap().0.append(&all).unwrap();
        let restored = Journal::open(path).unwrap().1;
        assert_eq!((restored.len(), restored[0].number), (2_000, 501));
    }

    #[test]
    fn entries_that_keep_coming_do_not_put_off_when_the_disk_has_the_first() {
        let (mut due, begun) = (Due::default(), Instant::now());
        let at = |ms| begun + Duration::from_millis(ms);
        assert_eq!(due.wait(begun), IDLE);
        for ms in [0, 100, 200, 300, 400, 499] {
            due.written(at(ms));
            assert!(!due.is_over(at(ms)), "{ms}");
            assert_eq!(due.wait(at(ms)), SYNC_AFTER - Duration::from_millis(ms));
        }
        assert!(due.is_over(at(500)));
        assert!(!due.is_over(at(501)), "until something is written again");
        due.written(at(700));
        assert_eq!(due.wait(at(700)), SYNC_AFTER);
    }

    #[test]
    fn what_is_handed_to_the_thread_is_in_the_file_soon_and_on_the_disk_later() {
        let folder = Folder::new("journal-thread");
        let path = folder.path().join("journal");
        let sender = Journal::open(path.clone()).unwrap().0.on_its_own().unwrap();
        sender.send(vec![entry(1)]).unwrap();
        for _ in 0..1_000 {
            if numbers(&Journal::open(path.clone()).unwrap().1) == [1] {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the entry was not written");
    }
}
