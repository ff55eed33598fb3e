//! Volumes of LVM: activated where the group is owned, marked with the owner's tag, shown to be inactive afterwards.
//!
//! An active volume is no holding of the guard. Active means that a device is there to be opened: a plain logical
//! volume that nobody has mounted or open writes nothing, and who mounts or opens it stands on the guard's list by
//! itself, as a mount or as a control group. So the end of a lease needs no command of LVM's, which could hang on a
//! dead disk. Kinds of volumes whose kernel half writes by itself (mirrors, RAID, snapshots, thin pools, caches) are
//! refused. What does write is a change of tags, into LVM's own area on the disks: it runs in a control group that is
//! on the guard's list, so that none begins without a lease and none outlives it.

mod acquire;
mod lvm;
mod release;

use std::path::{Path, PathBuf};
use std::time::Duration;

use regent_model::action::{Failure, Op, Outcome};
use regent_model::config::VolumeConfig;
use regent_model::holding::Holding;

use crate::cgroup::Folder;
use crate::command;
use crate::hands::{Context, failure};

use lvm::{Logical, State, VolumeGroup};

/// What the tags of owners begin with.
const TAG: &str = "regent_";
/// Where the kernel shows its block devices.
const BLOCK: &str = "/sys/class/block";
/// The programs that are needed.
pub(crate) const PROGRAMS: [&str; 4] = ["vgs", "lvs", "vgchange", "lvchange"];

/// A volume, and the request that is worked on.
struct Volume<'a> {
    context: &'a Context<'a>,
    config: &'a VolumeConfig,
}

/// Works on a volume.
pub(crate) fn work(context: &Context<'_>, config: &VolumeConfig) -> Result<Outcome, Failure> {
    let volume = Volume { context, config };
    match context.run.op {
        Op::Probe => volume.probe(),
        Op::Acquire => acquire::acquire(&volume),
        Op::Release => release::release(&volume),
        Op::Monitor => volume.monitor(),
        Op::Swap => Err(Failure::because("a volume has no interface to move from")),
    }
}

/// Whether the kernel has any of it active, asked without LVM.
pub(crate) fn is_mapped(config: &VolumeConfig) -> bool {
    !mapped(Path::new(BLOCK), &config.vg, config.lv.as_deref()).is_empty()
}

/// How much of what is meant is active here.
#[derive(Debug, PartialEq, Eq)]
enum Active {
    All,
    None,
    /// These are, and these are not.
    Some(Vec<String>, Vec<String>),
}

impl Volume<'_> {
    fn probe(&self) -> Result<Outcome, Failure> {
        let Some(group) = lvm::volume_group(self)?.filter(|g| !g.exported) else {
            self.nothing_mapped()?;
            return Ok(Outcome::Stopped);
        };
        let all = lvm::logical_volumes(self)?;
        match active(&self.meant(&all))? {
            Active::None => Ok(Outcome::Stopped),
            // Adopted would mean that its tag is right: an acquire looks at the tags first.
            Active::All if !group.tags.contains(&self.own_tag()?) => Err(Failure::because(format!(
                "{} is active, but does not carry this node's tag {}; was it activated by the system at boot? \
                 Keep that from happening: vgchange --setautoactivation n {}",
                self.config.id(),
                self.own_tag()?,
                self.config.vg
            ))),
            Active::All => Ok(Outcome::Running),
            Active::Some(on, off) => Err(self.in_part(&on, &off)),
        }
    }

    fn monitor(&self) -> Result<Outcome, Failure> {
        let id = self.config.id();
        let Some(group) = lvm::volume_group(self)? else {
            return Err(Failure::because(format!(
                "the volume group {} is not to be seen any more; are its disks there?",
                self.config.vg
            )));
        };
        let all = lvm::logical_volumes(self)?;
        let meant = self.meant(&all);
        if group.partial || meant.iter().any(|lv| lv.partial) {
            return Err(Failure::because(format!(
                "disks of {} are missing; which ones says: pvs -o +pv_missing",
                self.config.vg
            )));
        }
        match active(&meant)? {
            Active::All => Ok(Outcome::Running),
            Active::None => {
                self.context.job.warn(format!("{id} is no longer active"), "");
                Ok(Outcome::Stopped)
            }
            Active::Some(on, off) => Err(self.in_part(&on, &off)),
        }
    }

    fn in_part(&self, on: &[String], off: &[String]) -> Failure {
        Failure::because(format!(
            "of {} only {} is active, and {} is not",
            self.config.id(),
            on.join(", "),
            off.join(", ")
        ))
    }

    /// The logical volumes that this resource is.
    fn meant<'v>(&self, all: &'v [Logical]) -> Vec<&'v Logical> {
        all.iter().filter(|lv| self.config.lv.as_ref().is_none_or(|own| *own == lv.name)).collect()
    }

    /// The tag that says that this node owns the volume group.
    fn own_tag(&self) -> Result<String, Failure> {
        let node = self.variable("REGENT_NODE");
        node.map(|node| format!("{TAG}{node}"))
            .ok_or_else(|| Failure::because("the request does not say which node this is"))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.context.run.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where LVM does not see the volume group, the kernel may still have its volumes: then it is not down.
    fn nothing_mapped(&self) -> Result<(), Failure> {
        let mapped = mapped(Path::new(BLOCK), &self.config.vg, self.config.lv.as_deref());
        if mapped.is_empty() {
            return Ok(());
        }
        let list = mapped.join(", ");
        Err(Failure::because(format!(
            "LVM does not see the volume group {}, but the kernel still has {list} active; look why, and then: \
             dmsetup remove {}",
            self.config.vg,
            mapped.join(" ")
        )))
    }

    /// The control group of the commands that change something.
    fn cgroup_path(&self) -> PathBuf {
        let group = self.context.inner.cgroups.join(self.context.run.group.as_str());
        group.join(self.config.name.as_str())
    }

    fn holding(&self) -> Holding {
        Holding::Cgroup { path: self.cgroup_path(), grace: Duration::ZERO }
    }

    /// Does `work` with a control group that is on the guard's list for as long as it lasts.
    fn guarded(&self, work: impl FnOnce(&Folder) -> Result<(), Failure>) -> Result<(), Failure> {
        let folder = Folder::create(&self.cgroup_path()).map_err(Failure::because)?;
        let done = self.context.hold(self.holding()).and_then(|()| work(&folder));
        let until = self.context.job.soft_deadline() + command::KILL_TAKES_AT_MOST;
        folder.end(Duration::ZERO, until).map_err(Failure::because)?;
        self.context.let_go(self.holding())?;
        done
    }
}

