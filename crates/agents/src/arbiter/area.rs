//! The bytes of an area: opened past every cache, read, and written copy by copy.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use regent_arbiter::area::{self, AREA, Beginning, Header, SLOTS, SLOTS_AT, slot_at};
use regent_arbiter::record::BLOCK;
use regent_arbiter::slot::{COPIES, SLOT, block_of};
use regent_arbiter::{Record, Slot};
use regent_model::NodeId;
use regent_model::ids::{AreaId, ClusterName};
use rustix::fs::SeekFrom;

use crate::device::Aligned;

/// Where an area lies, and which one has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The block device or file.
    pub disk: PathBuf,
    /// The area.
    pub area: AreaId,
    /// The cluster that it decides for.
    pub cluster: ClusterName,
}

/// A disk or file that may hold an area, open.
pub(super) struct Disk {
    file: File,
    path: PathBuf,
}

/// For whom a disk is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    /// Who only looks.
    Look,
    /// Who reads, and may write.
    Write,
    /// The same, of a device that nobody else claims.
    Alone,
}

impl Disk {
    /// Opens it past the page cache, every write being on the disk itself before it is answered.
    ///
    /// # Errors
    /// Why not, in words; nothing was written.
    pub(super) fn open(path: &Path, how: Open) -> Result<Self, String> {
        let fail = |e: io::Error| match e.kind() {
            ErrorKind::NotFound => format!("there is no {}", path.display()),
            ErrorKind::InvalidInput => {
                format!("{} cannot be read past the cache of this machine (O_DIRECT)", path.display())
            }
            ErrorKind::ResourceBusy => format!("{} is in use", path.display()),
            _ => format!("cannot open {}: {e}", path.display()),
        };
        let kind = std::fs::metadata(path).map_err(fail)?.file_type();
        if !kind.is_block_device() && !kind.is_file() {
            return Err(format!("{} is neither a block device nor a file", path.display()));
        }
        let alone = if how == Open::Alone && kind.is_block_device() { libc::O_EXCL } else { 0 };
        let file = File::options()
            .read(true)
            .write(how != Open::Look)
            .custom_flags(libc::O_DIRECT | libc::O_DSYNC | libc::O_NONBLOCK | alone)
            .open(path)
            .map_err(fail)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> Result<u64, String> {
        // Of a block device, metadata says nothing.
        rustix::fs::seek(&self.file, SeekFrom::End(0))
            .map_err(|e| format!("cannot tell the size of {}: {e}", self.path.display()))
    }

    /// Reads `length` bytes at `at`, both whole blocks, from the disk itself.
    pub(super) fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, String> {
        let mut blocks = vec![Aligned([0; BLOCK]); length.div_ceil(BLOCK)];
        let mut done = 0;
        while done < blocks.len() {
            // The kernel takes no more than 1024 at once.
            let mut into: Vec<IoSliceMut<'_>> =
                blocks[done..].iter_mut().take(256).map(|block| IoSliceMut::new(&mut block.0)).collect();
            let read = rustix::io::preadv(&self.file, &mut into, at + (done * BLOCK) as u64)
                .map_err(|e| format!("cannot read {}: {e}", self.path.display()))?;
            if read < BLOCK {
                return Err(format!("{} ends in the middle of the area", self.path.display()));
            }
            done += read / BLOCK;
        }
        Ok(blocks.iter().flat_map(|block| block.0).collect())
    }

    /// Writes whole blocks at `at`. They are on the disk itself, past the disk's cache too, when this returns well.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), String> {
        let mut blocks = vec![Aligned([0; BLOCK]); bytes.len() / BLOCK];
        for (block, bytes) in blocks.iter_mut().zip(bytes.chunks_exact(BLOCK)) {
            block.0.copy_from_slice(bytes);
        }
        let from: Vec<IoSlice<'_>> = blocks.iter().map(|block| IoSlice::new(&block.0)).collect();
        let fail = |why: &dyn std::fmt::Display| format!("cannot write to {}: {why}", self.path.display());
        match rustix::io::pwritev(&self.file, &from, at) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(less) => Err(fail(&format_args!("it took {less} of {} bytes", bytes.len()))),
            Err(e) => Err(fail(&e)),
        }
    }

    /// What its first block shows.
    pub(super) fn beginning(&self) -> Result<Beginning, String> {
        self.read(0, BLOCK).map(|block| Beginning::at(&block))
    }

    /// Makes an area of it. Its header is written last: a crash leaves none.
    pub(super) fn format(&self, header: &Header) -> Result<(), String> {
        if self.size()? < AREA {
            return Err(too_small(&self.path));
        }
        self.write(0, &[0; SLOTS_AT as usize])?;
        area::made(header).try_for_each(|(at, bytes)| self.write(at, &bytes))
    }
}

