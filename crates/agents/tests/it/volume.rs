//! Volumes, against a double of LVM's commands: nothing here was shown on a real volume group.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regent_model::ResourceName;
use regent_model::action::{Op, Resource};
use regent_model::config::{MonitorTimes, RestartLimits, VolumeConfig};

use crate::support::{Disk, Folder, Node, Process, eventually};

/// Does what LVM's commands do as far as it is asked here: a folder stands for the disks. A file `hang-NAME` makes a
/// command hang, `remark` makes each one print a warning first.
const DOUBLE: &str = r#"#!/bin/sh
S="$(dirname "$0")/state"; me=$(basename "$0")
echo "$me $*" >>"$S/log"
[ -e "$S/hang-$me" ] && exec sleep 60
[ -e "$S/remark" ] && echo "  WARNING: Device /dev/sdq is not there." >&2
for last; do :; done
vg=${last%%/*}; V="$S/$vg"
if [ ! -d "$V" ]; then
  echo "  Volume group \"$vg\" not found" >&2
  echo "  Cannot process volume group $vg" >&2
  exit 5
fi
attr=$(cat "$V/attr")
exported() { case $attr in ??x*) echo "  Volume group \"$vg\" is exported" >&2; exit 5;; esac; }
partial() { case $attr in ???p*) echo "  Cannot change VG $vg while PVs are missing." >&2; exit 5;; esac; }
names() { case $last in */*) echo "${last#*/}";; *) ls "$V/lv";; esac; }
on() { exported; for n in $(names); do printf a >"$V/lv/$n/state"; done; }
off() {
  exported; bad=0
  for n in $(names); do
    if [ -e "$V/lv/$n/open" ]; then echo "  Logical volume $vg/$n in use." >&2; bad=5
    else printf -- - >"$V/lv/$n/state"; fi
  done
  exit $bad
}
case "$me $1" in
"vgs "*) echo "  $vg|aaaaaa-bbbb|$attr|$(paste -sd, "$V/tags")";;
"lvs "*)
  exported
  for n in $(ls "$V/lv"); do
    o=-; [ -e "$V/lv/$n/open" ] && o=o
    echo "  $vg|$n|$(cat "$V/lv/$n/kind")wi-$(cat "$V/lv/$n/state")$o--$(cat "$V/lv/$n/health")-"
  done;;
"vgchange --addtag") exported; partial; echo "$2" >>"$V/tags";;
"vgchange --deltag") exported; partial; grep -vxF -- "$2" "$V/tags" >"$V/tags.new"; mv "$V/tags.new" "$V/tags";;
"vgchange -ay"|"lvchange -ay") on;;
"vgchange -an"|"lvchange -an") off;;
*) echo "  no such option: $me $*" >&2; exit 3;;
esac
"#;

/// The double with the volume group `name` on its disks.
struct Lvm {
    folder: Folder,
    name: String,
}

impl Lvm {
    fn new() -> Self {
        Self::named("regentvg".into())
    }

    fn named(name: String) -> Self {
        let folder = Folder::new();
        for program in ["vgs", "lvs", "vgchange", "lvchange"] {
            let path = folder.0.join(program);
            std::fs::write(&path, DOUBLE).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let lvm = Self { folder, name };
        std::fs::create_dir_all(lvm.vg()).unwrap();
        std::fs::write(lvm.vg().join("tags"), "").unwrap();
        lvm.attributes("wz--n-");
        lvm.volume("data");
        lvm.volume("log");
        lvm
    }

    fn state(&self) -> PathBuf {
        self.folder.0.join("state")
    }

    fn vg(&self) -> PathBuf {
        self.state().join(&self.name)
    }

    fn attributes(&self, attributes: &str) {
        std::fs::write(self.vg().join("attr"), attributes).unwrap();
    }

    fn volume(&self, name: &str) {
        let lv = self.vg().join("lv").join(name);
        std::fs::create_dir_all(&lv).unwrap();
        for (file, text) in [("kind", "-"), ("state", "-"), ("health", "-")] {
            std::fs::write(lv.join(file), text).unwrap();
        }
    }

    fn set(&self, name: &str, file: &str, text: &str) {
        std::fs::write(self.vg().join("lv").join(name).join(file), text).unwrap();
    }

    fn active(&self, name: &str) -> bool {
        std::fs::read_to_string(self.vg().join("lv").join(name).join("state")).unwrap() == "a"
    }

    fn tags(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.vg().join("tags")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn tag(&self, tag: &str) {
        std::fs::write(self.vg().join("tags"), format!("{tag}\n")).unwrap();
    }

    /// The commands so far that were to change something.
    fn changes(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.state().join("log")).unwrap_or_default();
        log.lines().filter(|l| l.contains("change ")).map(str::to_owned).collect()
    }

    /// A node that finds the double where it looks for programs.
    fn node(&self) -> Node {
        let mut node = Node::new();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.folder.0.display());
        node.variables.push(("PATH".into(), path));
        node
    }

