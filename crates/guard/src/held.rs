//! What a guard leaves to the next one of the same boot: the mirror of the release list, in memory that outlives
//! the process but not the boot.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use regent_lease::list::{HeldOver, Inherited};
use regent_model::BootId;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Page<L> {
    boot: BootId,
    left: L,
}

/// Writes the mirror, whenever it would change.
#[derive(Debug)]
pub struct Mirror {
    path: PathBuf,
    fresh: PathBuf,
    boot: BootId,
    kept: Option<Vec<HeldOver>>,
    text: Vec<u8>,
}

impl Mirror {
    /// A mirror in this file. What the file holds is not read: see [`read`].
    #[must_use]
    pub fn new(path: PathBuf, boot: BootId) -> Self {
        let fresh = path.with_extension("new");
        Self { path, fresh, boot, kept: None, text: Vec::with_capacity(4096) }
    }

    /// Keeps `left`, unless the file holds it already. The folder is one in memory: this does not wait for a disk.
    ///
    /// # Errors
    /// In words. The file is as it was, and the next call tries again.
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
        self.text.clear();
        serde_json::to_writer(&mut self.text, &Page { boot: self.boot.clone(), left })?;
        // In one step from the old to the new, whenever the process is killed.
        File::create(&self.fresh)?.write_all(&self.text)?;
        fs::rename(&self.fresh, &self.path)
    }
}

/// What a guard of this boot left in the file; nothing when there was none, or the machine was started since.
///
/// # Errors
/// In words: the file cannot be read or understood, so that nobody knows what is held.
pub fn read(path: &Path, boot: &BootId) -> Result<Vec<HeldOver>, String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let page: Page<Vec<HeldOver>> = serde_json::from_slice(&text).map_err(|error| {
        format!(
            "{} is damaged ({error}): nobody knows what this node still holds. Reboot the machine",
            path.display()
        )
    })?;
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
        let holding =
            Holding::Address { interface: "eth0".into(), address: [10, 0, 0, 9].into(), prefix: 24 };
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
