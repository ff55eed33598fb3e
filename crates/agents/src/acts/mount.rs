//! Mounting, with the kernel's own words when it refuses.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MoveMountFlags};

use super::options::{self, Parameter};
use crate::mountinfo;
use crate::{device, place};

pub(super) fn mount(device: &Path, point: &Path, fstype: &str, options: &str) -> Result<(), String> {
    let fail = |what: &dyn std::fmt::Display| {
        format!("cannot mount {} at {}: {what}", device.display(), point.display())
    };
    let number = device::number(device).map_err(|e| fail(&e))?;
    let place = place::resolve(point).map_err(|e| fail(&e))?;
    let mounts = mountinfo::own().map_err(|e| fail(&e))?;
    match mountinfo::at(&mounts, &place) {
        Some(found) if place::is_from(found, device, number) => return Ok(()),
        Some(found) => {
            let what = format!("{} ({}) is mounted there", found.source.display(), found.fstype);
            return Err(fail(&what));
        }
        None => {}
    }
    if let Some(elsewhere) = mounts.iter().find(|m| place::is_from(m, device, number)) {
        return Err(fail(&format!("it is mounted at {} already", elsewhere.point.display())));
    }
    attach(device, &place, fstype, options).map_err(|e| fail(&e))
}

fn attach(device: &Path, point: &Path, fstype: &str, options: &str) -> Result<(), String> {
    let options = options::parse(options);
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| match e {
        Errno::NODEV => format!("this kernel knows no file system {fstype:?}; is its module there?"),
        e => format!("file system {fstype:?}: {e}"),
    })?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", device)
        .map_err(|e| told(&context, "device", e))?;
    for parameter in &options.parameters {
        match parameter {
            Parameter::Flag(key) => rustix::mount::fsconfig_set_flag(context.as_fd(), key.as_str())
                .map_err(|e| told(&context, &format!("option {key}"), e))?,
            Parameter::Value(key, value) => {
                rustix::mount::fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str())
                    .map_err(|e| told(&context, &format!("option {key}={value}"), e))?;
            }
        }
    }
    rustix::mount::fsconfig_create(context.as_fd()).map_err(|e| told(&context, fstype, e))?;
    let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, options.attributes)
        .map_err(|e| told(&context, fstype, e))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), "", CWD, point, flags).map_err(|e| format!("attaching: {e}"))
}

/// The error with what the kernel wrote into the context's log, one message a read.
fn told(context: &OwnedFd, what: &str, error: Errno) -> String {
    let mut words = Vec::new();
    let mut line = [0; 1024];
    while let Ok(read @ 1..) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..read]);
        // A message begins with its class: e, w or i, and a blank.
        words.push(text.trim().chars().skip(2).collect::<String>());
        if words.len() >= 16 {
            break;
        }
    }
    let hint = match error {
        Errno::BUSY => " (somebody else claims the device)",
        Errno::INVAL => " (another type, a damaged superblock, or an unknown option; dmesg may say more)",
        _ => "",
    };
    if words.is_empty() {
        format!("{what}: {error}{hint}")
    } else {
        format!("{what}: {error}{hint}; the kernel says: {}", words.join("; "))
    }
}
