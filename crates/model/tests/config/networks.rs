//! Networks, adapters and persistent addresses: what may be written, and what is found in what may not.

use regent_model::config::{AdapterRole, IpTakeover, OnDown};

use crate::{GOOD, good, refused, warned, with};

/// Two networks, and on the first a service and a standby adapter for each node.
fn networks() -> String {
    let adapters = |host: u8| {
        format!(
            "persistent = [\"10.78.0.4{host}/24\"]\n[[node.adapter]]\ninterface = \"eth0\"\nnetwork = \"clients\"\n\
             address = \"10.79.0.{host}/24\"\n[[node.adapter]]\ninterface = \"eth2\"\nnetwork = \"clients\"\n\
             role = \"standby\"\naddress = \"10.80.0.{host}/24\"\n"
        )
    };
    let text = with(
        "[[node]]\n",
        "[[network]]\nname = \"clients\"\non_down = \"move\"\n[[network]]\nname = \"back\"\n\n[[node]]\n",
    );
    let text = text.replace(
        "\"10.77.0.4\", \"10.78.0.4\"]\n",
        &format!("\"10.77.0.4\", \"10.78.0.4\"]\n{}", adapters(4)),
    );
    text.replace(
        "\"10.77.0.5\", \"10.78.0.5\"]\n",
        &format!("\"10.77.0.5\", \"10.78.0.5\"]\n{}", adapters(5)),
    )
}

fn but(from: &str, to: &str) -> String {
    let text = networks();
    assert!(text.contains(from), "{from:?} is not in:\n{text}");
    text.replacen(from, to, 1)
}

#[test]
fn networks_and_adapters_are_read_and_without_them_everything_is_as_before() {
    let config = good(&networks());
    assert_eq!((config.networks.len(), config.network_name(1).as_str()), (2, "back"));
    assert_eq!((config.on_down(0), config.on_down(1)), (OnDown::Move, OnDown::Nothing));
    assert_eq!(config.ip_takeover(0), IpTakeover::Alias);
    let node = &config.nodes[0];
    let service = &config.groups[0].addresses[0];
    let interfaces: Vec<_> =
        config.adapters_for(node, service).iter().map(|a| (a.interface.as_str(), a.role)).collect();
    assert_eq!(interfaces, [("eth0", AdapterRole::Service), ("eth2", AdapterRole::Standby)]);
    assert_eq!(config.network_beside_of(node), Some(1));
    let plain = good(GOOD);
    assert!(plain.networks.is_empty() && plain.nodes[0].adapters.is_empty());
    assert_eq!(plain.network_of(&plain.groups[0].addresses[0]), Some(0));
    assert_eq!(plain.network_name(1), "2");
}

/// The network of the first persistent address.
trait PersistentNetwork {
    fn network_beside_of(&self, node: &regent_model::config::NodeConfig) -> Option<usize>;
}

impl PersistentNetwork for regent_model::config::Config {
    fn network_beside_of(&self, node: &regent_model::config::NodeConfig) -> Option<usize> {
        node.network_beside(*node.persistent.first()?)
    }
}

#[test]
fn a_network_or_an_adapter_that_does_not_fit_is_found() {
    let text = but("network = \"clients\"\nrole", "network = \"client\"\nrole");
    refused(&text, "\"client\"", "there is no network `client`", "did you mean \"clients\"");
    let unnamed = with(
        "\"10.77.0.4\", \"10.78.0.4\"]\n",
        "\"10.77.0.4\", \"10.78.0.4\"]\n[[node.adapter]]\ninterface = \"eth0\"\nnetwork = \"clients\"\n",
    );
    refused(&unnamed, "\"clients\"", "there is no network", "[[network]]");
    let text =
        but("[[network]]\nname = \"back\"", "[[network]]\nname = \"back\"\n[[network]]\nname = \"third\"");
    refused(&text, "\"third\"", "3 networks, but `lx4` has 2", "one [[network]] for each place");
    let text = but("name = \"back\"", "name = \"clients\"");
    refused(&text, "\"clients\"", "already a network called", "its own name");
    let text = but("interface = \"eth2\"", "interface = \"eth0\"");
    refused(&text, "\"eth0\"", "has an adapter on eth0 already", "another one");
    let standby = "[[node.adapter]]\ninterface = \"eth2\"\nnetwork = \"clients\"\nrole = \"standby\"\n";
    let text = but(standby, &format!("{standby}address = \"10.81.0.4/24\"\n{standby}"));
    refused(&text, "\"eth2\"", "the standby eth2 of `lx4` is in use already", "one network");
    let text = but("role = \"standby\"\naddress = \"10.80.0.4/24\"\n", "role = \"spare\"\n");
    refused(&text, "\"spare\"", "`role` cannot be", "\"service\", \"standby\"");
    let text =
        but("interface = \"eth0\"\nnetwork = \"clients\"\n", "interface = \"eth0\"\nnetwork = \"back\"\n");
    refused(&text, "[[node.adapter]]", "a standby on clients, but no service adapter", "role = \"service\"");
}

