//! What has to be on the machine, and how to get it on Debian and Ubuntu.

use crate::run;

/// A program (or file) that is needed, and the package that brings it.
pub(crate) struct Need {
    what: &'static str,
    package: &'static str,
}

/// For the demo: the lab's own tools.
pub(crate) const DEMO: [Need; 5] = [
    Need { what: "ip", package: "iproute2" },
    Need { what: "mkfs.ext4", package: "e2fsprogs" },
    Need { what: "mount", package: "mount" },
    Need { what: "losetup", package: "mount" },
    Need { what: "cc", package: "gcc" },
];

/// For the tests: real services too.
pub(crate) const TESTS: [Need; 7] = [
    Need { what: "ip", package: "iproute2" },
    Need { what: "mkfs.ext4", package: "e2fsprogs" },
    Need { what: "mount", package: "mount" },
    Need { what: "losetup", package: "mount" },
    Need { what: "cc", package: "gcc" },
    Need { what: "nsenter", package: "util-linux" },
    Need { what: "/usr/lib/postgresql", package: "postgresql" },
];

impl Need {
    fn is_met(&self) -> bool {
        if self.what.starts_with('/') {
            std::path::Path::new(self.what).is_dir()
        } else {
            run::is_there(self.what)
        }
    }
}

/// Installs what is missing.
///
/// # Errors
/// When something is missing that cannot be installed here.
pub(crate) fn install(needs: &[Need]) -> Result<(), String> {
    let mut missing: Vec<&str> = needs.iter().filter(|n| !n.is_met()).map(|n| n.package).collect();
    missing.dedup();
    if missing.is_empty() {
        println!("everything that is needed is installed");
        return Ok(());
    }
    let list = missing.join(" ");
    if !run::is_there("apt-get") {
        return Err(format!("these Debian packages, or what your system calls them, are missing: {list}"));
    }
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !root {
        return Err(format!("not root; please run: sudo apt-get install --no-install-recommends {list}"));
    }
    // A database server that the package starts would only be in the way.
    let quiet = "export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; apt-get update -q";
    let install = format!("{quiet} && apt-get install -q -y --no-install-recommends {list}");
    run::step(&format!("installing {list}"), "sh", &["-c", &install])
}
