//! A disk to mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Folder, sh};

/// An ext4 file system on a loop device.
pub(crate) struct Disk {
    pub(crate) device: PathBuf,
    pub(crate) folder: Folder,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let image = folder.0.join("image");
        sh(&format!("truncate -s 16M {0} && mkfs.ext4 -q -b 4096 {0}", image.display()));
        let device = sh(&format!("losetup -f --show {}", image.display()));
        Self { device: PathBuf::from(device.trim()), folder }
    }

    pub(crate) fn mount_point(&self) -> PathBuf {
        self.folder.0.join("mounted/here")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed, or that is about something else, leaves it mounted in its own namespace.
        for point in [self.mount_point().as_path(), Path::new("/mnt")] {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}
