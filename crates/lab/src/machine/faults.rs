//! What can be done to a machine that has power: cuts, pauses, and its SAN port's switch.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Live, Machine, Shared};
use crate::cgroup;
use crate::clock::now_ns;
use crate::error::{Doing, LabError, Result};
use crate::fence::{PowerAnswer, SanVerb};
use crate::interface::Plug;
use crate::protocol::Power;
use crate::san::{DiskState, Port};
use crate::switch::{Direction, SwitchPort};

/// How long the kernel may take to notice a carrier, at the most.
const CARRIER_NOTICED: Duration = Duration::from_millis(300);
/// A fence device may give the power back just when it was cut.
const PUT_BACK_TRIES: usize = 5;

/// Which of a machine's interfaces.
pub(crate) struct At {
    network: Option<usize>,
    interface: Option<String>,
}

impl At {
    /// Those on this network, of this name; any where there is none.
    pub(crate) fn new(network: Option<usize>, interface: &Option<String>) -> Self {
        Self { network, interface: interface.clone() }
    }

    fn all() -> Self {
        Self { network: None, interface: None }
    }

    fn is(&self, plug: &Plug) -> bool {
        self.network.is_none_or(|n| n == plug.network)
            && self.interface.as_ref().is_none_or(|i| *i == plug.name)
    }
}

impl Machine {
    /// Swallows frames on one network or on all. Gives the time from which on.
    ///
    /// # Errors
    /// When the machine is off, or is not on that network.
    pub(crate) fn cut(&self, shared: &Shared, at: &At, direction: Direction) -> Result<u64> {
        let mut live = self.live();
        for (number, port) in self.chosen(&live, at)? {
            connect(shared, &port, live.cuts.get(&number).copied())?;
            shared.switch.cut(&port, direction)?;
            live.cuts.insert(number, direction);
        }
        Ok(now_ns())
    }

    /// Loses so many of a hundred frames on one network or on all, each way. Gives the time from which on.
    ///
    /// # Errors
    /// When that is more than all, the machine is off or not on that network, or the host has no `tc`.
    pub(crate) fn lose(&self, shared: &Shared, at: &At, percent: u8) -> Result<u64> {
        if percent > 100 {
            return Err(LabError::new(format!("{percent} of a hundred frames cannot be lost")));
        }
        let mut live = self.live();
        for (number, port) in self.chosen(&live, at)? {
            shared.switch.filter(&port, percent, &live.strangers)?;
            live.losses.insert(number, percent);
        }
        Ok(now_ns())
    }

    /// Lets it hear nothing more of these machines, also in its next boots, and of all others again.
    ///
    /// # Errors
    /// When the host has no `tc`.
    pub(crate) fn part(&self, shared: &Shared, strangers: Vec<usize>) -> Result<()> {
        let mut live = self.live();
        if live.strangers == strangers {
            return Ok(());
        }
        live.strangers = strangers;
        for (number, port) in &live.ports {
            let percent = live.losses.get(number).copied().unwrap_or(0);
            shared.switch.filter(port, percent, &live.strangers)?;
        }
        Ok(())
    }

    /// Does to the ports of a machine that boots what was done to its cables before. Its links are up already, and
    /// no command of it runs yet.
    ///
    /// # Errors
    /// When the host refuses.
    pub(super) fn cut_as_before(&self, shared: &Shared) -> Result<()> {
        let live = self.live();
        if live.cuts.is_empty() && live.losses.is_empty() && live.strangers.is_empty() {
            return Ok(());
        }
        // The kernel enables a port when it notices the carrier, some time after the link came up.
        std::thread::sleep(CARRIER_NOTICED);
        for (number, port) in &live.ports {
            if let Some(direction) = live.cuts.get(number) {
                shared.switch.cut(port, *direction)?;
            }
            let percent = live.losses.get(number).copied().unwrap_or(0);
            if percent > 0 || !live.strangers.is_empty() {
                shared.switch.filter(port, percent, &live.strangers)?;
            }
        }
        Ok(())
    }

    /// Undoes the cuts and losses of one network or of all, also of a machine that has no power.
    ///
    /// # Errors
    /// When the machine is not on that network.
    pub(crate) fn heal(&self, shared: &Shared, at: &At) -> Result<u64> {
        let mut live = self.live();
        if live.ports.is_empty() {
            let healed: Vec<usize> =
                self.spec.plugs().iter().filter(|p| at.is(p)).map(|p| p.number).collect();
            live.cuts.retain(|number, _| !healed.contains(number));
            live.losses.retain(|number, _| !healed.contains(number));
            return Ok(now_ns());
        }
        for (number, port) in self.chosen(&live, at)? {
            let before = live.cuts.remove(&number);
            connect(shared, &port, before)?;
            if live.losses.remove(&number).is_some() {
                shared.switch.filter(&port, 0, &live.strangers)?;
            }
        }
        Ok(now_ns())
    }

