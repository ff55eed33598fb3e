//! Looking how this node is equipped, to be held against the others. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use regent_model::NodeName;
use regent_model::config::{Config, GroupConfig, Port, Protocol};
use regent_model::survey::{Device, Limits, Point, Seen, Survey, Word, moves, users_of, words_of};

use crate::connections;
use crate::filesystem::superblock;
use crate::user::User;
use crate::{address_lease, bind_here, device, figures, inspection, mountinfo, place, prepare, process};

/// A disk that does not answer within this is said to be unreadable.
const DISK_ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Larger files are not read for their sum.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Where programs are looked for that are named without a path.
const PROGRAM_FOLDERS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// How much of a sum is shown.
const SUM_BYTES: usize = 6;

/// How the node `me` is equipped for what `config` may ask of it.
#[must_use]
pub fn survey(me: &NodeName, config: &Config) -> Survey {
    let groups: Vec<_> = config.groups.iter().filter(|g| g.nodes.contains(me)).collect();
    let filesystems = || groups.iter().flat_map(|g| &g.filesystems);
    let devices = filesystems().filter(|f| !f.is_bind()).map(|f| f.on(me).device);
    let ports: BTreeSet<Port> = groups.iter().flat_map(|g| g.ports()).map(|(_, port, _)| port).collect();
    let (listening, listening_everywhere) = listening(&ports);
    Survey {
        clock_ahead_ms: 0,
        zone: zone(),
        files: groups.iter().flat_map(|g| files(g)).collect(),
        points: filesystems().map(|f| (f.mount.clone(), point(&f.mount))).collect(),
        unprepared: groups
            .iter()
            .map(|g| (g.name.clone(), prepare::missing(&g.prepare)))
            .filter(|(_, missing)| !missing.is_empty())
            .collect(),
        users: groups.iter().flat_map(|g| users(g)).collect(),
        devices: look_at(devices.collect()),
        limits: limits(),
        at_boot: groups.iter().flat_map(|g| at_boot(g)).collect(),
        connections: connections::lacks(),
        listening,
        listening_everywhere,
        semaphores: semaphores(),
        no_address_leases: groups
            .iter()
            .any(|g| !g.addresses.is_empty())
            .then(address_lease::is_possible)
            .and_then(Result::err),
        no_bind: groups
            .iter()
            .any(|g| g.applications.iter().any(|a| a.bind.is_some()))
            .then(bind_here::is_possible)
            .and_then(Result::err),
    }
}

/// Whether a program of this name is where commands find it.
pub(crate) fn is_installed(name: &str) -> bool {
    PROGRAM_FOLDERS.iter().any(|f| inspection::executable(&Path::new(f).join(name)).is_ok())
}

fn files(group: &GroupConfig) -> Vec<(PathBuf, Seen)> {
    let seen = |word| match word {
        Word::Program(path) => {
            let seen = inspection::executable(&path).map_or_else(Seen::Missing, |()| sum(&path));
            (path, seen)
        }
        Word::File(path) => {
            let seen = sum(&path);
            (path, seen)
        }
        Word::Searched(name) => {
            // The systems may be of different age: which program it is does not matter here.
            let seen = if is_installed(&name) {
                Seen::There
            } else {
                Seen::Missing("there is no such program".into())
            };
            (PathBuf::from(name), seen)
        }
    };
    let is_here = |word: &Word| match word {
        Word::Program(path) => moves(group, path).all(|mount| point(mount) == Point::Mounted),
        Word::File(_) | Word::Searched(_) => true,
    };
    words_of(group).into_iter().map(|(_, word)| word).filter(is_here).map(seen).collect()
}

fn sum(path: &Path) -> Seen {
    match fs::metadata(path) {
        Err(error) => Seen::Missing(error.to_string()),
        Ok(found) if !found.is_file() || found.len() > FILE_BYTES_MAX => Seen::There,
        Ok(_) => match fs::read(path) {
            Ok(bytes) => {
                let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
                Seen::Sum(digest.as_ref().iter().take(SUM_BYTES).map(|b| format!("{b:02x}")).collect())
            }
            Err(error) => Seen::Missing(error.to_string()),
        },
    }
}

fn point(path: &Path) -> Point {
    let mounted = mountinfo::own().ok().zip(place::resolve(path).ok());
    if mounted.is_some_and(|(mounts, place)| mountinfo::at(&mounts, &place).is_some()) {
        return Point::Mounted;
    }
    match fs::metadata(path) {
        Err(_) => Point::Missing,
        Ok(found) if !found.is_dir() => Point::NoFolder,
        Ok(_) => match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Point::Empty,
            _ => Point::Used,
        },
    }
}

