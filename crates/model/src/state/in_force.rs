//! The definition of a group that is in force: what its owner acquired. A configuration that comes meanwhile changes
//! where the group belongs, and what the next owner acquires.
//!
//! Why this makes no two owners: an owner holds nothing but what the definition in force says; no configuration comes
//! into force that gives any of that to another group ([`State::keeps_what_is_held`]); and the definition goes when the
//! ownership is vacated by a proof, never before. Whether a proof is good for that is judged by the stricter of what
//! was acquired and of everything that was configured since.

use std::collections::BTreeMap;

use crate::config::{Config, GroupConfig, ReleaseEnd};
use crate::ids::{GroupName, NodeName};
use crate::mutants::{Condition, off};
use crate::state::{Phase, State, Tenure};

impl State {
    /// What a group is at present: what its owner acquired, or, if nobody owns it or nothing was changed since, what is
    /// configured. Where it belongs ([`GroupConfig::nodes`] and its policy) is as configured in any case. `None` if there
    /// is no such group.
    #[must_use]
    pub fn definition(&self, group: &GroupName) -> Option<&GroupConfig> {
        let kept = self.groups.get(group).and_then(|g| g.in_force.as_deref());
        kept.or_else(|| self.config.group(group).map(AsRef::as_ref))
    }

    /// The definitions that stay in force under a new configuration because it says something else; with `later` also
    /// where it only adds something. What was told to wait so waits on, whatever else comes meanwhile.
    pub(super) fn in_force_under(&self, new: &Config, later: bool) -> BTreeMap<GroupName, Box<GroupConfig>> {
        if off(Condition::DefinitionInForce) {
            return BTreeMap::new();
        }
        let owned = self.groups.keys().filter_map(|name| Some((name, self.owner_of(name)?)));
        let stays = |(name, owner): (&GroupName, &NodeName)| {
            let held = self.definition(name)?;
            let now = new.group(name).map(AsRef::as_ref);
            let waits = later || self.config.group(name).is_some_and(|asked| adds_to(held, asked, owner));
            let takes_over = now.is_some_and(|now| is_taken_over_by(held, now, owner, waits));
            (!takes_over).then(|| (name.clone(), Box::new(held.held_under(now))))
        };
        owned.filter_map(stays).collect()
    }

    /// An operator has what is stuck taken down once more: as it is configured by now, if that means the same things. Were
    /// it as it was acquired, a stop or status command that is wrong could only be mended by a reboot.
    pub(super) fn stuck_as_configured(&mut self, name: &GroupName) {
        let is_stuck = self.ownership(name).is_some_and(|o| matches!(o.phase, Phase::Stuck(_)));
        let parts = (self.definition(name), self.config.group(name), self.owner_of(name));
        let (Some(held), Some(now), Some(owner)) = parts else { return };
        let is_mended = is_stuck && held.means_the_same_as(now, owner) && now.is_as_strict_as(held);
        if let Some(group) = self.groups.get_mut(name).filter(|_| is_mended) {
            group.in_force = None;
        }
    }

    fn owner_of(&self, group: &GroupName) -> Option<&NodeName> {
        let ownership = self.ownership(group)?;
        self.members.get(&ownership.owner.node).map(|m| &m.name)
    }

    /// What waits until a group is acquired anew, in words; nothing if it runs as it is configured.
    #[must_use]
    pub fn waits_for_next_acquisition(&self, name: &GroupName) -> Option<String> {
        let held = self.groups.get(name)?.in_force.as_deref()?;
        self.waiting_words(name, held, &self.config)
    }

    fn waiting_words(&self, name: &GroupName, held: &GroupConfig, new: &Config) -> Option<String> {
        let owner = self.owner_of(name)?;
        let Some(now) = new.group(name) else {
            return Some(format!(
                "{name} is not in the file any more: {owner} takes it down as it was acquired"
            ));
        };
        let what = held.differences_to(now, owner).join(", ");
        let when = match held.release {
            ReleaseEnd::Down => format!("{name} is next enabled, moved or restarted"),
            ReleaseEnd::Reboot => format!("{owner} has been rebooted and {name} is brought up again"),
        };
        Some(format!("{name} runs on {owner} as it was acquired; this takes effect when {when}: {what}"))
    }

    /// What a configuration would change, group by group in the order of the file: what at once, and what later.
    #[must_use]
    pub fn effects_of(&self, new: &Config, later: bool) -> Vec<String> {
        let in_force = self.in_force_under(new, later);
        let mut lines = Vec::new();
        for now in &new.groups {
            let name = &now.name;
            let Some(group) = self.groups.get(name) else {
                lines.push(format!("{name} is new: it starts as its policy says"));
                continue;
            };
            let before = self.definition(name);
            let is_owned = matches!(group.tenure, Tenure::Owned(_));
            match (in_force.get(name), self.owner_of(name), before) {
                (Some(held), ..) => lines.extend(self.waiting_words(name, held, new)),
                (None, Some(owner), Some(before)) => {
                    let what = before.differences_to(now, owner).join(", ");
                    if !what.is_empty() {
                        lines.push(format!("{name} goes on on {owner}, and this takes effect now: {what}"));
                    }
                }
                (None, _, Some(before)) if !is_owned && before.resources() != now.resources() => {
                    lines.push(format!("{name} is down: what is new comes with its next start"));
                }
                _ => {}
            }
            let placed = self.config.group(name).filter(|old| belongs_elsewhere(old, now));
            if placed.is_some() {
                lines.push(format!(
                    "{name}: its nodes, policy and relations count as in the file from now on"
                ));
            }
            if let Some(owner) = self.owner_of(name).filter(|owner| !now.nodes.contains(owner)) {
                lines.push(format!("{owner}, which has {name}, is not in its list any more"));
            }
        }
        for (name, group) in &self.groups {
            if new.group(name).is_some() {
                continue;
            }
            lines.push(match (self.owner_of(name), &group.tenure) {
                (Some(owner), Tenure::Owned(o)) if o.phase == Phase::AwaitsReboot => {
                    format!("{name} is taken out: {owner} forgets it at its next boot")
                }
                (Some(owner), _) => {
                    format!("{name} is taken out of the configuration: {owner} TAKES IT DOWN NOW")
                }
                (None, _) => format!("{name} is taken out of the configuration"),
            });
        }
        lines
    }
}

/// Whether the new description may take the place of the one in force while the owner goes on.
fn is_taken_over_by(held: &GroupConfig, now: &GroupConfig, owner: &NodeName, later: bool) -> bool {
    let same = match later {
        true => held.runs_as(now, owner),
        false => held.is_added_to_by(now, owner),
    };
    same && now.is_as_strict_as(held)
}

/// Whether what was asked for does no more than add to what is held: it would be there, had it not been told to wait.
fn adds_to(held: &GroupConfig, asked: &GroupConfig, owner: &NodeName) -> bool {
    held.is_added_to_by(asked, owner) && !held.runs_as(asked, owner) && asked.is_as_strict_as(held)
}

/// Whether two descriptions place a group otherwise.
fn belongs_elsewhere(old: &GroupConfig, new: &GroupConfig) -> bool {
    (&old.nodes, &old.policy, &old.failback, &old.relations, &old.figure_script)
        != (&new.nodes, &new.policy, &new.failback, &new.relations, &new.figure_script)
}
