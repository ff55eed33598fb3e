//! Networks and the adapters of the nodes on them, after they were found right, and how they are read.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::draft::{AdapterDraft, MemberDraft, NetworkDraft};
use super::finding::Findings;
use super::reader::Reader;
use super::resource::interface_name;
use super::scalar;
use super::subnet;
use super::tree::{At, Table};
use super::{AddressConfig, Config, NodeConfig};

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prefixed {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix.
    pub prefix: u8,
}

impl fmt::Display for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Prefixed {
    /// Whether both lie in one subnet, by the longer prefix.
    pub(super) fn is_beside(self, other: Self) -> bool {
        subnet::share(self.address, other.address, self.prefix.max(other.prefix))
    }
}

/// What happens to groups with a service address on a network that their node alone has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDown {
    /// Nothing but the event.
    #[default]
    Nothing,
    /// They go to a node that has the network, if there is one.
    Move,
}

/// How a service address comes onto an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IpTakeover {
    /// Beside the boot address.
    #[default]
    Alias,
    /// In the place of the boot address, which comes back at release.
    Replace,
}

/// A network, in the order of the nodes' addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Its name.
    pub name: String,
    /// What happens when one node alone loses it.
    pub on_down: OnDown,
    /// How service addresses come onto its interfaces.
    pub takeover: IpTakeover,
}

/// What an adapter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterRole {
    /// It carries service addresses.
    Service,
    /// It takes over from a service adapter of its node that fails.
    Standby,
}

impl AdapterRole {
    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Standby => "standby",
        }
    }
}

/// One interface of a node on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// The interface.
    pub interface: String,
    /// The network's place among the networks.
    pub network: usize,
    /// What it is for.
    pub role: AdapterRole,
    /// The address it has when the machine has booted.
    pub boot: Option<Prefixed>,
}

impl NodeConfig {
    /// Its adapters on a network, service adapters first.
    #[must_use]
    pub fn adapters_on(&self, network: usize) -> Vec<&AdapterConfig> {
        let mut found: Vec<_> = self.adapters.iter().filter(|a| a.network == network).collect();
        found.sort_by_key(|a| a.role);
        found
    }

    /// The network of a persistent address, or of any other that lies beside an address of this node.
    #[must_use]
    pub fn network_beside(&self, at: Prefixed) -> Option<usize> {
        let boots = self.adapters.iter().filter_map(|a| Some((a.boot?, Some(a.network))));
        beside(at, self.addresses.iter().copied().map(Some), boots)
    }
}

impl Config {
    /// How many networks there are.
    #[must_use]
    pub fn network_count(&self) -> usize {
        self.nodes.iter().map(|n| n.addresses.len()).max().unwrap_or(0).max(self.networks.len())
    }

    /// What a network is called: its name, or its number from 1.
    #[must_use]
    pub fn network_name(&self, network: usize) -> String {
        self.networks.get(network).map_or_else(|| (network + 1).to_string(), |n| n.name.clone())
    }

    /// The place of the network that is called so.
    #[must_use]
    pub fn network_called(&self, name: &str) -> Option<usize> {
        (0..self.network_count()).find(|n| self.network_name(*n) == name)
    }

    /// What happens when one node alone loses this network.
    #[must_use]
    pub fn on_down(&self, network: usize) -> OnDown {
        self.networks.get(network).map_or(OnDown::Nothing, |n| n.on_down)
    }

    /// How service addresses come onto the interfaces of this network.
    #[must_use]
    pub fn ip_takeover(&self, network: usize) -> IpTakeover {
        self.networks.get(network).map_or(IpTakeover::Alias, |n| n.takeover)
    }

    /// The network of a service address: the one it names, that of its interface, or the one in whose subnet it lies.
    #[must_use]
    pub fn network_of(&self, address: &AddressConfig) -> Option<usize> {
        if let Some(name) = &address.network {
            return self.network_called(name);
        }
        let adapters = || self.nodes.iter().flat_map(|n| &n.adapters);
        let named = address.interface.as_ref();
        let by_interface =
            named.and_then(|name| adapters().find(|a| a.interface == *name)).map(|a| a.network);
        let at = Prefixed { address: address.address, prefix: address.prefix };
        by_interface.or_else(|| self.nodes.iter().find_map(|node| node.network_beside(at)))
    }

