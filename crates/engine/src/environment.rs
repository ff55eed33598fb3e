//! What scripts are told of the cluster (`REGENT_*`).

use std::net::IpAddr;

use regent_api::Answer;
use regent_model::config::{GroupConfig, NodeConfig};
use regent_model::exclusion::{EXCLUDED_ADDRESSES, Exclusion, SERVICE_ADDRESSES};
use regent_model::ids::GroupName;
use regent_model::state::{Ownership, Phase, ReleaseReason};

use crate::engine::Engine;

impl Engine {
    /// What a group's commands are told on this node, now. Without an ownership only what does not depend on one. The
    /// node's real addresses are for the agents to add.
    pub(crate) fn environment(
        &self,
        name: &GroupName,
        ownership: Option<&Ownership>,
    ) -> Vec<(String, String)> {
        let config = &self.state.config;
        // What runs here is told of what was acquired here.
        let mine = ownership.is_some_and(|o| o.owner.node == self.me.id);
        let group = if mine { self.state.definition(name) } else { config.group(name).map(AsRef::as_ref) };
        let service: Vec<IpAddr> =
            group.map(|g| g.addresses.iter().map(|a| a.address).collect()).unwrap_or_default();
        let node = config.member(&self.me.name).into_iter().flat_map(NodeConfig::every_address);
        let others = self
            .state
            .groups
            .keys()
            .filter(|other| *other != name)
            .filter(|other| self.state.ownership(other).is_some_and(|o| o.owner.node == self.me.id))
            .filter_map(|other| self.state.definition(other))
            .flat_map(|g| g.addresses.iter().map(|a| a.address));
        let excluded = Exclusion::new(&service, node.chain(others)).in_words();
        let service: Vec<String> = service.iter().map(ToString::to_string).collect();
        let mut all = vec![
            ("REGENT_CLUSTER", config.cluster.to_string()),
            ("REGENT_NODE", self.me.name.to_string()),
            ("REGENT_GROUP", name.to_string()),
        ];
        if let Some(ownership) = ownership {
            let (event, reason) = self.event_of(group, ownership);
            all.extend([
                ("REGENT_EPOCH", ownership.epoch.to_string()),
                ("REGENT_PROOF", ownership.proof.word().to_owned()),
                ("REGENT_EVENT", event.to_owned()),
                ("REGENT_REASON", reason),
            ]);
        }
        all.extend([(SERVICE_ADDRESSES, service.join(" ")), (EXCLUDED_ADDRESSES, excluded)]);
        all.extend(group.and_then(|g| g.hostname.clone()).map(|name| ("REGENT_HOSTNAME", name)));
        all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The environment of a group on this node, for whoever works there by hand.
    pub(crate) fn environment_asked(&self, name: &GroupName) -> Answer {
        let owner = self.state.ownership(name).map(|o| o.owner.node);
        let elsewhere =
            |g: &&std::sync::Arc<GroupConfig>| !g.nodes.contains(&self.me.name) && owner != Some(self.me.id);
        if let Some(group) = self.state.config.group(name).filter(elsewhere) {
            let nodes: Vec<&str> = group.nodes.iter().map(|n| n.as_str()).collect();
            return Answer::refused(
                format!("{} is not in the node list of {name}", self.me.name),
                format!("on {}: regent env {name}", nodes.join(" or ")),
            );
        }
        let ownership = self.state.ownership(name);
        let here = ownership.filter(|o| o.owner.node == self.me.id);
        Answer::Environment {
            node: self.me.name.clone(),
            owner: ownership.and_then(|o| self.state.members.get(&o.owner.node)).map(|m| m.name.clone()),
            variables: self.environment(name, here),
            remarks: Vec::new(),
        }
    }

    fn event_of(&self, group: Option<&GroupConfig>, ownership: &Ownership) -> (&'static str, String) {
        if let Phase::Releasing(reason) = &ownership.phase {
            let event = match reason {
                ReleaseReason::Reintegration(_) => "reintegration",
                ReleaseReason::Failed(_) | ReleaseReason::LostNetwork(_) => "failover",
                _ => "stop",
            };
            return (event, reason.to_string());
        }
        match ownership.previous {
            None => ("start", "first ownership".to_owned()),
            Some(node) if node == self.me.id => ("start", self.proof_words(&ownership.proof)),
            Some(node) => {
                let home = group.is_some_and(|g| g.nodes.first() == Some(&self.me.name));
                let released = ownership.proof == regent_model::proof::Proof::Released;
                let event = match (released, home) {
                    (true, true) => "reintegration",
                    (true, false) => "move",
                    (false, _) => "failover",
                };
                (event, format!("{}: {}", self.state.name_of(node), self.proof_words(&ownership.proof)))
            }
        }
    }
}
