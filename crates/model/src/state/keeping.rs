//! What a new configuration must leave as it is, because of what is held while it comes into force.

use std::path::Path;

use crate::action::Resource;
use crate::config::{Config, GroupConfig, Prefixed, ReleaseEnd};
use crate::ids::{GroupName, NodeName, ResourceName};
use crate::mutants::{Condition, off};
use crate::proof::Need;
use crate::state::{Phase, State, Tenure};

impl State {
    /// Whether a configuration leaves to owners what they hold. Their groups may change in it, and be taken out: they go
    /// on as they were acquired ([`State::definition`]). But no other group may have what they hold meanwhile, or two
    /// owners of one thing would both be right; and a boot address whose place is taken must stay known. What rests on a
    /// person's word stays altogether as it is.
    ///
    /// # Errors
    /// What is held and would be given away or lost sight of, and what to type.
    pub fn keeps_what_is_held(&self, new: &Config, later: bool) -> Result<(), String> {
        self.keeps_what_rests_on_words(new)?;
        for (name, group) in &self.groups {
            let (Tenure::Owned(o), Some(held)) = (&group.tenure, self.definition(name)) else { continue };
            let Some(owner) = self.members.get(&o.owner.node).map(|m| &m.name) else { continue };
            if let Some(instance) = lost_instance(held, new.group(name).map(AsRef::as_ref), owner) {
                return Err(format!(
                    "{name} is held by {owner}, and the instance {instance} would be moved or taken out under it, while \
                     the registry names it by what is configured; first: regent group disable {name}"
                ));
            }
            if held.needs.contains(&Need::Watchdog)
                && watchdog_of(&self.config, owner) != watchdog_of(new, owner)
            {
                return Err(format!(
                    "{name} is held by {owner}, and needs the watchdog there, which would be disarmed under it; \
                     first: regent group disable {name}"
                ));
            }
            if let Some(boot) = displaced(&self.config, new, held, owner) {
                return Err(format!(
                    "{name} is held by {owner}, and {boot} would not come back when its address goes; \
                     first: regent group disable {name}"
                ));
            }
        }
        let in_force = self.in_force_under(new, later);
        in_force.iter().try_for_each(|(name, held)| self.stays_its_own(name, held, new))
    }

    /// Whether nothing that a definition in force holds is another group's, or a node's, in a new configuration.
    fn stays_its_own(&self, name: &GroupName, held: &GroupConfig, new: &Config) -> Result<(), String> {
        let ownership = self.ownership(name);
        let owner = ownership.and_then(|o| self.members.get(&o.owner.node)).map(|m| &m.name);
        let is_stuck = ownership.is_some_and(|o| matches!(o.phase, Phase::Stuck(_)));
        let Some(owner) = owner.filter(|_| !off(Condition::DefinitionInForce)) else { return Ok(()) };
        let others = new.groups.iter().filter(|other| &other.name != name);
        let taken = others.into_iter().find_map(|other| Some((held.shares_with(other, owner)?, &other.name)));
        let (what, whose) = match (taken, held.address_of_a_node(new)) {
            (Some((what, other)), _) => (what, format!("the group {other}")),
            (None, Some((address, node))) => (format!("the address {address}"), format!("the node {node}")),
            (None, None) => return Ok(()),
        };
        let (first, anew) = match held.release {
            ReleaseEnd::Down if is_stuck => {
                (format!(", then regent group restart {name}, for it is stuck"), format!("restart {name}"))
            }
            ReleaseEnd::Down => (String::new(), format!("restart {name}")),
            ReleaseEnd::Reboot => (format!(", then reboot {owner}"), format!("move {name}")),
        };
        Err(format!(
            "{name} is held by {owner} as it was acquired, with {what}, which would be given to {whose} meanwhile; \
             first: regent group disable {name}{first}; or leave {what} out of the file altogether, apply it, {anew}, \
             and then give it to {whose}"
        ))
    }
}

/// An instance of a database that `owner` holds and that would be another one, or none: what is known of it goes with
/// the configuration, and it can be started by hand at any time.
fn lost_instance(held: &GroupConfig, new: Option<&GroupConfig>, owner: &NodeName) -> Option<ResourceName> {
    let left = new.map(|g| g.resources_on(owner)).unwrap_or_default();
    let instances = held.resources_on(owner).into_iter().filter(|r| matches!(r, Resource::Instance(_)));
    let mut instances = instances.into_iter();
    let lost = instances.find(|held| !left.iter().any(|r| r.is_the_same_thing_as(held)))?;
    Some(lost.name().clone())
}

fn watchdog_of<'a>(config: &'a Config, node: &NodeName) -> Option<&'a Path> {
    config.nodes.iter().find(|n| n.name == *node)?.watchdog.as_deref()
}

