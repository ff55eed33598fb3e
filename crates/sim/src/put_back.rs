//! A machine whose disk is put back to an earlier copy, from a backup or with a snapshot of a virtual machine.
//!
//! What it said since can only be remembered by others. So this happens once every other member has made durable that it
//! heard the machine after the copy was taken; what comes then, they may be lost and cut off as ever.

use regent_model::ids::NodeId;
use regent_model::journal::Entry;
use regent_store::VirtualDisk;

use crate::event::Event;
use crate::shadow::Shadow;
use crate::sim::Sim;
use crate::time::{MS, Ns};

/// What a copy holds.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    disk: VirtualDisk,
    shadow: Shadow,
    journal: Vec<Entry>,
    sessions: u64,
    incarnations: u64,
}

impl Sim {
    /// A copy of a machine is made, while it runs.
    pub(crate) fn copy(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(daemon) = machine.daemon.as_mut() else { return };
        machine.copy = Some(Box::new(Copy {
            disk: daemon.store.disk_mut().clone(),
            shadow: machine.shadow.clone(),
            journal: machine.journal.clone(),
            sessions: machine.sessions,
            incarnations: machine.incarnations,
        }));
    }

    /// Whether the others remember that this machine went on after its copy.
    pub(crate) fn may_put_back(&self, node: NodeId) -> bool {
        let Some(machine) = self.machines.get(&node) else { return false };
        let (Some(copy), Some(daemon)) = (&machine.copy, &machine.daemon) else { return false };
        let then = copy.shadow.memory();
        let went_on = |other: NodeId| {
            let remembered = self.machines[&other].daemon.as_ref()?.engine.remembers(node)?;
            let (session, stored) = then?;
            Some((remembered.session, remembered.stored) > (session, stored))
        };
        daemon.frozen.is_none()
            && self.may_wipe()
            && self
                .nodes()
                .into_iter()
                .filter(|other| *other != node)
                .all(|other| went_on(other) == Some(true))
    }

    /// The machine goes down and comes back with what the copy holds.
    pub(crate) fn put_back(&mut self, node: NodeId, back_after: Ns) {
        if !self.may_put_back(node) {
            return;
        }
        self.wiped = true;
        self.marks.hit("a disk was put back to an earlier copy");
        self.power_off(node);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(copy) = machine.copy.take() else { return };
        machine.disk = Some(copy.disk);
        machine.flying.clear();
        machine.shadow = copy.shadow;
        machine.journal = copy.journal;
        machine.sessions = copy.sessions;
        machine.incarnations = copy.incarnations;
        let rng = &mut self.rng;
        if let Some(disk) = machine.disk.as_mut() {
            disk.crash(&mut || rng.draw());
        }
        self.after(back_after, Event::PowerOn(node));
    }

    /// A daemon was told that it has forgotten what it said: its machine is to join anew.
    pub(crate) fn has_forgotten(&mut self, node: NodeId, why: &str) {
        if self.is_retired(node) {
            return self.was_told(node);
        }
        self.marks.hit("a node whose disk was put back was found out");
        let name = self.name(node);
        self.trace.world(self.now, format_args!("{name} is a voter no more: {why}"));
        self.power_off(node);
        let Some(machine) = self.machines.remove(&node) else { return };
        let back = self.rng.skewed(50, 4_000) * MS;
        self.after(back, Event::Joins(machine.name));
    }
}
