//! What a guest boots: Debian's kernel, and a small root in memory made of busybox, the modules it needs, and Regent.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::{Packages, sh};
use crate::run::target;

/// By their files' names; what they depend on comes along.
const MODULES: [&str; 13] = [
    "virtio_pci",
    "virtio_scsi",
    "virtio_net",
    "sd_mod",
    "sg",
    "crc32c_generic",
    "crct10dif_generic",
    "ext4",
    "i6300esb",
    "sch_ingress",
    "cls_bpf",
    "virtio_rng",
    "tcp_diag",
];
/// For a node whose disk is at the array, and for the array.
const INITIATOR: [&str; 1] = ["iscsi_tcp"];
const ARRAY: [&str; 2] = ["target_core_iblock", "iscsi_target_mod"];

/// What every machine does first, and what the three kinds of them do then.
const BOOT: &str = include_str!("guest/boot.sh");
const AS_NODE: &str = include_str!("guest/node.sh");
const AS_INITIATOR: &str = include_str!("guest/initiator.sh");
const AS_ARRAY: &str = include_str!("guest/array.sh");
/// Who writes to the disk without asking anybody.
const STRAY: &str = include_str!("guest/stray.py");

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
    let all = packages.modules()?;
    for (list, names) in
        [("modules", &MODULES[..]), ("modules.initiator", &INITIATOR[..]), ("modules.array", &ARRAY[..])]
    {
        modules(&all, &root, list, names)?;
    }
    let texts = [
        ("boot", BOOT),
        ("as-node", AS_NODE),
        ("as-initiator", AS_INITIATOR),
        ("as-array", AS_ARRAY),
        ("control", CONTROL),
        ("inittab", INITTAB),
        ("fence.xml", METADATA),
    ];
    for (name, text) in texts {
        write(&root.join("etc").join(name), text)?;
    }
    write(&root.join("bin/fence-vm"), FENCE)?;
    write(&root.join("bin/stray"), STRAY)?;
    reservations(packages, &root)?;
    for (name, text) in configs {
        write(&root.join("etc").join(name), text)?;
    }
    write(&root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
    write(&root.join("etc/group"), "root:x:0:\n")?;
    // Not compressed: a computed processor takes longer to unpack it than this one to hand it over.
    let archive = folder.join("root.cpio");
    let (busybox, to) = (packages.busybox(), archive.display());
    let pack = format!("find . | {} cpio -o -H newc 2>/dev/null > {to}", busybox.display());
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

/// The initiator, and `fence_scsi` with all that it runs, as they were packed.
fn reservations(packages: &Packages, root: &Path) -> Result<(), String> {
    let guest = packages.guest();
    let libraries = packages.libraries();
    let programs =
        ["sbin/iscsid", "sbin/iscsiadm", "usr/bin/sg_persist", "usr/bin/sg_turs", "usr/bin/python3.11"];
    for program in programs {
        let from = guest.join(program);
        let name = from.file_name().map(PathBuf::from).unwrap_or_default();
        copy_with(&from, &root.join("bin").join(name), root, &libraries)?;
    }
    let (from, to) = (guest.display(), root.display());
    sh(
        root,
        &format!(
            "ln -s python3.11 bin/python3
             cp -p {from}/usr/sbin/fence_scsi bin/
             mkdir -p usr/lib usr/share etc/iscsi var
             ln -s /run var/run
             cp -a {from}/usr/lib/python3.11 {from}/usr/lib/python3 usr/lib/
             cp -a {from}/usr/share/fence usr/share/
             cp {from}/etc/iscsi/iscsid.conf etc/iscsi/
             rm -rf usr/lib/python3.11/lib2to3 usr/lib/python3.11/pydoc_data usr/lib/python3.11/idlelib
             find {to}/usr/lib -name '*.so' > loaded"
        ),
    )?;
    let loaded = fs::read_to_string(root.join("loaded")).map_err(|e| format!("loaded: {e}"))?;
    for module in loaded.lines() {
        copy_libraries(Path::new(module), root, &libraries)?;
    }
    Ok(())
}

/// A program and the libraries that it is linked with.
fn copy_program(from: &Path, to: &Path, root: &Path) -> Result<(), String> {
    copy_with(from, to, root, "")
}

fn copy_with(from: &Path, to: &Path, root: &Path, libraries: &str) -> Result<(), String> {
    copy(from, to)?;
    copy_libraries(from, root, libraries)
}

/// Libraries go to where the guest's loader looks for them, wherever they were found.
fn copy_libraries(of: &Path, root: &Path, libraries: &str) -> Result<(), String> {
    let output = Command::new("ldd")
        .arg(of)
        .env("LD_LIBRARY_PATH", libraries)
        .output()
        .map_err(|e| format!("ldd: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    for library in text.split_ascii_whitespace().filter(|word| word.starts_with('/')) {
        let path = Path::new(library);
        let Some(name) = path.file_name() else { continue };
        let is_loader = library.starts_with("/lib64/");
        let to = if is_loader { root.join("lib64") } else { root.join("lib/x86_64-linux-gnu") }.join(name);
        if !to.exists() {
            copy(path, &to)?;
        }
    }
    Ok(())
}

/// Copies modules, and writes in which order they are to be loaded.
fn modules(all: &Path, root: &Path, file: &str, wanted: &[&str]) -> Result<(), String> {
    let list = all.join("modules.dep");
    let text = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let line_of = |wanted: &str| {
        text.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| name_of(path) == wanted)
    };
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    for module in wanted {
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
    write(&root.join(file), &order.join("\n"))
}

fn name_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".ko").unwrap_or(file)
}
