//! Whether the kernel of a node ends the leases of service addresses where its guard cannot.

use std::collections::BTreeMap;

use super::{Difference, Survey};
use crate::config::{Config, GroupConfig, Severity};
use crate::ids::NodeName;
use crate::proof::Need;

/// What is said of the nodes that may have an address by the end of whose lease others go.
pub(super) fn addresses(config: &Config, surveys: &BTreeMap<NodeName, Survey>) -> Vec<Difference> {
    let by_lease = |g: &GroupConfig| !g.addresses.is_empty() && g.needs.contains(&Need::LeaseEnded);
    let lacking = surveys.iter().filter_map(|(node, s)| Some((node, s.no_address_leases.as_ref()?)));
    lacking
        .filter(|(node, _)| config.groups.iter().any(|g| g.nodes.contains(node) && by_lease(g)))
        .map(|(node, lacks)| Difference {
            severity: Severity::Warning,
            topic: "address lease".into(),
            group: None,
            nodes: vec![node.clone()],
            text: format!("of {node}: {lacks}; only the guard ends the leases of its addresses"),
            help: format!(
                "a guard on {node} that is frozen or killed leaves its addresses answering beside their next owner: \
                 a kernel of 5.8 or later with BPF (CONFIG_BPF_SYSCALL) there; or needs = [\"fenced\"] with a [[fence]] \
                 for {node}"
            ),
        })
        .collect()
}