fn users(group: &GroupConfig) -> Vec<(String, Option<u32>)> {
    let number = |name: &str| User::find(name).ok().map(|user| user.uid.as_raw());
    users_of(group).into_iter().map(|name| (name.to_owned(), number(name))).collect()
}

/// Looks at all devices at once, each on a thread of its own: one that hangs keeps no other.
fn look_at(devices: BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Device> {
    let (sender, answers) = channel();
    let mut found: BTreeMap<PathBuf, Device> = BTreeMap::new();
    for path in devices {
        found.insert(path.clone(), Device::Missing("it does not answer".to_owned()));
        let sender = sender.clone();
        let look = move || {
            let device = identify(&path);
            let _too_late = sender.send((path, device));
        };
        if let Err(error) = std::thread::Builder::new().name("regent-disk".into()).spawn(look) {
            tracing::warn!(%error, "cannot make a thread to look at a disk");
        }
    }
    drop(sender);
    let until = std::time::Instant::now() + DISK_ANSWERS_WITHIN;
    while let Ok((path, device)) =
        answers.recv_timeout(until.saturating_duration_since(std::time::Instant::now()))
    {
        found.insert(path, device);
    }
    found
}

fn identify(path: &Path) -> Device {
    let number = match device::number(path) {
        Ok(number) => number,
        Err(why) => return Device::Missing(why),
    };
    let sectors = fs::read_to_string(format!("/sys/dev/block/{}:{}/size", number.0, number.1));
    let sectors = sectors.ok().and_then(|s| s.trim().parse::<u64>().ok()).unwrap_or(0);
    match device::read_first_block(path) {
        Ok(block) => Device::Found { bytes: sectors * 512, uuid: superblock::uuid(&block), number },
        Err(why) => Device::Missing(why),
    }
}

fn number_in(path: &str) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn semaphores() -> Vec<u64> {
    let text = fs::read_to_string("/proc/sys/kernel/sem").unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect()
}

fn limits() -> Limits {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = figures::kib_of(&memory, "MemTotal:").unwrap_or(0);
    let page = crate::sys::page_bytes();
    let pages = number_in("/proc/sys/kernel/shmall");
    let all = pages.saturating_mul(page);
    Limits {
        memory: kib.saturating_mul(1024),
        huge_pages: number_in("/proc/sys/vm/nr_hugepages"),
        shared_memory: all.min(number_in("/proc/sys/kernel/shmmax")),
        semaphores: semaphores().get(1).copied().unwrap_or(0),
        open_files: number_in("/proc/sys/fs/file-max"),
    }
}

fn at_boot(group: &GroupConfig) -> Vec<(String, String)> {
    let named = group.applications.iter().flat_map(|a| &a.claims.not_at_boot);
    named.filter_map(|name| Some((name.clone(), starts_at_boot(Path::new("/etc"), name)?))).collect()
}

/// By what a service starts at boot: a unit of systemd that something wants, or an init script of a run level.
fn starts_at_boot(etc: &Path, name: &str) -> Option<String> {
    let unit = if name.contains('.') { name.to_owned() } else { format!("{name}.service") };
    let folders = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let ends = |path: &Path, ending: &str| path.extension().is_some_and(|e| e == ending);
    let wanted = folders(etc.join("systemd/system"))
        .filter(|folder| ends(folder, "wants") || ends(folder, "requires"))
        .map(|folder| folder.join(&unit))
        .find(|link| fs::symlink_metadata(link).is_ok());
    if let Some(link) = wanted {
        return Some(link.display().to_string());
    }
    let is_its = |script: &Path| {
        let file = script.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
        let number = file.strip_prefix('S').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        number == Some(name) && file.len() > name.len() + 1
    };
    let levels = ["2", "3", "4", "5", "S"].map(|level| etc.join(format!("rc{level}.d")));
    let script = levels.into_iter().flat_map(folders).find(|script| is_its(script));
    script.map(|script| script.display().to_string())
}

/// Who listens on these ports of this network namespace, and on which of them at every address.
fn listening(wanted: &BTreeSet<Port>) -> (Vec<(Port, String)>, BTreeSet<Port>) {
    if wanted.is_empty() {
        return Default::default();
    }
    let mut everywhere = BTreeSet::new();
    let tables = [
        ("tcp", Protocol::Tcp, "0A"),
        ("tcp6", Protocol::Tcp, "0A"),
        ("udp", Protocol::Udp, "07"),
        ("udp6", Protocol::Udp, "07"),
    ];
    let mut found: BTreeMap<Port, u64> = BTreeMap::new();
    for (table, protocol, listens) in tables {
        let text = fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (words.get(1), words.get(3), words.get(9)) else {
                continue;
            };
            let number = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            let port = number.map(|number| Port { number, protocol });
            if let Some(port) = port.filter(|p| *state == listens && wanted.contains(p)) {
                found.insert(port, inode.parse().unwrap_or(0));
                if local.trim_start_matches('0').starts_with(':') {
                    everywhere.insert(port);
                }
            }
        }
    }
    if found.is_empty() {
        return Default::default();
    }
    let owners = owners();
    let who = |inode: &u64| owners.get(inode).cloned().unwrap_or_else(|| "an unseen process".to_owned());
    (found.iter().map(|(port, inode)| (*port, who(inode))).collect(), everywhere)
}

