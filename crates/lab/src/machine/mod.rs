//! One machine of the lab: power on, power off, and clearing away what is left.

mod boot;
mod faults;

pub(crate) use faults::At;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::cgroup;
use crate::clock::now_ns;
use crate::error::{LabError, Result};
use crate::folder::Folder;
use crate::interface::Plug;
use crate::loopdev;
use crate::protocol::{MachineStatus, NetworkStatus, Power};
use crate::san::{DiskState, Port};
use crate::spec::{LabSpec, MachineSpec};
use crate::switch::{Direction, Switch, SwitchPort};
use crate::sys::Born;

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
    losses: BTreeMap<usize, u8>,
    /// The machines on the other side of a split.
    strangers: Vec<usize>,
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
            losses: BTreeMap::new(),
            strangers: Vec::new(),
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
        let network = |plug: Plug| NetworkStatus {
            network: plug.network,
            interface: plug.name,
            addresses: plug.addresses,
            cut: live.cuts.get(&plug.number).copied(),
            loses: live.losses.get(&plug.number).copied().unwrap_or(0),
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
            networks: self.spec.plugs().into_iter().map(network).collect(),
            trouble: live.trouble.clone(),
        }
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
            live.boot_id = boot::new_boot_id()?;
            live.env = boot::environment(shared, &self.spec, &live.boot_id);
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

    /// Cuts the power: the SAN port first, then the network ports, then its processes. Gives the time from which
    /// on it neither reads nor writes nor sends. Returns at once; [`Self::wait_gone`] waits for the rest. A machine that is off stays off.
    ///
    /// # Errors
    /// When a network port cannot be silenced; the processes are killed even so.
    fn power_off(&self, shared: &Shared) -> Result<u64> {
        let mut live = self.live();
        if matches!(live.power, Power::Off | Power::Dying) {
            return Ok(now_ns());
        }
        if let Some(port) = &self.port {
            port.switch(DiskState::Cut);
        }
        self.own.switch(DiskState::Cut);
        let mut result = Ok(());
        for (_, port) in &live.ports {
            result = result.and(shared.switch.cut(port, Direction::Both));
        }
        // Not the disks' moment: until its ports were silent it could answer.
        let at = now_ns();
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
        // What was done to the cables is no matter of the machine's power; what a pause did to its ports is.
        for number in std::mem::take(&mut live.cut_by_pause) {
            live.cuts.remove(&number);
        }
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
}
