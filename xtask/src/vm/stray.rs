//! Who writes to the disk of a group without asking anybody, from the owner, and what came of each write.
//!
//! It stands for what a machine has on its way still when somebody else takes its groups over: nothing of Regent's holds it
//! back, so that only the storage can refuse it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::machine::{LUN, Machine, Site};
use super::stage::FILE_SYSTEM;

/// Behind the end of the file system.
const PLACE: u64 = (FILE_SYSTEM + 4) << 20;
/// How the kernel says RESERVATION CONFLICT to who writes.
const CONFLICT: &str = "EBADE";

/// The stray writer in one machine.
pub(super) struct Stray {
    console: PathBuf,
    disk: PathBuf,
    /// How much of the console was there when it began.
    begins: usize,
}

/// What came of its writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) written: usize,
    pub(super) refused: usize,
    /// Written when it had been refused already.
    pub(super) written_after: usize,
    pub(super) failed: usize,
}

impl Stray {
    /// Begins, and sees that its writes arrive.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn begin(machine: &mut Machine, site: &Site) -> Result<Self, String> {
        let console = machine.console(site);
        let mut stray = Self { console, disk: site.folder.join(LUN), begins: 0 };
        stray.begins = stray.said()?.len();
        machine.begin(&format!("setsid stray /dev/disk/by-lun/data {PLACE} 0.2 &"))?;
        let until = Instant::now() + Duration::from_secs(60);
        while stray.counted()?.written < 5 {
            if Instant::now() > until {
                return Err(format!("the stray writer in {} does not write", machine.name));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        if stray.on_disk()? == 0 {
            return Err("what the stray writer wrote is not on the disk".into());
        }
        Ok(stray)
    }

    fn said(&self) -> Result<String, String> {
        let bytes = fs::read(&self.console).map_err(|e| format!("{}: {e}", self.console.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn counted(&self) -> Result<Counted, String> {
        Ok(count(self.said()?.get(self.begins..).unwrap_or_default()))
    }

    /// Waits until so many of its writes were refused.
    ///
    /// # Errors
    /// When its console cannot be read.
    pub(super) fn refused(&self, wanted: usize, within: Duration) -> Result<Counted, String> {
        let until = Instant::now() + within;
        loop {
            let counted = self.counted()?;
            if counted.refused >= wanted || Instant::now() > until {
                return Ok(counted);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The number of its write that the disk has now.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(super) fn on_disk(&self) -> Result<u64, String> {
        let fail = |e| format!("{}: {e}", self.disk.display());
        let mut block = [0; 32];
        File::open(&self.disk).and_then(|disk| disk.read_exact_at(&mut block, PLACE)).map_err(fail)?;
        Ok(String::from_utf8_lossy(&block).trim().parse().unwrap_or(0))
    }
}

fn count(said: &str) -> Counted {
    let mut counted = Counted::default();
    for line in said.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("stray") || words.next().is_none_or(|n| n.parse::<u64>().is_err()) {
            continue;
        }
        match words.next() {
            Some("written") => {
                counted.written += 1;
                counted.written_after += usize::from(counted.refused > 0);
            }
            Some(CONFLICT) => counted.refused += 1,
            Some(_) => counted.failed += 1,
            None => {}
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_what_was_refused_and_what_failed_otherwise_are_told_apart() {
        let said = "stray 1 written\n\n[  12.3] sd 2:0:0:0: reservation conflict\nstray 2 EBADE\nstray 3 EIO\nstray x written\nstray 4\n";
        assert_eq!(count(said), Counted { written: 1, refused: 1, written_after: 0, failed: 1 });
        let behind = format!("{said}\nstray 5 written\n");
        assert_eq!(count(&behind), Counted { written: 2, refused: 1, written_after: 1, failed: 1 });
    }
}
