//! What a guard leaves to the next one of the same boot: the mirror of the release list, in memory that outlives
//! the process but not the boot.
//!
//! The file has room for two pages, written in turn, each in one call and with its number and checksum: whenever the
//! process is killed, one of them is whole. It is written at every keepalive that was acknowledged, so it costs no
//! more than that call.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use regent_lease::list::{HeldOver, Inherited};
use regent_model::BootId;
use serde::{Deserialize, Serialize};

/// The room of a page. What is not written takes none.
const ROOM: usize = 1 << 20;
/// Before its text, a page has a checksum of the rest, its number, and the length of its text.
const HEADER: usize = 4 + 8 + 4;

#[derive(Serialize, Deserialize)]
struct Page<L> {
    boot: BootId,
    left: L,
}

/// Writes the mirror, whenever it would change.
#[derive(Debug)]
pub struct Mirror {
    path: PathBuf,
    boot: BootId,
    file: Option<File>,
    number: u64,
    kept: Option<Vec<HeldOver>>,
    page: Vec<u8>,
}

impl Mirror {
    /// A mirror in this file. What the file holds is read only to be outnumbered: see [`read`].
    #[must_use]
    pub fn new(path: PathBuf, boot: BootId) -> Self {
        Self { path, boot, file: None, number: 0, kept: None, page: Vec::with_capacity(4096) }
    }

    /// Keeps `left`, unless the file holds it already. The folder is one in memory: this does not wait for a disk.
    ///
    /// # Errors
    /// In words. The file says what it said, and the next call tries again.
    pub fn keep(&mut self, left: Vec<HeldOver>) -> Result<(), String> {
        if self.kept.as_ref() == Some(&left) {
            return Ok(());
        }
        self.kept = None;
        self.write(&left).map_err(|error| format!("cannot write {}: {error}", self.path.display()))?;
        self.kept = Some(left);
        Ok(())
    }

    fn write(&mut self, left: &[HeldOver]) -> io::Result<()> {
        self.page.clear();
        self.page.resize(HEADER, 0);
        serde_json::to_writer(&mut self.page, &Page { boot: self.boot.clone(), left })?;
        if self.page.len() > ROOM {
            return Err(io::Error::other("more is held than the file has room for"));
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        let number = self.number + 1;
        let length = u32::try_from(self.page.len() - HEADER).unwrap_or(u32::MAX);
        self.page[4..12].copy_from_slice(&number.to_le_bytes());
        self.page[12..HEADER].copy_from_slice(&length.to_le_bytes());
        let sum = crc32c::crc32c(&self.page[4..]);
        self.page[..4].copy_from_slice(&sum.to_le_bytes());
        file.write_all_at(&self.page, (number % 2) * ROOM as u64)?;
        (self.number, self.file) = (number, Some(file));
        Ok(())
    }

    fn open(&mut self) -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        self.number = newest(&fs::read(&self.path)?).map_or(0, |(number, _)| number);
        Ok(file)
    }
}

/// The number and the text of the newest page that is whole.
fn newest(file: &[u8]) -> Option<(u64, &[u8])> {
    let pages = [file, file.get(ROOM..).unwrap_or_default()];
    pages.into_iter().filter_map(whole).max_by_key(|(number, _)| *number)
}

fn whole(page: &[u8]) -> Option<(u64, &[u8])> {
    let (header, rest) = page.split_at_checked(HEADER)?;
    let sum = u32::from_le_bytes(header[..4].try_into().ok()?);
    let number = u64::from_le_bytes(header[4..12].try_into().ok()?);
    let length = usize::try_from(u32::from_le_bytes(header[12..].try_into().ok()?)).ok()?;
    let text = rest.get(..length)?;
    (crc32c::crc32c(&page[4..HEADER + length]) == sum).then_some((number, text))
}

/// What a guard of this boot left in the file; nothing when there was none, or the machine was started since.
///
/// # Errors
/// In words: the file cannot be read or understood, so that nobody knows what is held.
pub fn read(path: &Path, boot: &BootId) -> Result<Vec<HeldOver>, String> {
    let file = match fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    // A guard that was killed between making the file and its first page held nothing.
    if file.is_empty() {
        return Ok(Vec::new());
    }
    let damaged = |why: &str| {
        format!(
            "{} is damaged ({why}): nobody knows what this node still holds. Reboot the machine",
            path.display()
        )
    };
    let (_, text) = newest(&file).ok_or_else(|| damaged("neither of its pages is whole"))?;
    let page: Page<Vec<HeldOver>> =
        serde_json::from_slice(text).map_err(|error| damaged(&error.to_string()))?;
    Ok(if page.boot == *boot { page.left } else { Vec::new() })
}

