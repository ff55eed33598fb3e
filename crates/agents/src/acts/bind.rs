//! Putting a folder of a mounted file system elsewhere too, and taking it away there.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::mount::{MountAttrFlags, MountFlags, UnmountFlags};

use super::options;
use crate::holders;
use crate::mountinfo::{self, DeviceNumber, Mount};
use crate::place;

/// What the kernel's list of mounts shows for a folder that was put elsewhere.
struct Source {
    device: DeviceNumber,
    root: PathBuf,
}

/// Where the folder lies, by the list of mounts alone: a file system that hangs is not touched.
fn source(mounts: &[Mount], folder: &Path) -> Option<Source> {
    let holds = |m: &&Mount| folder.starts_with(&m.point);
    let carrier = mounts.iter().filter(holds).max_by_key(|m| m.point.components().count())?;
    // Of several mounts at one point the last made is seen.
    let carrier = mountinfo::at(mounts, &carrier.point)?;
    let rest = folder.strip_prefix(&carrier.point).ok()?;
    let root = if rest.as_os_str().is_empty() { carrier.root.clone() } else { carrier.root.join(rest) };
    Some(Source { device: carrier.device, root })
}

/// The topmost mount at `point`, if it shows `folder`. Where the file system of the folder is no longer mounted at
/// its place, the folder's own path inside it is what it is known by.
pub(crate) fn find(folder: &Path, point: &Path) -> Result<Option<Mount>, String> {
    let place = place::resolve(point)?;
    let mounts = mountinfo::own()?;
    let Some(found) = mountinfo::at(&mounts, &place) else { return Ok(None) };
    let by_place =
        source(&mounts, folder).is_some_and(|s| (s.device, &s.root) == (found.device, &found.root));
    let inner = found.root.strip_prefix("/").unwrap_or(&found.root);
    let by_path = !inner.as_os_str().is_empty() && folder.ends_with(inner);
    Ok((by_place || by_path).then(|| found.clone()))
}

pub(super) fn bind(folder: &Path, point: &Path, wanted: &str) -> Result<(), String> {
    let fail = |what: &dyn std::fmt::Display| {
        format!("cannot put {} at {}: {what}", folder.display(), point.display())
    };
    if find(folder, point).map_err(|e| fail(&e))?.is_some() {
        return Ok(());
    }
    let place = place::resolve(point).map_err(|e| fail(&e))?;
    let mounts = mountinfo::own().map_err(|e| fail(&e))?;
    if let Some(found) = mountinfo::at(&mounts, &place) {
        return Err(fail(&format!("{} ({}) is mounted there", found.source.display(), found.fstype)));
    }
    let options = options::parse(wanted);
    if let Some(parameter) = options.parameters.iter().find(|p| !is_read_only(p)) {
        return Err(fail(&format!(
            "the option {parameter:?} is one of the file system's, which is mounted already; give it there"
        )));
    }
    rustix::mount::mount_bind(folder, &place).map_err(|e| fail(&e))?;
    if options.attributes.is_empty() {
        return Ok(());
    }
    let remount = || {
        // The kernel sets exactly what it is given: what the file system is mounted with is given again.
        let made = find(folder, point)?.ok_or("it is gone again")?;
        let all = options.attributes | options::parse(&made.options).attributes;
        rustix::mount::mount_remount(&place, MountFlags::BIND | flags(all), c"").map_err(|e| e.to_string())
    };
    remount().map_err(|why| {
        let _left_to_the_release = rustix::mount::unmount(&place, UnmountFlags::NOFOLLOW);
        fail(&format!("options {wanted}: {why}"))
    })
}

fn is_read_only(parameter: &options::Parameter) -> bool {
    *parameter == options::Parameter::Flag("ro".into())
}

fn flags(attributes: MountAttrFlags) -> MountFlags {
    [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (MountAttrFlags::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
        (MountAttrFlags::MOUNT_ATTR_STRICTATIME, MountFlags::STRICTATIME),
        (MountAttrFlags::MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME),
        (MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
    ]
    .into_iter()
    .filter(|(attribute, _)| attributes.contains(*attribute))
    .fold(MountFlags::empty(), |all, (_, flag)| all | flag)
}

/// See [`super::release`]. Who keeps the mount busy is killed only when it is this mount that he is in: whoever works
/// in the folder itself is the file system's matter.
pub(crate) fn release(folder: &Path, point: &Path, deadline: Instant) -> Result<(), String> {
    super::unmount::until_gone(point, || find(folder, point), |mount| holders::below(&mount.point), deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u64, point: &str, root: &str, minor: u32) -> Mount {
        Mount {
            id,
            parent: 0,
            device: (8, minor),
            root: root.into(),
            point: point.into(),
            options: String::new(),
            fstype: "ext4".into(),
            source: "/dev/x".into(),
            super_options: String::new(),
        }
    }

    #[test]
    fn a_folder_is_known_by_the_innermost_mount_that_holds_it() {
        let mounts =
            [mount(1, "/", "/", 1), mount(2, "/shared", "/", 2), mount(3, "/shared/cache", "/sub", 3)];
        let of = |folder: &str| source(&mounts, Path::new(folder)).map(|s| (s.device.1, s.root)).unwrap();
        assert_eq!(of("/shared/etc/krb5"), (2, "/etc/krb5".into()));
        assert_eq!(of("/shared"), (2, "/".into()));
        assert_eq!(of("/shared/cache/x"), (3, "/sub/x".into()));
        assert_eq!(of("/etc"), (1, "/etc".into()));
    }
}