    fn resource(&self, lv: Option<&str>) -> Resource {
        Resource::Volume(Arc::new(VolumeConfig {
            name: ResourceName::new("vol").unwrap(),
            vg: self.name.clone(),
            lv: lv.map(str::to_owned),
            monitor: MonitorTimes::new(Duration::from_secs(5), Duration::from_secs(5), 1),
            acquire_timeout: Duration::from_secs(5),
            release_timeout: Duration::from_secs(5),
            limits: RestartLimits { retries: 0, restarts: 0, window: Duration::from_secs(600) },
        }))
    }
}

#[test]
fn a_volume_is_marked_and_activated_and_afterwards_inactive_and_unmarked() {
    let lvm = Lvm::new();
    std::fs::write(lvm.state().join("remark"), "").unwrap();
    let (mut node, volume) = (lvm.node(), lvm.resource(Some("data")));
    node.run(Op::Probe, &volume).stopped();
    node.run(Op::Acquire, &volume).runs();
    assert!(lvm.active("data") && !lvm.active("log"));
    assert_eq!(lvm.tags(), ["regent_lx4"]);
    assert!(node.guard.holds_nothing(), "{:?}", node.guard.log());
    node.run(Op::Probe, &volume).runs();
    node.run(Op::Monitor, &volume).runs();
    node.run(Op::Acquire, &volume).runs();
    assert_eq!(lvm.tags(), ["regent_lx4"]);
    node.run(Op::Release, &volume).stopped();
    assert!(!lvm.active("data") && lvm.tags().is_empty(), "{:?}", lvm.changes());
    node.run(Op::Monitor, &volume).stopped();
    node.run(Op::Release, &volume).stopped();
}

#[test]
fn without_a_logical_volume_all_of_the_volume_group_is_meant() {
    let lvm = Lvm::new();
    let (mut node, all) = (lvm.node(), lvm.resource(None));
    node.run(Op::Acquire, &all).runs();
    assert!(lvm.active("data") && lvm.active("log"));
    lvm.set("log", "state", "-");
    let failure = node.run(Op::Probe, &all).failed();
    assert!(failure.reason.contains("only data is active, and log is not"), "{failure:?}");
    assert!(node.run(Op::Monitor, &all).failed().reason.contains("log is not"));
    node.run(Op::Acquire, &all).runs();
    node.run(Op::Release, &all).stopped();
    assert!(!lvm.active("data") && !lvm.active("log") && lvm.tags().is_empty());
}

#[test]
fn the_mark_stays_while_another_volume_of_the_volume_group_is_up() {
    let lvm = Lvm::new();
    let mut node = lvm.node();
    node.run(Op::Acquire, &lvm.resource(Some("data"))).runs();
    node.run(Op::Acquire, &lvm.resource(Some("log"))).runs();
    node.run(Op::Release, &lvm.resource(Some("log"))).stopped();
    assert!(lvm.active("data") && !lvm.active("log"));
    assert_eq!(lvm.tags(), ["regent_lx4"]);
    node.run(Op::Release, &lvm.resource(Some("data"))).stopped();
    assert!(lvm.tags().is_empty());
}