/// A boot address whose place one of the group's addresses may have taken, and that would not be known any more.
fn displaced(old: &Config, new: &Config, group: &GroupConfig, owner: &NodeName) -> Option<Prefixed> {
    let all = |config: &Config| -> Vec<(String, Prefixed)> {
        let adapters_of = |node| group.addresses.iter().flat_map(move |a| config.adapters_for(node, a));
        let adapters = config.member(owner).into_iter().flat_map(adapters_of);
        adapters.filter_map(|a| Some((a.interface.clone(), config.replaced_on(a)?))).collect()
    };
    let kept = all(new);
    all(old).into_iter().find(|boot| !kept.contains(boot)).map(|(_, boot)| boot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Proof;
    use crate::state::held::{config, held};

    const HELD: &str = r#"
[cluster]
name = "ward7"
[[network]]
name = "clients"
takeover = "replace"
[[node]]
name = "lx4"
addresses = ["10.77.0.4"]
[[node.adapter]]
interface = "eth0"
network = "clients"
address = "10.77.1.4/16"
[[node]]
name = "lx5"
addresses = ["10.77.0.5"]
[[node.adapter]]
interface = "eth0"
network = "clients"
address = "10.77.1.5/16"
[[fence]]
name = "power"
agent = "/usr/sbin/fence_lab"
nodes = ["lx4", "lx5"]
[[group]]
name = "dfs"
nodes = ["lx4"]
release = "reboot"
[[group.filesystem]]
local = true
devices = { lx4 = "/dev/sdx" }
mount = "/cache"
type = "ext4"
[[group.address]]
address = "10.77.0.100/16"
[[group.application]]
name = "files"
start = "/usr/bin/start.dfs"
"#;

    /// What is said of a change of the file while lx4 holds the group.
    fn change(from: &str, to: &str) -> Result<(), String> {
        assert!(HELD.contains(from), "{from:?}");
        held(HELD).0.keeps_what_is_held(&config(&HELD.replacen(from, to, 1)), false)
    }

    fn refused(from: &str, to: &str, why: &str) {
        let said = change(from, to).unwrap_err();
        assert!(said.starts_with("dfs ") && said.contains(why), "{said}");
        assert!(said.contains("first: regent group disable dfs"), "{said}");
    }

    #[test]
    fn what_is_held_may_change_in_the_file_under_its_owner() {
        for (from, to) in [
            ("10.77.0.100", "10.77.0.101"),
            ("/dev/sdx", "/dev/sdz"),
            ("local = true\ndevices = { lx4 = \"/dev/sdx\" }", "device = \"/dev/sdx\""),
            ("name = \"files\"", "name = \"other\""),
            ("start.dfs", "begin.dfs"),
            ("release = \"reboot\"", "release = \"down\""),
        ] {
            assert_eq!(change(from, to), Ok(()), "{from} to {to}");
        }
    }

    #[test]
    fn a_boot_address_whose_place_nobody_has_taken_may_change() {
        let (mut state, _) = held(HELD);
        for group in state.groups.values_mut() {
            group.tenure = Tenure::Vacant(Proof::Released);
        }
        let other = config(&HELD.replace("10.77.1.4/16", "10.77.1.44/16"));
        assert_eq!(state.keeps_what_is_held(&other, false), Ok(()));
    }

    #[test]
    fn a_watchdog_stays_armed_under_what_needs_it() {
        let watched = HELD
            .replace("[cluster]\n", "[cluster]\ntakeover = \"10s\"\n")
            .replace(
                "addresses = [\"10.77.0.4\"]",
                "addresses = [\"10.77.0.4\"]\nwatchdog = \"/dev/watchdog0\"",
            )
            .replace("release = \"reboot\"", "needs = [\"lease-ended\", \"watchdog\"]");
        let bare = watched.replace("watchdog = \"/dev/watchdog0\"\n", "").replace(", \"watchdog\"]", "]");
        let other = watched.replace("/dev/watchdog0", "/dev/watchdog1");
        for changed in [bare, other] {
            let why = held(&watched).0.keeps_what_is_held(&config(&changed), false).unwrap_err();
            assert!(why.contains("disarmed") && why.contains("first: regent group disable dfs"), "{why}");
            assert_eq!(
                held(HELD).0.keeps_what_is_held(&config(&changed), false),
                Ok(()),
                "nothing is armed yet"
            );
        }
    }

    #[test]
    fn a_boot_address_whose_place_is_taken_stays_known_until_it_is_back() {
        refused("takeover = \"replace\"", "takeover = \"alias\"", "10.77.1.4/16 would not come back");
        refused("10.77.1.4/16", "10.77.1.44/16", "10.77.1.4/16 would not come back");
        assert_eq!(change("10.77.1.5/16", "10.77.1.55/16"), Ok(()), "lx5 does not hold it");
    }
}
