//! A machine's first process: makes the machine out of its namespaces, starts its command, and reaps.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount, unmount,
};
use rustix::process::{WaitOptions, pivot_root, wait};

use crate::error::{Doing, LabError, Result};
use crate::folder::{Folder, POWER};
use crate::interface::Plug;
use crate::machine::OWN_DISK;
use crate::protocol::BootOrder;
use crate::spec::SeedFile;
use crate::switch::ip_batch;
use crate::sys;

/// Runs as the first process of a machine. Standard input is the line to the fabric: the order to boot comes
/// over it, and whether booting worked goes back. Returns only if booting failed.
///
/// # Errors
/// What kept the machine from booting.
pub(crate) fn run() -> Result<()> {
    sys::block_child_signal();
    rustix::thread::set_name(c"init").doing(|| "take a name".into())?;
    let line = File::from(rustix::io::dup(io::stdin()).doing(|| "use standard input".into())?);
    let mut heard = BufReader::new(line.try_clone().doing(|| "copy the line".into())?);
    let mut line = line;
    let result = boot(&mut heard, &mut line);
    match &result {
        Ok(_) => line.write_all(b"started\n").doing(|| "report".into())?,
        Err(error) => writeln!(line, "{error}").doing(|| "report".into())?,
    }
    drop((heard, line));
    match result {
        Ok((name, command)) => reap(&name, command),
        Err(error) => Err(error),
    }
}

/// The machine's name, and its command's process if there is one.
fn boot(heard: &mut impl BufRead, line: &mut impl Write) -> Result<(String, Option<u32>)> {
    let order: BootOrder =
        serde_json::from_str(&hear(heard)?).doing(|| "understand the boot order".into())?;
    sys::own_cgroup_view().doing(|| "make a cgroup namespace".into())?;
    rustix::system::sethostname(order.machine.name.as_bytes()).doing(|| "set the host name".into())?;
    mounts(&order)?;
    if hear(heard)? != "linked\n" {
        return Err(LabError::new("the fabric broke off"));
    }
    addresses(&order)?;
    line.write_all(b"up\n").doing(|| "report".into())?;
    if hear(heard)? != "cabled\n" {
        return Err(LabError::new("the fabric broke off"));
    }
    let command = start(&order)?;
    Ok((order.machine.name, command))
}

fn hear(heard: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    match heard.read_line(&mut text) {
        Ok(0) => Err(LabError::new("the fabric hung up")),
        other => other.map(|_| text).doing(|| "listen to the fabric".into()),
    }
}

/// Builds the root: the host's file system below, this boot's changes above it in memory.
fn mounts(order: &BootOrder) -> Result<()> {
    let flags = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", flags).doing(|| "make mounts private".into())?;
    let folder = Folder::at(&order.folder);
    let stage = folder.machine(&order.machine.name).join("boot");
    fs::create_dir_all(&stage).doing(|| format!("make {}", stage.display()))?;
    new_mount("tmpfs", &stage, MountFlags::empty(), c"size=1g,mode=755")?;
    std::env::set_current_dir(&stage).doing(|| format!("go to {}", stage.display()))?;
    for name in ["upper", "work", "root"] {
        fs::create_dir(name).doing(|| format!("make {}/{name}", stage.display()))?;
    }
    // Relative, so that no character of the folder's path can be mistaken for a separator of options.
    let layers = c"lowerdir=/,upperdir=upper,workdir=work";
    mount("overlay", "root", "overlay", MountFlags::empty(), layers)
        .doing(|| "mount an overlay as the machine's root (does the kernel have overlayfs?)".into())?;
    let root = stage.join("root");
    other_host_mounts(&root, &order.folder)?;
    devices(&root, order)?;
    kernel_views(&root, order)?;
    volatile(&root, order)?;
    own_files(&root, order, &folder)?;
    std::env::set_current_dir(&root).doing(|| "enter the root".into())?;
    pivot_root(".", ".").doing(|| "change the root".into())?;
    unmount(".", UnmountFlags::DETACH).doing(|| "leave the host's root".into())?;
    std::env::set_current_dir("/").doing(|| "enter the root".into())
}

