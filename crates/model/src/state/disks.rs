//! Who may write which disks, where fence devices at the storage decide it: registering, and being cut off.
//!
//! Why `cut-off` is a proof for what it is accepted for. The lease of the owner has ended, which the log knows
//! ([`State::leases_ended`]): its addresses and processes are gone, or do nothing a disk would notice. A device then said, after
//! it was asked to about this very incarnation, that the node is not registered at its disks any more, and who is not registered
//! there writes nothing ([`State::may_cut_off`], [`State::cut_off_stands`]). The node does not come back to them behind our
//! back: it registers only while the log has it living ([`State::register`]), once in a life through one device for each
//! disk, and owns a group only when that is done and over ([`State::not_registered_at`]). So nothing of it is on its way
//! still when the device is asked; and a device that never had it says nothing about a group that it owned
//! ([`State::is_cut_off`]).

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{Barrier, GroupConfig};
use crate::ids::{BootId, GroupName, IncarnationOf, NodeId};
use crate::mutants::{Condition, off};
use crate::state::apply::{Changes, void};
use crate::state::{Change, FenceRequest, Life, State};

impl FenceRequest {
    /// Whether it cuts off from disks, and proves nothing about the rest of the machine.
    #[must_use]
    pub fn is_storage(&self) -> bool {
        !self.barriers.is_empty()
    }
}

impl Life {
    /// What is left of the registration when the next life of the node begins, in `boot`. With `clean` nothing is held any
    /// more of what was: it registers anew, as after a boot. Otherwise it is registered still; or it was cut off, may have
    /// something for the disks in its memory, and registers no more.
    pub(super) fn registration(&self, boot: &BootId, clean: bool) -> (BTreeMap<String, Barrier>, bool) {
        let holds = self.boot == *boot && !clean;
        let registered = if holds && !self.cut { self.registered.clone() } else { BTreeMap::new() };
        (registered, holds && self.cut)
    }
}

impl State {
    /// Whether the lease of this incarnation, or of a later one of its node, is proven to have ended.
    #[must_use]
    pub fn has_lost_lease(&self, about: IncarnationOf) -> bool {
        let ended = self.leases_ended.get(&about.node).is_some_and(|last| about.incarnation <= *last);
        ended || off(Condition::CutOffAfterLease)
    }

    pub(super) fn register(&mut self, about: IncarnationOf, device: &str, barrier: &Barrier) -> Changes {
        if self.living(about.node) != Some(about) {
            return void(format!("{about} is not the living incarnation of its node"));
        }
        let name = self.members.get(&about.node).map(|member| &member.name);
        let fits = name.is_some_and(|name| {
            self.config
                .storage_fences_of(name)
                .any(|f| f.name == device && f.barrier().as_ref() == Some(barrier))
        });
        if !fits {
            return void(format!("{device} is configured otherwise by now"));
        }
        let Some(life) = self.lives.get_mut(&about.node) else { return void("it is not registered") };
        if life.cut {
            return void(format!("{about} was cut off from its disks"));
        }
        if life.registered.contains_key(device) {
            return void(format!("{about} is registered through {device}"));
        }
        life.registered.insert(device.to_owned(), barrier.clone());
        vec![Change::Registered(about, device.to_owned())]
    }

    /// The first disk of a group that `node` must be registered at before it may own it, and is not.
    #[must_use]
    pub fn not_registered_at<'a>(&self, node: NodeId, group: &'a GroupConfig) -> Option<&'a Path> {
        if !group.needs_storage() {
            return None;
        }
        let name = self.members.get(&node).map(|member| &member.name);
        let life = self.lives.get(&node);
        let covered = |device: &Path| {
            let fences = name.into_iter().flat_map(|name| self.config.storage_fences_of(name));
            let fences = fences.filter_map(|f| Some((&f.name, f.barrier().filter(|b| b.covers(device))?)));
            let registered = life.map(|life| &life.registered);
            fences.into_iter().any(|(name, b)| registered.is_some_and(|r| r.get(name) == Some(&b)))
        };
        group.shared_devices().find(|device| !covered(device))
    }

    /// Whether a request may be committed: what it says about disks is what is configured, and who is cut off from disks has
    /// lost its lease for good.
    pub(super) fn may_cut_off(&self, about: IncarnationOf, request: &FenceRequest) -> Result<(), String> {
        let named = self.config.fences.iter().filter(|f| request.devices.contains(&f.name));
        let barriers: BTreeMap<_, _> = named.filter_map(|f| Some((f.name.clone(), f.barrier()?))).collect();
        if barriers != request.barriers {
            return Err(format!("{} is configured otherwise by now", request.words()));
        }
        if request.is_storage() && !self.has_lost_lease(about) {
            return Err(format!("the lease of {about} has not ended: it is not cut off from its disks"));
        }
        Ok(())
    }

    pub(super) fn cut_off_stands(&self, about: IncarnationOf, device: &str) -> Result<(), String> {
        match self.fence_requests.get(&about) {
            Some(request)
                if request.words() == device && request.is_storage() && self.has_lost_lease(about) =>
            {
                Ok(())
            }
            _ => Err(format!("nobody asked {device} to cut {about} off from its disks")),
        }
    }

    /// Whether the devices that were asked have cut `node` off from every disk of this group: it was registered there through
    /// them.
    pub(super) fn is_cut_off(&self, group: &GroupName, node: NodeId) -> bool {
        let Some((life, group)) = self.lives.get(&node).zip(self.definition(group)) else { return false };
        let about = IncarnationOf { node, incarnation: life.incarnation };
        let Some(request) = self.fence_requests.get(&about) else { return false };
        group.shared_devices().all(|device| {
            let mut asked = request.barriers.iter().filter(|(_, barrier)| barrier.covers(device));
            asked.any(|(name, barrier)| life.registered.get(name) == Some(barrier))
        })
    }
}
