//! Reads `[[group.filesystem]]`: on a shared disk, on a disk of each node, or a folder that is put elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::draft::{FilesystemDraft, Place};
use super::finding::{Finding, Findings};
use super::limits;
use super::reader::Reader;
use super::scalar::{self, Refused, refused};
use super::tree::{At, Table, Value};
use super::{Backing, Check, FilesystemConfig, MonitorTimes};
use crate::ids::{NodeName, ResourceName};

const FILESYSTEM_MONITOR: MonitorTimes = MonitorTimes::new(Duration::from_secs(5), Duration::from_secs(5), 2);
const FILESYSTEM_ACQUIRE: Duration = Duration::from_secs(60);
/// The same when the file system may be checked first: a check that is cut off helps nobody.
const FILESYSTEM_ACQUIRE_CHECKED: Duration = Duration::from_secs(600);
const FILESYSTEM_RELEASE: Duration = Duration::from_secs(30);

/// Directories that a machine needs for itself.
const SYSTEM: [&str; 15] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
    "/var", "/var/lib", "/var/run",
];

/// Types that do not live on one shared block device.
const NOT_ON_A_DISK: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "tmpfs", "proc", "sysfs", "overlay", "9p", "fuse", "ceph"];

/// What a type is written as that is a folder put elsewhere.
const BIND: &str = "bind";
const DEVICES: &str = "{ lx4 = \"/dev/sdb1\", lx5 = \"/dev/sdb1\" }";

pub(super) fn filesystem(table: Table, findings: &mut Findings) -> FilesystemDraft {
    let mut reader = Reader::new("[[group.filesystem]]", table, findings);
    let local = reader.flag("local");
    let fstype = reader.need_text("type", "\"ext4\"");
    let is_bind = fstype.as_ref().is_some_and(|t| t.value == BIND);
    let fstype = reader.checked("type", fstype, filesystem_type);
    let place = place(&mut reader, local, is_bind);
    let mount = reader.need_path("mount", "mount point", "\"/storage2\"");
    let mount = mount.filter(|m| mount_point_allowed(m, reader.findings));
    let options = mount_options(&mut reader);
    let check =
        reader.choice("check", &[("never", Check::Never), ("auto", Check::Auto), ("always", Check::Always)]);
    if let Some(check) = check.as_ref().filter(|c| is_bind && c.value != Check::Never) {
        let finding = Finding::error(&check.span, "a folder that is put elsewhere has nothing to check")
            .help("delete the line; say `check` in the [[group.filesystem]] that holds the folder");
        reader.findings.add(finding);
    }
    let check = check.map_or(Check::Never, |c| c.value);
    let force_unmount = reader.flag("force_unmount").is_none_or(|f| f.value);
    let monitor = limits::monitor(&mut reader, "filesystem.monitor", FILESYSTEM_MONITOR).times;
    let acquire = if check == Check::Never { FILESYSTEM_ACQUIRE } else { FILESYSTEM_ACQUIRE_CHECKED };
    let acquire_timeout = reader.duration_or("acquire_timeout", acquire, "\"60s\"");
    let release_timeout = reader.duration_or("release_timeout", FILESYSTEM_RELEASE, "\"30s\"");
    let limits = limits::limits(&mut reader);
    let from = mount.as_ref().map(|m| At::new(m.value.display().to_string(), m.span.clone()));
    let name = limits::name_or(&mut reader, from);
    reader.finish();
    let config = (|| {
        Some(FilesystemConfig {
            name: ResourceName::new(name.as_ref()?.value.clone()).ok()?,
            device: place.as_ref()?.first()?.clone(),
            backing: place.as_ref()?.backing()?,
            mount: mount.as_ref()?.value.clone(),
            fstype: fstype?.value,
            options,
            check,
            force_unmount,
            monitor,
            acquire_timeout,
            release_timeout,
            limits,
        })
    })();
    FilesystemDraft { name, place, mount, config }
}