    /// The boot address whose place a service address takes on this adapter, where it takes one.
    #[must_use]
    pub fn replaced_on(&self, adapter: &AdapterConfig) -> Option<Prefixed> {
        adapter.boot.filter(|_| self.ip_takeover(adapter.network) == IpTakeover::Replace)
    }

    /// The adapters of a node that may carry a service address, the first choice first. Empty where none is
    /// configured: then the address's own words, or its subnet, say which interface it is.
    #[must_use]
    pub fn adapters_for<'a>(&self, node: &'a NodeConfig, address: &AddressConfig) -> Vec<&'a AdapterConfig> {
        let Some(network) = self.network_of(address) else { return Vec::new() };
        let mut adapters = node.adapters_on(network);
        adapters.sort_by_key(|a| (address.interface.as_ref() != Some(&a.interface), a.role));
        adapters
    }
}

/// The network of an address that lies beside one of a node's own, one for each network, or beside a boot address.
pub(super) fn beside(
    at: Prefixed,
    mut own: impl Iterator<Item = Option<IpAddr>>,
    mut boots: impl Iterator<Item = (Prefixed, Option<usize>)>,
) -> Option<usize> {
    let by_own = own.position(|own| own.is_some_and(|own| subnet::share(own, at.address, at.prefix)));
    by_own.or_else(|| boots.find(|(boot, _)| boot.is_beside(at)).and_then(|(_, network)| network))
}

/// The place of the network of that name.
pub(super) fn place(networks: &[NetworkDraft], name: &str) -> Option<usize> {
    networks.iter().position(|n| n.name.as_ref().is_some_and(|at| at.value == name))
}

const NETWORK: &str = "\"clients\"";

/// Reads `[[network]]`.
pub(super) fn network(table: Table, findings: &mut Findings) -> NetworkDraft {
    let mut reader = Reader::new("[[network]]", table, findings);
    let header = reader.header.clone();
    let name = reader.need_name(NETWORK);
    let on_down = reader.choice("on_down", &[("nothing", OnDown::Nothing), ("move", OnDown::Move)]);
    let takeover =
        reader.choice("takeover", &[("alias", IpTakeover::Alias), ("replace", IpTakeover::Replace)]);
    reader.finish();
    NetworkDraft {
        header,
        name,
        on_down: on_down.map_or(OnDown::Nothing, |o| o.value),
        takeover: takeover.map_or(IpTakeover::Alias, |t| t.value),
    }
}

/// Reads `[[node.adapter]]`.
pub(super) fn adapter(table: Table, findings: &mut Findings) -> AdapterDraft {
    let mut reader = Reader::new("[[node.adapter]]", table, findings);
    let header = reader.header.clone();
    let interface = reader.need_text("interface", "\"eth0\"");
    let interface = reader.checked("interface", interface, interface_name);
    reader.require("network", NETWORK);
    let network = reader.text("network", NETWORK);
    let role = reader.choice("role", &[("service", AdapterRole::Service), ("standby", AdapterRole::Standby)]);
    let boot = reader.text("address", "\"10.77.0.4/24\"");
    let boot = reader.checked("address", boot, prefixed);
    reader.finish();
    AdapterDraft { header, interface, network, role: role.map_or(AdapterRole::Service, |r| r.value), boot }
}

/// Reads `persistent`.
pub(super) fn persistent(reader: &mut Reader<'_>) -> Vec<At<Prefixed>> {
    reader.checked_texts("persistent", "[\"10.77.0.44/24\"]", prefixed)
}

fn prefixed(text: &str) -> Result<Prefixed, scalar::Refused> {
    scalar::address_and_prefix(text).map(|(address, prefix)| Prefixed { address, prefix })
}

/// The adapters of a node, once every network's name is known; `None` if a part of one is missing.
pub(super) fn adapters(member: &MemberDraft, networks: &[NetworkDraft]) -> Option<Vec<AdapterConfig>> {
    let one = |draft: &AdapterDraft| {
        Some(AdapterConfig {
            interface: draft.interface.as_ref()?.value.clone(),
            network: place(networks, &draft.network.as_ref()?.value)?,
            role: draft.role,
            boot: draft.boot.as_ref().map(|at| at.value),
        })
    };
    member.adapters.iter().map(one).collect()
}