fn new_mount(kind: &str, at: &Path, flags: MountFlags, options: &std::ffi::CStr) -> Result<()> {
    fs::create_dir_all(at).doing(|| format!("make {}", at.display()))?;
    mount(kind, at, kind, flags, options).doing(|| format!("mount {kind} at {}", at.display()))
}

/// A host whose /usr or /home is a file system of its own: the overlay shows only empty folders there.
fn other_host_mounts(root: &Path, lab: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").doing(|| "read the mount table".into())?;
    for line in table.lines() {
        let Some(point) = line.split(' ').nth(4).map(unescape) else { continue };
        let own = ["/proc", "/sys", "/dev", "/run", "/tmp"].iter().any(|p| point.starts_with(p));
        if own || point.starts_with(lab) || point == Path::new("/") {
            continue;
        }
        let target = root.join(point.strip_prefix("/").unwrap_or(&point));
        if target.exists() && mount_bind(&point, &target).is_ok() {
            let read_only = MountFlags::BIND | MountFlags::RDONLY;
            mount_remount(&target, read_only, c"").doing(|| format!("protect {}", point.display()))?;
        }
    }
    Ok(())
}

/// The mount table writes spaces and the like as three octal digits.
pub(crate) fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let octal = (bytes[i] == b'\\').then(|| text.get(i + 1..i + 4)).flatten();
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

const NODES: [(&str, u32, u32); 8] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("fuse", 10, 229),
    ("ptmx", 5, 2),
];

/// Devices of its own: neither the host's disks nor its watchdog are there.
fn devices(root: &Path, order: &BootOrder) -> Result<()> {
    let dev = root.join("dev");
    new_mount("tmpfs", &dev, MountFlags::NOSUID, c"size=1m,mode=755")?;
    let node = |path: &Path, kind, mode: u32, major, minor| {
        mknodat(CWD, path, kind, Mode::from(mode), makedev(major, minor))
            .doing(|| format!("make the device {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).doing(|| "set permissions".into())
    };
    for (name, major, minor) in NODES {
        node(&dev.join(name), FileType::CharacterDevice, 0o666, major, minor)?;
    }
    for (device, major, minor) in &order.devices {
        let path = root.join(device.strip_prefix("/").unwrap_or(device));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).doing(|| format!("make {}", parent.display()))?;
        }
        node(&path, FileType::BlockDevice, 0o660, *major, *minor)?;
    }
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(target, dev.join(name)).doing(|| format!("make /dev/{name}"))?;
    }
    let secure = MountFlags::NOSUID | MountFlags::NOEXEC;
    new_mount("devpts", &dev.join("pts"), secure, c"newinstance,ptmxmode=666,mode=620")?;
    let secure = MountFlags::NOSUID | MountFlags::NODEV;
    new_mount("tmpfs", &dev.join("shm"), secure, c"size=50%,mode=1777")
}

/// /proc, /sys and the machine's own control groups. What would reach the host cannot be written.
fn kernel_views(root: &Path, order: &BootOrder) -> Result<()> {
    let secure = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let proc = root.join("proc");
    new_mount("proc", &proc, secure, c"")?;
    let sys = root.join("sys");
    new_mount("sysfs", &sys, secure | MountFlags::RDONLY, c"")?;
    let groups = sys.join("fs/cgroup");
    mount("cgroup2", &groups, "cgroup2", secure, c"").doing(|| "mount the control groups".into())?;
    let boot_id = root.join("dev/.boot_id");
    fs::write(&boot_id, format!("{}\n", order.boot_id)).doing(|| "write the boot identity".into())?;
    let bind = |from: &Path, to: &Path| mount_bind(from, to).doing(|| format!("hide {}", to.display()));
    let sysrq = proc.join("sysrq-trigger"); // it would reach the host
    if sysrq.exists() {
        bind(&root.join("dev/null"), &sysrq)?;
    }
    let protect = |path: &Path, flags| {
        mount_remount(path, flags, c"").doing(|| format!("set the protection of {}", path.display()))
    };
    let settings = proc.join("sys");
    bind(&settings, &settings)?;
    protect(&settings, secure | MountFlags::BIND | MountFlags::RDONLY)?;
    bind(&boot_id, &settings.join("kernel/random/boot_id"))?;
    fs::remove_file(&boot_id).doing(|| "tidy /dev".into())?;
    let net = settings.join("net"); // these settings belong to the machine's own network namespace
    bind(&net, &net)?;
    protect(&net, secure | MountFlags::BIND)
}

