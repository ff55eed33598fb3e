//! What a node sees of the instances of the configuration on itself: looked at beside all agents, and nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use regent_model::config::{Config, GroupConfig, InstanceConfig, InstanceKind};
use regent_model::ids::InstanceName;
use regent_model::instance::{InstanceLook, LOCK_FILE, Lock, LockFile};

use crate::cgroup::Folder;
use crate::inspection::Inspector;
use crate::instance::{Found, MAIN_FOLDER};
use crate::mountinfo::{self, Mount};

/// A longer lock file is none.
const LOCK_BYTES_MAX: u64 = 4096;
/// The state of a socket that listens, as the kernel's tables write it.
const LISTENS: &str = "0A";

impl Inspector {
    /// What is here of every instance. It reads from the groups' file systems, and hangs if one of them hangs.
    #[must_use]
    pub fn instances(&self, config: &Config) -> BTreeMap<InstanceName, InstanceLook> {
        if config.instances().next().is_none() {
            return BTreeMap::new();
        }
        let mounts = mountinfo::own().unwrap_or_default();
        let listeners = listeners();
        let look = |(group, instance): (&std::sync::Arc<GroupConfig>, &std::sync::Arc<InstanceConfig>)| {
            let folder = self.folder_of(group, instance);
            (instance.name.clone(), look(group, instance, &folder, &mounts, &listeners))
        };
        let mut looks: BTreeMap<InstanceName, InstanceLook> = config.instances().map(look).collect();
        // At last, so that nothing older is told than what an agent has told meanwhile.
        for (name, look) in &mut looks {
            let Found { version, listed } = self.inner().installed.found(name);
            (look.version, look.listed) = (version, listed);
        }
        looks
    }

    /// The control group of an instance.
    fn folder_of(&self, group: &GroupConfig, instance: &InstanceConfig) -> PathBuf {
        self.cgroups().join(group.name.as_str()).join(instance.resource.as_str())
    }
}

fn look(
    group: &GroupConfig,
    instance: &InstanceConfig,
    folder: &Path,
    mounts: &[Mount],
    listeners: &[Listener],
) -> InstanceLook {
    // Not the commands that look at it, or take it down.
    let main = Folder::open(&folder.join(MAIN_FOLDER)).ok().flatten();
    let processes = main.is_some_and(|f| f.is_populated().unwrap_or(false));
    let is_quiet = instance.kind == InstanceKind::Gtm && !instance.networked;
    let holds = group.filesystems.iter().filter(|f| instance.directory.starts_with(&f.mount));
    let mount = holds.max_by_key(|f| f.mount.as_os_str().len()).map(|f| f.mount.as_path());
    let lock = lock(&instance.directory.join(LOCK_FILE));
    InstanceLook {
        mounted: mount.is_some_and(|point| mountinfo::at(mounts, point).is_some()),
        directory: instance.directory.is_dir(),
        // One that serves nobody has no process of its own.
        running: processes || is_quiet && lock.is_some() && folder.is_dir(),
        listening: listeners.iter().any(|l| l.answers(instance.address, instance.port)),
        version: None,
        listed: None,
        lock,
    }
}

fn lock(path: &Path) -> Option<Lock> {
    let found = fs::symlink_metadata(path).ok()?;
    let text =
        (found.is_file() && found.len() <= LOCK_BYTES_MAX).then(|| fs::read_to_string(path).ok()).flatten();
    Some(text.and_then(|text| LockFile::read(&text)).map_or(Lock::Unreadable, Lock::Of))
}

/// A TCP socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listener {
    address: IpAddr,
    port: u16,
}

impl Listener {
    /// Whether who asks at this address and port is answered here.
    fn answers(self, address: Option<IpAddr>, port: u16) -> bool {
        let reaches = |wanted: IpAddr| match self.address {
            IpAddr::V4(own) => own.is_unspecified() && wanted.is_ipv4() || own == wanted,
            // One on every address of IPv6 takes those of IPv4 too, unless it was told otherwise.
            IpAddr::V6(own) => own.is_unspecified() || own.to_canonical() == wanted,
        };
        self.port == port && address.is_none_or(reaches)
    }
}

/// What listens in this network namespace.
fn listeners() -> Vec<Listener> {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    let texts = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    texts.flat_map(|text| text.lines().skip(1).filter_map(listener).collect::<Vec<_>>()).collect()
}

/// A line of the kernel's table: `  0: 0100007F:1F90 00000000:0000 0A ...`.
fn listener(line: &str) -> Option<Listener> {
    let mut words = line.split_whitespace().skip(1);
    let (local, state) = (words.next()?, words.nth(1)?);
    if state != LISTENS {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    // The kernel writes each word of the address as its own machine has it.
    let words = address.as_bytes().chunks(8).map(|word| {
        let text = std::str::from_utf8(word).ok()?;
        Some(u32::from_str_radix(text, 16).ok()?.to_ne_bytes())
    });
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.concat();
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(Listener { address, port: u16::from_str_radix(port, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use super::*;

    #[test]
    fn the_kernels_table_says_what_listens_where() {
        let line = "   0: 0100007F:07B4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0";
        if cfg!(target_endian = "little") {
            let found = listener(line);
            assert_eq!(found, Some(Listener { address: Ipv4Addr::LOCALHOST.into(), port: 1972 }));
        }
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None, "a connection is no listener");
        assert_eq!(listener("sl local_address"), None);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = socket.local_addr().unwrap();
        assert!(listeners().contains(&Listener { address: here.ip(), port: here.port() }));
    }

    #[test]
    fn who_listens_everywhere_takes_the_port_of_every_address() {
        let asked: IpAddr = [10, 77, 0, 100].into();
        let at = |address: IpAddr| Listener { address, port: 1972 };
        assert!(at(asked).answers(Some(asked), 1972));
        assert!(at(Ipv4Addr::UNSPECIFIED.into()).answers(Some(asked), 1972));
        assert!(at(Ipv6Addr::UNSPECIFIED.into()).answers(Some(asked), 1972));
        assert!(at([10, 77, 0, 4].into()).answers(None, 1972));
        assert!(!at(asked).answers(Some(asked), 1973));
        assert!(!at([10, 77, 0, 101].into()).answers(Some(asked), 1972), "another instance's");
    }

    #[test]
    fn a_lock_file_is_one_of_ours_or_somebody_elses() {
        let folder = std::env::temp_dir().join(format!("regent-registry-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("regent.ids");
        assert_eq!(lock(&path), None);
        let file = LockFile { node: "lx4".into(), epoch: 7, boot: "b".into() };
        fs::write(&path, file.text()).unwrap();
        assert_eq!(lock(&path), Some(Lock::Of(file)));
        fs::write(&path, "lx4 0x3f2a").unwrap();
        assert_eq!(lock(&path), Some(Lock::Unreadable));
        fs::remove_dir_all(&folder).unwrap();
    }
}
