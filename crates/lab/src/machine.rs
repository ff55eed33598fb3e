//! One machine of the lab: power on, power off, and clearing away what is left.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::cgroup;
use crate::clock::now_ns;
use crate::error::{Doing, LabError, Result};
use crate::folder::Folder;
use crate::loopdev;
use crate::protocol::{BootOrder, MachineStatus, NetworkStatus, Power};
use crate::san::{DiskState, Port};
use crate::spec::{LabSpec, MachineSpec};
use crate::switch::{Direction, Switch, SwitchPort};
use crate::sys::{Born, spawn_machine};

/// How long a boot may take; a busy host is slow.
const BOOT_PATIENCE: Duration = Duration::from_secs(30);
/// A machine's own disk, in the machine.
pub(crate) const OWN_DISK: &str = "/dev/disk0";
/// How long clearing away may take before it is called stuck.
pub(crate) const DEATH_PATIENCE: Duration = Duration::from_secs(20);

/// What every machine of a lab shares.
pub(crate) struct Shared {
    pub(crate) spec: LabSpec,
    pub(crate) folder: Folder,
    pub(crate) cgroup: PathBuf,
    pub(crate) switch: Switch,
    /// Runs work on the fabric's main thread: a machine dies with the thread that made it.
    pub(crate) main: std::sync::mpsc::Sender<Job>,
}

/// Work for the main thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A machine.
pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) spec: MachineSpec,
    /// Its way to the shared disks, if it has one.
    pub(crate) port: Option<Arc<Port>>,
    /// Its way to its own disk.
    own: Arc<Port>,
    live: Mutex<Live>,
    changed: Condvar,
}

struct Live {
    power: Power,
    boot: u64,
    boot_id: String,
    env: BTreeMap<String, String>,
    born: Option<Born>,
    ports: Vec<(usize, SwitchPort)>,
    cuts: BTreeMap<usize, Direction>,
    cut_by_pause: Vec<usize>,
    disk_before_pause: Option<DiskState>,
    paused: bool,
    loops: Vec<u32>,
    on_again: bool,
    /// A thread waits for the first process to end, and clears away then.
    watched: bool,
    trouble: Option<String>,
}

