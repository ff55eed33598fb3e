//! What a guest boots: Debian's kernel, and a small root in memory made of busybox, the modules it needs, and Regent.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::{Packages, sh};
use crate::run::target;

/// By their files' names; what they depend on comes along.
const MODULES: [&str; 11] = [
    "virtio_pci",
    "virtio_scsi",
    "virtio_net",
    "sd_mod",
    "crc32c_generic",
    "crct10dif_generic",
    "ext4",
    "i6300esb",
    "sch_ingress",
    "cls_bpf",
    "virtio_rng",
];

const BOOT: &str = r#"#!/bin/sh
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run /tmp /data /powered /var/lib/regent
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 none /sys/fs/cgroup
for module in $(cat /modules); do insmod /lib/modules/$module; done
for word in $(cat /proc/cmdline); do
    case $word in node=*) node=${word#node=} ;; address=*) address=${word#address=} ;; esac
done
hostname $node
ip link set lo up
ip link set eth0 up
ip address add $address/24 dev eth0
# A kernel that panics hangs, as one does whose processors stand still: only the watchdog resets it.
echo 0 > /proc/sys/kernel/panic
echo 1 > /proc/sys/kernel/sysrq
n=0
until [ -e /dev/disk/by-lun/state ] || [ $n = 100 ]; do
    mkdir -p /dev/disk/by-lun
    for disk in /sys/block/sd*; do
        lun=$(ls -d $disk/device/scsi_device/* 2>/dev/null)
        case $lun in
            *:0) ln -sf /dev/${disk##*/} /dev/disk/by-lun/state ;;
            *:1) ln -sf /dev/${disk##*/} /dev/disk/by-lun/data ;;
        esac
    done
    n=$((n + 1))
    usleep 50000
done
mount -t ext4 /dev/disk/by-lun/state /var/lib/regent
mkdir -p /var/lib/regent/etc
ln -sf /var/lib/regent/etc /etc/regent
if [ -e /var/lib/regent/identity.json ]; then
    regent node run > /dev/ttyS0 2>&1 < /dev/null &
fi
"#;

/// One line at a time: a token, and a command. Its output follows, and a line with the token and the exit code.
const CONTROL: &str = r#"#!/bin/sh
export PATH=/bin:/sbin HOME=/
stty raw -echo < /dev/ttyS1
echo @ready
while read -r token line; do
    [ -n "$token" ] || continue
    eval "$line" > /tmp/said 2>&1 < /dev/null
    code=$?
    cat /tmp/said
    echo "@$token $code"
done
"#;

const INITTAB: &str = "::sysinit:/etc/boot\nttyS1::respawn:/etc/control\n::restart:/bin/init\n";

/// A fence agent in the words of the fence agents' interface: the power switch is at the other end of the network.
const FENCE: &str = r#"#!/bin/sh
action=reboot
plug=
while IFS='=' read -r key value; do
    case $key in action) action=$value ;; plug|port) plug=$value ;; esac
done
[ "$action" = metadata ] && exec cat /etc/fence.xml
said=$(echo "$action $plug" | nc -w 20 10.99.0.1 7100)
case "$action $said" in
    "status on"|"monitor "*) exit 0 ;;
    "status off") exit 2 ;;
    *" ok") exit 0 ;;
    *) echo "the power switch says: $said" >&2; exit 1 ;;
esac
"#;

const METADATA: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_vm" shortdesc="The power switch of this run">
<parameters>
<parameter name="action" unique="0" required="1"><content type="string" default="off"/></parameter>
<parameter name="plug" unique="0" required="1"><content type="string"/></parameter>
</parameters>
<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="status"/><action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
"#;

/// Makes the root, and gives the path of its archive.
///
/// # Errors
/// In words.
pub(super) fn initramfs(
    packages: &Packages,
    folder: &Path,
    configs: &[(&str, String)],
) -> Result<PathBuf, String> {
    let root = folder.join("root");
    let _nothing_from_before = fs::remove_dir_all(&root);
    for sub in ["bin", "etc", "proc", "sys", "dev", "run", "tmp", "var/lib", "lib/modules", "lib64", "usr"] {
        fs::create_dir_all(root.join(sub)).map_err(|e| format!("{}: {e}", root.display()))?;
    }
    for (link, to) in [("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin"), ("init", "bin/init")] {
        std::os::unix::fs::symlink(to, root.join(link)).map_err(|e| format!("{link}: {e}"))?;
    }
    copy(&packages.busybox(), &root.join("bin/busybox"))?;
    sh(
        &root,
        "for applet in $(bin/busybox --list); do [ $applet = busybox ] || ln -s busybox bin/$applet; done",
    )?;
    let debug = target().join("debug");
    for program in ["regent", "regent-guard"] {
        let to = root.join("bin").join(program);
        copy_program(&debug.join(program), &to, &root)?;
        sh(&root, &format!("strip -g {}", to.display()))?;
    }
    copy_program(Path::new("/usr/sbin/e2fsck"), &root.join("bin/e2fsck"), &root)?;
    copy_program(Path::new("/usr/bin/chrt"), &root.join("bin/chrt"), &root)?;
    std::os::unix::fs::symlink("e2fsck", root.join("bin/fsck.ext4"))
        .map_err(|e| format!("fsck.ext4: {e}"))?;
    modules(&packages.modules()?, &root)?;
    for (name, text) in [("boot", BOOT), ("control", CONTROL), ("inittab", INITTAB), ("fence.xml", METADATA)]
    {
        write(&root.join("etc").join(name), text)?;
    }
    write(&root.join("bin/fence-vm"), FENCE)?;
    for (name, text) in configs {
        write(&root.join("etc").join(name), text)?;
    }
    write(&root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
    write(&root.join("etc/group"), "root:x:0:\n")?;
    let archive = folder.join("root.cpio.gz");
    let busybox = packages.busybox();
    let pack = format!(
        "find . | {} cpio -o -H newc 2>/dev/null | gzip -1 > {}",
        busybox.display(),
        archive.display()
    );
    sh(&root, &pack)?;
    Ok(archive)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let fail = |e| format!("{}: {e}", path.display());
    fs::write(path, text).map_err(fail)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(fail)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    fs::copy(from, to).map(drop).map_err(|e| format!("cannot copy {}: {e}", from.display()))
}

/// A program and the libraries that it is linked with.
fn copy_program(from: &Path, to: &Path, root: &Path) -> Result<(), String> {
    copy(from, to)?;
    let output = Command::new("ldd").arg(from).output().map_err(|e| format!("ldd: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    for library in text.split_ascii_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(library), &root.join(library.trim_start_matches('/')))?;
    }
    Ok(())
}

/// Copies the modules, and writes in which order they are to be loaded.
fn modules(all: &Path, root: &Path) -> Result<(), String> {
    let list = all.join("modules.dep");
    let text = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let line_of = |wanted: &str| {
        text.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| name_of(path) == wanted)
    };
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    for module in MODULES {
        // What is built in has no line.
        let Some((path, needs)) = line_of(module) else { continue };
        let needs: Vec<&str> = needs.split_ascii_whitespace().collect();
        for path in needs.into_iter().rev().chain([path]) {
            if seen.insert(path) {
                order.push(name_of(path).to_owned() + ".ko");
                copy(&all.join(path), &root.join("lib/modules").join(name_of(path).to_owned() + ".ko"))?;
            }
        }
    }
    write(&root.join("modules"), &order.join("\n"))
}

fn name_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".ko").unwrap_or(file)
}
