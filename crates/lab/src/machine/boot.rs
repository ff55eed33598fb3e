//! How a machine boots: its disks, its first process, its networks, its command.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};

use super::{Job, Machine, OWN_DISK, Shared};
use crate::cgroup;
use crate::error::{Doing, LabError, Result};
use crate::loopdev;
use crate::protocol::{BootOrder, Power};
use crate::spec::{LabSpec, MachineSpec};
use crate::sys::spawn_machine;

/// How long a boot may take; a busy host is slow.
const BOOT_PATIENCE: Duration = Duration::from_secs(30);

impl Machine {
    pub(super) fn boot(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<()> {
        let (boot, boot_id, env) = {
            let live = self.live();
            (live.boot, live.boot_id.clone(), live.env.clone())
        };
        for port in self.port.iter().chain([&self.own]) {
            port.power_on(boot);
        }
        let (folder, name) = (&shared.folder, &self.spec.name);
        let mut files = vec![(PathBuf::from(OWN_DISK), folder.own_mount(name).join("disk0"))];
        for (number, disk) in shared.spec.disks.iter().enumerate().filter(|_| self.port.is_some()) {
            if disk.only.as_ref().is_some_and(|only| only != name) {
                continue;
            }
            files.push((disk.device.clone(), folder.san_mount(name).join(format!("disk{number}"))));
        }
        let mut devices = Vec::new();
        for (device, file) in files {
            let minor = loopdev::attach(&file, folder, name)?;
            self.live().loops.push(minor);
            devices.push((device, loopdev::MAJOR, minor));
        }
        let (ours, theirs) = UnixStream::pair().doing(|| "make a socket pair".into())?;
        ours.set_read_timeout(Some(BOOT_PATIENCE)).doing(|| "set a timeout".into())?;
        self.start_first_process(shared, theirs, &env)?;
        let order = BootOrder {
            lab: shared.spec.name.clone(),
            machine: self.spec.clone(),
            boot_id,
            folder: shared.folder.path().to_owned(),
            devices,
            hosts: hosts(&shared.spec),
            persistent: shared.spec.persistent.clone(),
            programs: program_names(&shared.spec),
            files: shared.spec.files.clone(),
            hand: hand(&shared.spec),
            env,
        };
        self.talk_through_boot(shared, &ours, &order)
    }

    fn start_first_process(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        line: UnixStream,
        env: &BTreeMap<String, String>,
    ) -> Result<()> {
        let group = self.cgroup(shared);
        cgroup::create(&group)?;
        let group = fs::File::open(&group).doing(|| format!("open {}", group.display()))?;
        let console = shared.folder.console(&self.spec.name);
        let console = OpenOptions::new().create(true).append(true).open(&console);
        let console = console.doing(|| "open the console's file".into())?;
        let mut argv = vec![c"regent-lab".to_owned()];
        argv.extend(shared.spec.words.iter().map(String::as_str).chain(["init"]).filter_map(c_string));
        let env: Vec<CString> = env.iter().filter_map(|(k, v)| c_string(&format!("{k}={v}"))).collect();
        let (tell, told) = std::sync::mpsc::channel();
        let job: Job = Box::new(move || {
            let born = spawn_machine(&argv, &env, line.as_fd(), console.as_fd(), group.as_fd());
            let _boot_waits = tell.send(born);
        });
        let lost = || LabError::new("the fabric is going down");
        shared.main.send(job).map_err(|_| lost())?;
        let born = told.recv().map_err(|_| lost())?.doing(|| format!("start {}", self.spec.name))?;
        let pidfd = born.pidfd.try_clone().doing(|| "copy a process handle".into())?;
        let mut live = self.live();
        live.born = Some(born);
        if live.power != Power::Booting {
            let _power_was_cut_meanwhile = pidfd_send_signal(&pidfd, Signal::KILL);
        }
        let (machine, shared) = (Arc::clone(self), Arc::clone(shared));
        std::thread::Builder::new()
            .name("reaper".into())
            .spawn(move || machine.watch(&shared, &pidfd))
            .doing(|| "start a thread".into())?;
        live.watched = true;
        Ok(())
    }

    /// The order; `linked` while the machine mounts; `cabled` when its links are `up`; `started` at the end.
    fn talk_through_boot(&self, shared: &Shared, line: &UnixStream, order: &BootOrder) -> Result<()> {
        let name = &self.spec.name;
        let mut text = serde_json::to_string(order).doing(|| "write the boot order".into())?;
        text.push('\n');
        let mut writer = line;
        writer.write_all(text.as_bytes()).doing(|| format!("talk to {name}"))?;
        let pid = self.live().born.as_ref().map_or(0, |b| b.pid);
        let plugs = self.spec.plugs();
        let mut said = String::new();
        let mut reader = BufReader::new(line);
        let plugged = shared.switch.plug(self.index, &plugs, pid).and_then(|ports| {
            self.live().ports = plugs.iter().map(|p| p.number).zip(ports).collect();
            writer.write_all(b"linked\n").doing(|| format!("talk to {name}"))
        });
        if plugged.is_err() {
            // If the machine has died, what it said last is the better reason.
            line.set_read_timeout(Some(Duration::from_millis(200))).doing(|| "set a timeout".into())?;
        }
        let mut heard = reader.read_line(&mut said);
        if said == "up\n" {
            self.cut_as_before(shared)?;
            writer.write_all(b"cabled\n").doing(|| format!("talk to {name}"))?;
            said.clear();
            heard = reader.read_line(&mut said);
        }
        match (said.trim(), plugged, heard) {
            ("started", Ok(()), _) => Ok(()),
            ("", Err(error), _) => Err(error),
            ("", _, Ok(_)) => Err(LabError::new(format!("{name} died while it booted"))
                .hint(format!("see {}", shared.folder.console(name).display()))),
            ("", _, Err(error)) => Err(LabError::new(format!("{name} does not finish booting: {error}"))),
            (why, _, _) => Err(LabError::new(format!("{name} cannot boot: {why}"))),
        }
    }
}

fn c_string(text: &str) -> Option<CString> {
    CString::new(text).ok()
}

/// Like the kernel's, but one per boot of a machine: the kernel's is the host's.
pub(super) fn new_boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/uuid";
    Ok(fs::read_to_string(path).doing(|| format!("read {path}"))?.trim().to_owned())
}

