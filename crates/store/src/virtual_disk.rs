//! A disk in memory that does at a crash what real ones may do: it loses, tears and reorders whatever was not
//! synced. Deterministic: all chance comes from the numbers that the caller gives.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::disk::Disk;
use crate::sector::SECTOR;

/// What a disk did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// Calls of [`Disk::write`].
    pub writes: u64,
    /// Calls of [`Disk::sync`].
    pub syncs: u64,
    /// Calls of [`Disk::sync_folder`].
    pub folder_syncs: u64,
}

/// An operation that changes the disk, and can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// See [`Disk::create`].
    Create,
    /// See [`Disk::write`]: the file is as if half of the bytes had been written.
    Write,
    /// See [`Disk::sync`]: what was to be made durable can still be read, is lost at a crash, and no later sync
    /// makes it durable.
    Sync,
    /// See [`Disk::rename`].
    Rename,
    /// See [`Disk::remove`].
    Remove,
    /// See [`Disk::sync_folder`].
    SyncFolder,
}

#[derive(Debug, Clone)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct File {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What the medium holds.
    durable: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Debug, Clone)]
enum Change {
    Link { name: String, file: u64 },
    Rename { from: String, to: String, file: u64 },
    Unlink { name: String },
}

/// A disk in memory. See [`VirtualDisk::crash`] for what a crash does to it.
#[derive(Debug, Clone, Default)]
pub struct VirtualDisk {
    files: BTreeMap<u64, File>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    changes: Vec<Change>,
    capacity: Option<u64>,
    fault_in: Option<u64>,
    activity: Activity,
}

fn put(bytes: &mut Vec<u8>, offset: usize, from: &[u8]) {
    if from.is_empty() {
        return;
    }
    let end = offset + from.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(from);
}

fn apply(names: &mut BTreeMap<String, u64>, change: &Change) {
    match change {
        Change::Link { name, file } => {
            names.insert(name.clone(), *file);
        }
        Change::Rename { from, to, file } => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
        Change::Unlink { name } => {
            names.remove(name);
        }
    }
}

impl Write {
    /// What of this write survives a crash: nothing, all, any prefix, or any of its sectors.
    fn tear(&self, durable: &mut Vec<u8>, rng: &mut impl FnMut() -> u64) {
        let length = self.bytes.len();
        match rng() % 4 {
            0 => {}
            1 => put(durable, self.offset, &self.bytes),
            2 => {
                let kept = usize::try_from(rng() % (length as u64 + 1)).unwrap_or(length);
                put(durable, self.offset, &self.bytes[..kept]);
            }
            _ => {
                let mut start = 0;
                while start < length {
                    let sector_end = ((self.offset + start) / SECTOR + 1) * SECTOR - self.offset;
                    let end = sector_end.min(length);
                    if rng().is_multiple_of(2) {
                        put(durable, self.offset + start, &self.bytes[start..end]);
                    }
                    start = end;
                }
            }
        }
    }
}