#[test]
fn the_mark_of_another_owner_is_taken_off_only_where_a_proof_says_that_it_is_gone() {
    let lvm = Lvm::new();
    lvm.tag("regent_lx5");
    let (mut node, volume) = (lvm.node(), lvm.resource(Some("data")));
    node.proof = "never-owned";
    let failure = node.run(Op::Acquire, &volume).failed();
    for said in ["regent_lx5", "on lx5: vgchange -an regentvg", "vgchange --deltag regent_lx5 regentvg"] {
        assert!(failure.reason.contains(said), "{failure:?}");
    }
    assert!(!lvm.active("data") && lvm.tags() == ["regent_lx5"] && lvm.changes().is_empty());
    for proof in ["released", "fenced", "rebooted", "lease-ended", "operators-word"] {
        lvm.tag("regent_lx5\nbackup");
        node.proof = proof;
        let answer = node.run(Op::Acquire, &volume).runs();
        assert!(answer.story().contains("the tag regent_lx5 of an owner that is gone"), "{}", answer.story());
        assert_eq!(lvm.tags(), ["backup", "regent_lx4"], "{proof}");
        node.run(Op::Release, &volume).stopped();
    }
    // What carries no mark of an owner's may be taken by the first.
    node.proof = "never-owned";
    node.run(Op::Acquire, &volume).runs();
}

#[test]
fn a_volume_that_was_active_without_this_nodes_mark_is_not_adopted_but_activated_anew() {
    let lvm = Lvm::new();
    let (mut node, volume) = (lvm.node(), lvm.resource(Some("data")));
    for tag in ["", "regent_lx5"] {
        lvm.tag(tag);
        lvm.set("data", "state", "a");
        let failure = node.run(Op::Probe, &volume).failed();
        assert!(failure.reason.contains("vgchange --setautoactivation n regentvg"), "{failure:?}");
        let before = lvm.changes().len();
        node.run(Op::Acquire, &volume).runs();
        assert_eq!(lvm.changes()[before], "lvchange -an regentvg/data", "{:?}", lvm.changes());
        assert!(lvm.active("data") && lvm.tags().contains(&"regent_lx4".to_owned()));
    }
}

#[test]
fn what_cannot_be_activated_safely_is_refused_with_its_reason_and_nothing_is_changed() {
    let lvm = Lvm::new();
    let (mut node, volume) = (lvm.node(), lvm.resource(Some("data")));
    for (attributes, word) in
        [("wzx-n-", "vgimport regentvg"), ("wz-pn-", "disks of the volume group"), ("wz--ns", "lock daemons")]
    {
        lvm.attributes(attributes);
        let failure = node.run(Op::Acquire, &volume).failed();
        assert!(failure.reason.contains(word), "{failure:?}");
    }
    lvm.attributes("wz--n-");
    for kind in ["m", "r", "s", "o", "t", "V", "C"] {
        lvm.set("data", "kind", kind);
        let failure = node.run(Op::Acquire, &volume).failed();
        assert!(failure.reason.contains("not a plain one"), "{kind}: {failure:?}");
    }
    lvm.set("data", "kind", "-");
    lvm.set("data", "health", "p");
    assert!(node.run(Op::Acquire, &volume).failed().reason.contains("missing"));
    let failure = node.run(Op::Acquire, &lvm.resource(Some("none"))).failed();
    assert!(failure.reason.contains("has no volume none"), "{failure:?}");
    assert!(lvm.changes().is_empty(), "{:?}", lvm.changes());
}

#[test]
fn a_volume_group_that_is_not_there_or_exported_is_down_and_cannot_be_acquired() {
    let lvm = Lvm::new();
    let (mut node, volume) = (lvm.node(), lvm.resource(None));
    lvm.attributes("wzx-n-");
    node.run(Op::Probe, &volume).stopped();
    node.run(Op::Release, &volume).stopped();
    std::fs::remove_dir_all(lvm.vg()).unwrap();
    node.run(Op::Probe, &volume).stopped();
    node.run(Op::Release, &volume).stopped();
    assert!(node.run(Op::Monitor, &volume).failed().reason.contains("not to be seen any more"));
    assert!(node.run(Op::Acquire, &volume).failed().reason.contains("there is no volume group regentvg"));
}