/// The processes behind sockets, by the sockets' inode.
fn owners() -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    for pid in process::all() {
        for fd in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(fd.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            let inode = target.strip_prefix("socket:[").and_then(|t| t.strip_suffix(']'));
            if let Some(inode) = inode.and_then(|i| i.parse().ok()) {
                owners
                    .entry(inode)
                    .or_insert_with(|| format!("process {pid} ({})", process::command_line(pid)));
            }
        }
    }
    owners
}

fn zone() -> String {
    let link = fs::read_link("/etc/localtime").ok();
    let of_link = link.and_then(|target| {
        let text = target.to_string_lossy().into_owned();
        text.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned())
    });
    let of_file = || fs::read_to_string("/etc/timezone").ok().map(|zone| zone.trim().to_owned());
    let zone = of_link.or_else(of_file).filter(|zone| !zone.is_empty()).unwrap_or_else(|| "UTC".to_owned());
    // Three names of one thing.
    if ["Etc/UTC", "Etc/UCT", "Zulu", "Universal", "Etc/Universal"].contains(&zone.as_str()) {
        "UTC".to_owned()
    } else {
        zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_starts_at_boot_by_a_unit_that_is_wanted_or_a_script_of_a_run_level() {
        let etc = std::env::temp_dir().join(format!("regent-boot-{}", std::process::id()));
        let _not_there = fs::remove_dir_all(&etc);
        let wants = etc.join("systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).unwrap();
        fs::create_dir_all(etc.join("rc3.d")).unwrap();
        std::os::unix::fs::symlink("/lib/systemd/system/slapd.service", wants.join("slapd.service")).unwrap();
        fs::write(etc.join("rc3.d/S20dce"), "").unwrap();
        fs::write(etc.join("rc3.d/K20dfs"), "").unwrap();
        assert!(starts_at_boot(&etc, "slapd").unwrap().ends_with("wants/slapd.service"));
        assert!(starts_at_boot(&etc, "slapd.service").is_some());
        assert!(starts_at_boot(&etc, "dce").unwrap().ends_with("S20dce"));
        for name in ["dfs", "ce", "lapd"] {
            assert_eq!(starts_at_boot(&etc, name), None, "{name}");
        }
        fs::remove_dir_all(&etc).unwrap();
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_found_with_him() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let port = |protocol| Port { number, protocol };
        let (found, everywhere) = listening(&[port(Protocol::Tcp), port(Protocol::Udp)].into());
        assert_eq!((found.len(), everywhere.len()), (1, 0));
        assert!(found[0].1.contains(&format!("process {}", std::process::id())), "{found:?}");
        for address in ["0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let port = Port { number: listener.local_addr().unwrap().port(), protocol: Protocol::Tcp };
            assert!(listening(&[port].into()).1.contains(&port), "{address}");
        }
    }

    #[test]
    fn this_machine_says_something_of_its_kernel_and_its_zone() {
        let limits = limits();
        assert!(limits.memory > 1 << 20 && limits.open_files > 0 && limits.semaphores > 0, "{limits:?}");
        assert!(!zone().is_empty());
        assert_eq!(point(Path::new("/proc")), Point::Mounted);
        assert_eq!(point(Path::new("/no/such/folder")), Point::Missing);
        assert_eq!(point(Path::new("/etc/passwd")), Point::NoFolder);
        assert_eq!(point(Path::new("/usr")), Point::Used);
    }
}
