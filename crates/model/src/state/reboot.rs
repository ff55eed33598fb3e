//! Groups whose release is complete only after a reboot of their node
//! ([`ReleaseEnd::Reboot`](crate::config::ReleaseEnd::Reboot)): what they run lives on in the kernel.
//!
//! Such a group keeps its owner after it was taken down ([`Phase::AwaitsReboot`]). Only a new boot, a fence device or
//! the operator's word ends that ownership; until then the owner itself may bring the group up again.

use crate::config::ReleaseEnd;
use crate::ids::{BootId, Epoch, GroupName, IncarnationOf};
use crate::state::apply::{Changes, void};
use crate::state::command::{NodeMode, StopMode};
use crate::state::{Change, Life, Phase, State, Tenure};

impl Life {
    /// The mode that the next life begins with, in `boot`, and whether its machine is still to be rebooted.
    pub(super) fn successor(&self, boot: &BootId) -> (NodeMode, bool) {
        let same = self.boot == *boot;
        let mode = match self.mode {
            NodeMode::Standby => NodeMode::Standby,
            // It was to leave, and boots only because Regent rebooted it: it must not take back what it gave away.
            NodeMode::Stopping(StopMode::Takeover) if self.reboots && !same => NodeMode::Standby,
            _ => NodeMode::Active,
        };
        (mode, self.reboots && same)
    }
}

impl State {
    /// Whether a release of this group is complete only after a reboot.
    #[must_use]
    pub fn ends_by_reboot(&self, group: &GroupName) -> bool {
        self.definition(group).is_some_and(|g| g.release == ReleaseEnd::Reboot)
    }

    /// Orders a reboot, if something on the node waits for one.
    pub(super) fn reboot(&mut self, about: IncarnationOf) -> Changes {
        if self.living(about.node) != Some(about) {
            return void(format!("{about} is not the living incarnation of its node"));
        }
        if !self.owned_by(about).any(|(_, o)| o.phase == Phase::AwaitsReboot) {
            return void(format!("nothing on {} waits for a reboot (any more)", self.name_of(about.node)));
        }
        let runs = |o: &crate::state::Ownership| o.phase != Phase::AwaitsReboot;
        let held = self.owned_by(about).find(|(name, o)| runs(o) && self.hold_of(name).is_some());
        if let Some(name) = held.map(|(name, _)| name.clone()) {
            return void(format!("{name} is held, and runs on {}", self.name_of(about.node)));
        }
        match self.lives.get_mut(&about.node) {
            Some(life) if !life.reboots => life.reboots = true,
            _ => return void("its reboot is ordered already"),
        }
        vec![Change::Reboots(about)]
    }

