//! Reads `[[group.filesystem]]` and `[[group.address]]`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::draft::{AddressDraft, FilesystemDraft};
use super::finding::{Finding, Findings};
use super::limits;
use super::reader::Reader;
use super::scalar::{self, Refused, refused};
use super::tree::{At, Table, Value};
use super::{AddressConfig, Check, FilesystemConfig, MonitorTimes};
use crate::ids::ResourceName;

const FILESYSTEM_MONITOR: MonitorTimes =
    MonitorTimes { interval: Duration::from_secs(5), timeout: Duration::from_secs(5), failures: 2 };
const FILESYSTEM_ACQUIRE: Duration = Duration::from_secs(60);
/// The same when the file system may be checked first: a check that is cut off helps nobody.
const FILESYSTEM_ACQUIRE_CHECKED: Duration = Duration::from_secs(600);
const FILESYSTEM_RELEASE: Duration = Duration::from_secs(30);

const ADDRESS_MONITOR: MonitorTimes =
    MonitorTimes { interval: Duration::from_secs(5), timeout: Duration::from_secs(3), failures: 2 };
const ADDRESS_ACQUIRE: Duration = Duration::from_secs(10);
const ADDRESS_RELEASE: Duration = Duration::from_secs(10);

/// Directories that a machine needs for itself.
const SYSTEM: [&str; 15] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
    "/var", "/var/lib", "/var/run",
];

/// Types that do not live on one shared block device.
const NOT_ON_A_DISK: [&str; 12] =
    ["nfs", "nfs4", "cifs", "smb3", "tmpfs", "proc", "sysfs", "overlay", "9p", "fuse", "bind", "ceph"];

pub(super) fn filesystem(table: Table, findings: &mut Findings) -> FilesystemDraft {
    let mut reader = Reader::new("[[group.filesystem]]", table, findings);
    reader.require("device", "\"/dev/sdc4\"");
    let device = reader.text("device", "\"/dev/sdc4\"");
    let device = reader.checked("device", device, device_path);
    let mount = reader.need_path("mount", "mount point", "\"/storage2\"");
    let mount = mount.filter(|m| mount_point_allowed(m, reader.findings));
    let fstype = reader.need_text("type", "\"ext4\"");
    let fstype = reader.checked("type", fstype, filesystem_type);
    let options = mount_options(&mut reader);
    let check =
        reader.choice("check", &[("never", Check::Never), ("auto", Check::Auto), ("always", Check::Always)]);
    let check = check.map_or(Check::Never, |c| c.value);
    let force_unmount = reader.flag("force_unmount").is_none_or(|f| f.value);
    let monitor = limits::monitor(&mut reader, "filesystem.monitor", FILESYSTEM_MONITOR, false).times;
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
            device: device.as_ref()?.value.clone(),
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
    FilesystemDraft { name, device, mount, config }
}

fn device_path(text: &str) -> Result<std::path::PathBuf, Refused> {
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

fn mount_point_allowed(mount: &At<std::path::PathBuf>, findings: &mut Findings) -> bool {
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
    let Some(found) = reader.take("options") else { return String::new() };
    let mut parts = Vec::new();
    let items = match found.value {
        Value::List(items) => items,
        other => vec![At::new(other, found.span)],
    };
    for item in items {
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

pub(super) fn address(table: Table, findings: &mut Findings) -> AddressDraft {
    let mut reader = Reader::new("[[group.address]]", table, findings);
    let text = reader.need_text("address", "\"192.9.202.197/16\"");
    let address = reader.checked("address", text, scalar::address_and_prefix);
    let has_interface = reader.has("interface");
    let interface = reader.text("interface", "\"eth0\"");
    let interface = reader.checked("interface", interface, interface_name);
    let network = reader.name("network", "\"clients\"");
    let monitor = limits::monitor(&mut reader, "address.monitor", ADDRESS_MONITOR, false).times;
    let acquire_timeout = reader.duration_or("acquire_timeout", ADDRESS_ACQUIRE, "\"10s\"");
    let release_timeout = reader.duration_or("release_timeout", ADDRESS_RELEASE, "\"10s\"");
    let limits = limits::limits(&mut reader);
    let from = address.as_ref().map(|a| At::new(a.value.0.to_string(), a.span.clone()));
    let name = limits::name_or(&mut reader, from);
    reader.finish();
    let config = (|| {
        let (address, prefix): (IpAddr, u8) = address.as_ref()?.value;
        Some(AddressConfig {
            name: ResourceName::new(name.as_ref()?.value.clone()).ok()?,
            address,
            prefix,
            interface: interface.as_ref().map(|i| i.value.clone()),
            network: network.as_ref().map(|n| n.value.clone()),
            monitor,
            acquire_timeout,
            release_timeout,
            limits,
        })
    })();
    AddressDraft { name, address, has_interface, interface, network, config }
}

pub(super) fn interface_name(text: &str) -> Result<String, Refused> {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || "/:".contains(c);
    if text.len() <= 15 && text != "." && text != ".." && !text.contains(wrong) {
        return Ok(text.to_string());
    }
    refused(
        format!("`{text}` is no name of a network interface"),
        "write it as `ip link` prints it, at most 15 bytes, for example \"eth0\"",
    )
}