impl VirtualDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The power fails. Of each write that was not synced nothing, all, any prefix of its bytes or any of its
    /// sectors survives, independently of the others; of the names made, changed or removed since the folder
    /// was synced, any may be as before. Also ends [`VirtualDisk::fail_in`].
    pub fn crash(&mut self, rng: &mut impl FnMut() -> u64) {
        for file in self.files.values_mut() {
            for write in std::mem::take(&mut file.pending) {
                write.tear(&mut file.durable, rng);
            }
            file.seen.clone_from(&file.durable);
        }
        let keep_all = rng().is_multiple_of(2);
        for change in std::mem::take(&mut self.changes) {
            if keep_all || rng().is_multiple_of(2) {
                apply(&mut self.durable_names, &change);
            }
        }
        self.names.clone_from(&self.durable_names);
        self.forget_unreachable();
        self.fault_in = None;
    }

    /// Makes the operation fail that comes after so many others that change the disk; the process that uses it is
    /// expected to end then. [`VirtualDisk::restart`] or a crash ends the fault.
    pub fn fail_in(&mut self, operations: u64) {
        self.fault_in = Some(operations);
    }

    /// Only the process ends; what it wrote can still be read, and is as durable as before.
    pub fn restart(&mut self) {
        self.fault_in = None;
    }

    /// The most bytes that all files together may hold.
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// Flips one bit of a file, on the medium and for readers. Does nothing when there is no such bit.
    pub fn flip(&mut self, name: &str, bit: usize) {
        let Some(file) = self.names.get(name).and_then(|file| self.files.get_mut(file)) else {
            return;
        };
        for bytes in [&mut file.seen, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Replaces what a file holds, on the medium and for readers, and makes it if it is not there.
    pub fn replace(&mut self, name: &str, bytes: &[u8]) {
        let file = File { seen: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() };
        let number = self.new_file(file);
        self.names.insert(name.to_owned(), number);
        self.durable_names.insert(name.to_owned(), number);
        self.forget_unreachable();
    }

    /// What the disk did so far.
    #[must_use]
    pub const fn activity(&self) -> Activity {
        self.activity
    }

    fn new_file(&mut self, file: File) -> u64 {
        self.next_file += 1;
        self.files.insert(self.next_file, file);
        self.next_file
    }

    /// Drops files that no name leads to, now or after a crash.
    fn forget_unreachable(&mut self) {
        let changed = self.changes.iter().filter_map(|change| match change {
            Change::Link { file, .. } | Change::Rename { file, .. } => Some(file),
            Change::Unlink { .. } => None,
        });
        let reachable: BTreeSet<_> =
            self.names.values().chain(self.durable_names.values()).chain(changed).copied().collect();
        self.files.retain(|file, _| reachable.contains(file));
    }

    fn named(&mut self, name: &str) -> io::Result<&mut File> {
        let file = self.names.get(name).and_then(|file| self.files.get_mut(file));
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn fails(&mut self) -> bool {
        match &mut self.fault_in {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Fails when it is the operation's turn to fail, before it has changed anything.
    fn turn(&mut self, operation: Operation) -> io::Result<()> {
        if self.fails() {
            return Err(io::Error::other(format!("the virtual disk fails at {operation:?}")));
        }
        Ok(())
    }
}

impl Disk for VirtualDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.names.keys().cloned().collect())
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.named(name)?.seen.clone())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.turn(Operation::Create)?;
        let file = self.new_file(File::default());
        let change = Change::Link { name: name.to_owned(), file };
        apply(&mut self.names, &change);
        self.changes.push(change);
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.activity.writes += 1;
        let failed = self.turn(Operation::Write);
        let bytes = if failed.is_err() { &bytes[..bytes.len() / 2] } else { bytes };
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let held: usize =
            self.names.values().filter_map(|file| self.files.get(file)).map(|f| f.seen.len()).sum();
        let capacity = self.capacity;
        let file = self.named(name)?;
        let grows_by = (offset + bytes.len()).saturating_sub(file.seen.len());
        if grows_by > 0 && capacity.is_some_and(|capacity| (held + grows_by) as u64 > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        put(&mut file.seen, offset, bytes);
        file.pending.push(Write { offset, bytes: bytes.to_vec() });
        failed
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.activity.syncs += 1;
        let failed = self.turn(Operation::Sync);
        let file = self.named(name)?;
        for write in std::mem::take(&mut file.pending) {
            if failed.is_ok() {
                put(&mut file.durable, write.offset, &write.bytes);
            }
        }
        failed
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.turn(Operation::Rename)?;
        let file = *self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let change = Change::Rename { from: from.to_owned(), to: to.to_owned(), file };
        apply(&mut self.names, &change);
        self.changes.push(change);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.turn(Operation::Remove)?;
        if !self.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = Change::Unlink { name: name.to_owned() };
        apply(&mut self.names, &change);
        self.changes.push(change);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.activity.folder_syncs += 1;
        self.turn(Operation::SyncFolder)?;
        self.changes.clear();
        self.durable_names.clone_from(&self.names);
        self.forget_unreachable();
        Ok(())
    }

    fn place(&self) -> String {
        "the virtual disk".into()
    }
}
