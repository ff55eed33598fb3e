//! Volumes: logical volumes of LVM that are activated below a group's file systems, where the owner is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::draft::VolumeDraft;
use super::finding::Findings;
use super::limits;
use super::reader::Reader;
use super::scalar::{Refused, refused};
use super::tree::{At, Table};
use super::{GroupConfig, MonitorTimes, RestartLimits};
use crate::ids::ResourceName;

const VOLUME_MONITOR: MonitorTimes = MonitorTimes::new(Duration::from_secs(10), Duration::from_secs(10), 2);
const VOLUME_ACQUIRE: Duration = Duration::from_secs(60);
const VOLUME_RELEASE: Duration = Duration::from_secs(30);
/// LVM takes no longer names.
const NAME_BYTES_MAX: usize = 127;

/// A volume: one logical volume of a volume group, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeConfig {
    /// The resource's name; by default made of the volume's.
    pub name: ResourceName,
    /// The volume group.
    pub vg: String,
    /// The logical volume; without it all of the volume group.
    pub lv: Option<String>,
    /// How it is monitored: active here, and no disk of it missing.
    pub monitor: MonitorTimes,
    /// How long acquiring may take.
    pub acquire_timeout: Duration,
    /// How long releasing may take.
    pub release_timeout: Duration,
    /// Retries and restarts.
    pub limits: RestartLimits,
}

impl VolumeConfig {
    /// As LVM's commands take it: `datavg/data`, or `datavg`.
    #[must_use]
    pub fn id(&self) -> String {
        id(&self.vg, self.lv.as_deref())
    }
}

impl GroupConfig {
    /// Whether the device is one of the group's own volumes: it is there only where the group is.
    #[must_use]
    pub fn has_volume(&self, device: &Path) -> bool {
        self.volumes
            .iter()
            .any(|v| volume_of(&v.vg, device).is_some_and(|lv| v.lv.as_ref().is_none_or(|own| *own == lv)))
    }
}

/// As LVM's commands take it.
pub(super) fn id(vg: &str, lv: Option<&str>) -> String {
    lv.map_or_else(|| vg.to_owned(), |lv| format!("{vg}/{lv}"))
}

/// The paths at which `/dev` shows a logical volume. The device mapper writes a hyphen in a name twice.
pub(super) fn devices(vg: &str, lv: &str) -> [PathBuf; 2] {
    let mapped = format!("{}-{}", vg.replace('-', "--"), lv.replace('-', "--"));
    [Path::new("/dev").join(vg).join(lv), Path::new("/dev/mapper").join(mapped)]
}

/// The logical volume of `vg` that `device` is, if it is one.
pub(super) fn volume_of(vg: &str, device: &Path) -> Option<String> {
    if let Ok(lv) = device.strip_prefix(Path::new("/dev").join(vg)) {
        return lv.to_str().filter(|lv| !lv.is_empty() && !lv.contains('/')).map(str::to_owned);
    }
    let mapped = device.strip_prefix("/dev/mapper").ok()?.to_str()?;
    let lv = mapped.strip_prefix(&vg.replace('-', "--"))?.strip_prefix('-')?.replace("--", "-");
    devices(vg, &lv).iter().any(|path| path == device).then_some(lv)
}

pub(super) fn volume(table: Table, findings: &mut Findings) -> VolumeDraft {
    let mut reader = Reader::new("[[group.volume]]", table, findings);
    let vg = reader.need_text("vg", "\"datavg\"");
    let vg = reader.checked("vg", vg, lvm_name);
    let lv_written = reader.has("lv");
    let lv = reader.text("lv", "\"data\"");
    let lv = reader.checked("lv", lv, lvm_name);
    let monitor = limits::monitor(&mut reader, "volume.monitor", VOLUME_MONITOR).times;
    let acquire_timeout = reader.duration_or("acquire_timeout", VOLUME_ACQUIRE, "\"60s\"");
    let release_timeout = reader.duration_or("release_timeout", VOLUME_RELEASE, "\"30s\"");
    let limits = limits::limits(&mut reader);
    let from = vg
        .as_ref()
        .map(|vg| At::new(id(&vg.value, lv.as_ref().map(|lv| lv.value.as_str())), vg.span.clone()));
    let name = limits::name_or(&mut reader, from);
    reader.finish();
    let config = (|| {
        if lv_written && lv.is_none() {
            return None;
        }
        Some(VolumeConfig {
            name: ResourceName::new(name.as_ref()?.value.clone()).ok()?,
            vg: vg.as_ref()?.value.clone(),
            lv: lv.as_ref().map(|lv| lv.value.clone()),
            monitor,
            acquire_timeout,
            release_timeout,
            limits,
        })
    })();
    VolumeDraft { name, vg, lv, config }
}

/// What LVM takes for a name of a volume group or of a logical volume.
fn lvm_name(text: &str) -> Result<String, Refused> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
    let good = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(plain);
    if good && !text.starts_with('-') && text != "." && text != ".." {
        return Ok(text.to_owned());
    }
    refused(
        format!("`{}` is no name of LVM's", text.escape_debug()),
        "write the names that `lvs` prints: vg = \"datavg\", and lv = \"data\" for one volume of it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_known_for_a_volume_by_both_its_paths_and_with_hyphens() {
        for (vg, lv, path) in [
            ("datavg", "data", "/dev/datavg/data"),
            ("datavg", "data", "/dev/mapper/datavg-data"),
            ("data-vg", "a-b", "/dev/mapper/data--vg-a--b"),
            ("data-vg", "a-b", "/dev/data-vg/a-b"),
        ] {
            assert_eq!(volume_of(vg, Path::new(path)).as_deref(), Some(lv), "{path}");
        }
        for (vg, path) in [
            ("datavg", "/dev/sdc4"),
            ("datavg", "/dev/datavg"),
            ("datavg", "/dev/datavg2/data"),
            ("data", "/dev/mapper/data--vg-a"),
            ("datavg", "/dev/mapper/datavg"),
        ] {
            assert_eq!(volume_of(vg, Path::new(path)), None, "{path}");
        }
    }
}