/// How much of `meant` is active.
fn active(meant: &[&Logical]) -> Result<Active, Failure> {
    if let Some((doubtful, letter)) = meant.iter().find_map(|lv| match lv.state {
        State::Other(letter) => Some((lv, letter)),
        _ => None,
    }) {
        return Err(Failure::because(format!(
            "the volume {} is neither active nor inactive: its state is `{letter}` (see `man lvs`)",
            doubtful.name
        )));
    }
    let names = |state| meant.iter().filter(|lv| lv.state == state).map(|lv| lv.name.clone()).collect();
    let (on, off): (Vec<String>, Vec<String>) = (names(State::Active), names(State::Inactive));
    Ok(match (on.is_empty(), off.is_empty()) {
        (true, _) => Active::None,
        (false, true) => Active::All,
        (false, false) => Active::Some(on, off),
    })
}

/// The tags of owners other than `own`.
fn foreign<'g>(group: &'g VolumeGroup, own: &str) -> Vec<&'g str> {
    let tags = group.tags.iter().map(String::as_str);
    tags.filter(|tag| tag.starts_with(TAG) && *tag != own).collect()
}

/// The names of the volumes that the kernel's device mapper has. It writes a hyphen in a name twice.
fn mapped(block: &Path, vg: &str, lv: Option<&str>) -> Vec<String> {
    let prefix = format!("{}-", vg.replace('-', "--"));
    let wanted = |name: &str| {
        let Some(rest) = name.strip_prefix(&prefix) else { return false };
        // One more hyphen would be a part of another volume group's name.
        !rest.starts_with('-') && lv.is_none_or(|lv| lv.replace('-', "--") == rest)
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(block).into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(entry.path().join("dm/name")).unwrap_or_default();
        let uuid = std::fs::read_to_string(entry.path().join("dm/uuid")).unwrap_or_default();
        if uuid.starts_with("LVM-") && wanted(name.trim()) {
            found.push(name.trim().to_owned());
        }
    }
    found.sort();
    found
}

/// What cannot be used of the volumes, in words; nothing where all is well.
fn unusable(config: &VolumeConfig, group: &VolumeGroup, meant: &[&Logical]) -> Option<String> {
    let vg = &config.vg;
    if group.exported {
        return Some(format!("the volume group {vg} is exported; import it first: vgimport {vg}"));
    }
    if group.shared {
        return Some(format!(
            "the volume group {vg} is shared by lock daemons of LVM's own; a volume here has one owner: \
             vgchange --lock-type none {vg}"
        ));
    }
    if group.partial || meant.iter().any(|lv| lv.partial) {
        return Some(format!(
            "disks of the volume group {vg} are missing; it is not activated in part. Which ones says: \
             pvs -o +pv_missing"
        ));
    }
    if meant.is_empty() {
        return Some(match &config.lv {
            Some(lv) => format!("the volume group {vg} has no volume {lv}; what it has says: lvs {vg}"),
            None => {
                format!("the volume group {vg} has no volume; make one: lvcreate -n data -l 100%FREE {vg}")
            }
        });
    }
    let lv = meant.iter().find(|lv| lv.kind != lvm::PLAIN)?;
    Some(format!(
        "the volume {vg}/{} is not a plain one (`{}` in its attributes, see `man lvs`): the kernel writes such a \
         volume by itself while it is active, which a lease cannot end. Use linear or striped volumes; mirror \
         below LVM",
        lv.name, lv.kind
    ))
}

/// A command that did not do what it was to do.
fn command_failed(what: &str, answer: &lvm::Answer) -> Failure {
    let timed_out = answer.ended == command::Ended::TimedOut;
    Failure { timed_out, ..failure(format!("{what} {}", answer.ended.in_words()), answer.text.trim_end()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_list_tells_volumes_apart_whose_names_begin_alike() {
        let folder = std::env::temp_dir().join(format!("regent-mapped-{}", std::process::id()));
        let devices = [
            ("dm-0", "data-a", "LVM-1"),
            ("dm-1", "data--x-a", "LVM-2"),
            ("dm-2", "data-a--b", "LVM-3"),
            ("dm-3", "data-crypt", "CRYPT-1"),
        ];
        for (device, name, uuid) in devices {
            let dm = folder.join(device).join("dm");
            std::fs::create_dir_all(&dm).unwrap();
            std::fs::write(dm.join("name"), format!("{name}\n")).unwrap();
            std::fs::write(dm.join("uuid"), format!("{uuid}\n")).unwrap();
        }
        assert_eq!(mapped(&folder, "data", None), ["data-a", "data-a--b"]);
        assert_eq!(mapped(&folder, "data", Some("a-b")), ["data-a--b"]);
        assert_eq!(mapped(&folder, "data-x", None), ["data--x-a"]);
        assert_eq!(mapped(&folder, "other", None), [""; 0]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
