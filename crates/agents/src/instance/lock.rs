//! The lock file of an instance, `mgr/regent.ids`: who runs it, or ran it when it ended without being stopped.
//!
//! It is written for people and for the journal. Who may start is decided by the cluster alone: the file is read only
//! under a current ownership, and that one came with a proof that whoever the file names is out.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regent_model::action::Failure;
use regent_model::config::InstanceKind;
use regent_model::journal::Level;

use super::Instance;

/// Its place below the instance's directory.
const FOLDER: &str = "mgr";
const FILE: &str = "regent.ids";
const HEAD: &str = "# Written by Regent when this instance starts, removed when it was stopped. Who may start it is decided by\n\
                    # the cluster: to remove this file by hand changes nothing.\n";
/// A longer file is none of ours.
const BYTES_MAX: u64 = 4096;
/// Files of the vendors with the same meaning.
const VENDORS: [&str; 2] = ["cache.ids", "iris.ids"];

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) node: String,
    pub(super) incarnation: String,
    pub(super) epoch: u64,
    pub(super) boot: String,
}

impl Lock {
    fn text(&self) -> String {
        let Self { node, incarnation, epoch, boot } = self;
        format!("{HEAD}node={node}\nincarnation={incarnation}\nepoch={epoch}\nboot={boot}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let found = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
            found.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        Some(Self {
            node: value("node")?,
            incarnation: value("incarnation").unwrap_or_default(),
            epoch: value("epoch")?.parse().ok()?,
            boot: value("boot").unwrap_or_default(),
        })
    }
}

impl Instance<'_> {
    fn lock_folder(&self) -> PathBuf {
        self.config.directory.join(FOLDER)
    }

    fn lock_path(&self) -> PathBuf {
        self.lock_folder().join(FILE)
    }

    /// The lock as this node writes it now.
    fn own_lock(&self) -> Lock {
        let told = |key| self.told(key).unwrap_or("-").to_owned();
        Lock {
            node: told("REGENT_NODE"),
            incarnation: told("REGENT_INCARNATION"),
            epoch: self.context.run.epoch.0,
            boot: told("REGENT_BOOT"),
        }
    }

    /// Whether the lock says that it was started here and not stopped since.
    pub(super) fn is_locked_here(&self) -> bool {
        let own = self.own_lock();
        let found = std::fs::read_to_string(self.lock_path()).ok().as_deref().and_then(Lock::parse);
        found.is_some_and(|lock| lock.node == own.node && lock.boot == own.boot)
    }

    /// Whether the lock says that it was up here, now or before it was ended: what is left in this machine's memory is
    /// newer than what is on the disk.
    pub(super) fn was_locked_here(&self) -> bool {
        self.is_locked_here() && !self.found_other_owner.get()
    }

    /// Takes the lock, before anything of the instance is started. Says what became of one that was there.
    ///
    /// # Errors
    /// The lock is of a later ownership than this one, or it cannot be written durably.
    pub(super) fn take_lock(&self) -> Result<(), Failure> {
        let path = self.lock_path();
        let own = self.own_lock();
        match read(&path).map_err(|e| Failure::because(format!("cannot read {}: {e}", path.display())))? {
            None => self.found_other_owner.set(true),
            Some(text) => match Lock::parse(&text) {
                Some(lock) => self.judge(&lock, &own)?,
                None => {
                    self.context.job.warn(format!("{} is none of ours and is replaced", path.display()), text)
                }
            },
        }
        self.write_lock(&own).map_err(|e| {
            Failure::because(format!(
                "cannot write the lock file {}, and does not start without: {e}",
                path.display()
            ))
        })
    }

    fn judge(&self, found: &Lock, own: &Lock) -> Result<(), Failure> {
        if found.epoch > own.epoch {
            return Err(Failure::because(format!(
                "the lock file says that {} started it under epoch {}, later than this ownership (epoch {})",
                found.node, found.epoch, own.epoch
            )));
        }
        let what = if found.node == own.node {
            format!("it was up here under epoch {} and was not stopped: it is recovered", found.epoch)
        } else {
            let proof = self.told("REGENT_PROOF").unwrap_or("the cluster's log");
            let reason = self.told("REGENT_REASON").map(|r| format!(", {r}")).unwrap_or_default();
            format!(
                "the lock file names {} (epoch {}), which is out: epoch {} came with proof ({proof}{reason})",
                found.node, found.epoch, own.epoch
            )
        };
        self.found_other_owner.set(found.node != own.node || found.boot != own.boot);
        self.context.job.record(Level::Notice, what, Duration::ZERO, String::new());
        Ok(())
    }

    fn write_lock(&self, lock: &Lock) -> io::Result<()> {
        let folder = self.lock_folder();
        // A database that is not there yet is made at its first start.
        if self.config.kind == InstanceKind::Gtm && !self.config.directory.is_dir() {
            std::fs::create_dir_all(&self.config.directory)?;
            self.give_to_user(&self.config.directory)?;
        }
        match std::fs::create_dir(&folder) {
            Ok(()) => {
                self.give_to_user(&folder)?;
                File::open(&self.config.directory)?.sync_all()?;
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        let (path, new) = (self.lock_path(), folder.join(format!("{FILE}.new")));
        remove_if_there(&new)?;
        let mut file = File::options().write(true).create_new(true).mode(0o644).open(&new)?;
        file.write_all(lock.text().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(&folder)?.sync_all()
    }

    /// Removes the lock: it was shown that nothing of the instance runs.
    pub(super) fn drop_lock(&self) {
        let path = self.lock_path();
        let removed = remove_if_there(&path).and_then(|was_there| match was_there {
            true => File::open(self.lock_folder())?.sync_all(),
            false => Ok(()),
        });
        if let Err(e) = removed {
            self.context
                .job
                .warn(format!("cannot remove {}: {e}; the next start will say so", path.display()), "");
        }
    }

    /// Removes what a vendor's own lock says of an earlier ownership: under this one, which came with a proof that
    /// whoever the file names is out. Never twice under one ownership.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub(super) fn drop_locks_of_the_vendor(&self) -> Result<(), Failure> {
        for name in VENDORS {
            let path = self.lock_folder().join(name);
            let Ok(text) = std::fs::read(&path) else { continue };
            let text = String::from_utf8_lossy(&text[..text.len().min(512)]).into_owned();
            std::fs::remove_file(&path)
                .map_err(|e| Failure::because(format!("cannot remove {}: {e}", path.display())))?;
            let proof = self.told("REGENT_PROOF").unwrap_or("the cluster's log");
            let epoch = self.context.run.epoch;
            let what = format!(
                "removed {}, which an earlier owner left: epoch {epoch} came with proof ({proof})",
                path.display()
            );
            self.context.job.record(Level::Notice, what, Duration::ZERO, text);
        }
        Ok(())
    }

    /// Makes a new folder or file the user's whose processes the instance's are.
    pub(super) fn give_to_user(&self, path: &Path) -> io::Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        std::os::unix::fs::lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() && meta.len() <= BYTES_MAX => {
            Ok(Some(String::from_utf8_lossy(&std::fs::read(path)?).into_owned()))
        }
        Ok(_) => Ok(Some(String::new())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_comes_back_as_written_and_anything_else_is_none() {
        let lock = Lock { node: "lx4".into(), incarnation: "3".into(), epoch: 12, boot: "5f0e-1".into() };
        assert_eq!(Lock::parse(&lock.text()), Some(lock));
        for other in ["", "lx4\n0x3f2a\n", "node=lx4\nepoch=soon\n", "epoch=7\n"] {
            assert_eq!(Lock::parse(other), None, "{other:?}");
        }
    }
}