    fn chosen(&self, live: &Live, at: &At) -> Result<Vec<(usize, SwitchPort)>> {
        let name = &self.spec.name;
        if !matches!(live.power, Power::On | Power::Booting) {
            return Err(LabError::new(format!("{name} is off")).hint(format!("`regent lab on {name}`")));
        }
        let wanted: Vec<Plug> = self.spec.plugs().into_iter().filter(|p| at.is(p)).collect();
        let chosen: Vec<_> =
            live.ports.iter().filter(|(n, _)| wanted.iter().any(|p| p.number == *n)).cloned().collect();
        if chosen.is_empty() {
            let has: Vec<String> = self.spec.plugs().into_iter().map(|p| p.name).collect();
            let what = match &at.interface {
                Some(interface) => format!("{name} has no interface {interface} there"),
                None => format!("{name} is not on that network"),
            };
            return Err(LabError::new(format!("{what}; it has {}", has.join(", "))));
        }
        Ok(chosen)
    }

    /// Whether the machine reaches any network: a fence device on the network hears only such a machine.
    pub(crate) fn is_reachable(&self) -> bool {
        let live = self.live();
        live.ports.iter().any(|(number, _)| !live.cuts.contains_key(number))
    }

    /// Freezes every process; if `silent`, cuts the network ports and lets the SAN port hang.
    ///
    /// # Errors
    /// When the machine is off or the kernel refuses.
    pub(crate) fn pause(&self, shared: &Shared, silent: bool) -> Result<u64> {
        let mut live = self.live();
        let ports = self.chosen(&live, &At::all())?;
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
        let ports = self.chosen(&live, &At::all())?;
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

    /// Sets the switch on the way to the shared disks, or to the machine's own one.
    ///
    /// # Errors
    /// When the machine has no disk or is off.
    pub(crate) fn disk(&self, own: bool, state: DiskState) -> Result<u64> {
        let name = &self.spec.name;
        let live = self.live();
        let port = if own { Some(&self.own) } else { self.port.as_ref() };
        let port = port.ok_or_else(|| LabError::new(format!("{name} has no shared disk")))?;
        if !matches!(live.power, Power::On | Power::Booting) {
            return Err(LabError::new(format!("{name} is off")).hint(format!("`regent lab on {name}`")));
        }
        Ok(port.switch(state))
    }

    /// Sets the switch on the way to one of the shared disks, by its number.
    ///
    /// # Errors
    /// When the machine has no disk or is off.
    pub(crate) fn single_disk(&self, number: usize, state: DiskState) -> Result<u64> {
        let name = &self.spec.name;
        let live = self.live();
        let port = self.port.as_ref().ok_or_else(|| LabError::new(format!("{name} has no shared disk")))?;
        if !matches!(live.power, Power::On | Power::Booting) {
            return Err(LabError::new(format!("{name} is off")).hint(format!("`regent lab on {name}`")));
        }
        Ok(port.switch_single(number, state))
    }

    /// Copies its own disk.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub(crate) fn copy_own(&self, shared: &Shared, to: &Path) -> Result<u64> {
        let image = shared.folder.own_image(&self.spec.name);
        self.own.copy(&image, to).doing(|| format!("copy {} to {}", image.display(), to.display()))?;
        Ok(now_ns())
    }

    /// Cuts its power and puts a copy of its own disk back before anybody can give the power back.
    ///
    /// # Errors
    /// When the machine does not go off, or the copy cannot be read.
    pub(crate) fn put_back(&self, shared: &Shared, from: &Path) -> Result<u64> {
        let image = shared.folder.own_image(&self.spec.name);
        for _ in 0..PUT_BACK_TRIES {
            let at = self.off(shared)?;
            self.wait_gone()?;
            let live = self.live();
            if live.power == Power::Off {
                self.own.copy(from, &image).doing(|| format!("put {} back", from.display()))?;
                return Ok(at);
            }
        }
        Err(LabError::new(format!("{} is given power again and again", self.spec.name)))
    }
}

impl Machine {
    /// Its keys at the SAN, through its own port: it registers itself, and takes the keys of others away while it is
    /// registered.
    ///
    /// # Errors
    /// When the port does not serve it, or the SAN refuses.
    pub(crate) fn at_the_san(&self, verb: SanVerb, node: &str) -> Result<PowerAnswer> {
        let me = self.spec.name.as_str();
        let serves = |port: &&Arc<Port>| matches!(port.state(), DiskState::Ok | DiskState::Slow(_));
        let port = self.port.as_ref().filter(serves);
        let port = port.ok_or_else(|| LabError::new(format!("{me} does not reach the SAN")))?;
        match verb {
            SanVerb::Status => return Ok(PowerAnswer::State { on: port.keys.has(node) }),
            SanVerb::Register if node == me => port.register(node),
            SanVerb::Register => return Err(LabError::new(format!("only {node} itself registers there"))),
            SanVerb::Preempt if node == me => return Err(LabError::new("nobody preempts himself")),
            SanVerb::Preempt if port.keys.has(me) => port.preempt(node),
            SanVerb::Preempt => return Err(LabError::new(format!("{me} is not registered itself"))),
        }
        Ok(PowerAnswer::Done { at: now_ns() })
    }
}

/// Undoes what was done to a port.
fn connect(shared: &Shared, port: &SwitchPort, before: Option<Direction>) -> Result<()> {
    match before {
        Some(Direction::Cable) => shared.switch.plug_in(port),
        _ => shared.switch.heal(port),
    }
}
