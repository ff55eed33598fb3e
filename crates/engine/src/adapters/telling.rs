//! What a node tells of its interfaces and networks: to its peers, to the planner, to `status`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use regent_api::AdapterStatus;
use regent_model::config::{AdapterConfig, NodeConfig};
use regent_model::ids::{GroupName, NodeId, ResourceName};

use super::verdict::{Hearing, NetworkWord};
use crate::engine::Engine;

/// How one of a node's interfaces is, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AdapterFact {
    /// The interface.
    pub interface: String,
    /// What is wrong with it.
    pub fault: Option<String>,
    /// The service addresses on it.
    pub carries: Vec<(GroupName, ResourceName)>,
    /// The persistent addresses on it.
    pub persistent: Vec<IpAddr>,
}

impl Engine {
    /// What the peers are told of this node's networks and interfaces.
    pub(crate) fn network_facts(&self) -> (Vec<Hearing>, Vec<AdapterFact>) {
        if self.state.config.networks.is_empty() {
            return Default::default();
        }
        let networks = (0..self.state.config.network_count()).map(|n| self.hearing(n)).collect();
        let node = self.state.config.member(&self.me.name);
        let carried = |interface: &str| {
            let here = self.adapters.carried.iter().filter(|(_, i)| *i == interface);
            here.map(|((group, resource), _)| (group.clone(), resource.clone())).collect()
        };
        let persistent = |interface: &str| {
            let all = self.adapters.upkeep.persistent.iter();
            all.filter(|(_, i)| i.as_deref() == Some(interface)).map(|(own, _)| own.address).collect()
        };
        let fact = |a: &AdapterConfig| AdapterFact {
            interface: a.interface.clone(),
            fault: self.adapters.fault(&a.interface),
            carries: carried(&a.interface),
            persistent: persistent(&a.interface),
        };
        (networks, node.into_iter().flat_map(|n| &n.adapters).map(fact).collect())
    }

    /// Who has lost which network alone: for the planner.
    pub(crate) fn networks_lost_alone(&self) -> BTreeSet<(NodeId, usize)> {
        let heard = self.heard.keys().filter_map(|id| Some((*id, &self.facts.get(id)?.networks)));
        let own: Vec<Hearing> = self.network_facts().0;
        let all = heard.chain([(self.me.id, &own)]);
        all.flat_map(|(id, networks)| {
            let lost = networks.iter().enumerate().filter(|(_, h)| h.word == NetworkWord::Local);
            lost.map(move |(network, _)| (id, network)).collect::<Vec<_>>()
        })
        .collect()
    }

    /// The interfaces of a node, for `status`.
    pub(crate) fn adapter_status(&self, node: &NodeConfig) -> Vec<AdapterStatus> {
        let facts = match self.state.id_of(&node.name) {
            Some(id) if id == self.me.id => self.network_facts().1,
            Some(id) if self.heard.contains_key(&id) => {
                self.facts.get(&id).map(|f| f.adapters.clone()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let address = |(group, resource): &(GroupName, ResourceName)| {
            let config = self.state.definition(group)?;
            config.addresses.iter().find(|a| a.name == *resource).map(|a| a.address)
        };
        let one = |adapter: &AdapterConfig| {
            let fact = facts.iter().find(|f| f.interface == adapter.interface);
            AdapterStatus {
                interface: adapter.interface.clone(),
                network: self.state.config.network_name(adapter.network),
                role: adapter.role.word().to_owned(),
                state: match fact {
                    None => "unknown",
                    Some(f) if f.fault.is_some() => "failed",
                    Some(_) => "up",
                }
                .to_owned(),
                fault: fact.and_then(|f| f.fault.clone()),
                carries: fact.map(|f| f.carries.iter().filter_map(address).collect()).unwrap_or_default(),
                persistent: fact.map(|f| f.persistent.clone()).unwrap_or_default(),
            }
        };
        node.adapters.iter().map(one).collect()
    }
}
