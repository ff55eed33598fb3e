//! Block devices: whose number, who claims them, and one block read past every cache.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::mountinfo::DeviceNumber;

/// Direct IO needs memory, offset and length aligned to the device's blocks; this satisfies all in use.
pub(crate) const BLOCK: usize = 4096;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A block in memory that is aligned so.
#[repr(align(4096))]
#[derive(Clone)]
pub(crate) struct Aligned(pub(crate) [u8; BLOCK]);

/// The device number behind `path`.
pub(crate) fn number(path: &Path) -> Result<DeviceNumber, String> {
    let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "there is no device {}; check the cabling, or the name in the configuration",
                path.display()
            )
        }
        _ => format!("cannot look at the device {}: {e}", path.display()),
    })?;
    if !metadata.file_type().is_block_device() {
        return Err(format!("{} is not a block device", path.display()));
    }
    let raw = metadata.rdev();
    Ok((rustix::fs::major(raw), rustix::fs::minor(raw)))
}

/// Whether nobody claims the device, shown by claiming it for a moment. A mount in any namespace claims it.
///
/// # Errors
/// The kernel's answer; `EBUSY` when it is claimed.
pub(crate) fn try_claim(path: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty()).map(drop)
}

/// Waits until the device is shown to be free.
///
/// # Errors
/// It is still claimed at `until`, or that cannot be found out.
pub(crate) fn wait_free(path: &Path, number: Option<DeviceNumber>, until: Instant) -> Result<(), String> {
    let kernels_own = number.filter(|_| !path.exists()).and_then(kernels_path);
    let path = kernels_own.as_deref().unwrap_or(path);
    loop {
        match try_claim(path) {
            Ok(()) => return Ok(()),
            // The node is there, the disk behind it is not: nothing can be written to it from here any more.
            Err(Errno::NXIO | Errno::NODEV | Errno::NOMEDIUM) => return Ok(()),
            Err(Errno::NOENT) if number.is_some_and(is_gone) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < until => std::thread::sleep(LOOK_AGAIN),
            Err(Errno::BUSY) => return Err(format!("{} is still claimed by the kernel", path.display())),
            Err(e) => return Err(format!("cannot show that {} is free: {e}", path.display())),
        }
    }
}

/// Whether the kernel no longer knows the device at all.
pub(crate) fn is_gone((major, minor): DeviceNumber) -> bool {
    Path::new("/sys/dev/block").is_dir() && !Path::new(&format!("/sys/dev/block/{major}:{minor}")).exists()
}

/// The node that carries the kernel's own name of a device: a link to it may have gone away before the
/// device.
fn kernels_path((major, minor): DeviceNumber) -> Option<PathBuf> {
    let event = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).ok()?;
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    let path = Path::new("/dev").join(name);
    (number(&path) == Ok((major, minor))).then_some(path)
}

/// Reads the device's first block from the device itself, past the page cache.
pub(crate) fn read_first_block(path: &Path) -> Result<Box<[u8; BLOCK]>, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fail = |e: Errno| format!("cannot read {}: {e}", path.display());
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(fail)?;
    let mut block = Box::new(Aligned([0; BLOCK]));
    let read = rustix::io::pread(&file, &mut block.0, 0).map_err(fail)?;
    if read < BLOCK {
        return Err(format!("cannot read {}: it gave only {read} of {BLOCK} bytes", path.display()));
    }
    Ok(Box::new(block.0))
}