/// Whether something in the file is held by a lease that somebody must end: what is held without lease is not, and
/// what cannot be understood is.
#[must_use]
pub fn needs_a_guard(path: &Path, boot: &BootId) -> bool {
    match read(path, boot) {
        Ok(left) => left.iter().any(|held| matches!(held.right, Inherited::Lease(_))),
        Err(_) => true,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use regent_lease::holder::Bounds;
    use regent_model::holding::{Held, Holding};
    use regent_model::{Epoch, GroupName, Incarnation, Moment};

    use super::*;

    /// A folder that is gone after the test.
    pub(crate) struct Folder(PathBuf);

    impl Folder {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("regent-guard-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn left(right: Inherited) -> Vec<HeldOver> {
        let holding = Holding::address("eth0", [10, 0, 0, 9].into(), 24);
        let held = Held { group: GroupName::new("g").unwrap(), epoch: Epoch(4), holding };
        vec![HeldOver { held, by: Incarnation(2), right }]
    }

    fn by_lease() -> Inherited {
        Inherited::Lease(Bounds { release_due: Moment(7), deadline: Moment(9) })
    }

    #[test]
    fn the_next_guard_of_the_same_boot_finds_what_was_left_and_one_of_another_boot_nothing() {
        let folder = Folder::new("held");
        let path = folder.path().join("held");
        let (this, other) = (BootId("a".into()), BootId("b".into()));
        assert_eq!(read(&path, &this), Ok(Vec::new()));
        let mut mirror = Mirror::new(path.clone(), this.clone());
        mirror.keep(left(by_lease())).unwrap();
        assert_eq!(read(&path, &this), Ok(left(by_lease())));
        assert_eq!(read(&path, &other), Ok(Vec::new()));
        assert!(needs_a_guard(&path, &this) && !needs_a_guard(&path, &other));
        mirror.keep(Vec::new()).unwrap();
        assert!(!needs_a_guard(&path, &this));
    }

    #[test]
    fn what_is_held_without_lease_needs_no_guard_and_what_is_damaged_does() {
        let folder = Folder::new("needs");
        let path = folder.path().join("held");
        let boot = BootId("a".into());
        Mirror::new(path.clone(), boot.clone()).keep(left(Inherited::WithoutLease)).unwrap();
        assert!(!needs_a_guard(&path, &boot));
        fs::write(&path, "{\"boot\":\"a\",").unwrap();
        assert!(read(&path, &boot).is_err() && needs_a_guard(&path, &boot));
    }

    #[test]
    fn one_page_is_whole_whenever_the_process_is_killed() {
        let folder = Folder::new("pages");
        let path = folder.path().join("held");
        let boot = BootId("a".into());
        let mut mirror = Mirror::new(path.clone(), boot.clone());
        mirror.keep(left(Inherited::WithoutLease)).unwrap();
        let before = fs::read(&path).unwrap();
        mirror.keep(left(by_lease())).unwrap();
        let after = fs::read(&path).unwrap();
        for torn in 0..after.len().min(4096) {
            // The second page is the one at the beginning of the file.
            let mut file = before.clone();
            file[..torn].copy_from_slice(&after[..torn]);
            fs::write(&path, &file).unwrap();
            let found = read(&path, &boot).unwrap();
            assert!(found == left(Inherited::WithoutLease) || found == left(by_lease()), "torn at {torn}");
        }
        // The next guard of the boot goes on where this one ended.
        fs::write(&path, &after).unwrap();
        Mirror::new(path.clone(), boot.clone()).keep(Vec::new()).unwrap();
        assert_eq!(read(&path, &boot), Ok(Vec::new()));
    }

    #[test]
    fn a_mirror_that_could_not_be_written_is_written_by_the_next_call() {
        let folder = Folder::new("again");
        let inner = folder.path().join("run");
        let mut mirror = Mirror::new(inner.join("held"), BootId("a".into()));
        assert!(mirror.keep(left(by_lease())).is_err());
        fs::create_dir(&inner).unwrap();
        mirror.keep(left(by_lease())).unwrap();
        assert!(needs_a_guard(&inner.join("held"), &BootId("a".into())));
    }
}
