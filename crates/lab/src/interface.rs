//! The interfaces of a machine: one for each network it has an address on, and further ones.

use regent_model::config::{Config, NodeConfig};
use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};
use crate::spec::{Cidr, MachineSpec};

/// Further interfaces are numbered from here: a lab has fewer networks.
const FIRST_EXTRA: usize = 8;
/// How many further interfaces a machine may have.
pub(crate) const EXTRA_MAX: usize = 8;

/// A further interface of a machine, beside the one that each network gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraInterface {
    /// Its name in the machine.
    pub name: String,
    /// The network it is on.
    pub network: usize,
    /// The addresses it has after boot.
    pub addresses: Vec<Cidr>,
}

/// An interface, as it is plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plug {
    /// Its number on the machine: that of the network for the first interface there.
    pub(crate) number: usize,
    pub(crate) network: usize,
    pub(crate) name: String,
    pub(crate) addresses: Vec<Cidr>,
}

impl MachineSpec {
    /// Every interface.
    pub(crate) fn plugs(&self) -> Vec<Plug> {
        let own = self.addresses.iter().enumerate().filter(|(_, a)| !a.is_empty());
        let own = own.map(|(network, addresses)| Plug {
            number: network,
            network,
            name: format!("eth{network}"),
            addresses: addresses.clone(),
        });
        let extra = self.extra.iter().enumerate().map(|(at, extra)| Plug {
            number: FIRST_EXTRA + at,
            network: extra.network,
            name: extra.name.clone(),
            addresses: extra.addresses.clone(),
        });
        own.chain(extra).collect()
    }
}

/// Gives a machine the adapters that the configuration tells: `eth0` is on the first network and has the node's address
/// there, `eth1` on the second; an adapter of any other name is a further interface.
///
/// # Errors
/// When the lab would call an interface otherwise.
pub(crate) fn give_adapters(machine: &mut MachineSpec, node: &NodeConfig, config: &Config) -> Result<()> {
    for adapter in &node.adapters {
        let own = format!("eth{}", adapter.network);
        let has = |network: &usize| format!("eth{network}") == adapter.interface;
        if let Some(other) = (0..config.network_count()).find(has).filter(|n| *n != adapter.network) {
            let (name, network) = (&node.name, config.network_name(adapter.network));
            return Err(LabError::new(format!(
                "{name} has {} on network {network}, but in a lab that is its interface on network {}",
                adapter.interface,
                config.network_name(other)
            ))
            .hint(format!(
                "in the configuration for a lab, call it {own}, or eth{} and up for a further one",
                config.network_count()
            )));
        }
        let Some(addresses) = machine.addresses.get_mut(adapter.network) else { continue };
        // What the lab has given to the network's own interface is there already.
        let boot = adapter.boot.filter(|b| addresses.iter().all(|a| a.address != b.address));
        let boot = boot.map(|b| Cidr { address: b.address, prefix: b.prefix });
        if adapter.interface == own {
            addresses.extend(boot);
        } else {
            let extra = ExtraInterface {
                name: adapter.interface.clone(),
                network: adapter.network,
                addresses: boot.into_iter().collect(),
            };
            machine.extra.push(extra);
        }
    }
    Ok(())
}