/// `device`, or with `local = true` one for each node.
fn place(reader: &mut Reader<'_>, local: Option<At<bool>>, is_bind: bool) -> Option<Place> {
    if is_bind {
        reader.require("device", "\"/storage2/etc/openafs\"");
        let device = reader.path("device", "folder", "\"/storage2/etc/openafs\"");
        let others = [("local", local.map(|l| l.span)), ("devices", reader.take("devices").map(|d| d.span))];
        for (key, span) in others.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            let finding = Finding::error(&span, format!("`{key}` says nothing of a bind mount"))
                .help("delete it: it lives where the file system lives that holds the folder");
            reader.findings.add(finding);
        }
        return device.map(Place::Folder);
    }
    if !local.is_some_and(|l| l.value) {
        if let Some(found) = reader.take("devices") {
            let finding = Finding::error(&found.span, "`devices` are devices of each node's own")
                .help("write local = true above it, or one shared device = \"/dev/sdc4\"");
            reader.findings.add(finding);
            return None;
        }
        reader.require("device", "\"/dev/sdc4\"");
        let device = reader.text("device", "\"/dev/sdc4\"");
        return reader.checked("device", device, device_path).map(Place::Shared);
    }
    if let Some(found) = reader.take("device") {
        let finding = Finding::error(&found.span, "with `local = true` each node has a device of its own")
            .help(format!("write devices = {DEVICES}"));
        reader.findings.add(finding);
        let _said_enough = reader.take("devices");
        return None;
    }
    reader.require("devices", DEVICES);
    let table = reader.table("devices", DEVICES)?;
    let span = table.header.clone();
    let mut inner = Reader::new("filesystem.devices", table, reader.findings);
    let mut devices = Vec::new();
    let mut unreadable = false;
    for (node, value) in inner.rest() {
        let value = inner.quoted(value);
        let Value::Text(text) = value.value else {
            let finding = Finding::error(&value.span, "`devices` gives a device for each node, in quotes")
                .help(format!("write devices = {DEVICES}"));
            inner.findings.add(finding);
            unreadable = true;
            continue;
        };
        let device = inner.checked("devices", Some(At::new(text, value.span)), device_path);
        unreadable |= device.is_none();
        devices.extend(device.map(|device| (node, device)));
    }
    if unreadable {
        return None;
    }
    Some(Place::Local(At::new(devices, span)))
}

impl Place {
    fn first(&self) -> Option<&PathBuf> {
        match self {
            Self::Shared(path) | Self::Folder(path) => Some(&path.value),
            Self::Local(devices) => devices.value.first().map(|(_, device)| &device.value),
        }
    }

    fn backing(&self) -> Option<Backing> {
        Some(match self {
            Self::Shared(_) => Backing::Shared,
            Self::Folder(_) => Backing::Bind,
            Self::Local(devices) => {
                let own = |(node, device): &(At<String>, At<PathBuf>)| {
                    Some((NodeName::new(&node.value).ok()?, device.value.clone()))
                };
                Backing::Local(devices.value.iter().map(own).collect::<Option<BTreeMap<_, _>>>()?)
            }
        })
    }
}

fn device_path(text: &str) -> Result<PathBuf, Refused> {
    for (prefix, folder) in [
        ("UUID=", "by-uuid"),
        ("LABEL=", "by-label"),
        ("PARTUUID=", "by-partuuid"),
        ("PARTLABEL=", "by-partlabel"),
        ("ID=", "by-id"),
    ] {
        if let Some(rest) = text.strip_prefix(prefix) {
            let message = format!("`{text}` is no path: the device is opened, not only mounted");
            return refused(message, format!("write \"/dev/disk/{folder}/{}\"", rest.trim_matches('"')));
        }
    }
    scalar::absolute_path(text, "device", "\"/dev/sdc4\"")
}

fn mount_point_allowed(mount: &At<PathBuf>, findings: &mut Findings) -> bool {
    let path = &mount.value;
    let system = SYSTEM.iter().any(|s| path == Path::new(s))
        || ["/proc", "/sys", "/dev"].iter().any(|s| path.starts_with(s));
    if path != Path::new("/") && !system {
        return true;
    }
    let message = if system {
        format!("`mount`: {} belongs to the machine itself", path.display())
    } else {
        "`mount`: `/` is the machine's own root".to_string()
    };
    findings.add(
        Finding::error(&mount.span, message)
            .help("mount it at a folder of its own, for example mount = \"/storage2\""),
    );
    false
}

fn filesystem_type(text: &str) -> Result<String, Refused> {
    if NOT_ON_A_DISK.contains(&text) || text.starts_with("fuse.") {
        return refused(
            format!("`{text}` does not live on one shared block device"),
            "write the type of the file system on the device, for example \"ext4\" or \"xfs\"",
        );
    }
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && !text.starts_with('-') {
        return Ok(text.to_string());
    }
    refused(
        format!("`{text}` is no type of file system"),
        "write it as `mount -t` takes it, for example \"ext4\"",
    )
}

/// `options = "noatime,nodev"` or `["noatime", "nodev"]`.
fn mount_options(reader: &mut Reader<'_>) -> String {
    let mut parts = Vec::new();
    for item in reader.items("options") {
        let item = reader.quoted(item);
        match item.value {
            Value::Text(text) if !text.contains(|c: char| c.is_whitespace() || c == '\0') => parts.push(text),
            Value::Broken => {}
            _ => reader.findings.add(
                Finding::error(&item.span, "`options` must be mount options in quotes, without blanks")
                    .help("write for example options = \"noatime,nodev\""),
            ),
        }
    }
    parts.retain(|p| !p.is_empty());
    parts.join(",")
}
