//! Which interface carries what: where a service address goes first, and where this node's own addresses belong.

use std::collections::BTreeMap;

use regent_model::GroupName;
use regent_model::action::{Place, Upkeep};
use regent_model::config::{AdapterConfig, AddressConfig, Config, IpTakeover, NodeConfig};
use regent_model::ids::ResourceName;

/// Where each service address of this node is.
pub(crate) type Carried = BTreeMap<(GroupName, ResourceName), String>;

/// The interfaces for an address, in the order of choice: those that work come first; where a service address takes
/// the boot address's place, those that carry no other one; then as they are configured.
pub(crate) fn places(
    config: &Config,
    node: &NodeConfig,
    group: &GroupName,
    address: &AddressConfig,
    carried: &Carried,
    is_well: impl Fn(&str) -> bool,
) -> Vec<Place> {
    let replace = config.network_of(address).map(|n| config.ip_takeover(n)) == Some(IpTakeover::Replace);
    let taken = |interface: &str| {
        let others = carried.iter().filter(|((g, r), _)| (g, r) != (group, &address.name));
        replace && others.into_iter().any(|(_, i)| i == interface)
    };
    let place = |adapter: &&AdapterConfig| Place {
        interface: adapter.interface.clone(),
        replaces: config.replaced_on(adapter),
        well: is_well(&adapter.interface),
    };
    let mut places: Vec<Place> = config.adapters_for(node, address).iter().map(place).collect();
    places.sort_by_key(|p| (!p.well, taken(&p.interface)));
    places
}

/// Everything of this node's own. A persistent address is where the service addresses of its network are, or would be.
pub(crate) fn upkeep(
    config: &Config,
    node: &NodeConfig,
    carried: &Carried,
    is_well: impl Fn(&str) -> bool,
) -> Upkeep {
    let interface_on = |network: usize| {
        let adapters = node.adapters_on(network);
        let carries = |a: &&&AdapterConfig| carried.values().any(|i| *i == a.interface);
        let found = adapters.iter().filter(|a| is_well(&a.interface)).find(carries);
        let found = found.or_else(|| adapters.iter().find(|a| is_well(&a.interface))).or(adapters.first());
        found.map(|a| a.interface.clone())
    };
    Upkeep {
        watch: node.adapters.iter().map(|a| a.interface.clone()).collect(),
        persistent: node
            .persistent
            .iter()
            .map(|own| (*own, node.network_beside(*own).and_then(interface_on)))
            .collect(),
        boot: node
            .adapters
            .iter()
            .filter_map(|a| Some((config.replaced_on(a)?, a.interface.clone())))
            .collect(),
        service: config.groups.iter().flat_map(|g| g.addresses.iter().map(|a| a.address)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(takeover: &str) -> Config {
        let text = format!(
            "[cluster]\nname = \"w\"\n[[network]]\nname = \"front\"\ntakeover = \"{takeover}\"\n\
             [[node]]\nname = \"a\"\naddresses = [\"10.0.0.4\"]\npersistent = [\"10.0.0.44/24\"]\n\
             [[node.adapter]]\ninterface = \"eth2\"\nnetwork = \"front\"\nrole = \"standby\"\naddress = \"10.2.0.4/24\"\n\
             [[node.adapter]]\ninterface = \"eth0\"\nnetwork = \"front\"\naddress = \"10.1.0.4/24\"\n\
             [[group]]\nname = \"g\"\nnodes = [\"a\"]\n[[group.address]]\naddress = \"10.0.0.9/24\"\n\
             [[group]]\nname = \"h\"\nnodes = [\"a\"]\n[[group.address]]\naddress = \"10.0.0.8/24\"\n"
        );
        let parsed = regent_model::config::parse(&text);
        parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings))
    }

    fn order(config: &Config, carried: &Carried, dead: &str) -> Vec<(String, bool)> {
        let (node, group) = (&config.nodes[0], &config.groups[0]);
        let all = places(config, node, &group.name, &group.addresses[0], carried, |i| i != dead);
        all.into_iter().map(|p| (p.interface, p.replaces.is_some())).collect()
    }

    fn at(group: usize, config: &Config, interface: &str) -> Carried {
        let group = &config.groups[group];
        Carried::from([((group.name.clone(), group.addresses[0].name.clone()), interface.to_owned())])
    }

    fn named(interfaces: &[&str], replaces: bool) -> Vec<(String, bool)> {
        interfaces.iter().map(|i| ((*i).to_owned(), replaces)).collect()
    }

    #[test]
    fn the_service_adapter_comes_first_and_what_failed_last() {
        let alias = config("alias");
        assert_eq!(order(&alias, &Carried::new(), ""), named(&["eth0", "eth2"], false));
        assert_eq!(order(&alias, &Carried::new(), "eth0"), named(&["eth2", "eth0"], false));
        assert_eq!(order(&alias, &at(1, &alias, "eth0"), ""), named(&["eth0", "eth2"], false));
    }

    #[test]
    fn where_boot_addresses_are_replaced_a_second_service_address_goes_to_the_standby() {
        let replace = config("replace");
        assert_eq!(order(&replace, &at(0, &replace, "eth0"), ""), named(&["eth0", "eth2"], true));
        assert_eq!(order(&replace, &at(1, &replace, "eth0"), ""), named(&["eth2", "eth0"], true));
    }

    #[test]
    fn a_persistent_address_is_where_the_service_address_is_and_moves_with_it() {
        let config = config("alias");
        let on = |carried: &Carried, dead: &str| {
            let all = upkeep(&config, &config.nodes[0], carried, |i| i != dead);
            all.persistent[0].1.clone().unwrap()
        };
        assert_eq!(on(&Carried::new(), ""), "eth0");
        assert_eq!(on(&Carried::new(), "eth0"), "eth2");
        assert_eq!(on(&at(0, &config, "eth2"), ""), "eth2");
        assert_eq!(on(&at(0, &config, "eth2"), "eth2"), "eth0");
    }
}