impl Machine {
    pub(crate) fn new(index: usize, spec: MachineSpec, port: Option<Arc<Port>>, own: Arc<Port>) -> Arc<Self> {
        let live = Live {
            power: Power::Off,
            boot: 0,
            boot_id: String::new(),
            env: BTreeMap::new(),
            born: None,
            ports: Vec::new(),
            cuts: BTreeMap::new(),
            cut_by_pause: Vec::new(),
            disk_before_pause: None,
            paused: false,
            loops: Vec::new(),
            on_again: false,
            watched: false,
            trouble: None,
        };
        Arc::new(Self { index, spec, port, own, live: Mutex::new(live), changed: Condvar::new() })
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cgroup(&self, shared: &Shared) -> PathBuf {
        shared.cgroup.join(&self.spec.name)
    }

    pub(crate) fn power(&self) -> Power {
        self.live().power
    }

    pub(crate) fn status(&self, shared: &Shared) -> MachineStatus {
        let live = self.live();
        let network = |network: usize| NetworkStatus {
            network,
            addresses: self.spec.addresses[network].clone(),
            cut: live.cuts.get(&network).copied(),
        };
        MachineStatus {
            name: self.spec.name.clone(),
            role: self.spec.role,
            power: live.power,
            boot: live.boot,
            boot_id: live.boot_id.clone(),
            pid: live.born.as_ref().map_or(0, |b| b.pid),
            cgroup: self.cgroup(shared),
            env: live.env.clone(),
            paused: live.paused,
            disk: self.port.as_ref().map(|p| p.state()),
            networks: self.networks().into_iter().map(network).collect(),
            trouble: live.trouble.clone(),
        }
    }

    fn networks(&self) -> Vec<usize> {
        (0..self.spec.addresses.len()).filter(|n| !self.spec.addresses[*n].is_empty()).collect()
    }

    /// Boots the machine and waits until its command is started.
    ///
    /// # Errors
    /// When it is on already, what is left of the last boot does not go away, or booting fails; then it is off.
    pub(crate) fn power_on(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<u64> {
        let name = &self.spec.name;
        {
            let mut live = self.wait_while(self.live(), DEATH_PATIENCE, |l| l.power == Power::Dying)?;
            match live.power {
                Power::Off => live.power = Power::Booting,
                Power::On | Power::Booting => return Err(LabError::new(format!("{name} is on already"))),
                Power::Dying => {
                    return Err(LabError::new(format!(
                        "what is left of {name}'s last boot does not go away"
                    )));
                }
            }
            live.boot += 1;
            live.boot_id = new_boot_id()?;
            live.env = environment(shared, &self.spec, &live.boot_id);
            live.cuts.clear();
            live.cut_by_pause.clear();
            live.disk_before_pause = None;
            live.paused = false;
            live.trouble = None;
        }
        match self.boot(shared) {
            Ok(()) => {
                let mut live = self.live();
                if live.power == Power::Booting {
                    live.power = Power::On;
                }
                self.changed.notify_all();
                Ok(now_ns())
            }
            Err(error) => {
                self.live().trouble = Some(error.to_string());
                let _told_already = self.power_off(shared);
                let watched = self.live().watched;
                if watched {
                    self.wait_gone()?;
                } else {
                    self.finish(shared);
                }
                Err(error)
            }
        }
    }

    fn boot(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<()> {
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

    /// The order; links while the machine mounts; `go` when both are there; `started` at the end.
    fn talk_through_boot(&self, shared: &Shared, line: &UnixStream, order: &BootOrder) -> Result<()> {
        let name = &self.spec.name;
        let mut text = serde_json::to_string(order).doing(|| "write the boot order".into())?;
        text.push('\n');
        let mut writer = line;
        writer.write_all(text.as_bytes()).doing(|| format!("talk to {name}"))?;
        let pid = self.live().born.as_ref().map_or(0, |b| b.pid);
        let networks = self.networks();
        let mut said = String::new();
        let mut reader = BufReader::new(line);
        let plugged = shared.switch.plug(self.index, &networks, pid).and_then(|ports| {
            self.live().ports = networks.into_iter().zip(ports).collect();
            writer.write_all(b"linked\n").doing(|| format!("talk to {name}"))
        });
        if plugged.is_err() {
            // If the machine has died, what it said last is the better reason.
            line.set_read_timeout(Some(Duration::from_millis(200))).doing(|| "set a timeout".into())?;
        }
        let heard = reader.read_line(&mut said);
        match (said.trim(), plugged, heard) {
            ("started", Ok(()), _) => Ok(()),
            ("", Err(error), _) => Err(error),
            ("", _, Ok(_)) => Err(LabError::new(format!("{name} died while it booted"))
                .hint(format!("see {}", shared.folder.console(name).display()))),
            ("", _, Err(error)) => Err(LabError::new(format!("{name} does not finish booting: {error}"))),
            (why, _, _) => Err(LabError::new(format!("{name} cannot boot: {why}"))),
        }
    }

    /// Cuts the power: the SAN port first, then the network ports, then its processes. Gives the time of the
    /// cut. Returns at once; [`Self::wait_gone`] waits for the rest. A machine that is off stays off.
    ///
    /// # Errors
    /// When a network port cannot be silenced; the processes are killed even so.
    fn power_off(&self, shared: &Shared) -> Result<u64> {
        let mut live = self.live();
        if matches!(live.power, Power::Off | Power::Dying) {
            return Ok(now_ns());
        }
        let at = self.port.as_ref().map(|port| port.switch(DiskState::Cut));
        self.own.switch(DiskState::Cut);
        let mut result = Ok(());
        for (_, port) in &live.ports {
            result = result.and(shared.switch.cut(port, Direction::Both));
        }
        let at = at.unwrap_or_else(now_ns);
        if let Some(born) = &live.born {
            let _dead_already = pidfd_send_signal(&born.pidfd, Signal::KILL);
        }
        live.power = Power::Dying;
        drop(live);
        cgroup::kill(&self.cgroup(shared));
        self.changed.notify_all();
        result.map(|()| at)
    }

    /// Waits for the first process to end, and clears away.
    fn watch(self: &Arc<Self>, shared: &Arc<Shared>, pidfd: &OwnedFd) {
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        while poll(&mut fds, None::<&Timespec>).is_err() {}
        let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).ok().flatten();
        // A machine whose first process ended by itself has no power either: `reboot` in it shows as SIGHUP.
        let by_itself = self.power() == Power::On;
        let rebooted = by_itself && ended.and_then(|s| s.terminating_signal()) == Some(libc::SIGHUP);
        let _told_by_status = self.power_off(shared);
        self.finish(shared);
        let on_again = std::mem::take(&mut self.live().on_again) || rebooted;
        if on_again && let Err(error) = self.power_on(shared) {
            self.live().trouble = Some(error.to_string());
        }
    }

    /// Clears away what a dead machine leaves. Called once per boot, with the first process gone or never
    /// started.
    fn finish(&self, shared: &Shared) {
        let (ports, loops) = {
            let mut live = self.live();
            (std::mem::take(&mut live.ports), std::mem::take(&mut live.loops))
        };
        let mut trouble = None;
        let group = self.cgroup(shared);
        cgroup::kill(&group);
        if !cgroup::wait_empty(&group, DEATH_PATIENCE) {
            trouble = Some(format!("processes in {} do not die", group.display()));
        }
        let ports: Vec<SwitchPort> = ports.into_iter().map(|(_, port)| port).collect();
        shared.switch.unplug(&ports);
        for number in loops {
            if let Err(error) = loopdev::detach(number, &shared.folder, &self.spec.name, DEATH_PATIENCE) {
                trouble = Some(error.to_string());
            }
        }
        cgroup::remove(&group);
        let mut live = self.live();
        live.trouble = trouble.or(live.trouble.take());
        live.born = None;
        live.watched = false;
        live.paused = false;
        live.cuts.clear();
        live.power = Power::Off;
        self.changed.notify_all();
    }

    /// Waits until nothing is left of a machine whose power was cut.
    ///
    /// # Errors
    /// When that takes too long.
    pub(crate) fn wait_gone(&self) -> Result<()> {
        let live = self.wait_while(self.live(), DEATH_PATIENCE * 2, |l| l.power == Power::Dying)?;
        drop(live);
        Ok(())
    }

    /// Cuts the power for good: a boot that was to follow does not.
    ///
    /// # Errors
    /// See [`Self::power_off`].
    pub(crate) fn off(&self, shared: &Shared) -> Result<u64> {
        self.live().on_again = false;
        self.power_off(shared)
    }

    /// Cuts the power and has the machine booted again once it is gone. Gives the time of the cut.
    ///
    /// # Errors
    /// See [`Self::power_off`].
    pub(crate) fn reset(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<u64> {
        {
            let mut live = self.live();
            if live.power == Power::Off {
                drop(live);
                return self.power_on(shared);
            }
            live.on_again = true;
        }
        self.power_off(shared)
    }

    fn wait_while<'a>(
        &self,
        live: MutexGuard<'a, Live>,
        patience: Duration,
        condition: impl Fn(&Live) -> bool,
    ) -> Result<MutexGuard<'a, Live>> {
        let end = Instant::now() + patience;
        let mut live = live;
        while condition(&live) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LabError::new(format!("waiting for {} took too long", self.spec.name)));
            }
            live = self.changed.wait_timeout(live, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(live)
    }

    /// Swallows frames on one network or on all. Gives the time from which on.
    ///
    /// # Errors
    /// When the machine is off, or is not on that network.
    pub(crate) fn cut(&self, shared: &Shared, network: Option<usize>, direction: Direction) -> Result<u64> {
        let mut live = self.live();
        for (number, port) in self.chosen(&live, network)? {
            shared.switch.heal(&port)?;
            shared.switch.cut(&port, direction)?;
            live.cuts.insert(number, direction);
        }
        Ok(now_ns())
    }

    /// Undoes the cuts of one network or of all.
    ///
    /// # Errors
    /// When the machine is off, or is not on that network.
    pub(crate) fn heal(&self, shared: &Shared, network: Option<usize>) -> Result<u64> {
        let mut live = self.live();
        for (number, port) in self.chosen(&live, network)? {
            shared.switch.heal(&port)?;
            live.cuts.remove(&number);
        }
        Ok(now_ns())
    }

    fn chosen(&self, live: &Live, network: Option<usize>) -> Result<Vec<(usize, SwitchPort)>> {
        let name = &self.spec.name;
        if !matches!(live.power, Power::On | Power::Booting) {
            return Err(LabError::new(format!("{name} is off")).hint(format!("`regent lab on {name}`")));
        }
        let chosen: Vec<_> =
            live.ports.iter().filter(|(n, _)| network.is_none_or(|wanted| wanted == *n)).cloned().collect();
        if chosen.is_empty() {
            let has: Vec<String> = self.networks().iter().map(|n| format!("eth{n}")).collect();
            return Err(LabError::new(format!("{name} is not on that network; it has {}", has.join(", "))));
        }
        Ok(chosen)
    }

    /// Whether the machine reaches any network: a fence device on the network hears only such a machine.
    pub(crate) fn is_reachable(&self) -> bool {
        let live = self.live();
        live.ports.iter().any(|(network, _)| !live.cuts.contains_key(network))
    }

    /// Freezes every process; if `silent`, cuts the network ports and lets the SAN port hang.
    ///
    /// # Errors
    /// When the machine is off or the kernel refuses.
    pub(crate) fn pause(&self, shared: &Shared, silent: bool) -> Result<u64> {
        let mut live = self.live();
        let ports = self.chosen(&live, None)?;
        let uncut: Vec<_> = ports.into_iter().filter(|(n, _)| !live.cuts.contains_key(n)).collect();
        for (number, port) in uncut.into_iter().filter(|_| silent) {
            shared.switch.cut(&port, Direction::Both)?;
            live.cuts.insert(number, Direction::Both);
            live.cut_by_pause.push(number);
        }
        cgroup::freeze(&self.cgroup(shared), true)?;
        live.paused = true;
        // Only now: a process that waits for a hanging disk cannot be frozen.
        if let Some(port) = self.port.as_ref().filter(|_| silent && live.disk_before_pause.is_none()) {
            live.disk_before_pause = Some(port.state());
            port.switch(DiskState::Hang);
        }
        Ok(now_ns())
    }

    /// Thaws every process, and undoes what pausing did to the ports.
    ///
    /// # Errors
    /// When the machine is off or the kernel refuses.
    pub(crate) fn resume(&self, shared: &Shared) -> Result<u64> {
        let mut live = self.live();
        let ports = self.chosen(&live, None)?;
        if let (Some(port), Some(before)) = (&self.port, live.disk_before_pause.take()) {
            port.switch(before);
        }
        let cut = std::mem::take(&mut live.cut_by_pause);
        for (number, port) in ports.into_iter().filter(|(n, _)| cut.contains(n)) {
            shared.switch.heal(&port)?;
            live.cuts.remove(&number);
        }
        cgroup::freeze(&self.cgroup(shared), false)?;
        live.paused = false;
        Ok(now_ns())
    }

    /// Sets the switch in the SAN port.
    ///
    /// # Errors
    /// When the machine has no disk or is off.
    pub(crate) fn disk(&self, state: DiskState) -> Result<u64> {
        let name = &self.spec.name;
        let live = self.live();
        let port = self.port.as_ref().ok_or_else(|| LabError::new(format!("{name} has no shared disk")))?;
        if !matches!(live.power, Power::On | Power::Booting) {
            return Err(LabError::new(format!("{name} is off")).hint(format!("`regent lab on {name}`")));
        }
        Ok(port.switch(state))
    }
}

fn c_string(text: &str) -> Option<CString> {
    CString::new(text).ok()
}

/// Like the kernel's, but one per boot of a machine: the kernel's is the host's.
fn new_boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/uuid";
    Ok(fs::read_to_string(path).doing(|| format!("read {path}"))?.trim().to_owned())
}

fn hosts(spec: &LabSpec) -> Vec<(std::net::IpAddr, String)> {
    let named = |m: &MachineSpec| {
        let name = m.name.clone();
        let addresses: Vec<_> = m.addresses.iter().flatten().map(|c| c.address).collect();
        addresses.into_iter().map(move |a| (a, name.clone())).collect::<Vec<_>>()
    };
    spec.machines.iter().flat_map(named).collect()
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

fn environment(shared: &Shared, machine: &MachineSpec, boot_id: &str) -> BTreeMap<String, String> {
    let fixed = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("REGENT_CGROUP_ROOT", "/sys/fs/cgroup"),
        ("REGENT_LAB_POWER", crate::fence::SOCKET),
        ("REGENT_LAB", &shared.spec.name),
        ("REGENT_LAB_NODE", &machine.name),
        ("REGENT_BOOT_ID", boot_id),
    ];
    let mut env: BTreeMap<String, String> =
        fixed.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    env.extend(machine.env.clone());
    env
}
