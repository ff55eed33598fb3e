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
pub(crate) const TESTS: [Need; 25] = [
    Need { what: "ip", package: "iproute2" },
    Need { what: "mkfs.ext4", package: "e2fsprogs" },
    Need { what: "mount", package: "mount" },
    Need { what: "losetup", package: "mount" },
    Need { what: "cc", package: "gcc" },
    Need { what: "nsenter", package: "util-linux" },
    Need { what: "/usr/lib/postgresql", package: "postgresql" },
    Need { what: "krb5kdc", package: "krb5-kdc" },
    Need { what: "kadmind", package: "krb5-admin-server" },
    Need { what: "kpropd", package: "krb5-kpropd" },
    Need { what: "kinit", package: "krb5-user" },
    Need { what: "slapd", package: "slapd" },
    Need { what: "ldapadd", package: "ldap-utils" },
    Need { what: "/usr/libexec/samba/samba-dcerpcd", package: "samba-common-bin" },
    Need { what: "smbd", package: "samba" },
    Need { what: "rpcclient", package: "smbclient" },
    Need { what: "python3", package: "python3" },
    Need { what: "rpcbind", package: "rpcbind" },
    Need { what: "chronyd", package: "chrony" },
    Need { what: "ksh", package: "ksh93u+m" },
    Need { what: "/usr/lib/openafs/dafileserver", package: "openafs-fileserver" },
    Need { what: "/usr/lib/openafs/vlserver", package: "openafs-dbserver" },
    Need { what: "asetkey", package: "openafs-krb5" },
    Need { what: "afsd.fuse", package: "openafs-fuse" },
    Need { what: "/var/lib/dpkg/info/fis-gtm.list", package: "fis-gtm" },
];

/// For the tests with a simulated management board. They are left out where these cannot be had.
pub(crate) const FENCING: [Need; 3] = [
    Need { what: "fence_ipmilan", package: "fence-agents" },
    Need { what: "ipmitool", package: "ipmitool" },
    Need { what: "ipmi_sim", package: "openipmi" },
];

/// For the machines with kernels of their own. QEMU itself is not installed: it is unpacked into the build folder.
pub(crate) const VM: [Need; 9] = [
    Need { what: "ip", package: "iproute2" },
    Need { what: "mkfs.ext4", package: "e2fsprogs" },
    Need { what: "e2fsck", package: "e2fsprogs" },
    Need { what: "unshare", package: "util-linux" },
    Need { what: "setpriv", package: "util-linux" },
    Need { what: "chrt", package: "util-linux" },
    Need { what: "strip", package: "binutils" },
    Need { what: "ldd", package: "libc-bin" },
    Need { what: "cc", package: "gcc" },
];

/// For the search for inputs: its engine is C++.
pub(crate) const FUZZ: [Need; 1] = [Need { what: "c++", package: "g++" }];

/// For the benchmark: the peers that stand beside Regent. They run in the lab's nodes only.
pub(crate) const PEERS: [Need; 6] = [
    Need { what: "keepalived", package: "keepalived" },
    Need { what: "corosync", package: "corosync" },
    Need { what: "pacemakerd", package: "pacemaker" },
    Need { what: "crm_mon", package: "pacemaker-cli-utils" },
    Need { what: "/usr/lib/ocf/resource.d/heartbeat", package: "resource-agents" },
    Need { what: "arping", package: "iputils-arping" },
];

impl Need {
    fn is_met(&self) -> bool {
        if self.what.starts_with('/') {
            std::path::Path::new(self.what).exists()
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
    run::step(&format!("installing {list}"), "sh", &["-c", &script(&list)])
}

/// The same for what some tests can do without: they say that they are left out.
pub(crate) fn install_if_possible(needs: &[Need], what: &str) {
    if let Err(why) = install(needs) {
        println!("{what} is left out: {why}");
    }
}

/// Installs packages without anything being started on this machine: a database server or a cluster manager that a
/// package starts would be in the way. Debian asks `policy-rc.d` for leave; one that the machine has already stays.
fn script(list: &str) -> String {
    format!(
        "export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
guard=/usr/sbin/policy-rc.d
if [ ! -e $guard ]; then
    trap 'rm -f $guard' EXIT
    trap 'exit 1' INT TERM HUP
    printf '#!/bin/sh\\nexit 101\\n' > $guard
    chmod 755 $guard
fi
apt-get update -q && apt-get install -q -y --no-install-recommends {list}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_packages_are_installed_nothing_may_be_started_and_the_guard_goes_afterwards() {
        let folder = std::env::temp_dir().join(format!("needs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let guard = folder.join("policy-rc.d");
        let text = script("x")
            .replace("/usr/sbin/policy-rc.d", &guard.to_string_lossy())
            .replace("apt-get update -q", "sh $guard; [ $? = 101 ] && touch $guard.asked")
            .replace("apt-get install", ": apt-get install");
        let ended = std::process::Command::new("sh").args(["-c", &text]).status().expect("sh");
        assert!(ended.success() && folder.join("policy-rc.d.asked").exists());
        assert!(!guard.exists(), "the guard must not stay");
        std::fs::write(&guard, "#!/bin/sh\nexit 101\n").expect("a guard of the machine's own");
        let ended = std::process::Command::new("sh").args(["-c", &text]).status().expect("sh");
        assert!(ended.success() && guard.exists(), "a guard that was there stays");
        std::fs::remove_dir_all(&folder).expect("it goes away");
    }
}
