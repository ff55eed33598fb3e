//! Whether a node can let clients know that their connections are no more.

use std::collections::BTreeMap;

use super::{Difference, Survey};
use crate::config::{Config, Severity};
use crate::ids::NodeName;

/// What is said of the nodes that may have an address whose clients are to know.
pub(super) fn clients(config: &Config, surveys: &BTreeMap<NodeName, Survey>) -> Vec<Difference> {
    let wants = |node: &NodeName| {
        let mut groups = config.groups.iter().filter(|g| g.nodes.contains(node));
        groups.any(|g| g.addresses.iter().any(|a| a.tickle))
    };
    let lacking = surveys.iter().filter_map(|(node, s)| Some((node, s.connections.as_ref()?)));
    lacking
        .filter(|(node, _)| wants(node))
        .map(|(node, lacks)| Difference {
            severity: Severity::Warning,
            topic: "clients".into(),
            group: None,
            nodes: vec![node.clone()],
            text: format!("of the kernel of {node}: {lacks}"),
            help: format!(
                "on {node}: modprobe tcp_diag, and keep it in /etc/modules-load.d; or a kernel that has it; or \
                 `tickle = false` at the addresses whose clients may wait"
            ),
        })
        .collect()
}