/// Folders in memory. /run has the host's folders, empty: what Debian's programs expect after a boot.
fn volatile(root: &Path, order: &BootOrder) -> Result<()> {
    let secure = MountFlags::NOSUID | MountFlags::NODEV;
    new_mount("tmpfs", &root.join("tmp"), secure, c"size=50%,mode=1777")?;
    let run = root.join("run");
    new_mount("tmpfs", &run, secure, c"size=20%,mode=755")?;
    let host_run = Path::new("/run");
    for entry in fs::read_dir(host_run).doing(|| "read /run".into())?.flatten() {
        let Ok(about) = entry.metadata() else { continue };
        let hidden = order.folder.starts_with(entry.path()) || entry.file_name() == "netns";
        if about.is_dir() && !hidden {
            let made = run.join(entry.file_name());
            let copied = fs::create_dir(&made)
                .and_then(|()| chown(&made, Some(about.uid()), Some(about.gid())))
                .and_then(|()| fs::set_permissions(&made, about.permissions()));
            copied.doing(|| format!("make {}", entry.path().display()))?;
        }
    }
    fs::create_dir_all(run.join("lock")).doing(|| "make /run/lock".into())
}

/// What belongs to this machine: persistent folders, programs, names, the power switch, seed files.
fn own_files(root: &Path, order: &BootOrder, folder: &Folder) -> Result<()> {
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let name = &order.machine.name;
    let disk = PathBuf::from("own"); // beside the root, in memory
    fs::create_dir(&disk).doing(|| "make a mount point".into())?;
    mount(inside(Path::new(OWN_DISK)), &disk, "ext4", MountFlags::NOATIME, c"")
        .doing(|| format!("mount the disk of {name}"))?;
    for persistent in &order.persistent {
        let target = inside(persistent);
        fs::create_dir_all(&target).doing(|| format!("make {}", persistent.display()))?;
        let source = disk.join(persistent.strip_prefix("/").unwrap_or(persistent));
        mount_bind(&source, &target).doing(|| format!("mount {}", persistent.display()))?;
    }
    let bind_file = |source: &Path, target: &Path| {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).doing(|| format!("make {}", parent.display()))?;
        }
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(target)
            .doing(|| format!("make {}", target.display()))?;
        mount_bind(source, target).doing(|| format!("bind {}", source.display()))
    };
    for program in &order.programs {
        bind_file(&folder.programs().join(program), &root.join("usr/local/bin").join(program))?;
    }
    bind_file(&folder.machine(name).join(POWER), &inside(Path::new(crate::fence::SOCKET)))?;
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for (address, host) in &order.hosts {
        hosts += &format!("{address} {host}\n");
    }
    let hand: Vec<String> = order.hand.iter().map(|w| format!("'{}'", w.replace('\'', "'\\''"))).collect();
    let agent = format!("#!/bin/sh\nexec {} fence-agent\n", hand.join(" "));
    let storage_agent = agent.replace("fence-agent\n", "fence-agent san\n");
    let file = |path: &str, mode, content: String| SeedFile {
        path: path.into(),
        mode,
        content: content.into_bytes(),
    };
    let made = [
        file("/etc/hosts", 0o644, hosts),
        file("/etc/hostname", 0o644, format!("{name}\n")),
        file(crate::fence::AGENT, 0o755, agent),
        file(crate::fence::STORAGE_AGENT, 0o755, storage_agent),
    ];
    let common = order.files.iter().filter(|_| order.machine.role != crate::spec::Role::Client);
    for file in made.iter().chain(common).chain(&order.machine.files) {
        if !order.persistent.iter().any(|p| file.path.starts_with(p)) {
            write_seed(&inside(&file.path), file)?;
        }
    }
    Ok(())
}

