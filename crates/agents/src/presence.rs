//! Whether anything of a group is on this node, looked at without its agents: what `release` promised, seen once more.

use regent_model::NodeName;
use regent_model::config::GroupConfig;

use crate::acts::{bind, unmount};
use crate::netlink;

/// Everything of the group that could be on the node `me`, in words, and whether it is there.
#[must_use]
pub fn presence(me: &NodeName, group: &GroupConfig) -> Vec<(String, Result<bool, String>)> {
    let mut found = Vec::new();
    for volume in &group.volumes {
        found.push((format!("volume {}", volume.id()), Ok(crate::volume::is_mapped(volume))));
    }
    for filesystem in &group.filesystems {
        let own = filesystem.on(me);
        let what = format!("{} at {}", own.device.display(), own.mount.display());
        let there = if own.is_bind() {
            bind::find(&own.device, &own.mount)
        } else {
            unmount::find_ours(&own.device, &own.mount)
        };
        found.push((what, there.map(|mount| mount.is_some())));
    }
    let addresses = netlink::addresses().map_err(|e| format!("cannot ask for addresses: {e}"));
    for address in &group.addresses {
        let there = addresses
            .as_ref()
            .map(|list| list.iter().any(|a| a.address == address.address))
            .map_err(Clone::clone);
        found.push((format!("address {}", address.address), there));
    }
    found
}