#[test]
fn a_monitor_finds_missing_disks_and_a_state_that_is_neither() {
    let lvm = Lvm::new();
    let (mut node, volume) = (lvm.node(), lvm.resource(Some("data")));
    node.run(Op::Acquire, &volume).runs();
    lvm.set("data", "state", "s");
    assert!(node.run(Op::Monitor, &volume).failed().reason.contains("its state is `s`"));
    lvm.set("data", "state", "a");
    lvm.attributes("wz-pn-");
    assert!(node.run(Op::Monitor, &volume).failed().reason.contains("missing"));
    // A mark that cannot be taken off is told; the volume is inactive all the same.
    let answer = node.run(Op::Release, &volume).stopped();
    assert!(answer.story().contains("its tag regent_lx4 stays"), "{}", answer.story());
    assert!(!lvm.active("data"));
}

#[test]
fn a_volume_that_is_open_is_not_released_and_its_holder_is_named() {
    let disk = Disk::new();
    let name = format!("regentvg{}", std::process::id());
    let lvm = Lvm::named(name.clone());
    let shown = DeviceFolder::new(&name, &disk.device);
    let (mut node, volume) = (lvm.node(), lvm.resource(Some("data")));
    node.run(Op::Acquire, &volume).runs();
    lvm.set("data", "open", "");
    let holder = Process::spawn(&format!("sleep 600 < {}", disk.device.display()));
    let pid = holder.0.id();
    eventually("the device is open", || {
        std::fs::read_link(format!("/proc/{pid}/fd/0")).is_ok_and(|to| to == disk.device)
    });
    let failure = node.run(Op::Release, &volume).failed();
    assert!(failure.reason.contains("/data is still active"), "{failure:?}");
    assert!(failure.evidence.contains("in use"), "{failure:?}");
    assert!(failure.evidence.contains(&format!("process {pid} ")), "{failure:?}");
    assert_eq!(lvm.tags(), ["regent_lx4"]);
    drop((holder, shown));
    std::fs::remove_file(lvm.vg().join("lv/data/open")).unwrap();
    node.run(Op::Release, &volume).stopped();
}

/// The folder in `/dev` in which LVM would show the volume.
struct DeviceFolder(PathBuf);

impl DeviceFolder {
    fn new(vg: &str, device: &Path) -> Self {
        let folder = Path::new("/dev").join(vg);
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(device, folder.join("data")).unwrap();
        Self(folder)
    }
}

impl Drop for DeviceFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_command_that_hangs_is_killed_in_time_and_leaves_nothing_on_the_guards_list() {
    let lvm = Lvm::new();
    let (mut node, volume) = (lvm.node(), lvm.resource(Some("data")));
    for program in ["vgs", "lvs", "lvchange"] {
        let hang = lvm.state().join(format!("hang-{program}"));
        std::fs::write(&hang, "").unwrap();
        let answer = node.within(Op::Acquire, &volume, Duration::from_secs(2));
        assert!(answer.took < Duration::from_secs(3), "{:?}", answer.took);
        let failure = answer.failed();
        assert!(failure.timed_out && failure.reason.contains("did not end in its time"), "{failure:?}");
        std::fs::remove_file(hang).unwrap();
        eventually("nothing is held", || node.guard.holds_nothing());
    }
    node.run(Op::Release, &volume).stopped();
    std::fs::write(lvm.state().join("hang-lvs"), "").unwrap();
    assert!(node.within(Op::Release, &volume, Duration::from_secs(2)).failed().timed_out);
}

#[test]
fn without_a_lease_nothing_is_marked_or_activated_but_a_volume_can_still_be_taken_down() {
    let lvm = Lvm::new();
    let (mut node, volume) = (lvm.node(), lvm.resource(Some("data")));
    node.run(Op::Acquire, &volume).runs();
    *node.guard.refuses.lock().unwrap() = Some("the lease has ended".into());
    let answer = node.run(Op::Release, &volume).stopped();
    assert!(answer.story().contains("its tag regent_lx4 stays"), "{}", answer.story());
    assert!(!lvm.active("data") && lvm.tags() == ["regent_lx4"]);
    let before = lvm.changes();
    assert!(node.run(Op::Acquire, &volume).failed().reason.contains("the lease has ended"));
    assert_eq!(lvm.changes(), before);
}

#[test]
fn without_lvm_on_the_node_it_is_said_what_to_install() {
    let lvm = Lvm::new();
    let (mut node, volume) = (lvm.node(), lvm.resource(None));
    node.variables = vec![("PATH".into(), "/nowhere".into())];
    assert!(node.run(Op::Acquire, &volume).failed().reason.contains("install lvm2"));
}
