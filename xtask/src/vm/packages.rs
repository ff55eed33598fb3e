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

impl Packages {
    /// Downloads and unpacks what is not there yet.
    ///
    /// # Errors
    /// In words.
    pub(super) fn have(folder: &Path) -> Result<Self, String> {
        let packages = Self { host: folder.join("host"), guest: folder.join("guest") };
        let done = folder.join("unpacked");
        if !done.exists() {
            println!("== QEMU and a kernel of Debian's (once; some 90 MB)");
            let debs = folder.join("packages");
            fs::create_dir_all(debs.join("partial")).map_err(|e| format!("{}: {e}", debs.display()))?;
            packages.download(&debs)?;
            packages.unpack(&debs)?;
            fs::write(&done, "").map_err(|e| format!("{}: {e}", done.display()))?;
        }
        Ok(packages)
    }

    fn download(&self, debs: &Path) -> Result<(), String> {
        sh(debs, "apt-get update -q > /dev/null")?;
        // The libraries that this machine lacks come along; nothing of it is installed or removed.
        sh(
            debs,
            &format!(
                "apt-get install -q -y --no-install-recommends --download-only -o Dir::Cache::archives=$PWD {QEMU} > /dev/null"
            ),
        )?;
        sh(
            debs,
            "kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \\(linux-image-[0-9].*\\)/\\1/p' | head -n 1)
             apt-get download -q $kernel busybox-static > /dev/null",
        )
    }

    fn unpack(&self, debs: &Path) -> Result<(), String> {
        let (host, guest) = (self.host.display(), self.guest.display());
        sh(
            debs,
            &format!(
                "for deb in *.deb; do
                     case $deb in
                         linux-image-*|busybox-*) dpkg-deb -x $deb {guest} ;;
                         *) dpkg-deb -x $deb {host} ;;
                     esac
                 done
                 {guest}/bin/busybox depmod -b {guest} $(ls {guest}/lib/modules)"
            ),
        )
    }

    /// QEMU, to be given arguments.
    pub(super) fn qemu(&self) -> Command {
        let mut command = Command::new(self.host.join("usr/bin/qemu-system-x86_64"));
        let libraries = self.host.join("usr/lib/x86_64-linux-gnu");
        command.env("LD_LIBRARY_PATH", libraries).env("QEMU_MODULE_DIR", "/nonexistent");
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
