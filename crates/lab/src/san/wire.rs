//! How a node's kernel reaches its port: a FUSE file system with one file per disk.

use std::ffi::{CString, OsStr};
use std::fs::{self, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Session,
    SessionACL, WriteFlags,
};
use rustix::mount::{MountFlags, mount};

use super::port::{Port, Request};
use crate::error::{Doing, Result};

const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
const LARGEST_WRITE: u32 = 1 << 20;
const THREADS: usize = 4;

/// Mounts the port's files at `folder` and serves them with threads of their own until the mount is gone.
/// Disk number `i` is the file `disk<i>`.
///
/// # Errors
/// When `/dev/fuse` is missing or the mount is refused.
pub(crate) fn serve_port(port: Arc<Port>, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).doing(|| format!("make {}", folder.display()))?;
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let device = device.doing(|| "open /dev/fuse (is the kernel's fuse module there?)".into())?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    let options = CString::new(options).unwrap_or_default();
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("regent-san", folder, "fuse", flags, options.as_c_str())
        .doing(|| format!("mount the SAN port at {}", folder.display()))?;
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(THREADS);
    let session = Session::from_fd(Files(port), OwnedFd::from(device), SessionACL::All, config)
        .doing(|| format!("serve the SAN port at {}", folder.display()))?;
    std::thread::Builder::new()
        .name("san".into())
        .spawn(move || {
            let _ends_with_the_mount = session.run();
        })
        .doing(|| "start a thread for the SAN".into())?;
    Ok(())
}

struct Files(Arc<Port>);

/// The inode number of the first disk.
const FIRST: u64 = 2;

impl Files {
    fn attributes(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, size, perm) = match ino {
            INodeNo::ROOT => (FileType::Directory, 0, 0o700),
            _ => (FileType::RegularFile, self.0.disks.get(disk_of(ino)?)?.bytes, 0o600),
        };
        Some(FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

fn disk_of(ino: INodeNo) -> Option<usize> {
    usize::try_from(u64::from(ino).checked_sub(FIRST)?).ok()
}

impl Filesystem for Files {
    fn init(&mut self, _: &fuser::Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let _kernel_decides = config.set_max_write(LARGEST_WRITE);
        let _kernel_decides = config.set_max_background(256);
        Ok(())
    }

    fn lookup(&self, _: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let number =
            name.as_bytes().strip_prefix(b"disk").and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
        let found = number.filter(|_| parent == INodeNo::ROOT);
        match found.and_then(|n: u64| self.attributes(INodeNo(n.checked_add(FIRST)?))) {
            Some(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &fuser::Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Some(attributes) => reply.attr(&FOREVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &fuser::Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);
    }

    fn read(
        &self,
        _: &fuser::Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match disk_of(ino) {
            Some(disk) => self.0.submit(Request::Read { disk, offset, length, reply }),
            None => reply.error(Errno::EISDIR),
        }
    }

    fn write(
        &self,
        _: &fuser::Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match disk_of(ino) {
            Some(disk) => self.0.submit(Request::Write { disk, offset, data: data.to_vec(), reply }),
            None => reply.error(Errno::EISDIR),
        }
    }

    fn flush(&self, _: &fuser::Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &fuser::Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match disk_of(ino) {
            Some(disk) => self.0.submit(Request::Flush { disk, reply }),
            None => reply.ok(),
        }
    }
}
