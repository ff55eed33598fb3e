//! What happens when an interface fails, for each that is configured.

use std::fmt::Write as _;

use regent_model::config::{AdapterConfig, Config, IpTakeover, NodeConfig, OnDown};

/// A line for every adapter; nothing where none is configured.
pub(super) fn adapters(config: &Config) -> String {
    if config.nodes.iter().all(|n| n.adapters.is_empty()) {
        return String::new();
    }
    let mut out = String::from("\nif an interface fails\n");
    for node in &config.nodes {
        for adapter in &node.adapters {
            let _ = writeln!(
                out,
                "  {} {}: {}",
                node.name,
                adapter.interface,
                consequence(config, node, adapter)
            );
        }
    }
    for network in config.networks.iter().filter(|n| n.takeover == IpTakeover::Replace) {
        let _ = writeln!(
            out,
            "  on network {} a service address takes the boot address's place; at release, and at the end of a lease, the \
             guard puts it back",
            network.name
        );
    }
    out
}

fn consequence(config: &Config, node: &NodeConfig, adapter: &AdapterConfig) -> String {
    let name = config.network_name(adapter.network);
    let others = node.adapters_on(adapter.network);
    let others: Vec<&str> =
        others.iter().map(|a| a.interface.as_str()).filter(|i| *i != adapter.interface).collect();
    if !others.is_empty() {
        return format!(
            "its service addresses of network {name} move to {} of the same node; nothing above them is restarted",
            others.join(" or ")
        );
    }
    match config.on_down(adapter.network) {
        OnDown::Move => {
            format!("{} has lost network {name}: its groups there go to a node that has it", node.name)
        }
        OnDown::Nothing => format!(
            "{} has lost network {name}: network_down is told. Groups move only when their address fails its checks",
            node.name
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_says_what_follows_its_failure() {
        let text = include_str!("../../../../examples/every-key.toml");
        let config = regent_model::config::parse(text).config.unwrap();
        let said = adapters(&config);
        assert!(said.contains("lx4 eth0: its service addresses of network clients move to eth2"), "{said}");
        let alone = Config { nodes: vec![alone(&config.nodes[0])], ..config };
        assert!(adapters(&alone).contains("lx4 has lost network clients: network_down is told"));
    }

    fn alone(node: &NodeConfig) -> NodeConfig {
        NodeConfig { adapters: node.adapters[..1].to_vec(), ..node.clone() }
    }
}
