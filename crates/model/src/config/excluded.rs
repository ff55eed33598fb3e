//! Which addresses a group's commands would be told to leave alone on a node, as far as the configuration can tell.

use std::net::IpAddr;

use super::{Config, GroupConfig, NodeConfig};
use crate::exclusion::{Exclusion, UNSUPPORTED_NETADDRS};
use crate::ids::NodeName;

impl NodeConfig {
    /// Every address that it has without any group: those of the networks, boot addresses, persistent ones. Some may be
    /// named twice.
    pub fn every_address(&self) -> impl Iterator<Item = IpAddr> {
        let boot = self.adapters.iter().filter_map(|a| a.boot).map(|b| b.address);
        self.addresses.iter().copied().chain(boot).chain(self.persistent.iter().map(|p| p.address))
    }
}

/// Every address that the configuration can bring to a node, but for the group's own.
#[must_use]
pub fn excluded_on(config: &Config, group: &GroupConfig, node: &NodeName) -> Exclusion {
    let of = |g: &GroupConfig| g.addresses.iter().map(|a| a.address).collect::<Vec<IpAddr>>();
    let own = config.member(node).into_iter().flat_map(NodeConfig::every_address);
    let others = config.groups.iter().filter(|g| g.nodes.contains(node)).flat_map(|g| of(g));
    Exclusion::new(&of(group), own.chain(others))
}

/// What `RPC_UNSUPPORTED_NETADDRS` could not carry for a group, on the node with the most addresses: in sentences, none
/// where it carries everything. It matters to servers of DCE alone.
#[must_use]
pub fn exclusion_remarks(config: &Config, group: &GroupConfig) -> Vec<String> {
    if group.addresses.is_empty() || group.applications.is_empty() {
        return Vec::new();
    }
    let on_nodes = group.nodes.iter().map(|node| (node, excluded_on(config, group, node)));
    let Some((node, most)) = on_nodes.max_by_key(|(_, e)| e.addresses().len()) else { return Vec::new() };
    let remarks = most.remarks().into_iter();
    remarks
        .map(|remark| remark.replacen(UNSUPPORTED_NETADDRS, &format!("on {node} {UNSUPPORTED_NETADDRS}"), 1))
        .collect()
}
