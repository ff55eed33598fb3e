//! QEMU and a kernel of Debian's, unpacked into the build folder: nothing is installed on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where QEMU, its firmware, and the guests' kernel and tools are.
pub(super) struct Packages {
    host: PathBuf,
    guest: PathBuf,
}

const QEMU: &str = "qemu-system-x86";

/// The kernel's own, and for a disk with reservations: the initiator, `fence_scsi`, and what that runs.
const GUEST: &str = "$kernel busybox-static open-iscsi libopeniscsiusr libisns0 libkmod2 fence-agents sg3-utils \
                     libsgutils2-1.46-2 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3-pexpect \
                     python3-ptyprocess python3-pycurl";
/// What else is loaded by these.
const LIBRARIES: &str = "libcurl3-gnutls";

impl Packages {
    /// Downloads and unpacks what is not there yet.
    ///
    /// # Errors
    /// In words.
    pub(super) fn have(folder: &Path) -> Result<Self, String> {
        let packages = Self { host: folder.join("host"), guest: folder.join("guest") };
        let done = folder.join("unpacked");
        let wanted = format!("{QEMU} {GUEST} {LIBRARIES}\n");
        if fs::read_to_string(&done).is_ok_and(|there| there == wanted) {
            return Ok(packages);
        }
        println!("== QEMU, a kernel of Debian's and fence_scsi (once; some 100 MB)");
        let debs = folder.join("packages");
        for before in [&debs, &packages.host, &packages.guest] {
            let _nothing_from_before = fs::remove_dir_all(before);
        }
        fs::create_dir_all(debs.join("partial")).map_err(|e| format!("{}: {e}", debs.display()))?;
        fs::create_dir_all(debs.join("guest")).map_err(|e| format!("{}: {e}", debs.display()))?;
        packages.download(&debs)?;
        packages.unpack(&debs)?;
        fs::write(&done, wanted).map_err(|e| format!("{}: {e}", done.display()))?;
        Ok(packages)
    }

    fn download(&self, debs: &Path) -> Result<(), String> {
        sh(debs, "apt-get update -q > /dev/null")?;
        // The libraries that this machine lacks come along; nothing of it is installed or removed.
        let closure = |packages: &str| {
            format!(
                "apt-get install -q -y --no-install-recommends --download-only -o Dir::Cache::archives=$PWD {packages} \
                 > /dev/null"
            )
        };
        sh(debs, &closure(QEMU))?;
        sh(debs, &closure(LIBRARIES))?;
        sh(
            &debs.join("guest"),
            &format!(
                "kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \\(linux-image-[0-9].*\\)/\\1/p' | head -n 1)
                 apt-get download -q {GUEST} > /dev/null"
            ),
        )
    }

    fn unpack(&self, debs: &Path) -> Result<(), String> {
        let (host, guest) = (self.host.display(), self.guest.display());
        sh(
            debs,
            &format!(
                "for deb in *.deb; do dpkg-deb -x $deb {host}; done
                 for deb in guest/*.deb; do dpkg-deb -x $deb {guest}; done
                 {guest}/bin/busybox depmod -b {guest} $(ls {guest}/lib/modules)
                 PYTHONHOME={guest}/usr {guest}/usr/bin/python3.11 -m compileall -q -x lib2to3 \
                     {guest}/usr/lib/python3.11 {guest}/usr/lib/python3 {guest}/usr/share/fence"
            ),
        )
    }

    /// QEMU, to be given arguments.
    pub(super) fn qemu(&self) -> Command {
        let mut command = Command::new(self.host.join("usr/bin/qemu-system-x86_64"));
        command.env("LD_LIBRARY_PATH", libraries_below(&self.host)).env("QEMU_MODULE_DIR", "/nonexistent");
        for firmware in ["usr/share/seabios", "usr/share/qemu"] {
            command.arg("-L").arg(self.host.join(firmware));
        }
        command.stdin(Stdio::null());
        command
    }

    /// The kernel's image.
    ///
    /// # Errors
    /// When the package had none.
    pub(super) fn kernel(&self) -> Result<PathBuf, String> {
        let boot = self.guest.join("boot");
        let is_kernel =
            |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz"));
        list(&boot)?.into_iter().find(is_kernel).ok_or_else(|| format!("no kernel in {}", boot.display()))
    }

    /// The folder with its modules.
    ///
    /// # Errors
    /// When the package had none.
    pub(super) fn modules(&self) -> Result<PathBuf, String> {
        let all = self.guest.join("lib/modules");
        list(&all)?.pop().ok_or_else(|| format!("no modules in {}", all.display()))
    }

    pub(super) fn busybox(&self) -> PathBuf {
        self.guest.join("bin/busybox")
    }

    /// What was unpacked for the guests.
    pub(super) fn guest(&self) -> &Path {
        &self.guest
    }

    /// Where libraries are that this machine may lack.
    pub(super) fn libraries(&self) -> String {
        format!("{}:{}", libraries_below(&self.guest), libraries_below(&self.host))
    }
}

fn libraries_below(root: &Path) -> String {
    format!("{0}/usr/lib/x86_64-linux-gnu:{0}/lib/x86_64-linux-gnu", root.display())
}

/// What is in a folder, in order.
///
/// # Errors
/// In words.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Runs a script in a folder.
///
/// # Errors
/// When it does not end with 0.
pub(super) fn sh(folder: &Path, script: &str) -> Result<(), String> {
    let status = Command::new("sh")
        .args(["-ec", script])
        .current_dir(folder)
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("sh could not be started: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("this failed ({status}): {script}")) }
}
