//! What a node sees of the instances of the configuration on itself: looked at beside all agents, and nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
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
/// The states of sockets, as the kernel's tables write them.
const LISTENS: &str = "0A";
const CONNECTED: &str = "01";

impl Inspector {
    /// What is here of every instance. It reads from the groups' file systems, and hangs if one of them hangs.
    #[must_use]
    pub fn instances(&self, config: &Config) -> BTreeMap<InstanceName, InstanceLook> {
        if config.instances().next().is_none() {
            return BTreeMap::new();
        }
        let mounts = mountinfo::own().unwrap_or_default();
        let (listeners, connected) = sockets();
        let look = |(group, instance): (&std::sync::Arc<GroupConfig>, &std::sync::Arc<InstanceConfig>)| {
            let folder = self.folder_of(group, instance);
            (instance.name.clone(), look(group, instance, &folder, &mounts, &listeners, &connected))
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
    connected: &[Connected],
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
        application_servers: application_servers(instance, connected),
    }
}

/// From how many addresses it is used. What asks at the port of another kind need not be an application server.
fn application_servers(instance: &InstanceConfig, connected: &[Connected]) -> u32 {
    if instance.kind != InstanceKind::Gtm || !instance.networked {
        return 0;
    }
    let is_its = |c: &&Connected| {
        c.here.port == instance.port
            && instance.address.is_none_or(|own| c.here.address.to_canonical() == own)
    };
    let peers: BTreeSet<IpAddr> = connected.iter().filter(is_its).map(|c| c.peer.to_canonical()).collect();
    u32::try_from(peers.len()).unwrap_or(u32::MAX)
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

/// A connection, as this end of it has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Connected {
    here: Listener,
    peer: IpAddr,
}

/// What listens in this network namespace, and what is connected.
fn sockets() -> (Vec<Listener>, Vec<Connected>) {
    let (mut listeners, mut connected) = (Vec::new(), Vec::new());
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for (here, peer, state) in text.lines().skip(1).filter_map(socket) {
            match state {
                LISTENS => listeners.push(here),
                CONNECTED => connected.push(Connected { here, peer: peer.address }),
                _ => {}
            }
        }
    }
    (listeners, connected)
}

/// A line of the kernel's table, its two ends and its state: `  0: 0100007F:1F90 00000000:0000 0A ...`.
fn socket(line: &str) -> Option<(Listener, Listener, &str)> {
    let mut words = line.split_whitespace().skip(1);
    Some((end(words.next()?)?, end(words.next()?)?, words.next()?))
}

fn end(text: &str) -> Option<Listener> {
    let (address, port) = text.split_once(':')?;
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
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernels_table_says_what_listens_where() {
        let line = "   0: 0100007F:07B4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0";
        if cfg!(target_endian = "little") {
            let here = Listener { address: Ipv4Addr::LOCALHOST.into(), port: 1972 };
            assert_eq!(socket(line).map(|(here, _, state)| (here, state)), Some((here, LISTENS)));
        }
        assert_eq!(socket("sl local_address"), None);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = socket.local_addr().unwrap();
        let at = Listener { address: here.ip(), port: here.port() };
        assert!(sockets().0.contains(&at));
        let client = TcpStream::connect(here).unwrap();
        let (listeners, connected) = sockets();
        assert_eq!(listeners.iter().filter(|l| **l == at).count(), 1, "a connection is no listener");
        assert!(connected.contains(&Connected { here: at, peer: client.local_addr().unwrap().ip() }));
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
