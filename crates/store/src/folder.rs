//! A folder of the machine's own as a [`Disk`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::StoreError;

/// The file whose lock keeps a second process out.
const LOCK: &str = "lock";
/// No state file is larger; what is, is not read into memory.
const FILE_MAX: u64 = 1 << 30;

/// A folder. Only one process has it open at a time; its files are for their owner alone.
#[derive(Debug)]
pub struct FsDisk {
    path: PathBuf,
    folder: File,
    files: BTreeMap<String, File>,
    _lock: File,
}

impl FsDisk {
    /// Opens the folder `path`, and makes it if it is not there.
    ///
    /// # Errors
    /// When another process has it open, or it cannot be made or opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let place = path.display().to_string();
        let failed = |source| StoreError::Io { doing: "opening", file: place.clone(), source, last: true };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let lock = Self::options().create(true).truncate(false).open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { place }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let folder = File::open(&path).map_err(failed)?;
        // The folder itself may be new: its own name must be durable too.
        if let Some(parent) = path.canonicalize().map_err(failed)?.parent() {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        Ok(Self { path, folder, files: BTreeMap::new(), _lock: lock })
    }

    fn options() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        options
    }

    fn file(&mut self, name: &str) -> io::Result<&File> {
        match self.files.entry(name.to_owned()) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Self::options().open(self.path.join(name))?)),
        }
    }
}

impl Disk for FsDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let file = self.file(name)?;
        let length = file.metadata()?.len();
        let fits = usize::try_from(length).ok().filter(|_| length <= FILE_MAX);
        let length = fits.ok_or(io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let file = Self::options().create(true).truncate(true).open(self.path.join(name))?;
        self.files.insert(name.to_owned(), file);
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, offset)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        self.files.remove(to);
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files.remove(name);
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}