#[test]
fn what_carries_keepalives_is_not_replaced_by_a_service_address() {
    let replace = but("on_down = \"move\"", "takeover = \"replace\"");
    assert_eq!(good(&replace).ip_takeover(0), IpTakeover::Replace);
    let text = replace.replacen("10.79.0.4/24", "10.77.0.4/24", 1);
    refused(&text, "\"10.77.0.4/24\"", "carries keepalives", "persistent = [\"10.77.0.4/24\"]");
    let text = replace.replacen("address = \"10.79.0.4/24\"\n", "", 1);
    refused(&text, "[[node.adapter]]", "this adapter's is not known", "address = \"A/PREFIX\"");
    let text = with("[[node]]\n", "[[network]]\nname = \"clients\"\ntakeover = \"replace\"\n[[node]]\n");
    refused(&text, "\"clients\"", "`lx4`, `lx5` have no adapter on it", "[[node.adapter]]");
}

#[test]
fn boot_and_persistent_addresses_belong_to_one_machine() {
    let text = but("10.78.0.44/24", "10.77.0.100/24");
    refused(&text, "\"10.77.0.100/24\"", "is a service address: it moves", "free address");
    let text = but("10.78.0.44/24", "10.78.0.5/24");
    refused(&text, "\"10.78.0.5/24\"", "is `lx5`'s", "free address");
    let text = but("10.79.0.5/24", "10.79.0.4/24");
    refused(&text, "\"10.79.0.4/24\"", "is a boot address of `lx4` already", "free address");
    let text = but("[\"10.78.0.44/24\"]", "[\"10.78.0.44/24\", \"10.78.0.54/24\"]");
    refused(&text, "\"10.78.0.54/24\"", "on that network already", "one persistent address per network");
    let text = but("10.78.0.44/24", "10.99.0.44/24");
    refused(&text, "\"10.99.0.44/24\"", "lies on no network of `lx4`", "in the subnet");
    // A node's own address may be kept up by Regent: that is how keepalives get an address that stays.
    good(&but("10.78.0.44/24", "10.77.0.4/24"));
    let text = with("\"10.77.0.6\", \"10.78.0.6\"]", "\"10.77.0.6\", \"10.78.0.6\"]\npersistent = []");
    refused(&text, "persistent", "unknown key `persistent` in [[witness]]", "addresses");
}

#[test]
fn a_service_address_in_a_subnet_of_its_own_needs_an_adapter_or_an_interface() {
    let foreign = networks().replacen("10.77.0.100/24", "10.79.0.100/24", 1);
    assert_eq!(good(&foreign).network_of(&good(&foreign).groups[0].addresses[0]), Some(0));
    let named = networks().replacen("\"10.77.0.100/24\"", "\"172.16.0.9/24\"\nnetwork = \"clients\"", 1);
    assert_eq!(good(&named).network_of(&good(&named).groups[0].addresses[0]), Some(0));
    let lost = networks().replacen("10.77.0.100/24", "172.16.0.9/24", 1);
    refused(&lost, "\"172.16.0.9/24\"", "no node of `db` has an address in", "[[node.adapter]]");
    let wrong = networks().replacen("\"10.77.0.100/24\"", "\"10.77.0.100/24\"\nnetwork = \"front\"", 1);
    refused(&wrong, "\"front\"", "there is no network `front`", "clients, back");
    let eth9 = networks().replacen("\"10.77.0.100/24\"", "\"10.77.0.100/24\"\ninterface = \"eth9\"", 1);
    refused(&eth9, "\"eth9\"", "eth9 is no adapter of `lx4`", "network = ");
    let bare = with("[[node]]\n", "[[network]]\nname = \"clients\"\non_down = \"move\"\n[[node]]\n")
        .replace("[[group.address]]\naddress = \"10.77.0.100/24\"\n", "")
        .replace("[[group.address]]\naddress = \"10.77.0.101/24\"\n", "");
    warned(
        &bare.replace(
            "nodes = [\"lx5\", \"lx4\"]\n",
            "nodes = [\"lx5\", \"lx4\"]\n[[group.application]]\nname = \"w\"\nstart = \"/bin/w\"\n",
        ),
        "\"clients\"",
        "moves nothing",
        "group.address",
    );
}