fn hosts(spec: &LabSpec) -> Vec<(std::net::IpAddr, String)> {
    let named = |m: &MachineSpec| {
        let name = m.name.clone();
        let addresses: Vec<_> = m.addresses.iter().flatten().map(|c| c.address).collect();
        addresses.into_iter().map(move |a| (a, name.clone())).collect::<Vec<_>>()
    };
    spec.machines.iter().flat_map(named).chain(spec.names.iter().cloned()).collect()
}

/// What the lab's own commands are in a machine: the executable, and the words before them.
fn hand(spec: &LabSpec) -> Vec<String> {
    let name = spec.executable.file_name().unwrap_or_default().to_string_lossy();
    std::iter::once(format!("/usr/local/bin/{name}")).chain(spec.words.iter().cloned()).collect()
}

fn program_names(spec: &LabSpec) -> Vec<String> {
    let all = std::iter::once(&spec.executable).chain(&spec.programs);
    let mut names: Vec<String> =
        all.filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect();
    names.sort();
    names.dedup();
    names
}

pub(super) fn environment(shared: &Shared, machine: &MachineSpec, boot_id: &str) -> BTreeMap<String, String> {
    // The kernel is shared: a guard that cannot let go in time must not restart it.
    let reset_line = format!("{} reset-line", hand(&shared.spec).join(" "));
    let fixed = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("REGENT_CGROUP_ROOT", "/sys/fs/cgroup"),
        ("REGENT_LAB_POWER", crate::fence::SOCKET),
        ("REGENT_LAB", &shared.spec.name),
        ("REGENT_LAB_NODE", &machine.name),
        ("REGENT_BOOT_ID", boot_id),
        ("REGENT_RESET_COMMAND", &reset_line),
    ];
    let mut env: BTreeMap<String, String> =
        fixed.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    env.extend(machine.env.clone());
    env
}
