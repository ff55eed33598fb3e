//! What a new configuration must leave as it is: whatever an owner holds stays described as it holds it.

use std::sync::Arc;

use crate::config::{Config, GroupConfig, Prefixed, ReleaseEnd};
use crate::ids::NodeName;
use crate::state::{State, Tenure};

impl State {
    /// Whether a configuration still describes everything that owners hold: what is not described any more could
    /// not be released by a daemon that has to begin anew. More may come, and limits may change.
    ///
    /// # Errors
    /// What is held and would be lost sight of, and what to type.
    pub fn keeps_what_is_held(&self, new: &Config) -> Result<(), String> {
        for (name, group) in &self.groups {
            let (Tenure::Owned(o), Some(old)) = (&group.tenure, self.config.group(name)) else { continue };
            let Some(owner) = self.members.get(&o.owner.node).map(|m| &m.name) else { continue };
            let disable = format!("first: regent group disable {name}");
            let why = if let Some(lost) = lost(old, new.group(name), owner) {
                format!("{lost} would be changed or taken out under it; {disable}")
            } else if let Some(boot) = displaced(&self.config, new, old, owner) {
                format!("{boot} would not come back when its address goes; {disable}")
            } else if !still_ends(old, new.group(name)) {
                format!("what it has begun there ends only with a reboot; {disable}, then reboot {owner}")
            } else {
                continue;
            };
            return Err(format!("{name} is held by {owner}, and {why}"));
        }
        Ok(())
    }
}

/// The first thing that `owner` holds and would not find described any more.
fn lost(old: &GroupConfig, new: Option<&Arc<GroupConfig>>, owner: &NodeName) -> Option<String> {
    let left = new.map(|g| g.resources_on(owner)).unwrap_or_default();
    let mut held = old.resources_on(owner).into_iter();
    let lost = held.find(|held| !left.iter().any(|r| r.is_the_same_thing_as(held)))?;
    Some(format!("{} {}", lost.kind(), lost.name()))
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

/// Whether what only a reboot ends is still known for that.
fn still_ends(old: &GroupConfig, new: Option<&Arc<GroupConfig>>) -> bool {
    old.release != ReleaseEnd::Reboot || new.is_some_and(|g| g.release == ReleaseEnd::Reboot)
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
        held(HELD).0.keeps_what_is_held(&config(&HELD.replacen(from, to, 1)))
    }

    fn refused(from: &str, to: &str, why: &str) {
        let said = change(from, to).unwrap_err();
        assert!(said.starts_with("dfs is held by lx4, and ") && said.contains(why), "{said}");
        assert!(said.contains("first: regent group disable dfs"), "{said}");
    }

    #[test]
    fn what_is_held_is_not_changed_or_taken_out_under_its_owner() {
        refused("10.77.0.100", "10.77.0.101", "address");
        refused("/dev/sdx", "/dev/sdz", "filesystem");
        refused("local = true\ndevices = { lx4 = \"/dev/sdx\" }", "device = \"/dev/sdx\"", "filesystem");
        refused("name = \"files\"", "name = \"other\"", "application files");
        assert_eq!(change("start.dfs", "begin.dfs"), Ok(()));
    }

    #[test]
    fn what_nobody_holds_may_be_changed() {
        let (mut state, _) = held(HELD);
        for group in state.groups.values_mut() {
            group.tenure = Tenure::Vacant(Proof::Released);
        }
        assert_eq!(state.keeps_what_is_held(&config(&HELD.replace("release = \"reboot\"\n", ""))), Ok(()));
    }

    #[test]
    fn a_node_more_with_a_device_of_its_own_changes_nothing_that_is_held() {
        let more = "nodes = [\"lx5\", \"lx4\"]\nrelease = \"reboot\"\n[[group.filesystem]]\nlocal = true\n\
                    devices = { lx5 = \"/dev/sdy\", lx4 = \"/dev/sdx\" }";
        let before = "nodes = [\"lx4\"]\nrelease = \"reboot\"\n[[group.filesystem]]\nlocal = true\n\
                      devices = { lx4 = \"/dev/sdx\" }";
        assert_eq!(change(before, more), Ok(()));
    }

    #[test]
    fn what_only_a_reboot_ends_is_not_declared_free_under_its_owner() {
        refused("release = \"reboot\"", "release = \"down\"", "then reboot lx4");
    }

    #[test]
    fn a_boot_address_whose_place_is_taken_stays_known_until_it_is_back() {
        refused("takeover = \"replace\"", "takeover = \"alias\"", "10.77.1.4/16 would not come back");
        refused("10.77.1.4/16", "10.77.1.44/16", "10.77.1.4/16 would not come back");
        assert_eq!(change("10.77.1.5/16", "10.77.1.55/16"), Ok(()), "lx5 does not hold it");
    }
}
