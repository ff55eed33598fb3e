//! Checks of the service addresses, among each other and against the nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::draft::{AddressDraft, Draft, GroupDraft};
use super::finding::{Finding, Findings, Span};
use super::tree::At;
use super::{Prefixed, subnet};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let mut seen: BTreeMap<IpAddr, (&Span, &str)> = BTreeMap::new();
    for group in &draft.groups {
        for resource in &group.addresses {
            let Some(address) = &resource.address else { continue };
            let usable = usable(address, findings);
            let nodes_own = not_a_nodes(address, draft, findings);
            if let Some((first, owner)) = seen.get(&address.value.0) {
                let message = format!("{} is already a service address of `{owner}`", address.value.0);
                findings.add(
                    Finding::error(&address.span, message)
                        .help("an address belongs to one group, once")
                        .related(first, "first given here"),
                );
            } else {
                seen.insert(address.value.0, (&address.span, group.title()));
            }
            if usable && nodes_own {
                reachable(resource, address, group, draft, findings);
            }
        }
    }
}

/// Whether the address can be a service's at all.
fn usable(at: &At<(IpAddr, u8)>, findings: &mut Findings) -> bool {
    let (address, prefix) = at.value;
    let network = subnet::network_text(address, prefix);
    let message = if address.is_unspecified() {
        "is no address that a client could ask for".to_string()
    } else if address.is_multicast() {
        "is a multicast address: many may have it at once, a service address has one owner".to_string()
    } else if address.is_loopback() {
        "is a loopback address: no client reaches it".to_string()
    } else if subnet::is_network(address, prefix) && address.is_ipv4() {
        format!("is the name of the network {network}, not a host's address")
    } else if subnet::is_network(address, prefix) {
        format!("is the address of any router in {network}, not a host's")
    } else if subnet::is_broadcast(address, prefix) {
        format!("is the broadcast address of {network}: every host answers to it")
    } else {
        return true;
    };
    findings.add(
        Finding::error(&at.span, format!("{address} {message}"))
            .help("write a free host address of the clients' network, and that network's prefix length"),
    );
    false
}

fn not_a_nodes(at: &At<(IpAddr, u8)>, draft: &Draft, findings: &mut Findings) -> bool {
    for member in draft.members() {
        if let Some(own) = member.readable().find(|a| a.value == at.value.0) {
            let message = format!("{} is `{}`'s own address: it cannot move", own.value, member.title());
            findings.add(
                Finding::error(&at.span, message)
                    .help("write another free address of that network; the nodes keep theirs")
                    .related(&own.span, format!("`{}` has it", member.title())),
            );
            return false;
        }
    }
    true
}

/// Without an interface, every node of the group must have an address in the service's subnet.
fn reachable(
    resource: &AddressDraft,
    at: &At<(IpAddr, u8)>,
    group: &GroupDraft,
    draft: &Draft,
    findings: &mut Findings,
) {
    if resource.has_interface {
        return;
    }
    let (address, prefix) = at.value;
    // An adapter says where: on the network that is named, or with a boot address in the subnet.
    let told = |n: &&super::draft::MemberDraft| {
        n.adapters.iter().any(|a| match (&resource.network, &a.network) {
            (Some(wanted), Some(has)) => wanted.value == has.value,
            (Some(_), None) => true,
            (None, _) => a.boot.as_ref().is_some_and(|b| b.value.is_beside(Prefixed { address, prefix })),
        })
    };
    let nodes: Vec<_> = group.node_names().filter_map(|n| draft.node(&n.value)).collect();
    // Where a node's addresses are wrong themselves, nothing more is said about them.
    let wrong = |own: &Option<At<IpAddr>>| own.as_ref().is_none_or(|own| own.value.is_loopback());
    if nodes.iter().any(|n| n.list.is_none() || n.addresses.iter().any(wrong)) {
        return;
    }
    let outside: Vec<_> = nodes
        .iter()
        .filter(|n| !told(n))
        .filter(|n| !n.readable().any(|own| subnet::share(own.value, address, prefix)))
        .map(|n| format!("`{}`", n.title()))
        .collect();
    if outside.is_empty() {
        return;
    }
    let network = subnet::network_text(address, prefix);
    let message = if outside.len() == nodes.len() {
        format!("no node of `{}` has an address in {network}, so its interface is not known", group.title())
    } else {
        format!("{} has no address in {network}, so the interface there is not known", outside.join(", "))
    };
    let mut finding = Finding::error(&at.span, message).help(
        "add interface = \"eth0\" (the interface that carries this network on every node of the group), or give each \
         node a [[node.adapter]] with a boot address in it, or correct the address or its prefix length",
    );
    if let Some(list) = nodes.iter().find_map(|n| n.list.as_ref()) {
        finding = finding.related(list, "a node's addresses");
    }
    findings.add(finding);
}