/// Writes a file with its permissions at `path`, or the link that it is. A link that is there already is replaced: what it
/// points to may lie outside of the machine.
pub(crate) fn write_seed(path: &Path, file: &SeedFile) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).doing(|| format!("make {}", parent.display()))?;
    }
    let is_link = fs::symlink_metadata(path).map(|there| there.is_symlink()).unwrap_or(false);
    if is_link || (file.mode == SeedFile::LINK && path.exists()) {
        fs::remove_file(path).doing(|| format!("replace {}", path.display()))?;
    }
    if file.mode == SeedFile::LINK {
        return symlink(OsStr::from_bytes(&file.content), path).doing(|| format!("link {}", path.display()));
    }
    fs::write(path, &file.content)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(file.mode)))
        .doing(|| format!("write {}", path.display()))
}

fn addresses(order: &BootOrder) -> Result<()> {
    let mut lines = String::from("link set lo up\n");
    for Plug { name, addresses, .. } in order.machine.plugs() {
        let conf = format!("/proc/sys/net/ipv6/conf/{name}");
        if Path::new(&conf).exists() {
            for setting in ["accept_dad", "accept_ra", "autoconf"] {
                fs::write(format!("{conf}/{setting}"), "0").doing(|| format!("write {conf}/{setting}"))?;
            }
        }
        lines += &format!("link set {name} up\n");
        for cidr in addresses {
            let extra = if cidr.address.is_ipv4() { "brd +" } else { "nodad" };
            lines += &format!("addr add {cidr} dev {name} {extra}\n");
        }
    }
    ip_batch(&lines)
}

fn start(order: &BootOrder) -> Result<Option<u32>> {
    let Some((program, arguments)) = order.machine.command.split_first() else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(arguments).envs(&order.env).stdin(Stdio::null());
    sys::tame(&mut command);
    let child = command.spawn().doing(|| format!("start {program} on {}", order.machine.name))?;
    Ok(Some(child.id()))
}

/// Buries every process, and says on the console when the command has ended.
fn reap(name: &str, command: Option<u32>) -> ! {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid.as_raw_nonzero().get().unsigned_abs()) == command => {
                let how = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => format!("exit code {code}"),
                    (_, Some(signal)) => format!("signal {signal}"),
                    _ => "an unknown end".to_owned(),
                };
                let _nobody_reads_it = writeln!(io::stderr(), "{name}: the command has ended: {how}");
            }
            Ok(_) => {}
            Err(_) => sys::wait_for_child_signal(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_spaces_are_read_back() {
        assert_eq!(unescape(r"/mnt/two\040words\134"), Path::new(r"/mnt/two words\"));
        assert_eq!(unescape(r"/plain\9"), Path::new(r"/plain\9"));
    }

    #[test]
    fn a_link_that_is_there_is_replaced_and_what_it_points_to_stays() {
        let folder = std::env::temp_dir().join(format!("regent-test-seed-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (outside, path) = (folder.join("outside"), folder.join("bin/ccontrol"));
        fs::write(&outside, "the host's").unwrap();
        write_seed(&path, &SeedFile::link(&path, &outside)).unwrap();
        let first = fs::read_link(&path).unwrap();
        write_seed(&path, &SeedFile { path: path.clone(), mode: 0o755, content: b"own".to_vec() }).unwrap();
        let (there, own) = (fs::read_to_string(&outside).unwrap(), fs::read_to_string(&path).unwrap());
        write_seed(&path, &SeedFile::link(&path, Path::new("/nowhere"))).unwrap();
        let last = fs::read_link(&path).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(first, outside);
        assert_eq!((there.as_str(), own.as_str()), ("the host's", "own"));
        assert_eq!(last, Path::new("/nowhere"));
    }
}