pub(super) fn too_small(path: &Path) -> String {
    format!("{} is too small: an area of the arbiter has {} KiB", path.display(), AREA.div_ceil(1024))
}

impl Place {
    /// Opens the disk, and makes sure that the area is there.
    ///
    /// # Errors
    /// What is there instead, in words.
    pub(super) fn open(&self, how: Open) -> Result<Disk, String> {
        let disk = Disk::open(&self.disk, how)?;
        if disk.size()? < AREA {
            return Err(too_small(&self.disk));
        }
        let path = self.disk.display();
        match disk.beginning()? {
            Beginning::Area(found) if found.area == self.area && found.cluster == self.cluster => Ok(disk),
            Beginning::Area(found) if found.cluster != self.cluster => {
                Err(format!("{path} holds the area of another cluster, {}", found.cluster))
            }
            Beginning::Area(found) => Err(format!(
                "{path} holds another area, {}: it was made anew, or it is another disk",
                found.area
            )),
            Beginning::Blank => Err(format!("{path} holds no area: its beginning is blank")),
            Beginning::Foreign => {
                Err(format!("{path} holds no area: its beginning is damaged, or somebody else's"))
            }
        }
    }

    /// Reads both slots, from the disk itself.
    ///
    /// # Errors
    /// Why not. Nothing was written.
    pub fn read(&self, own: NodeId, other: NodeId) -> Result<(Slot, Slot), String> {
        let disk = self.open(Open::Write)?;
        Ok((self.slot(&disk, own)?, self.slot(&disk, other)?))
    }

    /// Reads the slots of `nodes`, for who only looks.
    ///
    /// # Errors
    /// Why not.
    pub fn slots(&self, nodes: &[NodeId]) -> Result<Vec<Slot>, String> {
        let disk = self.open(Open::Look)?;
        nodes.iter().map(|node| self.slot(&disk, *node)).collect()
    }

    fn slot(&self, disk: &Disk, node: NodeId) -> Result<Slot, String> {
        let at = slot_at(node).ok_or_else(|| no_slot(node))?;
        Ok(Slot::at(&disk.read(at, SLOT)?, self.area, node))
    }

    /// Writes the record at the place of its life: one copy, and when that is known to be on the disk, the other. Once
    /// `given_up` is set, no further copy is begun.
    ///
    /// # Errors
    /// Why it is not known whether the record is on the disk, or will be.
    pub fn write(&self, record: &Record, given_up: &AtomicBool) -> Result<(), String> {
        let slot = slot_at(record.node).ok_or_else(|| no_slot(record.node))?;
        let disk = self.open(Open::Write)?;
        let block = record.block();
        for copy in 0..COPIES {
            if given_up.load(Ordering::SeqCst) {
                return Err("nobody waits for it any more".to_owned());
            }
            disk.write(slot + ((block_of(record.life) + copy) * BLOCK) as u64, &block)?;
        }
        Ok(())
    }
}

fn no_slot(node: NodeId) -> String {
    format!(
        "the area has {SLOTS} slots and none for number {node}: it is to be made anew, with regent arbiter init"
    )
}