    /// The owner begins again with what it had taken down. Not once its reboot is ordered.
    pub(super) fn reacquire(&mut self, name: &GroupName, epoch: Epoch) -> Changes {
        let Some(owner) = self.ownership(name).map(|o| o.owner) else {
            return void(format!("{name} has no owner"));
        };
        let stays = self.living(owner.node) == Some(owner)
            && self.lives.get(&owner.node).is_some_and(|l| !l.reboots && !l.without_lease);
        if !stays {
            return void(format!("{owner} gets nothing more"));
        }
        if let Some(why) = self.is_kept_down(name) {
            return void(why);
        }
        let parent_epoch = match self.parents_epoch(name) {
            Ok(epoch) => epoch,
            Err(why) => return void(why),
        };
        let mut changes = self.phase(name, epoch, |phase| match phase {
            Phase::AwaitsReboot => Ok(Phase::Acquiring),
            other => Err(format!("it is {other:?}, and awaits no reboot")),
        });
        if let ([Change::PhaseChanged(_, told)], Some(group)) =
            (changes.as_mut_slice(), self.groups.get_mut(name))
        {
            group.parked_on = None;
            if let Some(hold) = &mut group.held {
                hold.ordered = false;
            }
            if let Tenure::Owned(o) = &mut group.tenure {
                o.parent_epoch = parent_epoch;
                told.parent_epoch = parent_epoch;
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::Incarnation;
    use crate::proof::{Need, Proof};
    use crate::state::held::held;
    use crate::state::{Command, FenceRequest, ReleaseReason};

    const CLUSTER: &str = r#"
[cluster]
name = "ward7"
[[node]]
name = "lx4"
addresses = ["10.77.0.4"]
[[fence]]
name = "power"
agent = "/usr/sbin/fence_lab"
nodes = ["lx4"]
[[group]]
name = "dfs"
nodes = ["lx4"]
release = "reboot"
[[group.address]]
address = "10.77.0.100/24"
"#;

    #[test]
    fn an_order_to_begin_again_that_does_not_hold_any_more_changes_nothing() {
        let (mut state, voters) = held(CLUSTER);
        let group = state.config.groups[0].name.clone();
        let epoch = Epoch(1);
        let mut commit = |command: Command| {
            let (after, changes) = state.preview(&command, &voters);
            state = after;
            (state.clone(), changes)
        };
        let reason = ReleaseReason::Stopping(StopMode::Graceful);
        let (parked, _) = commit(Command::Release { group: group.clone(), epoch, reason });
        let again = Command::Reacquire { group: group.clone(), epoch };
        let (after, changes) = commit(again.clone());
        assert!(matches!(changes.as_slice(), [Change::Void(_)]), "it is not down yet: {changes:?}");
        assert_eq!(after, parked);
        let (down, _) = commit(Command::Released { group: group.clone(), epoch, failure: None });
        assert_eq!(down.ownership(&group).unwrap().phase, Phase::AwaitsReboot);
        let (up, changes) = commit(again);
        assert_eq!(changes, [Change::PhaseChanged(group.clone(), up.ownership(&group).unwrap().clone())]);
        assert_eq!((up.groups[&group].parked_on, up.groups[&group].epoch), (None, epoch));
    }
    #[test]
    fn a_reboot_is_ordered_once_for_what_waits_for_it_and_from_then_on_nothing_begins_again() {
        let (mut state, voters) = held(CLUSTER);
        let (group, epoch) = (state.config.groups[0].name.clone(), Epoch(1));
        let about = state.ownership(&group).unwrap().owner;
        let mut commit = |command: &Command| {
            let (after, changes) = state.preview(command, &voters);
            state = after;
            changes
        };
        let is_void = |changes: Vec<Change>| matches!(changes.as_slice(), [Change::Void(_)]);
        let order = Command::Reboot { about };
        assert!(is_void(commit(&order)), "nothing waits for it yet");
        commit(&Command::Release { group: group.clone(), epoch, reason: ReleaseReason::Restart });
        commit(&Command::Released { group: group.clone(), epoch, failure: None });
        assert_eq!(commit(&order), [Change::Reboots(about)]);
        assert!(is_void(commit(&order)), "it is ordered already");
        assert!(is_void(commit(&Command::Reacquire { group: group.clone(), epoch })));
        let held = state.ownership(&group).unwrap();
        assert_eq!((held.owner, &held.phase), (about, &Phase::AwaitsReboot));
    }

    #[test]
    fn no_end_of_a_lease_and_no_release_vacates_what_only_a_reboot_ends() {
        let (mut state, _) = held(CLUSTER);
        // No file may say so: it would not matter.
        Arc::make_mut(&mut state.config.groups[0]).needs = vec![Need::LeaseEnded];
        let group = &state.config.groups[0].name;
        let ownership = state.ownership(group).unwrap();
        let vacates = |proof: Proof| state.accepts(group, ownership, &proof);
        assert!(!vacates(Proof::Released) && !vacates(Proof::LeaseEnded { promises: Vec::new() }));
        assert!(vacates(Proof::Rebooted { boot: BootId("two".into()) }));
        assert!(vacates(Proof::Fenced { device: "power".into() }));
    }
    #[test]
    fn a_node_that_is_back_is_not_cut_for_what_was_asked_about_its_past_life() {
        let (state, voters) = held(CLUSTER);
        let about = state.ownership(&state.config.groups[0].name).unwrap().owner;
        let request = FenceRequest {
            level: 1,
            devices: vec!["power".into()],
            by: about.node,
            attempt: 1,
            round: 0,
            barriers: Default::default(),
        };
        let (asked, _) = state.preview(&Command::RequestFence { about, request }, &voters);
        assert!(asked.fence_requests.contains_key(&about));
        let again = IncarnationOf { incarnation: Incarnation(2), ..about };
        let up = Command::NodeUp { about: again, boot: BootId("one".into()), clean: false };
        assert_eq!(asked.preview(&up, &voters).0.fence_requests.len(), 0);
    }
}
