//! Mount points: their one true path, and whether what is mounted comes from a device.

use std::io;
use std::path::{Path, PathBuf};

use crate::mountinfo::{DeviceNumber, Mount};

/// The path as the kernel's list of mounts shows it. The last part is not looked at if it can be avoided: a
/// file system that hangs is mounted there.
pub(crate) fn resolve(point: &Path) -> Result<PathBuf, String> {
    let fail = |e: io::Error| format!("mount point {}: {e}", point.display());
    let (Some(parent), Some(name)) = (point.parent(), point.file_name()) else {
        return Err(format!("{} cannot be a mount point; give an absolute path", point.display()));
    };
    let parent = match parent.canonicalize() {
        Ok(parent) => parent,
        // Not made yet: nothing can be mounted there, and nothing in it is a link.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(point.to_owned()),
        Err(e) => return Err(fail(e)),
    };
    let path = parent.join(name);
    if std::fs::read_link(&path).is_ok() { path.canonicalize().map_err(fail) } else { Ok(path) }
}

/// Whether the mount is of this device. Some file systems show a number of their own: those are told by name.
pub(crate) fn is_from(mount: &Mount, device: &Path, number: DeviceNumber) -> bool {
    mount.device == number || (mount.device.0 == 0 && is_same_path(&mount.source, device))
}

/// Whether both paths lead to the same node in `/dev`.
pub(crate) fn is_same_path(source: &Path, device: &Path) -> bool {
    let target = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    source.is_absolute() && target(source) == target(device)
}
